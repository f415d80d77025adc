/** Identity providers in a real Chromium: the peers are another site to it, so that every cookie on the way is a real one. */
import type { Browser, Page, Request } from 'playwright-core';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { type Application, axe, launchChromium, overflow, startApplication, watch } from '../support/chromium.ts';
import { administrator, connectPeer } from '../support/federation.ts';
import { registerRelyingParty } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { startApple } from '../support/upstreams/apple.ts';
import { startFacebook } from '../support/upstreams/facebook.ts';
import { startGitHub } from '../support/upstreams/github.ts';
import { startGoogle } from '../support/upstreams/google.ts';
import { companyTenant, startMicrosoft } from '../support/upstreams/microsoft.ts';
import type { Account, Peer } from '../support/upstreams/peer.ts';

let server: TestServer;
/** Another instance of ours, on another site, that is the upstream. */
let upstream: TestServer;
let browser: Browser;
let application: Application;
let peers: Record<'Google' | 'GitHub' | 'Facebook' | 'Microsoft' | 'Apple', Peer>;

beforeAll(async () => {
  [server, upstream, browser, application] = await Promise.all([
    startServer(),
    startServer({}, { host: '127.0.0.1' }),
    launchChromium(),
    startApplication(),
  ]);
  const [Google, GitHub, Facebook, Microsoft, Apple] = await Promise.all([
    startGoogle([]),
    startGitHub([]),
    startFacebook([]),
    startMicrosoft([]),
    startApple([]),
  ]);
  peers = { Google, GitHub, Facebook, Microsoft, Apple };
  await connectPeer(server, Google, 'google');
  await connectPeer(server, GitHub, 'github');
  await connectPeer(server, Facebook, 'facebook');
  await connectPeer(server, Microsoft, 'microsoft');
  await connectPeer(server, Apple, 'apple');
  const client = await upstream.client({
    client_name: 'Downstream',
    redirect_uris: [`${server.issuer}/auth/social/acme/callback`],
  });
  const caller = await administrator(server);
  const { status, text } = await caller.request('POST', '/identity-providers', {
    id: 'acme',
    preset: 'oidc',
    name: 'Acme',
    issuer: upstream.issuer,
    client_id: client.client_id,
    client_secret: client.client_secret,
    token_endpoint_auth_method: 'client_secret_basic',
    trust_email: true,
  });
  expect([status, text]).toEqual([201, text]);
});
afterAll(async () => {
  await browser?.close();
  await Promise.all(Object.values(peers ?? {}).map((peer) => peer.stop()));
  await application?.stop();
  await upstream?.stop();
  await server?.stop();
});

const soon = { timeout: 20_000 };

let people = 0;
const accounts: Record<keyof typeof peers, (email: string) => Account> = {
  Google: (email) => ({ login: email, id: `1${++people}`, email, verified: true, name: 'Ada Lovelace' }),
  GitHub: (email) => ({
    login: `octo-${++people}`,
    id: String(people),
    name: 'The Octocat',
    extra: { emails: [{ email, verified: true, primary: true }] },
  }),
  Facebook: (email) => ({ login: email, id: String(10 ** 16 + ++people), email, name: 'Grace Hopper' }),
  Microsoft: (email) => ({
    login: email,
    id: uuid(),
    email,
    name: 'Alan Turing',
    extra: { tid: companyTenant, sub: `s${++people}` },
  }),
  Apple: (email) => ({ login: email, id: `001.${++people}`, email, verified: true, name: 'Ada Lovelace' }),
};

const newcomer = (name: keyof typeof peers, email = `${uuid()}@example.com`) => {
  const account = accounts[name](email);
  peers[name].accounts.push(account);
  return { email, account };
};

const open = async (options: Parameters<Browser['newContext']>[0] = {}) => {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(soon.timeout);
  const origins = [
    server.issuer,
    upstream.issuer,
    application.origin,
    ...Object.values(peers).map(({ origin }) => origin),
  ];
  const found = watch(context, origins);
  return { context, page: await context.newPage(), found };
};

const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
const path = (page: Page) => new URL(page.url()).pathname;
const arrives = async (page: Page, expected: string) => {
  await expect.poll(() => `${new URL(page.url()).origin}${path(page)}`, soon).toBe(`${server.issuer}${expected}`);
  await page.waitForLoadState();
};

/** Presses the button, and signs in there. */
const goThrough = async (page: Page, name: keyof typeof peers, login: string) => {
  await press(page, `Continue with ${name}`);
  await page.getByRole('heading', { name: `Sign in to ${name}` }).waitFor();
  await page.locator('[name=login]').fill(login);
  await press(page, 'Continue');
};

const signOut = async (page: Page) => {
  await page.goto(`${server.issuer}/oauth/logout`);
  await page.locator('button[name=logout]').click();
};

