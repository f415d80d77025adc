/** What oidc-provider may expect of its storage, and what we ask of it besides: a suite for any backend. */

import { randomBytes } from 'node:crypto';
import type { Adapter, AdapterPayload } from 'oidc-provider';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOidcAdapter } from '../../adapters/oidc.ts';
import type { OidcStorage } from '../../adapters/oidc-storage.ts';
import { createTokenReads } from '../../adapters/token-reads.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { createClient, operatorPowers } from '../../src/clients/clients.commands.ts';
import { createMeetings } from '../../src/resource-servers/meetings.ts';
import { createSecrets, hashToken } from '../../src/secrets.ts';
import type { TestDatabase } from '../support/database.ts';
import { dumpTables } from '../support/dump.ts';
import { knownClients, unremembered } from '../support/known-clients.ts';

/** A method that the engine never calls on a model says so; it does not silently do nothing. */
const missing = /is not a thing/;

/** Models, with the methods that the engine calls on them and what their payload looks like. */
const models: Record<string, { methods: string[]; payload: (ids: Ids) => AdapterPayload; error?: string }> = {
  AuthorizationCode: { methods: ['consume', 'revokeByGrantId'], payload: granted, error: 'invalid_grant' },
  AccessToken: { methods: ['revokeByGrantId'], payload: granted },
  RefreshToken: { methods: ['consume', 'revokeByGrantId'], payload: granted, error: 'invalid_grant' },
  DeviceCode: { methods: ['consume', 'revokeByGrantId', 'findByUserCode'], payload: granted, error: 'invalid_grant' },
  BackchannelAuthenticationRequest: {
    methods: ['consume', 'revokeByGrantId'],
    payload: granted,
    error: 'invalid_grant',
  },
  PushedAuthorizationRequest: {
    methods: ['consume'],
    payload: () => ({ request: 'eyJ.pushed.request' }),
    error: 'invalid_request_uri',
  },
  ClientCredentials: { methods: [], payload: ({ clientId }) => ({ clientId, scope: 'read' }) },
  Interaction: {
    methods: [],
    payload: ({ accountId }) => ({
      prompt: { name: 'login', reasons: ['no_session'], details: {} },
      params: { state: 'pending-state' },
      session: { accountId, cookie: 'live-session-cookie' },
      deviceCode: 'live-device-code',
    }),
  },
  RegistrationAccessToken: { methods: [], payload: ({ clientId }) => ({ clientId }) },
  InitialAccessToken: { methods: [], payload: () => ({ policies: ['open'] }) },
  ReplayDetection: { methods: [], payload: () => ({ iss: 'https://client.example' }) },
  Session: {
    methods: ['findByUid'],
    payload: ({ accountId }) => ({ accountId, uid: 'uid-of-the-session', loginTs: 1_700_000_000 }),
  },
  Grant: { methods: [], payload: ({ accountId, clientId }) => ({ accountId, clientId, openid: { scope: 'openid' } }) },
};
/** Models that wait for a person's decision, which is saved over what was saved first. */
const pending = ['DeviceCode', 'BackchannelAuthenticationRequest'];
const ownTables = ['Grant', 'Session', 'RefreshToken'];
const optional = ['consume', 'revokeByGrantId', 'findByUserCode', 'findByUid'] as const;

interface Ids {
  accountId: string;
  clientId: string;
  grantId: string;
}

function granted({ accountId, clientId, grantId }: Ids): AdapterPayload {
  return { accountId, clientId, grantId, scope: 'openid', claims: { id_token: { email: null } } };
}

const random = () => randomBytes(24).toString('base64url');

