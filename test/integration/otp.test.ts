/** One-time codes over REST: by mail and by SMS, used once, tried five times, and telling nobody who has an account. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signTwilioRequest } from '../../adapters/sms-twilio.ts';
import { mfaMethods } from '../../src/auth/mfa.commands.ts';
import { createOneTimeCode, emailSubject, useOneTimeCode } from '../../src/auth/one-time-codes.commands.ts';
import { forgotPassword, resetPassword } from '../../src/auth/password.commands.ts';
import { createLog } from '../../src/log.ts';
import { openPii } from '../../src/users/pii.ts';
import { verifyPhone } from '../../src/users/users.commands.ts';
import { findUser, type User } from '../../src/users/users.queries.ts';
import { password, registerAccount } from '../support/browser.ts';
import { callerOf, machineOf, nobody, requester, type TestCaller } from '../support/callers.ts';
import { type Answer, comparable, eventually, mailCount, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type SmsGateway, startSmsGateway, twilioProblem } from '../support/sms-gateway.ts';

let server: TestServer;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer({}, { poolMax: 30 });
  anybody = nobody(server);
});
afterAll(() => server.stop());

const register = async (on = server): Promise<string> => {
  const email = `${uuid()}@example.com`;
  const { status } = await nobody(on).request('post', '/auth/register', { email, password, name: 'Ada Lovelace' });
  expect(status).toBe(201);
  return email;
};
const number = () => `+49309${String(Math.floor(Math.random() * 1e8)).padStart(8, '0')}`;
const codeSubject = /Your code/;
/** The newest code that reached an address or a number; waits until there have been `count`. */
const codeTo = async (to: string, count = 1, on = server): Promise<string> => {
  await eventually(() => mailCount(on, to, /Your code|^SMS$/) >= count, `${count} codes to somebody`);
  return /\b\d{6}\b/.exec((await on.mail(to, /Your code|^SMS$/)).text)?.[0] as string;
};
const send = (body: object, caller = anybody): Promise<Answer> => caller.request('post', '/auth/otp/send', body);
const verify = (body: object, caller = anybody): Promise<Answer> => caller.request('post', '/auth/otp/verify', body);
const sendMail = async (email: string, count = 1): Promise<string> => {
  expect((await send({ channel: 'email', email })).status).toBe(202);
  return codeTo(email, count);
};
const another = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0');
const userOf = (email: string, on = server) => on.database.db('users').where({ email }).first();
const expectInvalid = (answer: Answer) => expect([answer.status, answer.json.code]).toEqual([400, 'invalid_code']);
/** As if the code had been made that long ago. */
const age = (minutes: number) =>
  server.database.db.raw(`update one_time_codes set expires_at = expires_at - interval '${minutes} minutes'`);

