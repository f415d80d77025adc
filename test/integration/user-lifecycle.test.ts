/** What ends when an account is deactivated or closed, at once, and what stays. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { belongings } from '../../src/auth/closing.commands.ts';
import { registerAccount } from '../support/browser.ts';
import { callerOf, type TestCaller } from '../support/callers.ts';
import { startLogoutReceiver } from '../support/logout-receiver.ts';
import { eventually, mailCount, postJson, signedIn, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
let server: TestServer;
let admin: TestCaller;
beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'admin' });
});
afterAll(() => server.stop());

/** Somebody who is signed in everywhere that one can be. */
const openPerson = async (metadata: Record<string, unknown> = {}) => {
  const { db } = server.database;
  const email = await registerAccount(server);
  const { id } = await db('users').where({ email }).first('id');
  const browser = await signedIn(server, email);
  const scope = 'openid email offline_access users:read:own users:write:own users:close:own';
  const application = await openApplication(server, { scope, first_party: true, ...metadata }, { email, browser });
  const jwt = await application.tokens({ scope, resource: `${server.issuer}/api`, prompt: 'consent' });
  const opaque = await application.tokens();
  const login = (await postJson(`${server.issuer}/auth/login`, { email, password })).json;
  const as = { authorization: `Bearer ${login.accessToken}` };
  const key = (await postJson(`${server.issuer}/api-keys`, { name: 'Key', scopes: ['users:read:own'] }, as)).json.key;
  return { id, email, browser, application, jwt, opaque, login, key: key as string };
};
type Person = Awaited<ReturnType<typeof openPerson>>;

const status = async (path: string, token: string) =>
  (await fetch(`${server.address}${path}`, { headers: { authorization: `Bearer ${token}` } })).status;

/** Of each thing that spoke for the person, whether it still does. Without using up what does. */
const alive = async ({ id, browser, application, jwt, opaque, login, key }: Person) => ({
  jwt: (await status(`/users/${id}`, jwt.access_token)) === 200,
  jwtIntrospected: await application.isActive(jwt.access_token),
  opaque: (await status('/oauth/userinfo', opaque.access_token)) === 200,
  opaqueIntrospected: await application.isActive(opaque.access_token),
  refresh: await application.isActive(jwt.refresh_token),
  refreshOfSession: await application.isActive(opaque.refresh_token),
  rest: (await status(`/users/${id}`, login.accessToken)) === 200,
  apiKey: (await status(`/users/${id}`, key)) === 200,
  session: (await browser.go('/account')).url.pathname === '/account',
});
const everything = <T>(value: T) => ({
  jwt: value,
  jwtIntrospected: value,
  opaque: value,
  opaqueIntrospected: value,
  refresh: value,
  refreshOfSession: value,
  rest: value,
  apiKey: value,
  session: value,
});

const canSignIn = async (email: string) =>
  (await postJson(`${server.issuer}/auth/login`, { email, password })).status === 200;
const isRefused = async ({ application, jwt, login }: Person): Promise<boolean> => {
  const { status } = await application.refresh(jwt.refresh_token);
  const rest = await postJson(`${server.issuer}/auth/refresh`, { refreshToken: login.refreshToken });
  return status === 400 && rest.status === 401;
};
/** The address has had mail before, so the one that counts must be waited for. */
const registerAgain = async (email: string) => {
  const known = mailCount(server, email, /Confirm/);
  const form = { email, password, name: 'Somebody Else' };
  expect((await postJson(`${server.issuer}/auth/register`, form)).status).toBe(201);
  await eventually(() => mailCount(server, email, /Confirm/) > known, 'another mail');
  const token = tokenOf((await server.mail(email, /Confirm/)).links, 'verify');
  expect((await postJson(`${server.issuer}/auth/verify`, { token })).status).toBe(200);
};
const eventsOf = async (id: string) =>
  (await server.database.db('auditLogs').where({ targetId: id }).orderBy('id').select('action')).map(
    ({ action }) => action,
  );

