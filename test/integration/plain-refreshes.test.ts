/**
 * The plainest refreshes go past the engine's chain of middlewares (`provider/plain-refreshes.ts`): whatever they come to, the same
 * request in another spelling comes to through the chain.
 */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Db, notify } from '../../db/connect.ts';
import { hashToken } from '../../src/secrets.ts';
import { makeOrganization } from '../support/organizations.ts';
import {
  basic,
  elsewhere,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  type Reply,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let db: Db;
let person: Person;
let userId: string;
beforeAll(async () => {
  server = await startServer({ REFRESH_TOKEN_GRACE: '60s', SIGNING_ALGS: 'RS256,ES256' });
  ({ db } = server.database);
  person = await newPerson(server);
  userId = await idOf(person);
});
afterAll(() => server.stop());

const idOf = async ({ email }: Person): Promise<string> =>
  (await server.database.db('users').where({ email }).first('id')).id;

// The engine alone speaks of CORS where nobody asked for it, which tells who has answered.
const byEngine = ({ headers }: Reply) => headers.has('access-control-allow-origin');
type Form = Record<string, string>;
const ask = ({ client }: Pick<RelyingParty, 'client'>, form: Form, headers: Record<string, string> = {}) =>
  post(server, '/oauth/token', { grant_type: 'refresh_token', ...form }, { ...basic(client), ...headers });
/** How a request is made, and in another spelling: an unknown parameter must be ignored (RFC 6749 section 3.2). */
const plainly = (party: Pick<RelyingParty, 'client'>, refresh_token: string, headers?: Record<string, string>) =>
  ask(party, { refresh_token }, headers);
const otherwise = (party: Pick<RelyingParty, 'client'>, refresh_token: string, headers?: Record<string, string>) =>
  ask(party, { refresh_token, unknown: 'x' }, headers);

/** Of a JWT all but what is another each time. */
const readJwt = (jwt: unknown) => {
  if (typeof jwt !== 'string' || !jwt.startsWith('ey')) return typeof jwt;
  const header = decodeProtectedHeader(jwt);
  if ('enc' in header) return header;
  const { iat = 0, exp = 0, jti, nonce, sid, grant_id, auth_time, ...claims } = decodeJwt(jwt);
  const kinds = { jti: typeof jti, nonce: typeof nonce, sid: typeof sid, grant_id: typeof grant_id };
  return { header, claims, lifetime: exp - iat, ...kinds, auth_time: typeof auth_time };
};
const told = ({ status, headers, body }: Reply) => {
  const { access_token, refresh_token, id_token, ...rest } = body;
  const names = ['cache-control', 'content-type', 'vary', 'www-authenticate', 'x-frame-options', 'dpop-nonce'];
  return {
    status,
    members: Object.keys(body),
    rest,
    tokens: [readJwt(access_token), typeof refresh_token, readJwt(id_token)],
    said: names.map((name) => headers.get(name)),
  };
};

/** Of a stored payload all but times and what is another for each session. */
const lasting = (payload: Record<string, unknown>) => {
  const { iat, exp, iiat, authTime, nonce, grantId, sessionUid, sid, extra, ...rest } = payload;
  const { auth_time, ...others } = (extra ?? {}) as Record<string, unknown>;
  return { ...rest, lifetime: (exp as number) - (iat as number), extra: others, auth_time: typeof auth_time };
};
/** What is left in the database of a token, and of those that it gave. */
const stored = async (parent: string, { body }: Reply) => {
  const rows = await db('refreshTokens')
    .whereIn('tokenHash', [parent, body.refresh_token ?? ''].map(hashToken))
    .orderByRaw('parent_hash nulls first');
  const access = await db('oidcPayloads')
    .where({ idHash: hashToken(String(body.access_token)) })
    .first('model', 'payload');
  return {
    refreshTokens: rows.map(({ payload, consumedAt, parentHash, revoked, superseded, userId, clientId }) => ({
      payload: lasting(payload),
      ...{ used: consumedAt !== null, isFirst: parentHash === null, revoked, superseded, userId, clientId },
    })),
    accessToken: access && { model: access.model, payload: lasting(access.payload) },
  };
};

/** What was written down because of a request, once it is. */
const written = async ({ headers }: Reply, grantId: string, count: number) => {
  const requestId = headers.get('x-request-id');
  const find = () =>
    db('auditLogs')
      .where({ requestId })
      .orWhere({ targetType: 'grant', targetId: grantId })
      .select('action', 'actorType', 'targetType', 'meta');
  await eventually(async () => (await find()).length >= count, 'what is written down');
  return (await find()).sort((a, b) => a.action.localeCompare(b.action) || a.actorType.localeCompare(b.actorType));
};

describe('is answered as the engine answers it', () => {
  const api = (scope: string): Parameters => ({ scope, resource: `${server.issuer}/api` });
  const kinds: {
    name: string;
    metadata?: object;
    parameters?(): Promise<Parameters> | Parameters;
    isPlain?: boolean;
    isRefused?: boolean;
  }[] = [
    { name: 'an id_token and a token for userinfo', parameters: () => ({ scope: 'openid profile email' }) },
    { name: 'a JWT and an id_token', parameters: () => api('openid users:read:own') },
    { name: 'a JWT alone', parameters: () => ({ ...api('users:read:own'), nonce: undefined }) },
    { name: 'what outlives the session', parameters: () => ({ scope: 'openid offline_access', prompt: 'consent' }) },
    { name: 'claims that were asked for', parameters: () => ({ claims: '{"id_token":{"email":null,"roles":null}}' }) },
    { name: 'scopes that tell what somebody may do', parameters: () => api('openid roles permissions groups') },
    {
      name: 'a sign-in for an organization',
      parameters: async () => ({ organization: (await makeOrganization(server, { members: [userId] })).id }),
    },
    { name: 'a pairwise sub', metadata: { subject_type: 'pairwise' } },
    { name: 'another algorithm', metadata: { id_token_signed_response_alg: 'ES256' } },
    { name: 'an application of nobody’s own', metadata: { first_party: false } },
    {
      name: 'a client that posts its secret',
      metadata: { token_endpoint_auth_method: 'client_secret_post' },
      isPlain: false,
    },
    // Whose refusal is up to the grant itself.
    { name: 'a client that must prove its key', metadata: { dpop_bound_access_tokens: true }, isRefused: true },
    { name: 'a client that may not', metadata: { grant_types: ['authorization_code'] }, isPlain: false },
  ];
  for (const { name, metadata = {}, parameters = () => ({}), isPlain = true, isRefused = !isPlain } of kinds)
    it(name, async () => {
      const scope = 'openid profile email offline_access roles permissions groups users:read:own';
      const party = await registerRelyingParty(server, { first_party: true, scope, ...metadata });
      const code = await parameters();
      const tokens = !isRefused ? await Promise.all([1, 2].map(() => party.signIn(elsewhere(person), code))) : [];
      const [first = '', second = ''] = !isRefused ? tokens.map(({ refresh_token }) => refresh_token) : ['x', 'y'];
      const [plain, other] = [await plainly(party, first), await otherwise(party, second)];
      expect(told(plain)).toEqual(told(other));
      expect(plain.status === 200).toBe(!isRefused);
      expect([byEngine(plain), byEngine(other)]).toEqual([!isPlain, true]);
      if (isRefused) return;
      expect(await stored(first, plain)).toEqual(await stored(second, other));
      // What came of each of them is refreshed as well, the other way.
      const again = [await otherwise(party, plain.body.refresh_token), await plainly(party, other.body.refresh_token)];
      expect(told(again[0] as Reply)).toEqual(told(again[1] as Reply));
      expect(again.map(({ status }) => status)).toEqual([200, 200]);
    });
});

describe('is refused as the engine refuses it', () => {
  interface Family {
    party: RelyingParty;
    person: Person;
    token: string;
    grantId: string;
  }
  const age = (token: string, members: object) =>
    db('refreshTokens')
      .where({ tokenHash: hashToken(token) })
      .update(members);
  const past = (seconds: number) => new Date(Date.now() - seconds * 1000);
  const stranger = () => registerRelyingParty(server, { first_party: true });
  const spoiled: { name: string; spoil(family: Family): Promise<unknown>; audited?: number; status?: number }[] = [
    { name: 'it has expired', spoil: ({ token }) => age(token, { expiresAt: past(1) }) },
    { name: 'it was revoked', spoil: ({ token }) => age(token, { revoked: true }) },
    {
      name: 'it is unknown',
      spoil: ({ token }) =>
        db('refreshTokens')
          .where({ tokenHash: hashToken(token) })
          .delete(),
    },
    { name: 'it was used, and its answer was lost', spoil: ({ party, token }) => plainly(party, token), status: 200 },
    {
      name: 'it was used a while ago',
      spoil: async ({ party, token }) => {
        await plainly(party, token);
        await age(token, { consumedAt: past(61) });
      },
      audited: 2,
    },
    {
      name: 'its successor was used',
      spoil: async ({ party, token }) => {
        const { body } = await otherwise(party, token);
        await plainly(party, body.refresh_token);
      },
      audited: 2,
    },
    {
      name: 'it was given up for another',
      spoil: async (family) => {
        const { body } = await plainly(family.party, family.token);
        await plainly(family.party, family.token);
        family.token = body.refresh_token;
      },
      audited: 2,
    },
    {
      name: 'it is another client’s',
      spoil: async (family) => {
        family.party = await stranger();
      },
    },
    {
      name: 'the session has ended',
      spoil: async ({ person: { browser } }) => browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' }),
      audited: 2,
    },
    { name: 'its grant is gone', spoil: ({ grantId }) => db('grants').where({ id: grantId }).delete() },
    {
      name: 'its grant has expired',
      spoil: ({ grantId }) =>
        db('grants')
          .where({ id: grantId })
          .update({ expiresAt: past(1) }),
    },
    {
      name: 'its grant is another person’s',
      spoil: async ({ grantId }) => {
        const { payload } = await db('grants').where({ id: grantId }).first('payload');
        const other = await idOf(await newPerson(server));
        await db('grants')
          .where({ id: grantId })
          .update({ payload: JSON.stringify({ ...payload, accountId: other }) });
      },
    },
    {
      name: 'the account is not active',
      spoil: ({ person: { email } }) => db('users').where({ email }).update({ status: 'deactivated' }),
    },
    {
      name: 'a second factor is asked for meanwhile',
      spoil: async ({ person }) => {
        const { id } = await makeOrganization(server, { members: [await idOf(person)] });
        await db('organizations').where({ id }).update({ requireMfa: true });
        await notify(db, 'access', '*');
      },
    },
  ];
  for (const { name, spoil, audited = 1, status = 400 } of spoiled)
    it(name, async () => {
      const party = await registerRelyingParty(server, { first_party: true });
      const open = async (): Promise<Family> => {
        const someone = await newPerson(server);
        const { refresh_token: token } = await party.signIn(someone);
        const { grantId } = await db('refreshTokens')
          .where({ tokenHash: hashToken(token) })
          .first('grantId');
        return { party, person: someone, token, grantId };
      };
      const families = [await open(), await open()] as const;
      for (const family of families) await spoil(family);
      const [first, second] = families;
      const plain = await plainly(first.party, first.token);
      const other = await otherwise(second.party, second.token);
      expect([plain.status, byEngine(plain), byEngine(other)]).toEqual([status, false, true]);
      expect(comparable(plain, first)).toEqual(comparable(other, second));
      if (status === 200) return;
      expect(await written(plain, first.grantId, audited)).toEqual(await written(other, second.grantId, audited));
      for (const table of ['refreshTokens', 'oidcPayloads'])
        expect(await db(table).where({ grantId: first.grantId })).toHaveLength(
          (await db(table).where({ grantId: second.grantId })).length,
        );
    });
  const comparable = (reply: Reply, { grantId }: Family) =>
    JSON.parse(JSON.stringify(told(reply)).replaceAll(grantId, 'grant'), withoutPerson);
  /** The two are of two people. */
  const withoutPerson = (key: string, value: unknown) => (key === 'sub' ? typeof value : value);

  it('whoever would see a page, too', async () => {
    const party = await stranger();
    const html = { accept: 'text/html,*/*;q=0.8' };
    const [plain, other] = [await plainly(party, 'x', html), await otherwise(party, 'x', html)];
    expect(told(plain)).toEqual(told(other));
    expect([plain.status, plain.body.error]).toEqual([400, 'invalid_grant']);
  });

  it('a wrong secret, and a client that is unknown', async () => {
    const { client } = await stranger();
    for (const change of [{ client_secret: 'x'.repeat(43) }, { client_id: 'nobody' }]) {
      const party = { client: { ...client, ...change } };
      const [plain, other] = [await plainly(party, 'x'), await otherwise(party, 'x')];
      expect(told(plain)).toEqual(told(other));
      expect([plain.status, byEngine(plain)]).toEqual([401, true]);
    }
  });
});

describe('the plainest', () => {
  let party: RelyingParty;
  beforeAll(async () => {
    party = await registerRelyingParty(server, { first_party: true, scope: 'openid email' });
  });
  const token = async () => (await party.signIn(person)).refresh_token;

  it('is the one that it says', async () => {
    const asked: [name: string, form: Form, headers?: Record<string, string>][] = [
      ['plain', {}],
      ['with a scope', { scope: 'openid' }],
      ['with its client_id', { client_id: party.client.client_id }],
      ['for a resource', { resource: `${server.issuer}/api` }],
      ['with details', { authorization_details: '[]' }],
      ['from a page', {}, { origin: new URL(redirectUri).origin }],
      ['with a proof', {}, { dpop: 'x' }],
      ['that is attested', {}, { 'oauth-client-attestation': 'x' }],
    ];
    const plain: string[] = [];
    for (const [name, form, headers] of asked)
      if (!byEngine(await ask(party, { refresh_token: await token(), ...form }, headers))) plain.push(name);
    // What a page sends from an origin that is not the client's has no header of CORS either.
    expect(plain).toEqual(['plain', 'from a page']);
  });

  it('names no token twice, and none that is empty', async () => {
    const twice = `grant_type=refresh_token&refresh_token=x&refresh_token=y`;
    for (const form of [twice, 'grant_type=refresh_token&refresh_token=', 'grant_type=refresh_token']) {
      const reply = await post(server, '/oauth/token', form, basic(party.client));
      expect([reply.status, reply.body.error, byEngine(reply)]).toEqual([400, 'invalid_request', true]);
    }
  });

  it('counts', async () => {
    const granted = async () => {
      const { body } = await send(`${server.issuer}/metrics`);
      return Number(/^tokens_issued_total\{[^}]*refresh_token[^}]*\} (\d+)/m.exec(String(body))?.[1] ?? 0);
    };
    const first = await token();
    const before = await granted();
    await plainly(party, first);
    expect(await granted()).toBe(before + 1);
    // One that is refused does not.
    await plainly(party, 'x');
    expect(await granted()).toBe(before + 1);
  });
});

