import { v7 as uuid } from 'uuid';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { hashToken } from '../../src/secrets.ts';
import { between } from '../support/between.ts';
import { Browser, formsOf, type Page, password, registerAccount } from '../support/browser.ts';
import {
  comparable,
  comparableHtml,
  postForm,
  type RelyingParty,
  relyingParty,
  signIn,
  words,
} from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const hashing = vi.hoisted(() => {
  // Files share a process: what an earlier one has loaded hashes uncounted.
  vi.resetModules();
  return { verifications: 0, held: undefined as Promise<void> | undefined };
});
vi.mock('@node-rs/argon2', async (original) => {
  const real = await original<typeof import('@node-rs/argon2')>();
  const verify: typeof real.verify = async (...given) => {
    hashing.verifications += 1;
    await hashing.held;
    return real.verify(...given);
  };
  return { ...real, verify };
});

let server: TestServer;
let app: RelyingParty;
let email: string;
beforeAll(async () => {
  // One account signs in and fails all the time, as nobody does.
  server = await startServer({ RATE_LIMIT_FACTOR: '1', TRUST_PROXY: '1', RISK_STEP_UP: '0' });
  app = await relyingParty(server);
  email = await registerAccount(server);
});
afterAll(() => server.stop());

/** A browser at an address of its own, so that one test's failures do not count in another. */
let addresses = 0;
const browserAt = (address = `192.0.2.${++addresses}`) => {
  const browser = new Browser(server.issuer);
  browser.headers['x-forwarded-for'] = address;
  return browser;
};
const formHeaders = () => ({ origin: server.issuer, 'content-type': 'application/x-www-form-urlencoded' });
const openSignIn = async (browser: Browser) => {
  const page = await browser.go(await app.url());
  expect(page.html).toContain('current-password');
  return page;
};
const attempt = (browser: Browser, page: Page, candidate: string, address = email) =>
  browser.request(page.url, {
    method: 'POST',
    headers: formHeaders(),
    body: new URLSearchParams({ email: address, password: candidate }),
  });
const isSignedIn = async (browser: Browser) => (await browser.go('/account')).url.pathname === '/account';

describe('a wrong password and an unknown address', () => {
  it('look the same and cost the same number of hashes', async () => {
    const seen = [];
    for (const address of [email, `${uuid()}@example.com`]) {
      const browser = browserAt();
      const page = await openSignIn(browser);
      const before = hashing.verifications;
      const response = await attempt(browser, page, 'not the password', address);
      const html = await response.text();
      expect(html).toContain(words('problems.wrongCredentials'));
      expect(formsOf(html)[0]?.fields).toEqual({ email: address, password: '' });
      seen.push({
        status: response.status,
        headers: { ...comparable(response.headers), 'content-length': undefined },
        html: comparableHtml(html).replaceAll(address, '').replaceAll(page.url.pathname, ''),
        verifications: hashing.verifications - before,
      });
    }
    expect(seen[0]).toMatchObject({ status: 401, verifications: 1 });
    expect(seen[1]).toEqual(seen[0]);
  });

  for (const { name, fields, expected } of [
    { name: 'nothing', fields: {}, expected: ['emailRequired', 'passwordRequired'] },
    { name: 'an address alone', fields: { email: 'a@example.com', password: '' }, expected: ['passwordRequired'] },
    {
      name: 'a password of 5000 characters',
      fields: { email: 'a@example.com', password: 'x'.repeat(5000) },
      expected: ['passwordTooLong'],
    },
  ]) {
    it(`says what is wrong with ${name}`, async () => {
      const browser = browserAt();
      const page = await openSignIn(browser);
      const refused = await postForm(browser, page.url.pathname, { ...fields } as Record<string, string>);
      expect(refused.status).toBe(400);
      for (const code of expected) expect(refused.html).toContain(words(`problems.${code}`).replace('{{max}}', '1024'));
    });
  }

  for (const odd of ['\0', 'a\0b@example.com', '\ud800', `${'a'.repeat(300)}@example.com`, "' or 1=1 --"]) {
    it(`refuses the address ${JSON.stringify(odd).slice(0, 30)}`, async () => {
      const browser = browserAt();
      const page = await openSignIn(browser);
      const refused = await postForm(browser, page.url.pathname, { email: odd, password });
      expect([400, 401]).toContain(refused.status);
    });
  }
});

