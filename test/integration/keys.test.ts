/** Signing keys: made, published, signing, retired, deleted. */
import { createLocalJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { notify } from '../../db/connect.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { commands } from '../../src/commands.ts';
import { loadConfig } from '../../src/config.ts';
import { isDecryption } from '../../src/keys/key-algorithms.ts';
import { loadKeySet } from '../../src/keys/key-set.ts';
import {
  deleteRetiredKeys,
  ensureKeys,
  keysChannel,
  publishSeconds,
  rotateDueKeys,
  rotateKeys,
} from '../../src/keys/keys.commands.ts';
import { createLog } from '../../src/log.ts';
import { serve } from '../../src/main.ts';
import { callerOf } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { expectPublic, issue, jwksOf, kidOf, kidsOf, openMachine } from '../support/jwks.ts';
import { send } from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { defaultSettings, startServer, type TestServer } from '../support/server.ts';
import type { Application } from '../support/tokens.ts';

describe('keys in the database', () => {
  let server: TestServer;
  let machine: Application;
  beforeAll(async () => {
    server = await startServer();
    machine = await openMachine(server);
  });
  afterAll(() => server.stop());

  const rotate = (now: boolean) =>
    (commands['rotate-keys'] as (typeof commands)[string]).run(server.app, { now }) as ReturnType<typeof rotateKeys>;
  /** Moves a rotation's start to the past, as if the time had come. */
  const bringForward = async (kids: string[], seconds: number) => {
    await server.database
      .db('jwksKeys')
      .whereIn('kid', kids)
      .update({ signsFrom: new Date(Date.now() - seconds * 1000) });
    await server.database
      .db('jwksDecryptionKeys')
      .whereIn('kid', kids)
      .update({ publishedFrom: new Date(Date.now() - seconds * 1000) });
    await server.app.provider.reload();
  };

  it('are made at the first start: RS256 and PS256 with 2048 bits or more, ES256, EdDSA, and two that decrypt', async () => {
    const { keys } = await jwksOf(server.issuer);
    expect(keys.map(({ use, alg, kty }) => `${use} ${alg ?? kty}`).sort()).toEqual([
      'enc EC',
      'enc RSA',
      'sig ES256',
      'sig EdDSA',
      'sig PS256',
      'sig RS256',
    ]);
    for (const key of keys) expect(key).toMatchObject({ kid: expect.stringMatching(/^[\w-]{43}$/) });
    for (const { n } of keys.filter(({ kty }) => kty === 'RSA'))
      expect(Buffer.from(n as string, 'base64url').length * 8).toBeGreaterThanOrEqual(2048);
    expectPublic({ keys });
    await ensureKeys(server.database.db, server.app.secrets);
    expect(await kidsOf(server.issuer)).toHaveLength(6);
  });

  it('are encrypted at rest, each bound to its row', async () => {
    const { db } = server.database;
    for (const [table, name, purpose] of [
      ['jwksKeys', 'jwks_keys', 'signing-key'],
      ['jwksDecryptionKeys', 'jwks_decryption_keys', 'decryption-key'],
    ] as const)
      for (const { kid, publicJwk, privateEncrypted } of await db(table).select(
        'kid',
        'publicJwk',
        'privateEncrypted',
      )) {
        expectPublic({ keys: [publicJwk] });
        expect(Buffer.from(privateEncrypted).toString('latin1')).not.toContain('"kty"');
        const opened = server.app.secrets.open(purpose, `${name}:${kid}`, privateEncrypted).toString();
        expect(JSON.parse(opened)).toHaveProperty('d');
        expect(() => server.app.secrets.open(purpose, `${name}:another`, privateEncrypted)).toThrow();
      }
  });

  it('are published before they sign, sign at their time, verify when retired, and are deleted', async () => {
    const { db } = server.database;
    const before = await kidsOf(server.issuer);
    await bringForward(before, 3600);
    const old = await issue(machine);

    const asked = Date.now();
    const { keys } = await rotate(false);
    const answered = Date.now();
    const fresh = keys.map(({ kid }) => kid);
    expect(keys.map(({ alg }) => alg)).toEqual(['RS256', 'PS256', 'ES256', 'EdDSA', 'RSA-OAEP-256', 'ECDH-ES']);
    // What others encrypt to takes its predecessor's place at its time, and not before.
    const [signing, decrypting] = [fresh.slice(0, 4), fresh.slice(4)];
    expect((await kidsOf(server.issuer)).sort()).toEqual([...before, ...signing].sort());
    expect(kidOf(await issue(machine))).toBe(kidOf(old));
    const decided = (keys[0]?.signsFrom.getTime() ?? 0) - publishSeconds * 1000;
    expect([decided >= asked, decided <= answered]).toEqual([true, true]);

    await bringForward(fresh, 1);
    const next = await issue(machine);
    expect(fresh).toContain(kidOf(next));
    const jwks = await jwksOf(server.issuer);
    expectPublic(jwks);
    expect(
      jwks.keys
        .filter(({ use }) => use === 'enc')
        .map(({ kid }) => kid)
        .sort(),
    ).toEqual(decrypting.toSorted());
    for (const token of [old, next]) {
      await jwtVerify(token, createLocalJWKSet(jwks), { issuer: server.issuer, audience: 'countersign-api' });
      expect(await machine.isActive(token)).toBe(true);
    }

    expect(await deleteRetiredKeys(db, 60)).toBe(0);
    await bringForward(fresh, 120);
    expect(await deleteRetiredKeys(db, 60)).toBe(6);
    expect(await deleteRetiredKeys(db, 60)).toBe(0);
    await eventually(async () => (await kidsOf(server.issuer)).length === 6, 'the retired keys are gone');
    expect((await kidsOf(server.issuer)).sort()).toEqual([...fresh].sort());
    expect(await machine.isActive(old)).toBe(false);
    expect(await machine.isActive(next)).toBe(true);
  });

  it('sign without delay after a rotation with --now', async () => {
    const old = await issue(machine);
    const { keys } = await rotate(true);
    const next = await issue(machine);
    expect(keys.map(({ kid }) => kid)).toContain(kidOf(next));
    expect(await machine.isActive(old)).toBe(true);
    expect(await machine.isActive(next)).toBe(true);
  });

  it('follow by themselves on keys that have signed for as long as KEY_ROTATION says, and not before', async () => {
    const { db } = server.database;
    const due = () => rotateDueKeys(db, server.app.secrets, 90 * 86_400);
    expect(await due()).toBeUndefined();
    const stored = await db('jwksKeys').select('kid', 'signsFrom');
    await db('jwksKeys').update({ signsFrom: db.raw(`signs_from - interval '91 days'`) });
    const rotation = await due();
    expect(rotation?.keys.filter(({ signsFrom }) => signsFrom.getTime() > Date.now())).toHaveLength(6);
    expect(await due()).toBeUndefined();
    await db('jwksKeys').delete().where('signsFrom', '>', new Date());
    await db('jwksDecryptionKeys').delete().where('publishedFrom', '>', new Date());
    for (const { kid, signsFrom } of stored) await db('jwksKeys').where({ kid }).update({ signsFrom });
    await server.app.provider.reload();
  });

  it('sign when their time comes, without anybody saying so', async () => {
    const { keys } = await rotate(false);
    const signsFrom = new Date(Date.now() + 3000);
    await server.database
      .db('jwksKeys')
      .whereIn(
        'kid',
        keys.map(({ kid }) => kid),
      )
      .update({ signsFrom });
    await server.app.provider.reload();
    // The set is loaded anew when the key's time has come: a notification makes the server look when that is.
    await notify(server.database.db, keysChannel, '');
    const signsAnew = async () => keys.map(({ kid }) => kid).includes(kidOf(await issue(machine)));
    const early = await signsAnew();
    // On a slow machine the time may have come.
    if (new Date() < signsFrom) expect(early).toBe(false);
    await eventually(signsAnew, 'the new key signs');
  });

  it('that wait for their time are not made again, however often somebody asks', async () => {
    const { db } = server.database;
    await db('jwksKeys').where('signsFrom', '>', new Date()).delete();
    await db('jwksDecryptionKeys').where('publishedFrom', '>', new Date()).delete();
    const first = await rotate(false);
    const before = await kidsOf(server.issuer);
    for (const { keys } of [await rotate(false), ...(await Promise.all([rotate(false), rotate(false)]))])
      expect(keys).toEqual(first.keys);
    expect(await kidsOf(server.issuer)).toEqual(before);
    // One of an algorithm is missing: that one alone is made.
    const [gone, ...kept] = first.keys;
    await db('jwksKeys').where({ kid: gone?.kid }).delete();
    const next = await rotate(false);
    expect(next.keys.slice(1)).toEqual(kept);
    expect([next.keys[0]?.alg, next.keys[0]?.kid === gone?.kid]).toEqual(['RS256', false]);
  });

  it('are one of each algorithm when several rotations begin at once', async () => {
    const { db } = server.database;
    await db('jwksKeys').where('signsFrom', '>', new Date()).delete();
    await db('jwksDecryptionKeys').where('publishedFrom', '>', new Date()).delete();
    const rotations = await Promise.all([rotate(false), rotate(false), rotate(false)]);
    for (const { keys } of rotations) expect(keys).toEqual(rotations[0]?.keys);
    expect(await db('jwksKeys').where('signsFrom', '>', new Date())).toHaveLength(4);
    expect(await db('jwksDecryptionKeys').where('publishedFrom', '>', new Date())).toHaveLength(2);
  });

  it('are ten of an algorithm and no more, and a leak can be dealt with all the same', async () => {
    const { db } = server.database;
    const admin = await callerOf(server, { role: 'super_admin' });
    const now = () => admin.request('post', '/admin/keys/rotate', { now: true });
    const count = async () => (await db('jwksKeys').where({ alg: 'RS256' })).length;
    const kept = await db('jwksKeys').orderBy('kid');
    const decrypting = await db('jwksDecryptionKeys').orderBy('kid');
    while ((await count()) < 10) expect((await now()).status).toBe(200);
    const before = await kidsOf(server.issuer);
    const { status, json } = await now();
    expect([status, json.code]).toEqual([409, 'too_many_keys']);
    expect((await admin.request('post', '/admin/keys/rotate')).json.code).toBe('too_many_keys');
    expect([await count(), await kidsOf(server.issuer)]).toEqual([10, before]);
    await rotateKeys(db, server.app.secrets, operator, { revoke: true });
    expect(await count()).toBe(1);
    const restored = (keys: { publicJwk: object }[]) =>
      keys.map((key) => ({ ...key, publicJwk: JSON.stringify(key.publicJwk) }));
    await db('jwksKeys').delete();
    await db('jwksKeys').insert(restored(kept));
    await db('jwksDecryptionKeys').delete();
    await db('jwksDecryptionKeys').insert(restored(decrypting));
    await server.app.provider.reload();
  }, 240_000);

  it('are made outside of the transaction, which others wait for', async () => {
    const { db } = server.database;
    let inTransaction = false;
    const seals: boolean[] = [];
    const secrets = {
      ...server.app.secrets,
      seal: (...args: Parameters<typeof server.app.secrets.seal>) => {
        seals.push(inTransaction);
        return server.app.secrets.seal(...args);
      },
    };
    const watched = new Proxy(db, {
      get: (target, name, receiver) =>
        name === 'transaction'
          ? async (...args: Parameters<typeof db.transaction>) => {
              inTransaction = true;
              return target.transaction(...args).finally(() => {
                inTransaction = false;
              });
            }
          : Reflect.get(target, name, receiver),
    });
    await rotateKeys(watched, secrets, operator, { now: true });
    expect(seals).toEqual(Array(6).fill(false));
  });

  it('that this master key cannot open stop the start instead of being replaced', async () => {
    const { kid, privateEncrypted } = await server.database.db('jwksKeys').first('kid', 'privateEncrypted');
    await server.database
      .db('jwksKeys')
      .where({ kid })
      .update({ privateEncrypted: Buffer.alloc(64, 1) });
    await expect(server.app.provider.reload()).rejects.toThrow();
    await server.database.db('jwksKeys').where({ kid }).update({ privateEncrypted });
    await server.app.provider.reload();
    expect((await fetch(`${server.issuer}/.well-known/jwks.json`)).status).toBe(200);
  });

  it.runIf(onPostgres)('that one replica rotates are in force on another, which hears of them', async () => {
    const settings = {
      ...defaultSettings,
      JWT_ISSUER: server.issuer,
      PORT: '0',
      DATABASE_URL: server.database.url as string,
      DATABASE_POOL_MAX: '4',
    };
    const replica = await serve(loadConfig(settings), createLog('silent'));
    const other = `http://127.0.0.1:${replica.port}`;
    try {
      expect(await kidsOf(other)).toEqual(await kidsOf(server.issuer));
      for (const now of [false, true]) {
        const { keys } = await rotate(now);
        const kids = keys.filter(({ alg }) => !isDecryption(alg)).map(({ kid }) => kid);
        // Where the command ran it is in force when it has answered.
        expect(await kidsOf(server.issuer)).toEqual(expect.arrayContaining(kids));
        const published = async () => {
          const there = await kidsOf(other);
          return kids.every((kid) => there.includes(kid));
        };
        await eventually(published, 'the other replica publishes them', 10_000);
      }
      const token = await issue(machine);
      const jwks = await jwksOf(other);
      await jwtVerify(token, createLocalJWKSet(jwks));
      // What the command line makes has no server of its own to tell.
      const { keys } = await rotateKeys(server.database.db, server.app.secrets, operator);
      for (const address of [other, server.issuer])
        await eventually(
          async () => (await kidsOf(address)).includes(keys[0]?.kid as string),
          `${address} hears of it`,
          10_000,
        );
    } finally {
      await replica.stop();
    }
  });
});

describe('SIGNING_ALGS', () => {
  it('adds ML-DSA, whose tokens verify by the JWKS, and names what clients get that ask for none', async () => {
    const server = await startServer({ SIGNING_ALGS: 'ML-DSA-44,RS256,ML-DSA-65,ML-DSA-87,PS256' });
    try {
      const jwks = await jwksOf(server.issuer);
      expectPublic(jwks);
      expect(jwks.keys.flatMap(({ alg }) => alg ?? []).sort()).toEqual([
        'ML-DSA-44',
        'ML-DSA-65',
        'ML-DSA-87',
        'PS256',
        'RS256',
      ]);
      for (const key of jwks.keys.filter(({ kty }) => kty === 'AKP'))
        expect(Object.keys(key).sort()).toEqual(['alg', 'kid', 'kty', 'pub', 'use']);
      const machine = await openMachine(server);
      const token = await issue(machine);
      expect(kidOf(token)).toBe(jwks.keys.find(({ alg }) => alg === 'ML-DSA-44')?.kid);
      await jwtVerify(token, createLocalJWKSet(jwks), { issuer: server.issuer, typ: 'at+jwt' });
      expect(await machine.isActive(token)).toBe(true);
      const discovery = (await send(`${server.issuer}/.well-known/openid-configuration`)).body;
      expect(discovery.id_token_signing_alg_values_supported.sort()).toEqual(
        jwks.keys.flatMap(({ alg }) => alg ?? []).sort(),
      );
      const rotation = await rotateKeys(server.database.db, server.app.secrets, operator, {
        signing: server.app.config.SIGNING_ALGS,
      });
      expect(rotation.keys.map(({ alg }) => alg)).toEqual([
        ...server.app.config.SIGNING_ALGS,
        'RSA-OAEP-256',
        'ECDH-ES',
      ]);
    } finally {
      await server.stop();
    }
  });

  it('without an algorithm retires its keys: they verify, sign nothing, and are deleted in time', async () => {
    const server = await startServer({ SIGNING_ALGS: 'RS256,ES256' });
    const { db } = server.database;
    const { secrets, config, provider } = server.app;
    try {
      const machine = await openMachine(server);
      const token = await issue(machine);
      const { kid } = await db('jwksKeys').where({ alg: 'ES256' }).first('kid');
      await ensureKeys(db, secrets, ['RS256']);
      // As a replica of the new setting sees it.
      const set = await loadKeySet({ ...config, SIGNING_ALGS: ['RS256'] }, db, secrets);
      expect([set.algs, set.jwks.keys.some((key) => key.kid === kid)]).toEqual([['RS256'], true]);
      expect(await db('auditLogs').where({ action: 'key.retire' }).select('targetId')).toEqual([{ targetId: kid }]);
      expect(await deleteRetiredKeys(db, 60)).toBe(0);
      // An algorithm that comes back begins anew.
      await ensureKeys(db, secrets, ['RS256', 'ES256']);
      expect(await db('jwksKeys').where({ alg: 'ES256', retiredAt: null }).pluck('kid')).not.toContain(kid);
      await db('jwksKeys')
        .where({ kid })
        .update({ retiredAt: new Date(Date.now() - 120_000) });
      expect(await deleteRetiredKeys(db, 60)).toBe(1);
      await provider.reload();
      expect(await kidsOf(server.issuer)).not.toContain(kid);
      expect(await machine.isActive(token)).toBe(true);
    } finally {
      await server.stop();
    }
  });
});
