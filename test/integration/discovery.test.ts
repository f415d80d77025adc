/** What the service says about itself, and that it is so. */
import { request } from 'node:http';
import { importJWK, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newPerson, type Reply, registerRelyingParty, send } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let metadata: Record<string, string[] & string>;
beforeAll(async () => {
  server = await startServer();
  metadata = (await get('/.well-known/openid-configuration')).body;
});
afterAll(() => server.stop());

const get = (path: string, init?: RequestInit): Promise<Reply> => send(`${server.issuer}${path}`, init);

describe('discovery (OpenID Connect Discovery section 4, RFC 8414)', () => {
  it('says the same at both well-known places', async () => {
    const openid = await get('/.well-known/openid-configuration');
    const oauth = await get('/.well-known/oauth-authorization-server');
    expect([openid.status, oauth.status]).toEqual([200, 200]);
    expect(openid.body).toEqual(oauth.body);
    for (const { headers } of [openid, oauth]) {
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(headers.get('cache-control')).toBe('public, max-age=300');
    }
  });

  it('names what is there', () => {
    expect(metadata).toMatchObject({
      issuer: server.issuer,
      authorization_endpoint: `${server.issuer}/oauth/authorize`,
      token_endpoint: `${server.issuer}/oauth/token`,
      userinfo_endpoint: `${server.issuer}/oauth/userinfo`,
      introspection_endpoint: `${server.issuer}/oauth/introspect`,
      revocation_endpoint: `${server.issuer}/oauth/revoke`,
      end_session_endpoint: `${server.issuer}/oauth/logout`,
      pushed_authorization_request_endpoint: `${server.issuer}/oauth/par`,
      jwks_uri: `${server.issuer}/.well-known/jwks.json`,
      response_types_supported: ['code', 'none', 'code id_token', 'id_token'],
      subject_types_supported: ['public', 'pairwise'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      claims_parameter_supported: true,
      request_parameter_supported: true,
      request_uri_parameter_supported: false,
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
    });
    expect(metadata.scopes_supported).toEqual(
      expect.arrayContaining(['openid', 'profile', 'email', 'address', 'phone', 'offline_access']),
    );
    expect(metadata.id_token_signing_alg_values_supported).toContain('RS256');
    for (const [name, values] of Object.entries(metadata))
      if (name.endsWith('_alg_values_supported')) expect(values.join(' ')).not.toMatch(/none|HS\d/);
  });

  it('is the issuer, whatever Host and X-Forwarded-* say', async () => {
    const { port } = new URL(server.issuer);
    const headers = {
      host: 'evil.example',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      forwarded: 'host=evil.example;proto=https',
    };
    const body = await new Promise<string>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path: '/.well-known/openid-configuration', headers };
      request(options, async (response) => resolve((await response.toArray()).join('')))
        .on('error', reject)
        .end();
    });
    expect(JSON.parse(body)).toEqual(metadata);
  });

  it('may be read from any site, as JWKS may', async () => {
    for (const path of ['/.well-known/openid-configuration', '/.well-known/jwks.json']) {
      const { headers } = await get(path, { headers: { origin: 'https://anywhere.example' } });
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    }
  });

  it('answers HEAD, and refuses other methods', async () => {
    expect((await get('/.well-known/openid-configuration', { method: 'HEAD' })).status).toBe(200);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const { status } = await get('/.well-known/openid-configuration', { method });
      expect([404, 405]).toContain(status);
    }
  });

  it('has nothing at other well-known places', async () => {
    for (const path of ['/.well-known/nodeinfo', '/.well-known/openid-configuration/x', '/.well-known/'])
      expect((await get(path)).status).toBe(404);
  });
});

