import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { type RelyingParty, relyingParty, signIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let app: RelyingParty;
let email: string;
beforeAll(async () => {
  server = await startServer();
  app = await relyingParty(server);
  email = await registerAccount(server);
});
afterAll(() => server.stop());

const isSignedIn = async (browser: Browser) => (await browser.go('/account')).url.pathname === '/account';

describe('cookies', () => {
  const attributes = (line: string) => line.toLowerCase().split('; ').slice(1);

  it('are HttpOnly and SameSite=Lax, and a session gets a new one at sign-in', async () => {
    const attacker = new Browser(server.issuer);
    await signIn(attacker, email);
    await attacker.go('/account');
    const planted = attacker.cookies.filter(({ name }) => name.startsWith('session'));
    await server.database.db('sessions').delete();
    const victim = new Browser(server.issuer);
    victim.cookies.push(...planted.map((cookie) => ({ ...cookie })));
    await signIn(victim, email);
    expect(await isSignedIn(victim)).toBe(true);
    const session = (browser: Browser) => browser.cookies.find(({ name }) => name === 'session')?.value;
    expect(session(victim)).toBeTruthy();
    expect(session(victim)).not.toBe(session(attacker));
    expect(await isSignedIn(attacker)).toBe(false);
    for (const line of victim.setCookies) {
      expect(attributes(line)).toEqual(expect.arrayContaining(['httponly', 'samesite=lax']));
      expect(attributes(line).some((item) => item.startsWith('domain='))).toBe(false);
    }
  });

  it('change at sign-in also where a session was there before', async () => {
    const browser = new Browser(server.issuer);
    await signIn(browser, email);
    const before = browser.cookies.find(({ name }) => name === 'session')?.value;
    const page = await browser.go(await app.url({ prompt: 'login' }));
    await browser.submit(page, { email, password });
    expect(browser.cookies.find(({ name }) => name === 'session')?.value).not.toBe(before);
  });
});

describe('behind TLS', () => {
  let secure: TestServer;
  beforeAll(async () => {
    secure = await startServer({ JWT_ISSUER: 'https://id.example' });
  });
  afterAll(() => secure.stop());

  it('every cookie is Secure and prefixed, and HSTS is sent', async () => {
    const address = await registerAccount(secure);
    const browser = new Browser(secure.issuer, secure.address);
    const page = await signIn(browser, address);
    expect(page.url.href).toBe(`https://id.example/account${page.url.search}`);
    expect(page.headers.get('strict-transport-security')).toMatch(/^max-age=\d{8}/);
    await browser.go('/?lang=de');
    const names = new Set(browser.setCookies.map((line) => line.slice(0, line.indexOf('='))));
    expect([...names].sort()).toEqual(
      expect.arrayContaining([
        '__Host-flow',
        '__Host-lang',
        '__Host-session',
        '__Secure-interaction',
        '__Secure-resume',
      ]),
    );
    for (const line of browser.setCookies) {
      expect(line).toMatch(/^__(Host|Secure)-/);
      expect(line.toLowerCase().split('; ')).toEqual(expect.arrayContaining(['secure', 'httponly', 'samesite=lax']));
      if (line.startsWith('__Host-')) expect(line).toMatch(/; path=\/(;|$)/i);
    }
  });
});
