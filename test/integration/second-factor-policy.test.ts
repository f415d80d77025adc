/** Why a sign-in needs a second factor, at every door: the page, REST and the password grant ask for the same reasons. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordEvent } from '../../src/audit/logs.commands.ts';
import { freshCode, setUpTotp, shownCode } from '../support/authenticator.ts';
import { Browser, type Page, password, registerAccount } from '../support/browser.ts';
import { callerOf, giveRole, nobody, type TestCaller } from '../support/callers.ts';
import { basic, post, type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { eventually, words } from '../support/requests.ts';
import { SecurityKey } from '../support/security-key.ts';
import type { RegisteredClient, TestServer } from '../support/server.ts';
import { startServer } from '../support/server.ts';

const single = 'urn:countersign:acr:single-factor';
const multi = 'urn:countersign:acr:multi-factor';
const resistant = 'urn:countersign:acr:phishing-resistant';
const remembered = 'urn:countersign:amr:remembered-browser';

/** An application with both a redirect and the password grant. */
const application = (server: TestServer, metadata = {}): Promise<RelyingParty> =>
  registerRelyingParty(server, {
    first_party: true,
    grant_types: ['authorization_code', 'refresh_token', 'password'],
    scope: 'openid users:read:own',
    ...metadata,
  });

interface Account {
  id: string;
  email: string;
  secret?: string;
  backupCodes?: string[];
}
const account = async (server: TestServer, role = 'user'): Promise<Account> => {
  const email = await registerAccount(server);
  const { id } = await server.database.db('users').where({ email }).first('id');
  await giveRole(server, id, role);
  return { id, email };
};
const withApp = async (server: TestServer, role = 'user'): Promise<Required<Account>> => {
  const caller = await callerOf(server);
  const { secret, backupCodes } = await setUpTotp(server, caller);
  await giveRole(server, caller.id, role);
  return { id: caller.id, email: caller.email, secret, backupCodes };
};

const mailedCodes = (server: TestServer, email: string): string[] =>
  (server.app.mailbox?.messages() ?? [])
    .filter((mail) => mail.to === email && /sign-in code/.test(mail.subject))
    .map(({ text }) => /\b\d{6}\b/.exec(text)?.[0] as string);

/** What became of an attempt: `in`, `refused`, or the second factors that are asked for. */
type Outcome = 'in' | 'refused' | 'enrolment' | string[];

const methodsOfPage = ({ html }: Page): string[] =>
  ['totp', 'passkey', 'backup-code', 'email', 'sms'].filter(
    (method) =>
      html.includes(words(`second-factor.${method}`)) ||
      html.includes(`name="use" value="${method}"`) ||
      html.includes(`name="send" value="${method}"`),
  );
const outcomeOfPage = (page: Page, issuer: string): Outcome => {
  if (page.url.origin !== issuer) return 'in';
  if (page.html.includes(words('enrolment.title'))) return 'enrolment';
  return page.html.includes('view-second-factor') ? methodsOfPage(page) : 'refused';
};

const doors = {
  page: async (server: TestServer, { email }: Account, party: RelyingParty, acr_values?: string): Promise<Outcome> => {
    const browser = new Browser(server.issuer);
    const page = await browser.go((await party.begin({ acr_values })).url);
    return outcomeOfPage(await browser.submit(page, { email, password }), server.issuer);
  },
  REST: async (server: TestServer, { email }: Account): Promise<Outcome> => {
    const { status, json } = await nobody(server).request('post', '/auth/login', { email, password });
    if (status === 200) return 'in';
    return json.code === 'mfa_required' ? json.methods : json.code === 'enrolment_required' ? 'enrolment' : 'refused';
  },
  'password grant': async (server: TestServer, { email }: Account, party: RelyingParty): Promise<Outcome> => {
    const { status, body } = await grant(server, party.client, { username: email });
    if (status === 200) return 'in';
    return body.error === 'mfa_required'
      ? (body.methods as string[])
      : body.error === 'enrolment_required'
        ? 'enrolment'
        : 'refused';
  },
};
type Door = keyof typeof doors;
const everyDoor: Door[] = ['page', 'REST', 'password grant'];
const grant = (server: TestServer, client: RegisteredClient, more: Record<string, string>) =>
  post(server, '/oauth/token', { grant_type: 'password', password, ...more }, basic(client));

