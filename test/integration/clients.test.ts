/** Clients over REST: what administrators register, change, rotate and delete, and what that does to tokens. */
import { generateKeyPairSync } from 'node:crypto';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { callerOf, machineOf, type TestCaller } from '../support/callers.ts';
import { basic, post } from '../support/relying-party.ts';
import { signedIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

let server: TestServer;
let admin: TestCaller;
let root: TestCaller;
let user: TestCaller;
let reader: TestCaller;
beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'admin' });
  root = await callerOf(server, { role: 'super_admin' });
  user = await callerOf(server);
  reader = await callerOf(server, { role: 'admin', scope: 'clients:read:any' });
});
afterAll(() => server.stop());

type Json = Record<string, unknown> & { client_id: string; client_secret?: string };

const machine = { grant_types: ['client_credentials'], redirect_uris: [] };
const web = { client_name: 'Acme', redirect_uris: ['https://app.example.com/callback'] };
const create = async (metadata: object = machine, by = admin): Promise<Json> => {
  const { status, json, text } = await by.request('post', '/clients', metadata);
  expect([status, status === 201 || text]).toEqual([201, true]);
  return json;
};
/** Asks for a token, and says what came of it. */
const tokenWith = async (client: Json, secret = client.client_secret, scope?: string) => {
  const form = { grant_type: 'client_credentials', ...(scope ? { scope } : {}) };
  return post(server, '/oauth/token', form, basic({ ...client, client_secret: secret as string }));
};
const isActive = async (token: string) => {
  const asker = await server.client({ ...machine, scope: 'tokens:introspect:any' });
  return (await post(server, '/oauth/introspect', { token }, basic(asker))).body.active;
};
const clients = () => server.database.db('clients').orderBy('clientId');