describe('deactivating', () => {
  it('everything is dead when the answer comes, and stays dead after reactivation', async () => {
    const person = await openPerson();
    expect(await alive(person)).toEqual(everything(true));
    const code = await person.application.code();
    const { status, json } = await admin.request('POST', `/users/${person.id}/deactivate`);
    expect([status, json.status]).toEqual([200, 'deactivated']);
    expect(await alive(person)).toEqual(everything(false));
    expect(await isRefused(person)).toBe(true);
    expect((await person.application.exchange(code)).body.error).toBe('invalid_grant');
    expect(await canSignIn(person.email)).toBe(false);

    const reactivated = await admin.request('POST', `/users/${person.id}/reactivate`);
    expect([reactivated.status, reactivated.json.status]).toEqual([200, 'active']);
    expect(await alive(person)).toEqual({ ...everything(false), apiKey: true });
    expect(await isRefused(person)).toBe(true);
    expect(await canSignIn(person.email)).toBe(true);
    expect(await eventsOf(person.id)).toEqual(expect.arrayContaining(['user.deactivate', 'user.reactivate']));
  });

  it('applications hear of it (Back-Channel Logout 1.0)', async () => {
    const receiver = await startLogoutReceiver();
    const person = await openPerson({
      backchannel_logout_uri: receiver.uri,
      backchannel_logout_session_required: true,
    });
    await admin.request('POST', `/users/${person.id}/deactivate`);
    await receiver.received(1);
    await receiver.stop();
  });

  it('twice is once', async () => {
    const person = await openPerson();
    await admin.request('POST', `/users/${person.id}/deactivate`);
    expect((await admin.request('POST', `/users/${person.id}/deactivate`)).status).toBe(200);
    expect((await eventsOf(person.id)).filter((action) => action === 'user.deactivate')).toHaveLength(1);
    await admin.request('POST', `/users/${person.id}/reactivate`);
    await admin.request('POST', `/users/${person.id}/reactivate`);
    expect((await eventsOf(person.id)).filter((action) => action === 'user.reactivate')).toHaveLength(1);
  });

  it('sign-ins at the same time leave nothing alive', async () => {
    for (let round = 0; round < 5; round++) {
      const email = await registerAccount(server);
      const { id } = await server.database.db('users').where({ email }).first('id');
      const [, ...logins] = await Promise.all([
        admin.request('POST', `/users/${id}/deactivate`),
        ...Array.from({ length: 4 }, () => postJson(`${server.issuer}/auth/login`, { email, password })),
      ]);
      await admin.request('POST', `/users/${id}/reactivate`);
      for (const { json } of logins)
        if (json.accessToken) expect(await status(`/users/${id}`, json.accessToken)).toBe(401);
      expect(await server.database.db('sessions').where({ userId: id })).toHaveLength(0);
    }
  }, 60_000);
});

