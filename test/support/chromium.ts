/** A real browser, and what every page of ours must keep to in it. */
import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';

const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The system's Chromium, without any traffic of its own. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium', args: quiet });

/** Writes down what must not happen: requests to other origins, failed files, and whatever the console complains of. */
export const watch = (context: BrowserContext, origins: string[]): string[] => {
  const found: string[] = [];
  context.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== 'data:' && !origins.includes(origin)) found.push(`a request to ${request.url()}`);
  });
  context.on('response', (response) => {
    const isPage = response.request().resourceType() === 'document';
    if (!isPage && response.status() >= 400) found.push(`${response.status()} for ${response.url()}`);
  });
  context.on('console', (message) => {
    // A page that answers 4xx says so in the console as well; files are looked at above.
    const isStatus = /^Failed to load resource: the server responded with a status of 4/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !isStatus) found.push(`console: ${message.text()}`);
  });
  context.on('weberror', (error) => found.push(`script: ${error.error().message}`));
  return found;
};

const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** What axe-core finds: one line for each rule and element. */
export const axe = async (page: Page): Promise<string[]> => {
  // Without frames there is nothing to merge, for which axe would open a second page.
  const { violations } = await new AxeBuilder({ page }).withTags(tags).setLegacyMode().analyze();
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}: ${html}`));
};

/** How many pixels are out of reach sideways. */
export const overflow = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

/** Controls smaller than 24 pixels (WCAG 2.5.8), and buttons and fields lower than 44. */
export const smallTargets = (page: Page): Promise<string[]> =>
  page.evaluate(`[...document.querySelectorAll('a, button, input, select, textarea, summary')].flatMap((element) => {
    const { width, height } = element.getBoundingClientRect();
    if (element.type === 'hidden' || element.closest('.unseen') || !element.checkVisibility()) return [];
    const least = element.matches('button, .button, input, select, textarea') ? 44 : 24;
    return height < least || width < 24 ? [Math.round(width) + 'x' + Math.round(height) + ' ' + element.outerHTML.slice(0, 120)] : [];
  })`);

/** The id, else the tag, of what has the focus. */
export const focused = (page: Page): Promise<string> =>
  page.evaluate('document.activeElement.id || document.activeElement.className || document.activeElement.localName');

/** What is used of a browser's Element; its types are not among those of a Node program. */
interface Styled {
  matches(selector: string): boolean;
  ownerDocument: { defaultView: { getComputedStyle(element: Styled): { outlineStyle: string; outlineWidth: string } } };
}

/** Moves the focus by keyboard alone; it must be seen where it lands. */
export const tabTo = async (page: Page, target: Locator): Promise<void> => {
  await target.waitFor();
  const hasFocus = () => target.evaluate((element: Styled) => element.matches(':focus'));
  for (let presses = 0; presses < 80; presses++) {
    if (await hasFocus()) {
      const outline = await target.evaluate((element: Styled) => {
        const { outlineStyle, outlineWidth } = element.ownerDocument.defaultView.getComputedStyle(element);
        return outlineStyle === 'none' ? 0 : Number.parseFloat(outlineWidth);
      });
      if (outline < 2) throw new Error(`the focus can't be seen on ${target}`);
      return;
    }
    await page.keyboard.press('Tab');
  }
  throw new Error(`${target} is out of reach for the keyboard`);
};