describe('the limit of failed sign-ins', () => {
  const minutes15 = (response: Response) => {
    const seconds = Number(response.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(800);
    expect(seconds).toBeLessThanOrEqual(900);
  };

  it('locks an account for an address after five, for the right password too, and for that address alone', async () => {
    const browser = browserAt();
    const page = await openSignIn(browser);
    for (let count = 0; count < 5; count++) expect((await attempt(browser, page, `wrong ${count}`)).status).toBe(401);
    for (const candidate of ['wrong again', password]) {
      const refused = await attempt(browser, page, candidate);
      expect(refused.status).toBe(429);
      minutes15(refused);
      expect(await refused.text()).toContain(words('problems.tooManyAttempts').replace('{{duration}}', '15 minutes'));
    }
    // However the address is written.
    expect((await attempt(browser, page, password, ` ${email.toUpperCase()}`)).status).toBe(429);
    expect(await isSignedIn(browser)).toBe(false);
    const elsewhere = browserAt();
    expect((await signIn(elsewhere, email)).url.pathname).toBe('/account');
  });

  it('is the same for an address without an account', async () => {
    const browser = browserAt();
    const page = await openSignIn(browser);
    const unknown = `${uuid()}@example.com`;
    const statuses = [];
    for (let count = 0; count < 6; count++) statuses.push((await attempt(browser, page, 'wrong', unknown)).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
  });

  it('begins anew after a success', async () => {
    const browser = browserAt();
    for (let round = 0; round < 2; round++) {
      const page = await browser.go(await app.url({ prompt: 'login' }));
      for (let count = 0; count < 4; count++) expect((await attempt(browser, page, 'wrong')).status).toBe(401);
      expect((await attempt(browser, page, password)).status).toBe(303);
    }
  });

  it('holds for guesses made at the same time', async () => {
    const browser = browserAt();
    const page = await openSignIn(browser);
    const before = hashing.verifications;
    const answers = await Promise.all(Array.from({ length: 25 }, (_, n) => attempt(browser, page, `guess ${n}`)));
    const count = (status: number) => answers.filter((answer) => answer.status === status).length;
    expect([count(401), count(429)]).toEqual([5, 20]);
    expect(hashing.verifications - before).toBe(5);
  });

  it('holds for many accounts tried from one address', async () => {
    const browser = browserAt();
    const page = await openSignIn(browser);
    const answers = await Promise.all(
      Array.from({ length: 60 }, () => attempt(browser, page, 'Summer2025!', `${uuid()}@example.com`)),
    );
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(50);
  });
});

describe('a form from elsewhere', () => {
  for (const { name, headers } of [
    { name: 'another origin', headers: { origin: 'https://evil.example' } },
    { name: 'an origin that is hidden', headers: { origin: 'null' } },
    { name: 'a cross-site page', headers: { 'sec-fetch-site': 'cross-site' } },
    { name: 'a sibling of our site', headers: { 'sec-fetch-site': 'same-site' } },
    { name: 'a cross-site page that claims our origin', headers: { origin: 'ours', 'sec-fetch-site': 'cross-site' } },
  ] as { name: string; headers: Record<string, string> }[]) {
    it(`is refused: ${name}`, async () => {
      const browser = browserAt();
      const page = await openSignIn(browser);
      const from = { ...headers, ...(headers.origin === 'ours' ? { origin: server.issuer } : {}) };
      const post = (path: string, fields: Record<string, string>) =>
        browser.request(path, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded', ...from },
          body: new URLSearchParams(fields),
        });
      const stranger = `${uuid()}@example.com`;
      for (const [path, fields] of [
        [page.url.pathname, { email, password }],
        [`${page.url.pathname}/abort`, {}],
        ['/register', { name: 'Eve', email: stranger, password }],
        ['/forgot', { email }],
        ['/account/sessions/end-others', {}],
        ['/account/profile', { name: 'Eve' }],
      ] as [string, Record<string, string>][]) {
        const refused = await post(path, fields);
        expect([path, refused.status]).toEqual([path, 403]);
        expect(await refused.text()).toContain(words('errors.crossSite.title'));
      }
      expect(await isSignedIn(browser)).toBe(false);
      expect(await server.database.db('users').where({ email: stranger })).toHaveLength(0);
      // The sign-in that was begun can still be finished.
      expect((await attempt(browser, page, password)).status).toBe(303);
    });
  }
});

describe('an interaction', () => {
  it('belongs to the browser that began it', async () => {
    const page = await openSignIn(browserAt());
    const other = browserAt();
    const opened = await other.go(page.url);
    expect([opened.status, opened.html.includes(words('errors.cookies.title'))]).toEqual([400, true]);
    const posted = await postForm(other, page.url.pathname, { email, password });
    expect(posted.status).toBe(400);
    expect(await isSignedIn(other)).toBe(false);
    // Nor does another sign-in of its own help it.
    await openSignIn(other);
    expect((await postForm(other, page.url.pathname, { email, password })).status).toBe(400);
  });

  it('may be submitted twice', async () => {
    const browser = browserAt();
    const page = await openSignIn(browser);
    const answers = await Promise.all([attempt(browser, page, password), attempt(browser, page, password)]);
    expect(answers.map(({ status }) => status)).toEqual([303, 303]);
    const consent = await browser.go(answers[0]?.headers.get('location') as string);
    expect(consent.html).toContain('Acme');
    expect((await attempt(browser, page, password)).status).toBeLessThan(500);
    const landed = await browser.submit(await browser.go(await app.url()));
    expect(landed.url.href).toMatch(/^https:\/\/app\.example\.com\/callback\?code=/);
  });

  it('ends with access_denied at the application when it is cancelled', async () => {
    const browser = browserAt();
    const landed = await browser.submit(await openSignIn(browser), {}, '/abort');
    expect(landed.url.origin).toBe('https://app.example.com');
    expect(Object.fromEntries(landed.url.searchParams)).toMatchObject({
      error: 'access_denied',
      state: 'st',
      iss: server.issuer,
    });
  });

  it('lets somebody else use their account instead', async () => {
    const other = await registerAccount(server, undefined, 'Grace Hopper');
    const fresh = await relyingParty(server, { client_name: 'Fresh' });
    const browser = browserAt();
    await signIn(browser, email);
    const consent = await browser.go(await fresh.url());
    expect(consent.html).toContain(email);
    const again = await browser.submit(consent, {}, '/switch');
    expect(again.html).not.toContain(email);
    expect(formsOf(again.html)[0]?.fields).toEqual({ email: '', password: '' });
    // The session of before is ended first: a form that the page's script submits, or its button.
    const ending = await browser.submit(again, { email: other, password });
    expect(ending.headers.get('content-security-policy')).not.toContain('unsafe');
    const asked = await browser.submit(ending);
    expect(asked.html).toContain(other);
    expect(asked.html).not.toContain(email);
    expect((await browser.submit(asked)).url.searchParams.get('code')).toBeTruthy();
    expect((await browser.go('/account')).html).toContain(other);
  });

  it('that somebody has gone on with while the password was looked at does not come back', async () => {
    const { db } = server.database;
    const browser = browserAt();
    const page = await openSignIn(browser);
    const where = { model: 'Interaction', idHash: hashToken(page.url.pathname.split('/').at(-1) as string) };
    expect(await db('oidcPayloads').where(where).select('model')).toHaveLength(1);
    const done = between(server, 'from known_devices', () => db('oidcPayloads').delete().where(where));
    const answer = await attempt(browser, page, password).finally(done);
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining(words('errors.cookies.title'))]);
    expect(await db('oidcPayloads').where(where).select('model')).toHaveLength(0);
  });

  it('that is over is not gone back to', async () => {
    const browser = browserAt();
    await signIn(browser, email);
    const page = await postForm(browser, '/forgot', { email });
    const back = /href="([^"]*)">Back to sign in/.exec(page.html)?.[1] as string;
    expect((await browser.go(back)).status).toBe(200);
  });
});

