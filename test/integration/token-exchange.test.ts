/** Token exchange (RFC 8693) of people's tokens: impersonation, delegation, and all that it must never give. API keys: api-keys.test.ts. */
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser } from '../support/browser.ts';
import { callerOf, giveRole, type TestCaller } from '../support/callers.ts';
import { blocksOf, runGuide } from '../support/guides.ts';
import { basic, bearer, expectError, post, type Reply, send } from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';
import { type Application, openApplication } from '../support/tokens.ts';

const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';
const type = (name: string) => `urn:ietf:params:oauth:token-type:${name}`;
const ownScopes = 'users:read:own users:write:own';

let server: TestServer;
let admin: TestCaller;
/** The operator's application that a person signs in to. */
let app: Application;
let person: { id: string; email: string };
/** The operator's service that the application calls, and one that this calls in turn. */
let backend: RegisteredClient;
let ledger: RegisteredClient;

const machine = (metadata: Record<string, unknown> = {}) =>
  server.client({
    redirect_uris: [],
    response_types: [],
    grant_types: [exchangeGrant, 'client_credentials'],
    scope: ownScopes,
    first_party: true,
    ...metadata,
  });

beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'super_admin' });
  const { id, email } = await callerOf(server);
  person = { id, email };
  app = await openApplication(
    server,
    {
      first_party: true,
      scope: `openid offline_access ${ownScopes}`,
      backchannel_logout_session_required: true,
      backchannel_logout_uri: 'https://app.example.com/logout',
    },
    { email },
  );
  backend = await machine({
    token_exchange: { impersonation: true, delegation: true, subject_clients: [app.client.client_id] },
  });
  ledger = await machine({ token_exchange: { delegation: true, subject_clients: [backend.client_id] } });
});
afterAll(() => server.stop());

const resource = () => `${server.issuer}/api`;
const signIn = (application = app, scope = `openid ${ownScopes}`) =>
  application.tokens({ scope, resource: resource() });
const machineToken = async (client: RegisteredClient): Promise<string> =>
  (await post(server, '/oauth/token', { grant_type: 'client_credentials' }, basic(client))).body.access_token;
const ask = (
  form: Record<string, string | undefined> | [string, string][],
  client = backend,
  headers = basic(client),
): Promise<Reply> => {
  const list = Array.isArray(form)
    ? form
    : Object.entries(form).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return post(server, '/oauth/token', [['grant_type', exchangeGrant], ...list], headers);
};
const subject = (token: string, kind = 'access_token') => ({ subject_token: token, subject_token_type: type(kind) });
const actor = (token: string, kind = 'access_token') => ({ actor_token: token, actor_token_type: type(kind) });
const exchanged = async (form: Record<string, string>, client = backend): Promise<string> => {
  const { status, body } = await ask(form, client);
  expect([status, body]).toEqual([200, expect.anything()]);
  return body.access_token;
};
const introspect = async (token: string, client: RegisteredClient) =>
  (await post(server, '/oauth/introspect', { token }, basic(client))).body;
const isActive = async (token: string, client = backend) => (await introspect(token, client)).active;
const works = async (token: string) =>
  (await send(`${server.issuer}/users/${person.id}`, { headers: bearer(token) })).status;
/** In a browser and a session of its own. */
const elsewhere = (metadata: Record<string, unknown> = {}) =>
  openApplication(
    server,
    { first_party: true, scope: `openid offline_access ${ownScopes}`, ...metadata },
    { email: person.email, browser: new Browser(server.issuer, server.address) },
  );
const config = (client: RegisteredClient) =>
  oidc.discovery(new URL(server.issuer), client.client_id, undefined, oidc.ClientSecretBasic(client.client_secret), {
    execute: [oidc.allowInsecureRequests],
  });

