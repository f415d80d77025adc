/** What whoever holds somebody's API key, or a token of an application that acts for them, can not do to its owner. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOneTimeCode } from '../../src/auth/one-time-codes.commands.ts';
import { callerOf, machineOf, nobody, requester, type TestCaller } from '../support/callers.ts';
import { basic, post } from '../support/relying-party.ts';
import { mailCount } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const password = 'correct horse battery staple';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** The subject of the mail to an address that an account had. */
const changed = /address of your .* account was changed/;
const apiKeyType = 'urn:countersign:params:oauth:token-type:api_key';

/** Somebody, signed in at an application of our own. */
const openOwner = async (server: TestServer, role = 'user') => {
  const owner = await callerOf(server, { role });
  const makeKey = async (scopes: string[]) => {
    const { status, json } = await owner.request('post', '/api-keys', { name: 'ci', scopes });
    expect(status).toBe(201);
    return { id: json.id as string, key: json.key as string, request: requester(server, json.key) };
  };
  /** A sign-in at the REST API itself. */
  const signIn = async () => {
    const { json } = await nobody(server).request('post', '/auth/login', { email: owner.email, password });
    return requester(server, json.accessToken ?? json.access_token);
  };
  return { ...owner, makeKey, signIn };
};

describe('quotas', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ RATE_LIMIT_FACTOR: '1', RATE_LIMITS: 'anonymous=100,user=10' });
  });
  afterAll(() => server.stop());

  it('a leaked key uses up its own, and the owner can still revoke it, end sessions and change the password', async () => {
    const owner = await openOwner(server);
    const leaked = await owner.makeKey(['users:read:own']);
    const session = await owner.signIn();
    for (let count = 0; count < 10; count++) expect((await leaked.request('get', '/auth/me')).status).toBe(200);
    expect((await leaked.request('get', '/auth/me')).status).toBe(429);
    expect((await owner.request('delete', `/api-keys/${leaked.id}`)).status).toBe(204);
    expect((await session('delete', '/sessions')).status).toBe(200);
    const passwords = { currentPassword: password, newPassword: 'another horse battery staple' };
    expect((await session('post', '/auth/change-password', passwords)).status).toBe(204);
  });

  it('an application uses up its own', async () => {
    const owner = await openOwner(server);
    const session = await owner.signIn();
    for (let count = 0; count < 10; count++) expect((await owner.request('get', '/auth/me')).status).toBe(200);
    expect((await owner.request('get', '/auth/me')).status).toBe(429);
    expect((await session('get', '/auth/me')).status).toBe(200);
  });
});

describe('the address of one’s own account', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server.stop());

  const emailOf = async (id: string) => (await server.database.db('users').where({ id }).first('email')).email;
  let count = 0;
  const newEmail = () => `new-${++count}@example.com`;

  for (const [name, open] of [
    ['an API key', async (owner) => (await owner.makeKey(['users:write:any'])).request],
    [
      'an application of somebody else’s',
      async () => (await callerOf(server, { role: 'admin', thirdParty: true })).request,
    ],
  ] as [string, (owner: Awaited<ReturnType<typeof openOwner>>) => Promise<TestCaller['request']>][])
    it(`is not changed, nor verified, with ${name}`, async () => {
      const owner = await openOwner(server, 'admin');
      const request = await open(owner);
      const { json: me } = await request('get', '/auth/me');
      const before = await emailOf(me.id);
      for (const body of [{ email: newEmail() }, { emailVerified: true }, { email: newEmail(), emailVerified: true }])
        for (const id of [me.id, me.id.toUpperCase()]) {
          const { status, json } = await request('patch', `/users/${id}`, body);
          expect([status, json.code]).toEqual([403, 'session_needed']);
        }
      expect(await emailOf(me.id)).toBe(before);
      expect(mailCount(server, before, changed)).toBe(0);
    });

  it('changes for whoever is signed in here; the old one is told, and codes that were sent there are dead', async () => {
    const owner = await openOwner(server, 'admin');
    const { db } = server.database;
    await db.transaction((db) =>
      createOneTimeCode(db, server.app.secrets, {
        ...{ purpose: 'mfa', subject: owner.id, userId: owner.id, channel: 'email' },
      }),
    );
    const email = newEmail();
    const { status, json } = await owner.request('patch', `/users/${owner.id}`, { email });
    expect([status, json.email, json.emailVerified]).toEqual([200, email, false]);
    const { text } = await server.mail(owner.email, changed);
    expect(text).not.toContain(email);
    expect(await db('oneTimeCodes').where({ userId: owner.id })).toEqual([]);
  });

  it('the old one is told of a change by an administrator, and of no other change', async () => {
    const admin = await openOwner(server, 'admin');
    const person = await openOwner(server);
    await admin.request('patch', `/users/${person.id}`, { name: 'Ada King', emailVerified: false });
    expect((await admin.request('patch', `/users/${person.id}`, { email: newEmail() })).status).toBe(200);
    await server.mail(person.email, changed);
    expect(mailCount(server, person.email, changed)).toBe(1);
  });
});

