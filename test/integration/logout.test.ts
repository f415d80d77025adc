/** RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf, type Page } from '../support/browser.ts';
import {
  elsewhere,
  errorOf,
  expectErrorPage,
  newPerson,
  type Person,
  postLogoutRedirectUri,
  type RelyingParty,
  registerRelyingParty,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let account: Person;
beforeAll(async () => {
  server = await startServer();
  rp = await registerRelyingParty(server, { first_party: true });
  account = await newPerson(server);
});
afterAll(() => server.stop());

/** Somebody signed in, on a device of their own. */
const signedIn = async () => {
  const person = elsewhere(account);
  return { person, ...(await rp.signIn(person)) };
};

const open = ({ browser }: Person, parameters: Record<string, string>): Promise<Page> =>
  browser.go(`/oauth/logout?${new URLSearchParams(parameters)}`);

const isSignedIn = async (person: Person): Promise<boolean> => {
  const attempt = await rp.begin({ prompt: 'none' });
  const { url } = await person.browser.go(attempt.url);
  if (url.searchParams.has('code')) return true;
  expect(errorOf({ attempt, callback: url })).toBe('login_required');
  return false;
};

describe('logout', () => {
  it('asks, ends the session, and returns to the registered URI with the state', async () => {
    const { person, id_token } = await signedIn();
    const page = await open(person, {
      id_token_hint: id_token,
      post_logout_redirect_uri: postLogoutRedirectUri,
      state: 'a b&c',
    });
    expect([page.status, page.headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(await isSignedIn(person)).toBe(true);
    const { url } = await person.browser.submit(page, { logout: 'yes' });
    expect(`${url.origin}${url.pathname}`).toBe(postLogoutRedirectUri);
    expect([...url.searchParams]).toEqual([['state', 'a b&c']]);
    expect(await isSignedIn(person)).toBe(false);
    expect(person.browser.cookies.map(({ name }) => name)).not.toContain('session');
  });

  it('ends the session at the service even if the old cookie is kept', async () => {
    const { person } = await signedIn();
    const kept = [...person.browser.cookies];
    await person.browser.submit(await open(person, {}), { logout: 'yes' });
    person.browser.cookies.splice(0, Infinity, ...kept);
    expect(await isSignedIn(person)).toBe(false);
  });

  it('returns there by client_id without a hint, and says goodbye itself without either', async () => {
    const [one, two] = [await signedIn(), await signedIn()];
    const page = await open(one.person, {
      client_id: rp.client.client_id,
      post_logout_redirect_uri: postLogoutRedirectUri,
    });
    expect((await one.person.browser.submit(page, { logout: 'yes' })).url.href).toBe(postLogoutRedirectUri);
    const goodbye = await two.person.browser.submit(
      await open(two.person, { post_logout_redirect_uri: postLogoutRedirectUri, state: 'x' }),
      { logout: 'yes' },
    );
    expect([goodbye.status, goodbye.url.origin]).toEqual([200, server.issuer]);
    expect(await isSignedIn(two.person)).toBe(false);
  });

  it('may be posted, and nothing of it appears in a URL', async () => {
    const { person, id_token } = await signedIn();
    const response = await person.browser.request('/oauth/logout', {
      method: 'POST',
      headers: { origin: 'https://app.example.com' },
      body: new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: postLogoutRedirectUri }),
    });
    expect(response.status).toBe(303);
    const location = response.headers.get('location') as string;
    expect(location).not.toContain(id_token.slice(0, 20));
    const { url } = await person.browser.submit(await person.browser.go(location), { logout: 'yes' });
    expect(url.href).toBe(postLogoutRedirectUri);
  });

  it('can be declined: the person stays signed in and is still sent back', async () => {
    const { person, id_token } = await signedIn();
    const page = await open(person, { id_token_hint: id_token, post_logout_redirect_uri: postLogoutRedirectUri });
    expect((await person.browser.submit(page)).url.href).toBe(postLogoutRedirectUri);
    expect(await isSignedIn(person)).toBe(true);
  });

  it('takes an id_token that has expired as a hint, and one of another session', async () => {
    const { id_token } = await signedIn();
    const { person } = await signedIn();
    const page = await open(person, { id_token_hint: id_token, post_logout_redirect_uri: postLogoutRedirectUri });
    expect(page.status).toBe(200);
    expect((await person.browser.submit(page, { logout: 'yes' })).url.href).toBe(postLogoutRedirectUri);
  });

  it('of somebody who is not signed in needs no confirmation', async () => {
    const { person, id_token } = await signedIn();
    await person.browser.submit(await open(person, {}), { logout: 'yes' });
    const page = await open(person, { id_token_hint: id_token, post_logout_redirect_uri: postLogoutRedirectUri });
    expect(formsOf(page.html)[0]?.fields.logout).toBe('yes');
    expect((await person.browser.submit(page)).url.href).toBe(postLogoutRedirectUri);
  });

  it('asks in the language of ui_locales', async () => {
    const { person } = await signedIn();
    expect((await open(person, { ui_locales: 'de' })).html).toMatch(/<html[^>]* lang="de"/);
  });

  it('is sent only by our own page: without its secret nothing ends', async () => {
    const { person } = await signedIn();
    for (const body of ['logout=yes', 'logout=yes&xsrf=x', 'logout=yes&xsrf=']) {
      await open(person, {});
      const page = await person.browser.go('/oauth/logout/confirm', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body,
      });
      expect(page.status).toBe(400);
    }
    expect(await isSignedIn(person)).toBe(true);
  });
});

