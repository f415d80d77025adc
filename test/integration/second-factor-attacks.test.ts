/** Attacks on the second step of a sign-in, at every door, and on the session that comes of it. Each fails when its guard is removed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshCode, setUpTotp, shownCode } from '../support/authenticator.ts';
import { Browser, type Page, password, registerAccount } from '../support/browser.ts';
import { callerOf, nobody, type TestCaller } from '../support/callers.ts';
import { basic, post, type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { eventually, postForm, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let party: RelyingParty;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer();
  party = await application(server);
  anybody = nobody(server);
});
afterAll(() => server.stop());

const application = (at: TestServer): Promise<RelyingParty> =>
  registerRelyingParty(at, {
    first_party: true,
    grant_types: ['authorization_code', 'refresh_token', 'password'],
    scope: 'openid users:read:own',
  });

const person = async (at = server) => {
  const caller = await callerOf(at);
  const app = await setUpTotp(at, caller);
  return { id: caller.id, email: caller.email, secret: app.secret, backupCodes: app.backupCodes };
};
type Somebody = Awaited<ReturnType<typeof person>>;

const login = (email: string, more = {}, at = anybody) =>
  at.request('post', '/auth/login', { email, password, ...more });
const finish = (mfaToken: string, code: string, at = anybody) =>
  at.request('post', '/auth/mfa/verify', { mfaToken, code });
const tokenOf = async ({ email }: Pick<Somebody, 'email'>): Promise<string> => (await login(email)).json.mfaToken;
const fresh = ({ id, secret }: Somebody) => freshCode(server, id, secret);
const grant = async (at: TestServer, { client }: RelyingParty, email: string, mfa_code: string) =>
  post(at, '/oauth/token', { grant_type: 'password', username: email, password, mfa_code }, basic(client));
/** A browser that is asked for the second factor. */
const atSecondStep = async (
  at: TestServer,
  rp: RelyingParty,
  email: string,
): Promise<{ browser: Browser; page: Page }> => {
  const browser = new Browser(at.issuer);
  const page = await browser.submit(await browser.go((await rp.begin()).url), { email, password });
  expect(page.html).toContain(words('second-factor.totp'));
  return { browser, page };
};
const outcome = ({ status, json }: { status: number; json: { code?: string } }) => [status, json.code];

describe('an MFA token', () => {
  it('used twice finishes one sign-in, also at the same time', async () => {
    const somebody = await person();
    const mfaToken = await tokenOf(somebody);
    expect((await finish(mfaToken, await fresh(somebody))).status).toBe(200);
    expect(outcome(await finish(mfaToken, await fresh(somebody)))).toEqual([401, 'invalid_mfa_token']);
    expect(outcome(await finish(mfaToken, somebody.backupCodes[0] as string))).toEqual([401, 'invalid_mfa_token']);

    const another = await person();
    const token = await tokenOf(another);
    const codes = [await fresh(another), ...another.backupCodes.slice(0, 4)];
    const answers = await Promise.all(codes.map((code) => finish(token, code)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401, 401]);
  });

  it('a code that came with a token that was used up is not used up itself', async () => {
    const somebody = await person();
    const mfaToken = await tokenOf(somebody);
    expect((await finish(mfaToken, await fresh(somebody))).status).toBe(200);
    const [code = ''] = somebody.backupCodes;
    await finish(mfaToken, code);
    expect((await login(somebody.email, { mfaCode: code })).status).toBe(200);
  });

  it('for another user takes no code of theirs, and none of one’s own', async () => {
    const [mine, theirs] = [await person(), await person()];
    expect(outcome(await finish(await tokenOf(theirs), await fresh(mine)))).toEqual([401, 'invalid_mfa_code']);
    expect(outcome(await finish(await tokenOf(mine), await fresh(theirs)))).toEqual([401, 'invalid_mfa_code']);
  });

  it('at another client is of no use', async () => {
    const somebody = await person();
    const { body } = await post(
      server,
      '/oauth/token',
      { grant_type: 'password', username: somebody.email, password },
      basic(party.client),
    );
    expect(outcome(await finish(body.mfa_token as string, await fresh(somebody)))).toEqual([401, 'invalid_mfa_token']);
  });

  it('after a password change is void', async () => {
    const somebody = await person();
    const mfaToken = await tokenOf(somebody);
    await server.database.db('users').where({ id: somebody.id }).update({ passwordChangedAt: new Date() });
    expect(outcome(await finish(mfaToken, await fresh(somebody)))).toEqual([401, 'invalid_mfa_token']);
  });

  it('says nothing to whoever opens it, and is as long as the route takes', async () => {
    const mfaToken = await tokenOf(await person());
    expect(Buffer.from(mfaToken, 'base64url').toString('latin1')).not.toMatch(/pwd|userId|factor/);
    expect(mfaToken.length).toBeLessThan(1024);
  });

  it('has no code mailed to whoever has set up something better', async () => {
    const mfaToken = await tokenOf(await person());
    for (const channel of ['email', 'sms'])
      expect((await anybody.request('post', '/auth/otp/send', { channel, mfaToken })).status).toBe(400);
  });

  it('takes no mailed code that was sent before something better was set up', async () => {
    const caller = await callerOf(server);
    const multi = 'urn:countersign:acr:multi-factor';
    const browser = new Browser(server.issuer);
    const begun = await browser.go((await party.begin({ acr_values: multi })).url);
    const page = await browser.submit(begun, { email: caller.email, password });
    const { text } = await server.mail(caller.email, /sign-in code/);
    await setUpTotp(server, caller);
    const refused = await browser.submit(page, { code: /\b\d{6}\b/.exec(text)?.[0] as string });
    expect([refused.status, refused.html.includes(words('problems.wrongCode'))]).toEqual([401, true]);
  });
});

