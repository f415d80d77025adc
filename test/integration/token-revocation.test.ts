/** Emergencies: tokens revoked by user, client and grant, and signing keys rotated under use. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { registerAccount } from '../support/browser.ts';
import { callerOf, machineOf, nobody, type TestCaller } from '../support/callers.ts';
import { eventually, postJson, signedIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
let server: TestServer;
let operator: TestCaller;
beforeAll(async () => {
  server = await startServer();
  operator = await callerOf(server, { role: 'operator' });
});
afterAll(() => server.stop());

const revoke = (body: unknown, caller = operator) => caller.request('POST', '/admin/tokens/revoke', body);
const status = async (path: string, token: string) =>
  (await nobody(server).request('GET', path, undefined, { authorization: `Bearer ${token}` })).status;
const scope = 'openid email users:read:own';
const openPerson = async () => {
  const email = await registerAccount(server);
  const { id } = await server.database.db('users').where({ email }).first('id');
  const browser = await signedIn(server, email);
  const application = await openApplication(server, { scope, first_party: true }, { email, browser });
  const tokens = await application.tokens({ scope, resource: `${server.issuer}/api` });
  const opaque = await application.tokens();
  const rest = (await postJson(`${server.issuer}/auth/login`, { email, password })).json;
  return { id: id as string, email, browser, application, tokens, opaque, rest };
};
type Person = Awaited<ReturnType<typeof openPerson>>;
const alive = async ({ id, browser, application, tokens, opaque, rest }: Person) => ({
  jwt: (await status(`/users/${id}`, tokens.access_token)) === 200,
  introspected: await application.isActive(tokens.access_token),
  opaque: (await status('/oauth/userinfo', opaque.access_token)) === 200,
  refresh: (await application.isActive(tokens.refresh_token)) || (await application.isActive(opaque.refresh_token)),
  rest: (await status(`/users/${id}`, rest.accessToken)) === 200,
  browser: (await browser.go('/account')).url.pathname === '/account',
});
const all = { jwt: true, introspected: true, opaque: true, refresh: true, rest: true, browser: true };
const none = { jwt: false, introspected: false, opaque: false, refresh: false, rest: false, browser: false };

describe('POST /admin/tokens/revoke', () => {
  it('by user: everything, sessions included, and nobody else’s', async () => {
    const [person, other] = [await openPerson(), await openPerson()];
    const code = await person.application.code();
    const bearer = { authorization: `Bearer ${person.rest.accessToken}` };
    const body = { name: 'ci', scopes: ['users:read:own'] };
    const { key } = (await postJson(`${server.issuer}/api-keys`, body, bearer)).json;
    expect(await status(`/users/${person.id}`, key)).toBe(200);
    const { status: answered, json } = await revoke({ userId: person.id, reason: 'INC-1234' });
    expect(await status(`/users/${person.id}`, key)).toBe(401);
    expect([answered, json]).toEqual([200, { sessions: 2, apiKeys: 1, grants: 3, refreshTokens: 3, opaqueTokens: 4 }]);
    expect(await alive(person)).toEqual(none);
    expect((await person.application.exchange(code)).body.error).toBe('invalid_grant');
    expect(await alive(other)).toEqual(all);
    const [event] = await server.database.db('auditLogs').where({ action: 'token.revoke', targetId: person.id });
    expect(event).toMatchObject({ actorId: operator.id, meta: { ...json, reason: 'INC-1234' } });
  });
  it('by user: an operator may stop the tokens of a super_admin', async () => {
    const superAdmin = await callerOf(server, { role: 'super_admin' });
    expect((await revoke({ userId: superAdmin.id })).status).toBe(200);
    expect((await superAdmin.request('GET', '/users')).status).toBe(401);
  });
  it('by client: what people gave it, and what it got for itself', async () => {
    const person = await openPerson();
    const { json } = await revoke({ clientId: person.application.client.client_id });
    expect(json).toEqual({ sessions: 0, apiKeys: 0, grants: 1, refreshTokens: 2, opaqueTokens: expect.any(Number) });
    expect(await alive(person)).toEqual({ ...none, rest: true, browser: true });
    expect(
      await alive({ ...person, tokens: await person.application.tokens({ scope, resource: `${server.issuer}/api` }) }),
    ).toMatchObject({ jwt: true, introspected: true });
  });
  it('by client: JWTs of client_credentials, at REST and at introspection; new ones work in the same second', async () => {
    const machine = await machineOf(server, 'users:read:any');
    const other = await machineOf(server, 'users:read:any');
    const resource = await openApplication(server, { scope: 'tokens:introspect:any' }, { email: 'unused@example.com' });
    expect([(await machine.request('GET', '/users')).status, await resource.isActive(machine.token)]).toEqual([
      200,
      true,
    ]);
    expect((await revoke({ clientId: machine.id })).status).toBe(200);
    expect([(await machine.request('GET', '/users')).status, await resource.isActive(machine.token)]).toEqual([
      401,
      false,
    ]);
    expect([(await other.request('GET', '/users')).status, await resource.isActive(other.token)]).toEqual([200, true]);
    const { issuer } = server;
    const secret = uuid();
    await server.database
      .db('clients')
      .where({ clientId: machine.id })
      .update({ clientSecretHash: createHash('sha256').update(secret).digest('base64url') });
    const answer = await fetch(`${issuer}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${machine.id}:${secret}`)}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'users:read:any' }),
    });
    const { access_token } = (await answer.json()) as { access_token: string };
    expect(await status('/users', access_token)).toBe(200);
  });
  it('by client: a token of a client that is deleted is dead', async () => {
    const machine = await machineOf(server, 'users:read:any');
    const resource = await openApplication(server, { scope: 'tokens:introspect:any' }, { email: 'unused@example.com' });
    await server.database.db('clients').where({ clientId: machine.id }).delete();
    expect([(await machine.request('GET', '/users')).status, await resource.isActive(machine.token)]).toEqual([
      401,
      false,
    ]);
  });
  it('by grant: that alone', async () => {
    const person = await openPerson();
    const { grant_id } = decodeJwt(person.rest.accessToken) as { grant_id: string };
    const { json } = await revoke({ grantId: grant_id });
    expect(json).toMatchObject({ sessions: 0, grants: 1, refreshTokens: 1 });
    expect(await alive(person)).toEqual({ ...all, rest: false });
    expect((await revoke({ grantId: grant_id })).json.code).toBe('grant_not_found');
  });

  for (const [what, body, expected] of [
    ['nobody named', {}, [400, 'invalid_request']],
    ['two named', { clientId: 'a', grantId: 'b' }, [400, 'invalid_request']],
    ['a user’s id that is none', { userId: 'x' }, [400, 'invalid_request']],
    ['a sentence as the reason', { grantId: 'x', reason: 'Ada lost her phone' }, [400, 'invalid_request']],
    ['nobody’s id', { userId: uuid() }, [404, 'user_not_found']],
    ['an unknown client', { clientId: 'nobody' }, [404, 'client_not_found']],
    ['an unknown grant, and an unknown member', { grantId: 'nothing', x: 1 }, [404, 'grant_not_found']],
  ] as const)
    it(`refuses ${what}`, async () => {
      const { status, json } = await revoke(body);
      expect([status, json.code]).toEqual(expected);
    });
});

describe('who may', () => {
  for (const [route, permission, may, mayNot] of [
    ['POST /admin/tokens/revoke', 'tokens:revoke:any', ['admin', 'operator'], ['user', 'moderator']],
    ['GET /admin/keys', 'keys:read:any', ['admin', 'operator'], ['user', 'moderator']],
    ['POST /admin/keys/rotate', 'keys:rotate:any', ['admin', 'operator'], ['user', 'moderator']],
  ] as const)
    it(`${route}: ${may.join(', ')}; not ${mayNot.join(', ')}`, async () => {
      const [method = '', path = ''] = route.split(' ');
      const body = path.endsWith('revoke') ? { grantId: 'nothing' } : undefined;
      const refused = await nobody(server).request(method, path, body);
      expect([refused.status, refused.json.code]).toEqual([401, 'unauthenticated']);
      for (const role of mayNot) {
        const { status, json, headers } = await (await callerOf(server, { role })).request(method, path, body);
        expect([status, json.code]).toEqual([403, 'missing_permission']);
        expect(headers.get('www-authenticate')).toContain(permission);
      }
      for (const role of may)
        expect([200, 404]).toContain((await (await callerOf(server, { role })).request(method, path, body)).status);
    });
});

interface Key {
  kid: string;
  alg: string;
  use: string;
  state: string;
}

describe('signing keys', () => {
  const jwks = async () =>
    ((await (await fetch(`${server.issuer}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }).keys.map(
      ({ kid }) => kid,
    );
  const ofState = (keys: Key[], state: string) => keys.filter((key) => key.use === 'sig' && key.state === state);
  const kidOf = (token: string) => decodeProtectedHeader(token).kid;
  const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];

  it('are listed with their states, and nothing private', async () => {
    const { status, json, text } = await operator.request('GET', '/admin/keys');
    expect([status, json.nextCursor]).toEqual([200, null]);
    expect(Object.keys(json.data[0]).sort()).toEqual(['alg', 'createdAt', 'kid', 'signsFrom', 'state', 'use']);
    expect(
      ofState(json.data, 'signing')
        .map(({ alg }) => alg)
        .sort(),
    ).toEqual(algorithms.toSorted());
    const decrypting = (json.data as Key[]).filter(({ use, state }) => use === 'enc' && state === 'published');
    expect(decrypting.map(({ alg }) => alg).sort()).toEqual(['ECDH-ES', 'RSA-OAEP-256']);
    expect(text).not.toMatch(/"(d|p|q|priv|privateEncrypted)"/);
  });
  it('a new key is in JWKS when the answer comes, and does not sign yet', async () => {
    // Keys that wait already would be answered again.
    await server.database.db('jwksKeys').where('signsFrom', '>', new Date()).delete();
    await server.database.db('jwksDecryptionKeys').where('publishedFrom', '>', new Date()).delete();
    const before = (await operator.request('GET', '/admin/keys')).json.data as Key[];
    const { status, json } = await operator.request('POST', '/admin/keys/rotate', {});
    expect(status).toBe(200);
    const published = ofState(json.data, 'published').filter(({ kid }) => !before.some((key) => key.kid === kid));
    expect(published.map(({ alg }) => alg).sort()).toEqual(algorithms.toSorted());
    const served = await jwks();
    for (const { kid } of [...before, ...published]) expect(served).toContain(kid);
    const waiting = (json.data as Key[]).filter(({ state }) => state === 'waiting');
    expect(waiting.map(({ use }) => use)).toEqual(['enc', 'enc']);
    for (const { kid } of waiting) expect(served).not.toContain(kid);
    const { tokens } = await openPerson();
    expect(ofState(before, 'signing').map(({ kid }) => kid)).toContain(kidOf(tokens.access_token));
  });
  it('with `now` the next token is signed by it, and no older token stops verifying, here or offline', async () => {
    const person = await openPerson();
    const old = kidOf(person.tokens.access_token);
    const { json } = await operator.request('POST', '/admin/keys/rotate', { now: true, unknown: 1 });
    const { refresh_token } = person.tokens;
    const { body } = await person.application.refresh(refresh_token);
    const kid = kidOf(body.access_token as string);
    expect(kid).not.toBe(old);
    expect(ofState(json.data, 'signing').map((key) => key.kid)).toContain(kid);
    expect(ofState(json.data, 'retired').map((key) => key.kid)).toContain(old);
    expect(ofState(json.data, 'published')).toEqual([]);
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/.well-known/jwks.json`));
    for (const token of [person.tokens.access_token, body.access_token as string]) {
      await jwtVerify(token, keys, { issuer: server.issuer });
      expect(await status(`/users/${person.id}`, token)).toBe(200);
    }
  });
  it('with `now` are waited for by the clock: a timer may be early', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const { db } = server.database;
      const signsFrom = new Date(Date.now() + 1000);
      let done = false;
      const rotation = rotateKeys(db, server.app.secrets, { type: 'operator' }, { now: true }).finally(() => {
        done = true;
      });
      await eventually(async () => (await db('jwksKeys').where({ signsFrom })).length > 0, 'new keys');
      await sleep(1500);
      expect(done).toBe(false);
      vi.setSystemTime(signsFrom);
      await rotation;
    } finally {
      vi.useRealTimers();
    }
    await server.app.provider.reload();
  });
  it('rotated under use: no token fails to verify and no request fails', async () => {
    const person = await openPerson();
    let done = false;
    const outcomes: unknown[] = [];
    const use = async () => {
      let refreshToken = (await postJson(`${server.issuer}/auth/login`, { email: person.email, password })).json
        .refreshToken;
      while (!done) {
        const { status: refreshed, json } = await postJson(`${server.issuer}/auth/refresh`, { refreshToken });
        refreshToken = json.refreshToken;
        outcomes.push(refreshed, await status(`/users/${person.id}`, json.accessToken));
      }
    };
    const users = [use(), use(), use()];
    for (let rotation = 0; rotation < 4; rotation++)
      expect((await operator.request('POST', '/admin/keys/rotate', { now: true })).status).toBe(200);
    done = true;
    await Promise.all(users);
    expect(outcomes.length).toBeGreaterThan(10);
    expect(new Set(outcomes)).toEqual(new Set([200]));
  }, 60_000);
  for (const body of [{ now: 'yes' }, [], 'null'])
    it(`refuse ${JSON.stringify(body)}`, async () => {
      const before = await jwks();
      const { status } = await operator.request('POST', '/admin/keys/rotate', body);
      expect(status).toBe(400);
      expect(await jwks()).toEqual(before);
    });
});

describe('signing keys from a file', () => {
  it('are listed, and rotated there alone', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'countersign-keys-'));
    const path = join(directory, 'keys.pem');
    const pem = () =>
      generateKeyPairSync('rsa', {
        modulusLength: 2048,
        publicKeyEncoding: { type: 'spki', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      }).privateKey;
    await writeFile(path, pem() + pem());
    const own = await startServer({ JWKS_PRIVATE_KEY_PATH: path });
    try {
      const caller = await callerOf(own, { role: 'admin' });
      const { json, text } = await caller.request('GET', '/admin/keys');
      expect(json.data).toEqual([
        { kid: expect.any(String), alg: 'RS256', use: 'sig', state: 'signing', signsFrom: null, createdAt: null },
        { kid: expect.any(String), alg: 'RS256', use: 'sig', state: 'published', signsFrom: null, createdAt: null },
      ]);
      expect(text).not.toMatch(/"(d|p|q)"/);
      const { status, json: refused } = await caller.request('POST', '/admin/keys/rotate', { now: true });
      expect([status, refused.code]).toEqual([409, 'keys_in_file']);
    } finally {
      await own.stop();
      await rm(directory, { recursive: true });
    }
  }, 60_000);
});