describe('the audit log tells', () => {
  let server: TestServer;
  let owner: Awaited<ReturnType<typeof openOwner>>;
  beforeAll(async () => {
    server = await startServer();
    owner = await openOwner(server);
  });
  afterAll(() => server.stop());

  const rename = async (request: TestCaller['request']) => {
    expect((await request('patch', `/users/${owner.id}`, { name: 'Ada King' })).status).toBe(200);
    const [event] = await server.database.db('auditLogs').orderBy('id', 'desc').limit(1).select('*');
    const { json } = await owner.request('get', '/auth/me/activity?limit=1');
    return { actor: [event.actorType, event.actorId], via: event.meta.via, shown: json.data[0] };
  };

  it('a person from their API key, in refusals as well', async () => {
    const key = await owner.makeKey(['users:write:own']);
    const { actor, via, shown } = await rename(key.request);
    expect([actor, via]).toEqual([['user', owner.id], { apiKeyId: key.id }]);
    expect([shown.by, shown.client]).toEqual(['api_key', null]);
    expect((await key.request('get', '/users')).status).toBe(403);
    const refusals = await server.database
      .db('auditLogs')
      .where({ action: 'authorization.refuse' })
      .orderBy('id')
      .select('meta');
    expect(refusals.at(-1)?.meta).toMatchObject({ operation: 'listUsers', via: { apiKeyId: key.id } });
  });

  it('a person from an application, and not from this API', async () => {
    const through = await rename(owner.request);
    const clientId = through.via.clientId;
    expect(through.via).toEqual({ clientId: expect.any(String) });
    expect([through.shown.by, through.shown.client?.id]).toEqual(['application', clientId]);
    const own = await rename(await owner.signIn());
    expect([own.actor, own.via]).toEqual([['user', owner.id], undefined]);
    expect(own.shown.by).toBe('you');
  });

  it('the exchange of a key for a token', async () => {
    const key = await owner.makeKey(['users:read:own']);
    const gateway = await server.client({ grant_types: [exchange], redirect_uris: [], scope: 'users:read:own' });
    const form = { grant_type: exchange, subject_token: key.key, subject_token_type: apiKeyType };
    expect((await post(server, '/oauth/token', form, basic(gateway))).status).toBe(200);
    const events = await server.database.db('auditLogs').where({ action: 'token.exchange' }).select('*');
    const [{ id: grantId }] = await server.database.db('grants').where({ apiKeyId: key.id }).select('id');
    expect(events).toEqual([
      expect.objectContaining({
        ...{ actorType: 'client', actorId: gateway.client_id, targetType: 'user', targetId: owner.id },
        meta: { apiKeyId: key.id, grantId, scope: 'users:read:own', resource: `${server.issuer}/api` },
      }),
    ]);
    const { json } = await owner.request('get', '/auth/me/activity?limit=1');
    expect(json.data[0]).toMatchObject({
      ...{ action: 'token.exchange', by: 'application' },
      client: { id: gateway.client_id },
    });
    // Refused, and so neither recorded as one nor given.
    await post(server, '/oauth/token', { ...form, subject_token: 'cs_nonsense' }, basic(gateway));
    expect(await server.database.db('auditLogs').where({ action: 'token.exchange' })).toHaveLength(1);
  });

  it('requests apart by ids of its own: nobody can put theirs into another’s trail', async () => {
    const given = 'trail-of-somebody-else';
    const headers = { 'x-request-id': given };
    const answer = await owner.request('patch', `/users/${owner.id}`, { name: 'Ada' }, headers);
    expect(answer.headers.get('x-correlation-id')).toBe(given);
    const requestId = answer.headers.get('x-request-id');
    const { db } = server.database;
    expect(await db('auditLogs').where({ requestId: given })).toEqual([]);
    expect(await db('auditLogs').where({ requestId }).pluck('action')).toEqual(['user.update']);
  });

  it('moderators nothing of where those sit who rank higher', async () => {
    const ask = async (who: TestCaller, { id }: TestCaller) =>
      (await who.request('get', `/users/${id}/sessions`)).status;
    const [moderator, boss] = [
      await callerOf(server, { role: 'moderator' }),
      await callerOf(server, { role: 'super_admin' }),
    ];
    expect(await ask(moderator, owner)).toBe(200);
    expect(await ask(moderator, boss)).toBe(403);
    expect(await ask(moderator, moderator)).toBe(200);
    expect(await ask(boss, moderator)).toBe(200);
  });
});

