/**
 * The OpenID Foundation's Basic OP plan (oidcc-basic-certification-test-plan), one test for each of its modules and named
 * as the module. Clients are registered as the plan does: confidential, without PKCE. openid-client validates each
 * response and id_token (signature, iss, aud, exp, iat, nonce, at_hash) in passing.
 */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import type * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf, type Page } from '../support/browser.ts';
import {
  type Answer,
  basic,
  bearer,
  elsewhere,
  errorOf,
  expectErrorPage,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const otherRedirectUri = `${redirectUri}?dummy1=lorem&dummy2=ipsum`;
const withoutPkce = { code_challenge: undefined, code_challenge_method: undefined };

let server: TestServer;
let client: RelyingParty;
let client2: RelyingParty;
let postClient: RelyingParty;
let account: Person;
beforeAll(async () => {
  server = await startServer();
  const metadata = { redirect_uris: [redirectUri, otherRedirectUri], require_pkce: false };
  client = await registerRelyingParty(server, metadata);
  client2 = await registerRelyingParty(server, metadata);
  postClient = await registerRelyingParty(server, { ...metadata, token_endpoint_auth_method: 'client_secret_post' });
  account = await newPerson(server);
  // The profile that the plan's user has.
  const person = elsewhere(account);
  await client.signIn(person, withoutPkce);
  const saved = await person.browser.submit(await person.browser.go('/account/profile'), profile, '/account/profile');
  expect(saved.url.search).toBe('?notice=profileSaved');
});
afterAll(() => server.stop());

const profile = {
  name: 'Jane Doe',
  given_name: 'Jane',
  family_name: 'Doe',
  middle_name: 'M.',
  nickname: 'JD',
  preferred_username: 'jane',
  profile: 'https://example.com/jane',
  picture: 'https://example.com/jane.png',
  website: 'https://jane.example.com/',
  gender: 'female',
  birthdate: '0000-10-31',
  zoneinfo: 'America/Los_Angeles',
  locale: 'en-US',
  phone_number: '+1 (555) 555-0100',
  street_address: '100 Universal City Plaza',
  locality: 'Hollywood',
  region: 'CA',
  postal_code: '91608',
  country: 'USA',
};

const run = (person: Person, parameters?: Parameters, rp = client) =>
  rp.signIn(person, { ...withoutPkce, ...parameters });
const authorize = (person: Person, parameters?: Parameters, rp = client): Promise<Answer> =>
  rp.authorize(person, { ...withoutPkce, ...parameters });
const visit = async ({ browser }: Person, parameters?: Parameters): Promise<Page> =>
  browser.go((await client.begin({ ...withoutPkce, ...parameters })).url);
const fresh = () => elsewhere(account);
const userinfo = async (token: string) => {
  const { status, headers, body } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(token) });
  expect([status, headers.get('content-type')]).toEqual([200, expect.stringMatching(/^application\/json/)]);
  return body;
};
const authTime = (tokens: { claims(): oidc.IDToken | undefined }) => tokens.claims()?.auth_time as number;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What the suite checks of the claims of a scope: the right ones, each of the right type. */
const expectClaims = async (scope: string, expected: Record<string, unknown>) => {
  const tokens = await run(fresh(), { scope });
  expect(await userinfo(tokens.access_token)).toEqual({ sub: tokens.claims()?.sub, ...expected });
};
const profileClaims = () => {
  const {
    phone_number: _p,
    street_address: _s,
    locality: _l,
    region: _r,
    postal_code: _c,
    country: _u,
    ...claims
  } = profile;
  return { ...claims, updated_at: expect.any(Number) };
};
const emailClaims = () => ({ email: account.email, email_verified: true });
const addressClaims = () => {
  const { street_address, locality, region, postal_code, country } = profile;
  return { address: { street_address, locality, region, postal_code, country, formatted: expect.any(String) } };
};
const phoneClaims = () => ({ phone_number: '+15555550100', phone_number_verified: false });