describe('a token is used before anything is given for it', () => {
  let party: RelyingParty;
  beforeAll(async () => {
    party = await registerRelyingParty(server, { first_party: true, scope: 'openid email users:read:own' });
  });
  /** Has the statement that rotates wait, and end as it is told. */
  const holdRotation = () => {
    const { promise: isSent, resolve: sent } = Promise.withResolvers<void>();
    const { promise: end, resolve: release, reject: fail } = Promise.withResolvers<void>();
    const { client } = db;
    const { query } = client;
    client.query = async (connection: object, asked: { sql: string }) => {
      if (!/^with asked as .*update refresh_tokens/s.test(asked.sql)) return query.call(client, connection, asked);
      client.query = query;
      sent();
      await end;
      return query.call(client, connection, asked);
    };
    return { isSent, release, fail };
  };

  const ways = { plainly, 'through the chain': otherwise };
  const kinds: Record<string, () => Parameters> = {
    'an opaque token and an id_token': () => ({}),
    'a JWT and an id_token': () => ({ scope: 'openid users:read:own', resource: `${server.issuer}/api` }),
    'a JWT alone': () => ({ scope: 'users:read:own', resource: `${server.issuer}/api`, nonce: undefined }),
  };
  const cases = Object.entries(ways).flatMap(([way, refresh]) =>
    Object.entries(kinds).map(([kind, parameters]) => ({ name: `${kind}, ${way}`, refresh, parameters })),
  );

  it.each(cases)('$name: the answer waits for it', async ({ refresh, parameters }) => {
    const { refresh_token } = await party.signIn(person, parameters());
    const held = holdRotation();
    let isAnswered = false;
    const answer = refresh(party, refresh_token).finally(() => {
      isAnswered = true;
    });
    await held.isSent;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isAnswered).toBe(false);
    held.release();
    expect((await answer).status).toBe(200);
  });

  it.each(cases)(
    '$name: when that fails nothing is given, and the token is as good as before',
    async ({ refresh, parameters }) => {
      const { refresh_token } = await party.signIn(person, parameters());
      const held = holdRotation();
      const answer = refresh(party, refresh_token);
      await held.isSent;
      held.fail(Object.assign(new Error('Connection terminated unexpectedly'), { code: '08006' }));
      const { status, body } = await answer;
      expect([status, body]).toEqual([
        503,
        { error: 'temporarily_unavailable', error_description: expect.any(String) },
      ]);
      expect((await refresh(party, refresh_token)).status).toBe(200);
    },
  );

  it.each(Object.entries(ways))('the id_token is made meanwhile: %s', async (_way, refresh) => {
    const { refresh_token } = await party.signIn(person);
    const prototype = server.app.provider.provider().IdToken.prototype as unknown as { payload(): Promise<object> };
    const { payload } = prototype;
    const { promise: isMade, resolve: made } = Promise.withResolvers<void>();
    prototype.payload = function () {
      made();
      return payload.call(this);
    };
    const held = holdRotation();
    const answer = refresh(party, refresh_token);
    await held.isSent;
    await isMade;
    prototype.payload = payload;
    held.release();
    expect((await answer).body.id_token).toEqual(expect.any(String));
  });
});
