/** Single requests, and the words that pages are expected to say. */
import { readFileSync } from 'node:fs';
import * as oidc from 'openid-client';
import { expect } from 'vitest';
import { Browser, type Page } from './browser.ts';
import { registerRelyingParty } from './relying-party.ts';
import type { RegisteredClient, TestServer } from './server.ts';

type Words = { [key: string]: string | Words };
const english = JSON.parse(readFileSync(new URL('../../views/locales/en.json', import.meta.url), 'utf8')) as Words;

/** The English text of a translation key, as a page shows it. */
export const words = (key: string): string => {
  const text = key.split('.').reduce<string | Words | undefined>((node, part) => (node as Words)?.[part], english);
  if (typeof text !== 'string') throw new Error(`no such text: ${key}`);
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
};

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever came
  json: any;
}

/** A response that was read to its end. */
export const answerOf = async (response: Response): Promise<Answer> => {
  const text = await response.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json };
};

/** POSTs JSON, or the given text as it is. */
export const postJson = async (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  answerOf(
    await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    }),
  );

/** POSTs a form from the issuer's own origin with the browser's cookies, and follows where it leads. */
export const postForm = (
  browser: Browser,
  path: string,
  fields: Record<string, string> | [string, string][] | string,
  headers: Record<string, string> = {},
): Promise<Page> =>
  browser.go(path, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin: browser.issuer, ...headers },
    body: typeof fields === 'string' ? fields : new URLSearchParams(fields).toString(),
  });

/** Headers that two answers which must look the same may differ in: references, dates, what is left of a limit, cookies' values. */
export const comparable = (headers: Headers): Record<string, string> =>
  Object.fromEntries(
    [...headers]
      .filter(([name]) => !['x-request-id', 'date', 'etag', 'ratelimit'].includes(name))
      .map(([name, value]) => [
        name,
        name === 'set-cookie' ? value.replace(/=[^;]*/, '=').replace(/expires=[^;]*/gi, '') : value,
      ]),
  );

/** A page without the token of its forms, which is the browser's own. */
export const comparableHtml = (html: string): string => html.replace(/(name="csrf" value=)"[^"]*"/g, '$1""');

/** The token of a mailed link. */
export const tokenOf = (links: string[], page: string): string => {
  const link = links.find((link) => new URL(link).pathname === `/${page}`);
  if (!link) throw new Error(`no link to /${page} in ${links}`);
  return new URL(link).searchParams.get('token') as string;
};

/** How many mails of the subject have been delivered to the address so far. */
export const mailCount = ({ app }: TestServer, to: string, subject = /./): number =>
  (app.mailbox?.messages() ?? []).filter((mail) => mail.to === to && subject.test(mail.subject)).length;

/** Waits until something holds. */
export const eventually = async (holds: () => boolean | Promise<boolean>, what: string, ms = 20_000): Promise<void> => {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

/** A browser in which somebody is signed in to the account page. */
export const signedIn = async (server: TestServer, email: string, password?: string): Promise<Browser> => {
  const browser = new Browser(server.issuer, server.address);
  const page = await signIn(browser, email, password);
  expect([page.status, page.url.pathname]).toEqual([200, '/account']);
  return browser;
};

/** Opens the account page and signs in there; returns what comes of it. */
export const signIn = async (
  browser: Browser,
  email: string,
  password = 'correct horse battery staple',
): Promise<Page> => browser.submit(await browser.go('/account'), { email, password });

export interface RelyingParty {
  client: RegisteredClient;
  config: oidc.Configuration;
  /** Signs in and consents in the browser, and exchanges the code. */
  tokens(
    browser: Browser,
    email: string,
    parameters?: Record<string, string>,
  ): Promise<oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers>;
  /** An authorization URL with PKCE. */
  url(parameters?: Record<string, string>): Promise<URL>;
  /** Whether the refresh token and the access token still work. */
  alive(tokens: oidc.TokenEndpointResponse): Promise<{ refresh: boolean; access: boolean }>;
}

/** Registers an application and speaks for it: `registerRelyingParty` in as few words as most tests need. */
export const relyingParty = async (
  server: TestServer,
  metadata: Record<string, unknown> = {},
): Promise<RelyingParty> => {
  const party = await registerRelyingParty(server, metadata);
  const scoped = (parameters: Record<string, string> = {}) => ({
    scope: 'openid profile email',
    state: 'st',
    ...parameters,
  });
  return {
    client: party.client,
    config: party.config,
    url: async (parameters) => (await party.begin(scoped(parameters))).url,
    tokens: (browser, email, parameters) => party.signIn({ browser, email }, scoped(parameters)),
    alive: async (tokens) => {
      // The access token first: a refresh would replace it.
      const access = await fetch(`${server.address}/oauth/userinfo`, {
        headers: { authorization: `Bearer ${tokens.access_token}` },
      });
      const refresh = await oidc.tokenIntrospection(party.config, tokens.refresh_token as string);
      return { refresh: refresh.active, access: access.status === 200 };
    },
  };
};
