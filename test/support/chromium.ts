/** A real browser, and what every page of ours must keep to in it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
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

export interface Application {
  redirectUri: string;
  origin: string;
  stop(): Promise<void>;
}

/**
 * An application, as far as a browser sees it: a page where it sends people back. It has to be there: Playwright's routes are not
 * asked where a redirect leads, so that a name that nobody has is looked up, and what comes of that depends on the network.
 */
export const startApplication = async (): Promise<Application> => {
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('back'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    redirectUri: `${origin}/callback`,
    origin,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

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

/** axe-core's rules that look at colours. */
const colorRules = ['color-contrast', 'link-in-text-block'];
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

interface Violation {
  id: string;
  help: string;
  nodes: { html: string }[];
}
const linesOf = (violations: Violation[]): string[] =>
  violations.flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}: ${html}`));

/** What axe-core finds: one line for each rule and element. */
export const axe = async (page: Page): Promise<string[]> => {
  // After a click a page may be there in part.
  await page.waitForLoadState();
  const builder = new AxeBuilder({ page }).options({ resultTypes: ['violations'] }).withTags(tags);
  // Without frames there is nothing to merge, for which axe would open a second page.
  return linesOf((await builder.setLegacyMode().analyze()).violations);
};

/**
 * What `axe` finds on the same page in another scheme, which can be about colours alone: `prefers-color-scheme` changes nothing else,
 * and all at once where motion is reduced.
 * To load axe-core again would take longer than to run it.
 */
export const axeColors = async (page: Page): Promise<string[]> => {
  const options = { runOnly: colorRules, resultTypes: ['violations'] };
  return linesOf(await page.evaluate(`axe.run(${JSON.stringify(options)}).then(({ violations }) => violations)`));
};

/** How many pixels are out of reach sideways. */
export const overflow = async (page: Page): Promise<number> => {
  await page.waitForLoadState();
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
};

/** Controls smaller than 24 pixels (WCAG 2.5.8), and buttons and fields lower than 44. */
export const smallTargets = async (page: Page): Promise<string[]> => {
  await page.waitForLoadState();
  return page.evaluate(`[...document.querySelectorAll('a, button, input, select, textarea, summary')].flatMap((element) => {
    const { width, height } = element.getBoundingClientRect();
    if (element.type === 'hidden' || element.closest('.unseen') || !element.checkVisibility()) return [];
    const least = element.matches('button, .button, input, select, textarea') ? 44 : 24;
    return height < least || width < 24 ? [Math.round(width) + 'x' + Math.round(height) + ' ' + element.outerHTML.slice(0, 120)] : [];
  })`);
};

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
