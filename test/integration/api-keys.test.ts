/** API keys: made by people for their programs, narrower than themselves, and dead at once when they are revoked. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { createKey } from '../../src/api-keys/api-key-format.ts';
import { callerOf, giveRole, type TestCaller } from '../support/callers.ts';
import { basic, bearer, expectError, post, send, tampered } from '../support/relying-party.ts';
import { eventually, mailCount } from '../support/requests.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const apiKeyType = 'urn:countersign:params:oauth:token-type:api_key';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
const ownScopes = ['users:read:own', 'api_keys:read:own'];

let server: TestServer;
let user: TestCaller;
let admin: TestCaller;
let gateway: RegisteredClient;
beforeAll(async () => {
  server = await startServer();
  user = await callerOf(server);
  admin = await callerOf(server, { role: 'admin' });
  gateway = await server.client({ grant_types: [exchange], redirect_uris: [], scope: ownScopes.join(' ') });
});
afterAll(() => server.stop());

interface Key {
  id: string;
  key: string;
  [member: string]: unknown;
}

const create = async (body: object = {}, by = user): Promise<Key> => {
  const { status, json, text } = await by.request('post', '/api-keys', { name: 'ci', scopes: ownScopes, ...body });
  expect([status, status === 201 || text]).toEqual([201, true]);
  return json;
};
const keys = () => server.database.db('apiKeys').orderBy('id');
/** One request with the key instead of a token. */
const withKey = (key: string, path: string, init: RequestInit = {}) =>
  send(`${server.issuer}${path}`, { ...init, headers: { ...bearer(key), ...init.headers } });
const works = async (value: string) => (await withKey(value, '/api-keys')).status;
const exchangeKey = (subject_token: string, form: Record<string, string> = {}, client = gateway) =>
  post(
    server,
    '/oauth/token',
    { grant_type: exchange, subject_token, subject_token_type: apiKeyType, ...form },
    basic(client),
  );
const isActive = async (token: string, client = gateway) =>
  (await post(server, '/oauth/introspect', { token }, basic(client))).body.active;
const revoke = async ({ id }: Key, by = user) => (await by.request('delete', `/api-keys/${id}`)).status;

describe('POST /api-keys', () => {
  it('gives a key once, and stores a hash of it', async () => {
    const made = await create({ name: '  deployments ', expiresIn: 3600, owner: 'ignored' });
    expect(made).toEqual({
      id: expect.any(String),
      userId: user.id,
      name: 'deployments',
      key: expect.stringMatching(/^cs_[0-9A-Za-z]{39}$/),
      prefix: made.key.slice(0, 9),
      scopes: ownScopes,
      expiresAt: expect.any(String),
      lastUsedAt: null,
      revokedAt: null,
      createdAt: expect.any(String),
    });
    expect(Math.abs(Date.parse(made.expiresAt as string) - Date.now() - 3_600_000)).toBeLessThan(30_000);
    const { key, ...shown } = made;
    expect((await user.request('get', `/api-keys/${made.id}`)).json).toEqual(shown);
    expect(JSON.stringify(await keys())).not.toContain(key);
    const events = await server.database.db('auditLogs').where({ targetId: made.id });
    expect(events).toMatchObject([{ action: 'api_key.create', actorId: user.id, meta: { scopes: ownScopes } }]);
    expect(JSON.stringify(events)).not.toContain('deployments');
  });

  for (const [name, body, expected] of [
    ['no name', { name: ' ' }, [400, 'invalid_request']],
    ['half a surrogate pair', { name: '\ud800' }, [400, 'invalid_request']],
    ['a long name', { name: 'x'.repeat(101) }, [400, 'invalid_request']],
    ['no scopes', { scopes: [] }, [400, 'invalid_request']],
    ['a scope that is no permission', { scopes: ['openid'] }, [400, 'invalid_request']],
    ['a denial', { scopes: ['!users:read:own'] }, [400, 'invalid_request']],
    ['a moment of life', { expiresIn: 1 }, [400, 'invalid_request']],
    ['eternity', { expiresIn: 1e12 }, [400, 'invalid_request']],
    ['text as expiry', { expiresIn: '3600' }, [400, 'invalid_request']],
    ['what others may', { scopes: ['users:read:any'] }, [403, 'scope_exceeds_yours']],
    ['everything', { scopes: ['*:*:*'] }, [403, 'scope_exceeds_yours']],
    ['a wildcard', { scopes: ['users:*:own'] }, [403, 'scope_exceeds_yours']],
  ] as const)
    it(`refuses ${name}`, async () => {
      const before = await keys();
      const { status, json } = await user.request('post', '/api-keys', { name: 'ci', scopes: ownScopes, ...body });
      expect([status, json.code]).toEqual(expected);
      expect(await keys()).toEqual(before);
    });

  it('gives no more than the token that the caller came with', async () => {
    const narrow = await callerOf(server, { role: 'super_admin', scope: 'api_keys:write:own users:read:own' });
    await create({ scopes: ['users:read:own'] }, narrow);
    const { status, json } = await narrow.request('post', '/api-keys', { name: 'ci', scopes: ['api_keys:read:own'] });
    expect([status, json.code]).toEqual([403, 'scope_exceeds_yours']);
  });

  it('gives fifty at a time, however many ask at once', async () => {
    const collector = await callerOf(server);
    const statuses: number[] = [];
    for (let round = 0; round < 6; round++) {
      const ask = () => collector.request('post', '/api-keys', { name: 'ci', scopes: ownScopes });
      const answers = await Promise.all(Array.from({ length: 10 }, ask));
      statuses.push(...answers.map(({ status }) => status));
    }
    expect([statuses.filter((status) => status === 201).length, new Set(statuses.slice(50))]).toEqual([
      50,
      new Set([409]),
    ]);
    const [{ id }] = (await collector.request('get', '/api-keys?limit=1')).json.data;
    await revoke({ id, key: '' }, collector);
    await create({}, collector);
  });
});