describe('POST /clients', () => {
  it('registers a client, shows its secret once and stores a hash of it', async () => {
    const { status, json } = await admin.request('post', '/clients', { ...machine, scope: 'api:read' });
    expect(status).toBe(201);
    expect(json).toMatchObject({
      ...machine,
      scope: 'api:read',
      client_id: expect.stringMatching(/^\w{20}$/),
      client_id_issued_at: expect.any(Number),
      client_secret: expect.stringMatching(/^[\w-]{43}$/),
      client_secret_expires_at: 0,
      token_endpoint_auth_method: 'client_secret_basic',
      response_types: [],
      access_token_format: 'jwt',
      built_in: false,
    });
    const token = await tokenWith(json, json.client_secret, 'api:read');
    expect([token.status, token.body.scope]).toEqual([200, 'api:read']);
    expect(JSON.stringify(await clients())).not.toContain(json.client_secret);
    const events = await server.database.db('auditLogs').where({ targetId: json.client_id });
    expect(events).toMatchObject([{ action: 'client.create', actorType: 'user', actorId: admin.id }]);
    expect(JSON.stringify(events)).not.toContain(json.client_secret);
  });

  it('ignores members that it does not know (RFC 7591 section 2), and lists what was registered', async () => {
    const json = await create({ ...web, client_nmae: 'typo', rank: 100, built_in: true, client_id: 'mine', theme: {} });
    expect(json).not.toHaveProperty('client_nmae');
    expect(json).toMatchObject({ ...web, built_in: false });
    expect(json.client_id).not.toBe('mine');
    const row = await server.database.db('clients').where({ clientId: json.client_id }).first('rank', 'builtIn');
    expect(row).toEqual({ rank: 80, builtIn: false });
  });

  it('takes every grant that there is, and what each needs', async () => {
    const grants = [
      'refresh_token',
      'client_credentials',
      'password',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ];
    expect((await create({ grant_types: grants })).grant_types).toEqual(grants);
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1' }] };
    const byKey = { ...machine, token_endpoint_auth_method: 'private_key_jwt' };
    const keyed = await create({ ...byKey, jwks });
    expect([keyed.jwks, 'client_secret' in keyed]).toEqual([jwks, false]);
    await create({ ...byKey, jwks_uri: 'https://app.example.com/jwks.json' });
    const look = { ...web, theme: { accent: '#aa0044', accent_dark: '#ff0044' } };
    expect((await create(look)).theme).toEqual(look.theme);
  });

  const privateKey = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const jwt = { ...machine, token_endpoint_auth_method: 'private_key_jwt' };
  for (const [name, metadata, code] of [
    ['a redirect URI that is none', { redirect_uris: ['nowhere'] }, 'invalid_redirect_uri'],
    ['a fragment in a redirect URI', { redirect_uris: ['https://app.example.com/#x'] }, 'invalid_redirect_uri'],
    ['no redirect URI', {}, 'invalid_redirect_uri'],
    ['a grant that there is not', { ...machine, grant_types: ['magic'] }, 'invalid_client_metadata'],
    ['a public machine', { ...machine, token_endpoint_auth_method: 'none' }, 'invalid_client_metadata'],
    ['an unknown method', { ...machine, token_endpoint_auth_method: 'x' }, 'invalid_client_metadata'],
    [
      'a public client without PKCE',
      { ...web, token_endpoint_auth_method: 'none', require_pkce: false },
      'invalid_client_metadata',
    ],
    ['private_key_jwt without keys', jwt, 'invalid_client_metadata'],
    [
      'keys by value and by reference',
      { ...jwt, jwks: { keys: [] }, jwks_uri: 'https://x.example' },
      'invalid_client_metadata',
    ],
    ['a private key', { ...jwt, jwks: { keys: [privateKey] } }, 'invalid_client_metadata'],
    ['a shared key', { ...jwt, jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }, 'invalid_client_metadata'],
    ['NUL in a key', { ...jwt, jwks: { keys: [{ kty: 'RSA', n: '\0', e: 'AQAB' }] } }, 'invalid_client_metadata'],
    ['half a surrogate pair in a key', { ...jwt, jwks: { keys: [{ kty: '\ud800' }] } }, 'invalid_client_metadata'],
    ['NUL in a redirect URI', { redirect_uris: ['https://app.example.com/\0'] }, 'invalid_client_metadata'],
    ['NUL in a URI', { ...web, client_uri: 'https://app.example.com/\0' }, 'invalid_client_metadata'],
    ['a scope with a quote', { ...machine, scope: '"' }, 'invalid_client_metadata'],
    ['a style sheet in the theme', { ...web, theme: { font: 'x;}body{' } }, 'invalid_client_metadata'],
    ['a format that there is not', { ...machine, access_token_format: 'paseto' }, 'invalid_client_metadata'],
    ['a word as the audience, which may be a client_id', { ...machine, audience: 'acme' }, 'invalid_client_metadata'],
    ['an audience with a fragment', { ...machine, audience: 'https://x.example/#a' }, 'invalid_client_metadata'],
    ['a list', [machine], 'invalid_client_metadata'],
    ['no JSON', '{', 'invalid_json'],
  ] as const)
    it(`refuses ${name}`, async () => {
      const before = await clients();
      const { status, json, headers } = await admin.request('post', '/clients', metadata);
      expect([status, json.code]).toEqual([400, code]);
      expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(await clients()).toEqual(before);
    });

  it('refuses the issuer as the audience', async () => {
    const { status, json } = await admin.request('post', '/clients', {
      ...machine,
      audience: `${server.issuer}/other`,
    });
    expect([status, json.code]).toEqual([400, 'invalid_client_metadata']);
  });
});

