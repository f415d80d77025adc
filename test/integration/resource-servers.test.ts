/** Resource servers (RFC 8707): rows that say what tokens are for, who may ask for what there, and what they look like. */
import { type CryptoKey, createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createResourceServer, updateResourceServer } from '../../src/resource-servers/resource-servers.commands.ts';
import { callerOf, giveRole, machineOf, type TestCaller } from '../support/callers.ts';
import { jwksOf } from '../support/jwks.ts';
import {
  basic,
  bearer,
  expectError,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let admin: TestCaller;
let person: Person;
beforeAll(async () => {
  server = await startServer({
    SIGNING_ALGS: 'RS256,PS256,ES256,EdDSA,ML-DSA-44',
    // What is not registered here is nobody's, unless a test says otherwise.
    OPEN_RESOURCES: 'false',
  });
  admin = await callerOf(server, { role: 'admin' });
  person = await newPerson(server);
});
afterAll(() => server.stop());

let count = 0;
const newIdentifier = () => `https://api-${++count}.example.com/`;

interface Row {
  id: string;
  identifier: string;
}
const register = async (input: Record<string, unknown> = {}): Promise<Row> => {
  const { status, json, text } = await admin.request('post', '/resource-servers', {
    identifier: newIdentifier(),
    name: 'Orders',
    scopes: [
      { name: 'orders.read', description: 'See your orders' },
      { name: 'orders.write', description: null },
    ],
    ...input,
  });
  expect([status, text]).toEqual([201, expect.any(String)]);
  return json;
};
const replace = async ({ id }: Row, input: Record<string, unknown>) => {
  const { status, text } = await admin.request('put', `/resource-servers/${id}`, { name: 'Orders', ...input });
  expect([status, text]).toEqual([200, expect.any(String)]);
};

/** A first-party application with no registered scope. */
const application = (metadata: Record<string, unknown> = {}) =>
  registerRelyingParty(server, { first_party: true, ...metadata });
const machine = (metadata: Record<string, unknown> = {}): Promise<RegisteredClient> =>
  server.client({ grant_types: ['client_credentials'], redirect_uris: [], ...metadata });
const ask = (client: RegisteredClient, form: Record<string, string> | [string, string][]) =>
  post(server, '/oauth/token', form, basic(client));
const forItself = (client: RegisteredClient, { identifier }: Row, scope?: string) =>
  ask(client, { grant_type: 'client_credentials', resource: identifier, ...(scope ? { scope } : {}) });
const introspect = async (client: RegisteredClient, token: string) =>
  (await post(server, '/oauth/introspect', { token }, basic(client))).body;

/** What the refused authorization request is told. */
const refusal = async (rp: RelyingParty, parameters: Record<string, string>) => {
  const { callback } = await rp.authorize(person, parameters);
  return callback.searchParams.get('error');
};

describe('a token for a resource server', () => {
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA', 'ML-DSA-44'])
    it(`is a JWT (RFC 9068) signed with ${alg}, which verifies by the JWKS`, async () => {
      const row = await register({ signingAlg: alg, accessTokenTtl: 120 });
      const rp = await application();
      const tokens = await rp.signIn(person, { scope: 'openid orders.read', resource: row.identifier });
      const { payload, protectedHeader } = await jwtVerify(
        tokens.access_token,
        createLocalJWKSet(await jwksOf(server.issuer)),
        { issuer: server.issuer, audience: row.identifier, typ: 'at+jwt' },
      );
      expect(protectedHeader.alg).toBe(alg);
      expect(payload).toMatchObject({ aud: row.identifier, scope: 'orders.read', client_id: rp.client.client_id });
      expect([tokens.expires_in, (payload.exp ?? 0) - (payload.iat ?? 0)]).toEqual([120, 120]);
      expect(await introspect(rp.client, tokens.access_token)).toMatchObject({ active: true, aud: row.identifier });
    });

  it('is opaque where the resource server wants it so', async () => {
    const row = await register({ accessTokenFormat: 'opaque' });
    const rp = await application();
    const { access_token } = await rp.signIn(person, { scope: 'openid orders.read', resource: row.identifier });
    expect(access_token).toMatch(/^[\w-]{43}$/);
    expect(await introspect(rp.client, access_token)).toMatchObject({ active: true, aud: row.identifier });
    // OpenID Connect Core section 5.3: userinfo takes tokens that were given for it.
    expect((await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) })).status).toBe(403);
    expect((await send(`${server.issuer}/auth/me`, { headers: bearer(access_token) })).status).toBe(401);
  });

  it('is for nobody else: neither our REST API nor userinfo takes it, and nor does another resource server', async () => {
    const row = await register();
    const { access_token } = await (await application()).signIn(person, {
      scope: 'openid orders.read',
      resource: row.identifier,
    });
    for (const path of ['/auth/me', '/oauth/userinfo'])
      expect((await send(`${server.issuer}${path}`, { headers: bearer(access_token) })).status).toBe(401);
    expect(decodeJwt(access_token).aud).toBe(row.identifier);
  });

  it('leaves the default resource as it is', async () => {
    await register();
    const rp = await application({ scope: 'openid users:read:own' });
    const tokens = await rp.signIn(person, { scope: 'openid users:read:own', resource: `${server.issuer}/api` });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ aud: 'countersign-api', scope: 'users:read:own' });
    expect(decodeProtectedHeader(tokens.access_token).alg).toBe('RS256');
    expect((await send(`${server.issuer}/auth/me`, { headers: bearer(tokens.access_token) })).status).toBe(200);
  });

  it('is one of several that a sign-in was for, and a refresh narrows', async () => {
    const [one, two] = [await register(), await register({ scopes: [{ name: 'two.read' }] })];
    const rp = await application();
    const attempt = await rp.begin({ scope: 'openid orders.read orders.write two.read', resource: one.identifier });
    attempt.url.searchParams.append('resource', two.identifier);
    const callback = await person.browser.go(attempt.url.href).then((page) => page.url);
    const tokens = await rp.redeem({ attempt, callback }, { resource: one.identifier });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ aud: one.identifier, scope: 'orders.read orders.write' });
    const second = await rp.refresh(tokens.refresh_token as string, { resource: two.identifier });
    expect(decodeJwt(second.access_token)).toMatchObject({ aud: two.identifier, scope: 'two.read' });
    const third = await rp.refresh(second.refresh_token as string, {
      resource: one.identifier,
      scope: 'orders.read',
    });
    expect(decodeJwt(third.access_token)).toMatchObject({ aud: one.identifier, scope: 'orders.read' });
    const form = { grant_type: 'refresh_token', refresh_token: third.refresh_token as string };
    expectError(await ask(rp.client, { ...form, resource: (await register()).identifier }), [400, 'invalid_target']);
    // RFC 8707 section 2.2: which one must be said.
    expectError(await ask(rp.client, form), [400, 'invalid_target']);
  });

  it('for two at once is nobody’s to have', async () => {
    const [one, two] = [await register(), await register()];
    const client = await machine();
    const form: [string, string][] = [
      ['grant_type', 'client_credentials'],
      ['resource', one.identifier],
      ['resource', two.identifier],
    ];
    expectError(await ask(client, form), [400, 'invalid_target']);
  });

  it('of a client by itself has the scopes that it asked for', async () => {
    const row = await register();
    const client = await machine();
    const { body } = await forItself(client, row, 'orders.read');
    expect(decodeJwt(body.access_token)).toMatchObject({
      aud: row.identifier,
      scope: 'orders.read',
      sub: client.client_id,
    });
    expect(await introspect(client, body.access_token)).toMatchObject({ active: true, scope: 'orders.read' });
    const bare = await forItself(client, row);
    expect([bare.status, decodeJwt(bare.body.access_token).scope]).toEqual([200, undefined]);
    expectError(await forItself(client, row, 'something.else'), [400, 'invalid_scope']);
  });

  it('has a scope that is a permission as far as the person’s roles do', async () => {
    const row = await register({ scopes: [{ name: 'reports:read:any' }, { name: 'users:read:any' }] });
    const rp = await application();
    const request = { scope: 'openid reports:read:any users:read:any', resource: row.identifier };
    const user = await rp.signIn(person, request);
    expect(decodeJwt(user.access_token).scope).toBe('users:read:own');
    expect((await introspect(rp.client, user.access_token)).active).toBe(true);
    const boss = await newPerson(server);
    const { id } = await server.database.db('users').where({ email: boss.email }).first('id');
    await giveRole(server, id, 'moderator');
    const { access_token } = await rp.signIn(boss, request);
    expect(String(decodeJwt(access_token).scope).split(' ')).toContain('users:read:any');
    expect((await introspect(rp.client, access_token)).active).toBe(true);
    // It is a name at that API, and no permission here.
    expect((await send(`${server.issuer}/users`, { headers: bearer(access_token) })).status).toBe(401);
  });
});