describe('who may', () => {
  it('other people’s keys look like none, except to those who may see everybody’s', async () => {
    const made = await create();
    const stranger = await callerOf(server);
    const missing = '/api-keys/0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f';
    for (const method of ['get', 'delete']) {
      const answers = [await stranger.request(method, `/api-keys/${made.id}`), await stranger.request(method, missing)];
      for (const { status, json } of answers) expect([status, json.code]).toEqual([404, 'api_key_not_found']);
      expect((await stranger.request(method, '/api-keys/nonsense')).status).toBe(400);
    }
    const listed = await stranger.request('get', `/api-keys?userId=${user.id}`);
    expect([listed.status, listed.json.code]).toEqual([403, 'missing_permission']);
    expect((await stranger.request('get', '/api-keys')).json.data).toEqual([]);

    expect((await admin.request('get', `/api-keys/${made.id}`)).status).toBe(200);
    const all = (await admin.request('get', `/api-keys?userId=${user.id}&limit=200`)).json.data;
    expect(all.map(({ id }: Key) => id)).toContain(made.id);
    expect(await revoke(made, admin)).toBe(204);
    expect(await works(made.key)).toBe(401);
    // To see is not to revoke.
    const moderator = await callerOf(server, { role: 'admin', scope: 'api_keys:read:any api_keys:write:own' });
    expect(await revoke(await create(), moderator)).toBe(404);
  });

  it('lists in pages, the oldest first', async () => {
    const owner = await callerOf(server);
    const made = [];
    for (let i = 0; i < 3; i++) made.push((await create({}, owner)).id);
    const first = (await owner.request('get', '/api-keys?limit=2')).json;
    const second = (await owner.request('get', `/api-keys?limit=2&cursor=${first.nextCursor}`)).json;
    expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(made);
    expect([second.nextCursor, JSON.stringify(first)]).toEqual([null, expect.not.stringMatching(/"key"|hash/i)]);
    for (const query of ['cursor=AAAA', 'limit=0', 'userId=x'])
      expect((await owner.request('get', `/api-keys?${query}`)).status).toBe(400);
  });
});

