/**
 * The pages of an account in a real Chromium, by keyboard alone, at phone width and in the dark: in English without scripts, and
 * from right to left with them. Every page is judged where one comes by: reflow, the size of what is pressed, and axe-core,
 * which is a script itself.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Browser, Locator, Page } from 'playwright-core';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password, registerAccount } from '../support/browser.ts';
import { axe, focused, launchChromium, overflow, smallTargets, tabTo, watch } from '../support/chromium.ts';
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

/** Nothing that axe-core finds, nothing sideways, nothing too small. */
const judge = async (page: Page, scripts: boolean) => {
  if (scripts) expect(await axe(page)).toEqual([]);
  expect(await overflow(page)).toBeLessThanOrEqual(0);
  expect(await smallTargets(page)).toEqual([]);
};

describe.each([
  { locale: 'en', dir: 'ltr', width: 390, javaScriptEnabled: false },
  { locale: 'ar', dir: 'rtl', width: 320, javaScriptEnabled: true },
])(
  'an account in $locale, $width pixels wide, JavaScript: $javaScriptEnabled',
  ({ locale, dir, width, ...scripts }) => {
    const texts = textsOf(locale);

    it('is looked after by keyboard, in the dark', async () => {
      const email = await registerAccount(server, undefined, locale === 'ar' ? 'آدا لوفليس' : 'Ada Lovelace');
      const { id } = await server.database.db('users').where({ email }).first('id');
      const options = { locale, colorScheme: 'dark', reducedMotion: 'reduce', ...scripts } as const;
      const context = await browser.newContext({ ...options, viewport: { width, height: 740 }, acceptDownloads: true });
      context.setDefaultTimeout(30_000);
      const wrong = watch(context, [server.issuer]);
      const page = await context.newPage();

      const press = async (target: Locator) => {
        await tabTo(page, target);
        await page.keyboard.press('Enter');
      };
      const type = async (field: string, text: string) => {
        await tabTo(page, page.locator(`#${field}`));
        await page.keyboard.press('ControlOrMeta+A');
        await page.keyboard.insertText(text);
      };
      const button = (name: string) => page.getByRole('button', { name });
      /** The page with this heading, as the person's language has it. */
      const arrive = async (heading: string) => {
        await expect.poll(() => page.locator('h1').innerText(), { timeout: 30_000 }).toBe(heading);
        expect(await page.evaluate('[document.documentElement.lang, document.documentElement.dir]')).toEqual([
          locale,
          dir,
        ]);
        await judge(page, scripts.javaScriptEnabled);
      };
      const told = (notice: string) =>
        expect.poll(() => page.getByRole('status').innerText(), { timeout: 30_000 }).toBe(texts.notices[notice]);
      const go = async (key: string, heading: string) => {
        await press(page.locator('nav.folded summary'));
        await press(page.locator('nav.folded').getByRole('link', { name: texts['account-menu'][key], exact: true }));
        await arrive(heading);
        const current = page.locator('nav.folded [aria-current=page]');
        expect(await current.textContent()).toBe(texts['account-menu'][key]);
      };

      // Signing in, by the page that one wanted to see.
      await page.goto(`${server.issuer}/account/sessions`);
      await type('email', email);
      await type('password', password);
      await press(page.locator('form:has(#password) .primary'));
      await arrive(texts.sessions.title);
      expect(await page.locator('main').innerText()).toContain(texts.sessions.none);

      // The first thing in reach leads past the menu.
      await page.reload();
      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('skip unseen');
      await page.keyboard.press('Enter');
      expect(await focused(page)).toBe('content');

      await go('overview', texts.account.title);
      expect(await page.locator('main').innerText()).toContain(email);

      // A device somewhere else, and the end of its session.
      const elsewhere = await browser.newContext({ locale });
      const other = await elsewhere.newPage();
      await other.goto(`${server.issuer}/account`);
      await other.fill('#email', email);
      await other.fill('#password', password);
      await other.click('form:has(#password) .primary');
      await other.waitForURL('**/account?**');
      await go('sessions', texts.sessions.title);
      await press(button(texts.sessions.end).first());
      await told('sessionEnded');
      await other.goto(`${server.issuer}/account`);
      expect(other.url()).toContain('/interaction/');
      await elsewhere.close();

      // The profile, and another address.
      await go('profile', texts.profile.title);
      await type('birthdate', '10.12.1815');
      await press(button(texts.profile.submit));
      await page.getByRole('alert').waitFor();
      await arrive(texts.profile.title);
      expect(await page.getByRole('alert').innerText()).toContain(texts.problems.dateInvalid);
      await type('birthdate', '1815-12-10');
      await press(button(texts.profile.submit));
      await told('profileSaved');
      await press(page.getByRole('link', { name: texts.profile.changeEmail }));
      await arrive(texts['change-email'].title);
      const address = `${uuid()}@example.com`;
      await type('email', address);
      await press(button(texts['change-email'].send));
      await page.locator('#code').waitFor();
      await arrive(texts['change-email'].title);
      const code = /\b\d{6}\b/.exec((await server.mail(address)).text)?.[0] as string;
      await type('code', code);
      await press(button(texts['change-email'].confirm));
      await told('emailChanged');
      expect(await page.locator('main').innerText()).toContain(address);

      await go('applications', texts.applications.title);
      expect(await page.locator('main').innerText()).toContain(texts.applications.none);
      await go('password', texts['change-password'].title);
      await go('activity', texts.activity.title);
      const activity = await page.locator('main').innerText();
      for (const key of ['session-sign_in', 'user-change_email', 'session-end', 'user-update_profile'])
        expect(activity).toContain(texts.activity.actions[key]);

      // A copy of it all; and a sign-in that is no longer of just now.
      await go('data', texts.data.title);
      const download = page.waitForEvent('download');
      await press(button(texts.data.submit));
      const file = JSON.parse(await readFile(await (await download).path(), 'utf8'));
      expect(file.account.email).toBe(address);
      const payload = JSON.stringify({ loginTs: Math.floor(Date.now() / 1000) - 660 });
      const { db } = server.database;
      await db('sessions')
        .where({ userId: id })
        .update({ payload: db.raw('payload || cast(? as jsonb)', [payload]) });
      await press(button(texts.data.submit));
      await arrive(texts['sign-in-again'].title);
      expect(await page.getByRole('alert').innerText()).toBe(texts['sign-in-again'].lost);
      await press(page.getByRole('link', { name: texts['sign-in-again'].signIn }));
      await expect.poll(() => page.url(), { timeout: 30_000 }).toContain('/interaction/');
      await type('password', password);
      await press(page.locator('form:has(#password) .primary'));
      await arrive(texts.data.title);

      // The end of it.
      await press(page.getByRole('link', { name: texts.data.closeOpen }));
      await arrive(texts['close-account'].title);
      await type('password', 'not it, not at all');
      await press(button(texts['close-account'].submit));
      await page.getByRole('alert').waitFor();
      await arrive(texts['close-account'].title);
      expect(await page.getByRole('alert').innerText()).toContain(texts.problems.currentPasswordWrong);
      await type('password', password);
      await press(button(texts['close-account'].submit));
      await arrive(texts['account-closed'].title);
      expect(wrong).toEqual([]);
      await context.close();
    }, 240_000);
  },
);