describe('a code by mail', () => {
  it('verifies the address, and ends sessions that were begun before', async () => {
    const email = await register();
    const answer = await send({ channel: 'email', email: email.toUpperCase() });
    expect([answer.status, answer.json]).toEqual([202, { sent: true, expiresIn: 600 }]);
    const code = await codeTo(email);
    const { text, html, subject } = await server.mail(email, codeSubject);
    for (const part of [text, html]) {
      expect(part).toContain(code);
      expect(part).toMatch(/10 minutes[\s\S]*Never tell anyone this code/);
    }
    expect(subject).not.toContain(code);
    const { id } = await userOf(email);
    await server.database.db('sessions').insert({
      idHash: uuid(),
      uid: uuid(),
      userId: id,
      payload: {},
      expiresAt: new Date(Date.now() + 60_000),
    });
    const verified = await verify({ channel: 'email', email, code: `${code.slice(0, 3)} ${code.slice(3)}` });
    expect([verified.status, verified.json]).toEqual([200, { verified: true }]);
    expect((await userOf(email)).emailVerifiedAt).toBeInstanceOf(Date);
    expect(await server.database.db('sessions').where({ userId: id })).toEqual([]);
    expect(await server.database.db('actionTokens').where({ userId: id })).toEqual([]);
  });

  it('speaks the language of the account', async () => {
    const email = await register();
    await server.database.db('users').where({ email }).update({ locale: 'es' });
    await send({ channel: 'email', email });
    await eventually(() => mailCount(server, email, /Su código/) === 1, 'a mail in Spanish');
  });

  it('is the caller’s own without an address', async () => {
    const caller = await callerOf(server);
    await server.database.db('users').where({ id: caller.id }).update({ emailVerifiedAt: null });
    expect((await send({ channel: 'email' }, caller)).status).toBe(202);
    const code = await codeTo(caller.email);
    expect((await verify({ channel: 'email', code }, caller)).status).toBe(200);
  });

  it('works once', async () => {
    const email = await register();
    const code = await sendMail(email);
    expect((await verify({ channel: 'email', email, code })).status).toBe(200);
    expectInvalid(await verify({ channel: 'email', email, code }));
  });

  it('works once however many use it at the same time', async () => {
    const email = await register();
    const code = await sendMail(email);
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify({ channel: 'email', email, code })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status !== 200)) expectInvalid(answer);
    const { id } = await userOf(email);
    const events = await server.database.db('auditLogs').where({ action: 'user.verify_email', targetId: id });
    expect(events).toHaveLength(1);
  });

  it('is dead after five tries, even for the right code', async () => {
    const email = await register();
    const code = await sendMail(email);
    for (let count = 0; count < 5; count++)
      expectInvalid(await verify({ channel: 'email', email, code: another(code) }));
    expectInvalid(await verify({ channel: 'email', email, code }));
    expect((await userOf(email)).emailVerifiedAt).toBeNull();
  });

  it('is tried five times at most, however many try at the same time', async () => {
    const email = await register();
    const code = await sendMail(email);
    await Promise.all(Array.from({ length: 20 }, () => verify({ channel: 'email', email, code: another(code) })));
    const { id } = await userOf(email);
    expect((await server.database.db('oneTimeCodes').where({ userId: id }).first('tries')).tries).toBe(5);
    expectInvalid(await verify({ channel: 'email', email, code }));
  });

  it('still works at the fifth try', async () => {
    const email = await register();
    const code = await sendMail(email);
    for (let count = 0; count < 4; count++)
      expectInvalid(await verify({ channel: 'email', email, code: another(code) }));
    expect((await verify({ channel: 'email', email, code })).status).toBe(200);
  });

  it('expires after ten minutes', async () => {
    const [early, late] = [await register(), await register()];
    const codes = [await sendMail(early), await sendMail(late)];
    await age(9);
    expect((await verify({ channel: 'email', email: early, code: codes[0] })).status).toBe(200);
    await age(1);
    expectInvalid(await verify({ channel: 'email', email: late, code: codes[1] }));
  });

  it('is replaced by a newer one', async () => {
    const email = await register();
    const first = await sendMail(email);
    let second = first;
    for (let count = 2; second === first; count++) second = await sendMail(email, count);
    expectInvalid(await verify({ channel: 'email', email, code: first }));
    expect((await verify({ channel: 'email', email, code: second })).status).toBe(200);
  });

  it('is of no use for another address', async () => {
    const [mine, yours] = [await register(), await register()];
    const code = await sendMail(mine);
    const theirs = await sendMail(yours);
    if (code !== theirs) expectInvalid(await verify({ channel: 'email', email: yours, code }));
    expect((await userOf(yours)).emailVerifiedAt).toBeNull();
  });

  it('is of no use once the account is closed or has another address', async () => {
    for (const change of [{ status: 'deactivated' }, { email: `${uuid()}@example.com` }]) {
      const email = await register();
      const code = await sendMail(email);
      const { id } = await userOf(email);
      await server.database.db('users').where({ id }).update(change);
      expectInvalid(await verify({ channel: 'email', email, code }));
      expect((await server.database.db('users').where({ id }).first()).emailVerifiedAt).toBeNull();
    }
  });

  it('cannot be had again from the row that keeps it', async () => {
    const email = await register();
    const code = await sendMail(email);
    const row = await server.database
      .db('oneTimeCodes')
      .where({ userId: (await userOf(email)).id })
      .first();
    expect(JSON.stringify(row)).not.toMatch(new RegExp(`${code}|${email}`));
    // Bound to its row: the same code has another hash elsewhere.
    expect(row.codeHash).not.toBe(server.app.secrets.mac('one-time-code', code));
  });
});