describe('a key as a bearer', () => {
  it('speaks for its owner, as far as its scopes go', async () => {
    const { key, id } = await create();
    const me = await withKey(key, '/auth/me');
    expect([me.status, me.body.id]).toEqual([200, user.id]);
    const { body: list } = await withKey(key, '/api-keys?limit=200');
    expect(list.data.map((row: Key) => row.id)).toContain(id);
    const end = await withKey(key, `/api-keys/${id}`, { method: 'DELETE' });
    expect([end.status, end.body.code]).toEqual([403, 'missing_permission']);
    expect(await works(key)).toBe(200);
  });

  it('goes no further than its owner may go now', async () => {
    const demoted = await callerOf(server, { role: 'admin' });
    const { key } = await create({ scopes: ['users:*:any', 'clients:read:any'] }, demoted);
    expect((await withKey(key, '/clients')).status).toBe(200);
    await giveRole(server, demoted.id, 'user');
    expect((await withKey(key, '/clients')).status).toBe(403);
  });

  it('is refused when anything about it is wrong', async () => {
    const { key } = await create();
    for (const wrong of [createKey(), tampered(key), tampered(key, 20), `${key}0`, key.slice(0, -1), 'cs_', 'cs_x'])
      expect([wrong, await works(wrong)]).toEqual([wrong, 401]);
    const { headers } = await withKey(createKey(), '/api-keys');
    expect(headers.get('www-authenticate')).toMatch(/^Bearer error="invalid_token", resource_metadata=/);
    expect(await works(key)).toBe(200);
  });

  it('makes no further keys, nor does a token that came of it', async () => {
    const { key } = await create({ scopes: ['api_keys:*:own'] }, admin);
    const maker = await server.client({ grant_types: [exchange], redirect_uris: [], scope: 'api_keys:write:own' });
    const { body } = await exchangeKey(key, {}, maker);
    expect(body.scope).toBe('api_keys:write:own');
    for (const value of [key, body.access_token]) {
      const init = {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: 'child', scopes: ['api_keys:write:own'] }),
      };
      const answer = await withKey(value, '/api-keys', init);
      expect([answer.status, answer.body.code]).toEqual([403, 'session_needed']);
    }
  });

  it('is made for no application of somebody else’s, whatever was consented to', async () => {
    const scope = 'api_keys:write:own users:read:own';
    const application = await callerOf(server, { scope, thirdParty: true });
    const body = { name: 'ci', scopes: ['users:read:own'] };
    const { status, json } = await application.request('post', '/api-keys', body);
    expect([status, json.code]).toEqual([403, 'session_needed']);
    expect(await server.database.db('apiKeys').where({ userId: application.id })).toEqual([]);
    const ours = await callerOf(server, { scope });
    expect((await ours.request('post', '/api-keys', body)).status).toBe(201);
  });

  it('is told to its owner by mail, with how it begins and nothing that whoever made it wrote', async () => {
    const owner = await callerOf(server);
    const { key, prefix } = await create({ name: 'call +49 1 now' }, owner);
    const { text, html } = await server.mail(owner.email, /API key/);
    for (const part of [text, html]) {
      expect(part).toContain(`${prefix}…`);
      expect(part).toContain('/forgot');
      expect(part).not.toMatch(new RegExp(`${key}|call \\+49`));
    }
    const refused = await owner.request('post', '/api-keys', { name: 'ci', scopes: ['*:*:*', 'users:write:any'] });
    expect(refused.status).toBe(403);
    expect(mailCount(server, owner.email, /API key/)).toBe(1);
  });

  it('notes when it was used, once a minute at most', async () => {
    const { id, key } = await create();
    const { db } = server.database;
    const used = async () => (await db('apiKeys').where({ id }).first('lastUsedAt')).lastUsedAt as Date | null;
    expect(await used()).toBeNull();
    await works(key);
    await eventually(async () => (await used()) !== null, 'last_used_at');
    const first = await used();
    await works(key);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await used()).toEqual(first);
    await db('apiKeys')
      .where({ id })
      .update({ lastUsedAt: new Date(Date.now() - 61_000) });
    await works(key);
    await eventually(async () => Date.now() - Number(await used()) < 30_000, 'last_used_at again');
  });
});

