import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, formsOf, password, registerAccount } from '../support/browser.ts';
import {
  comparable,
  comparableHtml,
  eventually,
  mailCount,
  postForm,
  postJson,
  signIn,
  tokenOf,
  words,
} from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let url: string;
beforeAll(async () => {
  server = await startServer();
  url = server.issuer;
});
afterAll(() => server.stop());

const someone = () => `${uuid()}@example.com`;
const verified = async (email: string) =>
  (await server.database.db('users').where({ email }).first('emailVerifiedAt'))?.emailVerifiedAt != null;
const alreadyRegistered = /already have an account/;
const verifyMail = /Confirm/;

describe.each(['', '/api/v1'])('REST under %s/', (prefix) => {
  const register = (body: unknown, headers?: Record<string, string>) =>
    postJson(`${url}${prefix}/auth/register`, body, headers);
  const verify = (body: unknown) => postJson(`${url}${prefix}/auth/verify`, body);

  it('registers, mails a link, and verifies with its token once', async () => {
    const email = someone();
    const answer = await register({ email, password, name: 'Ada' });
    expect([answer.status, answer.json]).toEqual([201, { verificationSent: true }]);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(await verified(email)).toBe(false);
    const token = tokenOf((await server.mail(email)).links, 'verify');
    const done = await verify({ token });
    expect([done.status, done.json]).toEqual([200, { verified: true }]);
    expect(await verified(email)).toBe(true);
    const again = await verify({ token });
    expect([again.status, again.json.code]).toEqual([400, 'invalid_token']);
  });

  it('answers for a taken address as for a free one, and changes nothing', async () => {
    const email = await registerAccount(server);
    const before = await server.database.db('users').where({ email }).first();
    const free = await register({ email: someone(), password, name: 'Ada' });
    const taken = await register({ email: email.toUpperCase(), password: 'another good long password', name: 'Eve' });
    expect([taken.status, taken.text]).toEqual([free.status, free.text]);
    expect(comparable(taken.headers)).toEqual(comparable(free.headers));
    const { links, html } = await server.mail(email, alreadyRegistered);
    expect(links).toEqual([`${url}/account`, `${url}/forgot`]);
    expect(html).not.toContain('Eve');
    expect(await server.database.db('users').where({ email }).first()).toEqual(before);
  });

  it('names all fields that are wrong at once (RFC 9457)', async () => {
    const { status, headers, json } = await register({ email: 'nobody', password: '', name: ' ' });
    expect(status).toBe(400);
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(json).toMatchObject({ status: 400, code: 'invalid_request', requestId: headers.get('x-request-id') });
    expect(json.errors.map(({ field }: { field: string }) => field).sort()).toEqual(['email', 'name', 'password']);
  });

  for (const { name, body, expected } of [
    { name: 'a password that many use', body: { password: 'password1234' }, expected: ['password'] },
    {
      name: 'a password with the address in it',
      body: { email: 'grace.hopper@example.com', password: 'grace.hopper' },
      expected: ['password'],
    },
    { name: 'a password too short', body: { password: 'x7#kQ2' }, expected: ['password'] },
    { name: 'a name with control characters', body: { name: 'A\u0000da' }, expected: ['name'] },
    { name: 'half a surrogate pair', body: { name: 'A\ud800' }, expected: ['name'] },
    { name: 'an endless name', body: { name: 'a'.repeat(101) }, expected: ['name'] },
    { name: 'an object for an address', body: { email: { $ne: '' } }, expected: ['email'] },
    { name: 'a list for an address', body: { email: ['a@example.com', 'b@example.com'] }, expected: ['email'] },
  ]) {
    it(`refuses ${name}`, async () => {
      const { status, json } = await register({ email: someone(), password, name: 'Ada', ...body });
      expect([status, json.code]).toEqual([400, 'invalid_request']);
      expect(json.errors.map(({ field }: { field: string }) => field)).toEqual(expected);
    });
  }

  for (const { name, body, type = 'application/json', expected } of [
    {
      name: 'a form',
      body: 'email=a',
      type: 'application/x-www-form-urlencoded',
      expected: [415, 'unsupported_media_type'],
    },
    { name: 'plain text', body: '{}', type: 'text/plain', expected: [415, 'unsupported_media_type'] },
    { name: 'half an object', body: '{"email":', expected: [400, 'invalid_json'] },
    { name: 'a list', body: '[]', expected: [400, 'invalid_request'] },
    { name: 'a megabyte', body: JSON.stringify({ name: 'a'.repeat(1_000_000) }), expected: [413, 'request_too_large'] },
  ] as { name: string; body: string; type?: string; expected: [number, string] }[]) {
    it(`refuses ${name}`, async () => {
      const { status, headers, json } = await register(body, { 'content-type': type });
      expect([status, json.code]).toEqual(expected);
      expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
    });
  }

  it('ignores a role that an anonymous caller asks for', async () => {
    const email = someone();
    expect((await register({ email, password, name: 'Eve', role: 'super_admin' })).status).toBe(201);
    const row = await server.database
      .db('users')
      .join('roles', 'roles.id', 'users.roleId')
      .where({ email })
      .first('roles.name as role');
    expect(row).toEqual({ role: 'user' });
  });
});

