/** Clients that register themselves (RFC 7591), by setting: nobody, with an initial access token, or anybody. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { expireClients } from '../../src/clients/self-registration.commands.ts';
import { findMeetingRow, toMeeting } from '../../src/resource-servers/resource-servers.queries.ts';
import { authorize } from '../support/browser.ts';
import { callerOf, giveRole, type TestCaller } from '../support/callers.ts';
import { basic, bearer, newPerson, post, type Reply, send } from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let guarded: TestServer;
let limited: TestServer;
let off: TestServer;
let admin: TestCaller;
beforeAll(async () => {
  server = await startServer({ DYNAMIC_REGISTRATION: 'open' });
  guarded = await startServer({ DYNAMIC_REGISTRATION: 'token' });
  limited = await startServer({ DYNAMIC_REGISTRATION: 'open', RATE_LIMIT_FACTOR: '0.1' });
  off = await startServer({ DYNAMIC_REGISTRATION: 'off' });
  admin = await callerOf(guarded, { role: 'admin' });
}, 300_000);
afterAll(async () => {
  for (const each of [server, guarded, limited, off]) await each.stop();
});

const redirectUri = 'https://app.example.com/callback';
const web = { client_name: 'Acme', redirect_uris: [redirectUri] };

const register = (metadata: unknown, { to = server, headers = {} }: { to?: TestServer; headers?: object } = {}) =>
  send(`${to.issuer}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
  });
const rowOf = ({ body }: Reply, at = server) => at.database.db('clients').where({ clientId: body.client_id }).first();

describe('anybody', () => {
  it('registers a client, whose secret and registration token are shown once and stored as hashes', async () => {
    const reply = await register(web);
    expect(reply.status).toBe(201);
    expect(reply.headers.get('cache-control')).toBe('no-store');
    expect(reply.headers.get('pragma')).toBe('no-cache');
    expect(reply.body).toMatchObject({
      ...web,
      client_id: expect.stringMatching(/^\w{20}$/),
      client_id_issued_at: expect.any(Number),
      client_secret: expect.stringMatching(/^[\w-]{43}$/),
      client_secret_expires_at: 0,
      application_type: 'web',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      registration_client_uri: `${server.issuer}/oauth/register/${reply.body.client_id}`,
      registration_access_token: expect.stringMatching(/^[\w-]{43}$/),
    });
    // What is ours to say is neither registered nor told.
    for (const name of ['rank', 'created_by', 'first_party', 'audience', 'built_in', 'kind', 'require_pkce'])
      expect(reply.body).not.toHaveProperty(name);
    const row = await rowOf(reply);
    for (const secret of [reply.body.client_secret, reply.body.registration_access_token])
      expect(JSON.stringify(row)).not.toContain(secret);
    const { min: lowest } = (await server.database.db('roles').min('rank').first()) as { min: number };
    expect(row).toMatchObject({ kind: 'dynamic', rank: lowest, createdBy: null, firstParty: false, requirePkce: true });
    const events = await server.database.db('auditLogs').where({ targetId: reply.body.client_id });
    expect(events).toMatchObject([{ action: 'client.register', actorType: 'anonymous' }]);
  });

  it('is told in discovery where', async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body.registration_endpoint).toBe(`${server.issuer}/oauth/register`);
  });

  it('comes with a script from any site', async () => {
    const preflight = await send(`${server.issuer}/oauth/register`, {
      method: 'OPTIONS',
      headers: { origin: 'https://inspector.example', 'access-control-request-method': 'POST' },
    });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, '*']);
    expect(preflight.headers.get('access-control-allow-headers')).toMatch(/authorization/i);
    const reply = await register(web, { headers: { origin: 'https://inspector.example' } });
    expect(reply.headers.get('access-control-allow-origin')).toBe('*');
    expect(reply.headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('cannot say what is the server’s to say', async () => {
    const reply = await register({
      ...web,
      client_id: 'mine',
      client_secret: 'chosen',
      first_party: true,
      rank: 100,
      audience: 'https://orders.example.com',
      access_token_format: 'opaque',
      require_pkce: false,
      built_in: true,
      kind: 'registered',
      created_by: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f',
      software_policy: 'partners',
      theme: { accent: '#000000' },
      token_exchange: { impersonation: true },
      api_scope: '*:*:*',
      client_id_issued_at: 1,
    });
    expect(reply.status).toBe(201);
    expect(reply.body.client_id).not.toBe('mine');
    expect(reply.body.client_secret).not.toBe('chosen');
    expect(await rowOf(reply)).toMatchObject({
      firstParty: false,
      audience: null,
      accessTokenFormat: 'jwt',
      requirePkce: true,
      builtIn: false,
      kind: 'dynamic',
      createdBy: null,
      softwarePolicy: null,
      theme: null,
      tokenExchange: null,
      scope: null,
    });
  });

  it('gets of grants and scopes what no stranger could misuse, and is told so', async () => {
    const reply = await register({
      ...web,
      grant_types: [
        'authorization_code',
        'refresh_token',
        'password',
        'client_credentials',
        'urn:ietf:params:oauth:grant-type:token-exchange',
        'urn:openid:params:grant-type:ciba',
      ],
      scope: 'openid email users:write:any *:*:* api:read offline_access',
    });
    expect(reply.body).toMatchObject({
      grant_types: ['authorization_code', 'refresh_token'],
      scope: 'openid email offline_access',
    });
    const asItself = await post(server, '/oauth/token', { grant_type: 'client_credentials' }, basic(reply.body));
    expect([asItself.status, asItself.body.access_token]).toEqual([400, undefined]);
  });

  for (const { what, metadata, expected } of [
    { what: 'on the device', metadata: { redirect_uris: ['http://localhost:33418/callback'] }, expected: 'native' },
    { what: 'an own scheme', metadata: { redirect_uris: ['cursor://anysphere.mcp/callback'] }, expected: 'native' },
    { what: 'on the web', metadata: { redirect_uris: [redirectUri] }, expected: 'web' },
    {
      what: 'on the device, said to be web',
      metadata: { redirect_uris: ['http://localhost:3000/cb'], application_type: 'web' },
      expected: 'native',
    },
  ])
    it(`is taken for what its redirect URIs say: ${what}`, async () => {
      expect((await register(metadata)).body.application_type).toBe(expected);
    });

  it('may tighten itself by a profile', async () => {
    const reply = await register({ ...web, profile: 'oauth2.1', redirect_uris: [redirectUri] });
    expect([reply.status, reply.body.profile]).toEqual([201, 'oauth2.1']);
    expect((await register({ ...web, profile: 'fapi2-security' })).body.error).toBe('invalid_client_metadata');
  });

  it('may ask for no authorization_details, whose words would be the operator’s', async () => {
    const reply = await register({ ...web, authorization_details_types: ['payment_initiation'] });
    expect([reply.status, reply.body.authorization_details_types ?? []]).toEqual([201, []]);
    expect(await rowOf(reply)).toMatchObject({ authorizationDetailsTypes: [] });
  });

  it('gets no more at a resource server by naming no scope than by naming all', async () => {
    const root = await callerOf(server, { role: 'admin' });
    const identifier = 'https://reports.example.com/';
    const { json: api } = await root.request('post', '/resource-servers', {
      ...{ identifier, name: 'Reports' },
      scopes: [{ name: 'reports.read' }, { name: 'reports:read:any' }, { name: 'users:read:any' }],
    });
    const scope = 'reports.read reports:read:any users:read:any';
    const given = async (metadata: object) => {
      const { body: client } = await register({ ...web, ...metadata });
      const person = await newPerson(server);
      const userId = (await server.database.db('users').where({ email: person.email }).first('id')).id;
      await giveRole(server, userId, 'admin');
      const url = new URL(`${server.issuer}/oauth/authorize`);
      url.search = new URLSearchParams({
        ...{ client_id: client.client_id, redirect_uri: redirectUri, response_type: 'code', scope },
        ...{ code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' },
        resource: identifier,
      }).toString();
      const callback = await authorize(person.browser, url, person.email);
      const { body } = await post(
        server,
        '/oauth/token',
        {
          ...{ grant_type: 'authorization_code', redirect_uri: redirectUri, resource: identifier },
          code: callback.searchParams.get('code') as string,
          code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
        },
        basic(client),
      );
      const { body: seen } = await post(server, '/oauth/introspect', { token: body.access_token }, basic(client));
      expect(seen).toMatchObject({ active: true, aud: identifier });
      return body.scope;
    };
    expect(await given({})).toBe('reports.read');
    expect(await given({ scope })).toBe('reports.read');
    expect(api.allow).toBe('any');
  });

  it('is asked for consent, as an application that nobody has checked, before there are tokens', async () => {
    const { body: client } = await register({
      client_name: 'Totally Your Bank',
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
    });
    const person = await newPerson(server);
    const url = new URL(`${server.issuer}/oauth/authorize`);
    url.search = new URLSearchParams({
      client_id: client.client_id,
      redirect_uri: redirectUri,
      response_type: 'code',
      scope: 'openid email users:write:own',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
      state: 's',
    }).toString();
    let page = await person.browser.go(url);
    page = await person.browser.submit(page, { email: person.email, password: 'correct horse battery staple' });
    expect(page.html).toContain('class="warning"');
    expect(page.html).toContain('app.example.com');
    expect(page.html).not.toContain('users:write:own');
    page = await person.browser.submit(page);
    const { body } = await post(server, '/oauth/token', {
      grant_type: 'authorization_code',
      client_id: client.client_id,
      code: page.url.searchParams.get('code') as string,
      redirect_uri: redirectUri,
      code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
    });
    expect(body.scope).toBe('openid email');
    expect(decodeJwt(body.id_token).aud).toBe(client.client_id);
    // It is noted once the tokens are on their way.
    const lastUsedAt = async () =>
      (await server.database.db('clients').where({ clientId: client.client_id }).first('lastUsedAt')).lastUsedAt;
    await eventually(async () => (await lastUsedAt()) instanceof Date, 'it is noted');
  });
});

describe('is refused', () => {
  const refusals: [what: string, metadata: unknown, expected: [number, string]][] = [
    ['no redirect URI', { client_name: 'Acme' }, [400, 'invalid_redirect_uri']],
    ['a fragment', { redirect_uris: ['https://app.example.com/#x'] }, [400, 'invalid_redirect_uri']],
    ['plain http elsewhere', { redirect_uris: ['http://app.example.com/'] }, [400, 'invalid_redirect_uri']],
    ['no URI', { redirect_uris: ['callback'] }, [400, 'invalid_redirect_uri']],
    ['a script', { redirect_uris: ['javascript:alert(1)'] }, [400, 'invalid_redirect_uri']],
    ['data', { redirect_uris: ['data:text/html,x'] }, [400, 'invalid_redirect_uri']],
    ['only grants that are not for strangers', { ...web, grant_types: ['password'] }, [400, 'invalid_client_metadata']],
    ['an unknown method', { ...web, token_endpoint_auth_method: 'magic' }, [400, 'invalid_client_metadata']],
    [
      'a private key',
      { ...web, jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'x', d: 'd' }] } },
      [400, 'invalid_client_metadata'],
    ],
    ['an unknown response type', { ...web, response_types: ['token'] }, [400, 'invalid_client_metadata']],
    ['invisible characters in a name', { ...web, client_name: 'Ac\u200bme' }, [400, 'invalid_client_metadata']],
    ['control characters', { ...web, client_name: 'Ac\u0000me' }, [400, 'invalid_client_metadata']],
    ['a name that is too long', { ...web, client_name: 'x'.repeat(201) }, [400, 'invalid_client_metadata']],
    ['the name of the service', { ...web, client_name: 'Countersign' }, [400, 'invalid_client_metadata']],
    ...[
      'Countersign Login',
      'COUNTERSIGN: your account',
      '« Countersign »',
      'Сοuntеrsіgn',
      'C\u00f3unters\u00edgn',
      'Ⅽ𝗈unters1gn Support',
      'Countersign API',
    ].map((client_name): [string, unknown, [number, string]] => [
      `a name that passes for the service’s: ${client_name}`,
      { ...web, client_name },
      [400, 'invalid_client_metadata'],
    ]),
    ...[
      'https://app.exаmple.com/callback',
      'https://app.example.com/rückruf',
      'https://app.example.com@evil.example/callback',
      'https://user:pass@app.example.com/callback',
      'https://app.example.com/call back',
    ].map((uri): [string, unknown, [number, string]] => [
      `a redirect URI that is not what it seems: ${uri}`,
      { redirect_uris: [uri] },
      [400, 'invalid_redirect_uri'],
    ]),
    ['not an array', { redirect_uris: redirectUri }, [400, 'invalid_redirect_uri']],
    [
      'jwks and jwks_uri',
      { ...web, jwks: { keys: [] }, jwks_uri: 'https://app.example.com/jwks' },
      [400, 'invalid_client_metadata'],
    ],
    [
      'a sector document within our network',
      { ...web, subject_type: 'pairwise', sector_identifier_uri: 'https://10.0.0.1/sector' },
      [400, 'invalid_client_metadata'],
    ],
    [
      'a software statement',
      { ...web, software_statement: 'eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.' },
      [400, 'unapproved_software_statement'],
    ],
    ['what is no software statement', { ...web, software_statement: 'yes' }, [400, 'invalid_software_statement']],
    ['no object', [], [400, 'invalid_request']],
    ['no JSON', '{"redirect_uris"', [400, 'invalid_request']],
    ['a body without end', { ...web, x: 'x'.repeat(70_000) }, [413, 'invalid_request']],
  ];
  for (const [what, metadata, expected] of refusals)
    it(`${what}, and nothing is stored`, async () => {
      const before = await server.database.db('clients').count();
      const { status, body, headers } = await register(metadata);
      expect([status, body.error]).toEqual(expected);
      expect(body.error_description).toEqual(expect.any(String));
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(await server.database.db('clients').count()).toEqual(before);
    });

  it('a redirect URI on the service itself', async () => {
    const { status, body } = await register({ redirect_uris: [`${server.issuer}/account`] });
    expect([status, body.error]).toEqual([400, 'invalid_redirect_uri']);
  });

  it('no name that merely resembles the service’s', async () => {
    for (const client_name of ['Countersigner', 'Counter', 'The Countersign reader', '🙂'])
      expect([client_name, (await register({ ...web, client_name })).status]).toEqual([client_name, 201]);
  });

  it('what is not sent as JSON', async () => {
    const { status, body } = await register('a=b', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect([status, body.error]).toEqual([415, 'invalid_request']);
  });

  it('another method, which is told', async () => {
    const { status, headers } = await send(`${server.issuer}/oauth/register`);
    expect([status, headers.get('allow')]).toEqual([405, 'POST']);
  });

  it('more than one network address may register in an hour', async () => {
    const replies = [];
    for (let attempt = 0; attempt < 3; attempt++) replies.push(await register(web, { to: limited }));
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 429]);
    expect(replies[2]?.headers.get('retry-after')).toMatch(/^\d+$/);
  });
});

describe('DYNAMIC_REGISTRATION', () => {
  it('off: there is no endpoint, and discovery knows none', async () => {
    expect((await register(web, { to: off })).status).toBe(404);
    const { body } = await send(`${off.issuer}/.well-known/openid-configuration`);
    expect(body).not.toHaveProperty('registration_endpoint');
  });

  it('token: nobody registers without one', async () => {
    const without = await register(web, { to: guarded });
    expect([without.status, without.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    for (const token of ['wrong', 'x'.repeat(43), admin.token]) {
      const wrong = await register(web, { to: guarded, headers: bearer(token) });
      expect([wrong.status, wrong.body.error]).toEqual([401, 'invalid_token']);
      expect(wrong.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    }
  });

  it('is `token` in production and `open` in development unless it is set', async () => {
    const { registrationMode } = await import('../../src/registration-settings.ts');
    expect(registrationMode({ NODE_ENV: 'production' })).toBe('token');
    expect(registrationMode({ NODE_ENV: 'development' })).toBe('open');
    expect(registrationMode({ NODE_ENV: 'production', DYNAMIC_REGISTRATION: 'off' })).toBe('off');
  });
});

describe('an initial access token', () => {
  const make = async (input: object, by = admin) => {
    const { status, json } = await by.request('post', '/initial-access-tokens', { note: 'For Acme', ...input });
    expect(status).toBe(201);
    return json as { id: string; token: string; usesLeft: number | null; createdBy: string };
  };

  it('lets a client register, which answers to whoever made it', async () => {
    const { id, token } = await make({ uses: 2 });
    const reply = await register(web, { to: guarded, headers: bearer(token) });
    expect(reply.status).toBe(201);
    expect(await rowOf(reply, guarded)).toMatchObject({ createdBy: admin.id, kind: 'dynamic' });
    const { json } = await admin.request('get', '/initial-access-tokens');
    expect(json.data.find((one: { id: string }) => one.id === id)).toMatchObject({ usesLeft: 1, note: 'For Acme' });
    expect(JSON.stringify(json)).not.toContain(token);
    expect(JSON.stringify(await guarded.database.db('initialAccessTokens'))).not.toContain(token);
    const [event] = await guarded.database.db('auditLogs').where({ targetId: reply.body.client_id });
    expect(event).toMatchObject({ action: 'client.register', meta: { initialAccessToken: id } });
  });

  it('of one use lets one of many clients at the same time register', async () => {
    const { token } = await make({ uses: 1 });
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => register(web, { to: guarded, headers: bearer(token) })),
    );
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(replies.filter(({ status }) => status === 401)).toHaveLength(7);
  });

  it('is not used up by metadata that is refused', async () => {
    const { token } = await make({ uses: 1 });
    expect((await register({ redirect_uris: [] }, { to: guarded, headers: bearer(token) })).status).toBe(400);
    expect((await register(web, { to: guarded, headers: bearer(token) })).status).toBe(201);
  });

  it('ends when it expires, is deleted, or whoever made it is no longer active', async () => {
    const { db } = guarded.database;
    const expired = await make({});
    await db('initialAccessTokens')
      .where({ id: expired.id })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    const deleted = await make({});
    expect((await admin.request('delete', `/initial-access-tokens/${deleted.id}`)).status).toBe(204);
    const leaver = await callerOf(guarded, { role: 'admin' });
    const left = await make({}, leaver);
    await db('users').where({ id: leaver.id }).update({ status: 'deactivated' });
    for (const { token } of [expired, deleted, left])
      expect((await register(web, { to: guarded, headers: bearer(token) })).status).toBe(401);
    await cleanExpired(db);
    expect(await db('initialAccessTokens').where({ id: expired.id })).toEqual([]);
  });
});

describe('a software policy', () => {
  const define = async (name: string, input: object, by = admin) => {
    const { status, json } = await by.request('post', '/software-policies', { name, ...input });
    expect([status, status === 201 || JSON.stringify(json)]).toEqual([201, true]);
    const { json: made } = await by.request('post', '/initial-access-tokens', { note: name, softwarePolicy: name });
    return made.token as string;
  };

  it('allows more than anybody may, bounded by what its makers hold', async () => {
    const token = await define('machines', {
      grantTypes: ['client_credentials'],
      scope: 'clients:read:any orders:read',
    });
    const { body: client } = await register(
      {
        grant_types: ['client_credentials', 'password'],
        response_types: [],
        scope: 'clients:read:any clients:write:any orders:read',
      },
      { to: guarded, headers: bearer(token) },
    );
    expect(client).toMatchObject({ grant_types: ['client_credentials'], scope: 'clients:read:any orders:read' });
    const { body } = await post(
      guarded,
      '/oauth/token',
      { grant_type: 'client_credentials', scope: client.scope },
      basic(client),
    );
    expect(body.scope.split(' ').sort()).toEqual(['clients:read:any', 'orders:read']);
    // Whoever made the token loses their role: the client can do no more than they can.
    const { db } = guarded.database;
    const before = await db('users').where({ id: admin.id }).first('roleId');
    await db('users')
      .where({ id: admin.id })
      .update({ roleId: db('roles').where({ name: 'user' }).select('id') });
    const after = await post(
      guarded,
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'clients:read:any' },
      basic(client),
    );
    expect([after.status, after.body.error]).toEqual([400, 'invalid_scope']);
    expect((await register(web, { to: guarded, headers: bearer(token) })).status).toBe(400);
    await db('users').where({ id: admin.id }).update(before);
  });

  it('holds clients to hosts and to a profile', async () => {
    const token = await define('partners', {
      redirectHosts: ['app.example.com'],
      profile: 'oauth2.1',
      requirePkce: true,
    });
    const options = { to: guarded, headers: bearer(token) };
    const good = await register({ ...web, profile: undefined }, options);
    expect([good.status, good.body.profile]).toEqual([201, 'oauth2.1']);
    for (const uri of [
      'https://evil.example/',
      'https://app.example.com.evil.example/',
      'app.example.com:/x',
      'http://localhost/',
    ])
      expect((await register({ ...web, redirect_uris: [uri] }, options)).body.error).toBe('invalid_redirect_uri');
  });

  it('never loosens a profile that a client asks for', async () => {
    const token = await define('loose', { profile: 'oauth2.1', requirePkce: false });
    const jwks = {
      keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', kid: 'k1' }],
    };
    const options = { to: guarded, headers: bearer(token) };
    for (const [asked, expected] of [
      ['fapi2-message-signing', 'fapi2-message-signing'],
      ['fapi2-security', 'fapi2-security'],
      [undefined, 'oauth2.1'],
    ]) {
      const reply = await register({ ...web, profile: asked, jwks }, options);
      expect([asked, reply.status, reply.body.profile]).toEqual([asked, 201, expected]);
      expect(await rowOf(reply, guarded)).toMatchObject({ requirePkce: true });
    }
    const strict = await define('strict', { profile: 'fapi2-security' });
    const held = await register({ ...web, profile: 'oauth2.1', jwks }, { to: guarded, headers: bearer(strict) });
    expect([held.status, held.body.profile]).toEqual([201, 'fapi2-security']);
  });

  it('gives its clients by themselves nothing at a resource server but what they name', async () => {
    const identifier = 'https://ledger.example.com/';
    const { status } = await admin.request('post', '/resource-servers', {
      ...{ identifier, name: 'Ledger' },
      scopes: [{ name: 'ledger.read' }, { name: 'ledger.write' }],
    });
    expect(status).toBe(201);
    const token = await define('ledgers', { grantTypes: ['client_credentials'], scope: 'ledger.read' });
    const machine = { grant_types: ['client_credentials'], response_types: [] };
    const given = async (metadata: object) => {
      const { body: client } = await register({ ...machine, ...metadata }, { to: guarded, headers: bearer(token) });
      const form = { grant_type: 'client_credentials', resource: identifier };
      const replies = [];
      for (const scope of ['ledger.read', 'ledger.write'])
        replies.push((await post(guarded, '/oauth/token', { ...form, scope }, basic(client))).status);
      return { clientId: client.client_id as string, replies };
    };
    const named = await given({ scope: 'ledger.read' });
    const unnamed = await given({});
    expect([named.replies, unnamed.replies]).toEqual([
      [200, 400],
      [400, 400],
    ]);
    const { db } = guarded.database;
    const meet = async (alone: boolean) =>
      toMeeting(await findMeetingRow(db, identifier, unnamed.clientId), alone)?.allowed;
    expect([await meet(true), await meet(false)]).toEqual([[], ['ledger.read']]);
  });

  it('gives a client that changes itself nothing that whoever let it register holds no more', async () => {
    const clerk = await callerOf(guarded, { role: 'admin' });
    const token = await define('changing', { scope: 'clients:read:any' }, clerk);
    const { body: client } = await register(web, { to: guarded, headers: bearer(token) });
    const change = (scope: string) =>
      send(client.registration_client_uri, {
        method: 'PUT',
        headers: { 'content-type': 'application/json', ...bearer(client.registration_access_token) },
        body: JSON.stringify({ ...web, client_id: client.client_id, scope }),
      });
    expect((await change('openid clients:read:any')).body.scope).toBe('openid clients:read:any');
    expect((await change('openid')).body.scope).toBe('openid');
    await giveRole(guarded, clerk.id as string, 'user');
    const refused = await change('openid clients:read:any');
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_client_metadata']);
    const { scope } = await guarded.database.db('clients').where({ clientId: client.client_id }).first('scope');
    expect(scope).toBe('openid');
    expect((await change('openid email')).body.scope).toBe('openid email');
  });

  it('lets confidential clients do without PKCE where it says so', async () => {
    const token = await define('old', { requirePkce: false });
    const confidential = await register(web, { to: guarded, headers: bearer(token) });
    expect(await rowOf(confidential, guarded)).toMatchObject({ requirePkce: false });
    const open = await register(
      { ...web, token_endpoint_auth_method: 'none' },
      { to: guarded, headers: bearer(token) },
    );
    expect(await rowOf(open, guarded)).toMatchObject({ requirePkce: true });
  });

  it('gives nothing that whoever writes it, or makes a token of it, does not hold', async () => {
    const root = await callerOf(guarded, { role: 'super_admin' });
    await define('roots', { scope: 'billing:write:any' }, root);
    for (const [method, path, body] of [
      ['post', '/software-policies', { name: 'mine', scope: 'billing:write:any' }],
      ['put', '/software-policies/roots', {}],
      ['delete', '/software-policies/roots', undefined],
      ['post', '/initial-access-tokens', { note: 'x', softwarePolicy: 'roots' }],
    ] as const) {
      const { status, json } = await admin.request(method, path, body);
      expect([method, path, status, json.code]).toEqual([method, path, 403, 'scope_exceeds_yours']);
    }
  });

  it('is listed, replaced and deleted; its clients stay', async () => {
    const token = await define('short', { description: 'For a day' });
    const { body: client } = await register(web, { to: guarded, headers: bearer(token) });
    expect((await admin.request('post', '/software-policies', { name: 'short' })).json.code).toBe(
      'software_policy_exists',
    );
    expect(
      (await admin.request('put', '/software-policies/short', { redirectHosts: ['a.example'] })).json,
    ).toMatchObject({
      description: null,
      redirectHosts: ['a.example'],
    });
    expect(
      (await admin.request('get', '/software-policies')).json.data.map(({ name }: { name: string }) => name),
    ).toContain('short');
    expect((await admin.request('delete', '/software-policies/short')).status).toBe(204);
    expect((await admin.request('delete', '/software-policies/short')).json.code).toBe('software_policy_not_found');
    expect((await register(web, { to: guarded, headers: bearer(token) })).status).toBe(401);
    expect((await admin.request('get', `/clients/${client.client_id}`)).json).toMatchObject({ kind: 'dynamic' });
    const unknown = await admin.request('post', '/initial-access-tokens', { note: 'x', softwarePolicy: 'short' });
    expect([unknown.status, unknown.json.errors[0].field]).toEqual([400, 'softwarePolicy']);
  });
});

describe('clients that nobody uses', () => {
  const age = (clientId: string, days: number, used?: number) =>
    server.database
      .db('clients')
      .where({ clientId })
      .update({
        createdAt: new Date(Date.now() - days * 86_400_000),
        ...(used === undefined ? {} : { lastUsedAt: new Date(Date.now() - used * 86_400_000) }),
      });

  it('go after 30 days without use, or a year since the last, with an event; others stay', async () => {
    const ids = await Promise.all(
      Array.from({ length: 4 }, async () => (await register(web)).body.client_id as string),
    );
    const [never = '', young = '', used = '', gone = ''] = ids;
    const { client_id: registered } = await server.client(web);
    await age(never, 31);
    await age(young, 29);
    await age(used, 300, 200);
    await age(gone, 500, 400);
    await age(registered, 1000);
    await expireClients(server.database.db);
    const left = await server.database
      .db('clients')
      .whereIn('clientId', [...ids, registered])
      .select('clientId');
    expect(left.map(({ clientId }) => clientId).sort()).toEqual([young, used, registered].sort());
    const events = await server.database.db('auditLogs').where({ action: 'client.expire' });
    expect(events.map(({ targetId }) => targetId).sort()).toEqual([never, gone].sort());
  });
});