describe('a key in exchange for a token (RFC 8693)', () => {
  it('gives a JWT for the API that speaks for the owner, and nothing to refresh it with', async () => {
    const { key } = await create();
    const { status, body, headers } = await exchangeKey(key);
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(body).toEqual({
      access_token: expect.any(String),
      issued_token_type: accessTokenType,
      token_type: 'Bearer',
      expires_in: 900,
      scope: expect.any(String),
    });
    expect(body.scope.split(' ').sort()).toEqual([...ownScopes].sort());
    expect(decodeJwt(body.access_token)).toMatchObject({
      sub: user.id,
      client_id: gateway.client_id,
      aud: 'countersign-api',
      scope: body.scope,
    });
    expect([await isActive(body.access_token), await works(body.access_token)]).toEqual([true, 200]);
    const { body: verdict } = await withKey(body.access_token, '/auth/validate');
    expect(verdict).toMatchObject({ valid: true, user: { id: user.id } });
  });

  it('has what client, key and owner have in common, and what was asked for of that', async () => {
    const wide = await server.client({
      grant_types: [exchange],
      redirect_uris: [],
      scope: 'users:read:any users:read:own',
    });
    const { key } = await create();
    expect((await exchangeKey(key, {}, wide)).body.scope).toBe('users:read:own');
    expect((await exchangeKey(key, { scope: 'users:read:own' })).body.scope).toBe('users:read:own');
    for (const scope of ['users:read:any', 'users:read:own users:write:own', 'openid', '*:*:*'])
      expectError(await exchangeKey(key, { scope }), [400, 'invalid_scope']);
    const unscoped = await server.client({ grant_types: [exchange], redirect_uris: [] });
    const { body } = await exchangeKey(key, {}, unscoped);
    expect([body.scope, decodeJwt(body.access_token).scope, await works(body.access_token)]).toEqual([
      undefined,
      undefined,
      403,
    ]);
  });

  it('is over no later than the key is', async () => {
    const { key } = await create({ expiresIn: 60 });
    const { body } = await exchangeKey(key);
    expect(body.expires_in).toBeLessThanOrEqual(60);
    const { exp, iat } = decodeJwt(body.access_token) as { exp: number; iat: number };
    expect(exp - iat).toBeLessThanOrEqual(60);
  });

  it('can be an opaque token, of a client that wants those', async () => {
    const opaque = await server.client({
      grant_types: [exchange],
      redirect_uris: [],
      scope: ownScopes.join(' '),
      access_token_format: 'opaque',
    });
    const made = await create();
    const token = (await exchangeKey(made.key, {}, opaque)).body.access_token;
    expect([token.includes('.'), await isActive(token, opaque), await works(token)]).toEqual([false, true, 200]);
    await revoke(made);
    expect([await isActive(token, opaque), await works(token)]).toEqual([false, 401]);
  });

  const refusals: [string, Record<string, string>, [number, string]][] = [
    ['a token of another kind', { subject_token_type: accessTokenType }, [400, 'unauthorized_client']],
    ['a token of an unknown kind', { subject_token_type: 'urn:x' }, [400, 'invalid_request']],
    ['no kind', { subject_token_type: '' }, [400, 'invalid_request']],
    ['no token', { subject_token: '' }, [400, 'invalid_request']],
    ['an unknown key', { subject_token: createKey() }, [400, 'invalid_request']],
    ['a mistyped key', { subject_token: tampered(createKey()) }, [400, 'invalid_request']],
    [
      'another kind of answer',
      { requested_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
      [400, 'invalid_request'],
    ],
    [
      'somebody who acts for somebody',
      { actor_token: 'x', actor_token_type: accessTokenType },
      [400, 'invalid_request'],
    ],
    ['another resource', { resource: 'https://other.example' }, [400, 'invalid_target']],
    ['another audience', { audience: 'https://other.example' }, [400, 'invalid_target']],
  ];
  for (const [name, form, expected] of refusals)
    it(`refuses ${name}`, async () => {
      const { key } = await create();
      expectError(await exchangeKey(key, form), expected);
    });

  it('takes the resource and the audience that it is for', async () => {
    const { key } = await create();
    const form = {
      resource: `${server.issuer}/api`,
      audience: 'countersign-api',
      requested_token_type: accessTokenType,
    };
    expect((await exchangeKey(key, form)).status).toBe(200);
  });

  it('is for clients that are registered for it, and discovery says that there is such a thing', async () => {
    const { key } = await create();
    const other = await server.client({ grant_types: ['client_credentials'], redirect_uris: [] });
    const { status, body } = await exchangeKey(key, {}, other);
    expect([status, body.access_token]).toEqual([400, undefined]);
    const { body: metadata } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(metadata.grant_types_supported).toContain(exchange);
  });
});

describe('the end of a key', () => {
  const both = async (made: Key) => {
    const { access_token } = (await exchangeKey(made.key)).body;
    return {
      token: access_token as string,
      state: async () => [await works(made.key), await works(access_token), await isActive(access_token)],
    };
  };

  it('revoked: it and its tokens are dead at once, and it can still be seen', async () => {
    const made = await create();
    const { token, state } = await both(made);
    const { token: other } = await both(await create());
    expect(await state()).toEqual([200, 200, true]);
    expect(await revoke(made)).toBe(204);
    expect(await state()).toEqual([401, 401, false]);
    const { body: verdict } = await withKey(token, '/auth/validate');
    expect(verdict.valid ?? false).toBe(false);
    expectError(await exchangeKey(made.key), [400, 'invalid_request']);
    expect(await isActive(other)).toBe(true);
    const { revokedAt } = (await user.request('get', `/api-keys/${made.id}`)).json;
    expect(Math.abs(Date.parse(revokedAt) - Date.now())).toBeLessThan(30_000);
    // Once more says and changes nothing.
    expect(await revoke(made)).toBe(204);
    const events = await server.database.db('auditLogs').where({ action: 'api_key.revoke', targetId: made.id });
    expect(events).toHaveLength(1);
    expect((await user.request('get', `/api-keys/${made.id}`)).json.revokedAt).toBe(revokedAt);
  });

  it('expired', async () => {
    const made = await create({ expiresIn: 60 });
    await server.database
      .db('apiKeys')
      .where({ id: made.id })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    expect(await works(made.key)).toBe(401);
    expectError(await exchangeKey(made.key), [400, 'invalid_request']);
  });

  it('its owner deactivated', async () => {
    const owner = await callerOf(server);
    const made = await create({}, owner);
    const { state } = await both(made);
    const setStatus = (status: string) => server.database.db('users').where({ id: owner.id }).update({ status });
    await setStatus('deactivated');
    expect(await state()).toEqual([401, 401, false]);
    expectError(await exchangeKey(made.key), [400, 'invalid_request']);
    await setStatus('active');
    expect(await works(made.key)).toBe(200);
  });

  it('revoked while it is being exchanged: no token of it lives', async () => {
    for (let round = 0; round < 5; round++) {
      const made = await create();
      const [, ...answers] = await Promise.all([
        revoke(made),
        ...Array.from({ length: 5 }, () => exchangeKey(made.key)),
      ]);
      for (const { status, body } of answers) {
        expect([200, 400]).toContain(status);
        if (status === 200)
          expect([await isActive(body.access_token), await works(body.access_token)]).toEqual([false, 401]);
      }
      expect(await server.database.db('grants').where({ apiKeyId: made.id })).toEqual([]);
    }
  });

  it('is remembered for 30 days', async () => {
    const { db } = server.database;
    const [kept, old, lapsed] = [await create(), await create(), await create({ expiresIn: 60 })];
    await revoke(kept);
    await revoke(old);
    const longAgo = new Date(Date.now() - 31 * 86_400_000);
    await db('apiKeys').where({ id: old.id }).update({ revokedAt: longAgo });
    await db('apiKeys').where({ id: lapsed.id }).update({ expiresAt: longAgo });
    expect((await cleanExpired(db)).api_keys).toBe(2);
    const left = await db('apiKeys').whereIn('id', [kept.id, old.id, lapsed.id]).pluck('id');
    expect(left).toEqual([kept.id]);
  });
});
