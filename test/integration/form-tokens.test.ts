/** Forms: every one of ours has a token of the browser that it was shown to, and nothing is taken without it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFormTokens } from '../../interactions/form-tokens.ts';
import { createViews } from '../../interactions/views.ts';
import { createSecrets } from '../../src/secrets.ts';
import { renderSample, samples } from '../e2e/gallery.ts';
import { Browser, formsOf, password, registerAccount } from '../support/browser.ts';
import { relyingParty, signIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

describe('every page of the gallery', () => {
  const views = createViews({ brand: 'Countersign' });
  const device = 'a device cookie';
  const tokens = createFormTokens(createSecrets('a key for this test alone'), {
    device: () => device,
    hasDevice: () => true,
    rememberDevice: () => {},
  });

  /** Forms whose answer goes to an application, and those of the engine, which have a token of its own. */
  const isElsewhere = (action: string) => /^https?:\/\//.test(action);

  it('has the token in each form that changes something', () => {
    let forms = 0;
    for (const sample of samples) {
      const html = tokens.sign({} as never, renderSample(views, sample));
      const opened = html.match(/<form\b/g)?.length ?? 0;
      expect([sample.view, html.match(/<form\b[^>]*\smethod="post"/g)?.length ?? 0]).toEqual([sample.view, opened]);
      for (const { action, token, fields } of formsOf(html)) {
        forms++;
        const expected = isElsewhere(action) ? undefined : expect.stringMatching(/^[\w-]{43}$/);
        expect([sample.view, sample.state, action, token]).toEqual([sample.view, sample.state, action, expected]);
        expect(Object.keys(fields)).not.toContain('csrf');
      }
    }
    expect(forms).toBeGreaterThan(50);
  });

  it('shows no token to an application', () => {
    const html = `<form method="post" action="https://app.example.com/"></form><form method="post" action="//evil.example/"></form>`;
    expect(tokens.sign({} as never, html)).toBe(html);
  });
});

describe('a form', () => {
  let server: TestServer;
  let email: string;
  beforeAll(async () => {
    server = await startServer();
    email = await registerAccount(server);
  });
  afterAll(() => server.stop());

  const send = (browser: Browser, path: string, fields: Record<string, string>) =>
    browser.request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
      body: new URLSearchParams(fields),
    });
  const tokenOf = async (browser: Browser, path = '/forgot') => {
    const [form] = formsOf((await browser.go(path)).html);
    return form?.token as string;
  };

  for (const { name, token } of [
    { name: 'without a token', token: () => undefined },
    { name: 'with an empty token', token: () => '' },
    { name: 'with a token that is made up', token: () => 'a'.repeat(43) },
    { name: 'with the token of another browser', token: () => tokenOf(new Browser(server.issuer)) },
  ]) {
    it(`${name} is refused and changes nothing`, async () => {
      const browser = new Browser(server.issuer);
      await signIn(browser, email);
      const given = await token();
      const csrf: Record<string, string> = given === undefined ? {} : { csrf: given };
      for (const [path, fields] of [
        ['/account/profile', { name: 'Eve' }],
        ['/account/sessions/end-others', {}],
        ['/forgot', { email }],
      ] as const) {
        const response = await send(browser, path, { ...fields, ...csrf });
        expect([path, response.status]).toEqual([path, 403]);
        expect(await response.text()).toContain(words('errors.crossSite.title'));
      }
      const user = await server.database.db('users').where({ email }).first('name');
      expect(user.name).toBe('Ada Lovelace');
    });
  }

  it('login CSRF: a stranger’s token does not sign a victim in to the stranger’s account', async () => {
    const app = await relyingParty(server);
    const [victim, attacker] = [new Browser(server.issuer), new Browser(server.issuer)];
    const page = await victim.go(await app.url());
    const csrf = await tokenOf(attacker);
    expect((await send(victim, page.url.pathname, { email, password, csrf })).status).toBe(403);
    // The victim's own cookie with the attacker's token, and the other way round.
    expect((await send(victim, page.url.pathname, { email, password })).status).toBe(403);
    const own = formsOf(page.html)[0]?.token as string;
    expect((await send(victim, page.url.pathname, { email, password, csrf: own })).status).toBe(303);
  });

  it('keeps its token over pages, sign-ins and languages, so that an old tab still works', async () => {
    const browser = new Browser(server.issuer);
    const before = await tokenOf(browser);
    await signIn(browser, email);
    expect(await tokenOf(browser, '/forgot?lang=de')).toBe(before);
    expect(await tokenOf(browser, '/account/password')).toBe(before);
  });

  it('of a browser without cookies is refused, and told in words', async () => {
    const browser = new Browser(server.issuer);
    const csrf = await tokenOf(browser);
    browser.cookies.splice(0);
    const response = await send(browser, '/forgot', { email, csrf });
    expect([response.status, (await response.text()).includes(words('errors.crossSite.title'))]).toEqual([403, true]);
  });

  it('gives nothing away: its token is another one in each browser, and no cookie can be made from it', async () => {
    const [one, other] = [new Browser(server.issuer), new Browser(server.issuer)];
    const token = await tokenOf(one);
    expect(token).not.toBe(await tokenOf(other));
    const forged = new Browser(server.issuer);
    forged.cookies.push({ name: 'device', value: token, path: '/' });
    expect((await send(forged, '/forgot', { email, csrf: token })).status).toBe(403);
  });
});