describe('a client may ask for', () => {
  it('nothing at what is not registered, or not for it: the answer is the same', async () => {
    const row = await register({ allow: 'listed' });
    const rp = await application();
    const client = await machine();
    for (const resource of [
      row.identifier,
      'https://unknown.example.com/',
      row.identifier.slice(0, -1),
      `${server.issuer}/other`,
      'countersign-api',
      'urn:x\u{0}',
    ]) {
      if (!resource.includes('\0'))
        expect([resource, await refusal(rp, { scope: 'openid', resource })]).toEqual([resource, 'invalid_target']);
      const answer = await ask(client, { grant_type: 'client_credentials', resource });
      expect([resource, answer.status]).toEqual([resource, 400]);
      expect(answer.body.error).toBe(resource.includes('\0') ? 'invalid_request' : 'invalid_target');
    }
  });

  it('what its entry there leaves, when it has one', async () => {
    const client = await machine();
    const row = await register({
      allow: 'listed',
      clients: [{ clientId: client.client_id, scopes: ['orders.read'] }],
    });
    const { body } = await forItself(client, row, 'orders.read orders.write');
    expect(body.scope).toBe('orders.read');
    expectError(await forItself(client, row, 'orders.write'), [400, 'invalid_scope']);
    expectError(await forItself(await machine(), row, 'orders.read'), [400, 'invalid_target']);
  });

  it('nothing whose tokens could be taken for id_tokens: a client_id is no identifier, and no audience', async () => {
    const clientId = 'https://client.example.com/document.json';
    const { client_id } = await machine();
    await server.database.db('clients').where({ clientId: client_id }).update({ clientId });
    const { status, json } = await admin.request('post', '/resource-servers', { identifier: clientId, name: 'Client' });
    expect([status, json.code]).toEqual([409, 'identifier_taken']);
    await expect(machine({ audience: clientId })).rejects.toThrow(/client_id/);
  });

  it('of what it is registered for, when it is registered for any scope', async () => {
    const row = await register();
    const client = await machine({ scope: 'orders.write other' });
    expect((await forItself(client, row, 'orders.read orders.write')).body.scope).toBe('orders.write');
    const without = await machine({ scope: 'openid' });
    expectError(await forItself(without, row, 'orders.read'), [400, 'invalid_scope']);
  });

  it('no audience of its own that is a resource server’s', async () => {
    const row = await register();
    const audience = { audience: row.identifier, scope: 'orders.write' };
    await expect(machine(audience)).rejects.toThrow(/resource server/);
    const taken = `https://taken-${count}.example.com`;
    await machine({ audience: taken });
    const { status, json } = await admin.request('post', '/resource-servers', { identifier: taken, name: 'Taken' });
    expect([status, json.code]).toEqual([409, 'identifier_taken']);
    // However the row came to be.
    const client = await machine({ scope: 'orders.write' });
    await server.database.db('clients').where({ clientId: client.client_id }).update({ audience: row.identifier });
    expectError(await ask(client, { grant_type: 'client_credentials', scope: 'orders.write' }), [
      400,
      'invalid_target',
    ]);
  });
});

