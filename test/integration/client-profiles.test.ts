/** Security profiles of clients: setting one makes every weaker choice impossible, and says so. */
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, type TestCaller } from '../support/callers.ts';
import { newPerson, post, redirectUri, registerRelyingParty } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let admin: TestCaller;
let jwks: { keys: object[] };
let privateKey: CryptoKey;
beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'super_admin' });
  const pair = await generateKeyPair('ES256', { extractable: true });
  privateKey = pair.privateKey as CryptoKey;
  jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }] };
});
afterAll(() => server.stop());

const fapiGrants = ['authorization_code', 'refresh_token'];
const base = () => ({ client_name: 'Acme', redirect_uris: [redirectUri], grant_types: fapiGrants });
const keyed = () => ({ ...base(), jwks });
const register = (metadata: object) => admin.request('POST', '/clients', metadata);

describe('a profile fills in what is not named', () => {
  it.each([
    ['oauth2.1', base, { require_pkce: true, response_types: ['code'] }],
    [
      'fapi2-security',
      keyed,
      {
        require_pkce: true,
        token_endpoint_auth_method: 'private_key_jwt',
        require_pushed_authorization_requests: true,
        dpop_bound_access_tokens: true,
        id_token_signed_response_alg: 'ES256',
      },
    ],
    [
      'fapi2-message-signing',
      keyed,
      {
        require_pushed_authorization_requests: true,
        require_signed_request_object: true,
        response_modes: ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'],
        authorization_signed_response_alg: 'ES256',
        introspection_signed_response_alg: 'ES256',
      },
    ],
  ])('%s', async (profile, metadata, expected) => {
    const { status, json } = await register({ ...metadata(), profile });
    expect([status, json]).toMatchObject([201, { profile, ...expected }]);
    expect((await admin.request('GET', `/clients/${json.client_id}`)).json).toMatchObject({ profile, ...expected });
  });

  it('and asks no redirect of a machine', async () => {
    const { status, json } = await register({
      client_name: 'Job',
      jwks,
      profile: 'fapi2-message-signing',
      grant_types: ['client_credentials'],
    });
    expect([status, json.require_pushed_authorization_requests]).toEqual([201, false]);
  });
});

const weaker: [profile: string, weak: Record<string, unknown>, member: string][] = [
  ['oauth2.1', { response_types: ['code id_token'] }, 'response_types'],
  ['oauth2.1', { grant_types: ['password'] }, 'grant_types'],
  ['oauth2.1', { grant_types: ['authorization_code', 'implicit'] }, 'grant_types'],
  ['oauth2.1', { require_pkce: false }, 'require_pkce'],
  ['oauth2.1', { redirect_uris: ['http://app.example.com/cb'] }, 'redirect_uris'],
  ['fapi2-security', { response_types: ['code id_token'] }, 'response_types'],
  ['fapi2-security', { grant_types: ['password'] }, 'grant_types'],
  ['fapi2-security', { grant_types: ['urn:ietf:params:oauth:grant-type:device_code'] }, 'grant_types'],
  ['fapi2-security', { require_pkce: false }, 'require_pkce'],
  ['fapi2-security', { token_endpoint_auth_method: 'client_secret_basic' }, 'token_endpoint_auth_method'],
  ['fapi2-security', { token_endpoint_auth_method: 'client_secret_post' }, 'token_endpoint_auth_method'],
  ['fapi2-security', { token_endpoint_auth_method: 'none' }, 'token_endpoint_auth_method'],
  ['fapi2-security', { require_pushed_authorization_requests: false }, 'require_pushed_authorization_requests'],
  ['fapi2-security', { dpop_bound_access_tokens: false }, 'dpop_bound_access_tokens'],
  ['fapi2-security', { redirect_uris: ['http://localhost/cb'] }, 'redirect_uris'],
  ['fapi2-security', { id_token_signed_response_alg: 'RS256' }, 'id_token_signed_response_alg'],
  ['fapi2-security', { userinfo_signed_response_alg: 'RS256' }, 'userinfo_signed_response_alg'],
  ['fapi2-security', { token_endpoint_auth_signing_alg: 'RS256' }, 'token_endpoint_auth_signing_alg'],
  ['fapi2-message-signing', { require_signed_request_object: false }, 'require_signed_request_object'],
  ['fapi2-message-signing', { response_modes: ['query'] }, 'response_modes'],
  ['fapi2-message-signing', { response_modes: ['jwt', 'fragment'] }, 'response_modes'],
  ['fapi2-message-signing', { request_object_signing_alg: 'RS256' }, 'request_object_signing_alg'],
  ['fapi2-message-signing', { authorization_signed_response_alg: 'RS256' }, 'authorization_signed_response_alg'],
  ['fapi2-message-signing', { introspection_signed_response_alg: 'RS256' }, 'introspection_signed_response_alg'],
];