const identities = async (email: string) =>
  server.database
    .db('identities')
    .join('users', 'users.id', 'userId')
    .where({ 'users.email': email })
    .select('providerId');

describe('each provider', () => {
  const rows = [
    { name: 'Google', proves: true, javaScriptEnabled: true },
    { name: 'GitHub', proves: true, javaScriptEnabled: true },
    { name: 'Apple', proves: true, javaScriptEnabled: true },
    { name: 'Apple', proves: true, javaScriptEnabled: false },
    { name: 'Facebook', proves: false, javaScriptEnabled: true },
    { name: 'Microsoft', proves: false, javaScriptEnabled: true },
  ] as const;
  it.each(rows)(
    '$name signs up, and in again (scripts: $javaScriptEnabled)',
    async ({ name, proves, javaScriptEnabled }) => {
      const { context, page, found } = await open({ javaScriptEnabled });
      const { email, account } = newcomer(name);
      const through = async () => {
        await page.goto(`${server.issuer}/account`);
        await goThrough(page, name, account.login);
        if (!javaScriptEnabled && name === 'Apple') await press(page, 'Continue');
      };
      await through();
      if (!proves) {
        await arrives(page, '/check-mail');
        const { links } = await server.mail(email);
        await page.goto(links.find((link) => link.includes('/verify')) as string);
        await page.locator('form[action$="/verify"] button').first().click();
        await expect
          .poll(
            async () => (await server.database.db('users').where({ email }).first('emailVerifiedAt')).emailVerifiedAt,
            soon,
          )
          .not.toBeNull();
        await through();
      }
      await arrives(page, '/account');
      expect(await page.content()).toContain(email);
      await page.goto(`${server.issuer}/account/linked`);
      expect(await page.getByText(name, { exact: true }).first().isVisible()).toBe(true);
      // The only way in: it can't be taken away.
      expect(await page.getByRole('button', { name: /^Unlink/ }).count()).toBe(0);
      await signOut(page);
      await through();
      await arrives(page, '/account');
      expect(await identities(email)).toHaveLength(1);
      expect(found).toEqual([]);
      await context.close();
    },
  );

  it('Apple’s form comes from another site without cookies, and what follows has them', async () => {
    const { context, page } = await open();
    const { account } = newcomer('Apple');
    const requests: Request[] = [];
    context.on('request', (request) => {
      if (new URL(request.url()).pathname.endsWith('/auth/social/apple/callback')) requests.push(request);
    });
    await page.goto(`${server.issuer}/account`);
    await goThrough(page, 'Apple', account.login);
    await arrives(page, '/account');
    const seen = await Promise.all(
      requests.map(async (request) => {
        const headers = await request.allHeaders();
        return { method: request.method(), cookie: headers.cookie, site: headers['sec-fetch-site'] };
      }),
    );
    expect(seen).toHaveLength(2);
    expect(seen[0]).toEqual({ method: 'POST', cookie: undefined, site: 'cross-site' });
    expect(seen[1]).toMatchObject({ method: 'GET', cookie: expect.stringContaining('federation=') });
    await context.close();
  });
});

describe('another instance of the service as the upstream', () => {
  const signInThere = async (page: Page, email: string) => {
    await page.goto(`${server.issuer}/account`);
    await press(page, 'Continue with Acme');
    await expect.poll(() => new URL(page.url()).origin, soon).toBe(upstream.issuer);
    await page.locator('#email').fill(email);
    await page.locator('#password').fill(password);
    await press(page, 'Sign in');
    const allow = page.getByRole('button', { name: 'Allow', exact: true });
    await Promise.race([allow.waitFor(), page.waitForURL(`${server.issuer}/**`)]);
    if (new URL(page.url()).origin === upstream.issuer) await allow.click();
  };

  it('signs up and in, and an application gets its tokens', async () => {
    const { context, page, found } = await open();
    const email = await registerAccount(upstream);
    await signInThere(page, email);
    await arrives(page, '/account');
    expect(await identities(email)).toEqual([{ providerId: 'acme' }]);
    const { redirectUri } = application;
    const party = await registerRelyingParty(server, { redirect_uris: [redirectUri] });
    const attempt = await party.begin({ scope: 'openid email' });
    await page.goto(attempt.url.href);
    const allow = page.getByRole('button', { name: 'Allow', exact: true });
    await allow.click();
    await page.waitForURL(({ href }) => href.startsWith(redirectUri));
    const tokens = await party.redeem({ attempt, callback: new URL(page.url()) });
    const { sub } = tokens.claims() ?? {};
    expect(sub).toBe((await server.database.db('users').where({ email }).first('id')).id);
    // Signed in there already, so the button alone does it.
    await signOut(page);
    await page.goto(`${server.issuer}/account`);
    await press(page, 'Continue with Acme');
    await arrives(page, '/account');
    expect(found).toEqual([]);
    await context.close();
  });

  it('is connected with an account that has the address after a password, and taken apart again', async () => {
    const { context, page, found } = await open({ viewport: { width: 390, height: 844 } });
    const email = await registerAccount(upstream);
    await registerAccount(server, email);
    await signInThere(page, email);
    await expect.poll(() => page.content(), soon).toContain('Acme</bdi> is linked with it');
    expect(await identities(email)).toEqual([]);
    expect(await page.locator('#email').inputValue()).toBe(email);
    expect([await axe(page), await overflow(page)]).toEqual([[], 0]);
    await page.locator('#password').fill(password);
    await press(page, 'Sign in');
    await arrives(page, '/account');
    expect(await identities(email)).toEqual([{ providerId: 'acme' }]);
    await page.goto(`${server.issuer}/account/linked`);
    expect([await axe(page), await overflow(page)]).toEqual([[], 0]);
    await page.getByRole('button', { name: /^Unlink/ }).click();
    await expect.poll(() => page.url(), soon).toBe(`${server.issuer}/account/linked?notice=disconnected`);
    expect(await identities(email)).toEqual([]);
    // And back, from here.
    await press(page, 'Link Acme');
    await expect.poll(() => page.url(), soon).toBe(`${server.issuer}/account/linked?notice=connected`);
    expect(await identities(email)).toEqual([{ providerId: 'acme' }]);
    expect(found).toEqual([]);
    await context.close();
  });
});