describe('an address without an account that waits', () => {
  it('gets no mail, and answers that tell nothing', async () => {
    const [waiting, verified, unknown] = [await register(), await registerAccount(server), `${uuid()}@example.com`];
    const sent = [];
    for (const email of [waiting, verified, unknown]) sent.push(await send({ channel: 'email', email }));
    const code = await codeTo(waiting);
    await eventually(
      async () => (await server.database.db('oneTimeCodes').where({ userId: null })).length >= 2,
      'codes for nobody',
    );
    expect([verified, unknown].map((email) => mailCount(server, email, codeSubject))).toEqual([0, 0]);
    const tried = [];
    for (let count = 0; count < 6; count++)
      for (const email of [waiting, verified, unknown])
        tried.push(await verify({ channel: 'email', email, code: another(code) }));
    for (const answers of [sent, tried]) {
      const shown = answers.map(({ status, headers, json }) => {
        const { requestId: _, ...body } = json;
        return JSON.stringify([status, comparable(headers), body]);
      });
      expect(new Set(shown).size).toBe(1);
    }
    for (const answer of tried) expectInvalid(answer);
  });

  it('has its tries counted in the same way', async () => {
    const unknown = `${uuid()}@example.com`;
    const before = new Set(await server.database.db('oneTimeCodes').pluck('id'));
    await send({ channel: 'email', email: unknown });
    const added = async () => (await server.database.db('oneTimeCodes')).filter(({ id }) => !before.has(id));
    await eventually(async () => (await added()).length === 1, 'a code for nobody');
    await verify({ channel: 'email', email: unknown, code: '000000' });
    expect(await added()).toMatchObject([{ userId: null, tries: 1 }]);
  });
});

