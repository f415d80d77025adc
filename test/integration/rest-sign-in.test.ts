/** Signing in, staying signed in and signing out over REST, and the password grant: one pipeline, one kind of token. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerAccount } from '../support/browser.ts';
import { callerOf, nobody, type TestCaller } from '../support/callers.ts';
import { signedIn, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
let server: TestServer;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
});
afterAll(() => server.stop());

const login = async (email: string, secret = password) =>
  (await anybody.request('POST', '/auth/login', { email, password: secret })).json;
const isValid = async (token: string): Promise<boolean> =>
  (await anybody.request('POST', '/auth/validate', { token })).json.valid;
const as = (token: string) => ({ authorization: `Bearer ${token}` });

describe('POST /auth/login', () => {
  it('answers with an RS256-signed access token, a refresh token and the user, under both names', async () => {
    const email = await registerAccount(server);
    const { status, json, headers } = await anybody.request('POST', '/auth/login', { email, password });
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(json).toMatchObject({
      token_type: 'Bearer',
      expires_in: 900,
      user: { email, emailVerified: true, role: 'user' },
    });
    expect([json.accessToken, json.refreshToken]).toEqual([json.access_token, json.refresh_token]);
    expect(json.user).not.toHaveProperty('passwordHash');
    expect(decodeProtectedHeader(json.accessToken)).toMatchObject({
      alg: 'RS256',
      typ: 'at+jwt',
      kid: expect.any(String),
    });
    expect(decodeJwt(json.accessToken)).toMatchObject({
      iss: server.issuer,
      aud: 'countersign-api',
      sub: json.user.id,
      roles: ['user'],
      scope: expect.stringContaining('users:read:own'),
    });
  });

  it('begins a session of its own each time, which ends alone', async () => {
    const email = await registerAccount(server);
    const [one, two] = [await login(email), await login(email)];
    expect(decodeJwt(one.accessToken).sid).not.toBe(decodeJwt(two.accessToken).sid);
    expect((await anybody.request('POST', '/auth/logout', { refreshToken: one.refreshToken })).status).toBe(204);
    expect([await isValid(one.accessToken), await isValid(two.accessToken)]).toEqual([false, true]);
    expect((await anybody.request('POST', '/auth/refresh', { refreshToken: two.refreshToken })).status).toBe(200);
  });

  it('finds the account whatever the address’s case and spaces', async () => {
    const email = await registerAccount(server);
    expect((await login(`  ${email.toUpperCase()} `)).user.email).toBe(email);
  });

  for (const { name, body, expected } of [
    { name: 'a wrong password', body: { password: 'wrong' }, expected: [401, 'invalid_credentials'] },
    { name: 'an unknown address', body: { email: 'nobody@example.com' }, expected: [401, 'invalid_credentials'] },
    { name: 'what is no address', body: { email: 'nobody' }, expected: [401, 'invalid_credentials'] },
    { name: 'no password', body: { password: undefined }, expected: [400, 'invalid_request'] },
    { name: 'a number for an address', body: { email: 1 }, expected: [400, 'invalid_request'] },
    { name: 'NUL in the address', body: { email: 'a\0@example.com' }, expected: [400, 'invalid_request'] },
    { name: 'a password that is too long', body: { password: 'x'.repeat(1025) }, expected: [400, 'invalid_request'] },
    { name: 'a list', body: [], expected: [400, 'invalid_request'] },
  ]) {
    it(`refuses ${name}`, async () => {
      const email = await registerAccount(server);
      const sent = Array.isArray(body) ? body : { email, password, ...body };
      const { status, json } = await anybody.request('POST', '/auth/login', sent);
      expect([status, json.code]).toEqual(expected);
    });
  }

  it('names every wrong field at once', async () => {
    const { json } = await anybody.request('POST', '/auth/login', {});
    expect(json.errors.map(({ field }: { field: string }) => field).sort()).toEqual(['email', 'password']);
  });
});

describe('POST /auth/refresh', () => {
  it('rotates, and ends the family when a used token turns up after its successor was used', async () => {
    const { refreshToken } = await login(await registerAccount(server));
    const first = (await anybody.request('POST', '/auth/refresh', { refreshToken })).json;
    expect(first).toMatchObject({ accessToken: first.access_token, refreshToken: first.refresh_token });
    const second = (await anybody.request('POST', '/auth/refresh', { refreshToken: first.refreshToken })).json;
    const replay = await anybody.request('POST', '/auth/refresh', { refreshToken });
    expect([replay.status, replay.json.code]).toEqual([401, 'invalid_refresh_token']);
    expect((await anybody.request('POST', '/auth/refresh', { refreshToken: second.refreshToken })).status).toBe(401);
    expect(await isValid(second.accessToken)).toBe(false);
  });

  it('takes tokens of its own client alone', async () => {
    const application = await openApplication(server);
    const { refresh_token } = await application.tokens();
    const { status, json } = await anybody.request('POST', '/auth/refresh', { refreshToken: refresh_token });
    expect([status, json.code]).toEqual([401, 'invalid_refresh_token']);
    expect((await application.refresh(refresh_token)).status).toBe(200);
  });

  it('brings the role of the day into the token', async () => {
    const session = await login(await registerAccount(server));
    const { db } = server.database;
    await db('users')
      .where({ id: session.user.id })
      .update({ roleId: db('roles').where({ name: 'moderator' }).select('id') });
    const { accessToken } = (await anybody.request('POST', '/auth/refresh', { refreshToken: session.refreshToken }))
      .json;
    expect(decodeJwt(accessToken).roles).toEqual(['moderator']);
    await db('users')
      .where({ id: session.user.id })
      .update({ roleId: db('roles').where({ name: 'user' }).select('id') });
    const me = await anybody.request('GET', '/auth/me', undefined, as(accessToken));
    expect(me.json.roles).toEqual(['user']);
  });

  for (const [name, refreshToken] of [
    ['an unknown token', 'x'.repeat(43)],
    ['an access token’s look', 'a.b.c'],
  ]) {
    it(`refuses ${name}`, async () => {
      const { status, json } = await anybody.request('POST', '/auth/refresh', { refreshToken });
      expect([status, json.code]).toEqual([401, 'invalid_refresh_token']);
    });
  }
});

describe('POST /auth/logout', () => {
  it('answers alike for tokens that are of no use, and ends nothing of other applications', async () => {
    const application = await openApplication(server);
    const { refresh_token } = await application.tokens();
    for (const refreshToken of [refresh_token, 'x'.repeat(43)]) {
      expect((await anybody.request('POST', '/auth/logout', { refreshToken })).status).toBe(204);
    }
    expect((await application.refresh(refresh_token)).status).toBe(200);
  });
});

describe('passwords', () => {
  it('forgot-password, reset-password: the link sets a new one and ends every session', async () => {
    const email = await registerAccount(server);
    const before = await login(email);
    const asked = await anybody.request('POST', '/auth/forgot-password', { email });
    expect([asked.status, asked.json]).toEqual([202, { sent: true }]);
    const token = tokenOf((await server.mail(email, /new password/)).links, 'reset');
    const body = { token, password: 'another horse battery staple' };
    expect((await anybody.request('POST', '/auth/reset-password', body)).status).toBe(204);
    expect(await isValid(before.accessToken)).toBe(false);
    expect((await anybody.request('POST', '/auth/refresh', { refreshToken: before.refreshToken })).status).toBe(401);
    expect((await login(email, body.password)).accessToken).toBeTruthy();
    const again = await anybody.request('POST', '/auth/reset-password', body);
    expect([again.status, again.json.code]).toEqual([400, 'invalid_token']);
    const unknown = await anybody.request('POST', '/auth/forgot-password', { email: 'nobody@example.com' });
    expect([unknown.status, unknown.json]).toEqual([202, { sent: true }]);
  });

  it('change-password: ends the other sessions, on the pages too, and keeps this one', async () => {
    const email = await registerAccount(server);
    const [here, elsewhere] = [await login(email), await login(email)];
    const browser = await signedIn(server, email);
    const change = (token: string, currentPassword: string, newPassword: string) =>
      anybody.request('POST', '/auth/change-password', { currentPassword, newPassword }, as(token));
    const wrong = await change(here.accessToken, 'wrong', 'another horse battery staple');
    expect([wrong.status, wrong.json.errors[0]]).toMatchObject([400, { field: 'currentPassword' }]);
    const weak = await change(here.accessToken, password, 'password');
    expect([weak.status, weak.json.errors[0].field]).toEqual([400, 'newPassword']);
    expect((await change(here.accessToken, password, 'another horse battery staple')).status).toBe(204);
    expect([await isValid(here.accessToken), await isValid(elsewhere.accessToken)]).toEqual([true, false]);
    expect((await browser.go('/account')).url.pathname).not.toBe('/account');
  });

  it('change-password: an application may not, however well the person is known', async () => {
    const person = await callerOf(server, { scope: 'orders', thirdParty: true });
    const body = { currentPassword: password, newPassword: 'another horse battery staple' };
    const { status, json, headers } = await person.request('POST', '/auth/change-password', body);
    expect([status, json.code]).toEqual([403, 'missing_permission']);
    expect(headers.get('www-authenticate')).toMatch(/^Bearer error="insufficient_scope", scope="users:write:own", /);
  });
});

describe('POST /auth/register', () => {
  const registration = (more = {}) => ({
    email: `${crypto.randomUUID()}@example.com`,
    password,
    name: 'Grace',
    ...more,
  });
  const roleOf = async (email: string) =>
    (await server.database.db('users').join('roles', 'roles.id', 'users.roleId').where({ email }).first('roles.name'))
      ?.name;

  it('ignores the role that anybody asks for', async () => {
    const body = registration({ role: 'admin' });
    const { status, json } = await anybody.request('POST', '/auth/register', body);
    expect([status, json]).toEqual([201, { verificationSent: true }]);
    expect(await roleOf(body.email)).toBe('user');
  });

  it('honours it for an administrator, up to their own', async () => {
    const admin = await callerOf(server, { role: 'admin' });
    const body = registration({ role: 'moderator' });
    expect((await admin.request('POST', '/auth/register', body)).status).toBe(201);
    expect(await roleOf(body.email)).toBe('moderator');
    const above = await admin.request('POST', '/auth/register', registration({ role: 'super_admin' }));
    expect([above.status, above.json.code]).toEqual([403, 'rank_too_low']);
    const nothing = await admin.request('POST', '/auth/register', registration({ role: 'emperor' }));
    expect([nothing.status, nothing.json.errors[0].field]).toEqual([400, 'role']);
  });

  it('of one address a hundred times at once makes one user', async () => {
    const body = registration();
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => anybody.request('POST', '/auth/register', body)),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
      new Set(['201 {"verificationSent":true}']),
    );
    expect(await server.database.db('users').where({ email: body.email })).toHaveLength(1);
  }, 60_000);
});

describe('grant_type=password (RFC 6749 section 4.3)', () => {
  const machine = {
    redirect_uris: [],
    response_types: [],
    grant_types: ['password', 'refresh_token'],
    scope: 'users:read:own users:read:any orders',
  };

  it('gives tokens of the same kind, with the scopes that client and user have in common', async () => {
    const email = await registerAccount(server);
    const { post, isActive, client } = await openApplication(server, machine, { email });
    const { status, body } = await post('/oauth/token', { grant_type: 'password', username: email, password });
    expect([status, body.scope]).toEqual([200, 'users:read:own orders']);
    expect(decodeJwt(body.access_token as string)).toMatchObject({
      client_id: client.client_id,
      roles: ['user'],
      aud: 'countersign-api',
    });
    expect([await isActive(body.access_token as string), await isActive(body.refresh_token as string)]).toEqual([
      true,
      true,
    ]);
    const narrow = await post('/oauth/token', { grant_type: 'password', username: email, password, scope: 'orders' });
    expect(narrow.body.scope).toBe('orders');
    const refreshed = await post('/oauth/token', {
      grant_type: 'refresh_token',
      refresh_token: narrow.body.refresh_token as string,
    });
    expect([refreshed.status, refreshed.body.scope]).toEqual([200, 'orders']);
  });

  for (const { name, fields, expected } of [
    { name: 'a wrong password', fields: { password: 'wrong' }, expected: [400, 'invalid_grant'] },
    { name: 'an unknown user', fields: { username: 'nobody@example.com' }, expected: [400, 'invalid_grant'] },
    { name: 'no password', fields: { password: '' }, expected: [400, 'invalid_request'] },
    { name: 'a scope beyond the client’s', fields: { scope: 'clients:write:any' }, expected: [400, 'invalid_scope'] },
    { name: 'a scope beyond the user’s', fields: { scope: 'users:read:any' }, expected: [400, 'invalid_scope'] },
  ]) {
    it(`refuses ${name}`, async () => {
      const email = await registerAccount(server);
      const { post } = await openApplication(server, machine, { email });
      const { status, body } = await post('/oauth/token', {
        grant_type: 'password',
        username: email,
        password,
        ...fields,
      });
      expect([status, body.error]).toEqual(expected);
    });
  }

  it('is off for clients that are not registered for it', async () => {
    const email = await registerAccount(server);
    const { post } = await openApplication(server, {}, { email });
    const { status, body } = await post('/oauth/token', { grant_type: 'password', username: email, password });
    expect([status, body.error]).toEqual([400, 'invalid_request']);
  });
});

it('a sign-in that a reset overtakes gets no tokens', async () => {
  const email = await registerAccount(server);
  const { db } = server.database;
  // Stands in for a reset that commits after the password was checked and before the session is saved.
  await db.raw(`create function reset_meanwhile() returns trigger language plpgsql as $$
    begin
      update users set password_changed_at = now() + interval '1 second' where id::text = new.target_id;
      return new;
    end $$`);
  await db.raw(`create trigger reset_meanwhile before insert on audit_logs for each row
    when (new.action = 'session.sign_in') execute function reset_meanwhile()`);
  try {
    const { status, json } = await anybody.request('POST', '/auth/login', { email, password });
    expect([status, json.code]).toEqual([401, 'invalid_credentials']);
    expect(await db('sessions').join('users', 'users.id', 'sessions.userId').where({ email })).toEqual([]);
  } finally {
    await db.raw('drop function reset_meanwhile() cascade');
  }
});