describe('impersonation', () => {
  it('gives a client a token that speaks for the person, as openid-client asks for it', async () => {
    const { access_token } = await signIn();
    const answer = await oidc.genericGrantRequest(await config(backend), exchangeGrant, subject(access_token));
    expect(answer).toEqual({
      access_token: expect.any(String),
      issued_token_type: type('access_token'),
      token_type: 'bearer',
      expires_in: expect.any(Number),
      scope: ownScopes,
    });
    const claims = decodeJwt(answer.access_token);
    expect(claims).toMatchObject({
      sub: person.id,
      client_id: backend.client_id,
      aud: 'countersign-api',
      scope: ownScopes,
    });
    // Neither roles nor a session: nobody has signed in to this client.
    expect([claims.act, claims.roles, claims.sid]).toEqual([undefined, undefined, undefined]);
    expect(await introspect(answer.access_token, backend)).toMatchObject({ active: true, sub: person.id });
    expect(await works(answer.access_token)).toBe(200);
  });

  it('is told by the audit log, with subject, client and scope', async () => {
    const { access_token } = await signIn();
    const { grant_id } = decodeJwt(await exchanged({ ...subject(access_token), scope: 'users:read:own' }));
    const [event] = await server.database.db('auditLogs').whereRaw(`meta->>'grantId' = ?`, [String(grant_id)]);
    expect(event).toMatchObject({
      action: 'token.exchange',
      actorType: 'client',
      actorId: backend.client_id,
      targetType: 'user',
      targetId: person.id,
      meta: {
        scope: 'users:read:own',
        resource: resource(),
        subjectClientId: app.client.client_id,
        sourceGrantId: decodeJwt(access_token).grant_id,
      },
    });
    expect(JSON.stringify(event)).not.toContain(access_token);
  });

  for (const [name, form, expected] of [
    ['nothing', {}, ['access_token', 2]],
    ['an access token', { requested_token_type: type('access_token') }, ['access_token', 2]],
    ['a JWT', { requested_token_type: type('jwt') }, ['jwt', 2]],
  ] as const)
    it(`says what it issued to who asked for ${name}`, async () => {
      const { access_token } = await signIn();
      const { body } = await ask({ ...subject(access_token), ...form });
      const [issued, dots] = expected;
      expect([body.issued_token_type, body.access_token.split('.').length - 1]).toEqual([type(issued), dots]);
    });

  it('takes a JWT by that name, an opaque token, and an id_token that names its session', async () => {
    const { access_token, id_token } = await signIn();
    await exchanged(subject(access_token, 'jwt'));
    const byIdToken = decodeJwt(await exchanged(subject(id_token, 'id_token')));
    expect([byIdToken.sub, byIdToken.scope]).toEqual([person.id, ownScopes]);
    await exchanged(subject(id_token, 'jwt'));
    const opaque = await elsewhere({ access_token_format: 'opaque' });
    const reader = await machine({
      token_exchange: { impersonation: true, subject_clients: [opaque.client.client_id] },
      access_token_format: 'opaque',
    });
    const made = await exchanged(subject((await signIn(opaque)).access_token), reader);
    expect([made.includes('.'), await isActive(made, reader), await works(made)]).toEqual([false, true, 200]);
    expectError(
      await ask({ ...subject((await signIn(opaque)).access_token), requested_token_type: type('jwt') }, reader),
      [400, 'invalid_request'],
    );
  });
});

