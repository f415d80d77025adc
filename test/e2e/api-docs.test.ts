/** Swagger UI in a real browser: nothing from elsewhere, nothing that the policy stops, and requests that arrive. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, overflow, watch } from '../support/chromium.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
beforeAll(async () => {
  server = await startServer();
  browser = await launchChromium();
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const open = async (path: string, colorScheme: 'light' | 'dark', width: number) => {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 844 } });
  // Swagger UI keeps a busy machine busy for long.
  context.setDefaultTimeout(90_000);
  const found = watch(context, [server.issuer]);
  const page = await context.newPage();
  await page.goto(server.issuer + path);
  await page.locator('.opblock').first().waitFor();
  return { page, found, close: () => context.close() };
};

/** Of so many operations those alone are in the document that are in sight, so it is looked for by its path. */
const tryOut = async (page: Page, path: string, operation: string): Promise<string> => {
  await page.locator('.operation-filter-input').fill(path);
  const block = page.locator(`#operations-${operation}`);
  await block.locator('.opblock-summary-control').click();
  await block.locator('.try-out__btn').click();
  await block.locator('.execute').click();
  return (await block.locator('.live-responses-table .response-col_status').nth(1).textContent()) ?? '';
};

describe('the API’s description', () => {
  for (const { path, scheme, width } of [
    { path: '/docs', scheme: 'light', width: 1280 },
    { path: '/swagger-ui/', scheme: 'dark', width: 390 },
  ] as const) {
    it(`is shown at ${path}, ${scheme} and ${width} pixels wide, and tries requests out`, async () => {
      const { page, found, close } = await open(path, scheme, width);
      expect(await page.title()).toBe('Countersign API');
      const ground = await page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
      expect(ground).toBe(scheme === 'dark' ? 'rgb(15, 17, 22)' : 'rgb(255, 255, 255)');
      expect(await tryOut(page, '/health/ready', 'Operation-ready')).toMatch(/^200/);
      expect(await tryOut(page, '/auth/validate', 'Sign-in-validateToken')).toMatch(/^200/);
      expect(await overflow(page)).toBe(0);
      expect(found).toEqual([]);
      await close();
    });
  }
  it('shows every operation that the document has', async () => {
    const { page, close } = await open('/docs', 'light', 1280);
    const document = await server.app.createDocument();
    const operations = Object.values(document.paths as Record<string, object>).flatMap((item) =>
      Object.keys(item).filter((method) => method !== 'servers'),
    );
    const seen = new Set<string>();
    const ids = "[...document.querySelectorAll('.opblock')].map(({ id }) => id)";
    const isAtEnd = 'scrollY + innerHeight >= document.documentElement.scrollHeight - 1';
    // From top to bottom, and once more where the page was slower to show them than it was scrolled.
    for (let times = 0; times < 5 && seen.size < operations.length; times++) {
      await page.evaluate('scrollTo(0, 0)');
      for (let atEnd = false; !atEnd; ) {
        atEnd = await page.evaluate(isAtEnd);
        for (const id of await page.evaluate<string[]>(ids)) seen.add(id);
        await page.mouse.wheel(0, 400);
        await page.waitForTimeout(60);
      }
    }
    expect(seen.size).toBe(operations.length);
    await close();
  });
  it('takes its script and styles from a path with their version, to be kept for good', async () => {
    const html = await (await fetch(`${server.issuer}/docs`)).text();
    expect(html).not.toMatch(/<script>|<style|style=|\son\w+=/);
    for (const [, path] of html.matchAll(/(?:src|href)="(\/docs\/[^"]+)"/g)) {
      const response = await fetch(server.issuer + path);
      expect([response.status, response.headers.get('cache-control')]).toEqual([
        200,
        'public, max-age=31536000, immutable',
      ]);
      await response.body?.cancel();
    }
    const other = await fetch(`${server.issuer}/docs/0.0.1/swagger-ui.css`);
    expect(other.status).toBe(404);
  });
  it('lets nobody frame it, and scripts connect to this service alone', async () => {
    const policy = (await fetch(`${server.issuer}/docs`)).headers.get('content-security-policy');
    expect(policy).toContain("connect-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    expect((await fetch(`${server.issuer}/sign-in`)).headers.get('content-security-policy')).not.toContain('connect');
  });
});