describe('what is weaker is refused by name', () => {
  it.each(weaker)('%s with %j', async (profile, weak, member) => {
    const { status, json } = await register({ ...keyed(), ...weak, profile });
    expect([status, json.code]).toEqual([400, 'invalid_client_metadata']);
    expect(json.title).toContain(`${member}: the profile ${profile} needs `);
  });

  it('also when it comes later, by a change', async () => {
    const { json } = await register({ ...keyed(), profile: 'fapi2-security' });
    const changed = await admin.request('PUT', `/clients/${json.client_id}`, {
      ...keyed(),
      profile: 'fapi2-security',
      token_endpoint_auth_method: 'client_secret_basic',
    });
    expect([changed.status, changed.json.code]).toEqual([400, 'invalid_client_metadata']);
    expect((await admin.request('GET', `/clients/${json.client_id}`)).json.token_endpoint_auth_method).toBe(
      'private_key_jwt',
    );
  });
});

describe('a request of a FAPI 2.0 client', () => {
  const assertion = (clientId: string, changes: { alg?: string; key?: CryptoKey; aud?: string | string[] } = {}) =>
    new SignJWT({})
      .setProtectedHeader({ alg: changes.alg ?? 'ES256', kid: changes.alg ? 'k2' : 'k1' })
      .setIssuer(clientId)
      .setSubject(clientId)
      .setAudience(changes.aud ?? server.issuer)
      .setJti(crypto.randomUUID())
      .setExpirationTime('1m')
      .sign(changes.key ?? privateKey);
  const push = async (clientId: string, client_assertion: string) =>
    post(server, '/oauth/par', {
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
      client_id: clientId,
      client_assertion,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    });

  it('must be pushed, and its assertion be strong and for the issuer alone', async () => {
    const weak = await generateKeyPair('RS256', { extractable: true });
    const keys = [...jwks.keys, { ...(await exportJWK(weak.publicKey)), kid: 'k2', alg: 'RS256', use: 'sig' }];
    const { json } = await register({ ...keyed(), jwks: { keys }, profile: 'fapi2-security' });
    const id = json.client_id as string;
    expect((await push(id, await assertion(id))).status).toBe(201);
    for (const wrong of [
      { alg: 'RS256', key: weak.privateKey as CryptoKey },
      { aud: `${server.issuer}/oauth/token` },
      { aud: [server.issuer, 'https://other.example'] },
      { aud: [server.issuer] },
    ]) {
      const { status, body } = await push(id, await assertion(id, wrong));
      expect([wrong, status, body.error]).toEqual([wrong, 401, 'invalid_client']);
    }
    const { browser } = await newPerson(server);
    const url = new URL('/oauth/authorize', server.issuer);
    url.search = new URLSearchParams({
      client_id: id,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: 'openid',
    }).toString();
    expect((await browser.go(url)).url.searchParams.get('error')).toBe('invalid_request');
  });
});

describe('REQUIRE_PUSHED_AUTHORIZATION_REQUESTS', () => {
  it('holds for every application but our own pages', async () => {
    const strict = await startServer({ REQUIRE_PUSHED_AUTHORIZATION_REQUESTS: 'true' });
    try {
      const rp = await registerRelyingParty(strict, { first_party: true });
      const person = await newPerson(strict);
      const { url } = await person.browser.go((await rp.begin()).url);
      expect([url.searchParams.get('error'), url.searchParams.get('error_description')]).toEqual([
        'invalid_request',
        'Pushed Authorization Request must be used',
      ]);
      expect((await person.browser.go('/account')).url.pathname).toMatch(/^\/interaction\//);
      const metadata = await (await fetch(`${strict.issuer}/.well-known/openid-configuration`)).json();
      expect(metadata).toMatchObject({ require_pushed_authorization_requests: true });
    } finally {
      await strict.stop();
    }
  });
});
