/** The client credentials grant (RFC 6749 section 4.4): machines that act for themselves. */
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  basic,
  bearer,
  expectError,
  post,
  type RelyingParty,
  type Reply,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

const machine = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };

let server: TestServer;
let rp: RelyingParty;
beforeAll(async () => {
  server = await startServer({ JWT_AUD: 'urn:api' });
  rp = await registerRelyingParty(server, { ...machine, scope: 'api:read api:write' });
});
afterAll(() => server.stop());

const verify = async (jwt: string) => {
  const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
  return (await jwtVerify(jwt, createLocalJWKSet(body), { issuer: server.issuer, audience: 'urn:api', typ: 'at+jwt' }))
    .payload;
};

describe('client_credentials', () => {
  for (const method of ['client_secret_basic', 'client_secret_post', 'private_key_jwt']) {
    it(`gives a JWT for the API to a client that authenticates with ${method} (RFC 9068)`, async () => {
      const { config, client } = await registerRelyingParty(server, {
        ...machine,
        token_endpoint_auth_method: method,
        scope: 'api:read',
      });
      const answer = await oidc.clientCredentialsGrant(config, { scope: 'api:read' });
      expect(answer).toMatchObject({ token_type: 'bearer', expires_in: 900, scope: 'api:read' });
      // Nobody is signed in: there is nothing to refresh and nobody to describe.
      expect(answer.refresh_token ?? answer.id_token).toBeUndefined();
      const claims = await verify(answer.access_token);
      expect(claims).toEqual({
        iss: server.issuer,
        aud: 'urn:api',
        sub: client.client_id,
        client_id: client.client_id,
        scope: 'api:read',
        jti: expect.stringMatching(/^[\w-]{20,}$/),
        iat: expect.any(Number),
        exp: (claims.iat ?? 0) + 900,
      });
    });
  }

  it('gives the scopes that were asked for, if the client registered them', async () => {
    const scopeOf = async (scope?: string) =>
      (await verify((await oidc.clientCredentialsGrant(rp.config, scope ? { scope } : {})).access_token)).scope;
    expect(await scopeOf('api:read')).toBe('api:read');
    expect((await scopeOf('api:write api:read'))?.toString().split(' ').sort()).toEqual(['api:read', 'api:write']);
    expect(await scopeOf()).toBeUndefined();
  });

  it('leaves out the scopes that the client did not register, and says so; with none left it refuses (RFC 6749 section 3.3)', async () => {
    const narrowed = await oidc.clientCredentialsGrant(rp.config, { scope: 'api:read api:delete' });
    expect([narrowed.scope, (await verify(narrowed.access_token)).scope]).toEqual(['api:read', 'api:read']);
    for (const scope of ['openid', 'api:delete']) {
      const refusal = oidc.clientCredentialsGrant(rp.config, { scope });
      await expect(refusal).rejects.toMatchObject({ error: 'invalid_scope' });
    }
  });

  it('takes the resource named, and none that there is not', async () => {
    const resource = `${server.issuer}/api`;
    const { access_token } = await oidc.clientCredentialsGrant(rp.config, { resource, scope: 'api:read' });
    expect((await verify(access_token)).aud).toBe('urn:api');
    await expect(oidc.clientCredentialsGrant(rp.config, { resource: 'https://other.example' })).rejects.toMatchObject({
      error: 'invalid_target',
    });
  });

  it('is not taken by userinfo', async () => {
    const { access_token } = await oidc.clientCredentialsGrant(rp.config);
    const { status, body } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) });
    expect([status, body.error]).toEqual([401, 'invalid_token']);
  });

  const refusals: { name: string; form: Record<string, string>; expected: [number, string] }[] = [
    { name: 'offline_access', form: { scope: 'offline_access' }, expected: [400, 'invalid_scope'] },
    { name: 'a scope that is no scope', form: { scope: '"' }, expected: [400, 'invalid_scope'] },
    { name: 'NUL in the scope', form: { scope: 'api:read\0' }, expected: [400, 'invalid_request'] },
  ];
  for (const { name, form, expected } of refusals) {
    it(`refuses ${name}`, async () => {
      const request = { grant_type: 'client_credentials', ...form };
      expectError(await post(server, '/oauth/token', request, basic(rp.client)), expected);
    });
  }

  it('is not for clients that are public, or did not register for it', async () => {
    await expect(
      registerRelyingParty(server, { ...machine, token_endpoint_auth_method: 'none' }),
    ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
    const web = await registerRelyingParty(server);
    const request = { grant_type: 'client_credentials' };
    const { status, body } = await post(server, '/oauth/token', request, basic(web.client));
    expect([status, body.access_token]).toEqual([400, undefined]);
  });

  it('cannot be used to sign people in', async () => {
    const { status } = await send(
      `${server.issuer}/oauth/authorize?client_id=${rp.client.client_id}&response_type=code`,
    );
    expect(status).toBe(400);
  });
});

