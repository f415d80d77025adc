/** Signing in by mail: a link for the browser that asked, a code to type there, and nothing for anybody else. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { forgotPassword, resetPassword } from '../../src/auth/password.commands.ts';
import { freshCode, setUpTotp, shownCode } from '../support/authenticator.ts';
import { Browser, type Page, password, registerAccount } from '../support/browser.ts';
import { callerOf, nobody, type TestCaller } from '../support/callers.ts';
import { settleJobs } from '../support/dump.ts';
import { eventually, mailCount, tokenOf, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
});
afterAll(() => server.stop());

const subject = /^Sign in to /;
const idOf = async (email: string): Promise<string> =>
  (await server.database.db('users').where({ email }).first('id')).id;
/** What was mailed after `already` mails. */
const mailed = async (email: string, already = 0) => {
  await eventually(() => mailCount(server, email, subject) > already, 'a mail');
  const { links, text } = await server.mail(email, subject);
  const token = tokenOf(links, 'sign-in-link');
  return { token, path: `/sign-in-link?token=${token}`, code: /\b\d{6}\b/.exec(text)?.[0] as string };
};
const wrong = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0');

/** Asks for a link on the sign-in page, in a browser of its own. */
const ask = async (email: string, browser = new Browser(server.issuer)) => {
  const already = mailCount(server, email, subject);
  const page = await browser.submit(await browser.go('/account'), { email, way: 'link' });
  expect([page.status, page.html.includes(words('magic-link.how'))]).toEqual([200, true]);
  return { browser, page, already };
};
const person = async () => {
  const email = await registerAccount(server);
  const { browser, page, already } = await ask(email);
  return { email, browser, page, ...(await mailed(email, already)) };
};
const isIn = ({ url, html }: Page, email: string) => url.pathname === '/account' && html.includes(email);
const typeCode = (browser: Browser, page: Page, code: string) => browser.submit(page, { code });
const sessions = async (email: string) =>
  server.database
    .db('sessions')
    .where({ userId: await idOf(email) })
    .select('payload');
const restCode = async (email: string) => {
  const already = mailCount(server, email, subject);
  expect((await anybody.request('post', '/auth/magic-link', { email })).status).toBe(202);
  return (await mailed(email, already)).code;
};
const verify = (email: string, code: string, more = {}) =>
  anybody.request('post', '/auth/magic-link/verify', { email, code, ...more });

describe('a link', () => {
  it('signs in by a press of a button where it was asked for, with the methods of a mailed code', async () => {
    const { email, browser, path } = await person();
    const page = await browser.go(path);
    expect([page.status, page.html.includes(email)]).toEqual([200, true]);
    expect(isIn(await browser.submit(page), email)).toBe(true);
    expect((await sessions(email)).map(({ payload }) => payload.amr)).toEqual([['otp']]);
    const [event] = await server.database
      .db('auditLogs')
      .where({ action: 'session.sign_in', targetId: await idOf(email) });
    expect(event.meta).toMatchObject({ amr: ['otp'] });
  });

  it('followed by a scanner’s GET, with or without cookies, is not used up', async () => {
    const { email, browser, path } = await person();
    for (const each of [new Browser(server.issuer), browser])
      for (const method of ['GET', 'HEAD']) expect((await each.request(path, { method })).status).toBe(200);
    expect(isIn(await browser.submit(await browser.go(path)), email)).toBe(true);
  });

  it('opened elsewhere signs nobody in, and says where to type the code', async () => {
    const { email, browser, page, path, token, code } = await person();
    const stranger = new Browser(server.issuer);
    const opened = await stranger.go(path);
    expect(opened.html).toContain(words('magic-link-open.code'));
    expect(opened.html).not.toContain('name="link"');
    expect(opened.html).not.toContain(email);
    // Nor where somebody else has begun to sign in.
    const other = await ask(await registerAccount(server), stranger);
    const forced = await stranger.submit(other.page, { link: token });
    expect([forced.status, forced.html.includes(words('problems.linkExpired'))]).toEqual([401, true]);
    expect(await sessions(email)).toEqual([]);
    expect(isIn(await typeCode(browser, page, code), email)).toBe(true);
  });

  it('of another account that was asked for in the same browser does not do in the place of the newer', async () => {
    const first = await person();
    const second = await registerAccount(server);
    const asked = await first.browser.submit(first.page, { restart: '1' });
    const { page } = { page: await first.browser.submit(asked, { email: second, way: 'link' }) };
    const forced = await first.browser.submit(page, { link: first.token });
    expect(forced.status).toBe(401);
    expect([await sessions(first.email), await sessions(second)]).toEqual([[], []]);
  });

  it('works once, and takes the code with it', async () => {
    const { email, browser, path, token, code } = await person();
    const { browser: later, page } = await ask(`${email}.unknown`);
    expect(isIn(await browser.submit(await browser.go(path)), email)).toBe(true);
    expect((await browser.go(path)).status).toBe(400);
    expect((await later.submit(page, { link: token })).status).toBe(401);
    expect((await verify(email, code)).json.code).toBe('invalid_code');
  });

  it('pressed twice at once signs in once', async () => {
    const { email, browser, path, token: link } = await person();
    const page = await browser.go(path);
    const [action = ''] = /\/interaction\/[\w-]+/.exec(page.html) ?? [];
    const press = () =>
      browser.request(action, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
        body: new URLSearchParams({ link, csrf: browser.formToken ?? '' }),
      });
    await Promise.all([press(), press(), press()]);
    const events = await server.database
      .db('auditLogs')
      .where({ action: 'session.sign_in', targetId: await idOf(email) });
    expect(events).toHaveLength(1);
  });

  it('expires, and goes with the password’s reset', async () => {
    const { db } = server.database;
    const expired = await person();
    await db('actionTokens')
      .where({ userId: await idOf(expired.email) })
      .update({ expiresAt: new Date() });
    expect((await expired.browser.go(expired.path)).status).toBe(400);

    const { email, browser, path, code } = await person();
    const anonymous = { type: 'anonymous', address: '127.0.0.1' } as const;
    await forgotPassword(server.app.accounts, anonymous, email);
    const token = tokenOf((await server.mail(email, /new password/)).links, 'reset');
    await resetPassword(server.app.accounts, anonymous, { token, password: 'another horse battery staple' });
    expect((await browser.go(path)).status).toBe(400);
    expect((await verify(email, code)).json.code).toBe('invalid_code');
  });
});

