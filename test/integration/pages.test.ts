import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, formsOf, type Page, password, registerAccount } from '../support/browser.ts';
import { onPostgres } from '../support/database.ts';
import { relyingParty, signedIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let email: string;
beforeAll(async () => {
  server = await startServer();
  email = await registerAccount(server);
});
afterAll(() => server.stop());

const policy =
  "default-src 'none';script-src 'self';style-src 'self';img-src 'self' data:;base-uri 'none';frame-ancestors 'none'";

const checkHeaders = ({ headers, html }: Page) => {
  expect(Object.fromEntries(headers)).toMatchObject({
    // Where a passkey will do, the page's script asks this service for what to ask the browser.
    'content-security-policy': html.includes('data-passkey=') ? `${policy};connect-src 'self'` : policy,
    'referrer-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'cache-control': expect.stringContaining('no-store'),
    'content-type': 'text/html; charset=utf-8',
  });
  expect(headers.get('x-request-id')).toMatch(/^[\w.-]{8,64}$/);
  for (const name of ['server', 'x-powered-by', 'access-control-allow-origin']) expect(headers.get(name)).toBeNull();
};

/** Nothing is loaded from elsewhere, nothing is inline, and the page stays small. */
const checkHtml = (page: Page) => {
  // The mailbox shows the source of mails.
  const html = page.html.replace(/<pre\b[\s\S]*?<\/pre>/g, '');
  const loaded = [
    ...html.matchAll(/<(?:link|script|img|iframe|source|form|input)\b[^>]*?\s(?:src|href|action)="([^"]*)"/g),
  ];
  for (const [tag, address = ''] of loaded)
    expect([tag, new URL(address, server.issuer).origin]).toEqual([tag, server.issuer]);
  expect(html).not.toMatch(/<style\b|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)/i);
  expect(html).not.toMatch(/\b(undefined|\[object Object\]|NaN)\b/);
  expect(Buffer.byteLength(html)).toBeLessThan(20_000);
  expect(html).toMatch(/^<!doctype html>\n<html lang="[a-z]{2}" dir="(ltr|rtl)">/);
  expect(html).toMatch(/<title>[^<]+ · [^<]+<\/title>/);
};

describe('every page', () => {
  const pages: [string, (browser: Browser) => Promise<Page>][] = [
    ...['/', '/register', '/forgot', '/check-mail', '/check-mail?for=reset', '/verified', '/verify?token=x'],
    ...['/reset?token=x', '/setup?token=x', '/account', '/dev/mail', '/demo', '/nothing/here', '/interaction/unknown'],
    ...['/oauth/authorize', '/oauth/logout', '/oauth/logout/success', '/oauth/authorize?client_id=unknown'],
  ].map((path) => [path, (browser) => browser.go(path)]);
  pages.push(
    ['the account page, signed in', async () => (await signedIn(server, email)).go('/account')],
    ['the profile page', async () => (await signedIn(server, email)).go('/account/profile')],
    ['the change-password page', async () => (await signedIn(server, email)).go('/account/password')],
    ['the sign-out page', async () => (await signedIn(server, email)).go('/oauth/logout')],
    [
      'the consent page',
      async () =>
        (await signedIn(server, email)).go(await (await relyingParty(server, { client_name: 'Consent' })).url()),
    ],
  );
  for (const [name, open] of pages) {
    it(`has strict headers and loads nothing from elsewhere: ${name}`, async () => {
      const page = await open(new Browser(server.issuer));
      expect(page.status).toBeLessThan(500);
      checkHeaders(page);
      checkHtml(page);
    });
  }

  it('sends the same headers with a form that is refused', async () => {
    const browser = new Browser(server.issuer);
    const page = await browser.submit(await browser.go('/register'), { email: 'x' });
    expect(page.status).toBe(400);
    checkHeaders(page);
    checkHtml(page);
  });
});