describe('a request that names many resources', () => {
  const many = (count: number): [string, string][] =>
    Array.from({ length: count }, (_, index) => ['resource', `https://many-${index}.example.com/`]);
  const stored = async () => Number((await server.database.db('oidcPayloads').count().first())?.count);

  it('is refused before anything is looked up or stored', async () => {
    const rp = await application();
    const before = await stored();
    const { url } = await rp.begin({ scope: 'openid' });
    const form = [...url.searchParams, ...many(900)] as [string, string][];
    for (const path of ['/oauth/par', '/oauth/device', '/oauth/token'])
      expectError(await post(server, path, form, basic(rp.client)), [400, 'invalid_target']);
    for (const [name, value] of many(11)) url.searchParams.append(name, value);
    for (const response of [
      await fetch(url, { headers: { accept: 'text/html' }, redirect: 'manual' }),
      await fetch(`${server.issuer}/oauth/authorize`, {
        method: 'POST',
        body: new URLSearchParams(form),
        redirect: 'manual',
      }),
    ])
      expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('invalid_target')]);
    expect(await stored()).toBe(before);
  });

  it('is refused when they are in a signed request (RFC 9101), too', async () => {
    const rp = await application({ token_endpoint_auth_method: 'private_key_jwt' });
    const { url } = await rp.begin({ scope: 'openid' });
    const claims = { ...Object.fromEntries(url.searchParams), resource: many(11).map(([, value]) => value) };
    const request = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(rp.client.client_id)
      .setAudience(server.issuer)
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime('1m')
      .sign(rp.key as CryptoKey);
    url.search = new URLSearchParams({ client_id: rp.client.client_id, request }).toString();
    const { url: callback } = await person.browser.go(url);
    expect(callback.searchParams.get('error')).toBe('invalid_target');
    expect(callback.searchParams.get('error_description')).toContain('more than 10');
  });

  it('has each of them looked up once', async () => {
    const rp = await application();
    const { identifier } = await register();
    const { url } = await rp.begin({ scope: 'openid orders.read' });
    for (let times = 0; times < 10; times++) url.searchParams.append('resource', identifier);
    const queries: string[] = [];
    const count = ({ sql, bindings }: { sql: string; bindings: unknown[] }) => {
      if (sql.includes('resource_servers') && bindings.includes(identifier)) queries.push(sql);
    };
    server.database.db.on('query', count);
    const { status } = await fetch(url, { redirect: 'manual' });
    server.database.db.removeListener('query', count);
    expect([status, queries.length]).toEqual([303, 1]);
  });

  it('and no parameter comes more than a few times', async () => {
    const form = Array.from({ length: 21 }, (): [string, string] => ['ui_locales', 'en']);
    expectError(await post(server, '/oauth/par', form, basic((await application()).client)), [400, 'invalid_request']);
  });
});

