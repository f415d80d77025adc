/** oidc-client-ts in a page of its own: docs/relying-parties.md, run as it stands there in a real Chromium. */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContext, Page, Response } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { launchChromium, watch } from '../support/chromium.ts';
import { bearer, send } from '../support/relying-party.ts';
import { register, section } from '../support/relying-party-apps.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let files: Server;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let email: string;
let found: string[];
/** What the token endpoint has answered the page. */
const answers: Response[] = [];

beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), launchChromium()]);
  email = await registerAccount(server);
  const { client: metadata, code } = section('oidc-client-ts');
  let html = '';
  files = createServer(({ url = '' }, response) => {
    const script = /^\/node_modules\/(oidc-client-ts|jwt-decode)\/[\w./-]+\.js$/.test(url);
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    response.end(script ? readFileSync(new URL(`../..${url}`, import.meta.url)) : html);
  });
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
  const here = `http://localhost:${(files.address() as AddressInfo).port}`;
  const { client_id } = await register(server, metadata, here);
  html = code.replace('http://localhost:3000', server.issuer).replace('CLIENT_ID', client_id);

  context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  found = watch(context, [server.issuer, here]);
  await context.clock.install();
  page = await context.newPage();
  page.on('response', (response) => {
    if (response.url() === `${server.issuer}/oauth/token`) answers.push(response);
  });
  await page.goto(here);
});
afterAll(async () => {
  await browser?.close();
  files?.close();
  await server?.stop();
});

const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
const enterPassword = async () => {
  await page.locator('#email').fill(email);
  await page.locator('#password').fill(password);
  await press('Sign in');
};
const expectPerson = (text: RegExp) =>
  expect.poll(() => page.locator('#person').innerText(), { timeout: 20_000 }).toMatch(text);

it('signs in', async () => {
  await expectPerson(/^nobody$/);
  await press('Sign in');
  await enterPassword();
  await press('Allow');
  await expectPerson(new RegExp(email));
  expect(await page.evaluate('location.search')).toBe('');
  // Nothing that another script could carry off outlives the page.
  expect(await page.evaluate('JSON.stringify([{ ...localStorage }, { ...sessionStorage }])')).not.toContain('_token');
});

it('refreshes by itself, a minute before the access token expires', async () => {
  expect(answers).toHaveLength(1);
  await context.clock.fastForward(841_000);
  await expect.poll(() => answers.length, { timeout: 20_000 }).toBe(2);
  const [before, after] = await Promise.all(answers.map((answer) => answer.json()));
  expect([after.access_token === before.access_token, after.refresh_token === before.refresh_token]).toEqual([
    false,
    false,
  ]);
  const userinfo = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(after.access_token) });
  expect(userinfo.body).toMatchObject({ email });
  await expectPerson(new RegExp(email));
});

it('after a reload signs in without a question', async () => {
  await page.reload();
  await expectPerson(/^nobody$/);
  await press('Sign in');
  await expectPerson(new RegExp(email));
});

it('is signed out by its next refresh when the session has ended at the provider', async () => {
  const elsewhere = await context.newPage();
  await elsewhere.goto(`${server.issuer}/oauth/logout`);
  await elsewhere.getByRole('button', { name: 'Sign out', exact: true }).click();
  await elsewhere.getByRole('button', { name: 'Sign out', exact: true }).waitFor({ state: 'detached' });
  await elsewhere.close();
  await context.clock.fastForward(841_000);
  await expectPerson(/^nobody$/);
  expect(found.splice(0)).toEqual([`400 for ${server.issuer}/oauth/token`]);
});

it('signs out, here and at the provider', async () => {
  await press('Sign in');
  await enterPassword();
  await expectPerson(new RegExp(email));
  const { access_token } = await (answers.at(-1) as Response).json();
  await press('Sign out');
  await page.waitForURL((url) => url.pathname === '/oauth/logout');
  // Its tokens were revoked before it left the page.
  const userinfo = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) });
  expect(userinfo.status).toBe(401);
  await press('Sign out');
  await expectPerson(/^nobody$/);
  await press('Sign in');
  await page.locator('#password').waitFor();
  expect(found).toEqual([]);
});
