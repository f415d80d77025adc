/** An invitation in a real Chromium: somebody new comes in without scripts, on a phone; somebody who has an account with them. */
import { readFileSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { callerOf, nobody, requester } from '../support/callers.ts';
import { axe, launchChromium, overflow, smallTargets, watch } from '../support/chromium.ts';
import { makeOrganization } from '../support/organizations.ts';
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

const textsOf = (locale: string) =>
  JSON.parse(readFileSync(new URL(`../../views/locales/${locale}.json`, import.meta.url), 'utf8'));

/** Has somebody invited to an organization. @returns its name, and the link of the mail */
const invite = async (email: string) => {
  const owner = await callerOf(server);
  const { id, name } = await makeOrganization(server, { owners: [owner.id] });
  const { json } = await nobody(server).request('post', '/auth/login', { email: owner.email, password });
  const { request } = { request: requester(server, json.accessToken) };
  expect((await request('post', `/organizations/${id}/invitations`, { email })).status).toBe(201);
  const { links } = await server.mail(email, /organi[sz]ation|Organi[sz]ation|مؤسسة/);
  return { id, name, link: links.find((link) => link.includes('/invitation?')) as string };
};
const isMember = async (organizationId: string, email: string) => {
  const { db } = server.database;
  const rows = await db('organizationMembers')
    .where({ organizationId })
    .whereIn('userId', db('users').where({ email }).select('id'));
  return rows.length === 1;
};

for (const { who, isNew, locale, width, javaScriptEnabled } of [
  { who: 'somebody new, without scripts', isNew: true, locale: 'en', width: 390, javaScriptEnabled: false },
  { who: 'somebody with an account, with scripts', isNew: false, locale: 'ar', width: 320, javaScriptEnabled: true },
])
  it(`lets in ${who}`, async () => {
    const texts = textsOf(locale);
    const email = isNew ? `${uuid()}@example.com` : await registerAccount(server);
    const { id, name, link } = await invite(email);
    const context = await browser.newContext({
      ...{ locale, colorScheme: 'dark', reducedMotion: 'reduce', javaScriptEnabled },
      viewport: { width, height: 740 },
    });
    context.setDefaultTimeout(30_000);
    const wrong = watch(context, [server.issuer]);
    const page = await context.newPage();
    const arrive = async (heading: string) => {
      await expect.poll(() => page.locator('h1').innerText(), { timeout: 30_000 }).toBe(heading);
      if (javaScriptEnabled) expect(await axe(page)).toEqual([]);
      expect(await overflow(page)).toBeLessThanOrEqual(0);
      expect(await smallTargets(page)).toEqual([]);
    };
    const press = (on: Page, text: string) => on.getByRole('button', { name: text }).first().click();

    await page.goto(link);
    await arrive(texts.invitation.title);
    expect(await page.locator('main').innerText()).toContain(name);
    if (isNew) {
      await press(page, texts.invitation.register);
      await arrive(texts.register.title);
      expect(await page.locator('#email').inputValue()).toBe(email);
      await page.locator('#name').fill('Grace Hopper');
      await page.locator('#password').fill(password);
      await page.locator('form[action="/register"] button.primary').click();
      await arrive(texts['check-mail'].title);
      const { links } = await server.mail(email, /Confirm/);
      await page.goto(links.find((one) => one.includes('/verify')) as string);
      await press(page, texts.verify.submit);
      await arrive(texts['verify-done'].title);
      await page.getByRole('link', { name: texts['verify-done'].continue }).click();
    } else {
      await press(page, texts.invitation.signIn);
    }
    await page.locator('#email').fill(email);
    await page.locator('#password').fill(password);
    await page.locator('form button.primary').first().click();
    await arrive(texts.invitations.title);
    await press(page, texts.invitation.accept);
    await expect
      .poll(() => page.getByRole('status').innerText(), { timeout: 30_000 })
      .toBe(texts.notices.invitationAccepted);
    expect(await isMember(id, email)).toBe(true);

    await page.goto(link);
    await arrive(texts['invitation-closed'].title);
    expect(wrong).toEqual([]);
    await context.close();
  });
