/** From registration to sign-out in a real Chromium: with and without JavaScript, narrow and wide, light and dark, and by keyboard. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { focused, launchChromium, overflow, tabTo, watch } from '../support/chromium.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), launchChromium()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const phone = { width: 390, height: 844 };
const desktop = { width: 1280, height: 800 };
const newPassword = 'seven quiet lighthouses blink';

interface Person {
  page: Page;
  /** Presses a button or follows a link, and waits for the page that it leads to. */
  press(target: Locator, leadsTo?: RegExp): Promise<void>;
  type(field: string, text: string): Promise<void>;
}

const withMouse = (page: Page): Person => ({
  page,
  press: (target) => target.click(),
  type: (field, text) => page.locator(`#${field}`).fill(text),
});

const withKeyboard = (page: Page): Person => ({
  page,
  press: async (target) => {
    await tabTo(page, target);
    await page.keyboard.press('Enter');
  },
  type: async (field, text) => {
    await tabTo(page, page.locator(`#${field}`));
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.insertText(text);
  },
});

const open = async (options: Parameters<Browser['newContext']>[0], origins = [server.issuer]) => {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(20_000);
  const found = watch(context, origins);
  return { context, page: await context.newPage(), found };
};

/** Goes to another page of the account by its menu, which is folded where there is little room. */
const toAccountPage = async ({ page, press }: Person, name: string) => {
  const folded = page.locator('nav.folded summary');
  if (await folded.isVisible()) await press(folded);
  await press(page.locator('nav.menu:visible').getByRole('link', { name, exact: true }));
};

/** The page is the one with this title, and fits. */
const expectPage = async (page: Page, title: string) => {
  await expect.poll(() => page.title(), { timeout: 20_000 }).toBe(title);
  await page.waitForLoadState();
  expect(await overflow(page), `${title} scrolls sideways`).toBeLessThanOrEqual(0);
};

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const link = (page: Page, name: string) => page.getByRole('link', { name, exact: true });

/** After a refused form: the summary comes first, has the focus, and links to the field. */
const expectRefused = async ({ page }: Person, field: string, javaScriptEnabled: boolean) => {
  const summary = page.getByRole('alert');
  await expect.poll(() => summary.locator(`a[href="#${field}"]`).count(), { timeout: 20_000 }).toBe(1);
  await page.waitForLoadState();
  expect(await page.title()).toMatch(/^Error: /);
  if (javaScriptEnabled) expect(await focused(page)).toBe('summary');
  const input = page.locator(`#${field}`);
  expect(await input.getAttribute('aria-invalid')).toBe('true');
  expect(await input.getAttribute('aria-describedby')).toContain(`${field}-error`);
  for (const secret of await page.locator('input[type=password]').all()) expect(await secret.inputValue()).toBe('');
};

const autocomplete = (page: Page) =>
  page
    .locator('input:not([type=hidden])')
    .evaluateAll((inputs: { autocomplete: string }[]) => inputs.map((input) => input.autocomplete));

const requestsDuring = async (context: BrowserContext, work: () => Promise<void>): Promise<string[]> => {
  const paths: string[] = [];
  const note = (request: { url(): string }) => paths.push(new URL(request.url()).pathname);
  context.on('request', note);
  await work();
  context.off('request', note);
  return paths;
};

