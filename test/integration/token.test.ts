/** The token endpoint: codes and refresh tokens by every kind of client, and what the tokens look like. */
import { type CryptoKey, createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  basic,
  bearer,
  elsewhere,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const audience = 'test-api';
const scope = 'openid profile email offline_access api:read api:write';

let server: TestServer;
let rp: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer({ JWT_AUD: audience, JWT_ACCESS_TTL: '10m' });
  rp = await registerRelyingParty(server, { scope, first_party: true });
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

const userinfo = (token: string) => send(`${server.issuer}/oauth/userinfo`, { headers: bearer(token) });

describe('a code with PKCE is redeemed and its refresh token used', () => {
  for (const method of ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']) {
    it(`by a client that authenticates with ${method}`, async () => {
      const party = await registerRelyingParty(server, { token_endpoint_auth_method: method, first_party: true });
      const tokens = await party.signIn(person);
      expect(tokens.token_type).toBe('bearer');
      expect(tokens.expires_in).toBe(600);
      expect((await userinfo(tokens.access_token)).body.sub).toBe(tokens.claims()?.sub);
      const refreshed = await party.refresh(tokens.refresh_token);
      expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
      expect(refreshed.claims()?.sub).toBe(tokens.claims()?.sub);
      expect((await userinfo(refreshed.access_token)).status).toBe(200);
    });
  }

  it('and the answer must not be stored by anybody (RFC 6749 section 5.1)', async () => {
    const { attempt, callback } = await rp.authorize(person);
    const form = {
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code') as string,
      redirect_uri: redirectUri,
      code_verifier: attempt.verifier,
    };
    const { status, headers, body } = await post(server, '/oauth/token', form, basic(rp.client));
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(headers.get('set-cookie')).toBeNull();
    expect(Object.keys(body).sort()).toEqual([
      'access_token',
      'expires_in',
      'id_token',
      'refresh_token',
      'scope',
      'token_type',
    ]);
  });

  it('and a client that did not register for refresh tokens gets none', async () => {
    const brief = await registerRelyingParty(server, { grant_types: ['authorization_code'], first_party: true });
    expect((await brief.signIn(person)).refresh_token).toBeUndefined();
    const request = { grant_type: 'refresh_token', refresh_token: 'x' };
    expect((await post(server, '/oauth/token', request, basic(brief.client))).body.error).toBe('invalid_request');
  });
});

describe('the access token', () => {
  const resource = () => `${server.issuer}/api`;

  /** Verifies a JWT access token as a resource server does (RFC 9068 section 4). */
  const verify = async (jwt: string) => {
    const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
    return jwtVerify(jwt, createLocalJWKSet(body), { issuer: server.issuer, audience, typ: 'at+jwt' });
  };

  it('is opaque with openid and no resource, and is for userinfo', async () => {
    const tokens = await rp.signIn(person, { scope: 'openid email' });
    expect(tokens.access_token).toMatch(/^[\w-]{43,}$/);
    expect(tokens.scope).toBe('openid email');
    expect((await userinfo(tokens.access_token)).body.email).toBe(person.email);
  });

  it('is a JWT for the API with the resource named (RFC 8707, RFC 9068), and not for userinfo', async () => {
    const tokens = await rp.signIn(person, { scope: 'openid email api:read', resource: resource() });
    const { payload, protectedHeader } = await verify(tokens.access_token);
    expect(protectedHeader).toEqual({ alg: 'RS256', typ: 'at+jwt', kid: expect.any(String) });
    expect(payload).toEqual({
      iss: server.issuer,
      roles: ['user'],
      sub: tokens.claims()?.sub,
      aud: audience,
      client_id: rp.client.client_id,
      jti: expect.stringMatching(/^[\w-]{20,}$/),
      scope: 'api:read',
      iat: expect.any(Number),
      exp: (payload.iat ?? 0) + 600,
      sid: expect.any(String),
      grant_id: expect.any(String),
      ...{ acr: 'urn:countersign:acr:single-factor', amr: ['pwd'], auth_time: expect.any(Number) },
    });
    expect(await userinfo(tokens.access_token)).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
  });

  it('is a JWT for the API without openid', async () => {
    const tokens = await rp.signIn(person, { scope: 'api:read api:write', nonce: undefined });
    expect(tokens.id_token).toBeUndefined();
    expect((await verify(tokens.access_token)).payload.scope?.toString().split(' ').sort()).toEqual([
      'api:read',
      'api:write',
    ]);
  });

  it('keeps to the scopes of the API that the client registered and the person was asked for', async () => {
    const narrow = await registerRelyingParty(server, { scope: 'openid api:read', first_party: true });
    const tokens = await narrow.signIn(person, { scope: 'openid api:read api:write', resource: resource() });
    expect((await verify(tokens.access_token)).payload.scope).toBe('api:read');
  });

  it('can be narrowed, never widened, at a refresh, and keeps its audience', async () => {
    const wide = await rp.signIn(person, { scope: 'openid api:read api:write', resource: resource() });
    const narrow = await rp.refresh(wide.refresh_token, { scope: 'openid api:read' });
    expect((await verify(narrow.access_token)).payload.scope).toBe('api:read');
    await expect(rp.refresh(narrow.refresh_token as string, { scope: 'openid api:read email' })).rejects.toMatchObject({
      error: 'invalid_scope',
    });
    await expect(
      rp.refresh(narrow.refresh_token as string, { resource: 'https://other.example/' }),
    ).rejects.toMatchObject({ error: 'invalid_target' });
  });

  it('of userinfo cannot become one of the API at a refresh', async () => {
    const { refresh_token } = await rp.signIn(person, { scope: 'openid email' });
    await expect(rp.refresh(refresh_token, { resource: resource() })).rejects.toMatchObject({
      error: 'invalid_target',
    });
  });

  it('has an identifier of its own each time', async () => {
    const tokens = await rp.signIn(person, { scope: 'openid api:read', resource: resource() });
    const next = await rp.refresh(tokens.refresh_token);
    expect(decodeJwt(next.access_token).jti).not.toBe(decodeJwt(tokens.access_token).jti);
  });
});

describe('a refresh', () => {
  it('gives an id_token of the same sign-in, without the nonce of long ago (OpenID Connect Core section 12.2)', async () => {
    const first = await rp.signIn(person, { max_age: '10000' });
    const refreshed = await rp.refresh(first.refresh_token);
    const [before, after] = [decodeJwt(first.id_token), decodeJwt(refreshed.id_token as string)];
    for (const claim of ['iss', 'sub', 'aud', 'auth_time']) expect(after[claim]).toEqual(before[claim]);
    expect(decodeProtectedHeader(refreshed.id_token as string).alg).toBe('RS256');
  });

  it('ends with the session, unless offline_access was granted', async () => {
    const third = await registerRelyingParty(server, { scope });
    const someone = elsewhere(person);
    const bound = await third.signIn(someone);
    const offline = await rp.signIn(someone, { scope: 'openid offline_access', prompt: 'consent' });
    const elsewhereBound = await third.signIn(elsewhere(person));

    const page = await someone.browser.go(`/oauth/logout`);
    const out = await someone.browser.submit(page, { logout: 'yes' });
    expect(out.status).toBe(200);

    await expect(third.refresh(bound.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    expect((await userinfo(bound.access_token)).status).toBe(401);
    expect((await rp.refresh(offline.refresh_token)).access_token).toBeTruthy();
    expect((await third.refresh(elsewhereBound.refresh_token)).access_token).toBeTruthy();
  });

  it('is refused once the account is not active, and userinfo with it', async () => {
    const someone = await newPerson(server);
    const tokens = await rp.signIn(someone, { scope: 'openid offline_access', prompt: 'consent' });
    const { db } = server.database;
    await db('users').where({ email: someone.email }).update({ status: 'deactivated' });
    await expect(rp.refresh(tokens.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    expect((await userinfo(tokens.access_token)).status).toBe(401);
    const again = await someone.browser.go((await rp.begin()).url);
    expect(again.html).toContain('current-password');
  });
});

describe('private_key_jwt (RFC 7523)', () => {
  it('takes the issuer or the token endpoint as audience, once', async () => {
    const party = await registerRelyingParty(server, {
      token_endpoint_auth_method: 'private_key_jwt',
      grant_types: ['client_credentials'],
      redirect_uris: [],
    });
    const sign = oidc.PrivateKeyJwt({ key: party.key as CryptoKey, kid: 'k1' });
    const form = new URLSearchParams({ grant_type: 'client_credentials' });
    await sign(party.config.serverMetadata(), { client_id: party.client.client_id }, form, new Headers());
    expect((await post(server, '/oauth/token', form.toString())).status).toBe(200);
    expect(await post(server, '/oauth/token', form.toString())).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    });
  });
});
