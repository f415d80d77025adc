/** The authorization endpoint when things go well: what can be asked for, and what the answer says. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { operatorPowers, updateClient } from '../../src/clients/clients.commands.ts';
import { revokeGrantsOf } from '../../src/sessions/sessions.commands.ts';
import { formsOf } from '../support/browser.ts';
import {
  elsewhere,
  errorOf,
  newPerson,
  type Person,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  rp = await registerRelyingParty(server);
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

describe('the authorization response', () => {
  it('carries the code, the state and the issuer, and nothing else (RFC 6749 section 4.1.2, RFC 9207)', async () => {
    const { attempt, callback } = await rp.authorize(person);
    expect(Object.fromEntries(callback.searchParams)).toEqual({
      code: expect.stringMatching(/^[\w-]{43,}$/),
      state: attempt.state,
      iss: server.issuer,
    });
    expect(callback.hash).toBe('');
  });

  it('leaves the state out when there was none, and keeps the query of the redirect URI', async () => {
    const uri = 'https://app.example.com/callback?tenant=a%20b';
    const other = await registerRelyingParty(server, { redirect_uris: [uri], first_party: true });
    const { callback } = await other.authorize(person, { state: undefined });
    expect([...callback.searchParams.keys()].sort()).toEqual(['code', 'iss', 'tenant']);
    expect(callback.searchParams.get('tenant')).toBe('a b');
  });

  it('returns the state as it was sent, whatever it looks like', async () => {
    const state = 'ü € 😀 "<script>&\' % + \\u00e9 ?#';
    expect((await rp.authorize(person, { state })).callback.searchParams.get('state')).toBe(state);
  });

  it('is posted by a form with response_mode=form_post', async () => {
    const attempt = await rp.begin({ response_mode: 'form_post' });
    const page = await person.browser.go(attempt.url);
    const [form] = formsOf(page.html);
    expect(form).toMatchObject({ action: redirectUri, fields: { state: attempt.state, iss: server.issuer } });
    expect(page.headers.get('cache-control')).toBe('no-store');
    // It submits itself by a script of ours, or by a button; the security policy allows that and no inline script.
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(page.html).toMatch(/<form[^>]*action="https:[^"]*"[\s\S]*<button[\s\S]*<\/form>/);
    expect(page.html).not.toMatch(/<script>|\son[a-z]+="/);
    expect(policy).not.toMatch(/unsafe-inline|form-action/);
    const request = new Request(redirectUri, { method: 'POST', body: new URLSearchParams(form?.fields) });
    const tokens = await rp.redeem({ attempt, callback: request as unknown as URL });
    expect(tokens.claims()?.nonce).toBe(attempt.nonce);
  });

  it('escapes what it puts into the form of form_post', async () => {
    const page = await person.browser.go((await rp.begin({ response_mode: 'form_post', state: '"><b>x' })).url);
    expect(page.html).not.toContain('<b>x');
    expect(formsOf(page.html)[0]?.fields.state).toBe('"><b>x');
  });

  it('can be in the fragment, and gives neither code nor token with response_type=none', async () => {
    const { callback } = await rp.authorize(person, { response_mode: 'fragment' });
    expect(callback.search).toBe('');
    expect(new URLSearchParams(callback.hash.slice(1)).get('code')).toBeTruthy();
    const none = await registerRelyingParty(server, { response_types: ['none', 'code'], first_party: true });
    const answer = await none.authorize(person, { response_type: 'none' });
    expect(answer.callback.searchParams.get('state')).toBe(answer.attempt.state);
    expect(answer.callback.searchParams.has('code')).toBe(false);
  });
});

describe('the request', () => {
  it('may be posted (OpenID Connect Core section 3.1.2.1), and nothing of it appears in a URL', async () => {
    const { url, ...attempt } = await rp.begin();
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://app.example.com' },
      body: url.searchParams,
    };
    const redirect = await person.browser.request(url.pathname, init);
    expect(redirect.status).toBe(303);
    expect(redirect.headers.get('location')).not.toContain(attempt.state);
    const page = await person.browser.go(redirect.headers.get('location') as string);
    const tokens = await rp.redeem({ attempt: { url, ...attempt }, callback: page.url });
    expect(tokens.claims()?.nonce).toBe(attempt.nonce);
    const again = await person.browser.go(redirect.headers.get('location') as string);
    expect(again.status).toBe(400);
  });

  it('may be posted by somebody who is not signed in, and with parameters that are refused', async () => {
    const { url } = await rp.begin({ scope: 'openid nonsense', prompt: 'none' });
    const init = { method: 'POST', body: url.searchParams };
    expect((await elsewhere(person).browser.go(url.pathname, init)).url.searchParams.get('error')).toBe(
      'login_required',
    );
    url.searchParams.set('redirect_uri', `${redirectUri}x`);
    expect((await person.browser.go(url.pathname, init)).status).toBe(400);
  });

  it('fills in login_hint, and speaks the language of ui_locales', async () => {
    const { browser, email } = elsewhere(person);
    const page = await browser.go((await rp.begin({ login_hint: email, ui_locales: 'tlh fr-CA de' })).url);
    expect(formsOf(page.html).find((form) => 'password' in form.fields)?.fields.email).toBe(email);
    expect(page.html).toMatch(/<html[^>]* lang="fr"/);
    expect(page.headers.get('content-language')).toBe('fr');
  });

  it('may have parameters that nobody knows', async () => {
    const { callback } = await rp.authorize(person, { extra: 'x', display: 'popup', acr_values: '1 2' });
    expect(callback.searchParams.has('code')).toBe(true);
  });
});

describe('prompt and max_age (OpenID Connect Core section 3.1.2.1)', () => {
  it('none: answers without a page, or login_required, consent_required or interaction_required', async () => {
    expect((await rp.authorize(person, { prompt: 'none' })).callback.searchParams.has('code')).toBe(true);
    expect(errorOf(await rp.authorize(elsewhere(person), { prompt: 'none' }))).toBe('login_required');
    const stranger = await registerRelyingParty(server);
    expect(errorOf(await stranger.authorize(person, { prompt: 'none' }))).toBe('consent_required');
    expect(errorOf(await rp.authorize(person, { prompt: 'none', scope: 'openid email' }))).toBe('consent_required');
    expect(errorOf(await rp.authorize(person, { prompt: 'none login' }))).toBe('invalid_request');
  });

  it('login: asks for the password again, and auth_time moves', async () => {
    const before = (await rp.signIn(person, { max_age: '10000' })).claims()?.auth_time as number;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const page = await person.browser.go((await rp.begin({ prompt: 'login' })).url);
    expect(page.html).toContain('current-password');
    const after = (await rp.signIn(person, { prompt: 'login', max_age: '10000' })).claims()?.auth_time as number;
    expect(after).toBeGreaterThan(before);
  });

  it('login: cannot be skipped by dropping the prompt half way', async () => {
    const page = await person.browser.go((await rp.begin({ prompt: 'login' })).url);
    const resume = page.url.pathname.replace('/interaction/', '/oauth/authorize/');
    expect((await person.browser.go(resume)).url.searchParams.has('code')).toBe(false);
  });

  it('consent: asks although everything was granted', async () => {
    const page = await person.browser.go((await rp.begin({ prompt: 'consent' })).url);
    expect(page.url.pathname).toMatch(/^\/interaction\//);
    expect(formsOf(page.html).map(({ action }) => action)).toContain(`${page.url.pathname}/abort`);
    expect((await person.browser.submit(page)).url.searchParams.has('code')).toBe(true);
  });

  it('max_age: signs in again when the last time is longer ago, and says when that was', async () => {
    await new Promise((resolve) => setTimeout(resolve, 2100));
    const page = await person.browser.go((await rp.begin({ max_age: '1' })).url);
    expect(page.html).toContain('current-password');
    const answer = await rp.authorize(person, { max_age: '10000' });
    const tokens = await rp.redeem(answer, {}, { maxAge: 10_000 });
    expect(tokens.claims()?.auth_time).toBeTypeOf('number');
    expect(errorOf(await rp.authorize(person, { max_age: '-1' }))).toBe('invalid_request');
    // 0 is as good as prompt=login.
    expect(errorOf(await rp.authorize(person, { max_age: '0', prompt: 'none' }))).toBe('login_required');
  });

  it('require_auth_time and default_max_age of the client are kept', async () => {
    const strict = await registerRelyingParty(server, { require_auth_time: true, first_party: true });
    expect((await strict.signIn(person)).claims()?.auth_time).toBeTypeOf('number');
    const brief = await registerRelyingParty(server, { default_max_age: 0, first_party: true });
    expect(errorOf(await brief.authorize(person, { prompt: 'none' }))).toBe('login_required');
  });

  it('id_token_hint: answers for that person alone', async () => {
    const { id_token } = await rp.signIn(person);
    const hint = { prompt: 'none', id_token_hint: id_token };
    expect((await rp.authorize(person, hint)).callback.searchParams.has('code')).toBe(true);
    const somebodyElse = await newPerson(server);
    await rp.signIn(somebodyElse);
    expect(errorOf(await rp.authorize(somebodyElse, hint))).toBe('login_required');
    expect(errorOf(await rp.authorize(person, { ...hint, id_token_hint: `${id_token}x` }))).toBe('invalid_request');
    const page = await somebodyElse.browser.go((await rp.begin({ id_token_hint: id_token })).url);
    expect(page.html).toContain('current-password');
  });

  it('id_token_hint: is good for as long as its key is there, whatever the client’s algorithm is now', async () => {
    const metadata = { redirect_uris: [redirectUri], first_party: true };
    const changing = await registerRelyingParty(server, { ...metadata, id_token_signed_response_alg: 'ES256' });
    const { id_token: id_token_hint } = await changing.signIn(person);
    await updateClient(server.database.db, operator, operatorPowers, changing.client.client_id, metadata, {
      validate: server.app.provider.validateClient,
      revokeGrants: revokeGrantsOf,
    });
    const { callback } = await changing.authorize(person, { prompt: 'none', id_token_hint });
    expect(callback.searchParams.has('code')).toBe(true);
  });
});

describe('the id_token (OpenID Connect Core section 2)', () => {
  it('says who, for whom and until when, and no more than that', async () => {
    const answer = await rp.authorize(person, { scope: 'openid profile email' });
    const { id_token } = await rp.redeem(answer);
    const claims = decodeJwt(id_token as string);
    expect(claims).toEqual({
      iss: server.issuer,
      sub: expect.stringMatching(/^[0-9a-f-]{36}$/),
      aud: rp.client.client_id,
      iat: expect.any(Number),
      exp: (claims.iat ?? 0) + 3600,
      ...{ acr: 'urn:countersign:acr:single-factor', amr: ['pwd'], auth_time: expect.any(Number) },
      nonce: answer.attempt.nonce,
      ...(claims.at_hash ? { at_hash: claims.at_hash } : {}),
    });
    expect(Math.abs((claims.iat ?? 0) - Date.now() / 1000)).toBeLessThan(30);
  });

  for (const alg of ['RS256', 'ES256', 'EdDSA']) {
    it(`is signed with ${alg} for a client that registered for it`, async () => {
      const other = await registerRelyingParty(server, { id_token_signed_response_alg: alg, first_party: true });
      const { id_token } = await other.signIn(person);
      expect(decodeProtectedHeader(id_token)).toEqual({ alg, kid: expect.any(String) });
    });
  }

  it('is RS256 unless the client registered for something else', async () => {
    expect(decodeProtectedHeader((await rp.signIn(person)).id_token).alg).toBe('RS256');
  });
});

describe('the claims parameter (OpenID Connect Core section 5.5)', () => {
  const ask = (claims: object) => ({ claims: JSON.stringify(claims) });

  it('puts claims into the id_token and into userinfo, where each was asked for', async () => {
    const claims = { id_token: { email: { essential: true } }, userinfo: { name: null } };
    const tokens = await rp.signIn(person, ask(claims));
    expect(decodeJwt(tokens.id_token)).toMatchObject({ email: person.email });
    expect(decodeJwt(tokens.id_token).name).toBeUndefined();
    const response = await fetch(`${server.issuer}/oauth/userinfo`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    expect(await response.json()).toEqual({ sub: tokens.claims()?.sub, name: 'Ada Lovelace' });
  });

  it('may ask for auth_time, and for a certain person by sub', async () => {
    const sub = (await rp.signIn(person)).claims()?.sub;
    const tokens = await rp.signIn(person, ask({ id_token: { auth_time: { essential: true }, sub: { value: sub } } }));
    expect(tokens.claims()?.auth_time).toBeTypeOf('number');
    const other = ask({ id_token: { sub: { value: '00000000-0000-7000-8000-000000000000' } } });
    expect(errorOf(await rp.authorize(person, { ...other, prompt: 'none' }))).toBe('login_required');
  });

  it('asks for consent to a claim that was not granted yet', async () => {
    const question = { prompt: 'none', ...ask({ userinfo: { phone_number: null } }) };
    expect(errorOf(await rp.authorize(person, question))).toBe('consent_required');
  });
});