describe('language', () => {
  const htmlOf = async (path: string, headers: Record<string, string> = {}, browser = new Browser(server.issuer)) => {
    const response = await browser.request(path, { headers });
    const html = await response.text();
    return { language: response.headers.get('content-language'), tag: /<html[^>]*>/.exec(html)?.[0] };
  };

  for (const [wanted, expected] of [
    ['de-AT,de;q=0.9,en;q=0.5', 'de'],
    ['xx, fr;q=0.5', 'fr'],
    ['xx', 'en'],
    ['*', 'en'],
    ['', 'en'],
    ['es;q=0.2, de;q=0.8', 'de'],
  ] as const) {
    it(`is ${expected} for Accept-Language "${wanted}"`, async () => {
      const { language, tag } = await htmlOf('/register', { 'accept-language': wanted });
      expect([language, tag]).toEqual([expected, `<html lang="${expected}" dir="ltr">`]);
    });
  }

  it('is chosen by ?lang, remembered in a cookie, and written right to left where it is', async () => {
    const browser = new Browser(server.issuer);
    const german = { 'accept-language': 'de' };
    expect((await htmlOf('/register?lang=ar', german, browser)).tag).toBe('<html lang="ar" dir="rtl">');
    expect((await htmlOf('/forgot', german, browser)).tag).toBe('<html lang="ar" dir="rtl">');
    expect((await htmlOf('/nothing', german, browser)).tag).toBe('<html lang="ar" dir="rtl">');
    expect((await htmlOf('/forgot?lang=fr', german, browser)).language).toBe('fr');
    expect(browser.setCookies.find((line) => line.startsWith('lang='))).toMatch(/httponly/i);
  });

  it('ignores one that there is not', async () => {
    for (const lang of ['xx', '../../etc', '<script>', 'en&lang=de']) {
      const browser = new Browser(server.issuer);
      const { tag } = await htmlOf(`/register?lang=${lang}`, {}, browser);
      expect(tag).toMatch(/lang="(en|de)"/);
      expect(browser.cookies.find(({ name }) => name === 'lang')).toBeUndefined();
    }
  });

  it('is what ui_locales says before what the browser says (OpenID Connect Core section 3.1.2.1)', async () => {
    const app = await relyingParty(server, { client_name: 'Polyglot' });
    const browser = new Browser(server.issuer);
    browser.headers['accept-language'] = 'de';
    const page = await browser.go(await app.url({ ui_locales: 'xx fr-CA ar' }));
    expect(page.html).toContain('<html lang="fr" dir="ltr">');
    const refused = await browser.submit(page, { email: 'a@example.com', password: 'x' });
    expect(refused.html).toContain('<html lang="fr" dir="ltr">');
  });

  it('links to the same page in the others', async () => {
    const page = await new Browser(server.issuer).go('/verify?token=x');
    expect(page.html).toContain('href="/verify?token=x&amp;lang=de"');
  });
});

describe('errors', () => {
  it('show a request id of our own for support, and echo the caller’s as what it is, if it is fit', async () => {
    const browser = new Browser(server.issuer);
    const given = 'trace-0123456789';
    const ask = async (name: string, id: string) => {
      const page = await browser.go('/nothing', { headers: { [name]: id } });
      const own = page.headers.get('x-request-id');
      expect(own).toMatch(/^[0-9a-f-]{36}$/);
      expect(page.html).toContain(`>${own}<`);
      return page;
    };
    for (const name of ['x-request-id', 'x-correlation-id']) {
      const page = await ask(name, given);
      expect([page.status, page.headers.get('x-correlation-id')]).toEqual([404, given]);
      expect(page.html).toContain(words('errors.notFound.title'));
      for (const unfit of ['short', 'x'.repeat(65), '<script>alert</script>', 'a b c d e f g h']) {
        const { headers, html } = await ask(name, unfit);
        expect(headers.get('x-correlation-id')).toBeNull();
        expect(html).not.toContain(unfit);
      }
    }
  });

  it('at REST and protocol addresses are JSON', async () => {
    for (const path of ['/oauth/nothing', '/.well-known/nothing', '/api/v1/nothing', '/auth/nothing']) {
      const response = await fetch(server.issuer + path, { headers: { accept: 'application/json' } });
      expect([path, response.status]).toEqual([path, 404]);
      expect(response.headers.get('content-type')).toMatch(/json/);
    }
  });

  it('never send a browser to an address that is not registered', async () => {
    const app = await relyingParty(server);
    const url = await app.url({ redirect_uri: 'https://app.example.com/callback2' });
    const page = await new Browser(server.issuer).go(url);
    expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
    expect(page.html).toContain(words('errors.invalidRedirect.title'));
    expect(page.html).not.toContain('href="https://app.example.com');
  });
});

