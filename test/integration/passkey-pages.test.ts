/** Passkeys on the pages: signing in at one sign-in, in one browser, as one person; and what the account page does. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, formsOf, type Page } from '../support/browser.ts';
import { newPerson, type Person, type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { SecurityKey } from '../support/security-key.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let acme: RelyingParty;
beforeAll(async () => {
  server = await startServer();
  acme = await registerRelyingParty(server, { first_party: true });
});
afterAll(() => server.stop());

const path = '/account/passkeys';

/** What the page's script asks for. */
const optionsAt = async (browser: Browser, href: string) => {
  const response = await browser.request(href, { headers: { accept: 'application/json' } });
  expect(response.status).toBe(200);
  // biome-ignore lint/suspicious/noExplicitAny: what the service answers is what is tested
  return response.json() as Promise<any>;
};
const optionsOf = ({ url }: Page, browser: Browser) => optionsAt(browser, `${url.pathname}/passkey`);

const post = (browser: Browser, page: Page, credential: object) =>
  browser.submit(page, { passkey: JSON.stringify(credential) }, page.url.pathname);

/** Somebody who has added a passkey on the account page, with the browser that they did so in. */
const owner = async (key = new SecurityKey(server.issuer)): Promise<Person & { key: SecurityKey }> => {
  const person = await newPerson(server);
  const { browser, email } = person;
  let page = await browser.go(path);
  page = await browser.submit(page, { email, password: 'correct horse battery staple' });
  expect(page.url.pathname).toBe(path);
  const options = await optionsAt(browser, `${path}/options`);
  const credential = JSON.stringify(key.create(options));
  page = await browser.submit(page, { name: 'My key', passkey: credential }, path);
  expect([page.status, page.html.includes('backup codes')]).toEqual([200, true]);
  return { ...person, key };
};

const signInPage = async (browser: Browser, parameters: Record<string, string> = {}) => {
  const attempt = await acme.begin(parameters);
  return { attempt, page: await browser.go(attempt.url) };
};

describe('signing in with a passkey on the page', () => {
  it('ends at the application, which is told how', async () => {
    const { key } = await owner();
    const browser = new Browser(server.issuer);
    const { attempt, page } = await signInPage(browser);
    const options = await optionsOf(page, browser);
    expect(options.allowCredentials).toBeUndefined();
    const { url: callback } = await post(browser, page, key.get(options));
    const { id_token = '' } = await acme.redeem({ attempt, callback });
    const claims = decodeJwt(id_token);
    expect(claims).toMatchObject({ amr: ['pop', 'user', 'mfa'], acr: 'urn:countersign:acr:phishing-resistant' });
  });

  it('satisfies an application that asks for a passkey', async () => {
    const { key } = await owner();
    const browser = new Browser(server.issuer);
    const asked = { acr_values: 'urn:countersign:acr:phishing-resistant' };
    const { attempt, page } = await signInPage(browser, asked);
    const { url: callback } = await post(browser, page, key.get(await optionsOf(page, browser)));
    const { id_token = '' } = await acme.redeem({ attempt, callback });
    expect(decodeJwt(id_token).acr).toBe('urn:countersign:acr:phishing-resistant');
  });

  it('refuses an answer that was asked for in another browser, at another sign-in, or over REST', async () => {
    const { key } = await owner();
    const [mine, theirs] = [new Browser(server.issuer), new Browser(server.issuer)];
    const [here, there] = [await signInPage(mine), await signInPage(theirs)];
    const rest = await fetch(`${server.address}/auth/passkey/options`, { method: 'POST' });
    for (const options of [await optionsOf(there.page, theirs), ((await rest.json()) as { options: object }).options]) {
      const page = await post(mine, here.page, key.get(options));
      expect([page.status, page.html.includes('This passkey could not sign you in')]).toEqual([401, true]);
    }
    // Nor over REST what was asked for on a page.
    const credential = key.get(await optionsOf(here.page, mine));
    const answer = await fetch(`${server.address}/auth/passkey/verify`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ credential }),
    });
    expect(answer.status).toBe(401);
    expect((await post(mine, here.page, credential)).url.origin).toBe('https://app.example.com');
  });

  it('login CSRF: refuses a form that another site sends, and one without the browser’s token', async () => {
    const { key } = await owner();
    const browser = new Browser(server.issuer);
    const { page } = await signInPage(browser);
    const passkey = JSON.stringify(key.get(await optionsOf(page, browser)));
    const csrf = formsOf(page.html)[0]?.token ?? '';
    const send = (headers: Record<string, string>, fields: Record<string, string>) =>
      browser.request(page.url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: new URLSearchParams(fields),
      });
    const own = { origin: server.issuer };
    expect((await send({ origin: 'https://evil.example' }, { passkey, csrf })).status).toBe(403);
    expect((await send({ ...own, 'sec-fetch-site': 'cross-site' }, { passkey, csrf })).status).toBe(403);
    expect((await send(own, { passkey, csrf: 'x' })).status).toBe(403);
    expect((await send(own, { passkey, csrf })).status).toBe(303);
  });

  it('takes only a passkey of whoever is asked to show once more that it is they', async () => {
    const person = await owner();
    const other = await owner();
    const { browser } = person;
    for (const asked of [{ prompt: 'login' }, { max_age: '0' }] as Record<string, string>[]) {
      const { page } = await signInPage(browser, asked);
      const options = await optionsOf(page, browser);
      expect(options.allowCredentials).toEqual([
        expect.objectContaining({ id: person.key.credentialId.toString('base64url') }),
      ]);
      expect((await post(browser, page, other.key.get(options))).status).toBe(401);
      const before = Math.floor(Date.now() / 1000);
      const { attempt, page: again } = await signInPage(browser, asked);
      const callback = (await post(browser, again, person.key.get(await optionsOf(again, browser)))).url;
      const { id_token = '' } = await acme.redeem({ attempt, callback });
      expect(Number(decodeJwt(id_token).auth_time)).toBeGreaterThanOrEqual(before);
    }
  });

  it('does not sign in whom the application did not mean', async () => {
    const { key } = await owner();
    const { id_token } = await acme.signIn(await newPerson(server));
    const meant = { id_token: { sub: { value: decodeJwt(id_token).sub } } };
    const browser = new Browser(server.issuer);
    const { page } = await signInPage(browser, { claims: JSON.stringify(meant) });
    const { url } = await post(browser, page, key.get(await optionsOf(page, browser)));
    expect(url.searchParams.get('code')).toBeNull();
  });

  for (const [name, passkey] of [
    ['no JSON', '{'],
    ['something else', '{"id":1}'],
    ['too much', `"${'x'.repeat(30_000)}"`],
    ['nothing', ''],
  ] as const)
    it(`answers ${name} with the page`, async () => {
      const browser = new Browser(server.issuer);
      const { page } = await signInPage(browser);
      const answer = await browser.submit(page, { passkey }, page.url.pathname);
      expect([answer.status, answer.html.includes('could not sign you in')]).toEqual([401, true]);
    });
});

