/** JWT bearer (RFC 7523 section 2.1): service accounts that sign for themselves. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf } from '../support/callers.ts';
import { blocksOf, runGuide } from '../support/guides.ts';
import { basic, bearer, expectError, post, type Reply, send } from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

let server: TestServer;
let keys: { publicKey: CryptoKey; privateKey: CryptoKey };
let jwks: { keys: object[] };
/** Registered for the grant alone, with keys by value. */
let account: RegisteredClient;
let issuer: string;

const service = (metadata: Record<string, unknown> = {}) =>
  server.client({
    redirect_uris: [],
    response_types: [],
    grant_types: [jwtBearer],
    token_endpoint_auth_method: 'private_key_jwt',
    scope: 'users:read:any',
    jwks,
    ...metadata,
  });

beforeAll(async () => {
  server = await startServer();
  ({ issuer } = server);
  keys = await generateKeyPair('ES256', { extractable: true });
  jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }] };
  account = await service();
});
afterAll(() => server.stop());

const now = () => Math.floor(Date.now() / 1000);
interface Options {
  client?: RegisteredClient;
  header?: Record<string, unknown>;
  key?: CryptoKey | Uint8Array;
  /** Changes to the claims; an undefined one is left out. */
  claims?: Record<string, unknown>;
}
const claimsOf = ({ client = account, claims = {} }: Options = {}): JWTPayload =>
  Object.fromEntries(
    Object.entries({
      iss: client.client_id,
      sub: client.client_id,
      aud: issuer,
      iat: now(),
      exp: now() + 120,
      jti: crypto.randomUUID(),
      ...claims,
    }).filter(([, value]) => value !== undefined),
  );
const sign = (options: Options = {}): Promise<string> =>
  new SignJWT(claimsOf(options))
    .setProtectedHeader({ alg: 'ES256', kid: 'k1', ...options.header })
    .sign(options.key ?? keys.privateKey, { crit: { x: true } });
const ask = (form: Record<string, string>, headers: Record<string, string> = {}): Promise<Reply> =>
  post(server, '/oauth/token', { grant_type: jwtBearer, ...form }, headers);

