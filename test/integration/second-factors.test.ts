/** Authenticator apps and backup codes over REST: set up, used once, removed, and reset by an administrator. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { forgotPassword, resetPassword } from '../../src/auth/password.commands.ts';
import { useBackupCode } from '../../src/mfa/backup-codes.commands.ts';
import { type Authenticator, beginStep, freshCode, setUpTotp, shownCode } from '../support/authenticator.ts';
import { Browser, password } from '../support/browser.ts';
import { callerOf, giveRole, machineOf, requester, type TestCaller } from '../support/callers.ts';
import { eventually, mailCount, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const person = async (): Promise<TestCaller & Authenticator & { factorId: string }> => {
  const caller = await callerOf(server);
  const app = await setUpTotp(server, caller);
  return { ...app, ...caller, factorId: app.id };
};
const fresh = ({ id, secret }: { id: string; secret: string }) => freshCode(server, id, secret);
const left = async (caller: TestCaller) => (await caller.request('get', '/mfa/backup-codes')).json.left;
const outcome = ({ status, json }: { status: number; json: { code?: string } }) => [status, json?.code ?? 'done'];
const actions = async (userId: string) =>
  (await server.database.db('auditLogs').where({ targetId: userId }).orderBy('at')).map(({ action }) => action);

describe('an authenticator app', () => {
  it('is set up by a key, an URL and a QR code that say the same, and counts once a code is shown', async () => {
    const caller = await callerOf(server);
    const { status, json } = await caller.request('post', '/mfa/totp/enable', { name: 'My phone' });
    expect(status).toBe(200);
    const url = new URL(json.otpauthUrl);
    expect([url.protocol, url.host, decodeURIComponent(url.pathname)]).toEqual([
      'otpauth:',
      'totp',
      `/Countersign:${caller.email}`,
    ]);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      secret: json.secret,
      issuer: 'Countersign',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    });
    expect(json.secret).toMatch(/^[A-Z2-7]{32}$/);
    expect(json.qr).toMatch(/^<svg [^>]*viewBox/);
    expect(json.qr).not.toMatch(/<script|style=|href/);
    expect((await caller.request('get', '/mfa/devices')).json.data).toMatchObject([{ kind: 'email', used: true }]);

    expect(outcome(await caller.request('post', '/mfa/totp/verify', { code: '000000' }))).toEqual([
      400,
      'invalid_code',
    ]);
    await beginStep();
    const verified = await caller.request('post', '/mfa/totp/verify', { code: ` ${shownCode(json.secret, -1)} ` });
    expect(verified.status).toBe(200);
    const { backupCodes } = verified.json;
    expect(new Set(backupCodes).size).toBe(10);
    for (const code of backupCodes) expect(code).toMatch(/^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){2}$/);
    expect(await left(caller)).toBe(10);
    expect((await caller.request('get', '/mfa/devices')).json.data).toMatchObject([
      { id: json.id, kind: 'totp', name: 'My phone', used: true },
      { kind: 'email', used: false },
    ]);
    expect(await actions(caller.id)).toEqual(expect.arrayContaining(['factor.begin', 'factor.add']));
    await server.mail(caller.email, /Two-step/);
  });

  it('takes no code twice, nor an older one than the last', async () => {
    const caller = await callerOf(server);
    const { json } = await caller.request('post', '/mfa/totp/enable');
    await beginStep();
    const [before, code, next, late] = [-1, 0, 1, 3].map((steps) => shownCode(json.secret, steps)) as [
      string,
      string,
      string,
      string,
    ];
    expect((await caller.request('post', '/mfa/totp/verify', { code })).status).toBe(200);
    const validate = async (code: string) => outcome(await caller.request('post', '/mfa/totp/validate', { code }));
    // The code that turned it on, the one before it, the next one, and that again.
    expect(await validate(code)).toEqual([400, 'invalid_code']);
    expect(await validate(before)).toEqual([400, 'invalid_code']);
    expect(await validate(next)).toEqual([200, 'done']);
    expect(await validate(next)).toEqual([400, 'invalid_code']);
    expect(await validate(late)).toEqual([400, 'invalid_code']);
  });

  it('replayed at the same time, a code works once', async () => {
    const { id, secret, request } = await person();
    const code = await fresh({ id, secret });
    const answers = await Promise.all(Array.from({ length: 8 }, () => request('post', '/mfa/totp/validate', { code })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400, 400, 400, 400, 400, 400]);
  });

  it('is begun anew by the next, and may be five', async () => {
    const caller = await callerOf(server);
    const { json: first } = await caller.request('post', '/mfa/totp/enable');
    const { json: second } = await caller.request('post', '/mfa/totp/enable');
    const verify = (code: string) => caller.request('post', '/mfa/totp/verify', { code });
    expect(outcome(await verify(shownCode(first.secret)))).toEqual([400, 'invalid_code']);
    expect((await verify(shownCode(second.secret))).json.backupCodes).toHaveLength(10);
    for (let more = 1; more < 5; more++) {
      const code = await fresh({ id: caller.id, secret: second.secret });
      const { json } = await caller.request('post', '/mfa/totp/enable', { code });
      expect((await verify(shownCode(json.secret))).json.backupCodes).toEqual([]);
    }
    const code = await fresh({ id: caller.id, secret: second.secret });
    const sixth = await caller.request('post', '/mfa/totp/enable', { code });
    expect(outcome(sixth)).toEqual([409, 'totp_limit_reached']);
    // What came to nothing has not used the code up.
    expect((await caller.request('post', '/mfa/totp/validate', { code })).status).toBe(200);
  });

  it('is no longer set up after a quarter of an hour', async () => {
    const caller = await callerOf(server);
    const { json } = await caller.request('post', '/mfa/totp/enable');
    await server.database
      .db('totpDevices')
      .where({ id: json.id })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    const late = await caller.request('post', '/mfa/totp/verify', { code: shownCode(json.secret) });
    expect(outcome(late)).toEqual([400, 'invalid_code']);
  });

  it('is removed with a code, and the backup codes with it', async () => {
    const { id, secret, backupCodes, email, request } = await person();
    expect(outcome(await request('post', '/mfa/totp/disable', { code: '123456' }))).toEqual([400, 'invalid_code']);
    expect((await request('post', '/mfa/totp/disable', { code: await fresh({ id, secret }) })).status).toBe(204);
    expect((await request('get', '/mfa/backup-codes')).json).toEqual({ left: 0 });
    expect(await server.database.db('backupCodes').where({ userId: id })).toEqual([]);
    expect(outcome(await request('post', '/mfa/totp/validate', { code: backupCodes[0] }))).toEqual([
      400,
      'invalid_code',
    ]);
    expect((await request('get', '/mfa/devices')).json.data).toMatchObject([{ kind: 'email', used: true }]);
    await server.mail(email, /Two-step/);
    expect(await actions(id)).toContain('factor.remove');
  });

  it('stays while an application wants one that its owner uses', async () => {
    const { id, secret, factorId, request } = await person();
    const { client_id: clientId } = await server.client({ redirect_uris: ['https://app.example.com/'] });
    const { db } = server.database;
    await db('clients').where({ clientId }).update({ requireMfa: true });
    const expiresAt = new Date(Date.now() + 60_000);
    await db('grants').insert({ id: uuid(), userId: id, clientId, payload: {}, expiresAt });
    const path = `/mfa/devices/${factorId}`;
    const remove = async () => outcome(await request('delete', path, { code: await fresh({ id, secret }) }));
    expect(await remove()).toEqual([409, 'last_factor']);
    await db('grants')
      .where({ clientId })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    expect(await remove()).toEqual([204, 'done']);
  });

  it('stays while the role wants one', async () => {
    const strict = await startServer({ MFA_REQUIRED_ROLES: 'manager' });
    try {
      const caller = await callerOf(strict);
      const { id, secret } = await setUpTotp(strict, caller);
      await giveRole(strict, caller.id, 'manager');
      const code = () => freshCode(strict, caller.id, secret);
      const login = { email: caller.email, password, mfaCode: await code() };
      const { json } = await caller.request('post', '/auth/login', login);
      const request = requester(strict, json.accessToken);
      for (const [method, path] of [
        ['post', '/mfa/totp/disable'],
        ['delete', `/mfa/devices/${id}`],
      ] as const)
        expect(outcome(await request(method, path, { code: await code() }))).toEqual([409, 'last_factor']);
      // With another one beside it, it may go.
      const { json: second } = await request('post', '/mfa/totp/enable', { code: await code() });
      await request('post', '/mfa/totp/verify', { code: shownCode(second.secret) });
      expect((await request('delete', `/mfa/devices/${id}`, { code: shownCode(second.secret, 1) })).status).toBe(204);
    } finally {
      await strict.stop();
    }
  });
});

describe('backup codes', () => {
  it('work once each, however they are typed, and the owner is told', async () => {
    const { email, backupCodes, request } = await person();
    const [first = '', second = ''] = backupCodes;
    const validate = async (code: string) => {
      const { status, json } = await request('post', '/mfa/totp/validate', { code });
      return [status, json.method ?? json.code];
    };
    expect(await validate(first.toUpperCase().replaceAll('-', ' '))).toEqual([200, 'backup-code']);
    expect(await validate(first)).toEqual([400, 'invalid_code']);
    expect(await validate(second.replaceAll('0', 'O').replaceAll('1', 'l'))).toEqual([200, 'backup-code']);
    expect((await request('get', '/mfa/backup-codes')).json).toEqual({ left: 8 });
    await eventually(() => mailCount(server, email, /Two-step/) === 3, 'three mails');
  });

  it('race: of many that bring the same code one wins', async () => {
    const { backupCodes, request } = await person();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => request('post', '/mfa/totp/validate', { code: backupCodes[3] })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await request('get', '/mfa/backup-codes')).json).toEqual({ left: 9 });
  });

  it('of somebody else are nobody’s', async () => {
    const [one, other] = [await person(), await person()];
    const answer = await one.request('post', '/mfa/totp/validate', { code: other.backupCodes[0] });
    expect(outcome(answer)).toEqual([400, 'invalid_code']);
    expect(await left(other)).toBe(10);
  });

  it('are made anew with a code, and the earlier ones are void', async () => {
    const { id, secret, backupCodes, request } = await person();
    expect(outcome(await request('post', '/mfa/backup-codes', {}))).toEqual([403, 'factor_proof_needed']);
    expect(outcome(await request('post', '/mfa/backup-codes', { password }))).toEqual([403, 'factor_proof_needed']);
    const { status, json } = await request('post', '/mfa/backup-codes', { code: await fresh({ id, secret }) });
    expect([status, json.backupCodes.length]).toEqual([201, 10]);
    const validate = async (code?: string) => (await request('post', '/mfa/totp/validate', { code })).status;
    expect([await validate(backupCodes[0]), await validate(json.backupCodes[0])]).toEqual([400, 200]);
    const rows = await server.database.db('backupCodes').where({ userId: id });
    expect(JSON.stringify(rows)).not.toContain(json.backupCodes[1].replaceAll('-', ''));
  });

  it('are for those who have a factor', async () => {
    const caller = await callerOf(server);
    const answer = await caller.request('post', '/mfa/backup-codes', { password });
    expect(outcome(answer)).toEqual([409, 'no_second_factor']);
  });
});

describe('devices', () => {
  it('are renamed and removed by their owner alone', async () => {
    const [one, other] = [await person(), await person()];
    const path = `/mfa/devices/${one.factorId}`;
    expect((await one.request('patch', path, { name: 'Blue phone' })).json).toMatchObject({ name: 'Blue phone' });
    expect(outcome(await other.request('patch', path, { name: 'Mine' }))).toEqual([404, 'factor_not_found']);
    expect(outcome(await other.request('delete', path, { code: await fresh(other) }))).toEqual([
      404,
      'factor_not_found',
    ]);
    expect(outcome(await one.request('delete', path))).toEqual([403, 'factor_proof_needed']);
    expect(outcome(await one.request('delete', path, { code: 'zzzz-zzzz-zzzz' }))).toEqual([400, 'invalid_code']);
    expect((await one.request('delete', path, { code: one.backupCodes[0] })).status).toBe(204);
    expect(await left(one)).toBe(0);
  });

  for (const [name, tokenOf] of [
    ['an application of somebody else’s', () => callerOf(server, { thirdParty: true })],
  ] as const) {
    it(`are not changed by ${name}`, async () => {
      const caller = await tokenOf();
      for (const [method, path, body] of [
        ['post', '/mfa/totp/enable', {}],
        ['post', '/mfa/totp/verify', { code: '123456' }],
        ['post', '/mfa/totp/validate', { code: '123456' }],
        ['post', '/mfa/totp/disable', { code: '123456' }],
        ['post', '/mfa/backup-codes', { code: '123456' }],
        ['patch', `/mfa/devices/${uuid()}`, { name: 'x' }],
        ['delete', `/mfa/devices/${uuid()}`, { code: '123456' }],
      ] as const)
        expect(outcome(await caller.request(method, path, body))).toEqual([403, 'session_needed']);
    });
  }

  it('are not added while the address is not verified', async () => {
    const caller = await callerOf(server);
    await server.database.db('users').where({ id: caller.id }).update({ emailVerifiedAt: null });
    expect(outcome(await caller.request('post', '/mfa/totp/enable'))).toEqual([403, 'email_not_verified']);
  });

  it('are not added with an old sign-in alone: a stolen token is no lasting way in', async () => {
    const caller = await callerOf(server);
    const { db } = server.database;
    await db.raw(
      `update sessions set payload = jsonb_set(payload, '{loginTs}', to_jsonb(extract(epoch from now() - interval '11 minutes')::int)) where user_id = ?`,
      [caller.id],
    );
    expect(outcome(await caller.request('post', '/mfa/totp/enable'))).toEqual([403, 'factor_proof_needed']);
    const wrong = await caller.request('post', '/mfa/totp/enable', { password: 'not the password' });
    expect(outcome(wrong)).toEqual([400, 'invalid_request']);
    expect((await caller.request('post', '/mfa/totp/enable', { password })).status).toBe(200);
  });
});

describe('brute force', () => {
  it('through every door at once has five tries, then a pause, and a new password gives no more of them', async () => {
    const limited = await startServer({ RATE_LIMIT_FACTOR: '1' });
    try {
      const caller = await callerOf(limited);
      const { secret, backupCodes } = await setUpTotp(limited, caller);
      const { email } = caller;
      const { mfaToken } = (await caller.request('post', '/auth/login', { email, password })).json;
      const browser = new Browser(limited.issuer);
      const page = await browser.submit(await browser.go('/account'), { email, password });
      const wrong = 'zzzz-zzzz-zzzz';
      const doors = [
        () => caller.request('post', '/mfa/totp/validate', { code: wrong }),
        () => caller.request('post', '/auth/mfa/verify', { mfaToken, code: wrong }),
        () => browser.submit(page, { code: wrong }),
        () => caller.request('post', '/mfa/totp/disable', { code: wrong }),
        () => caller.request('post', '/auth/login', { email, password, mfaCode: wrong }),
      ];
      const answers = await Promise.all([...doors, ...doors].map((door) => door()));
      const refused = answers.filter(({ status }) => status === 429);
      expect([answers.length - refused.length, refused.length]).toEqual([5, 5]);

      // Now not even the right one is looked at, nor used up.
      const { accounts, factors } = limited.app;
      const anonymous = { type: 'anonymous', address: '127.0.0.1' } as const;
      await forgotPassword(accounts, anonymous, email);
      const token = tokenOf((await limited.mail(email, /new password/)).links, 'reset');
      const login = { email, password: 'another horse battery staple' };
      await resetPassword(accounts, anonymous, { token, password: login.password });
      for (const mfaCode of [await freshCode(limited, caller.id, secret), backupCodes[0]])
        expect((await caller.request('post', '/auth/login', { ...login, mfaCode })).status).toBe(429);
      expect(await useBackupCode(factors.db, factors.secrets, caller.id, backupCodes[0] ?? '')).toBe(true);
    } finally {
      await limited.stop();
    }
  });

  it('of an app that is being set up has five tries too, over REST and on the page together', async () => {
    const limited = await startServer({ RATE_LIMIT_FACTOR: '1' });
    try {
      const caller = await callerOf(limited);
      const browser = new Browser(limited.issuer);
      await browser.submit(await browser.go('/account'), { email: caller.email, password });
      const page = await browser.submit(await browser.go('/account/two-step'));
      const { json } = await caller.request('post', '/mfa/totp/enable');
      const wrong = shownCode(json.secret) === '000000' ? '000001' : '000000';
      const doors = [
        () => caller.request('post', '/mfa/totp/verify', { code: wrong }),
        () => browser.submit(page, { code: wrong }),
      ];
      const answers = await Promise.all([0, 1, 2, 3].flatMap(() => doors.map((door) => door())));
      expect(answers.map(({ status }) => status).sort()).toEqual([400, 400, 400, 400, 400, 429, 429, 429]);
      expect((await caller.request('post', '/mfa/totp/verify', { code: shownCode(json.secret) })).status).toBe(429);
    } finally {
      await limited.stop();
    }
  });

  it('a right code gives its try back', async () => {
    const limited = await startServer({ RATE_LIMIT_FACTOR: '1' });
    try {
      const caller = await callerOf(limited);
      const { backupCodes } = await setUpTotp(limited, caller);
      for (const code of backupCodes.slice(0, 7))
        expect((await caller.request('post', '/mfa/totp/validate', { code })).status).toBe(200);
    } finally {
      await limited.stop();
    }
  });
});

describe('an administrator’s reset', () => {
  it('takes all factors away, ends sessions, and tells the owner', async () => {
    const admin = await callerOf(server, { role: 'admin' });
    const { id, email, request } = await person();
    const { db } = server.database;
    await db('knownDevices')
      .where({ userId: id })
      .update({ mfaUntil: new Date(Date.now() + 60_000) });
    expect((await admin.request('delete', `/users/${id}/mfa`)).status).toBe(204);
    for (const table of ['totpDevices', 'passkeys', 'backupCodes', 'sessions'])
      expect(await db(table).where({ userId: id })).toEqual([]);
    expect(await db('knownDevices').where({ userId: id }).whereNotNull('mfaUntil')).toEqual([]);
    expect((await request('get', '/mfa/devices')).status).toBe(401);
    const [event] = await db('auditLogs').where({ targetId: id, action: 'factor.reset' });
    expect(event).toMatchObject({ actorId: admin.id, meta: { totp: 1, passkeys: 0 } });
    await eventually(() => mailCount(server, email, /Two-step/) === 2, 'two mails');
  });

  it('is refused upwards, of oneself, and for a machine that may not do what the account may', async () => {
    const admin = await callerOf(server, { role: 'admin' });
    const top = await callerOf(server, { role: 'super_admin' });
    const user = await callerOf(server);
    const machine = await machineOf(server, 'mfa:reset:any');
    for (const [caller, target, expected] of [
      [user, admin, [403, 'missing_permission']],
      [admin, top, [403, 'rank_too_low']],
      [admin, admin, [409, 'own_account']],
      [machine, admin, [403, 'session_needed']],
      [machine, { id: uuid() }, [404, 'user_not_found']],
    ] as const)
      expect(outcome(await caller.request('delete', `/users/${target.id}/mfa`))).toEqual(expected);
  });
});