describe('assets', () => {
  it('are cached for good under their hash, revalidated without it', async () => {
    const { html } = await new Browser(server.issuer).go('/');
    const address = /href="(\/assets\/styles\.css\?v=[^"]+)"/.exec(html)?.[1] as string;
    const asset = await fetch(server.issuer + address);
    expect(Object.fromEntries(asset.headers)).toMatchObject({
      'cache-control': 'public, max-age=31536000, immutable',
      'content-type': 'text/css; charset=utf-8',
      'x-content-type-options': 'nosniff',
      etag: expect.stringMatching(/^"[\w-]{16}"$/),
    });
    const bare = await fetch(`${server.issuer}/assets/styles.css`);
    expect(bare.headers.get('cache-control')).toBe('no-cache');
    const again = await fetch(`${server.issuer}/assets/styles.css`, {
      headers: { 'if-none-match': bare.headers.get('etag') as string, 'cache-control': 'max-age=0' },
    });
    expect([again.status, await again.text()]).toEqual([304, '']);
    const head = await fetch(server.issuer + address, { method: 'HEAD' });
    expect([head.status, Number(head.headers.get('content-length'))]).toEqual([
      200,
      (await asset.arrayBuffer()).byteLength,
    ]);
  });

  for (const path of [
    'nothing.css',
    '../package.json',
    '%2e%2e/package.json',
    '..%2fpackage.json',
    'locales/en.json',
    'layout.eta',
    '__proto__',
    '%',
    '%ff',
  ])
    it(`are those alone: ${path}`, async () => {
      const { status } = await fetch(`${server.issuer}/assets/${path}`);
      expect([400, 404]).toContain(status);
    });

  it("hold a client's look, and nothing for others", async () => {
    const themed = await server.client({
      client_name: 'Themed',
      redirect_uris: ['https://app.example.com/callback'],
      theme: { accent: '#aa0044' },
    });
    const css = async (id: string) => {
      const response = await fetch(`${server.issuer}/assets/client-theme.css?client=${id}`);
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/css; charset=utf-8']);
      return response.text();
    };
    expect(await css(themed.client_id)).toBe(':root{--accent:#aa0044}');
    expect([await css('nobody'), await css(''), await css('a&client=b')]).toEqual(['', '', '']);
  });
});

describe('the development mailbox', () => {
  it('shows mails to people and to programs', async () => {
    await server.mail(email);
    const response = await fetch(`${server.issuer}/dev/mail.json`);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    const mails = (await response.json()) as Record<string, unknown>[];
    const mail = mails.find(({ to, links }) => to === email && /verify/.test(String(links))) as Record<string, unknown>;
    expect(Object.keys(mail).sort()).toEqual(['html', 'links', 'subject', 'text', 'to']);
    expect(mail.links).toEqual([expect.stringMatching(`^${server.issuer}/verify\\?token=[\\w-]{43}$`)]);
    expect((await new Browser(server.issuer).go('/dev/mail')).html).toContain(email);
  });
});

describe('the demo', () => {
  it('signs in, shows claims, calls userinfo, refreshes and signs out', async () => {
    const browser = new Browser(server.issuer);
    const home = await browser.go('/demo');
    const href = /href="(\/demo\/sign-in)"/.exec(home.html)?.[1] as string;
    const consent = await browser.submit(await browser.go(href), { email, password });
    expect(consent.html).toContain('Demo app');
    const landed = await browser.submit(consent);
    expect([landed.status, landed.url.pathname]).toEqual([200, '/demo']);
    expect(landed.html).toContain('nonce');
    expect(formsOf(landed.html).map(({ action }) => action)).toEqual(
      expect.arrayContaining(['/demo/userinfo', '/demo/refresh', '/demo/sign-out']),
    );
    checkHeaders(landed);

    const userinfo = await browser.submit(landed, {}, '/demo/userinfo');
    expect(userinfo.html).toContain(email);
    const refreshed = await browser.submit(userinfo, {}, '/demo/refresh');
    expect(refreshed.html).toContain(words('notices.tokensRefreshed'));
    const asked = await browser.submit(refreshed, {}, '/demo/sign-out');
    expect(asked.url.pathname).toBe('/oauth/logout');
    expect(asked.html).toContain(email);
    const out = await browser.submit(asked, { logout: 'yes' });
    expect([out.url.pathname, formsOf(out.html).length]).toEqual(['/demo', 0]);
    expect((await browser.go('/account')).url.pathname).toMatch(/^\/interaction\//);
  });

  it('takes no answer that it did not ask for', async () => {
    const browser = new Browser(server.issuer);
    expect((await browser.go('/demo/callback?code=x&state=y')).url.pathname).toBe('/demo');
    await browser.request('/demo/sign-in');
    const page = await browser.go(`/demo/callback?code=x&state=wrong&iss=${server.issuer}`);
    expect(page.status).toBe(400);
  });
});

describe.runIf(onPostgres)('in production', () => {
  let production: TestServer;
  beforeAll(async () => {
    production = await startServer({
      NODE_ENV: 'production',
      DATABASE_URL: 'postgres://unused.example/unused',
      OUTBOUND_ALLOW: '',
      ENCRYPTION_MASTER_KEY: 'Zq3vXo8Jt1LwYc5RkU7bNf0HsGd2MaEp9',
    });
  });
  afterAll(() => production.stop());

  it('there is no mailbox, no demo and no word of development', async () => {
    for (const path of ['/dev/mail', '/dev/mail.json', '/demo', '/demo/sign-in'])
      expect([path, (await fetch(production.issuer + path)).status]).toEqual([path, 404]);
    const home = await new Browser(production.issuer).go('/');
    expect(home.status).toBe(200);
    expect(home.html).not.toMatch(/\/demo|\/dev|Development mode/);
    expect(await production.database.db('clients').where({ clientId: 'countersign-demo' })).toHaveLength(0);
  });
});