describe('who may', () => {
  const routes = (id: string): [string, string, unknown?][] => [
    ['post', '/clients', machine],
    ['get', '/clients'],
    ['get', `/clients/${id}`],
    ['put', `/clients/${id}`, machine],
    ['post', `/clients/${id}/secret`, {}],
    ['delete', `/clients/${id}`],
  ];
  it('a token that may read reads, and changes nothing', async () => {
    const { client_id: id } = await create();
    const before = await clients();
    for (const [method, path, body] of routes(id)) {
      const { status } = await reader.request(method, path, body);
      expect([method, path, status]).toEqual([method, path, method === 'get' ? 200 : 403]);
    }
    expect(await clients()).toEqual(before);
  });

  it('an application with the permission, in its own name', async () => {
    const application = await machineOf(server, 'clients:write:any clients:read:any');
    const made = await create({ ...machine, scope: 'clients:read:any' }, application);
    const [event] = await server.database.db('auditLogs').where({ targetId: made.client_id });
    expect(event).toMatchObject({ actorType: 'client', actorId: application.id });
    const { status, json } = await application.request('post', '/clients', { ...machine, scope: 'users:read:any' });
    expect([status, json.code]).toEqual([403, 'scope_exceeds_yours']);
  });

  it('what is not there is 404, whatever is asked of it', async () => {
    for (const id of ['nobody', '%20', "'or'1'='1", 'x'.repeat(200)])
      for (const [method, path, body] of routes(id).slice(2)) {
        const { status, json } = await admin.request(method, path, body);
        expect([path, status, json.code]).toEqual([path, 404, 'client_not_found']);
      }
    expect((await admin.request('get', '/clients/%00')).status).toBe(400);
    expect((await admin.request('get', `/clients/${'x'.repeat(501)}`)).status).toBe(400);
  });
});

describe('GET /clients', () => {
  it('lists in pages, searches, and shows no secret', async () => {
    const made = [];
    for (let i = 0; i < 5; i++) made.push(await create({ ...web, client_name: `100% Búho_${i}` }));
    const seen: Json[] = [];
    let path: string | null = '/clients?q=%25%20b%C3%BAho_&limit=2';
    for (let pages = 0; path; pages++) {
      const answer = await admin.request('get', path);
      expect([answer.status, pages < 3]).toEqual([200, true]);
      seen.push(...answer.json.data);
      expect(answer.text).not.toMatch(/"client_secret"|_hash/);
      path = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1] ?? null;
      expect(path === null).toBe(answer.json.nextCursor === null);
    }
    expect(seen.map(({ client_id }) => client_id)).toEqual(made.map(({ client_id }) => client_id).sort());
    const [first] = made as [Json];
    const one = await admin.request('get', `/clients/${first.client_id}`);
    const { client_secret: _, client_secret_expires_at: __, ...shown } = first;
    expect(one.json).toEqual(shown);
    expect((await admin.request('get', `/clients?q=${first.client_id.slice(0, 12)}`)).json.data).toEqual([shown]);
    expect((await admin.request('get', '/clients?q=_______________________')).json.data).toEqual([]);
  });

  for (const query of ['limit=0', 'limit=x', 'limit=201', 'cursor=*', 'q=', 'q=%00', `q=${'x'.repeat(101)}`])
    it(`refuses ?${query.slice(0, 20)}`, async () => {
      const { status, json } = await admin.request('get', `/clients?${query}`);
      expect([status, json.code]).toEqual([400, 'invalid_request']);
    });

  it('takes a cursor that it never gave', async () => {
    for (const cursor of ['AAAA', 'gICA', Buffer.from("' or 1=1").toString('base64url')])
      expect((await admin.request('get', `/clients?cursor=${cursor}`)).status).toBe(200);
  });
});