let server: TestServer;
let usual: RelyingParty;
let strict: RelyingParty;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer({ MFA_REQUIRED_ROLES: 'manager' });
  usual = await application(server);
  strict = await application(server, { require_mfa: true });
  anybody = nobody(server);
});
afterAll(() => server.stop());

const failOften = async ({ database: { db } }: TestServer, id: string) => {
  const meta = { reason: 'wrong_password' };
  for (let index = 0; index < 6; index++)
    await recordEvent(
      db,
      { type: 'anonymous' },
      { action: 'session.sign_in_failed', target: { type: 'user', id }, meta },
    );
};

describe('a second factor is asked for', () => {
  const sent = ['email'];
  const app = ['totp', 'backup-code'];
  for (const [reason, open, party, doorsOf, acr, expected] of [
    ['of nobody without a reason', () => account(server), () => usual, everyDoor, undefined, 'in'],
    ['because one was set up', () => withApp(server), () => usual, everyDoor, undefined, app],
    ['because of the role, by mail', () => account(server, 'manager'), () => usual, everyDoor, undefined, sent],
    ['because of a role above', () => account(server, 'admin'), () => usual, everyDoor, undefined, sent],
    [
      'because of the role, by what was set up',
      () => withApp(server, 'manager'),
      () => usual,
      everyDoor,
      undefined,
      app,
    ],
    ['because of the application', () => account(server), () => strict, ['page', 'password grant'], undefined, sent],
    [
      'because of the application, by what was set up',
      () => withApp(server),
      () => strict,
      ['page', 'password grant'],
      undefined,
      app,
    ],
    ['because of acr_values', () => account(server), () => usual, ['page'], multi, sent],
    ['because of acr_values, whichever it has', () => withApp(server), () => usual, ['page'], resistant, app],
    [
      'of nobody for acr_values that one factor reaches',
      () => account(server),
      () => usual,
      ['page'],
      `${multi} ${single}`,
      'in',
    ],
  ] as [string, () => Promise<Account>, () => RelyingParty, Door[], string | undefined, Outcome][])
    for (const door of doorsOf)
      it(`${reason}: ${door}`, async () => {
        expect(await doors[door](server, await open(), party(), acr)).toEqual(expected);
      });
});

describe('risk', () => {
  let cautious: TestServer;
  let party: RelyingParty;
  beforeAll(async () => {
    cautious = await startServer({ RISK_STEP_UP: '25', RISK_REFUSE: '0' });
    party = await application(cautious);
  });
  afterAll(() => cautious.stop());

  for (const door of everyDoor)
    it(`asks for any second factor, a mailed code if there is nothing else: ${door}`, async () => {
      const person = await account(cautious);
      expect(await doors[door](cautious, await account(cautious), party)).toBe('in');
      await failOften(cautious, person.id);
      expect(await doors[door](cautious, person, party)).toEqual(['email']);
    });

  describe('refuses', () => {
    let refusing: TestServer;
    beforeAll(async () => {
      refusing = await startServer({ RISK_STEP_UP: '25', RISK_REFUSE: '25', RATE_LIMIT_FACTOR: '1' });
    });
    afterAll(() => refusing.stop());
    const rest = async (email: string, secret: string) => {
      const { status, json, headers } = await nobody(refusing).request('post', '/auth/login', {
        email,
        password: secret,
      });
      const { requestId: _id, ...body } = json;
      // A second may pass between two that are compared.
      const title = String(body.title).replace(/\d+ seconds/, 'some seconds');
      return { status, body: { ...body, title }, wait: headers.get('retry-after') !== null };
    };

    it('refuse looks like wrong password, to whoever counts too: the right password is not forgiven', async () => {
      const person = await account(refusing);
      await failOften(refusing, person.id);
      const other = await account(refusing);
      for (let attempt = 0; attempt < 7; attempt++)
        expect(await rest(person.email, password)).toEqual(await rest(other.email, 'wrong'));
      const { reason } = (
        await refusing.database.db('auditLogs').where({ targetId: person.id }).orderBy('id', 'desc').first('meta')
      ).meta;
      expect(['risk', 'delayed', 'locked']).toContain(reason);
      const kept = await refusing.database.db('signIns').where({ userId: person.id, outcome: 'refuse' });
      expect(kept.length).toBeGreaterThan(0);
    });

    it('refuse looks like wrong password on the page and at the token endpoint', async () => {
      const one = await application(refusing);
      const person = await account(refusing);
      await failOften(refusing, person.id);
      const told = async (more: object) => {
        const { status, body } = await grant(refusing, one.client, { username: person.email, ...more });
        return { status, body };
      };
      expect(await told({})).toEqual(await told({ password: 'wrong' }));
      const browser = new Browser(refusing.issuer);
      const page = await browser.go((await one.begin()).url);
      const answer = await browser.submit(page, { email: person.email, password });
      expect([answer.status, answer.html.includes(words('problems.wrongCredentials'))]).toEqual([401, true]);
    });
  });
});