describe('consent to a resource', () => {
  it('shows its name and what its scopes mean, and is remembered for these', async () => {
    const row = await register({ name: 'The <b>Order</b> Book' });
    const rp = await registerRelyingParty(server, {});
    const someone = await newPerson(server);
    const parameters = { scope: 'openid orders.read orders.write', resource: row.identifier };
    await rp.signIn(someone, { scope: 'openid' });
    const { url } = await rp.begin(parameters);
    const page = await someone.browser.go(url.href);
    expect(page.html).toContain('The &#60;b&#62;Order&#60;/b&#62; Book');
    for (const text of ['See your orders', 'orders.write', row.identifier]) expect(page.html).toContain(text);
    const tokens = await rp.signIn(someone, parameters);
    expect(decodeJwt(tokens.access_token).scope).toBe('orders.read orders.write');
    const again = await someone.browser.go((await rp.begin(parameters)).url.href);
    expect(again.url.searchParams.get('code')).toBeTruthy();
  });
});

describe('introspection (RFC 7662 section 4) is for', () => {
  it('the client of the token, the resource server’s own client, one with the permission, and the operator’s own', async () => {
    const api = await machine({ client_name: 'The API' });
    const elsewhere = await machine({ client_name: 'Another API' });
    const row = await register({ clients: [{ clientId: api.client_id, scopes: [], introspects: true }] });
    await register({ clients: [{ clientId: elsewhere.client_id, scopes: [], introspects: true }] });
    const rp = await application();
    const { access_token, refresh_token } = await rp.signIn(person, {
      scope: 'openid orders.read',
      resource: row.identifier,
    });
    const permitted = await machine({ scope: 'tokens:introspect:any' });
    const own = await machine({ first_party: true });
    for (const [client, token, active] of [
      [rp.client, access_token, true],
      [api, access_token, true],
      [permitted, access_token, true],
      [own, access_token, true],
      [elsewhere, access_token, false],
      [await machine(), access_token, false],
      [rp.client, refresh_token, true],
      [api, refresh_token, false],
      [elsewhere, refresh_token, false],
    ] as const)
      expect([client.client_name, client.client_id, (await introspect(client, token)).active]).toEqual([
        client.client_name,
        client.client_id,
        active,
      ]);
    // An entry without `introspects` is for asking, and a token for another audience is none of that API's business.
    await replace(row, { scopes: [{ name: 'orders.read' }], clients: [{ clientId: api.client_id }] });
    expect(await introspect(api, access_token)).toEqual({ active: false });
  });

  it('nobody whose permission is not backed by who registered it', async () => {
    const row = await register();
    const { access_token } = await (await application()).signIn(person, {
      scope: 'openid orders.read',
      resource: row.identifier,
    });
    const clerk = await callerOf(server, { role: 'admin' });
    const { json: client } = await clerk.request('post', '/clients', {
      grant_types: ['client_credentials'],
      scope: 'tokens:introspect:any',
    });
    expect((await introspect(client, access_token)).active).toBe(true);
    await giveRole(server, clerk.id, 'user');
    expect(await introspect(client, access_token)).toEqual({ active: false });
  });
});