describe('what a token gives to others', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server.stop());

  const taken = () => ({ email: `${crypto.randomUUID()}@evil.example`, emailVerified: true });

  it('is no more than it may do itself: neither a peer’s address, nor a role, nor an account of staff', async () => {
    const owner = await openOwner(server, 'super_admin');
    const peer = await callerOf(server, { role: 'super_admin' });
    const accomplice = await callerOf(server);
    const key = await owner.makeKey(['users:write:any', 'roles:assign:any']);
    const thirdParty = await callerOf(server, {
      role: 'super_admin',
      scope: 'users:write:any roles:assign:any',
      thirdParty: true,
    });
    const machine = await machineOf(server, 'users:write:any roles:assign:any');
    for (const { request } of [key, thirdParty, machine]) {
      for (const answer of [
        await request('patch', `/users/${peer.id}`, taken()),
        await request('put', `/users/${accomplice.id}/role`, { role: 'moderator' }),
        await request('post', '/users', { ...taken(), name: 'Mallory', role: 'admin' }),
        await request('post', '/auth/register', { email: taken().email, password, name: 'Mallory', role: 'admin' }),
      ])
        expect([answer.status, answer.json.code]).toEqual([403, 'session_needed']);
      // People who may do nothing to others are what such programs are for.
      expect((await request('patch', `/users/${accomplice.id}`, taken())).status).toBe(200);
      expect((await request('post', '/users', { ...taken(), name: 'Ada' })).status).toBe(201);
    }
    expect((await owner.request('put', `/users/${accomplice.id}/role`, { role: 'moderator' })).status).toBe(200);
  });

  describe('is no account that holds more, whatever its primary role', () => {
    const later = (hours: number) => new Date(Date.now() + hours * 3_600_000);
    const grants: [string, { table: 'roleGrants' | 'permissionGrants'; values?: object; status?: string }, boolean][] =
      [
        ['a granted role', { table: 'roleGrants' }, true],
        ['a role that begins tomorrow', { table: 'roleGrants', values: { startsAt: later(24) } }, true],
        [
          'a role that has ended',
          { table: 'roleGrants', values: { startsAt: later(-2), expiresAt: later(-1) } },
          false,
        ],
        ['a granted permission', { table: 'permissionGrants' }, true],
        ['a permission that is denied', { table: 'permissionGrants', values: { effect: 'deny' } }, false],
        ['a granted role, deactivated', { table: 'roleGrants', status: 'deactivated' }, true],
        ['a granted permission, deactivated', { table: 'permissionGrants', status: 'deactivated' }, true],
      ];
    for (const [name, { table, values, status = 'active' }, holds] of grants)
      it(name, async () => {
        const { db } = server.database;
        const owner = await openOwner(server, 'super_admin');
        const target = await callerOf(server);
        const what =
          table === 'roleGrants'
            ? { roleId: (await db('roles').where({ name: 'moderator' }).first('id')).id }
            : { permissionId: (await db('permissions').where({ name: 'users:deactivate:any' }).first('id')).id };
        await db(table).insert({ userId: target.id, ...what, ...values });
        await db('users').where({ id: target.id }).update({ status });
        const key = await owner.makeKey(['users:write:any']);
        for (const body of [taken(), { emailVerified: true }]) {
          const { status, json } = await key.request('patch', `/users/${target.id}`, body);
          expect([status, json.code]).toEqual(holds ? [403, 'session_needed'] : [200, undefined]);
          expect((await owner.request('patch', `/users/${target.id}`, body)).status).toBe(200);
        }
        expect((await key.request('patch', `/users/${target.id}`, { name: 'Ada King' })).status).toBe(200);
      });
  });
});