describe('logout refuses, on a page that leads nowhere', () => {
  const uris: [name: string, uri: string][] = [
    ['one character more', `${postLogoutRedirectUri}x`],
    ['one character less', postLogoutRedirectUri.slice(0, -1)],
    ['a slash', `${postLogoutRedirectUri}/`],
    ['a query', `${postLogoutRedirectUri}?x`],
    ['another host', 'https://evil.example/bye'],
    ['a redirect URI of signing in', 'https://app.example.com/callback'],
  ];
  for (const [name, uri] of uris) {
    it(`a post_logout_redirect_uri with ${name}, by GET and POST`, async () => {
      const { person, id_token } = await signedIn();
      const parameters = { id_token_hint: id_token, post_logout_redirect_uri: uri };
      const pages = [
        await open(person, parameters),
        await person.browser.go('/oauth/logout', { method: 'POST', body: new URLSearchParams(parameters) }),
        await open(person, { client_id: rp.client.client_id, post_logout_redirect_uri: uri }),
      ];
      for (const page of pages) {
        expectErrorPage(page, server.issuer, [400, 'invalid_request']);
        expect(page.html).not.toContain('href="https://');
      }
      expect(await isSignedIn(person)).toBe(true);
    });
  }

  it('a hint that is none, changed, or of another client', async () => {
    const { person, id_token } = await signedIn();
    const other = await registerRelyingParty(server);
    const [header, payload] = id_token.split('.');
    for (const [parameters, code] of [
      [{ id_token_hint: 'x' }, 'invalid_request'],
      [{ id_token_hint: `${header}.${payload}.x` }, 'invalid_request'],
      [{ id_token_hint: `${header}.${payload}.` }, 'invalid_request'],
      [{ id_token_hint: unsigned({ aud: rp.client.client_id, iss: server.issuer }) }, 'invalid_request'],
      [{ id_token_hint: unsigned({ aud: 'nobody' }) }, 'invalid_client'],
      [{ id_token_hint: unsigned({ aud: '\0' }) }, 'invalid_client'],
      [{ id_token_hint: id_token, client_id: other.client.client_id }, 'invalid_request'],
      [{ client_id: 'nobody' }, 'invalid_client'],
      [{ client_id: '\0' }, 'invalid_request'],
    ] as [Record<string, string>, string][]) {
      expectErrorPage(await open(person, parameters), server.issuer, [400, code]);
    }
    expect(await isSignedIn(person)).toBe(true);
  });

  it('a parameter twice, and too much', async () => {
    const { person } = await signedIn();
    const twice = await person.browser.go('/oauth/logout?state=a&state=b');
    expectErrorPage(twice, server.issuer, [400, 'invalid_request']);
    const body = new URLSearchParams({ state: 'x'.repeat(60_000) });
    const large = await person.browser.go('/oauth/logout', { method: 'POST', body });
    expectErrorPage(large, server.issuer, [413, 'request_too_large']);
  });
});

const unsigned = (payload: object): string =>
  [{ alg: 'none' }, payload].map((part) => `${Buffer.from(JSON.stringify(part)).toString('base64url')}.`).join('');
