/** A second factor where the role asks for one: REST, the password grant and the page, for the same reason and by one code. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useMfaCode } from '../../src/auth/mfa.commands.ts';
import { Browser, registerAccount } from '../support/browser.ts';
import { giveRole, nobody, type TestCaller } from '../support/callers.ts';
import { eventually, signIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
let server: TestServer;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer({ MFA_REQUIRED_ROLES: 'moderator, admin' });
  anybody = nobody(server);
});
afterAll(() => server.stop());

const moderator = async () => {
  const email = await registerAccount(server);
  const { id } = await server.database.db('users').where({ email }).first('id');
  await giveRole(server, id, 'moderator');
  return { id, email };
};
const login = (email: string, more = {}) => anybody.request('POST', '/auth/login', { email, password, ...more });
const begin = async () => {
  const person = await moderator();
  return { ...person, mfaToken: (await login(person.email)).json.mfaToken as string };
};
const codes = (email: string): string[] =>
  (server.app.mailbox?.messages() ?? [])
    .filter((mail) => mail.to === email && /sign-in code/.test(mail.subject))
    .map(({ text }) => /\b\d{6}\b/.exec(text)?.[0] as string);
/** Has a code sent, and reads it. */
const codeOf = async (email: string, mfaToken: string): Promise<string> => {
  const before = codes(email).length;
  const { status, json } = await anybody.request('POST', '/auth/otp/send', { channel: 'email', mfaToken });
  expect([status, json]).toEqual([202, { sent: true, expiresIn: 600 }]);
  await eventually(() => codes(email).length > before, 'a code');
  return codes(email)[0] as string;
};
const wrong = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0');
const finish = (mfaToken: string, code: string) => anybody.request('POST', '/auth/mfa/verify', { mfaToken, code });