describe('when something is wrong', () => {
  it('an upstream that is down is said to be, and the password still works', async () => {
    const { context, page } = await open();
    const email = await registerAccount(server);
    const { account } = newcomer('Google');
    await page.goto(`${server.issuer}/account`);
    await press(page, 'Continue with Google');
    await page.locator('[name=login]').fill(account.login);
    // It goes down between the page there and what the service asks it.
    peers.Google.downAt.add('/token');
    await press(page, 'Continue');
    await page.getByRole('alert').waitFor();
    peers.Google.downAt.clear();
    expect(await page.getByRole('alert').textContent()).toContain('Google cannot be reached just now');
    expect(await axe(page)).toEqual([]);
    await page.locator('#email').fill(email);
    await page.locator('#password').fill(password);
    await press(page, 'Sign in');
    await arrives(page, '/account');
    await context.close();
  });

  it('whoever cancels there is back where the other ways are', async () => {
    const { context, page, found } = await open();
    newcomer('Facebook');
    await page.goto(`${server.issuer}/account`);
    await press(page, 'Continue with Facebook');
    await press(page, 'Cancel');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('The sign-in at Facebook was cancelled');
    expect(await page.locator('#password').isVisible()).toBe(true);
    expect(await axe(page)).toEqual([]);
    expect(found).toEqual([]);
    await context.close();
  });

  it.each(['Google', 'Apple'] as const)(
    'login CSRF: an answer of %s that a stranger began signs nobody in',
    async (name) => {
      const [attacker, victim] = [await open(), await open()];
      const { account } = newcomer(name);
      await attacker.page.goto(`${server.issuer}/account`);
      await press(attacker.page, `Continue with ${name}`);
      await attacker.page.getByRole('heading', { name: `Sign in to ${name}` }).waitFor();
      const answer = await peers[name].signIn(attacker.page.url(), account.login);
      // The victim has begun something too, so there is a cookie.
      await victim.page.goto(`${server.issuer}/account`);
      await press(victim.page, `Continue with ${name}`);
      await victim.page.getByRole('heading', { name: `Sign in to ${name}` }).waitFor();
      await submitFrom(victim.page, answer);
      await expect.poll(() => victim.page.title(), soon).toMatch(/Countersign/);
      expect(await victim.page.content()).toContain('400 request_expired');
      expect(await axe(victim.page)).toEqual([]);
      await victim.page.goto(`${server.issuer}/account`);
      expect(await victim.page.locator('#password').isVisible()).toBe(true);
      // It is the attacker's own, and good for them.
      await submitFrom(attacker.page, answer);
      await arrives(attacker.page, '/account');
      await Promise.all([attacker.context.close(), victim.context.close()]);
    },
  );
});

/** Has a page of the provider's site send the browser on, as an attacker's page would. */
const submitFrom = async (page: Page, { url, form }: Awaited<ReturnType<Peer['signIn']>>) => {
  if (!form) {
    await page.goto(url.href);
    return;
  }
  await page.evaluate(
    `(() => {
      const form = document.createElement('form');
      form.method = 'post';
      form.action = ${JSON.stringify(url.href)};
      for (const [name, value] of Object.entries(${JSON.stringify(form)})) {
        const input = document.createElement('input');
        Object.assign(input, { type: 'hidden', name, value });
        form.append(input);
      }
      document.body.append(form);
      form.submit();
    })()`,
  );
  await page.waitForURL(`${server.issuer}/**`);
};