describe('where passwords cannot be hashed as fast as they come', () => {
  let busy: TestServer;
  beforeAll(async () => {
    busy = await startServer({ HASH_CONCURRENCY: '1', HASH_QUEUE: '0' });
  });
  afterEach(() => busy.stop());

  it('some are told to come back, on a page', async () => {
    const address = await registerAccount(busy);
    const browser = new Browser(busy.issuer);
    const page = await browser.go('/account');
    const held = Promise.withResolvers<void>();
    hashing.held = held.promise;
    const asked = Array.from({ length: 8 }, () =>
      browser.request(page.url, {
        method: 'POST',
        headers: { origin: busy.issuer, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ email: address, password: 'wrong' }),
      }),
    );
    // One password is looked at until somebody else has been told.
    await Promise.race(asked);
    hashing.held = undefined;
    held.resolve();
    const answers = await Promise.all(asked);
    const refused = answers.filter(({ status }) => status === 503);
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(8 - refused.length);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    const html = (await refused[0]?.text()) as string;
    expect(html).toContain(words('problems.busy'));
    expect(formsOf(html)[0]?.fields.email).toBe(address);
    const submitted = await browser.submit(page, { email: address, password });
    expect(submitted.url.pathname).toBe('/account');
  });

  it('a flood is answered before anything is read, and is over when it is over', async () => {
    busy = await startServer({ HASH_CONCURRENCY: '1', HASH_QUEUE: '0', RATE_LIMIT_FACTOR: '1' });
    const address = await registerAccount(busy);
    const browser = new Browser(busy.issuer);
    const page = await browser.go('/account');
    const statements: string[] = [];
    busy.database.db.on('query', ({ sql }: { sql: string }) => sql.includes('pgboss') || statements.push(sql));
    const headers = { origin: busy.issuer, 'content-type': 'application/x-www-form-urlencoded' };
    const body = () => new URLSearchParams({ email: address, password: 'wrong' });
    const submit = () => browser.request(page.url, { method: 'POST', headers, body: body() });
    const login = () =>
      fetch(`${busy.issuer}/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{ not even JSON',
      });
    const held = Promise.withResolvers<void>();
    hashing.held = held.promise;
    const begun = hashing.verifications;
    const first = submit();
    await vi.waitUntil(() => hashing.verifications > begun, { timeout: 20_000 });
    vi.useFakeTimers({ toFake: ['performance'] });

    const left: number[] = [];
    for (let count = 0; count < 9; count++) {
      const answer = await login();
      expect([answer.status, await answer.json()]).toEqual([503, expect.objectContaining({ code: 'overloaded' })]);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      // Whoever is refused has asked all the same.
      left.push(Number(/r=(\d+)/.exec(answer.headers.get('ratelimit') ?? '')?.[1]));
    }
    expect((left[0] as number) - (left.at(-1) as number)).toBe(8);
    const tenth = await submit();
    expect([tenth.status, await tenth.text()]).toEqual([503, expect.stringContaining(words('problems.busy'))]);
    statements.length = 0;
    const next = await submit();
    expect([next.status, await next.text()]).toEqual([503, expect.stringContaining(words('errors.unavailable.text'))]);
    expect(Number(next.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(statements.filter((sql) => /oidc_payloads|users|clients/.test(sql))).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(await (await submit()).text()).toContain(words('problems.busy'));

    vi.useRealTimers();
    hashing.held = undefined;
    held.resolve();
    expect((await first).status).toBe(401);
    expect((await browser.submit(page, { email: address, password })).url.pathname).toBe('/account');
  });
});