describe('delegation', () => {
  it('says in `act` who acts, in the token, at introspection and in the audit log', async () => {
    const { access_token } = await signIn();
    const token = await exchanged({ ...subject(access_token), ...actor(await machineToken(backend)) });
    const act = { sub: backend.client_id, client_id: backend.client_id };
    expect(decodeJwt(token)).toMatchObject({ sub: person.id, act });
    expect(await introspect(token, backend)).toMatchObject({ active: true, sub: person.id, act });
    const { body: verdict } = await send(`${server.issuer}/auth/validate`, { headers: bearer(token) });
    expect(verdict).toMatchObject({
      ...{ valid: true, user: { id: person.id }, clientId: backend.client_id },
      actors: [{ sub: backend.client_id, clientId: backend.client_id }],
    });
    const { grant_id } = decodeJwt(token);
    const [event] = await server.database.db('auditLogs').whereRaw(`meta->>'grantId' = ?`, [String(grant_id)]);
    expect(event.meta.actor).toEqual({ type: 'client', id: backend.client_id, clientId: backend.client_id });
  });

  it('does so in an opaque token as well', async () => {
    const reader = await machine({
      token_exchange: { delegation: true, subject_clients: [app.client.client_id] },
      access_token_format: 'opaque',
    });
    const form = { ...subject((await signIn()).access_token), ...actor(await machineToken(reader)) };
    const token = await exchanged(form, reader);
    expect(await introspect(token, reader)).toMatchObject({ active: true, act: { sub: reader.client_id } });
  });

  it('keeps the chain of those who acted before, up to five', async () => {
    const { access_token } = await signIn();
    const first = await exchanged({ ...subject(access_token), ...actor(await machineToken(backend)) });
    let token = await exchanged({ ...subject(first), ...actor(await machineToken(ledger)) }, ledger);
    expect(decodeJwt(token).act).toEqual({
      sub: ledger.client_id,
      client_id: ledger.client_id,
      act: { sub: backend.client_id, client_id: backend.client_id },
    });
    const one = await machineToken(ledger);
    for (let actors = 3; actors <= 5; actors++) token = await exchanged({ ...subject(token), ...actor(one) }, ledger);
    expectError(await ask({ ...subject(token), ...actor(one) }, ledger), [400, 'invalid_request']);
  });

  it('names a person who acts, and forgets nobody in an impersonation that follows', async () => {
    const helper = await callerOf(server);
    const desk = await openApplication(server, { first_party: true, scope: 'users:read:own' }, { email: helper.email });
    const support = await machine({
      token_exchange: {
        ...{ impersonation: true, delegation: true },
        subject_clients: [app.client.client_id, desk.client.client_id],
      },
    });
    const { access_token: acting } = await signIn(desk, 'users:read:own');
    const token = await exchanged({ ...subject((await signIn()).access_token), ...actor(acting) }, support);
    const act = { sub: helper.id, client_id: desk.client.client_id };
    expect(decodeJwt(token)).toMatchObject({ sub: person.id, act });
    expect(decodeJwt(await exchanged(subject(token), support))).toMatchObject({ sub: person.id, act });
  });

  it('has our own API name everybody in the audit log', async () => {
    const { access_token } = await signIn();
    const token = await exchanged({ ...subject(access_token), ...actor(await machineToken(backend)) });
    const { status } = await send(`${server.issuer}/users/${person.id}`, {
      method: 'PATCH',
      headers: { ...bearer(token), 'content-type': 'application/json' },
      body: JSON.stringify({ nickname: 'Ada' }),
    });
    expect(status).toBe(200);
    const event = await server.database.db('auditLogs').where({ actorId: person.id }).orderBy('id', 'desc').first();
    expect([event.actorType, event.meta.via]).toEqual([
      'user',
      { clientId: backend.client_id, actors: [{ sub: backend.client_id, clientId: backend.client_id }] },
    ]);
  });

  it('does not let what was exchanged be taken for a sign-in here', async () => {
    const { access_token } = await signIn(await elsewhere({ scope: 'openid api_keys:write:own' }), 'openid');
    const wide = await elsewhere({ scope: 'openid api_keys:write:own users:read:own' });
    const taker = await machine({
      scope: 'api_keys:write:own users:read:own',
      token_exchange: { impersonation: true, subject_clients: [wide.client.client_id] },
    });
    expect(access_token).toBeTruthy();
    const token = await exchanged(subject((await signIn(wide, 'openid api_keys:write:own')).access_token), taker);
    const { status, body } = await send(`${server.issuer}/api-keys`, {
      method: 'POST',
      headers: { ...bearer(token), 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'x', scopes: ['api_keys:write:own'] }),
    });
    expect([status, body.code]).toEqual([403, 'session_needed']);
  });
});