describe('PUT /clients/:client_id', () => {
  it('replaces all of it: what is not named goes back to its default (RFC 7592 section 2.2)', async () => {
    const before = await create({
      ...web,
      scope: 'openid email',
      theme: { accent: '#aa0044' },
      contacts: ['a@example.com'],
    });
    const path = `/clients/${before.client_id}`;
    const put = await admin.request('put', path, {
      redirect_uris: ['https://other.example.com/'],
      audience: 'urn:x:y',
    });
    expect(put.status).toBe(200);
    expect(put.json).toMatchObject({
      redirect_uris: ['https://other.example.com/'],
      contacts: [],
      audience: 'urn:x:y',
    });
    for (const gone of ['client_name', 'scope', 'theme', 'client_secret']) expect(put.json).not.toHaveProperty(gone);
    expect((await admin.request('get', path)).json).toEqual(put.json);
    const events = await server.database.db('auditLogs').where({ action: 'client.update', targetId: before.client_id });
    expect(events[0].meta.members).toEqual(['audience', 'client_name', 'contacts', 'redirect_uris', 'scope', 'theme']);
  });

  it('takes what a client document says of itself, and no secret of somebody’s choice', async () => {
    const before = await create();
    const path = `/clients/${before.client_id}`;
    expect((await admin.request('put', path, { ...before, client_name: 'Renamed' })).json.client_name).toBe('Renamed');
    expect((await tokenWith(before)).status).toBe(200);
    for (const wrong of [{ client_id: 'another' }, { client_secret: 'chosen' }, { redirect_uris: ['nowhere'] }]) {
      const { status, json } = await admin.request('put', path, { ...web, ...wrong });
      expect([status, json.code]).toEqual([400, expect.stringMatching(/^invalid_(client_metadata|redirect_uri)$/)]);
    }
  });

  it('gives a secret to a client that begins to need one, and takes it from one that no longer does', async () => {
    const spa = await create({ ...web, token_endpoint_auth_method: 'none' });
    expect(spa).not.toHaveProperty('client_secret');
    const path = `/clients/${spa.client_id}`;
    const confidential = (await admin.request('put', path, machine)).json;
    expect((await tokenWith(confidential)).status).toBe(200);
    // Another way of sending the secret is no reason for a new one.
    const same = await admin.request('put', path, { ...machine, token_endpoint_auth_method: 'client_secret_post' });
    expect([same.status, 'client_secret' in same.json]).toEqual([200, false]);
    await admin.request('post', `${path}/secret`, {});
    await admin.request('put', path, { ...web, token_endpoint_auth_method: 'none' });
    const row = await server.database.db('clients').where({ clientId: spa.client_id }).first();
    expect([row.clientSecretHash, row.previousSecretHash, row.previousSecretExpiresAt]).toEqual([null, null, null]);
    expect((await tokenWith(confidential)).status).toBe(401);
  });

  it('takes effect at once', async () => {
    const client = await create({ ...machine, scope: 'api:read api:write' });
    await admin.request('put', `/clients/${client.client_id}`, { ...machine, scope: 'api:read' });
    expect((await tokenWith(client, client.client_secret, 'api:read api:write')).body.scope).toBe('api:read');
  });
});

describe('nobody gives a client more than they hold', () => {
  const all = { ...machine, scope: '*:*:*' };
  for (const [name, metadata] of [
    ['everything', all],
    ['what only higher roles have', { ...machine, scope: 'openid invoices:write:any' }],
    ['a wildcard that includes more', { ...machine, scope: 'users:read:own *:read:any' }],
  ] as const)
    it(`not ${name}`, async () => {
      const { status, json } = await admin.request('post', '/clients', metadata);
      expect([status, json.code]).toEqual([403, 'scope_exceeds_yours']);
      const { client_id: id } = await create();
      const update = await admin.request('put', `/clients/${id}`, metadata);
      expect([update.status, update.json.code]).toEqual([403, 'scope_exceeds_yours']);
    });

  it('nor more than the token that they came with', async () => {
    const narrow = await callerOf(server, { role: 'super_admin', scope: 'clients:*:any' });
    await create({ ...machine, scope: 'clients:read:any openid api:read https://x.example:80/a' }, narrow);
    const { status, json } = await narrow.request('post', '/clients', { ...machine, scope: 'users:read:any' });
    expect([status, json.code]).toEqual([403, 'scope_exceeds_yours']);
  });

  it('nor what includes something that is denied to them', async () => {
    const { db } = server.database;
    const restricted = await callerOf(server, { role: 'admin' });
    const [{ id: permissionId }] = await db('permissions').insert({ name: 'users:close:any' }).returning('id');
    await db('permissionGrants').insert({ userId: restricted.id, permissionId, effect: 'deny' });
    const { json } = await restricted.request('post', '/clients', { ...machine, scope: 'users:*:any' });
    expect(json.code).toBe('scope_exceeds_yours');
    await create({ ...machine, scope: 'users:read:any' }, restricted);
  });

  it('and nobody writes a client that holds more, or ranks higher', async () => {
    const mighty = await create({ ...machine, scope: '*:*:*' }, root);
    const high = await create(machine, root);
    for (const [{ client_id: id }, code] of [
      [mighty, 'rank_too_low'],
      [high, 'rank_too_low'],
    ] as const) {
      const before = await clients();
      for (const [method, path, body] of [
        ['put', `/clients/${id}`, machine],
        ['post', `/clients/${id}/secret`, {}],
        ['delete', `/clients/${id}`, undefined],
      ] as const) {
        const answer = await admin.request(method, path, body);
        expect([method, answer.status, answer.json.code]).toEqual([method, 403, code]);
      }
      expect(await clients()).toEqual(before);
    }
    await server.database.db('clients').where({ clientId: mighty.client_id }).update({ rank: 0 });
    const answer = await admin.request('post', `/clients/${mighty.client_id}/secret`, {});
    expect([answer.status, answer.json.code]).toEqual([403, 'scope_exceeds_yours']);
  });

  it('a client has the rank of whoever gave it its scope', async () => {
    const rankOf = async (clientId: string) => (await server.database.db('clients').where({ clientId }).first()).rank;
    const { client_id: id } = await create({ ...machine, scope: 'a b' });
    await root.request('put', `/clients/${id}`, { ...machine, scope: 'b a' });
    expect(await rankOf(id)).toBe(80);
    await root.request('put', `/clients/${id}`, { ...machine, scope: 'users:read:any' });
    expect(await rankOf(id)).toBe(100);
  });
});