describe('the journey from registration to sign-out', () => {
  const runs: {
    how: string;
    javaScriptEnabled: boolean;
    viewport: typeof phone;
    colorScheme: 'light' | 'dark';
    person?: typeof withMouse;
  }[] = [
    { how: 'with JavaScript on a phone', javaScriptEnabled: true, viewport: phone, colorScheme: 'light' },
    { how: 'with JavaScript on a desktop, dark', javaScriptEnabled: true, viewport: desktop, colorScheme: 'dark' },
    { how: 'without JavaScript on a phone, dark', javaScriptEnabled: false, viewport: phone, colorScheme: 'dark' },
    { how: 'without JavaScript on a desktop', javaScriptEnabled: false, viewport: desktop, colorScheme: 'light' },
    {
      how: 'by keyboard alone',
      javaScriptEnabled: true,
      viewport: desktop,
      colorScheme: 'light',
      person: withKeyboard,
    },
  ];

  it.each(runs)('$how', async ({ how: _how, person: by, ...options }) => {
    const { javaScriptEnabled } = options;
    const { context, page, found } = await open(options);
    const person = (by ?? withMouse)(page);
    const { press, type } = person;
    const email = `${uuid()}@example.com`;

    // An application sends the person here
    await page.goto(`${server.issuer}/demo`);
    await expectPage(page, 'Demo app · Countersign');
    await press(link(page, 'Sign in with Countersign'));
    await expectPage(page, 'Sign in · Demo app');
    expect(await autocomplete(page)).toEqual(['username webauthn', 'current-password']);
    expect(await focused(page)).toBe('email');

    // Register
    await press(link(page, 'Create an account'));
    await expectPage(page, 'Create an account · Demo app');
    expect(await autocomplete(page)).toEqual(['name', 'username', 'new-password']);
    await type('name', 'Ada Lovelace');
    await type('email', email);
    await type('password', 'short');
    await press(button(page, 'Create account'));
    await expectRefused(person, 'password', javaScriptEnabled);
    expect(await page.locator('#email').inputValue()).toBe(email);
    await type('password', password);
    await press(button(page, 'Create account'));
    await expectPage(page, 'Check your mail · Demo app');
    expect(await page.locator('main').innerText()).toContain(email);

    // The mailbox
    await server.mail(email);
    await page.goto(`${server.issuer}/dev/mail`);
    const mail = page.locator('article', { hasText: email });
    await press(mail.getByRole('link', { name: 'Open /verify' }));
    await expectPage(page, 'Confirm your address · Demo app');
    await press(button(page, 'Confirm this address'));
    await expectPage(page, 'Address confirmed · Demo app');
    await press(link(page, 'Continue'));

    // Sign in, once with a wrong password
    await expectPage(page, 'Sign in · Demo app');
    expect(await page.locator('#email').inputValue()).toBe(email);
    expect(await focused(page)).toBe('password');
    await type('password', 'wrong horse battery staple');
    await press(button(page, 'Sign in'));
    await expectRefused(person, 'email', javaScriptEnabled);
    expect(await page.locator('#email').inputValue()).toBe(email);
    await type('password', password);
    await press(button(page, 'Sign in'));

    // Consent
    await expectPage(page, 'Allow access · Demo app');
    expect(await page.locator('main').innerText()).toContain(email);
    await press(button(page, 'Allow'));
    await expectPage(page, 'Demo app: signed in · Countersign');
    expect(await page.locator('main').innerText()).toContain(server.issuer);

    // What an application does with it
    await press(button(page, 'Call userinfo'));
    await expect
      .poll(() => page.getByRole('heading', { name: 'Userinfo answer' }).count(), { timeout: 20_000 })
      .toBe(1);
    expect(await page.locator('main').innerText()).toContain(email);
    const token = await page.locator('main').innerText();
    await press(button(page, 'Refresh the tokens'));
    await expect
      .poll(() => page.getByRole('status').innerText(), { timeout: 20_000 })
      .toBe('The tokens have been refreshed.');
    expect(await page.locator('main').innerText()).not.toBe(token);

    // Back again without being asked
    const paths = await requestsDuring(context, async () => {
      await page.goto(`${server.issuer}/demo/sign-in`);
      await expectPage(page, 'Demo app: signed in · Countersign');
    });
    expect(paths).toContain('/demo/callback');
    expect(paths.filter((path) => path.startsWith('/interaction/'))).toEqual([]);

    // The account page
    await page.goto(`${server.issuer}/account`);
    await expectPage(page, 'Your account · Countersign');
    await toAccountPage(person, 'Devices');
    await expectPage(page, 'Devices · Countersign');
    const devices = await page.locator('main').innerText();
    expect(devices).toContain('This device');
    expect(devices).toMatch(/Chrom.*Linux/);
    expect(devices).toContain('Demo app');
    await toAccountPage(person, 'Apps');
    await expectPage(page, 'Apps with access · Countersign');
    await press(page.getByRole('button', { name: /^Remove access of .?Demo app/ }));
    await expect
      .poll(() => page.getByRole('status').innerText(), { timeout: 20_000 })
      .toBe('The app no longer has access.');
    expect(await page.locator('main').innerText()).toContain('No app has access to your account.');

    await toAccountPage(person, 'Profile');
    await expectPage(page, 'Your profile · Countersign');
    await type('nickname', 'Countess');
    await type('birthdate', '10.12.1815');
    await press(button(page, 'Save profile'));
    await expectRefused(person, 'birthdate', javaScriptEnabled);
    expect(await page.locator('#nickname').inputValue()).toBe('Countess');
    await type('birthdate', '1815-12-10');
    await press(button(page, 'Save profile'));
    await expect
      .poll(() => page.getByRole('status').innerText(), { timeout: 20_000 })
      .toBe('Your profile has been saved.');

    await toAccountPage(person, 'Password');
    await expectPage(page, 'Change password · Countersign');
    expect(await autocomplete(page)).toEqual(['username', 'current-password', 'new-password']);
    expect(await page.locator('[autocomplete=username]').inputValue()).toBe(email);
    await type('currentPassword', 'not it');
    await type('newPassword', newPassword);
    await press(button(page, 'Change password'));
    await expectRefused(person, 'currentPassword', javaScriptEnabled);
    await type('currentPassword', password);
    await type('newPassword', newPassword);
    await press(button(page, 'Change password'));
    await expect
      .poll(() => page.getByRole('status').innerText(), { timeout: 20_000 })
      .toBe('Your password has been changed.');

    // Consent was withdrawn, so it is asked for again
    await page.goto(`${server.issuer}/demo/sign-in`);
    await expectPage(page, 'Allow access · Demo app');
    await press(button(page, 'Allow'));
    await expectPage(page, 'Demo app: signed in · Countersign');
    await press(button(page, 'Call userinfo'));
    await expect.poll(() => page.locator('main').innerText(), { timeout: 20_000 }).toContain('Countess');

    // Sign out
    await press(button(page, 'Sign out'));
    await expectPage(page, 'Sign out · Demo app');
    await press(button(page, 'Sign out'));
    await expectPage(page, 'Demo app · Countersign');
    await page.goto(`${server.issuer}/account`);
    await expectPage(page, 'Sign in · Countersign');
    await type('email', email);
    await type('password', newPassword);
    await press(button(page, 'Sign in'));
    await expectPage(page, 'Your account · Countersign');
    await toAccountPage(person, 'Sign out');
    await expectPage(page, 'Sign out · Countersign');
    await press(button(page, 'Sign out'));
    await expectPage(page, 'You are signed out · Countersign');

    expect(found).toEqual([]);
    await context.close();
  });
});

