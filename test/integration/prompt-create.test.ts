/** `prompt=create` (Initiating User Registration via OpenID Connect 1.0). */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, password } from '../support/browser.ts';
import { newPerson, type RelyingParty, registerRelyingParty, send } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
beforeAll(async () => {
  server = await startServer({ REGISTER_SIGNS_IN: 'true', REQUIRE_VERIFIED_EMAIL: 'false' });
  rp = await registerRelyingParty(server, { first_party: true });
});
afterAll(() => server.stop());

const register = async (browser: Browser, parameters = {}) => {
  const attempt = await rp.begin({ prompt: 'create', scope: 'openid email', ...parameters });
  const page = await browser.go(attempt.url);
  expect([page.status, page.url.pathname]).toEqual([200, '/register']);
  const email = `${uuid()}@example.com`;
  const next = await browser.submit(page, { name: 'Grace Hopper', email, password });
  // Whoever was signed in before is signed out first, on a page that goes on by itself.
  const { url: callback } = next.url.origin === server.issuer ? await browser.submit(next) : next;
  return { email, attempt, callback };
};

describe('prompt=create', () => {
  it('is advertised (section 3)', async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body.prompt_values_supported).toEqual(expect.arrayContaining(['none', 'login', 'consent', 'create']));
  });

  it('shows registration first, and ends at the application', async () => {
    const { attempt, callback } = await register(new Browser(server.issuer));
    expect((await rp.redeem({ attempt, callback })).claims()?.sub).toBeTruthy();
  });

  it('makes another account where somebody is signed in', async () => {
    const person = await newPerson(server);
    const before = (await rp.signIn(person)).claims()?.sub;
    const { attempt, callback } = await register(person.browser);
    const after = (await rp.redeem({ attempt, callback })).claims()?.sub;
    expect(after).toBeTruthy();
    expect(after).not.toBe(before);
  });

  it('lets whoever has an account after all sign in', async () => {
    const { browser, email } = await newPerson(server);
    const attempt = await rp.begin({ prompt: 'create' });
    const page = await browser.go(attempt.url);
    const href = /href="(\/interaction\/[^"]+)"/.exec(page.html)?.[1] as string;
    const { url: callback } = await browser.submit(await browser.go(href), { email, password });
    expect((await rp.redeem({ attempt, callback })).claims()?.sub).toBeTruthy();
  });

  it('cannot be combined with none', async () => {
    const { url } = await new Browser(server.issuer).go((await rp.begin({ prompt: 'none create' })).url);
    expect(url.searchParams.get('error')).toBe('invalid_request');
  });
});
