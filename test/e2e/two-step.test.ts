/** The road of somebody whose role wants a second factor, in a real Chromium without scripts: from registration to the next sign-in. */
import type { Browser, Page } from 'playwright-core';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freshCode, shownCode } from '../support/authenticator.ts';
import { password } from '../support/browser.ts';
import { launchChromium, watch } from '../support/chromium.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([
    startServer({ MFA_REQUIRED_ROLES: 'user', MFA_ENROLMENT_GRACE: '0' }),
    launchChromium(),
  ]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

it('registers, has to set up an app, signs in with it, and ends the session that it has elsewhere', async () => {
  const email = `${uuid()}@example.com`;
  const wrong: string[][] = [];
  const visit = async (): Promise<Page> => {
    const context = await browser.newContext({ locale: 'en', javaScriptEnabled: false });
    context.setDefaultTimeout(15_000);
    wrong.push(watch(context, [server.issuer]));
    return context.newPage();
  };
  const press = (page: Page, name: string | RegExp) => page.getByRole('button', { name }).first().click();
  const signIn = async (page: Page) => {
    await page.goto(`${server.issuer}/account`);
    await page.fill('#email', email);
    await page.fill('#password', password);
    await press(page, 'Sign in');
  };

  const page = await visit();
  await page.goto(`${server.issuer}/register`);
  await page.fill('#name', 'Ada Lovelace');
  await page.fill('#email', email);
  await page.fill('#password', password);
  await press(page, /create|register/i);
  const { links } = await server.mail(email);
  await page.goto(links[0] as string);
  await press(page, /confirm/i);

  // The mailed code is not enough for good: an app must be set up.
  await signIn(page);
  await page.fill('#code', /\b\d{6}\b/.exec((await server.mail(email, /code/i)).text)?.[0] as string);
  await press(page, /sign in|continue/i);
  expect(await page.getByRole('button', { name: /not now/i }).count()).toBe(0);
  await page.locator('form:has(input[name=begin]) button').click();
  await page.locator('summary').first().click();
  const secret = (await page.locator('.key').innerText()).replace(/\s/g, '');
  await page.fill('#code', shownCode(secret));
  await page.locator('form:has(#code) button').click();
  expect(await page.locator('body').innerText()).toMatch(/backup codes/i);
  await page.locator('.primary').last().click();
  await expect.poll(() => new URL(page.url()).pathname, { timeout: 20_000 }).toBe('/account');

  // The next time the app is asked for, on another device.
  const { id } = await server.database.db('users').where({ email }).first('id');
  const other = await visit();
  await signIn(other);
  await other.fill('#code', await freshCode(server, id, secret));
  await other.locator('form:has(#code) button').first().click();
  await expect.poll(() => new URL(other.url()).pathname, { timeout: 20_000 }).toBe('/account');

  await other.goto(`${server.issuer}/account/sessions`);
  expect(await other.getByRole('listitem').filter({ hasText: 'Chrome' }).count()).toBe(2);
  await other.locator('form[action="/account/sessions/end"] button').first().click();
  await page.goto(`${server.issuer}/account`);
  expect(new URL(page.url()).pathname).toMatch(/^\/interaction\//);
  await other.goto(`${server.issuer}/account`);
  expect(new URL(other.url()).pathname).toBe('/account');
  expect(wrong.flat()).toEqual([]);
});