describe('a first-party application', () => {
  it('gets no tokens without consent of people who rank above whoever registered it', async () => {
    const application = async (by: TestCaller, person: TestCaller) => {
      const redirect_uris = ['https://app.example.com/callback'];
      const metadata = { redirect_uris, first_party: true, scope: 'openid users:write:own' };
      const client = await create(metadata, by);
      const browser = await signedIn(server, person.email);
      const query = new URLSearchParams({
        client_id: client.client_id,
        response_type: 'code',
        scope: 'openid users:write:own',
        resource: `${server.issuer}/api`,
        redirect_uri: redirect_uris[0] as string,
        code_challenge: 'x'.repeat(43),
        code_challenge_method: 'S256',
      });
      const { url } = await browser.go(`/oauth/authorize?${query}`);
      return url.searchParams.has('code') ? 'a code' : url.pathname.replace(/[^/]*$/, '');
    };
    expect(await application(admin, user)).toBe('a code');
    expect(await application(admin, root)).toBe('/interaction/');
    expect(await application(root, root)).toBe('a code');
  });
});

describe('built-in clients', () => {
  it('are listed, and changed by nobody', async () => {
    const builtIn = (await clients()).filter(({ builtIn }) => builtIn);
    expect(builtIn.length).toBeGreaterThanOrEqual(2);
    for (const { clientId } of builtIn) {
      expect((await root.request('get', `/clients/${clientId}`)).json.built_in).toBe(true);
      for (const [method, path, body] of [
        ['put', `/clients/${clientId}`, web],
        ['post', `/clients/${clientId}/secret`, {}],
        ['delete', `/clients/${clientId}`, undefined],
      ] as const) {
        const { status, json } = await root.request(method, path, body);
        expect([status, json.code]).toEqual([409, 'client_built_in']);
      }
    }
    expect((await clients()).filter(({ builtIn }) => builtIn)).toEqual(builtIn);
  });
});

