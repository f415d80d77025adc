/** Ways in that an attacker's reading of the code found, each closed. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey } from '../../src/api-keys/api-keys.commands.ts';
import { resendVerification, verifyEmail } from '../../src/auth/accounts.commands.ts';
import { answerCodeRequest, sendSmsCode, verifyEmailByCode, verifyPhoneByCode } from '../../src/auth/otp.commands.ts';
import { changePassword, forgotPassword, resetPassword } from '../../src/auth/password.commands.ts';
import { signIn } from '../../src/auth/sign-in.commands.ts';
import { tokenExchange } from '../../src/clients/grant-types.ts';
import { apiKeyType } from '../../src/provider/token-exchange.ts';
import { endSessions } from '../../src/sessions/sessions.commands.ts';
import { isSessionLive } from '../../src/sessions/sessions.queries.ts';
import { openPii } from '../../src/users/pii.ts';
import { verifyPhone } from '../../src/users/users.commands.ts';
import { authorize, Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf, requester, type TestCaller } from '../support/callers.ts';
import { basic, newPerson, post, registerRelyingParty } from '../support/relying-party.ts';
import { eventually, mailCount, tokenOf, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer({}, { poolMax: 30 });
});
afterAll(() => server.stop());

const another = 'another horse battery staple';
const anonymous = { type: 'anonymous', address: '127.0.0.1' } as const;
const account = '/oauth/authorize?client_id=countersign-account&response_type=none&scope=openid&redirect_uri=';
const accountUrl = () => account + encodeURIComponent(`${server.issuer}/account`);
const idOf = async (email: string): Promise<string> =>
  (await server.database.db('users').where({ email }).first('id')).id;

/** The owner sets a new password by mail. */
const reset = async (email: string): Promise<void> => {
  const { accounts } = server.app;
  await forgotPassword(accounts, anonymous, email);
  const token = tokenOf((await server.mail(email, /new password/)).links, 'reset');
  await resetPassword(accounts, anonymous, { token, password: another });
};

describe('a session that was ended', () => {
  it('is not brought back by requests in flight', async () => {
    const { browser, email } = await newPerson(server);
    await authorize(browser, accountUrl(), email);
    const userId = await idOf(email);
    const inFlight = Array.from({ length: 24 }, () => browser.request(`${accountUrl()}&prompt=none`));
    await new Promise((resolve) => setTimeout(resolve, 15));
    await endSessions(server.database.db, anonymous, { userId, reason: 'test' }, () => Promise.resolve());
    await Promise.all(inFlight);
    expect(await server.database.db('sessions').where({ userId }).select('uid')).toEqual([]);
    expect(await server.database.db('grants').where({ userId }).select('id')).toEqual([]);
  });
});

describe('a password reset', () => {
  it('wins over a change of password that knew the old one', async () => {
    const { browser, email } = await newPerson(server);
    await authorize(browser, accountUrl(), email);
    const userId = await idOf(email);
    const { uid } = await server.database.db('sessions').where({ userId }).first('uid');
    const { accounts } = server.app;
    const slow = {
      ...accounts,
      passwords: {
        ...accounts.passwords,
        hash: async (text: string) => {
          await reset(email);
          return accounts.passwords.hash(text);
        },
      },
    };
    const input = { userId, sessionUid: uid, currentPassword: password, newPassword: 'the thief chooses this one' };
    await expect(changePassword(slow, anonymous, input)).rejects.toMatchObject({ code: 'password_changed' });
    const { passwordHash } = await server.database.db('users').where({ id: userId }).first('passwordHash');
    expect(await accounts.passwords.verify(another, passwordHash)).toMatchObject({ ok: true });
  });

  it('ends offline tokens whose session is long gone', async () => {
    const { browser, email } = await newPerson(server);
    const party = await registerRelyingParty(server);
    const tokens = await party.signIn({ browser, email }, { scope: 'openid offline_access', prompt: 'consent' });
    await browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' });
    const kept = await party.refresh(tokens.refresh_token);
    await reset(email);
    await expect(party.refresh(String(kept.refresh_token))).rejects.toMatchObject({ error: 'invalid_grant' });
    const userId = await idOf(email);
    expect(await server.database.db('refreshTokens').where({ userId }).select('clientId')).toEqual([]);
  });

  it('undoes a sign-in that was not finished yet', async () => {
    const { browser, email } = await newPerson(server);
    const page = await browser.go(accountUrl());
    const answered = await browser.request(page.url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
      body: new URLSearchParams({ email, password }),
    });
    expect(answered.status).toBe(303);
    await reset(email);
    await browser.go(answered.headers.get('location') as string);
    expect((await browser.go('/account')).html).not.toContain('/account/sessions/end');
    expect(
      await server.database
        .db('sessions')
        .where({ userId: await idOf(email) })
        .select('uid'),
    ).toEqual([]);
  });

  it('hashes nothing for somebody without a link', async () => {
    const { accounts } = server.app;
    let hashed = 0;
    const counted = {
      ...accounts,
      passwords: { ...accounts.passwords, hash: () => Promise.resolve(String(hashed++)) },
    };
    const input = { token: 'nonsense', password: another };
    await expect(resetPassword(counted, anonymous, input)).rejects.toMatchObject({ code: 'invalid_token' });
    expect(hashed).toBe(0);
  });
});