describe('the registration pages', () => {
  const fill = (email: string, values: Record<string, string> = {}) => ({ name: 'Ada', email, password, ...values });

  it('register, mail a link that a scanner may open, and verify by a POST', async () => {
    const email = someone();
    const browser = new Browser(url);
    const sent = await browser.submit(await browser.go('/register'), fill(email));
    expect([sent.status, sent.url.pathname]).toEqual([200, '/check-mail']);
    expect(sent.html).toContain(email);
    expect(sent.url.search).not.toContain('@');
    const token = tokenOf((await server.mail(email)).links, 'verify');

    for (let scan = 0; scan < 2; scan++) {
      const scanned = await new Browser(url).go(`/verify?token=${token}`);
      expect(scanned.status).toBe(200);
    }
    await fetch(`${url}/verify?token=${token}`, { method: 'HEAD' });
    expect(await verified(email)).toBe(false);

    const page = await browser.go(`/verify?token=${token}`);
    const done = await browser.submit(page);
    expect([done.status, done.url.pathname]).toEqual([200, '/verified']);
    expect(await verified(email)).toBe(true);

    const again = await browser.submit(page);
    expect(again.status).toBe(400);
    expect(again.html).toContain(words('link-expired.title'));
    const opened = await browser.go(`/verify?token=${token}`);
    expect([opened.status, opened.html.includes(words('link-expired.title'))]).toEqual([400, true]);
    // The page that signs in knows the address by now.
    expect(formsOf((await browser.go('/account')).html)[0]?.fields.email).toBe(email);
  });

  it('show the same page for a taken address', async () => {
    const taken = await registerAccount(server);
    const [one, other] = [new Browser(url), new Browser(url)];
    const free = someone();
    const pageFor = async (browser: Browser, email: string) => {
      const response = await browser.request('/register', {
        method: 'POST',
        headers: { origin: url, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(fill(email)),
      });
      const page = await browser.go(response.headers.get('location') as string);
      return {
        status: response.status,
        headers: comparable(response.headers),
        html: comparableHtml(page.html).replaceAll(email, ''),
      };
    };
    expect(await pageFor(one, taken)).toEqual(await pageFor(other, free));
    await server.mail(taken, alreadyRegistered);
  });

  it('say everything that is wrong, keep what may be kept, and clear the password', async () => {
    const browser = new Browser(url);
    const page = await postForm(browser, '/register', { name: 'Ada', email: 'nobody', password: '' });
    expect(page.status).toBe(400);
    for (const text of ['layout.summary', 'problems.emailInvalid', 'problems.passwordRequired'])
      expect(page.html).toContain(words(text));
    expect(page.html).toMatch(/<title>Error: /);
    expect(page.html).toMatch(/href="#email"[\s\S]*href="#password"[\s\S]*id="email-error"[\s\S]*id="password-error"/);
    expect(formsOf(page.html)[0]?.fields).toEqual({ name: 'Ada', email: 'nobody', password: '' });

    const weak = await postForm(browser, '/register', fill(someone(), { password: 'password1234' }));
    expect(weak.status).toBe(400);
    expect(weak.html).toContain(words('problems.passwordCommon'));
    expect(weak.html).not.toContain('password1234');
    const empty = await postForm(browser, '/register', '');
    for (const text of ['nameRequired', 'emailRequired', 'passwordRequired'])
      expect(empty.html).toContain(words(`problems.${text}`));
  });

  it('escape what was typed', async () => {
    const page = await postForm(new Browser(url), '/register', {
      name: '"><script>alert(1)</script>',
      email: '"<b>',
      password: '',
    });
    expect(page.html).not.toMatch(/<script>|<b>/);
  });

  it('refuse a parameter that is given twice, and a form too large', async () => {
    const email = someone();
    const twice = await postForm(new Browser(url), '/register', [
      ...(Object.entries(fill(email)) as [string, string][]),
      ['email', someone()],
    ]);
    expect(twice.status).toBe(400);
    const large = await postForm(new Browser(url), '/register', fill(email, { name: 'a'.repeat(100_000) }));
    expect(large.status).toBe(413);
    expect(await server.database.db('users').where({ email })).toHaveLength(0);
  });

  it('do not take an expired link, and mail a new one', async () => {
    const email = someone();
    const browser = new Browser(url);
    await browser.submit(await browser.go('/register'), fill(email));
    const token = tokenOf((await server.mail(email)).links, 'verify');
    const page = await browser.go(`/verify?token=${token}`);
    const { id } = await server.database.db('users').where({ email }).first('id');
    await server.database
      .db('actionTokens')
      .where({ userId: id })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    expect((await browser.submit(page)).status).toBe(400);
    const expired = await browser.go(`/verify?token=${token}`);
    expect([expired.status, await verified(email)]).toEqual([400, false]);

    const resent = await browser.submit(expired, { email }, '/verify/resend');
    expect([resent.status, resent.url.pathname]).toEqual([200, '/check-mail']);
    await eventually(() => mailCount(server, email, verifyMail) === 2, 'a second link');
    const fresh = tokenOf((await server.mail(email)).links, 'verify');
    expect(fresh).not.toBe(token);
    // Sending once more ends the link before.
    await browser.submit(await browser.go('/check-mail'), {}, '/verify/resend');
    await eventually(() => mailCount(server, email, verifyMail) === 3, 'a third link');
    expect((await browser.go(`/verify?token=${fresh}`)).status).toBe(400);
    const last = await browser.go(`/verify?token=${tokenOf((await server.mail(email)).links, 'verify')}`);
    // Asked for by nobody in particular, it wants to know that whoever confirms is who registered.
    expect((await browser.submit(last, { password: 'not this one' })).status).toBe(400);
    expect((await browser.submit(last, { password })).url.pathname).toBe('/verified');
  });

  it('resend for an unknown or a verified address looks the same and sends nothing', async () => {
    const verifiedEmail = await registerAccount(server);
    const unknown = someone();
    const bodies = [];
    for (const email of [verifiedEmail, unknown]) {
      const page = await postForm(new Browser(url), '/verify/resend', { email });
      bodies.push([page.status, page.url.pathname, comparableHtml(page.html).replaceAll(email, '')]);
    }
    expect(bodies[0]).toEqual(bodies[1]);
    expect([mailCount(server, verifiedEmail), mailCount(server, unknown)]).toEqual([1, 0]);
    const refused = await postForm(new Browser(url), '/verify/resend', { email: 'nobody' });
    expect([refused.status, refused.html.includes(words('resend.title'))]).toEqual([400, true]);
    expect(refused.html).toContain(words('problems.emailInvalid'));
  });

  it('a sign-in before verification is refused like any other, for the right password too, and mails nothing', async () => {
    const email = someone();
    await postJson(`${url}/auth/register`, { email, password, name: 'Ada' });
    await server.mail(email);
    const wrong = await signIn(new Browser(url), email, 'a wrong password');
    expect([wrong.status, wrong.html.includes(words('problems.wrongCredentials'))]).toEqual([401, true]);
    const browser = new Browser(url);
    const right = await signIn(browser, email);
    expect([right.status, comparableHtml(right.html).replaceAll(right.url.pathname, '')]).toEqual([
      401,
      comparableHtml(wrong.html).replaceAll(wrong.url.pathname, ''),
    ]);
    expect((await browser.go('/account')).url.pathname).toMatch(/^\/interaction\//);
    expect(mailCount(server, email)).toBe(1);
    const resent = await browser.submit(await browser.go('/verify/resend'));
    expect([resent.status, resent.url.pathname]).toEqual([200, '/check-mail']);
    await eventually(() => mailCount(server, email, verifyMail) === 2, 'a new link');
  });
});

describe('settings', () => {
  let lenient: TestServer;
  beforeAll(async () => {
    lenient = await startServer({ REGISTER_SIGNS_IN: 'true', REQUIRE_VERIFIED_EMAIL: 'false' });
  });
  afterAll(() => lenient.stop());

  it('REGISTER_SIGNS_IN signs a new account in, once, in this browser, and never for a taken address', async () => {
    const browser = new Browser(lenient.issuer);
    const email = someone();
    await browser.go('/account');
    const page = await browser.submit(await browser.go('/register'), { name: 'Ada', email, password });
    expect([page.status, page.url.pathname]).toEqual([200, '/account']);
    expect(page.html).toContain(email);
    const stranger = new Browser(lenient.issuer);
    await stranger.go('/account');
    const refused = await stranger.submit(await stranger.go('/register'), { name: 'Eve', email, password });
    expect(refused.url.pathname).toBe('/check-mail');
    expect((await stranger.go('/account')).url.pathname).toMatch(/^\/interaction\//);
  });

  it('REQUIRE_VERIFIED_EMAIL=false lets an account in that is not verified', async () => {
    const email = someone();
    await postJson(`${lenient.issuer}/auth/register`, { email, password, name: 'Ada' });
    const page = await signIn(new Browser(lenient.issuer), email);
    expect(page.url.pathname).toBe('/account');
    expect(page.html).toContain(words('account.attention.unverified'));
  });
});
