/**
 * Looks at every page in a language: axe-core in light and dark, reflow at 320 pixels (which is 1280 at 400 % zoom), the size of
 * what is pressed, `lang` and `dir`. SCREENSHOTS=1 also takes pictures of each, at three widths and in both schemes, in
 * artifacts/screenshots/.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { axe, axeColors, overflow, smallTargets, watch } from '../support/chromium.ts';
import { closeSite, openSite, type Site, states } from '../support/page-states.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pictures = process.env.SCREENSHOTS ? join(root, 'artifacts/screenshots') : undefined;
const widths = [320, 390, 1280];
const phone = { width: 390, height: 844 };
/** 1280 x 1024 at 400 %. */
const zoomed = { width: 320, height: 256 };

const check = async (page: Page, isJudged: boolean): Promise<string[]> => {
  const found: string[] = [];
  const note = (what: string, lines: string[]) => found.push(...lines.map((line) => `${what}: ${line}`));
  if (isJudged) {
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
    note('light', await axe(page));
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
    note('dark', await axeColors(page));
  }
  await page.setViewportSize(zoomed);
  const pixels = await overflow(page);
  if (pixels > 0) note('320 pixels wide', [`scrolls sideways by ${pixels}`]);
  note('small', await smallTargets(page));
  await page.setViewportSize(phone);
  return found;
};

const takePictures = async (page: Page, folder: string, name: string, locale: string) => {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    for (const width of widths) {
      await page.setViewportSize({ width, height: 800 });
      const file = `${name.replaceAll(' ', '-')}-${locale}-${width}-${colorScheme}.png`;
      await page.screenshot({ path: join(folder, file), fullPage: true });
    }
  }
};

/** @param isJudged by axe-core: what that looks for is the same in every language */
export const describePages = (locale: string, dir: 'ltr' | 'rtl', { isJudged }: { isJudged: boolean }): void => {
  const messages = JSON.parse(readFileSync(join(root, `views/locales/${locale}.json`), 'utf8'));
  let site: Site;
  beforeAll(async () => {
    if (pictures) mkdirSync(pictures, { recursive: true });
    site = await openSite();
  });
  afterAll(closeSite);

  describe(`pages in ${locale}`, () => {
    it.each(states)('$name', async ({ name, error, member, open }) => {
      const context = await site.browser.newContext({
        locale,
        viewport: phone,
        reducedMotion: 'reduce',
        ...(member ? { storageState: site.member } : {}),
      });
      context.setDefaultTimeout(20_000);
      const wrong = watch(context, site.origins);
      const page = await context.newPage();
      await open(page);

      const view = name.split(' ')[0] as string;
      await page.waitForSelector(`body.view-${view}`);
      const title = error ? messages.errors[error].title : messages[view].title;
      expect(await page.title()).toContain(title);
      expect(await page.evaluate('[document.documentElement.lang, document.documentElement.dir]')).toEqual([
        locale,
        dir,
      ]);
      expect(await check(page, isJudged)).toEqual([]);
      if (pictures) await takePictures(page, pictures, name, locale);
      expect(wrong).toEqual([]);
      await context.close();
    });
  });
};