describe('JWKS (RFC 7517)', () => {
  it('shows no private member, and for each key a use and a name of its own, and the algorithm it signs with', async () => {
    const { body, headers, status } = await get('/.well-known/jwks.json');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^application\/(jwk-set\+)?json/);
    expect(headers.get('cache-control')).toBe('public, max-age=300');
    const { keys } = body;
    const members: Record<string, string[]> = { RSA: ['n', 'e'], EC: ['crv', 'x', 'y'], OKP: ['crv', 'x'] };
    for (const key of keys) {
      // What decrypts serves a family of algorithms.
      const alg = key.use === 'sig' ? ['alg'] : [];
      expect(Object.keys(key).sort()).toEqual([...alg, 'kid', 'kty', 'use', ...(members[key.kty] ?? [])].sort());
    }
    expect(new Set(keys.map(({ kid }: { kid: string }) => kid)).size).toBe(keys.length);
    expect(keys.flatMap(({ alg }: { alg?: string }) => alg ?? []).sort()).toEqual(['ES256', 'EdDSA', 'PS256', 'RS256']);
  });
});

const refusal = (metadata: Record<string, unknown>): Promise<string | undefined> =>
  registerRelyingParty(server, metadata).then(
    () => undefined,
    (error: { error?: string; code?: string }) => error.error ?? error.code,
  );

describe('everything advertised works', () => {
  it('each endpoint answers, and not with 404', async () => {
    for (const [name, url] of Object.entries(metadata)) {
      if (!name.endsWith('_endpoint') && name !== 'jwks_uri') continue;
      const method = /token|introspection|revocation|pushed|device|backchannel|registration/.test(name)
        ? 'POST'
        : 'GET';
      const type = name === 'registration_endpoint' ? 'application/json' : 'application/x-www-form-urlencoded';
      const init = { method, headers: { 'content-type': type } };
      const { status } = await send(url, method === 'GET' ? {} : init);
      expect([name, status]).toEqual([name, expect.toSatisfy((code: number) => code < 404)]);
    }
  });

  it('each id_token and userinfo algorithm', async () => {
    const person = await newPerson(server);
    const { keys } = (await get('/.well-known/jwks.json')).body;
    for (const alg of metadata.id_token_signing_alg_values_supported ?? []) {
      const rp = await registerRelyingParty(server, {
        id_token_signed_response_alg: alg,
        userinfo_signed_response_alg: alg,
        first_party: true,
      });
      const tokens = await rp.signIn(person, { scope: 'openid email' });
      const { body, headers } = await send(metadata.userinfo_endpoint as string, {
        headers: { authorization: `Bearer ${tokens.access_token}` },
      });
      expect(headers.get('content-type')).toMatch(/^application\/jwt/);
      const key = await importJWK(keys.find((key: { alg: string }) => key.alg === alg));
      const verified = await jwtVerify(body, key, { issuer: server.issuer, audience: rp.client.client_id });
      expect(verified.protectedHeader.alg).toBe(alg);
      expect(verified.payload).toMatchObject({ sub: tokens.claims()?.sub, email: person.email });
    }
    expect(metadata.userinfo_signing_alg_values_supported).toEqual(metadata.id_token_signing_alg_values_supported);
  });

  it('each client authentication method, and no other can be registered', async () => {
    for (const method of metadata.token_endpoint_auth_methods_supported ?? []) {
      if (method === 'none') continue;
      const grant = { grant_types: ['client_credentials'], redirect_uris: [], token_endpoint_auth_method: method };
      const { config } = await registerRelyingParty(server, grant);
      expect((await oidc.clientCredentialsGrant(config)).token_type).toBe('bearer');
    }
    for (const method of ['client_secret_jwt', 'tls_client_auth', 'nonsense'])
      expect(await refusal({ token_endpoint_auth_method: method })).toBe('invalid_client_metadata');
    for (const alg of ['HS256', 'none', 'RS1'])
      expect(await refusal({ id_token_signed_response_alg: alg })).toBe('invalid_client_metadata');
  });

  it('each response mode and prompt', async () => {
    const person = await newPerson(server);
    const rp = await registerRelyingParty(server, { first_party: true });
    await rp.signIn(person);
    // In a `jwt` mode the code is within.
    for (const response_mode of metadata.response_modes_supported ?? [])
      expect((await person.browser.go((await rp.begin({ response_mode })).url)).html).toMatch(
        /jwt$/.test(response_mode) ? /response=|name="response"/ : /code=|name="code"/,
      );
  });
});