describe('the tokens tell what there was', () => {
  const enter = async (person: Account, parameters: Record<string, string>, code: () => Promise<string>) => {
    const browser = new Browser(server.issuer);
    const attempt = await usual.begin(parameters);
    const page = await browser.submit(await browser.go(attempt.url), { email: person.email, password });
    const { url } = page.url.origin === server.issuer ? await browser.submit(page, { code: await code() }) : page;
    return (await usual.redeem({ attempt, callback: url })).claims();
  };
  const mailed = (email: string) => async () => {
    await eventually(() => mailedCodes(server, email).length > 0, 'a code');
    return mailedCodes(server, email)[0] as string;
  };

  it('a password alone, with a code of an app, with a backup code, with a mailed one', async () => {
    const plain = await account(server);
    expect(await enter(plain, {}, mailed(plain.email))).toMatchObject({ acr: single, amr: ['pwd'] });
    const strong = await withApp(server);
    const two = { acr: multi, amr: ['pwd', 'otp', 'mfa'] };
    expect(await enter(strong, {}, () => freshCode(server, strong.id, strong.secret))).toMatchObject(two);
    expect(await enter(strong, {}, async () => strong.backupCodes[0] as string)).toMatchObject(two);
    const asked = await account(server);
    expect(await enter(asked, { acr_values: multi }, mailed(asked.email))).toMatchObject(two);
  });

  it('discovery lists the classes', async () => {
    const { json } = await anybody.request('get', '/.well-known/openid-configuration');
    expect(json.acr_values_supported).toEqual([single, multi, resistant]);
  });

  it('what is essential and was not reached ends the request', async () => {
    const person = await withApp(server);
    const browser = new Browser(server.issuer);
    const claims = JSON.stringify({ id_token: { acr: { essential: true, values: [resistant] } } });
    const page = await browser.submit(await browser.go((await usual.begin({ claims })).url), {
      email: person.email,
      password,
    });
    const { url } = await browser.submit(page, { code: await freshCode(server, person.id, person.secret) });
    expect(url.searchParams.get('error')).toBe('unmet_authentication_requirements');
  });
});