describe('what it never gives', () => {
  it('more than the token, the client and the person have in common, whatever is asked for', async () => {
    const { access_token: narrow } = await signIn(app, 'openid users:read:own');
    const { access_token: whole } = await signIn();
    const scopeOf = async (form: Record<string, string>, client = backend) => (await ask(form, client)).body.scope;
    expect(await scopeOf(subject(narrow))).toBe('users:read:own');
    expect(await scopeOf({ ...subject(whole), scope: 'users:write:own' })).toBe('users:write:own');
    const policy = { impersonation: true, subject_clients: [app.client.client_id] };
    const reading = await machine({ scope: 'users:read:any', token_exchange: policy });
    expect(await scopeOf(subject(whole), reading)).toBe('users:read:own');
    const everything = await machine({ scope: '*:*:*', token_exchange: policy });
    expect((await scopeOf(subject(whole), everything)).split(' ').sort()).toEqual(ownScopes.split(' ').sort());
    for (const [form, client] of [
      [{ ...subject(narrow), scope: 'users:write:own' }, backend],
      [{ ...subject(whole), scope: 'users:write:own' }, reading],
      [{ ...subject(whole), scope: 'users:read:any' }, everything],
      [{ ...subject(whole), scope: 'openid' }, backend],
      [{ ...subject(whole), scope: 'offline_access' }, backend],
      [{ ...subject(whole), scope: 'orders:read' }, backend],
    ] as const)
      expectError(await ask(form, client), [400, 'invalid_scope']);
  });

  it('a refresh token or an id_token, whatever the client is registered for', async () => {
    const { access_token } = await signIn();
    const { body } = await ask(subject(access_token));
    expect([body.refresh_token, body.id_token]).toEqual([undefined, undefined]);
  });

  it('a longer life than that of the token and of its actor', async () => {
    const { access_token } = await signIn();
    const token = await exchanged({ ...subject(access_token), ...actor(await machineToken(backend)) });
    expect(decodeJwt(token).exp).toBeLessThanOrEqual(decodeJwt(access_token).exp as number);
    const opaque = await elsewhere({ access_token_format: 'opaque' });
    const reader = await machine({
      token_exchange: { impersonation: true, subject_clients: [opaque.client.client_id] },
    });
    const { access_token: short } = await signIn(opaque);
    const { db } = server.database;
    const soon = Math.floor(Date.now() / 1000) + 60;
    await db.raw(
      `update oidc_payloads set payload = jsonb_set(payload, '{exp}', ?::jsonb) where model = 'AccessToken' and payload->>'clientId' = ?`,
      [String(soon), opaque.client.client_id],
    );
    expect(decodeJwt(await exchanged(subject(short), reader)).exp).toBeLessThanOrEqual(soon);
  });

  it('a token for another audience than the policy names', async () => {
    const { access_token } = await signIn();
    const other = await elsewhere({ audience: 'https://orders.example.com' });
    const orders = await machine({
      audience: 'https://stock.example.com',
      token_exchange: { impersonation: true, subject_audiences: ['https://orders.example.com'] },
    });
    const taken = (await signIn(other)).access_token;
    const { aud } = decodeJwt(await exchanged({ ...subject(taken), audience: 'https://stock.example.com' }, orders));
    expect(aud).toBe('https://stock.example.com');
    for (const form of [
      { resource: 'https://other.example' },
      { audience: 'https://other.example' },
      { resource: 'no-uri' },
      { audience: 'countersign-api', resource: 'https://other.example' },
    ])
      expectError(await ask({ ...subject(access_token), ...form } as Record<string, string>), [400, 'invalid_target']);
    const twice: [string, string][] = [
      ...Object.entries(subject(access_token)),
      ['resource', resource()],
      ['resource', 'https://other.example'],
    ];
    expectError(await ask(twice), [400, 'invalid_target']);
    await exchanged({ ...subject(access_token), resource: resource(), audience: 'countersign-api' });
  });

  it('more at a resource server than it lets the client have there, of what the token has', async () => {
    const identifier = 'https://stock.example.com/';
    const created = await admin.request('post', '/resource-servers', {
      ...{ identifier, name: 'Stock', allow: 'any' },
      scopes: [
        { name: 'stock.read', description: null },
        { name: 'stock.write', description: null },
      ],
    });
    expect(created.status).toBe(201);
    const shop = await elsewhere({ scope: 'openid stock.read orders.read' });
    const taker = await machine({
      scope: 'stock.read stock.write users:read:own',
      token_exchange: { impersonation: true, subject_clients: [shop.client.client_id], resources: [identifier] },
    });
    const { access_token } = await signIn(shop, 'openid stock.read orders.read');
    const claims = decodeJwt(await exchanged({ ...subject(access_token), resource: identifier }, taker));
    expect([claims.aud, claims.scope]).toEqual([identifier, 'stock.read']);
    const wider = { ...subject(access_token), audience: identifier, scope: 'stock.write' };
    expectError(await ask(wider, taker), [400, 'invalid_scope']);
    expectError(await ask({ ...subject(access_token), resource: identifier }), [400, 'invalid_request']);

    // The resource server’s own client was sent what it is for, whoever it was issued to.
    const api = await machine({
      scope: 'stock.read',
      token_exchange: { impersonation: true, resources: [identifier] },
    });
    const taken = {
      ...subject(await exchanged({ ...subject(access_token), resource: identifier }, taker)),
      resource: identifier,
    };
    expectError(await ask(taken, api), [400, 'invalid_request']);
    const own = { clientId: api.client_id, scopes: null, introspects: true };
    const { status } = await admin.request('put', `/resource-servers/${created.json.id}`, {
      ...{ name: 'Stock', allow: 'any', scopes: created.json.scopes, clients: [own] },
    });
    expect(status).toBe(200);
    expect(decodeJwt(await exchanged(taken, api))).toMatchObject({ aud: identifier, client_id: api.client_id });
  });

  it('an account for the subject of a pairwise id_token, or for one whose session is not known or over', async () => {
    const pairwise = await elsewhere({ subject_type: 'pairwise' });
    const plain = await elsewhere();
    const left = await elsewhere({
      ...{ backchannel_logout_session_required: true, backchannel_logout_uri: 'https://app.example.com/logout' },
    });
    const taker = await machine({
      token_exchange: {
        impersonation: true,
        subject_clients: [pairwise, plain, left].map(({ client }) => client.client_id),
      },
    });
    const tokens = await signIn(pairwise);
    expect(decodeJwt(tokens.id_token).sub).not.toBe(person.id);
    expect(decodeJwt(await exchanged(subject(tokens.access_token), taker)).sub).toBe(person.id);
    expectError(await ask(subject(tokens.id_token, 'id_token'), taker), [400, 'invalid_request']);
    expectError(await ask(subject((await signIn(plain)).id_token, 'id_token'), taker), [400, 'invalid_request']);
    const { id_token } = await signIn(left);
    await exchanged(subject(id_token, 'id_token'), taker);
    await server.database.db('sessions').where({ userId: person.id }).delete();
    expectError(await ask(subject(id_token, 'id_token'), taker), [400, 'invalid_request']);
  });

  it('a token that is not bound for one that is', async () => {
    const keys = await oidc.randomDPoPKeyPair();
    const relying = await config(app.client);
    const code = await app.code({ scope: `openid ${ownScopes}`, resource: resource() });
    const bound = await oidc.genericGrantRequest(relying, 'authorization_code', code, {
      DPoP: oidc.getDPoPHandle(relying, keys),
    });
    expect(bound.token_type).toBe('dpop');
    expectError(await ask(subject(bound.access_token)), [400, 'invalid_request']);
    const mine = await config(backend);
    const other = await oidc.randomDPoPKeyPair();
    const answer = await oidc.genericGrantRequest(mine, exchangeGrant, subject(bound.access_token), {
      DPoP: oidc.getDPoPHandle(mine, other),
    });
    expect(answer.token_type).toBe('dpop');
    expect(decodeJwt(answer.access_token).cnf).not.toEqual(decodeJwt(bound.access_token).cnf);
    // Its own client has the key, and must show it.
    expectError(await ask(subject(answer.access_token)), [400, 'invalid_request']);
    const stolen = oidc.genericGrantRequest(mine, exchangeGrant, subject(answer.access_token), {
      DPoP: oidc.getDPoPHandle(mine, await oidc.randomDPoPKeyPair()),
    });
    await expect(stolen).rejects.toMatchObject({ error: 'invalid_request' });
    const again = await oidc.genericGrantRequest(mine, exchangeGrant, subject(answer.access_token), {
      DPoP: oidc.getDPoPHandle(mine, other),
    });
    expect(decodeJwt(again.access_token).cnf).toEqual(decodeJwt(answer.access_token).cnf);
  });
});

