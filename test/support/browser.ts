/** A browser without a screen: cookies, redirects, forms. It sends what a browser's form sends, `Origin` included. */

import { v7 as uuid } from 'uuid';
import { expect } from 'vitest';
import { insertUser } from '../../src/users/users.queries.ts';
import type { TestServer } from './server.ts';

export interface Page {
  status: number;
  url: URL;
  html: string;
  headers: Headers;
}

interface Form {
  action: string;
  fields: Record<string, string>;
  /** What every form of ours has besides. */
  token: string | undefined;
  buttons: Record<string, string>;
}

const unescapeHtml = (text: string) =>
  text
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replace(/&quot;/g, '"')
    .replace(/&amp;/g, '&')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>');

const attribute = (tag: string, name: string) => {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(tag);
  return found?.[1] === undefined ? undefined : unescapeHtml(found[1]);
};

/** The forms of a page, in order. */
export const formsOf = (html: string): Form[] =>
  [...html.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/g)].map(([form]) => {
    const fields: Record<string, string> = {};
    for (const [tag] of form.matchAll(/<(input|textarea)\b[^>]*>/g)) {
      const name = attribute(tag, 'name');
      // A box that is not ticked is not sent.
      if (name && !/type="checkbox"(?![^>]*\schecked)/.test(tag)) fields[name] = attribute(tag, 'value') ?? '';
    }
    const buttons: Record<string, string> = {};
    for (const [tag] of form.matchAll(/<button\b[^>]*>/g)) {
      const name = attribute(tag, 'name');
      if (name) buttons[name] = attribute(tag, 'value') ?? '';
    }
    const { csrf: token, ...rest } = fields;
    return { action: attribute(form, 'action') ?? '', fields: rest, token, buttons };
  });

interface Cookie {
  name: string;
  value: string;
  path: string;
}

export class Browser {
  readonly cookies: Cookie[] = [];
  readonly issuer: string;
  /** Where requests for the issuer go, as if a proxy in front spoke TLS. */
  readonly address: string;
  /** Sent with every request. */
  readonly headers: Record<string, string> = {};
  /** Of the last form that a page of ours showed. */
  formToken: string | undefined;
  /** Every Set-Cookie header received. */
  readonly setCookies: string[] = [];

  constructor(issuer: string, address = issuer) {
    this.issuer = issuer;
    this.address = address;
  }

  /** One request, without following redirects. */
  async request(url: string | URL, init: RequestInit = {}): Promise<Response> {
    const target = new URL(url, this.issuer);
    const headers = new Headers({ ...this.headers, ...Object.fromEntries(new Headers(init.headers)) });
    const body = await this.#withToken(target, init, headers);
    const cookie = this.cookies
      .filter(
        ({ path }) => target.pathname === path || target.pathname.startsWith(path.endsWith('/') ? path : `${path}/`),
      )
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
    if (cookie) headers.set('cookie', cookie);
    if (!headers.has('accept')) headers.set('accept', 'text/html,*/*;q=0.8');
    if (!headers.has('user-agent'))
      headers.set('user-agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0');
    const response = await fetch(target.href.replace(this.issuer, this.address), {
      ...init,
      ...(body ? { body } : {}),
      headers,
      redirect: 'manual',
    });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  /**
   * What is posted to a page of ours as if from one has the token that its forms have; a browser that was shown none is shown
   * one. What comes from elsewhere (`Origin`) has none, nor does a form that says itself what its token is.
   */
  async #withToken({ pathname }: URL, init: RequestInit, headers: Headers): Promise<RequestInit['body']> {
    const { method, body = new URLSearchParams() } = init;
    const isForm =
      body instanceof URLSearchParams || (typeof body === 'string' && /form/.test(headers.get('content-type') ?? ''));
    const isOurs = headers.get('origin') === this.issuer && !/^\/(oauth|device|auth)\b/.test(pathname);
    if (method !== 'POST' || !isForm || !isOurs || new URLSearchParams(String(body)).has('csrf')) return init.body;
    if (this.formToken === undefined) await this.go('/forgot');
    const token = `csrf=${this.formToken ?? ''}`;
    // What a test has encoded in a way of its own stays as it is.
    return typeof body === 'string' ? `${body}&${token}` : new URLSearchParams(`${body}&${token}`);
  }