describe('tokens end', () => {
  const tokensFor = async (row: Row) => {
    const rp = await application();
    const client = await machine();
    const person = await newPerson(server);
    const { access_token, refresh_token } = await rp.signIn(person, {
      scope: 'openid orders.read',
      resource: row.identifier,
    });
    const { body } = await forItself(client, row, 'orders.read');
    const states = async () => [
      (await introspect(rp.client, access_token)).active,
      (await introspect(client, body.access_token)).active,
    ];
    expect(await states()).toEqual([true, true]);
    return { rp, client, person, refresh_token, states };
  };

  for (const accessTokenFormat of ['jwt', 'opaque'] as const)
    it(`(${accessTokenFormat}) with their resource server, and consent with it`, async () => {
      const row = await register({ accessTokenFormat });
      const { rp, client, refresh_token, states } = await tokensFor(row);
      const outsider = await registerRelyingParty(server, {});
      const someone = await newPerson(server);
      const parameters = { scope: 'openid orders.read', resource: row.identifier };
      await outsider.signIn(someone, parameters);
      expect((await admin.request('delete', `/resource-servers/${row.id}`)).status).toBe(204);
      expect(await states()).toEqual([false, false]);
      const form = { grant_type: 'refresh_token', refresh_token };
      expectError(await ask(rp.client, form), [400, 'invalid_target']);
      expectError(await forItself(client, row), [400, 'invalid_target']);
      // One of the same name is another: nothing comes back, and people are asked anew.
      await register({ identifier: row.identifier, accessTokenFormat });
      const page = await someone.browser.go((await outsider.begin(parameters)).url.href);
      expect(page.html).toContain('See your orders');
    });

  it('when their scope is gone, their client is taken off the list, or its registered scope is less', async () => {
    const row = await register();
    const { client, states } = await tokensFor(row);
    const scopes = [{ name: 'orders.read' }, { name: 'orders.write' }];
    await replace(row, { scopes, accessTokenTtl: 300 });
    expect(await states()).toEqual([true, true]);
    await replace(row, { scopes, allow: 'listed', clients: [{ clientId: client.client_id }] });
    expect(await states()).toEqual([false, true]);
    await replace(row, { scopes, clients: [{ clientId: client.client_id, scopes: ['orders.write'] }] });
    expect(await states()).toEqual([true, false]);
    await replace(row, { scopes: scopes.slice(1) });
    expect(await states()).toEqual([false, false]);
    await replace(row, { scopes });
    await server.database.db('clients').where({ clientId: client.client_id }).update({ scope: 'other' });
    expect((await states())[1]).toBe(false);
  });

  it('and a scope that comes back is asked for anew', async () => {
    const row = await register();
    const rp = await registerRelyingParty(server, {});
    const someone = await newPerson(server);
    const parameters = { scope: 'openid orders.read orders.write', resource: row.identifier };
    const { access_token } = await rp.signIn(someone, parameters);
    await replace(row, { scopes: [{ name: 'orders.write' }] });
    expect((await introspect(rp.client, access_token)).active).toBe(false);
    await replace(row, { scopes: [{ name: 'orders.read', description: 'Something else' }, { name: 'orders.write' }] });
    const page = await someone.browser.go((await rp.begin(parameters)).url.href);
    expect(page.html).toContain('Something else');
    expect(page.html).not.toContain('orders.write');
  });
});