describe('a remembered browser', () => {
  /** Signs in by password, and by a code where one is asked for. */
  const come = async (
    browser: Browser,
    person: Required<Account>,
    party: RelyingParty,
    more: Record<string, string> = {},
    fields = {},
  ) => {
    const attempt = await party.begin({ prompt: 'login', ...more });
    const page = await browser.submit(await browser.go(attempt.url), { email: person.email, password });
    const asked = page.url.origin === server.issuer;
    const { url } = asked
      ? await browser.submit(page, { code: await freshCode(server, person.id, person.secret), ...fields })
      : page;
    const tokens = await party.redeem({ attempt, callback: url });
    return { asked, claims: tokens.claims(), tokens };
  };
  const remember = { remember: '1' };

  it('is not asked again, and no other is excused with it; the tokens claim no second factor', async () => {
    for (const role of ['user', 'manager']) {
      const person = await withApp(server, role);
      const browser = new Browser(server.issuer);
      expect((await come(browser, person, usual, {}, remember)).asked).toBe(true);
      const again = await come(browser, person, usual);
      expect([again.asked, again.claims?.acr, again.claims?.amr]).toEqual([false, single, ['pwd', remembered]]);
      // The session and its tokens live on, whatever the role needs.
      expect((await browser.go((await usual.begin()).url)).url.origin).not.toBe(server.issuer);
      await usual.refresh(again.tokens.refresh_token as string);
      expect((await come(new Browser(server.issuer), person, usual)).asked).toBe(true);
    }
  });

  it('remembered browser does not excuse acr, nor an application that needs a second factor', async () => {
    const person = await withApp(server);
    const browser = new Browser(server.issuer);
    await come(browser, person, usual, {}, remember);
    expect(await come(browser, person, usual, { acr_values: multi })).toMatchObject({
      asked: true,
      claims: { acr: multi },
    });
    expect(await come(browser, person, strict)).toMatchObject({ asked: true, claims: { amr: ['pwd', 'otp', 'mfa'] } });
    expect((await come(browser, person, usual)).asked).toBe(false);
  });

  it('is remembered only where that was ticked, and for the days of MFA_REMEMBER_DAYS', async () => {
    const person = await withApp(server);
    const browser = new Browser(server.issuer);
    await come(browser, person, usual);
    expect((await come(browser, person, usual, {}, remember)).asked).toBe(true);
    const { db } = server.database;
    const [row] = await db('knownDevices').where({ userId: person.id }).whereNotNull('mfaUntil').select('mfaUntil');
    expect((row.mfaUntil.getTime() - Date.now()) / 86_400_000).toBeCloseTo(30, 1);
    await db('knownDevices')
      .where({ userId: person.id })
      .update({ mfaUntil: new Date(Date.now() - 1000) });
    expect((await come(browser, person, usual)).asked).toBe(true);
  });

  it('is forgotten with a change of factors, and with a reset of the password', async () => {
    const person = await withApp(server);
    const browser = new Browser(server.issuer);
    await come(browser, person, usual, {}, remember);
    const code = await freshCode(server, person.id, person.secret);
    const login = await anybody.request('post', '/auth/login', { email: person.email, password, mfaCode: code });
    const bearer = { authorization: `Bearer ${login.json.accessToken}` };
    const backup = person.backupCodes[1] as string;
    expect((await anybody.request('post', '/mfa/backup-codes', { code: backup }, bearer)).status).toBeLessThan(300);
    await server.database.db('knownDevices').where({ userId: person.id }).update({ mfaUntil: null });
    await come(browser, person, usual, {}, remember);
    await anybody.request('post', '/auth/forgot-password', { email: person.email });
    const { links } = await server.mail(person.email, /Set a new password/);
    const token = new URL(links.find((link) => link.includes('token=')) as string).searchParams.get('token');
    expect((await anybody.request('post', '/auth/reset-password', { token, password })).status).toBeLessThan(300);
    expect((await come(browser, person, usual)).asked).toBe(true);
  });

  it('by nothing that others could show: REST and the password grant ask each time', async () => {
    const person = await withApp(server);
    await come(new Browser(server.issuer), person, usual, {}, remember);
    await server.database
      .db('knownDevices')
      .where({ userId: person.id })
      .update({ mfaUntil: new Date(Date.now() + 1e6) });
    for (const door of ['REST', 'password grant'] as const)
      expect(await doors[door](server, person, usual)).toEqual(['totp', 'backup-code']);
  });
});