describe('a code by SMS', () => {
  const piiOf = async ({ id }: TestCaller) =>
    openPii(server.app.secrets, await server.database.db('users').where({ id }).first());

  it('verifies the number that it was sent to, and makes it the one in the profile', async () => {
    const caller = await callerOf(server);
    const phoneNumber = number();
    const answer = await send({ channel: 'sms', phoneNumber: phoneNumber.replace(/^(...)/, '$1 ') }, caller);
    expect([answer.status, answer.json]).toEqual([202, { sent: true, expiresIn: 600 }]);
    const code = await codeTo(phoneNumber);
    const { text } = await server.mail(phoneNumber);
    expect(text).toMatch(/^\d{6} is your code for Countersign\. .*10 minutes\. Never tell anyone this code\.\n/);
    expect(text.split('\n').at(-1)).toBe(`@localhost #${code}`);
    expect(await piiOf(caller)).toEqual({});
    expect((await verify({ channel: 'sms', phoneNumber, code }, caller)).json).toEqual({ verified: true });
    expect(await piiOf(caller)).toEqual({ phone_number: phoneNumber, phone_number_verified: true });
    expectInvalid(await verify({ channel: 'sms', phoneNumber, code }, caller));
  });

  it('goes to the number in the profile unless another is given', async () => {
    const caller = await callerOf(server);
    const none = await send({ channel: 'sms' }, caller);
    expect([none.status, none.json.errors]).toEqual([400, [expect.objectContaining({ field: 'phoneNumber' })]]);
    const phoneNumber = number();
    await send({ channel: 'sms', phoneNumber }, caller);
    await verify({ channel: 'sms', code: await codeTo(phoneNumber) }, caller);
    expect((await send({ channel: 'sms' }, caller)).status).toBe(202);
    await codeTo(phoneNumber, 2);
  });

  it('verifies no other number, and nobody else’s', async () => {
    const [caller, other] = [await callerOf(server), await callerOf(server)];
    const phoneNumber = number();
    await send({ channel: 'sms', phoneNumber }, caller);
    const code = await codeTo(phoneNumber);
    expectInvalid(await verify({ channel: 'sms', phoneNumber: number(), code }, caller));
    expectInvalid(await verify({ channel: 'sms', phoneNumber, code }, other));
    expect([await piiOf(caller), await piiOf(other)]).toEqual([{}, {}]);
    expect((await verify({ channel: 'sms', code }, caller)).status).toBe(200);
  });

  it('keeps number and code out of the database in clear', async () => {
    const caller = await callerOf(server);
    const phoneNumber = number();
    await send({ channel: 'sms', phoneNumber }, caller);
    const code = await codeTo(phoneNumber);
    const { rows } = await server.database.db.raw('select data::text from pgboss.job');
    const codes = await server.database.db('oneTimeCodes').where({ subject: caller.id });
    const clear = `${JSON.stringify([rows, codes])}${Buffer.from(codes[0].destinationEncrypted).toString('latin1')}`;
    expect(clear).not.toMatch(new RegExp(`${phoneNumber.slice(1)}|"${code}|#${code}`));
  });

  for (const { who, caller, expected } of [
    { who: 'nobody', caller: () => Promise.resolve(anybody), expected: [401, 'unauthenticated'] },
    {
      who: 'an application that somebody merely signs in to',
      caller: () => callerOf(server, { scope: '', thirdParty: true }),
      expected: [403, 'missing_permission'],
    },
    {
      who: 'a token that may only read',
      caller: () => callerOf(server, { scope: 'users:read:own' }),
      expected: [403, 'missing_permission'],
    },
    {
      who: 'an application of its own',
      caller: () => machineOf(server, 'users:write:own'),
      expected: [403, 'missing_permission'],
    },
  ] as const) {
    it(`is refused to ${who}`, async () => {
      const refused = await caller();
      const phoneNumber = number();
      for (const answer of [
        await send({ channel: 'sms', phoneNumber }, refused),
        await verify({ channel: 'sms', phoneNumber, code: '123456' }, refused),
      ])
        expect([answer.status, answer.json.code]).toEqual(expected);
      expect(await server.database.db('oneTimeCodes').where({ subject: refused.id })).toEqual([]);
      if (refused.token) {
        const own = await send({ channel: 'email' }, refused);
        expect([own.status, own.json.code]).toEqual(expected);
        expect(own.headers.get('www-authenticate')).toContain('scope="users:write:own"');
        // One row for each of the three.
        const events = { action: 'authorization.refuse', actorId: refused.id };
        expect(await server.database.db('auditLogs').where(events)).toHaveLength(3);
      }
    });
  }
});

describe('a number that becomes a second factor', () => {
  const forbidden = async (caller: TestCaller, code: string) => {
    const phoneNumber = number();
    for (const answer of [
      await send({ channel: 'sms', phoneNumber }, caller),
      await verify({ channel: 'sms', phoneNumber, code: '123456' }, caller),
    ])
      expect([answer.status, answer.json.code]).toEqual([403, code]);
    const events = { action: 'authorization.refuse', actorId: caller.id };
    expect(await server.database.db('auditLogs').where(events)).toHaveLength(2);
    expect(await server.database.db('oneTimeCodes').where({ subject: caller.id })).toEqual([]);
  };

  it('is enrolled by no API key', async () => {
    const owner = await callerOf(server);
    const { json } = await owner.request('post', '/api-keys', { name: 'ci', scopes: ['users:write:own'] });
    await forbidden({ ...owner, token: json.key, request: requester(server, json.key) }, 'session_needed');
  });

  it('is enrolled by no application of somebody else’s', async () => {
    await forbidden(await callerOf(server, { scope: 'users:write:own', thirdParty: true }), 'session_needed');
  });

  it('takes a verified address: an account that costs nothing causes no SMS', async () => {
    const caller = await callerOf(server);
    await server.database.db('users').where({ id: caller.id }).update({ emailVerifiedAt: null });
    const answer = await send({ channel: 'sms', phoneNumber: number() }, caller);
    expect([answer.status, answer.json.code]).toEqual([403, 'email_not_verified']);
    expect(await server.database.db('oneTimeCodes').where({ subject: caller.id })).toEqual([]);
  });

  it('is told to the owner by mail, by its last digits', async () => {
    const caller = await callerOf(server);
    const phoneNumber = number();
    await send({ channel: 'sms', phoneNumber }, caller);
    await verify({ channel: 'sms', code: await codeTo(phoneNumber) }, caller);
    const { text, html } = await server.mail(caller.email, /phone number/);
    for (const part of [text, html]) {
      expect(part).toContain(`… ${phoneNumber.slice(-3)}`);
      expect(part).toContain('/forgot');
      expect(part).not.toContain(phoneNumber);
    }
  });
});