it('replayed TOTP through two doors at once: one is let in', async () => {
  const somebody = await person();
  const [{ browser, page }, mfaToken] = [await atSecondStep(server, party, somebody.email), await tokenOf(somebody)];
  const code = await fresh(somebody);
  const answers = await Promise.all([
    browser.submit(page, { code }).then(({ url }) => url.origin !== server.issuer),
    finish(mfaToken, code).then(({ status }) => status === 200),
    login(somebody.email, { mfaCode: code }).then(({ status }) => status === 200),
    grant(server, party, somebody.email, code).then(({ status }) => status === 200),
  ]);
  expect(answers.filter(Boolean)).toHaveLength(1);
});

describe('brute force through every door at once (REST, page, password grant, OTP)', () => {
  let limited: TestServer;
  let rp: RelyingParty;
  beforeAll(async () => {
    limited = await startServer({ RATE_LIMIT_FACTOR: '1', MFA_REQUIRED_ROLES: 'manager' });
    rp = await application(limited);
  });
  afterAll(() => limited.stop());

  /** How often a code was compared: the others were told to wait. */
  const compared = async (attempts: Promise<'compared' | 'paused' | 'in'>[]) => {
    const answers = await Promise.all(attempts);
    return { compared: answers.filter((one) => one === 'compared').length, in: answers.includes('in') };
  };
  const verdict = (status: number, wrong: boolean): 'compared' | 'paused' | 'in' => {
    if (status === 429) return 'paused';
    return wrong ? 'compared' : 'in';
  };

  it('does not get more than five tries, and then waits, with the right code too', async () => {
    const at = nobody(limited);
    const somebody = await person(limited);
    const tokens = [];
    for (let index = 0; index < 3; index++) tokens.push((await login(somebody.email, {}, at)).json.mfaToken);
    const pages = [await atSecondStep(limited, rp, somebody.email), await atSecondStep(limited, rp, somebody.email)];
    const wrong = (index: number) => String(index).padStart(6, '0');
    const attempts = [
      ...tokens
        .flatMap((token) => [1, 2, 3].map((index) => finish(token, wrong(index), at)))
        .map(async (answer) => {
          const { status, json } = await answer;
          return verdict(status, json.code === 'invalid_mfa_code');
        }),
      ...[4, 5].map(async (index) => {
        const { status, json } = await login(somebody.email, { mfaCode: wrong(index) }, at);
        return verdict(status, json.code === 'invalid_mfa_code');
      }),
      ...[6, 7].map(async (index) => {
        const { status, body } = await grant(limited, rp, somebody.email, wrong(index));
        return verdict(status, body.error_description === 'the code is not right');
      }),
      ...pages.map(async ({ browser, page }) => {
        const { status } = await browser.submit(page, { code: wrong(8) });
        return verdict(status, status === 401);
      }),
    ];
    expect(await compared(attempts)).toEqual({ compared: 5, in: false });
    await limited.database.db('totpDevices').where({ userId: somebody.id }).update({ lastStep: null });
    const right = shownCode(somebody.secret);
    for (const { status } of [
      await finish(tokens[0], right, at),
      await login(somebody.email, { mfaCode: right }, at),
      await grant(limited, rp, somebody.email, right),
      await login(somebody.email, { mfaCode: somebody.backupCodes[0] }, at),
    ])
      expect(status).toBe(429);
    const [{ browser, page }] = [await atSecondStep(limited, rp, somebody.email)];
    const told = await browser.submit(page, { code: right });
    expect([told.status, told.html.includes('15')]).toEqual([429, true]);
  });

  it('nor by having more codes mailed: the tries are the account’s', async () => {
    const at = nobody(limited);
    const email = await registerAccount(limited);
    const { db } = limited.database;
    await db('users')
      .where({ email })
      .update({ roleId: db('roles').where({ name: 'manager' }).select('id') });
    let tries = 0;
    for (let round = 0; round < 3; round++) {
      const { mfaToken } = (await login(email, {}, at)).json;
      expect((await at.request('post', '/auth/otp/send', { channel: 'email', mfaToken })).status).toBe(202);
      for (let index = 0; index < 3; index++)
        if ((await finish(mfaToken, `00000${index}`, at)).json.code === 'invalid_mfa_code') tries++;
    }
    expect(tries).toBe(5);
  });

  it('wrong passkeys as the second factor are counted for the address, so that they do not fill the audit log', async () => {
    const afresh = await startServer({ RATE_LIMIT_FACTOR: '0.2' });
    const somebody = await person(afresh);
    const browser = new Browser(afresh.issuer);
    const page = await browser.submit(await browser.go('/account'), { email: somebody.email, password });
    const id = 'abcd';
    const response = { clientDataJSON: id, authenticatorData: id, signature: id };
    const passkey = JSON.stringify({ id, rawId: id, type: 'public-key', clientExtensionResults: {}, response });
    const answers: number[] = [];
    for (let index = 0; index < 15; index++) answers.push((await browser.submit(page, { passkey })).status);
    const failed = { targetId: somebody.id, action: 'session.sign_in_failed' };
    const written = await afresh.database.db('auditLogs').where(failed);
    await afresh.stop();
    expect([answers.filter((status) => status === 401).length, answers.at(-1)]).toEqual([10, 429]);
    expect(written).toHaveLength(10);
  });

  it('a new password gives no tries back: whoever has the mailbox could set one', async () => {
    const at = nobody(limited);
    const somebody = await person(limited);
    const { mfaToken } = (await login(somebody.email, {}, at)).json;
    for (let index = 0; index < 5; index++) await finish(mfaToken, '000000', at);
    await at.request('post', '/auth/forgot-password', { email: somebody.email });
    const { links } = await limited.mail(somebody.email, /Set a new password/);
    const token = new URL(links.find((link) => link.includes('token=')) as string).searchParams.get('token');
    expect((await at.request('post', '/auth/reset-password', { token, password })).status).toBeLessThan(300);
    expect((await login(somebody.email, { mfaCode: '000000' }, at)).status).toBe(429);
  });

  it('a right code gives its try back', async () => {
    const afresh = await startServer({ RATE_LIMIT_FACTOR: '1' });
    const at = nobody(afresh);
    const other = await person(afresh);
    for (const code of ['000000', '000000', '000000', other.backupCodes[0] as string, '000000'])
      await login(other.email, { mfaCode: code }, at);
    expect((await login(other.email, { mfaCode: other.backupCodes[1] }, at)).status).toBe(200);
    await afresh.stop();
  });
});