describe('setting one up at sign-in', () => {
  const begin = async (browser: Browser, email: string) => {
    const attempt = await usual.begin();
    const before = mailedCodes(server, email).length;
    const page = await browser.submit(await browser.go(attempt.url), { email, password });
    await eventually(() => mailedCodes(server, email).length > before, 'a code');
    return { attempt, page: await browser.submit(page, { code: mailedCodes(server, email)[0] as string }) };
  };
  const endGrace = (id: string) =>
    server.database
      .db('users')
      .where({ id })
      .update({ mfaGraceUntil: new Date(Date.now() - 1000) });

  it('can be put off for seven days from the first asking, and no longer', async () => {
    const { id, email } = await account(server, 'manager');
    const { attempt, page } = await begin(new Browser(server.issuer), email);
    expect(outcomeOfPage(page, server.issuer)).toBe('enrolment');
    const { mfaGraceUntil } = await server.database.db('users').where({ id }).first('mfaGraceUntil');
    expect((mfaGraceUntil.getTime() - Date.now()) / 86_400_000).toBeCloseTo(7, 1);
    const browser = new Browser(server.issuer);
    const second = await begin(browser, email);
    const { url } = await browser.submit(second.page, { later: '1' });
    expect((await usual.redeem({ attempt: second.attempt, callback: url })).claims()?.amr).toEqual([
      'pwd',
      'otp',
      'mfa',
    ]);
    expect(attempt).toBeDefined();
    const after = await server.database.db('users').where({ id }).first('mfaGraceUntil');
    expect(after.mfaGraceUntil).toEqual(mfaGraceUntil);

    await endGrace(id);
    const late = new Browser(server.issuer);
    const third = await begin(late, email);
    expect(third.page.html).not.toContain('name="later"');
    const again = await late.submit(third.page, { later: '1' });
    expect(outcomeOfPage(again, server.issuer)).toBe('enrolment');
  });

  it('on the page: an app by its code, the backup codes once, and in', async () => {
    const { id, email } = await account(server, 'manager');
    await endGrace(id);
    const browser = new Browser(server.issuer);
    const { attempt, page } = await begin(browser, email);
    const app = await browser.submit(page, { begin: 'app' });
    const key = (/<p class="code key"[^>]*>([A-Z2-7 ]+)</.exec(app.html)?.[1] ?? '').replaceAll(' ', '');
    expect(key).toMatch(/^[A-Z2-7]{32}$/);
    const wrong = await browser.submit(app, { code: '000000' });
    expect([wrong.status, wrong.html.includes(words('problems.wrongCode'))]).toEqual([400, true]);
    const codes = await browser.submit(wrong, { code: await freshCode(server, id, key) });
    expect(codes.html.match(/<li><code>/g)).toHaveLength(10);
    const { url } = await browser.submit(codes, { done: '1' });
    expect((await usual.redeem({ attempt, callback: url })).claims()?.amr).toEqual(['pwd', 'otp', 'mfa']);
    // From now on the app is asked for.
    expect(await doors.page(server, { id, email }, usual)).toEqual(['totp', 'backup-code']);
  });

  it('over REST: in at once while the grace lasts, told until when; then by the mfaToken', async () => {
    const { id, email } = await account(server, 'manager');
    const login = async () => {
      const { json } = await anybody.request('post', '/auth/login', { email, password });
      const before = mailedCodes(server, email).length;
      await anybody.request('post', '/auth/otp/send', { channel: 'email', mfaToken: json.mfaToken });
      await eventually(() => mailedCodes(server, email).length > before, 'a code');
      const code = mailedCodes(server, email)[0] as string;
      return anybody.request('post', '/auth/mfa/verify', { mfaToken: json.mfaToken, code });
    };
    const early = await login();
    expect([early.status, (Date.parse(early.json.enrolBy) - Date.now()) / 86_400_000]).toEqual([
      200,
      expect.closeTo(7, 1),
    ]);
    await endGrace(id);
    const { status, json } = await login();
    expect([status, json]).toMatchObject([401, { code: 'enrolment_required', methods: ['totp', 'passkey'] }]);
    const { mfaToken } = json;
    const finish = () => anybody.request('post', '/auth/mfa/verify', { mfaToken });
    expect((await finish()).json.code).toBe('enrolment_required');
    const enabled = await anybody.request('post', '/auth/mfa/totp/enable', { mfaToken });
    const verify = (code: string) => anybody.request('post', '/auth/mfa/totp/verify', { mfaToken, code });
    expect((await verify('000000')).json.code).toBe('invalid_code');
    const verified = await verify(await freshCode(server, id, enabled.json.secret));
    expect([verified.status, verified.json.backupCodes?.length]).toEqual([200, 10]);
    const done = await finish();
    expect([done.status, done.json.user?.id]).toEqual([200, id]);
    expect((await finish()).json.code).toBe('invalid_mfa_token');
  });

  it('one that was set up elsewhere meanwhile is the one to show: no other sign-in that waits goes on without it, or adds one', async () => {
    const { id, email } = await account(server, 'manager');
    const waiting = async () => {
      const { json } = await anybody.request('post', '/auth/login', { email, password });
      const before = mailedCodes(server, email).length;
      await anybody.request('post', '/auth/otp/send', { channel: 'email', mfaToken: json.mfaToken });
      await eventually(() => mailedCodes(server, email).length > before, 'a code');
      const code = mailedCodes(server, email)[0] as string;
      return (await anybody.request('post', '/auth/mfa/verify', { mfaToken: json.mfaToken, code })).json.mfaToken;
    };
    await begin(new Browser(server.issuer), email);
    await endGrace(id);
    const [owner, stranger] = [await waiting(), await waiting()];
    const browser = new Browser(server.issuer);
    const { page } = await begin(browser, email);
    const early = (await anybody.request('post', '/auth/login', { email, password })).json.mfaToken;
    const enable = (mfaToken: string) => anybody.request('post', '/auth/mfa/totp/enable', { mfaToken });
    const finish = (mfaToken: string) => anybody.request('post', '/auth/mfa/verify', { mfaToken });
    const { options } = (await anybody.request('post', '/auth/mfa/passkeys/options', { mfaToken: stranger })).json;
    const credential = new SecurityKey(server.issuer).create(options);
    // A token whose second factor is still due sets up none.
    expect((await enable(early)).json).toMatchObject({
      code: 'invalid_mfa_token',
      title: expect.stringMatching(/second factor/),
    });
    const { json } = await enable(owner);
    const code = shownCode(json.secret);
    expect((await anybody.request('post', '/auth/mfa/totp/verify', { mfaToken: owner, code })).status).toBe(200);

    for (const refused of [
      await finish(stranger),
      await enable(stranger),
      await enable(owner),
      await anybody.request('post', '/auth/mfa/totp/verify', { mfaToken: stranger, code }),
      await anybody.request('post', '/auth/mfa/passkeys', { mfaToken: stranger, credential }),
    ])
      expect([refused.status, refused.json.code]).toEqual([401, 'invalid_mfa_token']);
    const again = await browser.submit(page, { later: '1' });
    expect([again.url.origin, again.html.includes('name="password"')]).toEqual([server.issuer, true]);
    expect((await finish(owner)).status).toBe(200);
    expect((await enable(owner)).json.code).toBe('invalid_mfa_token');
    expect((await server.database.db('totpDevices').where({ userId: id })).length).toBe(1);
    expect(await server.database.db('passkeys').where({ userId: id })).toEqual([]);
  });

  it('takes the token of no other step', async () => {
    const { json } = await anybody.request('post', '/auth/login', {
      email: (await account(server, 'manager')).email,
      password,
    });
    const enabled = await anybody.request('post', '/auth/mfa/totp/enable', { mfaToken: json.mfaToken });
    expect([enabled.status, enabled.json.code]).toEqual([401, 'invalid_mfa_token']);
    const finished = await anybody.request('post', '/auth/mfa/verify', { mfaToken: json.mfaToken });
    expect(finished.status).toBe(400);
  });
});

it('in production administrators need a second factor unless MFA_REQUIRED_ROLES says otherwise', async () => {
  const { mfaRoles } = await import('../../src/mfa-settings.ts');
  expect(mfaRoles({ NODE_ENV: 'production' })).toEqual(['admin']);
  expect(mfaRoles({ NODE_ENV: 'production', MFA_REQUIRED_ROLES: [] })).toEqual([]);
  expect(mfaRoles({ NODE_ENV: 'development' })).toEqual([]);
});