describe('an assertion for a token', () => {
  for (const method of ['private_key_jwt', 'none'])
    it(`takes grant_type and assertion, and nothing else (${method})`, async () => {
      const client = await service({ token_endpoint_auth_method: method });
      const { status, body, headers } = await ask({
        assertion: await sign({ client }),
        scope: 'users:read:any',
      });
      expect([status, headers.get('cache-control')]).toEqual([200, 'no-store']);
      expect(body).toEqual({
        access_token: expect.any(String),
        token_type: 'Bearer',
        expires_in: 900,
        scope: 'users:read:any',
      });
      expect(decodeJwt(body.access_token)).toMatchObject({
        sub: client.client_id,
        client_id: client.client_id,
        aud: 'countersign-api',
        scope: 'users:read:any',
      });
      const { status: listed } = await send(`${issuer}/users?limit=1`, { headers: bearer(body.access_token) });
      expect(listed).toBe(200);
    });

  it('is what openid-client sends', async () => {
    const config = await oidc.discovery(new URL(issuer), account.client_id, undefined, oidc.None(), {
      execute: [oidc.allowInsecureRequests],
    });
    expect(config.serverMetadata().grant_types_supported).toContain(jwtBearer);
    const answer = await oidc.genericGrantRequest(config, jwtBearer, {
      assertion: await sign(),
      scope: 'users:read:any',
    });
    expect(answer).toMatchObject({ token_type: 'bearer', scope: 'users:read:any' });
    const keyed = await oidc.discovery(
      new URL(issuer),
      account.client_id,
      undefined,
      oidc.PrivateKeyJwt({ key: keys.privateKey, kid: 'k1' }),
      { execute: [oidc.allowInsecureRequests] },
    );
    await oidc.genericGrantRequest(keyed, jwtBearer, { assertion: await sign() });
    const bound = await oidc.genericGrantRequest(
      config,
      jwtBearer,
      { assertion: await sign() },
      { DPoP: oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair()) },
    );
    expect([bound.token_type, decodeJwt(bound.access_token).cnf]).toEqual(['dpop', { jkt: expect.any(String) }]);
  });

  for (const [name, options] of [
    ['the token endpoint as audience', () => ({ claims: { aud: `${issuer}/oauth/token` } })],
    ['several audiences', () => ({ claims: { aud: ['https://other.example', issuer] } })],
    ['no iat', () => ({ claims: { iat: undefined } })],
    ['no kid', () => ({ header: { kid: undefined } })],
    ['a typ of JWT', () => ({ header: { typ: 'JWT' } })],
    ['a clock that is a little ahead', () => ({ claims: { iat: now() + 20, nbf: now() + 20 } })],
    ['a clock that is a little behind', () => ({ claims: { exp: now() - 20 } })],
    ['five minutes', () => ({ claims: { exp: now() + 300 } })],
  ] as [string, () => Options][])
    it(`takes ${name}`, async () => {
      expect((await ask({ assertion: await sign(options()) })).status).toBe(200);
    });

  it('shows the client’s own authentication as well where it has some', async () => {
    const client = await service({ token_endpoint_auth_method: 'client_secret_basic' });
    expect((await ask({ assertion: await sign({ client }) }, basic(client))).status).toBe(200);
    expectError(await ask({ assertion: await sign({ client }) }), [401, 'invalid_client']);
    const wrong = basic({ ...client, client_secret: 'x' });
    expectError(await ask({ assertion: await sign({ client }) }, wrong), [401, 'invalid_client']);
    // One JWT may be both.
    const assertion = await sign();
    const both = { assertion, client_assertion: assertion, client_assertion_type: assertionType };
    expect((await ask(both)).status).toBe(200);
    expectError(await ask({ assertion }), [400, 'invalid_grant']);
  });

  it('is verified by keys that are fetched, and by the algorithm that was registered', async () => {
    const host: Server = createServer((_request, response) => {
      response.setHeader('content-type', 'application/json').end(JSON.stringify(jwks));
    });
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
    const { port } = host.address() as AddressInfo;
    const client = await service({ jwks: undefined, jwks_uri: `http://127.0.0.1:${port}/jwks.json` });
    expect((await ask({ assertion: await sign({ client }) })).status).toBe(200);
    host.close();
    // A key that is of no use does not stand in the way of one that is.
    const unusable = { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'k1' };
    const patched = await service({ jwks: { keys: [unusable, ...jwks.keys] } });
    expect((await ask({ assertion: await sign({ client: patched }) })).status).toBe(200);
    const strict = await service({ token_endpoint_auth_signing_alg: 'PS256' });
    expectError(await ask({ assertion: await sign({ client: strict }) }), [400, 'invalid_grant']);
  });

  it('has the scope of whoever answers for it, as client_credentials has', async () => {
    const admin = await callerOf(server, { role: 'admin' });
    const metadata = { redirect_uris: [], response_types: [], grant_types: [jwtBearer], jwks };
    const registered = await admin.request('post', '/clients', {
      ...metadata,
      token_endpoint_auth_method: 'private_key_jwt',
      scope: 'users:read:any',
    });
    const client = registered.json as RegisteredClient;
    const scopeOf = async () => (await ask({ assertion: await sign({ client }), scope: 'users:read:any' })).body;
    expect(await scopeOf()).toMatchObject({ scope: 'users:read:any' });
    await server.database.db('users').where({ id: admin.id }).update({ status: 'deactivated' });
    expect(await scopeOf()).toMatchObject({ error: 'invalid_scope' });
    for (const scope of ['users:write:any', 'openid'])
      expectError(await ask({ assertion: await sign(), scope }), [400, 'invalid_scope']);
    expectError(await ask({ assertion: await sign(), resource: 'https://other.example' }), [400, 'invalid_target']);
  });

  it('ends with its client', async () => {
    const client = await service();
    const { access_token } = (await ask({ assertion: await sign({ client }), scope: 'users:read:any' })).body;
    const works = async () => (await send(`${issuer}/users?limit=1`, { headers: bearer(access_token) })).status;
    expect(await works()).toBe(200);
    const root = await callerOf(server, { role: 'super_admin' });
    await root.request('delete', `/clients/${client.client_id}`);
    expect(await works()).toBe(401);
    expectError(await ask({ assertion: await sign({ client }) }), [401, 'invalid_client']);
  });
});