describe('OPEN_RESOURCES', () => {
  it('lets people give tokens for APIs that are not known here, with what they agreed to alone', async () => {
    const open = await startServer({ OPEN_RESOURCES: 'true' });
    try {
      const rp = await registerRelyingParty(open, {});
      const someone = await newPerson(open);
      const resource = 'https://mcp.example.com/mcp';
      const tokens = await rp.signIn(someone, { scope: 'openid tools.call', resource });
      expect(decodeJwt(tokens.access_token)).toMatchObject({ aud: resource, scope: 'tools.call' });
      const next = await rp.refresh(tokens.refresh_token);
      expect(decodeJwt(next.access_token)).toMatchObject({ aud: resource, scope: 'tools.call' });
      const isActive = async (token: string) =>
        (await post(open, '/oauth/introspect', { token }, basic(rp.client))).body.active;
      expect(await isActive(next.access_token)).toBe(true);
      expect((await send(`${open.issuer}/auth/me`, { headers: bearer(next.access_token) })).status).toBe(401);
      // A client by itself has nobody to agree, and what is some client's audience is not unknown.
      const client = await open.client({ grant_types: ['client_credentials'], redirect_uris: [] });
      const alone = { grant_type: 'client_credentials', resource };
      expectError(await post(open, '/oauth/token', alone, basic(client)), [400, 'invalid_target']);
      await open.client({ redirect_uris: ['https://app.example.com/'], audience: 'https://known.example.com' });
      for (const known of ['https://known.example.com', `${open.issuer}/other`, 'countersign-api']) {
        const { callback } = await rp.authorize(someone, { scope: 'openid', resource: known });
        expect([known, callback.searchParams.get('error')]).toEqual([known, 'invalid_target']);
      }
      await open.database.db('grants').update({ payload: JSON.stringify({}) });
      expect(await isActive(next.access_token)).toBe(false);
    } finally {
      await open.stop();
    }
  });

  it('of what people agreed to while nobody had registered an API leaves what it declares', async () => {
    const open = await startServer({ OPEN_RESOURCES: 'true' });
    try {
      const root = await callerOf(open, { role: 'admin' });
      const rp = await registerRelyingParty(open, {});
      const someone = await newPerson(open);
      const resource = 'https://mcp.example.com/mcp';
      await rp.signIn(someone, { scope: 'openid tools.call tools.delete', resource });
      const { status } = await root.request('post', '/resource-servers', {
        ...{ identifier: resource, name: 'Tools' },
        scopes: [{ name: 'tools.call' }, { name: 'tools.list' }],
      });
      expect(status).toBe(201);
      const { id: userId } = await open.database.db('users').where({ email: someone.email }).first('id');
      const consent = await open.database.db('consents').where({ userId }).first('resources');
      const grant = await open.database.db('grants').where({ clientId: rp.client.client_id }).first('payload');
      expect([consent.resources[resource], grant.payload.resources[resource]]).toEqual([['tools.call'], 'tools.call']);
    } finally {
      await open.stop();
    }
  });
});