describe('an address that somebody else registered', () => {
  it('is not confirmed for them by its owner', async () => {
    const email = `victim-${Date.now()}@example.com`;
    const attacker = new Browser(server.issuer);
    await attacker.submit(await attacker.go('/register'), { name: 'Mallory', email, password });
    const link = `/verify?token=${tokenOf((await server.mail(email)).links, 'verify')}`;

    const owner = new Browser(server.issuer);
    const page = await owner.go(link);
    expect(page.html).toContain('name="password"');
    expect((await owner.submit(page)).status).toBe(400);
    expect((await owner.submit(page, { password: 'whatever the owner thinks of' })).status).toBe(400);
    expect((await server.database.db('users').where({ email }).first('emailVerifiedAt')).emailVerifiedAt).toBeNull();

    // Where it was registered a click is enough.
    const own = await attacker.go(link);
    expect(own.html).not.toContain('name="password"');
    expect((await attacker.submit(own)).url.pathname).toBe('/verified');
  });
});

describe('what anybody can send', () => {
  it('costs no more for a language list of 50 kilobytes, and is no error', async () => {
    const { client_id } = await server.client({ redirect_uris: ['https://app.example.com/'] });
    const query = { client_id, response_type: 'code', ui_locales: `a-${'b-'.repeat(3000)}` };
    const answer = await post(server, '/oauth/authorize', query);
    expect(answer.status).toBe(303);
    expect((await post(server, '/oauth/authorize', { ...query, ui_locales: 'x'.repeat(20_000) })).status).toBe(413);
  });

  it('a NUL in a theme, a client or a form is refused', async () => {
    expect((await fetch(`${server.issuer}/assets/client-theme.css?client=%00`)).status).toBeLessThan(500);
    const browser = new Browser(server.issuer);
    await authorize(browser, accountUrl(), await registerAccount(server));
    const page = await browser.request('/account/applications/withdraw', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
      body: 'id=a%00',
    });
    expect(page.status).toBe(400);
  });

  it('makes no new time series', async () => {
    await Promise.all(['zz', 'zy', 'zx'].map((name) => fetch(`${server.issuer}/oauth/${name}`)));
    const metrics = await (await fetch(`${server.issuer}/metrics`)).text();
    expect(metrics).not.toMatch(/oauth\/z/);
  });

  it('does not reach the development mailbox under another name', async () => {
    const { port } = new URL(server.issuer);
    const { request } = await import('node:http');
    const status = await new Promise((resolve) =>
      request({ host: '127.0.0.1', port, path: '/dev/mail.json', headers: { host: 'rebound.example' } }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      }).end(),
    );
    expect(status).toBe(404);
  });
});