describe('a code', () => {
  it('is typed where the link was asked for', async () => {
    const { email, browser, page, code, path } = await person();
    const refused = await typeCode(browser, page, wrong(code));
    expect([refused.status, refused.html.includes(words('problems.wrongCode'))]).toEqual([401, true]);
    expect(isIn(await typeCode(browser, refused, ` ${code.slice(0, 3)} ${code.slice(3)}`), email)).toBe(true);
    expect((await browser.go(path)).status).toBe(400);
  });

  it('signs in over REST, once', async () => {
    const email = await registerAccount(server);
    const code = await restCode(email);
    const { status, json } = await verify(email, code);
    expect([status, json.user?.email]).toEqual([200, email]);
    expect(decodeJwt(json.accessToken).sub).toBe(await idOf(email));
    expect((await verify(email, code)).json.code).toBe('invalid_code');
  });

  it('is replaced by a newer one, and ends after five tries', async () => {
    const email = await registerAccount(server);
    const first = await restCode(email);
    const second = await restCode(email);
    if (first !== second) expect((await verify(email, first)).status).toBe(400);
    for (let tries = first === second ? 0 : 1; tries < 5; tries++) await verify(email, wrong(second));
    expect((await verify(email, second)).json.code).toBe('invalid_code');
  });

  it('of somebody else signs in nobody', async () => {
    const [one, other] = [await registerAccount(server), await registerAccount(server)];
    const code = await restCode(one);
    if (code !== (await restCode(other))) expect((await verify(other, code)).status).toBe(400);
    expect(await sessions(other)).toEqual([]);
  });

  it('with many at once is used once', async () => {
    const email = await registerAccount(server);
    const code = await restCode(email);
    const answers = await Promise.all(Array.from({ length: 5 }, () => verify(email, code)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });
});

describe('what a second factor is for', () => {
  it('is asked for after a link as after a password, and mail is not offered', async () => {
    const caller = await callerOf(server);
    const { email, id } = caller;
    const { secret, backupCodes } = await setUpTotp(server, caller);
    const begun = await verify(email, await restCode(email));
    expect([begun.status, begun.json.code, begun.json.methods]).toEqual([401, 'mfa_required', ['totp', 'backup-code']]);
    const { mfaToken } = begun.json;
    const sent = await anybody.request('post', '/auth/otp/send', { channel: 'email', mfaToken });
    expect(sent.status).toBe(400);
    const code = await freshCode(server, id, secret);
    expect((await anybody.request('post', '/auth/mfa/verify', { mfaToken, code })).status).toBe(200);
    // At once, by a backup code.
    expect((await verify(email, await restCode(email), { mfaCode: backupCodes[0] })).status).toBe(200);
    // The code of the mail is none of the second factor.
    const mailCode = await restCode(email);
    expect((await verify(email, mailCode, { mfaCode: mailCode })).json.code).toBe('invalid_mfa_code');
  });

  it('is not got around by a password’s reset: it neither skips the factor nor removes it', async () => {
    const caller = await callerOf(server);
    const { email, id } = caller;
    await setUpTotp(server, caller);
    const { db } = server.database;
    await db('knownDevices')
      .where({ userId: id })
      .update({ mfaUntil: new Date(Date.now() + 60_000) });
    const anonymous = { type: 'anonymous', address: '127.0.0.1' } as const;
    await forgotPassword(server.app.accounts, anonymous, email);
    const token = tokenOf((await server.mail(email, /new password/)).links, 'reset');
    await resetPassword(server.app.accounts, anonymous, { token, password: 'another horse battery staple' });
    const login = { email, password: 'another horse battery staple' };
    const { json } = await anybody.request('post', '/auth/login', login);
    expect([json.code, json.methods]).toEqual(['mfa_required', ['totp', 'backup-code']]);
    for (const channel of ['email', 'sms'])
      expect((await anybody.request('post', '/auth/otp/send', { channel, mfaToken: json.mfaToken })).status).toBe(400);
    expect(await db('totpDevices').where({ userId: id })).toHaveLength(1);
    expect(await db('backupCodes').where({ userId: id, consumedAt: null })).toHaveLength(10);
    expect(await db('knownDevices').where({ userId: id }).whereNotNull('mfaUntil')).toEqual([]);
  });

  it('a code replayed through REST and the page at once works once', async () => {
    const caller = await callerOf(server);
    const { email, id } = caller;
    const { secret } = await setUpTotp(server, caller);
    const browser = new Browser(server.issuer);
    const page = await browser.submit(await browser.go('/account'), { email, password });
    const { json } = await anybody.request('post', '/auth/login', { email, password });
    await freshCode(server, id, secret);
    const code = shownCode(secret);
    const [rest, shown] = await Promise.all([
      anybody.request('post', '/auth/mfa/verify', { mfaToken: json.mfaToken, code }),
      browser.submit(page, { code }),
    ]);
    expect([rest.status === 200, isIn(shown, email)].filter(Boolean)).toHaveLength(1);
  });
});

describe('an address', () => {
  it('without an account is answered alike, mailed nothing, and its codes are tried alike', async () => {
    const [known, unknown] = [await registerAccount(server), `nobody-${Date.now()}@example.com`];
    const answers = [];
    for (const email of [known, unknown]) answers.push(await anybody.request('post', '/auth/magic-link', { email }));
    expect(answers[0]).toMatchObject({ status: 202, json: { sent: true, expiresIn: 600 } });
    expect(answers[1]?.text).toBe(answers[0]?.text);
    const { code } = await mailed(known);
    await eventually(
      async () => (await server.database.db('oneTimeCodes').where({ purpose: 'sign-in', userId: null })).length > 0,
      'a code for nobody',
    );
    expect(mailCount(server, unknown)).toBe(0);
    const tries = await Promise.all([verify(known, wrong(code)), verify(unknown, wrong(code))]);
    expect(tries.map(({ status, json }) => [status, json.code, json.title])).toEqual(
      Array(2).fill([400, 'invalid_code', tries[0]?.json.title]),
    );
    const { page } = await ask(unknown);
    expect(page.html).toContain(unknown);
  });

  it('that somebody else registered is mailed what verifies it instead: the link is no way to keep them in', async () => {
    const email = `victim-${Date.now()}@example.com`;
    const attacker = new Browser(server.issuer);
    await attacker.submit(await attacker.go('/register'), { name: 'Mallory', email, password });
    await server.mail(email, /Confirm/);
    const before = mailCount(server, email, /Confirm/);
    await ask(email);
    await eventually(() => mailCount(server, email, /Confirm/) > before, 'a mail that verifies');
    expect(mailCount(server, email, subject)).toBe(0);
    expect((await server.database.db('users').where({ email }).first('emailVerifiedAt')).emailVerifiedAt).toBeNull();
    expect(await server.database.db('oneTimeCodes').where({ purpose: 'sign-in', userId: await idOf(email) })).toEqual(
      [],
    );
  });

  it('is asked for on the page', async () => {
    const browser = new Browser(server.issuer);
    const page = await browser.submit(await browser.go('/account'), { email: '', way: 'link' });
    expect([page.status, page.html.includes(words('problems.emailRequired'))]).toEqual([400, true]);
  });
});

it('MAGIC_LINK=false: there is no such way', async () => {
  const without = await startServer({ MAGIC_LINK: 'false' });
  try {
    expect((await nobody(without).request('post', '/auth/magic-link', { email: 'a@example.com' })).status).toBe(404);
    const browser = new Browser(without.issuer);
    const page = await browser.go('/account');
    expect(page.html).not.toContain('value="link"');
    expect((await browser.submit(page, { email: 'a@example.com', way: 'link' })).status).toBe(400);
    expect((await browser.go('/sign-in-link?token=x')).status).toBe(404);
  } finally {
    await without.stop();
  }
});

it('nothing of it stays in the database', async () => {
  const { db } = server.database;
  await settleJobs(db);
  await db('actionTokens')
    .where({ purpose: 'sign-in-link' })
    .update({ expiresAt: new Date(0) });
  await db('oneTimeCodes')
    .where({ purpose: 'sign-in' })
    .update({ expiresAt: new Date(0) });
  await cleanExpired(db);
  expect(await db('actionTokens').where({ purpose: 'sign-in-link' })).toEqual([]);
  expect(await db('oneTimeCodes').where({ purpose: 'sign-in' })).toEqual([]);
});