describe('oidcc-basic-certification-test-plan', () => {
  it('oidcc-server', async () => {
    const answer = await authorize(fresh());
    expect([...answer.callback.searchParams.keys()].sort()).toEqual(['code', 'iss', 'state']);
    const tokens = await client.redeem(answer);
    expect(tokens.token_type.toLowerCase()).toBe('bearer');
    expect(tokens.claims()).toMatchObject({ iss: server.issuer, aud: client.client.client_id });
    expect((await userinfo(tokens.access_token)).sub).toBe(tokens.claims()?.sub);
  });

  it('oidcc-response-type-missing', async () => {
    const person = fresh();
    expect(errorOf(await authorize(person, { response_type: undefined }))).toBe('invalid_request');
  });

  it('oidcc-idtoken-signature', async () => {
    const { id_token } = await run(fresh());
    const { kid, alg } = decodeProtectedHeader(id_token);
    expect(alg).toBe('RS256');
    const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
    expect(body.keys.filter((key: { kid: string }) => key.kid === kid)).toHaveLength(1);
  });

  it('oidcc-idtoken-unsigned', async () => {
    // Optional, and not offered: nobody can register for it.
    await expect(registerRelyingParty(server, { id_token_signed_response_alg: 'none' })).rejects.toThrow();
    expect(client.config.serverMetadata().id_token_signing_alg_values_supported).not.toContain('none');
  });

  it('oidcc-userinfo-get', async () => {
    const tokens = await run(fresh());
    expect((await userinfo(tokens.access_token)).sub).toBe(tokens.claims()?.sub);
  });

  it('oidcc-userinfo-post-header', async () => {
    const tokens = await run(fresh());
    const url = `${server.issuer}/oauth/userinfo`;
    const { body } = await send(url, { method: 'POST', headers: bearer(tokens.access_token) });
    expect(body.sub).toBe(tokens.claims()?.sub);
  });

  it('oidcc-userinfo-post-body', async () => {
    const tokens = await run(fresh());
    const { body } = await post(server, '/oauth/userinfo', { access_token: tokens.access_token });
    expect(body.sub).toBe(tokens.claims()?.sub);
  });

  it('oidcc-ensure-request-without-nonce-succeeds-for-code-flow', async () => {
    expect((await run(fresh(), { nonce: undefined })).claims()).not.toHaveProperty('nonce');
  });

  it('oidcc-scope-profile', () => expectClaims('openid profile', profileClaims()));
  it('oidcc-scope-email', () => expectClaims('openid email', emailClaims()));
  it('oidcc-scope-address', () => expectClaims('openid address', addressClaims()));
  it('oidcc-scope-phone', () => expectClaims('openid phone', phoneClaims()));
  it('oidcc-scope-all', () =>
    expectClaims('openid profile email address phone', {
      ...profileClaims(),
      ...emailClaims(),
      ...addressClaims(),
      ...phoneClaims(),
    }));

  it('oidcc-alternate-happy-flow', async () => {
    // The second redirect URI, which has a query; a state of many kinds of characters; scopes that nobody knows.
    const state = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ 0aZ';
    const answer = await authorize(fresh(), { redirect_uri: otherRedirectUri, state, scope: 'openid lorem' });
    const { callback } = answer;
    expect(callback.searchParams.get('state')).toBe(state);
    expect([callback.searchParams.get('dummy1'), callback.searchParams.get('dummy2')]).toEqual(['lorem', 'ipsum']);
    const form = { grant_type: 'authorization_code', code: callback.searchParams.get('code') as string };
    const { status } = await post(
      server,
      '/oauth/token',
      { ...form, redirect_uri: otherRedirectUri },
      basic(client.client),
    );
    expect(status).toBe(200);
  });

  for (const display of ['page', 'popup']) {
    it(`oidcc-display-${display}`, async () => {
      expect((await run(fresh(), { display })).id_token).toBeTruthy();
    });
  }

  it('oidcc-prompt-login', async () => {
    const person = fresh();
    const first = await run(person, { max_age: '15000' });
    await pause(1100);
    expect((await visit(person, { prompt: 'login' })).html).toContain('current-password');
    const second = await run(person, { prompt: 'login', max_age: '15000' });
    expect(second.claims()?.sub).toBe(first.claims()?.sub);
    expect(authTime(second)).toBeGreaterThan(authTime(first));
  });

  it('oidcc-prompt-none-not-logged-in', async () => {
    const error = errorOf(await authorize(fresh(), { prompt: 'none' }));
    expect(['login_required', 'interaction_required']).toContain(error);
  });

  it('oidcc-prompt-none-logged-in', async () => {
    const person = fresh();
    const first = await run(person, { max_age: '15000' });
    const { url } = await visit(person, { prompt: 'none' });
    expect(url.searchParams.has('code')).toBe(true);
    const second = await run(person, { prompt: 'none', max_age: '15000' });
    expect(second.claims()?.sub).toBe(first.claims()?.sub);
    expect(authTime(second)).toBe(authTime(first));
  });

  it('oidcc-max-age-1', async () => {
    const person = fresh();
    const first = await run(person, { max_age: '15000' });
    await pause(2100);
    expect((await visit(person, { max_age: '1' })).html).toContain('current-password');
    const second = await run(person, { max_age: '1' });
    expect(authTime(second)).toBeGreaterThan(authTime(first));
    expect((second.claims()?.iat ?? 0) - authTime(second)).toBeLessThanOrEqual(1);
  });

  it('oidcc-max-age-10000', async () => {
    const person = fresh();
    const first = await run(person, { max_age: '10000' });
    const second = await run(person, { max_age: '10000', prompt: 'none' });
    expect(second.claims()?.sub).toBe(first.claims()?.sub);
    expect(authTime(second)).toBe(authTime(first));
  });

  it('oidcc-ensure-request-with-unknown-parameter-succeeds', async () => {
    expect((await run(fresh(), { extra: 'foobar' })).id_token).toBeTruthy();
  });

  it('oidcc-id-token-hint', async () => {
    const person = fresh();
    const first = await run(person);
    const second = await run(person, { prompt: 'none', id_token_hint: first.id_token });
    expect(second.claims()?.sub).toBe(first.claims()?.sub);
  });

  it('oidcc-login-hint', async () => {
    const page = await visit(fresh(), { login_hint: account.email });
    expect(formsOf(page.html).find(({ fields }) => 'password' in fields)?.fields.email).toBe(account.email);
    expect((await run(fresh(), { login_hint: 'buffy' })).id_token).toBeTruthy();
  });

  it('oidcc-ui-locales', async () => {
    expect((await visit(fresh(), { ui_locales: 'se fr' })).headers.get('content-language')).toBe('fr');
    expect((await run(fresh(), { ui_locales: 'se' })).id_token).toBeTruthy();
  });

  it('oidcc-claims-locales', async () => {
    expect((await run(fresh(), { claims_locales: 'se' })).id_token).toBeTruthy();
  });

  it('oidcc-ensure-request-with-acr-values-succeeds', async () => {
    expect((await run(fresh(), { acr_values: '1 2' })).id_token).toBeTruthy();
  });

  it('oidcc-ensure-registered-redirect-uri', async () => {
    const page = await visit(fresh(), { redirect_uri: `${redirectUri}/Xq3vBn8Rk2` });
    expectErrorPage(page, server.issuer, [400, 'invalid_redirect_uri']);
  });

  it('oidcc-ensure-post-request-succeeds', async () => {
    const person = fresh();
    const attempt = await client.begin(withoutPkce);
    let page = await person.browser.go(attempt.url.pathname, { method: 'POST', body: attempt.url.searchParams });
    page = await person.browser.submit(page, { email: person.email, password: 'correct horse battery staple' });
    expect((await client.redeem({ attempt, callback: page.url })).claims()?.nonce).toBe(attempt.nonce);
  });

  it('oidcc-server-client-secret-post', async () => {
    expect((await run(fresh(), {}, postClient)).claims()?.aud).toBe(postClient.client.client_id);
  });

  it('oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported', async () => {
    const answer = await authorize(fresh(), { request_uri: 'https://app.example.com/request.jwt' });
    expect(errorOf(answer)).toBe('request_uri_not_supported');
    expect(answer.callback.searchParams.get('state')).toBe(answer.attempt.state);
  });

  const unsigned = (payload: object) =>
    `${[{ alg: 'none' }, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`;

  it('oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported', async () => {
    const request = unsigned({ state: 'inside', nonce: 'inside' });
    const answer = await authorize(fresh(), { request });
    expect(errorOf(answer)).toBe('request_not_supported');
    expect(answer.callback.searchParams.get('state')).toBe(answer.attempt.state);
  });

  it('oidcc-claims-essential', async () => {
    const tokens = await run(fresh(), { claims: '{"userinfo":{"name":{"essential":true}}}' });
    expect(await userinfo(tokens.access_token)).toEqual({ sub: tokens.claims()?.sub, name: 'Jane Doe' });
  });

  it('oidcc-ensure-request-object-with-redirect-uri', async () => {
    const request = unsigned({ redirect_uri: `${redirectUri}/evil` });
    const answer = await authorize(fresh(), { request });
    expect(errorOf(answer)).toBe('request_not_supported');
  });

  it('oidcc-refresh-token', async () => {
    const person = fresh();
    const first = await run(person, { scope: 'openid offline_access', prompt: 'consent', max_age: '10000' });
    const refreshed = await client.refresh(first.refresh_token);
    expect(refreshed.access_token).not.toBe(first.access_token);
    const [before, after] = [decodeJwt(first.id_token), decodeJwt(refreshed.id_token as string)];
    for (const claim of ['iss', 'sub', 'aud', 'auth_time', 'azp']) expect(after[claim]).toEqual(before[claim]);
    expect(after.iat).toBeGreaterThanOrEqual(before.iat as number);
    expect((await userinfo(refreshed.access_token)).sub).toBe(before.sub);
    // Another client's refresh token is not taken.
    const form = { grant_type: 'refresh_token', refresh_token: refreshed.refresh_token as string };
    const { status, body } = await post(server, '/oauth/token', form, basic(client2.client));
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
  });

  it('oidcc-ensure-request-with-valid-pkce-succeeds', async () => {
    expect((await client.signIn(fresh())).id_token).toBeTruthy();
    await expect(
      client2.redeem({ ...(await client2.authorize(fresh())), attempt: await client2.begin() }),
    ).rejects.toThrow();
  });
});