describe('POST /clients/:client_id/secret', () => {
  const rotate = async (client: Json, body?: object) => {
    const { status, json } = await admin.request('post', `/clients/${client.client_id}/secret`, body);
    expect(status).toBe(200);
    return json;
  };

  it('gives a new secret at once; the old one works for a day, and no more than two do', async () => {
    const client = await create();
    const second = await rotate(client);
    const inADay = Date.now() / 1000 + 86_400;
    expect(second).toEqual({
      client_id: client.client_id,
      client_secret: expect.stringMatching(/^[\w-]{43}$/),
      client_secret_expires_at: 0,
      previous_client_secret_expires_at: expect.any(Number),
    });
    expect(Math.abs(second.previous_client_secret_expires_at - inADay)).toBeLessThan(60);
    const shown = (await admin.request('get', `/clients/${client.client_id}`)).json;
    expect(shown.previous_client_secret_expires_at).toBe(second.previous_client_secret_expires_at);
    for (const secret of [client.client_secret, second.client_secret])
      expect((await tokenWith(client, secret)).status).toBe(200);
    const third = await rotate(client, { graceSeconds: 3600 });
    const results = [client, second, third].map(
      async ({ client_secret }) => (await tokenWith(client, client_secret)).status,
    );
    expect(await Promise.all(results)).toEqual([401, 200, 200]);
    expect(JSON.stringify(await clients())).not.toContain(third.client_secret);
    const events = await server.database.db('auditLogs').where({ targetId: client.client_id });
    expect(JSON.stringify(events)).not.toMatch(new RegExp(`${second.client_secret}|${third.client_secret}`));
  });

  it('ends the old one at once with graceSeconds: 0', async () => {
    const client = await create();
    const next = await rotate(client, { graceSeconds: 0 });
    expect(next.previous_client_secret_expires_at).toBeNull();
    expect((await tokenWith(client)).status).toBe(401);
    expect((await tokenWith(client, next.client_secret)).status).toBe(200);
  });

  it('refuses the old one when its grace is over, and then forgets it', async () => {
    const { db } = server.database;
    const client = await create();
    const next = await rotate(client, { graceSeconds: 60 });
    const row = () => db('clients').where({ clientId: client.client_id });
    await row().update({ previousSecretExpiresAt: new Date(Date.now() - 1000) });
    expect((await tokenWith(client)).status).toBe(401);
    expect((await tokenWith(client, next.client_secret)).status).toBe(200);
    expect((await admin.request('get', `/clients/${client.client_id}`)).json).not.toHaveProperty(
      'previous_client_secret_expires_at',
    );
    await cleanExpired(db);
    expect(await row().first('previousSecretHash', 'previousSecretExpiresAt')).toEqual({
      previousSecretHash: null,
      previousSecretExpiresAt: null,
    });
  });

  it('holds the old one to the registered method too', async () => {
    const client = await create({ ...machine, token_endpoint_auth_method: 'client_secret_post' });
    const { client_secret } = await rotate(client);
    for (const secret of [client.client_secret, client_secret]) {
      const { client_id } = client;
      const form = { grant_type: 'client_credentials', client_id, client_secret: secret as string };
      expect((await post(server, '/oauth/token', form)).status).toBe(200);
      expect((await tokenWith(client, secret)).status).toBe(401);
    }
  });

  it('two at the same time leave two secrets, and both were given to somebody', async () => {
    const client = await create();
    const answers = await Promise.all([rotate(client), rotate(client)]);
    const statuses = await Promise.all(answers.map(async (a) => (await tokenWith(client, a.client_secret)).status));
    expect([statuses, (await tokenWith(client)).status]).toEqual([[200, 200], 401]);
  });

  it('is not for clients without a secret', async () => {
    const spa = await create({ ...web, token_endpoint_auth_method: 'none' });
    const { status, json } = await admin.request('post', `/clients/${spa.client_id}/secret`, {});
    expect([status, json.code]).toEqual([409, 'client_without_secret']);
  });

  for (const graceSeconds of [-1, 2_592_001, '60', 1.5, null])
    it(`refuses ${JSON.stringify({ graceSeconds })}`, async () => {
      const client = await create();
      const { status, json } = await admin.request('post', `/clients/${client.client_id}/secret`, { graceSeconds });
      expect([status, json.code]).toEqual([400, 'invalid_request']);
      expect((await tokenWith(client)).status).toBe(200);
    });
});