describe('a refused assertion', () => {
  let stranger: CryptoKey;
  beforeAll(async () => {
    stranger = (await generateKeyPair('ES256')).privateKey;
  });
  const refusals: [name: string, assertion: () => Promise<string> | string, expected?: [number, string]][] = [
    ['signed by somebody else', () => sign({ key: stranger })],
    ['signed by somebody else, without a kid', () => sign({ key: stranger, header: { kid: undefined } })],
    ['with an unknown kid', () => sign({ header: { kid: 'k2' } })],
    ['with a secret', () => sign({ key: new TextEncoder().encode('x'.repeat(64)), header: { alg: 'HS256' } })],
    ['unsigned', () => new UnsecuredJWT(claimsOf()).encode()],
    ['of another type', () => sign({ header: { typ: 'dpop+jwt' } })],
    ['with an unknown critical header', () => sign({ header: { crit: ['x'], x: 1 } })],
    ['that is over', () => sign({ claims: { exp: now() - 60 } })],
    ['without exp', () => sign({ claims: { exp: undefined } })],
    ['with exp as text', () => sign({ claims: { exp: '2099' } })],
    ['that lives too long', () => sign({ claims: { exp: now() + 400 } })],
    ['that is not valid yet', () => sign({ claims: { nbf: now() + 120 } })],
    ['from the future', () => sign({ claims: { iat: now() + 120 } })],
    ['without jti', () => sign({ claims: { jti: undefined } })],
    ['with a number as jti', () => sign({ claims: { jti: 1 } })],
    ['with an empty jti', () => sign({ claims: { jti: '' } })],
    ['without aud', () => sign({ claims: { aud: undefined } })],
    ['for somebody else', () => sign({ claims: { aud: 'https://other.example' } })],
    ['for another endpoint', () => sign({ claims: { aud: `${issuer}/oauth/introspect` } })],
    ['without sub', () => sign({ claims: { sub: undefined } })],
    ['about somebody else', () => sign({ claims: { sub: 'somebody' } })],
    ['about a person', () => sign({ claims: { sub: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' } })],
    ['without iss', () => sign({ claims: { iss: undefined } }), [400, 'invalid_request']],
    ['of nobody', () => sign({ claims: { iss: 'nobody' } }), [401, 'invalid_client']],
    ['that is none', () => 'x', [400, 'invalid_request']],
    ['that is empty', () => '', [400, 'invalid_request']],
  ];
  for (const [name, assertion, expected = [400, 'invalid_grant']] of refusals)
    it(name, async () => {
      expectError(await ask({ assertion: await assertion() }), expected as [number, string]);
    });

  it('that comes with the name of another client', async () => {
    const other = await service();
    expectError(await ask({ assertion: await sign(), client_id: other.client_id }), [400, 'invalid_grant']);
  });

  it('that is there twice, or not at all', async () => {
    const assertion = await sign();
    const twice: [string, string][] = [
      ['grant_type', jwtBearer],
      ['client_id', account.client_id],
      ['assertion', assertion],
      ['assertion', assertion],
    ];
    expectError(await post(server, '/oauth/token', twice), [400, 'invalid_request']);
    expectError(await ask({ client_id: account.client_id }), [400, 'invalid_request']);
  });

  it('that was used before; of many at once one is answered', async () => {
    const assertion = await sign();
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask({ assertion })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 9 }, () => 400)]);
    expectError(await ask({ assertion }), [400, 'invalid_grant']);
    // Nor is it good to authenticate with.
    const again = { client_assertion: assertion, client_assertion_type: assertionType, assertion: await sign() };
    expectError(await ask(again), [401, 'invalid_client']);
  });

  it('of a client that is not registered for the grant: its keys open nothing here', async () => {
    const client = await service({ grant_types: ['client_credentials'] });
    expect((await ask({ assertion: await sign({ client }) })).status).toBe(401);
  });

  it('opens no other grant: the client has to authenticate there', async () => {
    const client = await service({ grant_types: [jwtBearer, 'client_credentials'] });
    const form = { grant_type: 'client_credentials', client_id: client.client_id, assertion: await sign({ client }) };
    expectError(await post(server, '/oauth/token', form), [401, 'invalid_client']);
    const token = (await ask({ assertion: await sign({ client }) })).body.access_token;
    const introspection = {
      token,
      client_id: client.client_id,
      grant_type: jwtBearer,
      assertion: await sign({ client }),
    };
    expectError(await post(server, '/oauth/introspect', introspection), [401, 'invalid_client']);
  });

  it('says what is wrong with it once its signature is right', async () => {
    const told = async (options: Options) => (await ask({ assertion: await sign(options) })).body.error_description;
    expect(await told({ claims: { aud: 'https://other.example' } })).toContain('aud');
    expect(await told({ claims: { exp: now() + 3600 } })).toContain('five minutes');
    expect(await told({ key: stranger, claims: { aud: 'https://other.example' } })).not.toContain('aud');
  });
});

