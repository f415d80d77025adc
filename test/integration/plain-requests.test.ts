/**
 * What goes past the engine's chain of middlewares is answered as in it, word for word: each request is sent as it is, and with a query
 * that nobody reads, which is enough to have it go the whole way.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf } from '../support/callers.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type Application, openApplication } from '../support/tokens.ts';

const scope = 'openid email profile organizations users:read:own';
const machineScope = 'users:read:any clients:read:any';
let server: TestServer;
let machine: { client_id: string; client_secret: string };
let application: Application;
beforeAll(async () => {
  server = await startServer();
  const client = await server.client({
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: machineScope,
  });
  machine = { client_id: client.client_id, client_secret: client.client_secret as string };
  application = await openApplication(server, { scope, first_party: true });
});
afterAll(() => server.stop());

const encode = (text: string) => Buffer.from(text).toString('base64');
const basicOf = ({ client_id, client_secret }: { client_id: string; client_secret?: string }) =>
  `Basic ${encode(`${client_id}:${client_secret}`)}`;

const ask = async (path: string, authorization: string, body: string) => {
  const headers = { authorization, 'content-type': 'application/x-www-form-urlencoded' };
  const response = await fetch(`${server.address}${path}`, { method: 'POST', headers, body });
  const answer = (await response.json()) as Record<string, unknown>;
  // A new one each time.
  if (answer.access_token) answer.access_token = typeof answer.access_token;
  const told = ['www-authenticate', 'cache-control', 'vary', 'content-type'].map((name) => response.headers.get(name));
  return { status: response.status, answer, told };
};

/** @returns the answer, which is one and the same both ways */
const askBoth = async (path: string, authorization: string, body: string) => {
  const plain = await ask(path, authorization, body);
  expect(await ask(`${path}?whole`, authorization, body)).toEqual(plain);
  return plain;
};

describe('credentials', () => {
  const both = () => `${machine.client_id}:${machine.client_secret}`;
  it.each<[name: string, authorization: () => string, status: number]>([
    ['as they should be', () => `Basic ${encode(both())}`, 200],
    ['a scheme in lower case', () => `basic ${encode(both())}`, 200],
    ['no padding', () => `Basic ${encode(both()).replaceAll('=', '')}`, 200],
    ['the alphabet of URLs', () => `Basic ${Buffer.from(both()).toString('base64url')}`, 200],
    ['percent-encoding inside', () => `Basic ${encode(both().replace('-', '%2D'))}`, 200],
    ['a line break behind', () => `Basic ${encode(`${both()}\n`)}`, 400],
    ['a NUL behind', () => `Basic ${encode(`${both()}\0`)}`, 400],
    ['a second colon', () => `Basic ${encode(`${both()}:x`)}`, 401],
    ['two spaces', () => `Basic  ${encode(both())}`, 400],
    ['padding of padding', () => `Basic ${encode(both())}====`, 400],
    ['upper case', () => `Basic ${encode(both().toUpperCase())}`, 401],
    ['a wrong secret', () => `Basic ${encode(`${machine.client_id}:x`)}`, 401],
    ['no secret', () => `Basic ${encode(`${machine.client_id}:`)}`, 400],
    ['nobody', () => `Basic ${encode('nobody:x')}`, 401],
  ])('%s', async (_name, authorization, status) => {
    expect(await askBoth('/oauth/token', authorization(), 'grant_type=client_credentials')).toMatchObject({ status });
    expect(await askBoth('/oauth/introspect', authorization(), 'token=nothing')).toMatchObject({ status });
  });
});

describe('client_credentials', () => {
  it.each<[parameters: string, status: number]>([
    ['', 200],
    ['&scope=users:read:any', 200],
    ['&scope=users:read:any+users:read:any', 200],
    ['&scope=users:write:any', 400],
    ['&scope=users:read:any+users:write:any', 200],
    ['&scope=', 200],
    ['&scope=+users:read:any', 400],
    ['&scope=users:read:any&scope=clients:read:any', 400],
    ['&grant_type=client_credentials', 400],
    ['&scope=users:*:any', 400],
    ['&scope=openid', 400],
    ['&__proto__=x', 200],
    ['&resource=https://api.example.com', 400],
  ])('with %j', async (parameters, status) => {
    const body = `grant_type=client_credentials${parameters}`;
    expect((await askBoth('/oauth/token', basicOf(machine), body)).status).toBe(status);
  });

  it('by a client that may not', async () => {
    const answer = await askBoth('/oauth/token', basicOf(application.client), 'grant_type=client_credentials');
    expect(answer.status).toBe(400);
  });
});