describe('where SMS are bounded', () => {
  let bounded: TestServer;
  const lines: string[] = [];
  beforeAll(async () => {
    bounded = await startServer(
      { SMS_PER_HOUR: '3', SMS_ALLOWED_PREFIXES: '+49, +43' },
      { log: createLog('info', { write: (line) => void lines.push(line) }) },
    );
  });
  afterAll(() => bounded.stop());

  it('numbers that begin otherwise are refused, and verified ones of before get no codes', async () => {
    const caller = await callerOf(bounded);
    for (const phoneNumber of ['+15005550006', '+4812345678', '+882990000000']) {
      const answer = await send({ channel: 'sms', phoneNumber }, caller);
      expect([answer.status, answer.json.code]).toEqual([400, 'number_not_allowed']);
      expect(answer.json.errors).toEqual([expect.objectContaining({ field: 'phoneNumber' })]);
    }
    const { db } = bounded.database;
    const nothing = { factors: { totp: false, passkeys: 0, backupCodes: 0 }, amr: ['pwd'] };
    for (const [phoneNumber, methods] of [
      ['+15005550006', ['email']],
      ['+4366412345678', ['email', 'sms']],
    ] as const) {
      await verifyPhone(db, bounded.app.secrets, { type: 'user', id: caller.id }, caller.id, phoneNumber);
      expect(mfaMethods(bounded.app.signIn.mfa, (await findUser(db, caller.id)) as User, nothing)).toEqual(methods);
    }
  });

  it('so many are sent in an hour to everybody; past that the answer is the same, and it is counted and logged once', async () => {
    const numbers = Array.from({ length: 5 }, number);
    const answers = [];
    for (const phoneNumber of numbers)
      answers.push(await send({ channel: 'sms', phoneNumber }, await callerOf(bounded)));
    expect(answers.map(({ status, json }) => [status, json.sent])).toEqual(Array(5).fill([202, true]));
    await eventually(() => mailCount(bounded, numbers[2] as string) === 1, 'the third SMS');
    expect(numbers.map((to) => mailCount(bounded, to))).toEqual([1, 1, 1, 0, 0]);
    expect(lines.filter((line) => line.includes('SMS_PER_HOUR'))).toHaveLength(1);
    const { text } = await nobody(bounded).request('get', '/metrics');
    expect(text).toContain('sms_total{outcome="over_limit"} 2');
  });
});

describe('malformed requests', () => {
  for (const [what, path, body, field] of [
    ['no channel', 'send', { email: 'ada@example.com' }, 'channel'],
    ['another channel', 'send', { channel: 'pigeon' }, 'channel'],
    ['neither an address nor a token', 'send', { channel: 'email' }, 'email'],
    ['neither an address nor a token', 'verify', { channel: 'email', code: '123456' }, 'email'],
    ['no address', 'send', { channel: 'email', email: 'ada' }, 'email'],
    ['a national number', 'send', { channel: 'sms', phoneNumber: '030 901820' }, 'phoneNumber'],
    ['five digits', 'verify', { channel: 'email', email: 'ada@example.com', code: '12345' }, 'code'],
    ['other digits', 'verify', { channel: 'email', email: 'ada@example.com', code: '١٢٣٤٥٦' }, 'code'],
  ] as const)
    it(`are told so: ${what} (${path})`, async () => {
      const answer = await anybody.request('post', `/auth/otp/${path}`, body);
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid_request']);
      expect(answer.json.errors).toEqual([expect.objectContaining({ field })]);
    });
});