it('does what docs/guides/service-account.md says', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'service-account-'));
  const KEY_FILE = join(folder, 'key.pem');
  const maker = runGuide('service-account', 'key.mjs', { KEY_FILE });
  const [printed] = await maker.line(/^\{.*\}$/m);
  await maker.ended;
  const registration = JSON.parse(blocksOf('service-account')['client.json'] as string);
  const { client_id: CLIENT_ID } = await server.client({ ...registration, jwks: JSON.parse(printed) });
  const job = runGuide('service-account', 'job.mjs', { ISSUER: issuer, CLIENT_ID, KEY_FILE });
  expect([await job.ended, job.output()]).toEqual([0, expect.stringMatching(/A token for 900 seconds\n\d+ users/)]);
  rmSync(folder, { recursive: true });
});

it('is only for clients with keys of their own', async () => {
  const metadata = { redirect_uris: [], response_types: [], grant_types: [jwtBearer] };
  const refused = server.client({ ...metadata, token_endpoint_auth_method: 'client_secret_basic' });
  await expect(refused).rejects.toMatchObject({ code: 'invalid_client_metadata' });
});

it('counts bad assertions by the client that they claim to be of, and the address', async () => {
  const limited = await startServer({ RATE_LIMIT_FACTOR: '1' });
  try {
    const client = await limited.client({
      ...{ redirect_uris: [], response_types: [], grant_types: [jwtBearer], jwks },
      token_endpoint_auth_method: 'private_key_jwt',
    });
    const attempt = async (key?: CryptoKey) => {
      const assertion = await sign({ client, claims: { aud: limited.issuer }, ...(key ? { key } : {}) });
      return (await post(limited, '/oauth/token', { grant_type: jwtBearer, assertion })).status;
    };
    const { privateKey } = await generateKeyPair('ES256');
    expect(await attempt()).toBe(200);
    const statuses = new Set<number>();
    for (let round = 0; round < 60 && !statuses.has(429); round++) statuses.add(await attempt(privateKey));
    expect([...statuses]).toEqual([400, 429]);
    expect(await attempt()).toBe(429);
  } finally {
    await limited.stop();
  }
});
