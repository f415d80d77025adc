/** Apache's mod_auth_openidc in front of an application: docs/relying-parties.md, run as it stands there. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Apache, apacheIsMissing, startApache } from '../support/apache.ts';
import { password, registerAccount } from '../support/browser.ts';
import { launchChromium } from '../support/chromium.ts';
import { bearer, send } from '../support/relying-party.ts';
import { register, section } from '../support/relying-party-apps.ts';
import { freePort, startServer, type TestServer } from '../support/server.ts';

describe.skipIf(apacheIsMissing)(`mod_auth_openidc${apacheIsMissing ? ` (skipped: ${apacheIsMissing})` : ''}`, () => {
  let server: TestServer;
  let browser: Browser;
  let backend: Server;
  let apache: Apache;
  let url: string;
  let clientId: string;
  let email: string;
  let sub: string;
  let page: Page;

  beforeAll(async () => {
    [server, browser] = await Promise.all([startServer(), launchChromium()]);
    email = await registerAccount(server);
    sub = (await server.database.db('users').where({ email }).first('id')).id;
    // The application: it believes the headers that Apache sends.
    backend = createServer(({ headers }, response) => {
      const { oidc_claim_sub: sub, oidc_claim_email: email, oidc_access_token: accessToken } = headers;
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ sub, email, accessToken }));
    });
    await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
    url = `http://localhost:${await freePort()}`;
    const { client: metadata, code } = section('mod_auth_openidc');
    const client = await register(server, metadata, url);
    clientId = client.client_id;
    // Below /later it is as if the access token had expired.
    const later = '<Location "/later">\nOIDCRefreshAccessTokenBeforeExpiry 1000 logout_on_error\n</Location>\n';
    apache = await startApache(url, code + later, {
      ISSUER: server.issuer,
      APP_URL: url,
      CLIENT_ID: clientId,
      CLIENT_SECRET: client.client_secret ?? '',
      SESSION_SECRET: 'long-and-random-and-its-own',
      BACKEND_URL: `http://127.0.0.1:${(backend.address() as AddressInfo).port}`,
    });
  });
  afterAll(async () => {
    await browser?.close();
    await apache?.stop();
    backend?.close();
    await server?.stop();
  });

  /** Somebody's browser, which tries to say itself who they are. */
  const open = async (): Promise<Page> => {
    const context = await browser.newContext({ extraHTTPHeaders: { OIDC_CLAIM_sub: 'somebody else' } });
    context.setDefaultTimeout(20_000);
    return context.newPage();
  };
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
  const signIn = async () => {
    await page.goto(url);
    await page.locator('#email').fill(email);
    await page.locator('#password').fill(password);
    await press('Sign in');
  };
  /** What the application knows. */
  const shown = async (path = '/') => (await page.goto(`${url}${path}`))?.json();
  const asksForPassword = () => page.locator('#password').waitFor();
  const refreshTokens = async (): Promise<boolean[]> => {
    const rows = await server.database.db('refreshTokens').where({ clientId }).orderBy('createdAt');
    return rows.map(({ consumedAt, revoked }) => consumedAt === null && !revoked);
  };

  it('signs in, and hands on who it is, whatever the browser says', async () => {
    page = await open();
    await signIn();
    await press('Allow');
    await page.waitForURL(`${url}/`);
    expect(await shown(), apache.output()).toMatchObject({ sub, email });
  });

  it('refreshes before the access token expires', async () => {
    const before = await shown();
    expect(await refreshTokens()).toEqual([true]);
    const after = await shown('/later');
    expect(await refreshTokens(), apache.output()).toEqual([false, true]);
    expect(after).toEqual({ ...before, accessToken: expect.any(String) });
    expect(after.accessToken).not.toBe(before.accessToken);
    const userinfo = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(after.accessToken) });
    expect(userinfo.body).toMatchObject({ sub, email });
  });

  it('signs out, here and at the provider', async () => {
    await page.goto(`${url}/oidc?logout=${encodeURIComponent(`${url}/`)}`);
    await press('Sign out');
    // Back at the application, which sends whoever it does not know to sign in; and the password is asked for.
    await asksForPassword();
    expect(await refreshTokens()).not.toContain(true);
  });

  it('signs out when the refresh is refused', async () => {
    page = await open();
    await signIn();
    await page.waitForURL(`${url}/`);
    await server.database.db('refreshTokens').update({ revoked: true });
    // The session at the provider is still there, so it comes back from there with new tokens.
    expect(await shown('/later'), apache.output()).toMatchObject({ sub });
    expect((await refreshTokens()).at(-1)).toBe(true);
  });

  it('is signed out at once by back-channel logout, on that device alone', async () => {
    const pages = [await open(), await open()] as const;
    for (const one of pages) {
      page = one;
      await signIn();
      await page.waitForURL(`${url}/`);
    }
    await page.goto(`${server.issuer}/oauth/logout`);
    await press('Sign out');
    await expect
      .poll(async () => new URL((await page.goto(url))?.url() ?? '').origin, { timeout: 30_000 })
      .toBe(server.issuer);
    await asksForPassword();
    page = pages[0];
    expect(await shown()).toMatchObject({ sub });
  });
});
