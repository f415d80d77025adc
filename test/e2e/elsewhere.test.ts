/**
 * The pages of people who answer for something that goes on elsewhere, on a phone: a device is connected (RFC 8628), a question
 * of an application's is confirmed (CIBA). Each with and without JavaScript, judged by axe-core.
 */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { axe, launchChromium, overflow, smallTargets, watch } from '../support/chromium.ts';
import { basic, post } from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
let email: string;
beforeAll(async () => {
  server = await startServer();
  browser = await launchChromium();
  email = await registerAccount(server);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const phone: BrowserContextOptions = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

const television = (): Promise<RegisteredClient> =>
  server.client({
    client_name: 'Living Room TV',
    redirect_uris: [],
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
  });

const askForCode = async ({ client_id }: RegisteredClient) =>
  (await post(server, '/oauth/device', { client_id, scope: 'openid email' })).body as Record<string, string>;

/** Only where scripts run, since what judges is one. */
const judgePage = async (page: Page) => {
  expect(await axe(page)).toEqual([]);
  expect(await overflow(page)).toBeLessThanOrEqual(0);
  expect(await smallTargets(page)).toEqual([]);
};

const signIn = async (page: Page) => {
  await page.fill('#email', email);
  await page.fill('#password', password);
  await page.click('form:has(#password) .primary');
};

for (const javaScriptEnabled of [true, false])
  describe(`on a phone, ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, () => {
    const judge = (page: Page) => (javaScriptEnabled ? judgePage(page) : Promise.resolve());
    const open = async () => {
      const context = await browser.newContext({ ...phone, javaScriptEnabled });
      const wrong = watch(context, [server.issuer]);
      return { context, wrong, page: await context.newPage() };
    };

    it('a device is connected by typing its code', async () => {
      const tv = await television();
      const { user_code = '', device_code = '' } = await askForCode(tv);
      const { context, wrong, page } = await open();
      await page.goto(`${server.issuer}/device`);
      await judge(page);
      const input = page.locator('#user_code');
      expect(await input.getAttribute('autocapitalize')).toBe('characters');
      expect(await input.getAttribute('autocomplete')).toBe('off');
      expect(await input.getAttribute('autofocus')).toBe('');
      await input.fill(user_code.toLowerCase().replace('-', ' '));
      await page.click('.primary');
      await judge(page);
      expect(await page.locator('.shown-code').innerText()).toBe(user_code);
      await page.click('.primary');
      await signIn(page);
      await judge(page);
      await page.click('.primary');
      await page.waitForURL('**/device/connected');
      await judge(page);
      await page.reload();
      expect(await page.locator('h1').innerText()).toBe('Your device is connected');
      const { body } = await post(server, '/oauth/token', {
        grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
        client_id: tv.client_id,
        device_code,
      });
      expect(body.id_token).toBeTruthy();
      expect(wrong.filter((line) => !/status of 400/.test(line))).toEqual([]);
      await context.close();
    });

    it('its QR code leads to the question at once, and the answer may be no', async () => {
      const { user_code = '', verification_uri_complete = '' } = await askForCode(await television());
      const { context, page } = await open();
      await page.goto(verification_uri_complete);
      if (!javaScriptEnabled) await page.click('button');
      await page.waitForSelector('.shown-code');
      expect(await page.locator('.shown-code').innerText()).toBe(user_code);
      await page.click('.choices .secondary');
      await page.waitForURL('**/device/refused');
      await judge(page);
      await context.close();
    });

    it('a wrong code is told beside the field, with what was typed', async () => {
      const { context, page } = await open();
      await page.goto(`${server.issuer}/device`);
      await page.fill('#user_code', 'bbbbbbbb');
      await page.click('.primary');
      await judge(page);
      expect(await page.inputValue('#user_code')).toBe('BBBB-BBBB');
      expect(await page.getAttribute('#user_code', 'aria-invalid')).toBe('true');
      await context.close();
    });

    it('what an application asks is confirmed on the account page', async () => {
      const bank = await server.client({
        client_name: 'The Bank Counter',
        redirect_uris: [],
        grant_types: ['urn:openid:params:grant-type:ciba'],
        backchannel_token_delivery_mode: 'poll',
      });
      const form = { scope: 'openid email', login_hint: email, binding_message: 'Till 4, W4SCT' };
      const { auth_req_id } = (await post(server, '/oauth/backchannel', form, basic(bank))).body;
      const { context, wrong, page } = await open();
      await page.goto(`${server.issuer}/account`);
      await signIn(page);
      await page.waitForURL('**/account?**');
      await judge(page);
      await page.click('main a[href="/account/requests"]');
      await judge(page);
      expect(await page.locator('.shown-message').innerText()).toBe('Till 4, W4SCT');
      await page.click('.primary');
      await page.waitForURL('**/account/requests?notice=requestApproved');
      await judge(page);
      expect(await page.locator('.shown-message').count()).toBe(0);
      const grant = { grant_type: 'urn:openid:params:grant-type:ciba', auth_req_id };
      expect((await post(server, '/oauth/token', grant, basic(bank))).status).toBe(200);
      expect(wrong).toEqual([]);
      await context.close();
    });
  });
