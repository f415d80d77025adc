/** Choosing an organization on the way to an application, on a phone, with and without JavaScript, judged by axe-core. */
import { decodeJwt } from 'jose';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import {
  type Application,
  axe,
  launchChromium,
  overflow,
  smallTargets,
  startApplication,
  watch,
} from '../support/chromium.ts';
import { addMember, makeOrganization } from '../support/organizations.ts';
import { type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
let application: Application;
let rp: RelyingParty;
let email: string;
let acme: { id: string; name: string };
let lonely: string;
beforeAll(async () => {
  [server, browser, application] = await Promise.all([startServer(), launchChromium(), startApplication()]);
  email = await registerAccount(server);
  lonely = await registerAccount(server);
  const { id } = await server.database.db('users').where({ email }).first('id');
  acme = await makeOrganization(server, { name: 'Acme & Söhne GmbH', kind: 'company', members: [id] });
  const other = await makeOrganization(server, { name: 'Royal Society' });
  await addMember(server, other.id, id);
  rp = await registerRelyingParty(server, {
    redirect_uris: [application.redirectUri],
    scope: 'openid roles organizations',
    require_organization: true,
  });
});
afterAll(async () => {
  await browser?.close();
  await application?.stop();
  await server?.stop();
});

const isBack = (page: Page) => page.waitForURL(({ href }) => href.startsWith(application.redirectUri));

const phone: BrowserContextOptions = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** Only where scripts run, since what judges is one. */
const judgePage = async (page: Page) => {
  expect(await axe(page)).toEqual([]);
  expect(await overflow(page)).toBeLessThanOrEqual(0);
  expect(await smallTargets(page)).toEqual([]);
};

const signIn = async (page: Page, as: string) => {
  await page.fill('#email', as);
  await page.fill('#password', password);
  await page.click('form:has(#password) .primary');
};

for (const javaScriptEnabled of [true, false])
  describe(`on a phone, ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, () => {
    const judge = (page: Page) => (javaScriptEnabled ? judgePage(page) : Promise.resolve());
    const open = async () => {
      const context = await browser.newContext({ ...phone, javaScriptEnabled, locale: 'en-GB' });
      const wrong = watch(context, [server.issuer, application.origin]);
      return { context, wrong, page: await context.newPage() };
    };

    it('one of two is chosen, named on the consent page, and in the token', async () => {
      const { context, wrong, page } = await open();
      const attempt = await rp.begin({ scope: 'openid organizations', prompt: 'consent' });
      await page.goto(String(attempt.url));
      await signIn(page, email);
      expect(await page.locator('h1').innerText()).toBe('For which organization do you sign in to Acme?');
      expect(await page.locator('.rows .strong').allInnerTexts()).toEqual([acme.name, 'Royal Society']);
      await judge(page);
      // By its name, as somebody hears it who does not see the page.
      await page.getByRole('button', { name: `Choose ${acme.name}` }).click();
      expect(await page.locator('main').innerText()).toContain(`For the organization ${acme.name}`);
      await judge(page);
      await page.click('.choices .primary');
      await isBack(page);
      const tokens = await rp.redeem({ attempt, callback: new URL(page.url()) });
      expect(decodeJwt(tokens.id_token as string)).toMatchObject({
        organization: acme,
        organizations: [{ id: acme.id, name: acme.name, kind: 'company', roles: [] }],
      });
      expect(wrong).toEqual([]);
      await context.close();
    });

    it('whoever belongs to none is told so, and goes back', async () => {
      const { context, wrong, page } = await open();
      const attempt = await rp.begin();
      await page.goto(String(attempt.url));
      await signIn(page, lonely);
      expect(await page.locator('h1').innerText()).toBe('Acme is for members of an organization');
      await judge(page);
      await page.getByRole('button', { name: 'Back to Acme' }).click();
      await isBack(page);
      expect(new URL(page.url()).searchParams.get('error')).toBe('access_denied');
      expect(wrong).toEqual([]);
      await context.close();
    });
  });