describe('closing', () => {
  /** Gives the person something in every table that knows people. */
  const spread = async ({ id, email }: Person) => {
    const { db } = server.database;
    await postJson(`${server.issuer}/auth/forgot-password`, { email });
    await server.mail(email, /new password/);
    const [role] = await db('roles').where({ name: 'partner' });
    const [permission] = await db('permissions');
    await db('roleGrants').insert({ userId: id, roleId: role.id });
    await db('permissionGrants').insert({ userId: id, permissionId: permission.id });
    for (const [table, members, key, rest] of [
      ['organizations', 'organizationMembers', 'organizationId', {}],
      ['groups', 'groupMembers', 'groupId', {}],
      ['domains', 'domainMembers', 'domainId', { key: uuid() }],
    ] as const) {
      const [row] = await db(table)
        .insert({ name: 'X', ...rest })
        .returning('id');
      await db(members).insert({ userId: id, [key]: row.id });
    }
    await db('users')
      .where({ id })
      .update({ piiKey: Buffer.from('key'), piiEncrypted: Buffer.from('sealed'), phoneIndex: uuid() });
  };
  const close = (person: Person, body?: unknown) =>
    fetch(`${server.address}/users/${person.id}`, {
      method: 'DELETE',
      headers: {
        authorization: `Bearer ${person.login.accessToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  for (const who of ['its owner', 'an administrator'] as const)
    it(`by ${who}: nothing is alive, nothing personal is left, the address is free, the audit trail stays`, async () => {
      const { db } = server.database;
      const person = await openPerson();
      await spread(person);
      const before = await eventsOf(person.id);
      expect(before).toContain('user.register');
      const answer =
        who === 'its owner' ? await close(person, { password }) : await admin.request('DELETE', `/users/${person.id}`);
      expect(answer.status).toBe(204);

      expect(await alive(person)).toEqual(everything(false));
      expect(await isRefused(person)).toBe(true);
      expect(await canSignIn(person.email)).toBe(false);
      expect(await db('users').where({ id: person.id }).first()).toMatchObject({
        status: 'closed',
        email: `${person.id}@closed.invalid`,
        name: '',
        passwordHash: null,
        piiKey: null,
        piiEncrypted: null,
        phoneIndex: null,
        lastSignInAt: null,
        locale: null,
        emailVerifiedAt: null,
      });
      for (const table of belongings) expect(await db(table).where({ userId: person.id }), table).toEqual([]);
      expect((await eventsOf(person.id)).slice(0, before.length)).toEqual(before);
      expect(await eventsOf(person.id)).toContain('user.close');

      await registerAgain(person.email);
      expect(await canSignIn(person.email)).toBe(true);
      const again = await db('users').where({ email: person.email }).first('id');
      expect(again.id).not.toBe(person.id);
      expect(await alive(person)).toEqual(everything(false));
    });

  for (const [what, body, code] of [
    ['no password', undefined, 'password_required'],
    ['an empty body', {}, 'password_required'],
    ['a wrong password', { password: 'not the password' }, 'password_wrong'],
  ] as const)
    it(`by its owner with ${what}: refused`, async () => {
      const person = await openPerson();
      const answer = await close(person, body);
      const { errors } = (await answer.json()) as { errors: { field: string; code: string }[] };
      expect([answer.status, errors]).toEqual([400, [expect.objectContaining({ field: 'password', code })]]);
      expect(await alive(person)).toEqual(everything(true));
    });

  it('an administrator closes their own account with its password alone', async () => {
    const own = await callerOf(server, { role: 'admin' });
    for (const id of [own.id, own.id.toUpperCase()]) {
      const { status, json } = await own.request('DELETE', `/users/${id}`);
      expect([status, json.code]).toEqual([400, 'invalid_request']);
    }
    expect((await own.request('DELETE', `/users/${own.id}`, { password })).status).toBe(204);
  });

  for (const [method, path, body] of [
    ['PATCH', '', { name: 'X' }],
    ['PUT', '/role', { role: 'user' }],
    ['POST', '/deactivate', undefined],
    ['POST', '/reactivate', undefined],
    ['DELETE', '', undefined],
  ] as const)
    it(`is for good: ${method} /users/:id${path}`, async () => {
      const email = await registerAccount(server);
      const { id } = await server.database.db('users').where({ email }).first('id');
      await admin.request('DELETE', `/users/${id}`);
      const { status, json } = await admin.request(method, `/users/${id}${path}`, body);
      expect([status, json.code]).toEqual([404, 'user_not_found']);
    });

  it('a closed account is seen by those who ask for it', async () => {
    const email = await registerAccount(server);
    const { id } = await server.database.db('users').where({ email }).first('id');
    await admin.request('DELETE', `/users/${id}`);
    expect((await admin.request('GET', `/users/${id}`)).json).toMatchObject({ status: 'closed', name: '' });
    const listed = async (query: string) =>
      (await admin.request('GET', `/users?limit=200${query}`)).json.data.some((user: { id: string }) => user.id === id);
    expect([await listed(''), await listed('&status=closed')]).toEqual([false, true]);
  });

  it('forgets every table that has people in it', async () => {
    const { rows } = (await server.database.db.raw(
      `select distinct conrelid::regclass::text as "table" from pg_constraint
       where contype = 'f' and confrelid = 'users'::regclass and confdeltype = 'c'`,
    )) as { rows: { table: string }[] };
    // Those that name their person otherwise.
    expect([...belongings, 'initial_access_tokens', 'organization_invitations'].sort()).toEqual(
      rows.map(({ table }) => table).sort(),
    );
  });
});