describe('the passkeys of an account', () => {
  it('are shown, renamed and removed by their owner alone', async () => {
    const person = await owner();
    const other = await owner();
    const { browser, key } = person;
    // The session began with a password alone: now it has to be as strong as the account.
    let page = await browser.go(path);
    expect([page.html.includes('My key'), page.html.includes('Confirm that it is you')]).toEqual([true, true]);
    const confirm = /href="([^"]*acr_values[^"]*)"/.exec(page.html)?.[1]?.replaceAll('&amp;', '&') ?? '';
    page = await browser.go(confirm.replaceAll('&#38;', '&'));
    const asked = await optionsOf(page, browser);
    page = await post(browser, page, key.get(asked));
    expect(page.url.pathname).toBe(path);
    const id = /name="id" value="([^"]+)"/.exec(page.html)?.[1] ?? '';
    page = await browser.submit(page, { id, name: '  Blue key ' }, '/rename');
    expect([page.url.pathname, page.html.includes('Blue key')]).toEqual([path, true]);
    const bad = await browser.submit(page, { id, name: 'a\u0007' }, '/rename');
    expect(bad.status).toBe(400);
    const theirs = await server.database
      .db('passkeys')
      .join('users', 'users.id', 'passkeys.userId')
      .where({ email: other.email })
      .first('passkeys.id');
    expect((await browser.submit(page, { id: theirs.id, name: 'Mine' }, '/rename')).status).toBe(404);
    expect((await browser.go(`${path}/${theirs.id}/remove`)).status).toBe(404);
    expect((await browser.go(`${path}/x/remove`)).status).toBe(404);
    page = await browser.go(`${path}/${id}/remove`);
    expect(page.html).toContain('the last factor of your account');
    expect((await browser.submit(page, { id: theirs.id }, '/remove')).status).toBe(404);
    page = await browser.submit(page, {}, '/remove');
    expect([page.url.pathname, page.html.includes('You have no passkey yet')]).toEqual([path, true]);
  });

  it('are not changed by a session that was left open', async () => {
    const { browser } = await owner();
    const page = await browser.go(path);
    expect(formsOf(page.html).some(({ action }) => action.startsWith(path))).toBe(false);
    const options = await browser.request(`${path}/options`);
    expect(options.status).toBe(303);
    const csrf = browser.formToken ?? '';
    const response = await browser.request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
      body: new URLSearchParams({ csrf, name: 'x', passkey: '{}' }),
    });
    expect(response.status).toBe(403);
  });
});