  #keep(line: string): void {
    this.setCookies.push(line);
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
    const split = pair.indexOf('=');
    const name = pair.slice(0, split);
    const path = attributes.find((item) => /^path=/i.test(item))?.slice(5) ?? '/';
    const expires = attributes.find((item) => /^expires=/i.test(item))?.slice(8);
    const index = this.cookies.findIndex((cookie) => cookie.name === name && cookie.path === path);
    if (index >= 0) this.cookies.splice(index, 1);
    if (!expires || Date.parse(expires) > Date.now()) this.cookies.push({ name, value: pair.slice(split + 1), path });
  }

  /** Follows redirects until a page, or until the browser would leave the service. */
  async go(url: string | URL, init?: RequestInit): Promise<Page> {
    let target = new URL(url, this.issuer);
    let response = await this.request(target, init);
    for (let hops = 0; hops < 20 && response.status >= 300 && response.status < 400; hops++) {
      target = new URL(response.headers.get('location') ?? '', target);
      if (target.origin !== this.issuer) break;
      response = await this.request(target);
    }
    const html = await response.text();
    this.formToken = /name="csrf" value="([^"]+)"/.exec(html)?.[1] ?? this.formToken;
    return { status: response.status, url: target, html, headers: response.headers };
  }

  /** Submits the form whose action ends with `action`, else the one that posts to the page itself, else the first. */
  submit(page: Page, values: Record<string, string> = {}, action?: string): Promise<Page> {
    const forms = formsOf(page.html);
    const form =
      action === undefined
        ? (forms.find((form) => form.action === page.url.pathname) ?? forms[0])
        : forms.find((form) => form.action.endsWith(action));
    if (!form) throw new Error(`no form ${action ?? ''} on ${page.url}:\n${page.html.slice(0, 500)}`);
    return this.go(new URL(form.action, page.url), {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: this.issuer },
      body: new URLSearchParams({ ...(form.token ? { csrf: form.token } : {}), ...form.fields, ...values }),
    });
  }
}

export const password = 'correct horse battery staple';

/** Registers and verifies an account over HTTP. */
export const registerAccount = async (
  { address, mail }: TestServer,
  email = `${uuid()}@example.com`,
  name = 'Ada Lovelace',
): Promise<string> => {
  const registered = await fetch(`${address}/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password, name }),
  });
  expect(registered.status).toBe(201);
  const { links } = await mail(email);
  const token = new URL(links.find((link) => link.includes('/verify')) as string).searchParams.get('token');
  const verified = await fetch(`${address}/auth/verify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  expect(verified.status).toBe(200);
  return email;
};

let passwordHash: Promise<string> | undefined;

/**
 * Makes an account as it is after it was registered and verified, without the two requests, the mail between them and the hash
 * for each: for whoever is needed to be there. How one registers has tests of its own.
 */
export const makeAccount = async ({ app, database }: TestServer): Promise<string> => {
  const email = `${uuid()}@example.com`;
  passwordHash ??= app.accounts.passwords.hash(password);
  const user = { id: uuid(), email, name: 'Ada Lovelace', role: 'user', locale: 'en' };
  await insertUser(database.db, { ...user, passwordHash: await passwordHash, emailVerifiedAt: new Date() });
  return email;
};

/** Signs in and consents wherever an authorization URL leads, and returns the URL that the browser is sent to. */
export const authorize = async (browser: Browser, url: string | URL, email?: string): Promise<URL> => {
  let page = await browser.go(url);
  for (
    let step = 0;
    step < 5 &&
    page.url.origin === browser.issuer &&
    page.status === 200 &&
    page.url.pathname.startsWith('/interaction/');
    step++
  ) {
    page = page.html.includes('current-password')
      ? await browser.submit(page, { email: email ?? '', password })
      : await browser.submit(page);
  }
  return page.url;
};