describe('the session', () => {
  const sessionOf = (browser: Browser) => browser.cookies.find(({ name }) => name === 'session')?.value ?? '';
  const isSignedIn = async (cookies: Browser['cookies']) => {
    const thief = new Browser(server.issuer);
    thief.cookies.push(...cookies);
    return !(await thief.go('/account')).html.includes('current-password');
  };
  const multi = 'urn:countersign:acr:multi-factor';
  const enter = async (email: string, browser = new Browser(server.issuer)) => {
    const page = await browser.submit(await browser.go((await party.begin()).url), { email, password });
    expect(page.url.origin).not.toBe(server.issuer);
    return browser;
  };

  it('step-up rotates the session id: the old cookie value is dead, and what was signed in stays so', async () => {
    const email = await registerAccount(server);
    const browser = await enter(email);
    const stolen = browser.cookies.map((cookie) => ({ ...cookie }));
    const before = sessionOf(browser);
    expect(await isSignedIn(stolen)).toBe(true);
    const page = await browser.go((await party.begin({ acr_values: multi })).url);
    const { text } = await server.mail(email, /sign-in code/);
    await browser.submit(page, { code: /\b\d{6}\b/.exec(text)?.[0] as string });
    expect([before.length > 20, sessionOf(browser) === before]).toEqual([true, false]);
    expect(await isSignedIn(stolen)).toBe(false);
    expect(await isSignedIn(browser.cookies)).toBe(true);
    const [session, ...more] = await server.database.db('sessions').where({ userId: (await userOf(email)).id });
    expect([session.payload.amr, more]).toEqual([['pwd', 'otp', 'mfa'], []]);
  });

  it('signing in again rotates it as well', async () => {
    const email = await registerAccount(server);
    const browser = await enter(email);
    const stolen = browser.cookies.map((cookie) => ({ ...cookie }));
    await browser.submit(await browser.go((await party.begin({ prompt: 'login' })).url), { email, password });
    expect(await isSignedIn(stolen)).toBe(false);
  });

  it('session fixation: a cookie from before the sign-in is not the session that comes of it', async () => {
    const email = await registerAccount(server);
    const isSession = ({ name }: { name: string }) => name.startsWith('session');
    const attackers = (await enter(await registerAccount(server))).cookies.filter(isSession);
    const madeUp = [{ name: 'session', value: 'a-session-id-of-the-attackers-choice', path: '/' }];
    for (const planted of [madeUp, attackers]) {
      const browser = new Browser(server.issuer);
      browser.cookies.push(...planted.map((cookie) => ({ ...cookie })));
      const attempt = await party.begin({ prompt: 'login' });
      let page = await browser.submit(await browser.go(attempt.url), { email, password });
      // Another account's session is ended first.
      for (let step = 0; step < 3 && page.url.origin === server.issuer; step++) page = await browser.submit(page);
      expect(page.url.origin).not.toBe(server.issuer);
      expect([sessionOf(browser) === '', sessionOf(browser) === planted[0]?.value]).toEqual([false, false]);
      const thief = new Browser(server.issuer);
      thief.cookies.push(...planted);
      expect((await thief.go('/account')).html).not.toContain(email);
    }
  });

  it('login CSRF: a form from another site, or without the browser’s token, signs nobody in', async () => {
    const email = await registerAccount(server);
    const browser = new Browser(server.issuer);
    const { url } = await browser.go((await party.begin()).url);
    const fields = { email, password };
    const senders: Record<string, string>[] = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ];
    for (const headers of senders) {
      const answer = await postForm(browser, url.pathname, { ...fields, csrf: browser.formToken ?? '' }, headers);
      expect([headers, answer.status]).toEqual([headers, 403]);
    }
    const forged = await postForm(browser, url.pathname, { ...fields, csrf: 'x'.repeat(43) });
    expect(forged.status).toBe(403);
    // Of an interaction that was begun in another browser the form is of no use either.
    const victim = new Browser(server.issuer);
    const planted = await postForm(victim, url.pathname, fields);
    expect(planted.status).toBeGreaterThanOrEqual(400);
    expect(await userOf(email)).toMatchObject({ lastSignInAt: null });
  });

  it('step-up takes no interaction of somebody else’s session', async () => {
    const [mine, theirs] = [await registerAccount(server), await registerAccount(server)];
    const browser = await enter(mine);
    const page = await browser.go((await party.begin({ acr_values: multi })).url);
    expect(page.html).toContain(words('second-factor.stepUp'));
    const other = await enter(theirs);
    const answer = await postForm(other, page.url.pathname, { code: '000000' });
    expect([answer.status, answer.html.includes(words('second-factor.stepUp'))]).toEqual([400, false]);
    await eventually(async () => (await server.mail(mine, /sign-in code/)).text !== '', 'a code');
  });

  const userOf = (email: string) => server.database.db('users').where({ email }).first('id', 'lastSignInAt');
});