describe('introspection', () => {
  let tokens: { access_token: string; refresh_token: string };
  let jwt: typeof tokens;
  beforeAll(async () => {
    tokens = await application.tokens({ scope: 'openid email' });
    jwt = await application.tokens({ scope, resource: `${server.issuer}/api` });
  });
  const introspect = (body: string, client: { client_id: string; client_secret?: string } = application.client) =>
    askBoth('/oauth/introspect', basicOf(client), body);

  it.each<[name: string, body: () => string, active: boolean | undefined]>([
    ['an opaque token', () => `token=${tokens.access_token}`, true],
    ['a JWT', () => `token=${jwt.access_token}`, true],
    ['a refresh token', () => `token=${tokens.refresh_token}`, true],
    ['a hint', () => `token=${tokens.refresh_token}&token_type_hint=refresh_token`, true],
    ['a wrong hint', () => `token=${tokens.refresh_token}&token_type_hint=access_token`, true],
    ['a hint of no kind', () => `token=${tokens.access_token}&token_type_hint=__proto__`, true],
    ['two hints', () => `token=${tokens.access_token}&token_type_hint=a&token_type_hint=b`, undefined],
    ['two tokens', () => `token=${tokens.access_token}&token=x`, undefined],
    ['none', () => 'token=', undefined],
    ['something else besides', () => `token=${tokens.access_token}&more=x`, true],
    ['a space in front', () => `token=+${tokens.access_token}`, false],
    ['a long one', () => `token=${'a'.repeat(20_000)}`, false],
    ['a JWT with more behind', () => `token=${jwt.access_token}x`, false],
    ['a JWT without its signature', () => `token=${jwt.access_token.replace(/[^.]*$/, '')}`, false],
    ['dots', () => 'token=..', false],
  ])('%s', async (_name, body, active) => {
    const { status, answer } = await introspect(body());
    expect({ status, active: answer.active }).toEqual({ status: active === undefined ? 400 : 200, active });
  });

  it('by somebody whom it does not concern', async () => {
    expect((await introspect(`token=${tokens.access_token}`, machine)).answer).toEqual({ active: false });
  });

  it('of a person who has another name there', async () => {
    const pairwise = await openApplication(server, { scope: 'openid', first_party: true, subject_type: 'pairwise' });
    const { access_token } = await pairwise.tokens({ scope: 'openid' });
    const { answer } = await introspect(`token=${access_token}`, pairwise.client);
    expect(answer.active).toBe(true);
    expect(await introspect(`token=${access_token}`)).toMatchObject({ answer: { sub: answer.sub } });
  });

  it('of what is used up, revoked, or of a client that is gone', async () => {
    const isActive = async (token: string, by = application) =>
      (await introspect(`token=${token}`, by.client)).answer.active;
    const first = await application.tokens({ scope: 'openid email' });
    const { body: second } = await application.refresh(first.refresh_token);
    // For some seconds, for whoever has not heard of the new one.
    expect(await isActive(first.refresh_token)).toBe(true);
    expect(await isActive(second.access_token as string)).toBe(true);
    await application.post('/oauth/revoke', { token: second.refresh_token as string });
    expect(await isActive(second.access_token as string)).toBe(false);
    expect(await isActive(first.access_token)).toBe(false);
    const other = await openApplication(server, { scope, first_party: true });
    const others = await other.tokens({ scope: 'openid email' });
    expect(await isActive(others.access_token, other)).toBe(true);
    const admin = await callerOf(server, { role: 'super_admin' });
    expect((await admin.request('delete', `/clients/${other.client.client_id}`)).status).toBe(204);
    expect((await introspect(`token=${others.access_token}`, other.client)).status).toBe(401);
    expect(await isActive(others.access_token)).toBe(false);
  });
});