describe('POST /auth/login', () => {
  it('says that a factor is due, in the members that were promised', async () => {
    const { status, json, headers } = await login((await moderator()).email);
    expect(headers.get('content-type')).toContain('application/problem+json');
    expect([status, json]).toMatchObject([
      401,
      { code: 'mfa_required', mfaRequired: true, mfaToken: expect.stringMatching(/^[\w-]+$/), methods: ['email'] },
    ]);
  });

  it('tells that to nobody who does not know the password', async () => {
    const { status, json } = await login((await moderator()).email, { password: 'wrong' });
    expect([status, json.code]).toEqual([401, 'invalid_credentials']);
  });

  it('asks nothing of other roles', async () => {
    expect((await login(await registerAccount(server))).status).toBe(200);
  });

  it('is finished by /auth/mfa/verify with the code, once', async () => {
    const { id, email, mfaToken } = await begin();
    const code = await codeOf(email, mfaToken);
    const { status, json } = await finish(mfaToken, `${code.slice(0, 3)} ${code.slice(3)}`);
    expect([status, json.user?.id]).toEqual([200, id]);
    expect(decodeJwt(json.accessToken).roles).toEqual(['moderator']);
    const again = await finish(mfaToken, code);
    expect([again.status, again.json.code]).toEqual([401, 'invalid_mfa_code']);
    expect(again.json.title).toMatch(/was used before/);
    const session = await server.database.db('sessions').where({ userId: id }).first('payload');
    expect(session.payload.amr).toEqual(['pwd', 'otp', 'mfa']);
  });

  it('takes mfaCode at once, under its older name of the route too', async () => {
    const { email, mfaToken } = await begin();
    const mfaCode = await codeOf(email, mfaToken);
    expect((await login(email, { mfaCode: wrong(mfaCode) })).json.code).toBe('invalid_mfa_code');
    expect((await login(email, { mfaCode, password: 'wrong' })).json.code).toBe('invalid_credentials');
    expect((await login(email, { mfaCode })).status).toBe(200);
    const { email: other, mfaToken: token } = await begin();
    const code = await codeOf(other, token);
    const { status } = await anybody.request('POST', '/v1/mfa/verify', { mfaToken: token, code });
    expect(status).toBe(200);
  });

  it('gives one sign-in for twenty right codes at once', async () => {
    const { email, mfaToken } = await begin();
    const code = await codeOf(email, mfaToken);
    const answers = await Promise.all(Array.from({ length: 20 }, () => finish(mfaToken, code)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it('lets nobody guess: five wrong codes end it', async () => {
    const { email, mfaToken } = await begin();
    const code = await codeOf(email, mfaToken);
    for (let attempt = 0; attempt < 5; attempt++) await finish(mfaToken, wrong(code));
    expect((await finish(mfaToken, code)).json.code).toBe('invalid_mfa_code');
  });

  it('counts wrong codes for an account only while there is one to guess: nobody uses up its tries before', async () => {
    const { id, email, mfaToken } = await begin();
    const counted: string[] = [];
    const limitCodes = async (purpose: string, subject: string) => void counted.push(`${purpose} ${subject}`);
    const deps = { ...server.app.signIn.mfa, limitCodes };
    const guess = (code: string) =>
      useMfaCode(deps, { type: 'anonymous' }, { id }, code, () => Promise.resolve('signed in'));
    expect([await guess('000000'), counted]).toEqual([undefined, []]);
    const code = await codeOf(email, mfaToken);
    expect([await guess(wrong(code)), counted]).toEqual([undefined, [`mfa ${id}`]]);
    expect([await guess(code), await guess(code), counted.length]).toEqual(['signed in', undefined, 2]);
  });

  it('a code is its account’s alone, and an older one makes way for a newer', async () => {
    const [one, two] = [await begin(), await begin()];
    const code = await codeOf(one.email, one.mfaToken);
    expect((await finish(two.mfaToken, code)).status).toBe(401);
    const newer = await codeOf(one.email, one.mfaToken);
    if (newer !== code) expect((await finish(one.mfaToken, code)).status).toBe(401);
    expect((await finish(one.mfaToken, newer)).status).toBe(200);
  });

  for (const [name, spoil] of [
    ['was changed', (token: string) => `${token.slice(0, -6)}AAAAAA`],
    ['is nonsense', () => 'nonsense'],
  ] as const) {
    it(`refuses a token that ${name}`, async () => {
      const { email, mfaToken } = await begin();
      const code = await codeOf(email, mfaToken);
      for (const { status, json } of [
        await finish(spoil(mfaToken), code),
        await anybody.request('POST', '/auth/otp/send', { channel: 'email', mfaToken: spoil(mfaToken) }),
      ])
        expect([status, json.code]).toEqual([401, 'invalid_mfa_token']);
    });
  }

  it('is void once the password has changed or the account is deactivated', async () => {
    for (const change of [{ passwordChangedAt: new Date() }, { status: 'deactivated' }]) {
      const { id, email, mfaToken } = await begin();
      const code = await codeOf(email, mfaToken);
      await server.database.db('users').where({ id }).update(change);
      const { status, json } = await finish(mfaToken, code);
      expect([status, json.code]).toEqual([401, 'invalid_mfa_token']);
    }
  });

  it('offers no phone that is not verified', async () => {
    const { mfaToken } = await begin();
    const { status, json } = await anybody.request('POST', '/auth/otp/send', { channel: 'sms', mfaToken });
    expect([status, json.code]).toEqual([400, 'sms_unavailable']);
  });
});

it('grant_type=password: 400 mfa_required with mfa_token, then mfa_code; the token is of use to no other client', async () => {
  const { email } = await moderator();
  const { post } = await openApplication(
    server,
    { redirect_uris: [], response_types: [], grant_types: ['password'], scope: 'users:read:own' },
    { email },
  );
  const grant = (more = {}) => post('/oauth/token', { grant_type: 'password', username: email, password, ...more });
  const { status, body } = await grant();
  expect([status, body]).toMatchObject([
    400,
    { error: 'mfa_required', mfa_token: expect.any(String), methods: ['email'] },
  ]);
  const code = await codeOf(email, body.mfa_token as string);
  expect((await finish(body.mfa_token as string, code)).json.code).toBe('invalid_mfa_token');
  expect((await grant({ mfa_code: wrong(code) })).body.error).toBe('invalid_grant');
  const granted = await grant({ mfa_code: code });
  expect([granted.status, granted.body.scope]).toEqual([200, 'users:read:own']);
});

it('the page asks for the code as well, sends it, and can send another', async () => {
  const { email } = await moderator();
  const browser = new Browser(server.issuer, server.address);
  const page = await signIn(browser, email);
  expect(page.html).toContain(words('second-factor.title'));
  await eventually(() => codes(email).length === 1, 'a code');
  const refused = await browser.submit(page, { code: wrong(codes(email)[0] as string) });
  expect([refused.status, refused.html.includes(words('problems.wrongCode'))]).toEqual([401, true]);
  // A page that is opened again is still at this step.
  expect((await browser.go(page.url.pathname)).html).toContain(words('second-factor.title'));
  const enrolment = await browser.submit(refused, { code: codes(email)[0] as string });
  expect(enrolment.html).toContain(words('enrolment.title'));
  const account = await browser.submit(enrolment, { later: '1' });
  expect([account.status, account.url.pathname]).toEqual([200, '/account']);
});

it('the page lets somebody begin again as somebody else', async () => {
  const { email } = await moderator();
  const other = await registerAccount(server);
  const browser = new Browser(server.issuer, server.address);
  const page = await signIn(browser, email);
  const again = await browser.submit(page, { restart: '1' });
  expect(again.html).not.toContain(words('second-factor.title'));
  const account = await browser.submit(again, { email: other, password });
  expect(account.url.pathname).toBe('/account');
});

describe('a role that comes later', () => {
  const scope = 'openid users:read:any';

  it('ends what was begun with the password alone, and the browser’s session asks for the factor', async () => {
    const email = await registerAccount(server);
    const { id } = await server.database.db('users').where({ email }).first('id');
    const browser = new Browser(server.issuer, server.address);
    const application = await openApplication(server, { scope, first_party: true }, { browser, email });
    const before = await application.tokens({ scope, resource: `${server.issuer}/api` });
    const admin = await begin();
    await giveRole(server, admin.id, 'super_admin');
    const { json: root } = await finish(admin.mfaToken, await codeOf(admin.email, admin.mfaToken));
    const bearer = { authorization: `Bearer ${root.accessToken}` };
    const given = await anybody.request('PUT', `/users/${id}/role`, { role: 'moderator' }, bearer);
    expect(given.status).toBe(200);
    const answer = await anybody.request('GET', '/auth/me', undefined, {
      authorization: `Bearer ${before.access_token}`,
    });
    expect([answer.status, (await application.refresh(before.refresh_token)).body.error]).toEqual([
      401,
      'invalid_grant',
    ]);
    expect((await browser.go('/account')).html).toContain(words('sign-in.title'));
  });

  it('lets neither session nor refresh token go on when the setting itself comes later', async () => {
    const email = await registerAccount(server);
    const browser = new Browser(server.issuer, server.address);
    const application = await openApplication(server, { scope, first_party: true }, { browser, email });
    const before = await application.tokens({ scope, resource: `${server.issuer}/api` });
    // As if the role had been given before a second factor was asked for it.
    const { id } = await server.database.db('users').where({ email }).first('id');
    await giveRole(server, id, 'moderator');
    expect((await application.refresh(before.refresh_token)).body.error).toBe('invalid_grant');
    expect((await browser.go('/account')).html).toContain(words('second-factor.stepUp'));
  });

  it('asks those above it as well, and a name of no role stops the start', async () => {
    const email = await registerAccount(server);
    const { id } = await server.database.db('users').where({ email }).first('id');
    await giveRole(server, id, 'super_admin');
    expect((await login(email)).json.code).toBe('mfa_required');
    await expect(startServer({ MFA_REQUIRED_ROLES: 'moderater' })).rejects.toThrow('moderater');
  });
});