describe('the plainest request', () => {
  // The engine alone speaks of CORS where nobody asked for it, which tells who has answered.
  const byEngine = ({ headers }: Reply) => headers.has('access-control-allow-origin');
  /** Another spelling of the same request: an unknown parameter must be ignored (RFC 6749 section 3.2). */
  const spelled = (form: Record<string, string>) => ({ ...form, unknown: 'x' });
  const ask = (client: RegisteredClient, form: Record<string, string>, headers: Record<string, string> = {}) =>
    post(server, '/oauth/token', { grant_type: 'client_credentials', ...form }, { ...basic(client), ...headers });
  /** All of an answer but what is another each time. */
  const told = ({ status, headers, body }: Reply) => {
    const { access_token, ...rest } = body;
    const { jti, iat, exp, ...claims } = access_token?.startsWith('ey') ? decodeJwt(access_token) : {};
    const header = access_token?.startsWith('ey') ? decodeProtectedHeader(access_token) : {};
    const names = ['cache-control', 'content-type', 'vary', 'www-authenticate', 'x-frame-options'];
    const said = names.map((name) => headers.get(name));
    return { status, rest, claims, header, lifetime: (exp ?? 0) - (iat ?? 0), id: typeof jti, said };
  };

  const clients: Record<string, object> = {
    'a client': {},
    'one of an audience of its own': { audience: 'https://other.example/api' },
    'one with permissions': { scope: 'users:read:any roles:*:any' },
    'one with opaque tokens': { access_token_format: 'opaque' },
    'one that posts its secret': { token_endpoint_auth_method: 'client_secret_post' },
    'one that binds its tokens': { dpop_bound_access_tokens: true },
    'one with scopes of OpenID Connect': {
      scope: 'openid profile api:read',
      ...{ grant_types: ['client_credentials'] },
    },
    'one that may not': { grant_types: ['authorization_code'], redirect_uris: [redirectUri], response_types: ['code'] },
  };
  const forms: Record<string, string>[] = [
    {},
    ...['api:read', 'api:write api:read', 'api:read api:read', 'api:read api:delete', 'api:delete', 'users:read:any'],
    ...['users:read:own', 'users:*:*', 'roles:read:any', 'openid', 'openid api:read', 'offline_access', 'roles', ''],
    ...[' api:read', 'api:read ', 'api:read  api:write', '"', 'ä', 'api:read\0'],
  ].map((scope) => (typeof scope === 'string' ? { scope } : scope));

  for (const [name, metadata] of Object.entries(clients))
    it(`is answered as the engine answers it: ${name}`, async () => {
      const made = await registerRelyingParty(server, { ...machine, scope: 'api:read api:write', ...metadata });
      for (const form of forms) {
        const [plain, other] = [await ask(made.client, form), await ask(made.client, spelled(form))];
        expect(told(plain), JSON.stringify(form)).toEqual(told(other));
        expect(byEngine(other) || other.status === 400).toBe(true);
      }
      const [wrong, unknown] = [{ client_secret: 'x'.repeat(43) }, { client_id: 'nobody' }];
      for (const change of [wrong, unknown])
        expect(told(await ask({ ...made.client, ...change }, {}))).toEqual(
          told(await ask({ ...made.client, ...change }, spelled({}))),
        );
    });

  it('is the one that it says', async () => {
    const answers = {
      plain: await ask(rp.client, { scope: 'api:read' }),
      'without a scope': await ask(rp.client, {}),
      'from a page': await ask(rp.client, {}, { origin: 'https://app.example.com' }),
      'with a proof': await ask(rp.client, {}, { dpop: 'x' }),
      'with more than is asked for': await ask(rp.client, { client_id: rp.client.client_id }),
      'for a resource': await ask(rp.client, { resource: `${server.issuer}/api` }),
    };
    expect(
      Object.entries(answers).flatMap(([name, answer]) => (answer.status === 200 && !byEngine(answer) ? [name] : [])),
    ).toEqual(['plain', 'without a scope']);
  });

  it('is of the form that the engine takes: base64 with its padding, whole', async () => {
    const encoded = basic(rp.client).authorization.slice('Basic '.length).replace(/=*$/, '');
    for (const padding of ['', '=', '==', '===']) {
      const headers = { authorization: `Basic ${encoded}${padding}` };
      const [plain, other] = [await ask(rp.client, {}, headers), await ask(rp.client, spelled({}), headers)];
      expect(told(plain), padding).toEqual(told(other));
    }
  });

  it('counts', async () => {
    const made = await registerRelyingParty(server, { ...machine, scope: 'api:read' });
    const granted = async () => {
      const { body } = await send(`${server.issuer}/metrics`);
      return Number(/^tokens_issued_total\{[^}]*client_credentials[^}]*\} (\d+)/m.exec(String(body))?.[1] ?? 0);
    };
    const before = await granted();
    await ask(made.client, {});
    expect(await granted()).toBe(before + 1);
  });

  it('is no way around the limits of failures', async () => {
    const limited = await startServer({ RATE_LIMIT_FACTOR: '1' });
    try {
      const { client } = await registerRelyingParty(limited, { ...machine, scope: 'api:read' });
      const ask = (secret = client.client_secret) =>
        post(limited, '/oauth/token', form, basic({ ...client, client_secret: secret }));
      const form = { grant_type: 'client_credentials' };
      expect((await ask()).status).toBe(200);
      let status = 401;
      for (let tries = 0; tries < 200 && status === 401; tries++) ({ status } = await ask('x'.repeat(43)));
      expect(status).toBe(429);
      expect((await ask()).status).toBe(429);
    } finally {
      await limited.stop();
    }
  });
});