describe('bad requests', () => {
  let token: string;
  let idToken: string;
  let refreshToken: string;
  const machines = new Map<string, string>();
  beforeAll(async () => {
    const tokens = await signIn();
    ({ access_token: token, id_token: idToken, refresh_token: refreshToken } = tokens);
    machines.set('backend', await machineToken(backend));
    machines.set('ledger', await machineToken(ledger));
  });
  const unsigned = () => {
    const [, payload] = token.split('.');
    return `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${payload}.`;
  };
  const refusals: [name: string, form: () => Record<string, string | undefined>, error?: string][] = [
    ['nothing', () => ({})],
    ['no subject_token', () => ({ ...subject(token), subject_token: undefined })],
    ['no subject_token_type', () => ({ ...subject(token), subject_token_type: undefined })],
    ['an unknown subject_token_type', () => ({ ...subject(token), subject_token_type: type('saml2') })],
    ['a refresh token', () => subject(refreshToken, 'refresh_token')],
    ['a refresh token as something else', () => subject(refreshToken)],
    ['an id_token as an access token', () => subject(idToken)],
    ['an access token as an id_token', () => subject(token, 'id_token')],
    ['a token that is none', () => subject('x')],
    ['an unsigned one', () => subject(unsigned())],
    [
      'one with a changed payload',
      () => subject(token.replace(/\.(.)/, (_, first) => `.${first === 'e' ? 'f' : 'e'}`)),
    ],
    ['the name of a JWT', () => subject(`jwt~${Buffer.from(token).toString('base64url')}`)],
    ['one that is too long', () => subject('x'.repeat(9000))],
    ['a machine’s token as subject', () => subject(machines.get('backend') as string)],
    ['a refresh token as answer', () => ({ ...subject(token), requested_token_type: type('refresh_token') })],
    ['an id_token as answer', () => ({ ...subject(token), requested_token_type: type('id_token') })],
    ['an actor_token without its type', () => ({ ...subject(token), actor_token: token })],
    ['an actor_token_type without a token', () => ({ ...subject(token), actor_token_type: type('access_token') })],
    ['an actor_token that is none', () => ({ ...subject(token), ...actor('x') })],
    ['an actor_token of another client', () => ({ ...subject(token), ...actor(machines.get('ledger') as string) })],
    [
      'an actor_token of an unknown type',
      () => ({ ...subject(token), actor_token: token, actor_token_type: type('saml1') }),
    ],
    ['an empty scope', () => ({ ...subject(token), scope: ' ' }), 'invalid_scope'],
  ];
  for (const [name, form, error = 'invalid_request'] of refusals)
    it(`refuses ${name}`, async () => {
      const before = await server.database.db('grants').count();
      expectError(await ask(form()), [400, error]);
      expect(await server.database.db('grants').count()).toEqual(before);
    });

  it('refuses a parameter that is there twice', async () => {
    const twice: [string, string][] = [...Object.entries(subject(token)), ['subject_token', token]];
    expectError(await ask(twice), [400, 'invalid_request']);
  });

  it('refuses a token whose life is over, or that was revoked', async () => {
    const { access_token } = await signIn();
    await app.post('/oauth/revoke', { token: access_token });
    expectError(await ask(subject(access_token)), [400, 'invalid_request']);
  });

  it('refuses an actor who acts for somebody already', async () => {
    const delegated = await exchanged({ ...subject(token), ...actor(await machineToken(backend)) });
    expectError(await ask({ ...subject(token), ...actor(delegated) }), [400, 'invalid_request']);
  });
});

