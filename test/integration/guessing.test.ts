/** What guessing from many addresses does to an account, and what it does not do to its owner. */
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRateLimits } from '../../adapters/rate-limits.ts';
import { register } from '../../src/auth/accounts.commands.ts';
import { createGuesses } from '../../src/auth/guesses.ts';
import { rememberDevice } from '../../src/auth/known-devices.queries.ts';
import { createLog } from '../../src/log.ts';
import { Browser, formsOf, password } from '../support/browser.ts';
import { requester } from '../support/callers.ts';
import {
  type Answer,
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
beforeAll(async () => {
  server = await startServer({ RATE_LIMIT_FACTOR: '1', TRUST_PROXY: '1' });
});
afterAll(() => server.stop());

/** Every call is another machine. */
let machines = 0;
const address = () => `198.18.${Math.floor(++machines / 250)}.${(machines % 250) + 1}`;
const account = async (): Promise<string> => {
  const email = `${uuid()}@example.com`;
  await register(
    server.app.accounts,
    { type: 'anonymous', address: address() },
    { email, password, name: 'Ada', locale: null },
  );
  await server.database.db('users').where({ email }).update({ emailVerifiedAt: new Date() });
  return email;
};
const login = (email: string, candidate = password, from = address(), userAgent = 'bot/1'): Promise<Answer> =>
  postJson(
    `${server.address}/auth/login`,
    { email, password: candidate },
    { 'x-forwarded-for': from, 'user-agent': userAgent },
  );
const browserAt = (from = address()) => {
  const browser = new Browser(server.issuer);
  browser.headers['x-forwarded-for'] = from;
  return browser;
};
const landsOnAccount = async (browser: Browser, email: string) =>
  (await signIn(browser, email)).url.pathname === '/account';
/** Wrong passwords from as many addresses; without HTTP, so that a lockout takes no minute of hashing. */
const attack = async (email: string, times: number) => {
  for (let count = 0; count < times; count++)
    await server.app.accounts.guesses.begin({ email, address: address(), device: { kind: 'unknown' } });
};
const idOf = async (email: string): Promise<string> =>
  (await server.database.db('users').where({ email }).first('id')).id;
const reasons = async (email: string): Promise<string[]> => {
  const events = await server.database
    .db('auditLogs')
    .where({ targetId: await idOf(email), action: 'session.sign_in_failed' })
    .orderBy('id')
    .select('meta');
  return events.map(({ meta }) => meta.reason);
};
const metric = async (line: string): Promise<number> => {
  const text = await (await fetch(`${server.address}/metrics`)).text();
  return Number(new RegExp(`^${line.replace(/[{}]/g, '\\$&')} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
};

describe('a password guessed from many addresses', () => {
  it('is tried ten times, then has to wait: a right one in between is answered as a wrong one', async () => {
    /** Signs in with the right one while the next has to wait: for two seconds, after one that has waited for one. */
    const tooEarly = async () => {
      const email = await account();
      const wrong = [];
      for (let count = 0; count < 11; count++) wrong.push(await login(email, `guess ${count}`));
      expect(wrong.map(({ status }) => status)).toEqual(Array(11).fill(401));
      let began: number;
      const device = { kind: 'unknown' } as const;
      do {
        await sleep(50);
        began = Date.now();
      } while ((await server.app.accounts.guesses.begin({ email, address: address(), device })).held);
      return { email, early: await login(email), isLate: Date.now() - began >= 2000 };
    };
    let tried = await tooEarly();
    // A machine that was not in time for it has to be once more.
    while (tried.isLate && tried.early.status === 200) tried = await tooEarly();
    const { email, early } = tried;
    expect([early.status, early.json.code]).toEqual([401, 'invalid_credentials']);
    expect(early.headers.get('retry-after')).toBeNull();
    expect(await reasons(email)).toEqual([...Array(11).fill('wrong_password'), 'delayed']);
    await sleep(2100);
    expect((await login(email)).status).toBe(200);
    // And it begins anew.
    expect((await login(email, 'wrong')).status).toBe(401);
    expect((await login(email)).status).toBe(200);
  });

  it('does not hold back a browser that has signed in before', async () => {
    const email = await account();
    const browser = browserAt();
    expect(await landsOnAccount(browser, email)).toBe(true);
    const cookie = browser.setCookies.find((line) => line.startsWith('device=')) as string;
    expect(cookie).toMatch(/^device=[\w-]{43}; path=\/; expires=[^;]+; samesite=lax; httponly$/i);
    browser.cookies.splice(0, browser.cookies.length, ...browser.cookies.filter(({ name }) => name === 'device'));
    await attack(email, 100);
    expect(await landsOnAccount(browserAt(), email)).toBe(false);
    browser.headers['x-forwarded-for'] = address();
    expect(await landsOnAccount(browser, email)).toBe(true);
    // That ended the lockout for everybody.
    expect(await landsOnAccount(browserAt(), email)).toBe(true);
  });

  it('does not hold back the address and program of an earlier REST sign-in, and both count', async () => {
    const email = await account();
    const home = address();
    expect((await login(email, password, home, 'app/2')).status).toBe(200);
    await attack(email, 100);
    expect((await login(email, password, home, 'app/3')).status).toBe(401);
    expect((await login(email, password, address(), 'app/2')).status).toBe(401);
    expect((await login(email, password, home, 'app/2')).status).toBe(200);
  });

  it('gives a known browser five tries of its own', async () => {
    const email = await account();
    const browser = browserAt();
    await signIn(browser, email);
    browser.cookies.splice(0, browser.cookies.length, ...browser.cookies.filter(({ name }) => name === 'device'));
    const statuses = [];
    for (let count = 0; count < 6; count++) {
      browser.headers['x-forwarded-for'] = address();
      statuses.push((await signIn(browser, email, 'wrong')).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
    // Another account has never seen it.
    const other = await account();
    await attack(other, 100);
    expect(await landsOnAccount(browser, other)).toBe(false);
  });

  it('locks the account for unknown devices after a hundred tries, once, and says so in the audit log', async () => {
    const email = await account();
    const before = await metric('sign_ins_total{method="password",surface="rest",outcome="locked"}');
    await attack(email, 99);
    expect((await login(email, 'the hundredth')).status).toBe(401);
    for (let count = 0; count < 3; count++) expect((await login(email)).status).toBe(401);
    expect((await reasons(email)).slice(-3)).toEqual(['locked', 'locked', 'locked']);
    expect(await metric('sign_ins_total{method="password",surface="rest",outcome="locked"}')).toBe(before + 3);
    const locked = await server.database.db('auditLogs').where({ action: 'account.lock', targetId: await idOf(email) });
    expect(locked).toHaveLength(1);
    expect(locked[0]).toMatchObject({ actorType: 'system', targetType: 'user' });
  });

  it('is held back for an address without an account as for any other', async () => {
    const unknown = `${uuid()}@example.com`;
    await attack(unknown, 99);
    const answers = [];
    for (let count = 0; count < 3; count++) answers.push(await login(unknown));
    expect(answers.map(({ status, json }) => [status, json.code])).toEqual(Array(3).fill([401, 'invalid_credentials']));
  });

  it('is over for whoever resets the password, whose browser is known from then on', async () => {
    const email = await account();
    const old = browserAt();
    expect(await landsOnAccount(old, email)).toBe(true);
    await attack(email, 100);
    const browser = browserAt();
    await postForm(browser, '/forgot', { email });
    const token = tokenOf((await server.mail(email, /password/i)).links, 'reset');
    const another = 'another horse battery staple';
    const page = await browser.submit(await browser.go(`/reset?token=${token}`), { password: another });
    expect(page.status).toBe(200);
    expect((await login(email, another)).status).toBe(200);
    // Devices of before are forgotten; the one that was used is not.
    await attack(email, 100);
    const devices = await server.database.db('knownDevices').where({ userId: await idOf(email) });
    expect(devices).toHaveLength(2);
    expect((await signIn(browser, email, another)).url.pathname).toBe('/account');
  });

  it('is not stored: neither the cookie nor the address of a device', async () => {
    const email = await account();
    const browser = browserAt('198.51.100.77');
    await signIn(browser, email);
    await login(email, password, '198.51.100.77', 'a-telling-agent/1');
    const rows = await server.database.db('knownDevices').where({ userId: await idOf(email) });
    expect(rows).toHaveLength(2);
    const value = browser.cookies.find(({ name }) => name === 'device')?.value as string;
    expect(JSON.stringify(rows)).not.toMatch(new RegExp(`${value}|198\\.51|telling`));
  });

  it('keeps the twenty devices seen last', async () => {
    const userId = await idOf(await account());
    for (let count = 0; count < 23; count++) {
      await rememberDevice(server.database.db, userId, `device ${count}`);
      // The embedded database's clock counts whole milliseconds.
      await sleep(2);
    }
    const rows = await server.database.db('knownDevices').where({ userId }).orderBy('lastSeenAt').select('deviceHash');
    expect(rows.map(({ deviceHash }) => deviceHash)).toEqual(Array.from({ length: 20 }, (_, n) => `device ${n + 3}`));
  });
});

describe('whatever is wrong', () => {
  /** Each with a password that is right where there is an account, but for the one that is not. */
  const arranged = async () => {
    const [wrong, unverified, deactivated, locked] = [
      await account(),
      await account(),
      await account(),
      await account(),
    ];
    await server.database.db('users').where({ email: unverified }).update({ emailVerifiedAt: null });
    await server.database.db('users').where({ email: deactivated }).update({ status: 'deactivated' });
    await attack(locked, 100);
    // What they are mailed has come, so that whoever counts their mails counts no other.
    for (const email of [wrong, unverified, deactivated, locked]) await server.mail(email);
    return [
      { reason: 'unknown', email: `${uuid()}@example.com`, candidate: password },
      { reason: 'wrong_password', email: wrong, candidate: 'not this one' },
      { reason: 'email_not_verified', email: unverified, candidate: password },
      { reason: 'deactivated', email: deactivated, candidate: password },
      { reason: 'locked', email: locked, candidate: password },
    ];
  };

  it('REST gives one answer', async () => {
    const answers = [];
    for (const { reason, email, candidate } of await arranged()) {
      const before = await metric(`sign_ins_total{method="password",surface="rest",outcome="${reason}"}`);
      const { status, headers, json } = await login(email, candidate);
      answers.push({ status, headers: comparable(headers), json: { ...json, requestId: '' } });
      expect(await metric(`sign_ins_total{method="password",surface="rest",outcome="${reason}"}`)).toBe(before + 1);
      if (reason !== 'unknown') expect(await reasons(email)).toEqual([reason]);
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]).toMatchObject({ status: 401, json: { code: 'invalid_credentials' } });
  });

  it('the page gives one answer, and sends no mail', async () => {
    const answers = [];
    for (const { email, candidate } of await arranged()) {
      const mails = mailCount(server, email);
      const browser = browserAt();
      const page = await signIn(browser, email, candidate);
      answers.push({
        status: page.status,
        headers: { ...comparable(page.headers), 'content-length': '' },
        html: comparableHtml(page.html).replaceAll(email, '').replaceAll(page.url.pathname, ''),
        cookies: browser.cookies.map(({ name }) => name),
      });
      expect(mailCount(server, email)).toBe(mails);
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]?.status).toBe(401);
    expect(answers[0]?.html).toContain(words('problems.wrongCredentials'));
    expect(answers[0]?.html).toContain('href="/verify/resend"');
  });

  it('the limits give one answer: a right password that opens nothing is not forgiven', async () => {
    for (const { reason, email, candidate } of await arranged()) {
      const from = address();
      const statuses = [];
      for (let count = 0; count < 6; count++) statuses.push((await login(email, candidate, from)).status);
      expect([reason, ...statuses]).toEqual([reason, 401, 401, 401, 401, 401, 429]);
    }
  });

  it('whoever waits for confirmation asks for the mail again, and confirms with the password', async () => {
    const email = `${uuid()}@example.com`;
    await postForm(browserAt(), '/register', { name: 'Ada', email, password });
    await server.mail(email);
    const browser = browserAt();
    const refused = await signIn(browser, email);
    expect(refused.status).toBe(401);
    const asked = await browser.go('/verify/resend');
    expect(formsOf(asked.html)[0]).toMatchObject({ action: '/verify/resend', fields: { email } });
    const sent = await browser.submit(asked);
    expect([sent.status, sent.url.pathname]).toEqual([200, '/check-mail']);
    await eventually(() => mailCount(server, email, /Confirm/) === 2, 'the mail again');
    const link = `/verify?token=${tokenOf((await server.mail(email)).links, 'verify')}`;
    // Nor does the browser that was refused confirm by a click: it has shown nothing that others do not have.
    const page = await browser.go(link);
    expect(page.html).toContain('name="password"');
    expect((await browser.submit(page, { password: 'not this one' })).status).toBe(400);
    expect((await browser.submit(page, { password })).url.pathname).toBe('/verified');
    expect(await landsOnAccount(browser, email)).toBe(true);
  });

  it('a link has its five tries whatever was done to the account', async () => {
    const email = `${uuid()}@example.com`;
    await postForm(browserAt(), '/register', { name: 'Ada', email, password });
    const link = `/verify?token=${tokenOf((await server.mail(email)).links, 'verify')}`;
    await attack(email, 100);
    const browser = browserAt();
    const page = await browser.go(link);
    expect((await browser.submit(page, { password })).url.pathname).toBe('/verified');
  });
});

describe('a password guessed by who has a session or a link', () => {
  const wrongs = async (id: string): Promise<unknown[]> =>
    (await server.database.db('auditLogs').where({ targetId: id, action: 'password.guess_failed' }).orderBy('id')).map(
      ({ actorId, meta }) => [actorId, meta.operation],
    );

  it('is written down: at a change of password, at the closing of the account, and where an address is confirmed', async () => {
    const email = await account();
    const id = await idOf(email);
    const { json } = await login(email);
    const me = requester(server, json.accessToken);
    const changed = await me('post', '/auth/change-password', {
      currentPassword: 'wrong',
      newPassword: `${password}!`,
    });
    const closed = await me('delete', `/users/${id}`, { password: 'wrong' });
    expect([changed, closed].map(({ status, json }) => [status, json.errors?.[0].code])).toEqual([
      [400, 'wrong_current_password'],
      [400, 'password_wrong'],
    ]);
    expect(await wrongs(id)).toEqual([
      [id, 'change_password'],
      [id, 'close_account'],
    ]);
    expect((await login(email)).status).toBe(200);

    const other = `${uuid()}@example.com`;
    await postForm(browserAt(), '/register', { name: 'Ada', email: other, password });
    const link = `/verify?token=${tokenOf((await server.mail(other)).links, 'verify')}`;
    const browser = browserAt();
    expect((await browser.submit(await browser.go(link), { password: 'wrong' })).status).toBe(400);
    expect(await wrongs(await idOf(other))).toEqual([[null, 'verify_email']]);
  });

  it('has 5 tries in a quarter of an hour and 20 in a day, of which a right one is none', async () => {
    const limits = await createRateLimits({ factor: 1, log: createLog('silent') });
    const guesses = createGuesses(limits, (address) => address);
    const guess = {
      email: 'ada@example.com',
      address: '192.0.2.1',
      device: { kind: 'proven', key: 'session x' },
    } as const;
    const anew = () => limits.reset('guessDevice', 'ada@example.com session x');
    const five = async () => {
      for (let count = 0; count < 5; count++) await guesses.begin(guess);
      await expect(guesses.begin(guess)).rejects.toMatchObject({ status: 429 });
      await anew();
    };
    await five();
    const right = await guesses.begin(guess);
    await right.forgive();
    for (let quarter = 0; quarter < 4; quarter++) await five();
    await expect(guesses.begin(guess)).rejects.toMatchObject({ status: 429 });
    // Another session has its own.
    await guesses.begin({ ...guess, device: { kind: 'proven', key: 'session y' } });
    await limits.close();
  });
});