describe('limits', () => {
  let limited: TestServer;
  beforeAll(async () => {
    limited = await startServer({
      RATE_LIMIT_FACTOR: '1',
      TRUST_PROXY: '1',
      RATE_LIMITS: 'anonymous=10000,user=10000',
    });
  });
  afterAll(() => limited.stop());
  const expectLimited = ({ status, headers, json }: Answer) => {
    expect([status, json.code]).toEqual([429, 'too_many_requests']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  };
  /** Requests one after the other, all from one address. */
  const repeat = async (path: 'send' | 'verify', count: number, body: () => object, caller = nobody(limited)) => {
    const headers = { 'x-forwarded-for': `192.0.2.${++addresses}` };
    const answers = [];
    for (let index = 0; index < count; index++)
      answers.push(await caller.request('post', `/auth/otp/${path}`, body(), headers));
    return answers;
  };
  let addresses = 0;

  it('5 mails an hour to one recipient from one address', async () => {
    const email = `${uuid()}@example.com`;
    const answers = await repeat('send', 6, () => ({ channel: 'email', email }));
    expect(answers.slice(0, 5).map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    expectLimited(answers[5] as Answer);
  });

  it('5 SMS an hour to one account, whatever the number', async () => {
    const caller = await callerOf(limited);
    const answers = await repeat('send', 6, () => ({ channel: 'sms', phoneNumber: number() }), caller);
    expect(answers.slice(0, 5).map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    expectLimited(answers[5] as Answer);
  });

  it('5 SMS an hour to one number, and who asks for more is not told what others did', async () => {
    const phoneNumber = number();
    const [first, second] = [await callerOf(limited), await callerOf(limited)];
    const body = () => ({ channel: 'sms', phoneNumber });
    const answers = [...(await repeat('send', 3, body, first)), ...(await repeat('send', 3, body, second))];
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202, 202]);
    await eventually(() => mailCount(limited, phoneNumber) === 5, 'five SMS');
    expect(mailCount(limited, phoneNumber)).toBe(5);
  });

  /** Has a code made for an address, known or not, and waits for it. */
  const outstanding = async (email: string) => {
    const subject = emailSubject(limited.app.secrets, email);
    const idOf = async () => (await limited.database.db('oneTimeCodes').where({ subject }).first('id'))?.id;
    const before = await idOf();
    await repeat('send', 1, () => ({ channel: 'email', email }));
    await eventually(async () => (await idOf()) !== before, 'a code');
  };

  it('25 wrong codes a day of those that one recipient was sent, known or not', async () => {
    const tried = [];
    for (const email of [await register(limited), `${uuid()}@example.com`]) {
      const wrong = () => ({ channel: 'email', email, code: '000000' });
      const answers = [];
      for (let code = 0; code < 6; code++) {
        await outstanding(email);
        answers.push(...(await repeat('verify', code === 5 ? 1 : 6, wrong)));
      }
      // Five tries of a code count, the sixth finds none to try.
      for (const answer of answers.slice(0, 30)) expectInvalid(answer);
      expectLimited(answers[30] as Answer);
      tried.push(answers.map(({ status, json }) => [status, json.code]));
    }
    expect(tried[0]).toEqual(tried[1]);
  });

  it('none of those that are tried while there is no code, by which nobody is kept from a later one', async () => {
    const email = await register(limited);
    const wrong = () => ({ channel: 'email', email, code: '000000' });
    for (let round = 0; round < 3; round++)
      for (const answer of await repeat('verify', 20, wrong)) expectInvalid(answer);
    await repeat('send', 1, () => ({ channel: 'email', email }));
    const code = await codeTo(email, 1, limited);
    const [answer] = await repeat('verify', 1, () => ({ channel: 'email', email, code }));
    expect(answer?.status).toBe(200);
  });

  it('each purpose for itself, and a reset of the password forgets them', async () => {
    const { id, email } = await callerOf(limited);
    const { otp, accounts } = limited.app;
    const actor = { type: 'anonymous', address: '192.0.2.250' } as const;
    for (let tries = 0; tries < 25; tries++) await otp.limitCodes('verify-phone', id);
    await expect(otp.limitCodes('verify-phone', id)).rejects.toMatchObject({ status: 429 });
    await otp.limitCodes('mfa', id);
    await forgotPassword(accounts, actor, email);
    const token = tokenOf((await limited.mail(email, /new password/)).links, 'reset');
    await resetPassword(accounts, actor, { token, password: 'another horse battery staple' });
    await otp.limitCodes('verify-phone', id);
  });

  it('50 wrong codes from one address, whoever they are for', async () => {
    const answers = await repeat('verify', 51, () => ({
      channel: 'email',
      email: `${uuid()}@example.com`,
      code: '000000',
    }));
    for (const answer of answers.slice(0, 50)) expectInvalid(answer);
    expectLimited(answers[50] as Answer);
  });

  it('codes that are right are not counted', async () => {
    const email = await register(limited);
    const subject = emailSubject(limited.app.secrets, email);
    for (let tries = 0; tries < 24; tries++) await limited.app.otp.limitCodes('verify-email', subject);
    await repeat('send', 1, () => ({ channel: 'email', email }));
    const code = await codeTo(email, 1, limited);
    const answers = await repeat('verify', 2, () => ({ channel: 'email', email, code }));
    expect(answers.map(({ status }) => status)).toEqual([200, 400]);
    await limited.app.otp.limitCodes('verify-email', subject);
  });
});

describe('where SMS cannot be sent', () => {
  it('nobody can ask for one, and mail works all the same', async () => {
    const off = await startServer({
      NODE_ENV: 'development',
      JWT_ISSUER: 'https://id.example.com',
      SMTP_URL: 'smtp://127.0.0.1:9',
    });
    try {
      expect(off.app.otp.queueSms).toBeUndefined();
    } finally {
      await off.stop();
    }
    const { sendSmsCode } = await import('../../src/auth/otp.commands.ts');
    const without = { ...server.app.otp, queueSms: undefined };
    const { id } = await callerOf(server);
    await expect(
      sendSmsCode(without, { type: 'user', id }, { userId: id, phoneNumber: number() }),
    ).rejects.toMatchObject({ status: 400, code: 'sms_unavailable' });
  });
});

describe('by Twilio', () => {
  let gateway: SmsGateway;
  let twilio: TestServer;
  let caller: TestCaller;
  const lines: string[] = [];
  const authToken = 'the-auth-token';
  beforeAll(async () => {
    gateway = await startSmsGateway();
    const settings = {
      SMS_PROVIDER: 'twilio',
      TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
      TWILIO_AUTH_TOKEN: authToken,
      TWILIO_FROM: '+15005550006',
      TWILIO_API_URL: gateway.url,
    };
    twilio = await startServer(settings, { log: createLog('debug', { write: (line) => void lines.push(line) }) });
    caller = await callerOf(twilio);
  });
  afterAll(async () => {
    await twilio.stop();
    await gateway.stop();
  });
  beforeEach(() => {
    gateway.requests.length = 0;
    gateway.answers.length = 0;
  });
  const sentTo = (phoneNumber: string) =>
    gateway.requests.map(({ body }) => new URLSearchParams(body)).filter((form) => form.get('To') === phoneNumber);
  const ask = async (): Promise<string> => {
    const phoneNumber = number();
    expect((await send({ channel: 'sms', phoneNumber }, caller)).status).toBe(202);
    return phoneNumber;
  };

  it('a code arrives and verifies the number, after an outage too', async () => {
    gateway.answers.push({ status: 500 });
    const phoneNumber = await ask();
    await eventually(() => sentTo(phoneNumber).length === 2, 'a second try', 40_000);
    const code = /^\d{6}/.exec(sentTo(phoneNumber)[1]?.get('Body') ?? '')?.[0];
    expect((await verify({ channel: 'sms', phoneNumber, code }, caller)).status).toBe(200);
    expect(lines.join('')).not.toMatch(new RegExp(`${phoneNumber.slice(1)}|\\b${code}\\b|${authToken}`));
  });

  it('a number that is none is not tried again', async () => {
    gateway.answers.push(twilioProblem(400, 21211));
    const phoneNumber = await ask();
    await eventually(() => lines.some((line) => line.includes('twilio_21211')), 'a line in the log');
    const states = async (): Promise<string[]> =>
      (await twilio.database.db.raw(`select state from pgboss.job where name = 'sms'`)).rows.map(
        ({ state }: { state: string }) => state,
      );
    // It is written down after the log.
    await eventually(async () => !(await states()).includes('active'), 'the end of the job');
    expect(await states()).not.toContain('retry');
    expect(sentTo(phoneNumber)).toHaveLength(1);
  });

  const report = {
    MessageSid: `SM${'a'.repeat(32)}`,
    MessageStatus: 'undelivered',
    ErrorCode: '30003',
    To: '+4930901820',
  };
  const post = (fields: Record<string, string>, signature: string | undefined) =>
    nobody(twilio).request('post', '/sms/twilio/status', new URLSearchParams(fields).toString(), {
      'content-type': 'application/x-www-form-urlencoded',
      'x-twilio-signature': signature,
    });
  const url = () => `${twilio.issuer}/sms/twilio/status`;

  it('tells what became of a message, and that is counted and logged without the number', async () => {
    const answer = await post(report, signTwilioRequest(authToken, url(), report));
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(lines.filter((line) => line.includes('"status":"undelivered"'))).toHaveLength(1);
    expect(lines.join('')).not.toContain('4930901820');
    expect((await nobody(twilio).request('get', '/metrics')).text).toContain('sms_total{outcome="undelivered"} 1');
    const odd = { MessageStatus: 'whatever"} 1\n' };
    expect((await post(odd, signTwilioRequest(authToken, url(), odd))).status).toBe(204);
    expect((await nobody(twilio).request('get', '/metrics')).text).toContain('sms_total{outcome="other"} 1');
  });

  for (const [what, fields, signature] of [
    ['no signature', report, undefined],
    ['a wrong one', report, 'L/OH5YylLD5NRKLltdqwSvS0BnU='],
    ['that of other fields', { ...report, MessageStatus: 'delivered' }, 'signed'],
    ['that of another token', report, 'by another'],
  ] as const)
    it(`a report is refused with ${what}`, async () => {
      const given =
        signature === 'signed'
          ? signTwilioRequest(authToken, url(), report)
          : signature === 'by another'
            ? signTwilioRequest('another', url(), report)
            : signature;
      const answer = await post(fields, given);
      expect([answer.status, answer.json.code]).toEqual([403, 'invalid_signature']);
    });

  it('a report is refused where SMS do not go by Twilio', async () => {
    const answer = await anybody.request('post', '/sms/twilio/status', new URLSearchParams(report).toString(), {
      'content-type': 'application/x-www-form-urlencoded',
      'x-twilio-signature': signTwilioRequest('', `${server.issuer}/sms/twilio/status`, report),
    });
    expect([answer.status, answer.json.code]).toEqual([403, 'invalid_signature']);
  });
});

describe('the code behind it', () => {
  it('is not used up when what it was for fails', async () => {
    const { db } = server.database;
    const { secrets } = server.app;
    const { id } = await callerOf(server);
    const code = await createOneTimeCode(db, secrets, { purpose: 'mfa', subject: id, userId: id, channel: 'email' });
    const use = { purpose: 'mfa', subject: id, code } as const;
    await expect(useOneTimeCode(db, secrets, use, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(
      await useOneTimeCode(db, secrets, { ...use, purpose: 'verify-phone' }, () => Promise.resolve(1)),
    ).toBeUndefined();
    expect(await useOneTimeCode(db, secrets, use, (_, { userId }) => Promise.resolve(userId))).toBe(id);
    expect(await useOneTimeCode(db, secrets, use, () => Promise.resolve(1))).toBeUndefined();
  });
});