describe('two requests of one browser at once', () => {
  it('leave it signed in', async () => {
    const { browser, email } = await newPerson(server);
    await authorize(browser, accountUrl(), email);
    const pages = [
      await browser.go(`${accountUrl()}&prompt=login`),
      await browser.go(`${accountUrl()}&prompt=login&state=2`),
    ];
    const answers = await Promise.all(
      pages.map((page) =>
        browser.request(page.url, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
          body: new URLSearchParams({ email, password }),
        }),
      ),
    );
    await Promise.all(answers.map((answer) => browser.request(answer.headers.get('location') as string)));
    expect((await browser.go('/account')).html).toContain(email);
  });
});

describe('a full hash queue', () => {
  it('gives back the guess that it refused, and no more', async () => {
    const { accounts } = server.app;
    const counts = { limited: 0, forgiven: 0, returned: 0 };
    const deps = {
      ...accounts,
      requireVerifiedEmail: true,
      countSignIn: () => {},
      guesses: {
        begin: async () => {
          counts.limited++;
          const held = { held: undefined, locks: false };
          return { ...held, undo: async () => void counts.returned++, forgive: async () => void counts.forgiven++ };
        },
        release: async () => void counts.forgiven++,
      },
      mfa: server.app.signIn.mfa,
      passwords: { ...accounts.passwords, verify: () => Promise.reject(new Error('full')) },
    };
    await expect(signIn(deps, anonymous, { email: 'a@example.com', password })).rejects.toThrow('full');
    expect(counts).toEqual({ limited: 1, forgiven: 0, returned: 1 });
  });
});

