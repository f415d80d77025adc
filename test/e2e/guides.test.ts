/** docs/guides/single-page.md, run as it stands there: Vite serves its files, and a real Chromium signs in. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { createServer, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { launchChromium, watch } from '../support/chromium.ts';
import { blocksOf } from '../support/guides.ts';
import { startServer, type TestServer } from '../support/server.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

let server: TestServer;
let vite: ViteDevServer;
let browser: Browser;
let page: Page;
let email: string;
let folder: string;
let found: string[];
beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), launchChromium()]);
  email = await registerAccount(server);
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  folder = mkdtempSync(join(cache, 'guide-'));
  const { 'client.json': metadata = '', ...files } = blocksOf('single-page');
  for (const [title, code] of Object.entries(files)) writeFileSync(join(folder, title), code);
  copyFileSync(join(root, 'docs/examples/pkce.ts'), join(folder, 'pkce.ts'));

  vite = await createServer({
    root: folder,
    configFile: false,
    logLevel: 'error',
    server: { host: '127.0.0.1', port: 0 },
    cacheDir: join(folder, '.vite'),
  });
  await vite.listen();
  const { port } = (vite.httpServer as Server).address() as AddressInfo;
  const here = `http://localhost:${port}`;
  const { client_id } = await server.client(JSON.parse(metadata.replaceAll('http://localhost:4000', here)));
  // As the environment of the command in the guide would.
  writeFileSync(join(folder, '.env'), `VITE_ISSUER=${server.issuer}\nVITE_CLIENT_ID=${client_id}\n`);
  await vite.restart();

  const context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  found = watch(context, [server.issuer, here, here.replace('http', 'ws')]);
  page = await context.newPage();
  await page.goto(here);
});
afterAll(async () => {
  await browser?.close();
  await vite?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const person = () => page.locator('#person').innerText();

it('signs in, goes on after a reload without a question, and signs out', async () => {
  await page.locator('#sign-in').click();
  await page.locator('#email').fill(email);
  await page.locator('#password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('button', { name: 'Allow', exact: true }).click();
  await expect.poll(person, { timeout: 20_000 }).toBe(email);
  expect(new URL(page.url()).pathname).toBe('/');
  expect(await page.evaluate('JSON.stringify([{ ...localStorage }, { ...sessionStorage }])')).not.toContain('token');
  await page.reload();
  await expect.poll(person, { timeout: 20_000 }).toBe('nobody');
  await page.locator('#sign-in').click();
  await expect.poll(person, { timeout: 20_000 }).toBe(email);
  await page.locator('#sign-out').click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await expect.poll(person, { timeout: 20_000 }).toBe('nobody');
  await page.locator('#sign-in').click();
  await page.locator('#password').waitFor();
  expect(found).toEqual([]);
});