export const describeOidcAdapter = (name: string, open: () => Promise<TestDatabase>, concurrent: boolean): void => {
  describe(`the storage of oidc-provider on ${name}`, () => {
    let database: TestDatabase;
    let adapter: (model: string) => Adapter;
    let ids: Omit<Ids, 'grantId'>;
    const secrets = createSecrets(randomBytes(32).toString('base64'));
    const rows = async () =>
      Object.values(await dumpTables(database.db, ['public']))
        .flat()
        .join('\n');

    beforeAll(async () => {
      database = await open();
      const { db } = database;
      const storage: OidcStorage = {
        db,
        findClientMetadata: knownClients(db),
        meetings: createMeetings(unremembered, db),
        reads: createTokenReads(db, 0),
        secrets,
        refreshTokenGraceSeconds: 0,
        accessTokenMaxSeconds: 900,
        ownAudience: 'countersign-api',
        openResources: false,
        findJwt: (model, name) => Promise.resolve({ kind: model, jti: name }),
      };
      adapter = createOidcAdapter(storage) as (model: string) => Adapter;
      const accountId = uuid();
      const roleId = (await db('roles').first('id')).id;
      await db('users').insert({ id: accountId, email: 'ada@example.com', name: 'Ada', roleId });
      await db('clients').insert({ clientId: 'acme' });
      ids = { accountId, clientId: 'acme' };
    });
    afterAll(async () => {
      await database.close();
      await database.drop();
    });

    /** Stores one of a model. */
    const store = async (model: string, extra: AdapterPayload = {}, seconds = 60) => {
      const id = model === 'PushedAuthorizationRequest' ? `urn:ietf:params:oauth:request_uri:${random()}` : random();
      const grantId = random();
      const exp = Math.floor(Date.now() / 1000) + seconds;
      const payload = { ...models[model]?.payload({ ...ids, grantId }), kind: model, exp, ...extra };
      const { accountId: _account, grantId: _grant, ...waiting } = payload as AdapterPayload;
      if (pending.includes(model)) await adapter(model).upsert(id, { ...waiting, jti: id }, seconds);
      await adapter(model).upsert(id, { ...payload, jti: id }, seconds);
      return { id, grantId, payload, of: adapter(model) };
    };

    for (const [model, { methods, error }] of Object.entries(models)) {
      describe(model, () => {
        it('is found as it was stored, and is undefined when there is none', async () => {
          const { id, payload, of } = await store(model);
          expect(await of.find(id)).toEqual({ ...payload, jti: id });
          expect(await of.find(random())).toBeUndefined();
        });

        it.skipIf(pending.includes(model))('is not found once it has expired', async () => {
          const { id, of } = await store(model, {}, -1);
          expect(await of.find(id)).toBeUndefined();
        });

        it('is not found after it was destroyed', async () => {
          const { id, of } = await store(model);
          await of.destroy(id);
          await of.destroy(id);
          expect(await of.find(id)).toBeUndefined();
        });

        it.skipIf(['ReplayDetection', 'RefreshToken', ...pending].includes(model))(
          'is replaced when stored again',
          async () => {
            const { id, payload, of } = await store(model, {}, 1);
            const { claims: _claims, ...changed } = { ...payload, acr: 'changed' } as AdapterPayload;
            await of.upsert(id, { ...changed, jti: id }, 60);
            expect(await of.find(id)).toEqual({ ...changed, jti: id });
            if (methods.includes('consume')) {
              await of.consume(id);
              await of.upsert(id, { ...changed, jti: id }, 60);
              expect(await of.find(id)).toMatchObject({ consumed: expect.any(Number) });
            }
          },
        );

        it('leaves no value in the database that a bearer could use', async () => {
          const { id } = await store(model, model === 'DeviceCode' ? { userCode: 'WDJB-MJHT' } : {});
          const stored = await rows();
          if (model !== 'Grant') expect(stored).not.toContain(id.replace(/^urn.*:/, ''));
          for (const secret of [
            'WDJB-MJHT',
            'WDJBMJHT',
            'live-session-cookie',
            'live-device-code',
            'pushed.request',
            'pending-state',
          ])
            expect(stored).not.toContain(secret);
        });

        if (methods.includes('consume')) {
          it('is used once: the second use is refused, and revokes what the first one gave', async () => {
            const { id, grantId, of } = await store(model);
            const token = await store('AccessToken', { grantId });
            const grant = await store('Grant');
            await database.db('grants').where({ id: grant.id }).update({ id: grantId });
            await of.consume(id);
            expect(await of.find(id)).toMatchObject({ consumed: expect.any(Number) });
            await expect(of.consume(id)).rejects.toMatchObject({ error });
            if (model === 'PushedAuthorizationRequest') return;
            expect(await token.of.find(token.id)).toBeUndefined();
            expect(await grant.of.find(grantId)).toBeUndefined();
          });

          it('cannot be used when there is none', () =>
            expect(adapter(model).consume(random())).rejects.toMatchObject({ error }));

          it.runIf(concurrent)('is used by one of many at once', async () => {
            for (let round = 0; round < 5; round++) {
              const { id, of } = await store(model);
              const uses = await Promise.allSettled(Array.from({ length: 25 }, () => of.consume(id)));
              expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
              for (const use of uses) if (use.status === 'rejected') expect(use.reason).toMatchObject({ error });
            }
          });
        }

        if (methods.includes('revokeByGrantId')) {
          it('goes with its grant, and with no other', async () => {
            const [mine, other] = [await store(model), await store(model)];
            await mine.of.revokeByGrantId(mine.grantId);
            expect(await mine.of.find(mine.id)).toBeUndefined();
            expect(await other.of.find(other.id)).toBeDefined();
          });
        }

        // The models that have a table of their own have adapters of their own.
        if (ownTables.includes(model))
          for (const method of optional.filter((method) => !methods.includes(method)))
            it(`has no ${method}, and says so`, () =>
              expect(adapter(model)[method](random())).rejects.toThrow(missing));
      });
    }

    it('DeviceCode is found by its user code, whole: the engine saves what it found', async () => {
      const { id, payload, of } = await store('DeviceCode', { userCode: 'BCDF-GHJK' });
      expect(await of.findByUserCode('BCDF-GHJK')).toEqual({ ...payload, jti: id });
      expect(await of.findByUserCode('BCDF-GHJL')).toBeUndefined();
      expect(await of.find(id)).toEqual({ ...payload, jti: id });
    });

    for (const model of pending)
      describe(`${model}, which waits for a decision`, () => {
        const waiting = { kind: model, clientId: 'acme', exp: Math.floor(Date.now() / 1000) + 60 };
        const decided = () => ({ ...waiting, accountId: ids.accountId, grantId: random() });

        it('is kept for a while when it has expired, so that its client can be told', async () => {
          const { id, of } = await store(model, {}, -1);
          expect(await of.find(id)).toBeDefined();
          const late = await store(model, {}, -700);
          expect(await late.of.find(late.id)).toBeUndefined();
        });

        it('is decided once, and not undone by what is saved later', async () => {
          const id = random();
          const of = adapter(model);
          const [first, second] = [decided(), { ...waiting, error: 'access_denied' }];
          await of.upsert(id, { ...waiting, jti: id }, 60);
          await of.upsert(id, { ...first, jti: id }, 60);
          await expect(of.upsert(id, { ...second, jti: id }, 60)).rejects.toMatchObject({ error: 'invalid_request' });
          expect(await of.find(id)).toEqual({ ...first, jti: id });
        });

        it('is decided once by many at once', async () => {
          const id = random();
          const of = adapter(model);
          await of.upsert(id, { ...waiting, jti: id }, 60);
          const tries = Array.from({ length: 10 }, () => of.upsert(id, { ...decided(), jti: id }, 60));
          const outcomes = await Promise.allSettled(tries);
          expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        });

        it('cannot be decided when it is gone', async () => {
          const id = random();
          await expect(adapter(model).upsert(id, { ...decided(), jti: id }, 60)).rejects.toMatchObject({
            error: 'invalid_request',
          });
        });
      });

    it('Session is found by its uid, of several the one seen last, and without what only the cookie knows', async () => {
      const uid = random();
      const first = await store('Session', { uid });
      // The embedded database's clock counts whole milliseconds, in one of which both may have been stored.
      await database
        .db('sessions')
        .where({ uid })
        .update({ lastSeenAt: new Date(Date.now() - 60_000) });
      await store('Session', { uid, acr: 'later' });
      const found = await first.of.findByUid(uid);
      expect(found).toMatchObject({ uid, acr: 'later' });
      expect(found).not.toHaveProperty('jti');
      expect(await first.of.findByUid(random())).toBeUndefined();
      const gone = await store('Session', {}, -1);
      await database.db('sessions').where({ uid }).delete();
      expect(await gone.of.findByUid(uid)).toBeUndefined();
    });

    it('ReplayDetection keeps the first of two, which the engine alone cannot', async () => {
      const { id, of } = await store('ReplayDetection');
      await expect(of.upsert(id, { jti: id, iss: 'x' }, 60)).rejects.toMatchObject({ error: 'invalid_request' });
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, () => of.upsert('one assertion', { jti: 'one assertion' }, 60)),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    it('RefreshToken is never found once it is marked as revoked', async () => {
      const { id, of } = await store('RefreshToken');
      await database.db('refreshTokens').update({ revoked: true });
      expect(await of.find(id)).toBeUndefined();
      await expect(of.consume(id)).rejects.toMatchObject({ error: 'invalid_grant' });
    });

    it('Client is a row with columns; its secret is known by a hash alone', async () => {
      const registered = await createClient(
        database.db,
        operator,
        operatorPowers,
        { redirect_uris: ['https://app.example.com/'], scope: 'openid email api:read', client_name: 'Acme' },
        () => Promise.resolve(),
      );
      const found = await adapter('Client').find(registered.client_id as string);
      expect(found).toMatchObject({ client_id: registered.client_id, scope: 'openid email', api_scope: 'api:read' });
      expect(found?.client_secret).not.toBe(registered.client_secret);
      expect(await rows()).not.toContain(registered.client_secret);
      expect(await adapter('Client').find('nobody')).toBeUndefined();
      for (const method of ['upsert', 'destroy', ...optional] as const)
        await expect(adapter('Client')[method]('acme', {}, 1)).rejects.toThrow(missing);
    });

    for (const model of ['AccessToken', 'ClientCredentials'])
      it(`${model} that is a JWT is verified instead of looked up, and its revocation is remembered`, async () => {
        expect(await adapter(model).find('jwt~payload')).toEqual({ kind: model, jti: 'jwt~payload' });
        const jti = random();
        await adapter(model).destroy(jti);
        const jtiHash = hashToken(jti);
        expect(await database.db('revokedTokens').where({ jtiHash }).first('jtiHash')).toEqual({ jtiHash });
      });

    it('a sealed document opens in its own row alone', async () => {
      const [one, two] = [await store('Interaction'), await store('Interaction')];
      const hashes = await database
        .db('oidcPayloads')
        .where({ model: 'Interaction' })
        .orderBy('createdAt', 'desc')
        .limit(2);
      await database
        .db('oidcPayloads')
        .where({ idHash: hashes[0].idHash })
        .update({ payload: JSON.stringify(hashes[1].payload) });
      const results = await Promise.allSettled([one.of.find(one.id), two.of.find(two.id)]);
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    });
  });
};
