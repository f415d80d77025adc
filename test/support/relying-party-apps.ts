/** The applications of docs/relying-parties.md, run as they stand there: each a process of its own, with a clock to set. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type Browser, type Page, password } from './browser.ts';
import type { Person } from './relying-party.ts';
import { freePort, type RegisteredClient, type TestServer } from './server.ts';

export const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
export const guide = readFileSync(`${docs}relying-parties.md`, 'utf8');

/** Where the guide lets applications listen. */
const documentedUrl = 'http://localhost:4000';

export interface Section {
  /** Registration metadata: the section's JSON. */
  client: Record<string, unknown>;
  /** The file that it shows, below docs/. */
  file: string;
  code: string;
  /** The commands that it shows. */
  commands: string[];
}

/** What the guide says of a library. */
export const section = (title: string): Section => {
  const text = guide.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? '';
  const [, json = ''] = /```json\n([\s\S]*?)```/.exec(text) ?? [];
  const [, file = '', code = ''] = /<!-- (examples\/[\w./-]+) -->\n\n```\w+\n([\s\S]*?)```/.exec(text) ?? [];
  const commands = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block);
  return { client: JSON.parse(json), file, code, commands };
};

export interface App {
  url: string;
  client: RegisteredClient;
  /** What it has printed. */
  output(): string;
  /** Puts its clock ahead by so many milliseconds. */
  setAhead(ms: number): Promise<void>;
  stop(): Promise<void>;
}

/** Registers what the guide says for an application at this URL. */
export const register = (
  server: TestServer,
  metadata: Record<string, unknown>,
  url: string,
): Promise<RegisteredClient> => server.client(JSON.parse(JSON.stringify(metadata).replaceAll(documentedUrl, url)));

/** Starts a program and waits until the URL answers. */
export const start = async (
  [command = '', ...args]: string[],
  url: string,
  env: Record<string, string>,
): Promise<Omit<App, 'url' | 'client'>> => {
  let output = '';
  const child = spawn(command, args, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (output += data));
  let running = true;
  const ended = new Promise<void>((resolve) => {
    const end = () => {
      running = false;
      resolve();
    };
    child.once('exit', end);
    child.once('error', (error) => {
      output += error;
      end();
    });
  });
  const stop = async () => {
    child.kill();
    await ended;
  };
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(url, { redirect: 'manual' }).catch(() => undefined);
    if (answer) break;
    if (attempt === 600 || !running) {
      await stop();
      throw new Error(`${[command, ...args].join(' ')} does not answer:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    output: () => output,
    setAhead: async (ms) => {
      child.send(ms);
      await once(child, 'message');
    },
    stop,
  };
};

/** Registers and starts the application of a section. */
export const startApp = async (
  server: TestServer,
  { client: metadata, file }: Section,
  env: Record<string, string> = {},
): Promise<App> => {
  const url = `http://localhost:${await freePort()}`;
  const client = await register(server, metadata, url);
  const clock = new URL('./clock.ts', import.meta.url).href;
  const app = await start([process.execPath, '--no-warnings', '--import', clock, docs + file], url, {
    ISSUER: server.issuer,
    APP_URL: url,
    CLIENT_ID: client.client_id,
    CLIENT_SECRET: client.client_secret ?? '',
    SESSION_SECRET: 'a long random text of its own',
    ...env,
  });
  return { url, client, ...app };
};

/** Follows redirects from site to site, as a browser does. */
export const visit = async (browser: Browser, url: string | URL): Promise<Page> => {
  let page = await browser.go(url);
  for (let hops = 0; hops < 20 && page.status >= 300 && page.status < 400; hops++) page = await browser.go(page.url);
  return page;
};

const submit = async (browser: Browser, page: Page, values: Record<string, string>): Promise<Page> => {
  const next = await browser.submit(page, values);
  return next.status >= 300 && next.status < 400 ? visit(browser, next.url) : next;
};

export const asksForPassword = ({ url, html }: Page): boolean =>
  url.pathname.startsWith('/interaction/') && html.includes('current-password');

/** Signs in from the application's page for that, consents if asked, and returns the page that it all ends at. */
export const signIn = async ({ browser, email }: Person, url: string): Promise<Page> => {
  let page = await visit(browser, url);
  expect(asksForPassword(page), page.html.slice(0, 500)).toBe(true);
  for (let step = 0; step < 5 && page.url.pathname.startsWith('/interaction/'); step++)
    page = await submit(browser, page, asksForPassword(page) ? { email, password } : {});
  return page;
};

/** Follows the application's sign-out to the provider, confirms there, and returns the page that it all ends at. */
export const signOut = async ({ browser }: Person, url: string): Promise<Page> => {
  const page = await visit(browser, url);
  expect(page.url.href, page.html.slice(0, 500)).toMatch(/\/oauth\/logout\b/);
  return submit(browser, page, { logout: 'yes' });
};