describe('userinfo', () => {
  const claims = JSON.stringify({ userinfo: { name: null, given_name: { essential: true } } });
  /** All that is told, but for what is new with each answer, and what is said to scripts of other origins, who name theirs. */
  const tell = async (path: string, headers: Record<string, string>) => {
    const response = await fetch(`${server.address}${path}`, { headers });
    const told = Object.fromEntries(
      [...response.headers].filter(
        ([name]) => !/^(date|x-request-id|x-fapi-interaction-id|ratelimit.*|access-control-.*)$/.test(name),
      ),
    );
    return { status: response.status, body: await response.text(), told };
  };
  const tellBoth = async (token: string, headers: Record<string, string> = {}) => {
    const all = { authorization: `Bearer ${token}`, ...headers };
    const plain = await tell('/oauth/userinfo', all);
    // A JWT has its own time and signature.
    const { told, status, body } = await tell('/oauth/userinfo?whole', all);
    const isJson = String(told['content-type']).startsWith('application/json');
    expect({ status, told, body: isJson ? body : '' }).toEqual({ ...plain, body: isJson ? plain.body : '' });
    return { status, body: isJson ? JSON.parse(body) : body, type: told['content-type'] };
  };

  it.each<[name: string, parameters: Record<string, string>]>([
    ['openid alone', { scope: 'openid' }],
    ['scopes', { scope: 'openid email profile organizations' }],
    ['claims that were asked for by name (section 5.5)', { scope: 'openid', claims }],
  ])('%s', async (_name, parameters) => {
    const { access_token } = await application.tokens(parameters);
    const { status, body } = await tellBoth(access_token);
    expect([status, body.sub]).toEqual([200, expect.any(String)]);
  });

  it.each<[name: string, metadata: Record<string, unknown>, type: RegExp]>([
    ['a pairwise name', { subject_type: 'pairwise' }, /json/],
    ['a signed answer', { userinfo_signed_response_alg: 'RS256' }, /jwt/],
    ['an application of somebody else', { first_party: false }, /json/],
  ])('for %s', async (_name, metadata, type) => {
    const other = await openApplication(server, { scope, first_party: true, ...metadata });
    const { access_token } = await other.tokens({ scope: 'openid email' });
    const { status, type: told } = await tellBoth(access_token);
    expect([status, told]).toEqual([200, expect.stringMatching(type)]);
  });

  it('refusals', async () => {
    const { access_token, refresh_token, id_token } = await application.tokens({ scope: 'openid email' });
    const jwt = await application.tokens({ scope, resource: `${server.issuer}/api` });
    const { answer } = await ask('/oauth/token', basicOf(machine), 'grant_type=client_credentials');
    expect(answer.access_token).toBeDefined();
    for (const token of [refresh_token, id_token, jwt.access_token, 'jwt~x', 'x', `${access_token}x`])
      expect((await tellBoth(token)).status).toBe(401);
    const others: Record<string, string>[] = [
      { dpop: 'x' },
      { origin: 'https://evil.example' },
      { authorization: `bearer  ${access_token}` },
    ];
    for (const headers of others) expect((await tellBoth(access_token, headers)).status).toBe(400);
    expect((await tellBoth(access_token)).status).toBe(200);
    await application.post('/oauth/revoke', { token: access_token });
    expect((await tellBoth(access_token)).status).toBe(401);
  });

  it('of somebody who is not active any more, or has signed out everywhere', async () => {
    const person = await openApplication(server, { scope, first_party: true });
    const { access_token } = await person.tokens({ scope: 'openid email' });
    const { sub } = (await tellBoth(access_token)).body;
    const { db } = server.database;
    await db('users').where({ id: sub }).update({ status: 'deactivated' });
    expect((await tellBoth(access_token)).status).toBe(401);
    await db('users').where({ id: sub }).update({ status: 'active' });
    expect((await tellBoth(access_token)).status).toBe(200);
    await db('sessions').where({ userId: sub }).delete();
    expect((await tellBoth(access_token)).status).toBe(401);
  });
});