describe('a session', () => {
  it('asks for the password again after SESSION_MAX_TTL, however much it is used', async () => {
    const { browser, email } = await newPerson(server);
    await authorize(browser, accountUrl(), email);
    const age = (seconds: number) =>
      server.database
        .db('sessions')
        .where({ userId })
        .update({
          payload: server.database.db.raw(
            "jsonb_set(payload, '{loginTs}', to_jsonb((payload->>'loginTs')::int - ?::int))",
            [seconds],
          ),
        });
    const userId = await idOf(email);
    await age(29 * 86_400);
    expect((await browser.go(accountUrl())).url.pathname).toBe('/account');
    const { expiresAt } = await server.database.db('sessions').where({ userId }).first('expiresAt');
    expect(expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(86_400_000);
    await age(2 * 86_400);
    await browser.go(accountUrl());
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect((await browser.go('/account')).html).toContain('current-password');
    await authorize(browser, accountUrl(), email);
    expect((await browser.go('/account')).url.pathname).toBe('/account');
  });
});

describe('somebody who was in an account before its owner', () => {
  const isVerified = async (id: string) =>
    openPii(server.app.secrets, await server.database.db('users').where({ id }).first()).phone_number_verified === true;
  /** Signs in, makes an API key and a token of it, and verifies a phone number. */
  const settle = async () => {
    const intruder = await callerOf(server);
    const made = await intruder.request('post', '/api-keys', { name: 'mine', scopes: ['sessions:read:own'] });
    expect(made.status).toBe(201);
    const gateway = await server.client({
      grant_types: [tokenExchange],
      redirect_uris: [],
      scope: 'sessions:read:own',
    });
    const subject = { subject_token: made.json.key, subject_token_type: apiKeyType };
    const form = { grant_type: tokenExchange, ...subject };
    const { body } = await post(server, '/oauth/token', form, basic(gateway));
    const { db } = server.database;
    await verifyPhone(db, server.app.secrets, anonymous, intruder.id, '+4930901820');
    const works = async (token: string) => (await requester(server, token)('get', '/sessions')).status;
    expect([await works(made.json.key), await works(body.access_token)]).toEqual([200, 200]);
    return { intruder, values: [made.json.key, body.access_token, intruder.token], works };
  };
  const unverified = async (id: string) => server.database.db('users').where({ id }).update({ emailVerifiedAt: null });

  for (const [what, retake] of [
    ['a reset of the password', ({ email }: TestCaller) => reset(email)],
    [
      'a confirmation of the address by the mailed link, over REST',
      async ({ id, email }: TestCaller) => {
        await unverified(id);
        await resendVerification(server.app.accounts, anonymous, email);
        await eventually(() => mailCount(server, email, /Confirm/) === 1, 'a link');
        const token = tokenOf((await server.mail(email, /Confirm/)).links, 'verify');
        await verifyEmail(server.app.accounts, anonymous, token);
      },
    ],
    [
      'a confirmation of the address by a code',
      async ({ id, email }: TestCaller) => {
        await unverified(id);
        await answerCodeRequest(server.app.otp, { email, actor: anonymous });
        const code = /\b\d{6}\b/.exec((await server.mail(email, /Your code/)).text)?.[0] as string;
        await verifyEmailByCode(server.app.otp, anonymous, { email, code });
      },
    ],
  ] as const)
    it(`is out after ${what}: API keys, what they were exchanged for, sessions, and the number for codes`, async () => {
      const { intruder, values, works } = await settle();
      await retake(intruder);
      for (const value of values) expect(await works(value)).toBe(401);
      expect(await isVerified(intruder.id)).toBe(false);
      const revoked = { action: 'api_key.revoke', targetType: 'api_key' };
      const keys = await server.database.db('apiKeys').where({ userId: intruder.id }).pluck('id');
      expect(await server.database.db('auditLogs').where(revoked).whereIn('targetId', keys)).toHaveLength(1);
    });

  it('is told by the mail about the reset that keys were revoked, and by that about a change that there are some', async () => {
    const { intruder } = await settle();
    const body = { currentPassword: password, newPassword: another };
    expect((await intruder.request('post', '/auth/change-password', body)).status).toBe(204);
    expect((await server.mail(intruder.email, /was changed/)).text).toContain(words('mail.password-changed.kept'));
    expect((await intruder.request('get', '/api-keys')).json.data).toMatchObject([{ revokedAt: null }]);
    await reset(intruder.email);
    await eventually(() => mailCount(server, intruder.email, /was changed/) === 2, 'another mail');
    expect((await server.mail(intruder.email, /was changed/)).text).toContain(words('mail.password-changed.revoked'));
  });

  it('makes no key with requests that a reset finds in flight', async () => {
    const intruder = await callerOf(server);
    const { db } = server.database;
    const ask = () => intruder.request('post', '/api-keys', { name: 'ci', scopes: ['users:read:own'] });
    await forgotPassword(server.app.accounts, anonymous, intruder.email);
    const token = tokenOf((await server.mail(intruder.email, /password/i)).links, 'reset');
    const inFlight = Array.from({ length: 20 }, ask);
    await Promise.all([...inFlight, resetPassword(server.app.accounts, anonymous, { token, password: another })]);
    expect(await db('apiKeys').where({ userId: intruder.id, revokedAt: null })).toEqual([]);
    // Nor when the token was looked at before and the key is made after.
    const { sid } = decodeJwt(intruder.token) as { sid: string };
    const deps = { db, isSessionLive, tellOwner: () => Promise.resolve() };
    const key = { userId: intruder.id, sessionUid: sid, name: 'late', scopes: ['users:read:own'] };
    await expect(createApiKey(deps, anonymous, ['*:*:*'], key)).rejects.toMatchObject({ code: 'invalid_token' });
  });

  it('verifies no number with a request that a reset finds in flight', async () => {
    const intruder = await callerOf(server);
    const { otp } = server.app;
    const phoneNumber = '+4930901877';
    await sendSmsCode(otp, anonymous, { userId: intruder.id, phoneNumber });
    const code = /^\d{6}/.exec((await server.mail(phoneNumber)).text)?.[0] as string;
    const { sid: sessionUid } = decodeJwt(intruder.token) as { sid: string };
    await reset(intruder.email);
    const late = verifyPhoneByCode(otp, anonymous, { userId: intruder.id, sessionUid, code });
    await expect(late).rejects.toMatchObject({ code: 'invalid_token' });
    expect(await isVerified(intruder.id)).toBe(false);
  });
});
