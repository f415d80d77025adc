/** Every page in every state of the gallery, the ones that the service itself seldom shows included. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createViews } from '../../interactions/views.ts';
import { axe, launchChromium, overflow, smallTargets, watch } from '../support/chromium.ts';
import { renderSample, samples, serve } from './gallery.ts';

const views = createViews({ brand: 'Countersign' });
const path = ({ view, state }: (typeof samples)[number]) => `/${view}-${state}.html`;

let server: Server;
let origin: string;
let browser: Browser;
let page: Page;
let wrong: string[];
beforeAll(async () => {
  const pages = samples.map((sample) => [path(sample), renderSample(views, sample)] as const);
  server = await serve(views, new Map(pages));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await launchChromium();
  const context = await browser.newContext({ viewport: { width: 320, height: 640 }, reducedMotion: 'reduce' });
  wrong = watch(context, [origin]);
  page = await context.newPage();
});
afterAll(async () => {
  await browser?.close();
  server?.closeAllConnections();
  server?.close();
});

it.each(samples)('$view $state', async (sample) => {
  await page.goto(origin + path(sample));
  expect(await axe(page)).toEqual([]);
  expect(await overflow(page)).toBeLessThanOrEqual(0);
  expect(await smallTargets(page)).toEqual([]);
  expect(wrong.splice(0)).toEqual([]);
});