describe.each([true, false])('pages that send themselves on, JavaScript: %s', (javaScriptEnabled) => {
  it('carry the answer to the application (OAuth 2.0 Form Post Response Mode)', async () => {
    const bodies: string[] = [];
    const app = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      if (request.method === 'POST') bodies.push(body);
      response.setHeader('content-type', 'text/html').end('<title>The app</title>');
    });
    await new Promise<void>((listening) => app.listen(0, '127.0.0.1', listening));
    const origin = `http://127.0.0.1:${(app.address() as AddressInfo).port}`;
    try {
      const email = await registerAccount(server);
      const { client_id } = await server.client({
        redirect_uris: [`${origin}/callback`],
        client_name: 'Acme',
        token_endpoint_auth_method: 'none',
      });
      const request = {
        client_id,
        response_type: 'code',
        scope: 'openid',
        redirect_uri: `${origin}/callback`,
        response_mode: 'form_post',
        state: 'a "state" & <more>',
        code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
        code_challenge_method: 'S256',
      };
      const { context, page, found } = await open({ javaScriptEnabled, viewport: phone }, [server.issuer, origin]);
      await page.goto(`${server.issuer}/oauth/authorize?${new URLSearchParams(request)}`);
      await page.fill('#email', email);
      await page.fill('#password', password);
      await button(page, 'Sign in').click();
      await button(page, 'Allow').click();
      if (!javaScriptEnabled) await button(page, 'Continue').click();
      await page.waitForURL(`${origin}/callback`);
      expect(bodies).toHaveLength(1);
      const answer = new URLSearchParams(bodies[0]);
      expect(answer.get('code')).toMatch(/./);
      expect(answer.get('state')).toBe(request.state);
      expect(answer.get('iss')).toBe(server.issuer);
      expect(found.filter((line) => !line.includes('/favicon.ico'))).toEqual([]);
      await context.close();
    } finally {
      app.closeAllConnections();
      app.close();
    }
  });

  it('let somebody else sign in where one person is signed in', async () => {
    const [first, second] = [await registerAccount(server), await registerAccount(server)];
    const { context, page, found } = await open({ javaScriptEnabled, viewport: phone });
    await page.goto(`${server.issuer}/demo/sign-in`);
    await page.fill('#email', first);
    await page.fill('#password', password);
    await button(page, 'Sign in').click();
    await button(page, 'Use another account').click();
    await expectPage(page, 'Sign in · Demo app');
    await page.fill('#email', second);
    await page.fill('#password', password);
    await button(page, 'Sign in').click();
    if (!javaScriptEnabled) await button(page, 'Continue').click();
    await expectPage(page, 'Allow access · Demo app');
    const consent = await page.locator('main').innerText();
    expect(consent).toContain(second);
    expect(consent).not.toContain(first);
    await button(page, 'Allow').click();
    await expectPage(page, 'Demo app: signed in · Countersign');
    expect(found).toEqual([]);
    await context.close();
  });
});