describe('the administration of resource servers refuses', () => {
  const valid = { name: 'Orders', identifier: 'https://valid.example.com/' };
  for (const [name, body] of Object.entries({
    'no name': { identifier: valid.identifier },
    'a relative identifier': { ...valid, identifier: '/orders' },
    'an identifier with a fragment': { ...valid, identifier: 'https://orders.example.com/#x' },
    'our own audience': { ...valid, identifier: 'countersign-api' },
    'a scope of OpenID Connect': { ...valid, scopes: [{ name: 'email' }] },
    'a scope with a space': { ...valid, scopes: [{ name: 'a b' }] },
    'a wildcard': { ...valid, scopes: [{ name: 'orders:*:any' }] },
    'a scope twice': { ...valid, scopes: [{ name: 'a' }, { name: 'a' }] },
    'a description that turns the writing around': { ...valid, scopes: [{ name: 'a', description: 'x\u202ey' }] },
    'a lifetime of days': { ...valid, accessTokenTtl: 100_000 },
    'a lifetime of seconds': { ...valid, accessTokenTtl: 5 },
    'an algorithm that there is no key for': { ...valid, signingAlg: 'ML-DSA-87' },
    'an algorithm that nobody knows': { ...valid, signingAlg: 'HS256' },
    'a client that is not there': { ...valid, clients: [{ clientId: 'nobody' }] },
    'a client twice': { ...valid, clients: [{ clientId: 'a' }, { clientId: 'a' }] },
    'a scope of a client that is none here': { ...valid, clients: [{ clientId: 'a', scopes: ['b'] }] },
  }))
    it(name, async () => {
      const { status, json } = await admin.request('post', '/resource-servers', body);
      expect([status, json.code]).toEqual([400, 'invalid_request']);
    });

  it('an identifier under the issuer', async () => {
    const body = { ...valid, identifier: `${server.issuer}/api` };
    expect((await admin.request('post', '/resource-servers', body)).status).toBe(400);
  });

  it('the same identifier twice, also at the same time', async () => {
    const identifier = newIdentifier();
    const attempts = [1, 2, 3].map(() => admin.request('post', '/resource-servers', { ...valid, identifier }));
    expect((await Promise.all(attempts)).map(({ status }) => status).sort()).toEqual([201, 409, 409]);
  });

  it('whoever ranks below its registrar', async () => {
    const { db } = server.database;
    const rules = { isIdentifier: () => true, signingAlgs: () => ['RS256'], narrow: async () => {} };
    const input = {
      ...{ name: 'High', description: null, scopes: [], accessTokenFormat: 'jwt' as const, accessTokenTtl: null },
      ...{ signingAlg: null, allow: 'any' as const, clients: [] },
    };
    const operator = { kind: 'operator' as const, id: '', rank: 100, permissions: ['*:*:*'] };
    const actor = { type: 'operator' as const };
    const row = await createResourceServer(db, actor, operator, { ...input, identifier: newIdentifier() }, rules);
    const { status, json } = await admin.request('put', `/resource-servers/${row.id}`, { name: 'Low' });
    expect([status, json.code]).toEqual([403, 'rank_too_low']);
    expect((await admin.request('delete', `/resource-servers/${row.id}`)).status).toBe(403);
    await updateResourceServer(db, actor, operator, { ...input, id: row.id, name: 'Higher' }, rules);
    expect((await admin.request('get', `/resource-servers/${row.id}`)).json.name).toBe('Higher');
  });

  it('who has not the permission, and lists in pages to who has', async () => {
    const reader = await machineOf(server, 'resource_servers:read:any');
    const { json } = await reader.request('get', '/resource-servers?limit=1');
    expect(json.data).toHaveLength(1);
    expect(json.nextCursor).toEqual(expect.any(String));
    const next = await reader.request('get', `/resource-servers?limit=200&cursor=${json.nextCursor}`);
    expect(next.json.data.map(({ id }: Row) => id)).not.toContain(json.data[0].id);
    expect((await reader.request('post', '/resource-servers', valid)).status).toBe(403);
    expect((await (await callerOf(server)).request('get', '/resource-servers')).status).toBe(403);
  });
});