describe('the policy', () => {
  it('is off by default', async () => {
    const { access_token } = await signIn();
    const plain = await machine();
    for (const form of [subject(access_token), { ...subject(access_token), ...actor(await machineToken(plain)) }])
      expectError(await ask(form, plain), [400, 'unauthorized_client']);
  });

  it('allows impersonation and delegation one by one', async () => {
    const { access_token } = await signIn();
    const subject_clients = [app.client.client_id];
    const only = await machine({ token_exchange: { impersonation: true, subject_clients } });
    await exchanged(subject(access_token), only);
    expectError(await ask({ ...subject(access_token), ...actor(await machineToken(only)) }, only), [
      400,
      'unauthorized_client',
    ]);
    const delegates = await machine({ token_exchange: { delegation: true, subject_clients } });
    expectError(await ask(subject(access_token), delegates), [400, 'unauthorized_client']);
    await exchanged({ ...subject(access_token), ...actor(await machineToken(delegates)) }, delegates);
  });

  it('names the clients whose tokens may be exchanged; without that they are its own', async () => {
    const { access_token } = await signIn();
    const other = await machine({ token_exchange: { impersonation: true, delegation: true } });
    expectError(await ask(subject(access_token), other), [400, 'invalid_request']);
    const both = await elsewhere({
      grant_types: ['authorization_code', 'refresh_token', exchangeGrant],
      token_exchange: { impersonation: true },
    });
    const { access_token: own } = await signIn(both);
    expect(decodeJwt(await exchanged({ ...subject(own), scope: 'users:read:own' }, both.client)).scope).toBe(
      'users:read:own',
    );
  });

  it('does not reach people who rank above whoever set it', async () => {
    const low = await callerOf(server, { role: 'admin' });
    const registered = await low.request('post', '/clients', {
      ...{ grant_types: [exchangeGrant], redirect_uris: [], response_types: [], first_party: true },
      ...{ scope: 'users:read:own', token_exchange: { impersonation: true, subject_audiences: ['countersign-api'] } },
    });
    expect(registered.status).toBe(201);
    const root = await openApplication(
      server,
      { first_party: true, scope: `openid ${ownScopes}` },
      { email: admin.email },
    );
    const { access_token } = await signIn();
    expect((await ask(subject(access_token), registered.json)).status).toBe(200);
    expectError(await ask(subject((await signIn(root)).access_token), registered.json), [400, 'invalid_request']);
    // Nor does it reach anybody once they could not set it any more.
    await giveRole(server, low.id, 'user');
    expectError(await ask(subject(access_token), registered.json), [400, 'invalid_request']);
  });

  it('lets somebody else’s application pass on its own tokens, in its own name, where they are for', async () => {
    const third = await openApplication(
      server,
      {
        ...{ grant_types: ['authorization_code', exchangeGrant, 'client_credentials'], scope: `openid ${ownScopes}` },
        token_exchange: { delegation: true },
      },
      { email: person.email, browser: new Browser(server.issuer, server.address) },
    );
    const { access_token } = await signIn(third);
    const acting = actor(await machineToken(third.client));
    const token = await exchanged({ ...subject(access_token), ...acting, scope: 'users:read:own' }, third.client);
    expect(decodeJwt(token)).toMatchObject({ scope: 'users:read:own', act: { sub: third.client.client_id } });
    expectError(await ask({ ...subject((await signIn()).access_token), ...acting }, third.client), [
      400,
      'invalid_request',
    ]);
    expectError(await ask({ ...subject(access_token), ...acting, resource: 'https://other.example' }, third.client), [
      400,
      'invalid_target',
    ]);
    await server.database.db('consents').where({ clientId: third.client.client_id }).delete();
    expectError(await ask({ ...subject(access_token), ...acting }, third.client), [400, 'invalid_request']);
  });

  const policy = { impersonation: true };
  const service = { grant_types: [exchangeGrant], redirect_uris: [], response_types: [], first_party: true };
  for (const [name, metadata, expected] of [
    ['for somebody else’s client', { ...service, first_party: false, token_exchange: policy }],
    [
      'with other clients’ tokens for somebody else’s',
      { ...service, first_party: false, token_exchange: { delegation: true, subject_clients: ['x'] } },
    ],
    ['for a public client', { ...service, token_endpoint_auth_method: 'none', token_exchange: policy }],
    ['without the grant type', { ...service, grant_types: ['client_credentials'], token_exchange: policy }],
    ['with pairwise subjects', { ...service, subject_type: 'pairwise', token_exchange: policy }],
    ['with a client that there is not', { ...service, token_exchange: { ...policy, subject_clients: ['nobody'] } }],
    ['with an unknown member', { ...service, token_exchange: { ...policy, everything: true } }],
    ['that is no object', { ...service, token_exchange: true }],
    ['with spaces in a name', { ...service, token_exchange: { ...policy, resources: ['a b'] } }],
    [
      'with a client of somebody higher',
      { ...service, token_exchange: { ...policy, subject_clients: ['countersign-rest'] } },
      [403, 'rank_too_low'],
    ],
  ] as const)
    it(`cannot be set ${name}`, async () => {
      const by = await callerOf(server, { role: 'admin' });
      const { status, json } = await by.request('post', '/clients', metadata);
      expect([status, json.code]).toEqual(expected ?? [400, 'invalid_client_metadata']);
    });

  it('is shown to administrators, and whoever changes it answers for the client from then on', async () => {
    const client = await machine({ token_exchange: policy });
    const shown = await admin.request('get', `/clients/${client.client_id}`);
    expect(shown.json.token_exchange).toEqual({
      ...{ impersonation: true, delegation: false, subject_clients: [], subject_audiences: [], resources: [] },
    });
    const metadata = { ...service, scope: ownScopes, grant_types: [exchangeGrant, 'client_credentials'] };
    const replaced = await admin.request('put', `/clients/${client.client_id}`, {
      ...metadata,
      token_exchange: { delegation: true },
    });
    expect([replaced.status, replaced.json.token_exchange.impersonation, replaced.json.created_by]).toEqual([
      200,
      false,
      admin.id,
    ]);
    const removed = await admin.request('put', `/clients/${client.client_id}`, metadata);
    expect([removed.status, removed.json.token_exchange]).toEqual([200, undefined]);
  });
});