describe('DELETE /clients/:client_id', () => {
  for (const format of ['jwt', 'opaque'])
    it(`ends what the client got for itself: ${format}`, async () => {
      const client = await create({ ...machine, scope: 'clients:read:any', access_token_format: format });
      const token = (await tokenWith(client, client.client_secret, 'clients:read:any')).body.access_token as string;
      const asClient = () => fetch(`${server.issuer}/clients`, { headers: { authorization: `Bearer ${token}` } });
      expect([(await asClient()).status, await isActive(token)]).toEqual([200, true]);
      expect((await admin.request('delete', `/clients/${client.client_id}`)).status).toBe(204);
      expect([(await asClient()).status, await isActive(token)]).toEqual([401, false]);
      expect((await tokenWith(client)).status).toBe(401);
      expect((await admin.request('delete', `/clients/${client.client_id}`)).status).toBe(404);
    });

  for (const format of ['jwt', 'opaque'])
    it(`ends what people gave it: ${format}`, async () => {
      const { db } = server.database;
      const scope = 'openid offline_access users:read:own';
      const application = await openApplication(server, { scope, access_token_format: format });
      const { client_id: clientId } = application.client;
      const asked = { scope, prompt: 'consent', resource: `${server.issuer}/api` };
      const { access_token, refresh_token } = await application.tokens(asked);
      const unused = await application.code(asked);
      expect(await isActive(access_token)).toBe(true);
      expect((await root.request('delete', `/clients/${clientId}`)).status).toBe(204);
      expect([await isActive(access_token), await isActive(refresh_token)]).toEqual([false, false]);
      expect((await application.exchange(unused)).status).toBe(401);
      for (const table of ['grants', 'refreshTokens', 'consents', 'clients'])
        expect(await db(table).where({ clientId })).toEqual([]);
      expect((await db('oidcPayloads')).filter(({ payload }) => payload.clientId === clientId)).toEqual([]);
    });
});

it('deleted while it asks for tokens: none of them lives, and nothing breaks', async () => {
  for (let round = 0; round < 4; round++) {
    const application = await openApplication(server, { scope: 'openid offline_access', first_party: true });
    const asked = { scope: 'openid offline_access', prompt: 'consent' };
    const { refresh_token } = await application.tokens(asked);
    const codes = [await application.code(asked), await application.code(asked)];
    const [deleted, ...answers] = await Promise.all([
      root.request('delete', `/clients/${application.client.client_id}`),
      application.refresh(refresh_token),
      ...codes.map((code) => application.exchange(code)),
    ]);
    expect(deleted.status).toBe(204);
    for (const { status, body } of answers) {
      expect([200, 400, 401]).toContain(status);
      for (const token of [body.access_token, body.refresh_token]) if (token) expect(await isActive(token)).toBe(false);
    }
  }
});

describe('what access tokens are for and look like', () => {
  it('names another API in aud; this one then does not take the token', async () => {
    const audience = 'https://orders.example.com';
    const client = await create({ ...machine, audience, scope: 'clients:read:any' });
    const token = (await tokenWith(client, client.client_secret, 'clients:read:any')).body.access_token as string;
    expect(decodeJwt(token).aud).toBe(audience);
    const { status } = await fetch(`${server.issuer}/clients`, { headers: { authorization: `Bearer ${token}` } });
    expect([status, await isActive(token)]).toEqual([401, true]);
    const ours = await create({ ...machine, audience: 'countersign-api' });
    expect(decodeJwt((await tokenWith(ours)).body.access_token as string).aud).toBe('countersign-api');
  });

  it('opaque tokens are introspected, revoked, and taken by this API', async () => {
    const application = await openApplication(server, {
      scope: 'openid users:read:own',
      access_token_format: 'opaque',
      first_party: true,
    });
    const { access_token: token } = await application.tokens({
      scope: 'openid users:read:own',
      resource: `${server.issuer}/api`,
    });
    expect(token).not.toContain('.');
    const introspected = await application.post('/oauth/introspect', { token });
    expect(introspected.body).toMatchObject({ active: true, aud: 'countersign-api', scope: 'users:read:own' });
    const me = () => fetch(`${server.issuer}/auth/me`, { headers: { authorization: `Bearer ${token}` } });
    expect((await me()).status).toBe(200);
    await application.post('/oauth/revoke', { token });
    expect([(await me()).status, await isActive(token)]).toEqual([401, false]);
  });
});