describe('an exchanged token ends', () => {
  interface Scene {
    source: Application;
    refreshToken: string;
    taker: RegisteredClient;
    token: string;
    opaque: string;
  }
  const arrange = async (scope = `openid ${ownScopes}`): Promise<Scene> => {
    const source = await elsewhere();
    const policy = { impersonation: true, subject_clients: [source.client.client_id] };
    const taker = await machine({ token_exchange: policy });
    const reader = await machine({
      token_exchange: { impersonation: true, subject_clients: [taker.client_id] },
      access_token_format: 'opaque',
    });
    const { access_token, refresh_token: refreshToken } = await signIn(source, scope);
    const token = await exchanged(subject(access_token), taker);
    // One that came of it in turn.
    const opaque = await exchanged(subject(token), reader);
    expect([await works(token), await works(opaque)]).toEqual([200, 200]);
    return { source, refreshToken, taker, token, opaque };
  };
  const sessionOf = (scene: Scene) =>
    server.database.db('grants').where({ clientId: scene.source.client.client_id }).first('id', 'sessionUid');
  const endings: [name: string, end: (scene: Scene) => Promise<unknown>][] = [
    [
      'with the grant that it came of',
      async (scene) => {
        const { id } = await sessionOf(scene);
        expect((await admin.request('post', '/admin/tokens/revoke', { grantId: id })).status).toBe(200);
      },
    ],
    [
      'with the session',
      async (scene) => {
        const { sessionUid } = await sessionOf(scene);
        const { status } = await admin.request('delete', `/users/${person.id}/sessions`);
        expect([sessionUid, status < 300]).toEqual([expect.any(String), true]);
      },
    ],
    [
      'when the session expires',
      async (scene) => {
        const { sessionUid } = await sessionOf(scene);
        const past = new Date(Date.now() - 1000);
        await server.database.db('sessions').where({ uid: sessionUid }).update({ expiresAt: past });
      },
    ],
    [
      'with the client that it came of',
      async ({ source }) => {
        expect((await admin.request('delete', `/clients/${source.client.client_id}`)).status).toBe(204);
      },
    ],
    [
      'with the client that it was given to',
      async ({ taker }) => {
        expect((await admin.request('delete', `/clients/${taker.client_id}`)).status).toBe(204);
      },
    ],
    [
      'with the policy that allowed it',
      async ({ taker }) => {
        const { status } = await admin.request('put', `/clients/${taker.client_id}`, {
          ...{ redirect_uris: [], response_types: [], scope: ownScopes, first_party: true },
          grant_types: [exchangeGrant, 'client_credentials'],
        });
        expect(status).toBe(200);
      },
    ],
    [
      'when the person’s refresh token is used twice',
      async ({ source, refreshToken }) => {
        const { body } = await source.refresh(refreshToken);
        await source.refresh(body.refresh_token as string);
        expect((await source.refresh(refreshToken)).status).toBe(400);
      },
    ],
  ];
  for (const [name, end] of endings)
    it(name, async () => {
      const scene = await arrange();
      await end(scene);
      expect([await works(scene.token), await works(scene.opaque)]).toEqual([401, 401]);
      expect(await isActive(scene.token, scene.taker).catch(() => false)).not.toBe(true);
    });

  it('once, from whichever sides at once', async () => {
    for (let round = 0; round < 3; round++) {
      const { source, taker, token, opaque } = await arrange();
      const answers = await Promise.all([
        admin.request('delete', `/clients/${source.client.client_id}`),
        admin.request('delete', `/clients/${taker.client_id}`),
        admin.request('post', '/admin/tokens/revoke', { userId: person.id }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([204, 204, 200]);
      expect([await works(token), await works(opaque)]).toEqual([401, 401]);
    }
  });

  it('while its person is not active', async () => {
    const { token, taker } = await arrange();
    const setStatus = (status: string) => server.database.db('users').where({ id: person.id }).update({ status });
    await setStatus('deactivated');
    expect([await works(token), await isActive(token, taker)]).toEqual([401, false]);
    await setStatus('active');
  });

  it('even if that happens while it is being exchanged', async () => {
    const { db } = server.database;
    for (let round = 0; round < 3; round++) {
      const source = await elsewhere();
      const taker = await machine({
        token_exchange: { impersonation: true, subject_clients: [source.client.client_id] },
      });
      const { access_token } = await signIn(source);
      const { id } = await db('grants').where({ clientId: source.client.client_id }).first('id');
      const [, ...answers] = await Promise.all([
        admin.request('post', '/admin/tokens/revoke', { grantId: id }),
        ...Array.from({ length: 4 }, () => ask(subject(access_token), taker)),
      ]);
      for (const { status, body } of answers) {
        expect([200, 400]).toContain(status);
        if (status === 400) expect(body.error).toBe('invalid_request');
        else expect(await works(body.access_token)).toBe(401);
      }
      expect(await db('grants').where({ clientId: taker.client_id })).toEqual([]);
    }
  });
});

it('does what docs/guides/on-behalf.md says', async () => {
  const registration = (blocksOf('on-behalf')['client.json'] as string).replace('my-app', app.client.client_id);
  const { client_id: CLIENT_ID, client_secret: CLIENT_SECRET = '' } = await server.client(JSON.parse(registration));
  const { access_token: TOKEN } = await signIn();
  const program = runGuide('on-behalf', 'backend.mjs', { ISSUER: server.issuer, CLIENT_ID, CLIENT_SECRET, TOKEN });
  expect([await program.ended, program.output()]).toEqual([
    0,
    `${CLIENT_ID} acts for ${person.id}\ncalls the API as ${person.email}\n`,
  ]);
});

it('exchanges nothing that cannot be written down', async () => {
  const { access_token } = await signIn();
  const { db } = server.database;
  const before = await db('grants').count();
  await db.raw('alter table audit_logs add constraint broken check (false) not valid');
  const { status, body } = await ask(subject(access_token));
  await db.raw('alter table audit_logs drop constraint broken');
  expect([status, body.access_token]).toEqual([500, undefined]);
  expect(await db('grants').count()).toEqual(before);
});
