/** Accounts over REST, for their owners and for those who look after them. */
import { randomUUID } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertUser } from '../../src/users/users.queries.ts';
import { Browser, registerAccount } from '../support/browser.ts';
import { callerOf, giveRole, machineOf, nobody, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { dumpTables } from '../support/dump.ts';
import { mailCount, postForm, postJson, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
const callers: Record<string, TestCaller> = {};
const by = (name: string): TestCaller => callers[name] as TestCaller;
const password = 'correct horse battery staple';

beforeAll(async () => {
  server = await startServer();
  callers.nobody = nobody(server);
  for (const role of ['super_admin', 'admin', 'moderator', 'operator', 'user'])
    callers[role] = await callerOf(server, { role });
  // A spare one, so that no super_admin above is the last.
  await newUser('super_admin');
  callers['an admin without scope'] = await callerOf(server, { role: 'admin', scope: 'users:read:any' });
  callers['somebody else’s application'] = await callerOf(server, { scope: 'email', thirdParty: true });
  callers['a machine that reads'] = await machineOf(server, 'users:read:any');
});
afterAll(() => server.stop());

/** An account that nobody signs in to. */
const newUser = async (role = 'user', name = 'Grace Hopper'): Promise<{ id: string; email: string }> => {
  const user = { id: uuid(), email: `${uuid()}@example.com` };
  await insertUser(server.database.db, { ...user, name, role, passwordHash: null, emailVerifiedAt: null });
  return user;
};
const rowOf = (id: string) => server.database.db('users').where({ id }).first();
const cursor = (key: string) => Buffer.from(key).toString('base64url');
/** All that a refusal must leave as it was. Refusals are recorded, and signing in goes on, so those are left out. */
const snapshot = async () => {
  const tables = Object.entries(await dumpTables(server.database.db, ['public']));
  // Decisions are written down by the way, and later.
  return Object.fromEntries(tables.filter(([table]) => !/audit_logs|decisions/.test(table)));
};

describe('who may', () => {
  const routes: {
    route: string;
    body?: unknown;
    mayNot: string[];
    permission: string;
    malformed?: unknown[];
  }[] = [
    {
      route: 'GET /users',
      mayNot: ['user', 'operator', 'somebody else’s application'],
      permission: 'users:read:any',
    },
    { route: 'GET /users/:other', mayNot: ['user', 'operator'], permission: 'users:read:any' },
    {
      route: 'GET /admin/users',
      mayNot: ['user', 'moderator', 'operator', 'an admin without scope', 'a machine that reads'],
      permission: 'users:administer:any',
    },
    {
      route: 'POST /users',
      body: { email: 'new@example.com', name: 'New' },
      mayNot: ['user', 'moderator', 'an admin without scope', 'a machine that reads'],
      permission: 'users:write:any',
      malformed: [
        {},
        { email: 'no address', name: 'New' },
        { email: 'a@example.com', name: '' },
        { email: 'a@example.com', name: 'New', role: 'emperor' },
        { email: 'a@example.com', name: 'New', password: 'short' },
        { email: 'a@example.com', name: 'New', emailVerified: 'yes' },
        { email: 'a@example.com', name: 'New', locale: 'not a language' },
      ],
    },
    {
      route: 'PATCH /users/:other',
      body: { name: 'Changed' },
      mayNot: ['user', 'moderator', 'an admin without scope'],
      permission: 'users:write:any',
      malformed: [{ name: 7 }, { name: 'x'.repeat(101) }, { email: 'no address' }, { locale: '??' }],
    },
    {
      route: 'PUT /users/:other/role',
      body: { role: 'user' },
      mayNot: ['user', 'moderator', 'an admin without scope'],
      permission: 'roles:assign:any',
      malformed: [{}, { role: 'emperor' }, { role: '' }],
    },
    {
      route: 'POST /users/:other/deactivate',
      mayNot: ['user', 'operator', 'an admin without scope'],
      permission: 'users:deactivate:any',
    },
    {
      route: 'POST /users/:other/reactivate',
      mayNot: ['user', 'operator', 'an admin without scope'],
      permission: 'users:deactivate:any',
    },
    {
      route: 'DELETE /users/:other',
      mayNot: ['user', 'moderator', 'an admin without scope'],
      permission: 'users:close:any',
    },
    { route: 'GET /roles', mayNot: ['user', 'moderator', 'operator'], permission: 'roles:read:any' },
  ];
  for (const { route, body, mayNot, permission, malformed = [] } of routes) {
    const [method = '', template = ''] = route.split(' ');
    const ask = async (caller: TestCaller, id: string, content: unknown = body) =>
      caller.request(method, template.replace(':other', id), content);

    for (const name of mayNot)
      it(`${route}: not ${name}`, async () => {
        const { id } = await newUser();
        const before = await snapshot();
        const { status, json, headers } = await ask(by(name), id);
        expect([status, json.code]).toEqual([403, 'missing_permission']);
        expect(headers.get('www-authenticate')).toContain(permission);
        expect(await snapshot()).toEqual(before);
      });
    for (const content of malformed)
      it(`${route}: not ${JSON.stringify(content).slice(0, 60)}`, async () => {
        const { id } = await newUser();
        const before = await snapshot();
        const { status, json } = await ask(by('super_admin'), id, content);
        expect(status).toBe(400);
        expect(['invalid_request', 'invalid_json']).toContain(json.code);
        expect(await snapshot()).toEqual(before);
      });
    if (template.includes(':other')) {
      it(`${route}: not for somebody who is not there`, async () => {
        const { status, json } = await ask(by('super_admin'), uuid());
        expect([status, json.code]).toEqual([404, 'user_not_found']);
      });
    }
  }

  it('whoever may not read accounts is not told whether there is one', async () => {
    const answers = await Promise.all([uuid(), by('admin').id].map((id) => by('user').request('GET', `/users/${id}`)));
    expect(answers.map(({ status, json }) => [status, json.code])).toEqual([
      [403, 'missing_permission'],
      [403, 'missing_permission'],
    ]);
  });
});

describe('lists', () => {
  it('GET /admin/users: 200 for admins, with every member and nothing secret', async () => {
    const { status, json } = await by('admin').request('GET', `/admin/users?q=${by('user').email}`);
    expect(status).toBe(200);
    expect(json).toEqual({
      data: [
        {
          id: by('user').id,
          email: by('user').email,
          emailVerified: true,
          name: 'Ada Lovelace',
          locale: 'en',
          status: 'active',
          role: 'user',
          roles: ['user'],
          createdAt: expect.stringMatching(/Z$/),
          updatedAt: expect.stringMatching(/Z$/),
          lastSignInAt: expect.stringMatching(/Z$/),
        },
      ],
      nextCursor: null,
    });
  });
  it('GET /users: less of each', async () => {
    const { json } = await by('moderator').request('GET', '/users?limit=1');
    expect(Object.keys(json.data[0]).sort()).toEqual(
      ['id', 'email', 'emailVerified', 'name', 'locale', 'status', 'role', 'createdAt', 'updatedAt'].sort(),
    );
    expect((await by('a machine that reads').request('GET', '/users?limit=1')).status).toBe(200);
  });
  it('come in pages that miss nobody and repeat nobody', async () => {
    const marked = await Promise.all(Array.from({ length: 7 }, () => newUser('user', 'Paging Person')));
    const seen: string[] = [];
    let path: string | undefined = '/users?q=paging%20p&limit=3';
    while (path) {
      const { json, headers } = await by('admin').request('GET', path);
      seen.push(...json.data.map(({ id }: { id: string }) => id));
      expect(json.data.length).toBeLessThanOrEqual(3);
      const next: string | undefined = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      expect(Boolean(next)).toBe(json.nextCursor !== null);
      path = next;
    }
    expect(seen).toEqual(marked.map(({ id }) => id).sort());
  });
  it('of a period come in the order in which they were made, whatever their ids are, to the microsecond', async () => {
    const { db } = server.database;
    // Ids of accounts that came from elsewhere say nothing; some were made in the same millisecond, two at the very same moment.
    const times = ['000002', '000001', '000900', '000003', '000002', '001000', '000999'];
    const made = await Promise.all(
      times.map(async (micros) => {
        const { email } = await newUser('user', 'Period Person');
        const [id, createdAt] = [randomUUID(), `2019-05-05T05:05:05.${micros}Z`];
        await db('users').where({ email }).update({ id, createdAt });
        return { id, createdAt };
      }),
    );
    const expected = made.toSorted((a, b) => (`${a.createdAt}${a.id}` < `${b.createdAt}${b.id}` ? -1 : 1));
    const filters: Record<string, string>[] = [
      { createdFrom: '2019-05-05T05:05:05.000001Z', createdTo: '2019-05-05T05:05:05.001001Z' },
      { createdTo: '2019-05-05T05:05:05.001001Z', q: 'period p', role: 'user', status: 'active' },
    ];
    for (const filter of filters) {
      const seen: string[] = [];
      let path: string | undefined = `/admin/users?${new URLSearchParams({ ...filter, limit: '2' })}`;
      while (path) {
        const { status, json, headers } = await by('admin').request('GET', path);
        expect(status).toBe(200);
        seen.push(...json.data.map(({ id }: { id: string }) => id));
        path = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      }
      expect(seen).toEqual(expected.map(({ id }) => id));
    }
    const { json } = await by('admin').request('GET', '/admin/users?limit=1&createdFrom=2019-05-05T05:05:05.000003Z');
    expect(json.data[0].id).toBe(expected[3]?.id);
  });
  for (const [what, query, finds] of [
    ['the beginning of an address, in capitals', { q: 'FIND.ME' }, true],
    ['the beginning of a name, in capitals', { q: 'ÖZ' }, true],
    ['the middle of a name', { q: 'lem find' }, false],
    ['a wildcard, which is none', { q: '%' }, false],
    ['an underscore, which is none', { q: 'find_me' }, false],
    ['a backslash', { q: 'find\\' }, false],
    ['a status', { q: 'find.me', status: 'active' }, true],
    ['another status', { q: 'find.me', status: 'deactivated' }, false],
    ['a role', { q: 'find.me', role: 'partner' }, true],
    ['another role', { q: 'find.me', role: 'user' }, false],
    ['a verified address', { q: 'find.me', emailVerified: 'true' }, false],
    ['an address that is not verified', { q: 'find.me', emailVerified: 'false' }, true],
    ['a time before', { q: 'find.me', createdTo: '2020-01-01T00:00:00Z' }, false],
    ['a time since', { q: 'find.me', createdFrom: '2020-01-01T00:00:00Z' }, true],
  ] as const)
    it(`search by ${what}`, async () => {
      const { db } = server.database;
      const email = 'find.me@example.com';
      let user = await db('users').where({ email }).first('id');
      if (!user) {
        user = { id: uuid() };
        await insertUser(db, {
          id: user.id,
          email,
          name: 'Özlem Find',
          role: 'partner',
          passwordHash: null,
          emailVerifiedAt: null,
        });
      }
      const { status, json } = await by('admin').request('GET', `/admin/users?${new URLSearchParams(query)}`);
      expect(status).toBe(200);
      expect(json.data.map(({ id }: { id: string }) => id)).toEqual(finds ? [user.id] : []);
    });
  for (const query of [
    'limit=0',
    'limit=201',
    'limit=x',
    'cursor=*',
    `cursor=${cursor('x')}`,
    `cursor=${cursor('2019-05-05T05:05:05.000001Z/0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f')}`,
    `createdFrom=2019-05-05T00:00:00Z&cursor=${cursor('0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f')}`,
    `createdFrom=2019-05-05T00:00:00Z&cursor=${cursor('2019-02-30T00:00:00Z/0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f')}`,
    `createdFrom=2019-05-05T00:00:00Z&cursor=${cursor('2019-02-03T00:00:00Z/x')}`,
    'status=dead',
    'emailVerified=1',
    'createdFrom=yesterday',
    'createdFrom=0000-01-01T00:00:00Z',
    `createdFrom=2027-01-01T00:00:00.${'1'.repeat(5000)}Z`,
    `createdTo=2027-01-01T00:00:00.${'1'.repeat(10)}Z`,
    'q=%00',
    'role=%00',
    `q=${'x'.repeat(101)}`,
  ])
    it(`refuse ${query.slice(0, 90)}`, async () => {
      const { status, json } = await by('admin').request('GET', `/admin/users?${query}`);
      expect([status, json.code]).toEqual([400, 'invalid_request']);
    });
  it('GET /roles: those that are built in, the highest first', async () => {
    const { status, json } = await by('admin').request('GET', '/roles');
    expect(status).toBe(200);
    expect(json.data.map(({ name }: { name: string }) => name)).toEqual([
      'super_admin',
      'admin',
      'moderator',
      'manager',
      'partner',
      'operator',
      'user',
    ]);
    expect(json.data[0]).toMatchObject({
      name: 'super_admin',
      rank: 100,
      description: expect.any(String),
      permissions: ['*:*:*'],
    });
  });
});

describe('POST /users', () => {
  it('with a password: an account that can sign in, and no mail', async () => {
    const email = `Made.${uuid()}@Example.com`;
    const body = {
      email,
      name: 'Made',
      password,
      emailVerified: true,
      unknown: 1,
      status: 'closed',
      passwordHash: 'x',
    };
    const { status, json } = await by('admin').request('POST', '/users', body);
    expect([status, json.email, json.emailVerified, json.role, json.status]).toEqual([
      201,
      email.toLowerCase(),
      true,
      'user',
      'active',
    ]);
    expect((await postJson(`${server.issuer}/auth/login`, { email, password })).status).toBe(200);
    expect(mailCount(server, email.toLowerCase())).toBe(0);
  });
  it('without a password: a mail that sets one and verifies the address', async () => {
    const email = `${uuid()}@example.com`;
    const { status, json } = await by('admin').request('POST', '/users', { email, name: 'Invited', locale: 'de' });
    expect([status, json.emailVerified]).toEqual([201, false]);
    const mail = await server.mail(email, /eingeladen/);
    expect(mail.text).toContain('Guten Tag Invited');
    const browser = new Browser(server.issuer);
    const token = tokenOf(mail.links, 'reset');
    const page = await browser.go(`/reset?token=${token}`);
    expect(page.status).toBe(200);
    await postForm(browser, '/reset', { token, password: 'a quite good password' });
    const { status: signedIn } = await postJson(`${server.issuer}/auth/login`, {
      email,
      password: 'a quite good password',
    });
    expect(signedIn).toBe(200);
    expect(await rowOf(json.id)).toMatchObject({ emailVerifiedAt: expect.any(Date) });
  });
  it('with sendInvitation as told', async () => {
    const [quiet, loud] = [`${uuid()}@example.com`, `${uuid()}@example.com`];
    await by('admin').request('POST', '/users', { email: quiet, name: 'Quiet', sendInvitation: false });
    await by('admin').request('POST', '/users', { email: loud, name: 'Loud', password, sendInvitation: true });
    await server.mail(loud, /invited/);
    expect(mailCount(server, quiet)).toBe(0);
  });
  it('an address that is taken is a 409 to those who may know', async () => {
    const { email } = await newUser();
    const { status, json } = await by('admin').request('POST', '/users', { email: email.toUpperCase(), name: 'Twice' });
    expect([status, json.code]).toEqual([409, 'email_taken']);
  });
  it('another role needs roles:assign:any', async () => {
    const writer = await callerOf(server, { role: 'admin', scope: 'users:write:any' });
    const body = { email: `${uuid()}@example.com`, name: 'X', role: 'partner' };
    const { status, json } = await writer.request('POST', '/users', body);
    expect([status, json.code]).toEqual([403, 'missing_permission']);
    expect((await writer.request('POST', '/users', { ...body, role: 'user' })).status).toBe(201);
  });
  for (const [role, expected] of [
    ['super_admin', 403],
    ['admin', 201],
    ['operator', 201],
  ] as const)
    it(`an admin makes a ${role}: ${expected}`, async () => {
      const email = `${uuid()}@example.com`;
      const { status, json } = await by('admin').request('POST', '/users', { email, name: 'X', role });
      expect([status, json.role ?? json.code]).toEqual([expected, expected === 201 ? role : 'rank_too_low']);
      expect(Boolean(await server.database.db('users').where({ email }).first('id'))).toBe(expected === 201);
    });
});

describe('one’s own account', () => {
  it('is seen and changed', async () => {
    const caller = await callerOf(server);
    expect((await caller.request('GET', `/users/${caller.id}`)).json).toMatchObject({
      id: caller.id,
      email: caller.email,
    });
    const changed = await caller.request('PATCH', `/users/${caller.id}`, {
      name: ' Ada King ',
      locale: 'fr',
      role: 'admin',
    });
    expect([changed.status, changed.json.name, changed.json.locale, changed.json.role]).toEqual([
      200,
      'Ada King',
      'fr',
      'user',
    ]);
    expect((await caller.request('PATCH', `/users/${caller.id}`, { locale: null })).json.locale).toBeNull();
  });
  for (const change of [{ email: 'other@example.com' }, { emailVerified: true }, { name: 'X', email: 'x@example.com' }])
    it(`does not get ${JSON.stringify(change)} from its owner`, async () => {
      const caller = await callerOf(server);
      const before = await rowOf(caller.id);
      const { status, json, headers } = await caller.request('PATCH', `/users/${caller.id}`, change);
      expect([status, json.code]).toEqual([403, 'missing_permission']);
      expect(headers.get('www-authenticate')).toContain('users:write:any');
      expect(await rowOf(caller.id)).toEqual(before);
    });
  for (const [what, method, path] of [
    ['seen', 'GET', ''],
    ['closed', 'DELETE', ''],
  ] as const)
    it(`is not ${what} by an application that only knows who one is`, async () => {
      const caller = by('somebody else’s application');
      const { status, json } = await caller.request(method, `/users/${caller.id}${path}`);
      expect([status, json.code]).toEqual([403, 'missing_permission']);
    });
});

describe('PATCH by an administrator', () => {
  it('a new address is not verified, and links to the old one are dead', async () => {
    const { db } = server.database;
    const caller = await callerOf(server);
    await postJson(`${server.issuer}/auth/forgot-password`, { email: caller.email });
    const mail = await server.mail(caller.email, /new password/);
    const email = `${uuid()}@example.com`;
    const { status, json } = await by('admin').request('PATCH', `/users/${caller.id}`, { email });
    expect([status, json.email, json.emailVerified]).toEqual([200, email, false]);
    expect(await db('actionTokens').where({ userId: caller.id })).toHaveLength(0);
    const reset = await postJson(`${server.issuer}/auth/reset-password`, {
      token: tokenOf(mail.links, 'reset'),
      password: 'a quite good password',
    });
    expect([reset.status, reset.json.code]).toEqual([400, 'invalid_token']);
    const [event] = await db('auditLogs').where({ targetId: caller.id, action: 'user.update' });
    expect(event).toMatchObject({ actorId: by('admin').id, meta: { members: ['email', 'emailVerified'] } });
  });
  it('verified when it is said to be; the same address stays as it was', async () => {
    const { id, email } = await newUser();
    const change = (body: object) => by('admin').request('PATCH', `/users/${id}`, body);
    expect((await change({ email, emailVerified: true })).json.emailVerified).toBe(true);
    expect((await change({ email })).json.emailVerified).toBe(true);
    expect((await change({ emailVerified: false })).json.emailVerified).toBe(false);
    expect((await change({ email: `${uuid()}@example.com`, emailVerified: true })).json.emailVerified).toBe(true);
  });
  it('an address that is taken is a 409', async () => {
    const [one, other] = [await newUser(), await newUser()];
    const { status, json } = await by('admin').request('PATCH', `/users/${one.id}`, { email: other.email });
    expect([status, json.code]).toEqual([409, 'email_taken']);
    expect((await rowOf(one.id)).email).toBe(one.email);
  });
});

describe('rank', () => {
  const actions: Record<string, (id: string) => [method: string, path: string, body?: unknown]> = {
    update: (id: string) => ['PATCH', `/users/${id}`, { name: 'Changed' }],
    deactivate: (id: string) => ['POST', `/users/${id}/deactivate`],
    close: (id: string) => ['DELETE', `/users/${id}`],
    'make a user': (id: string) => ['PUT', `/users/${id}/role`, { role: 'user' }],
    'make an admin': (id: string) => ['PUT', `/users/${id}/role`, { role: 'admin' }],
    'make a super_admin': (id: string) => ['PUT', `/users/${id}/role`, { role: 'super_admin' }],
    'end the sessions of': (id: string) => ['DELETE', `/users/${id}/sessions`],
  };
  const ok = 'ok';
  const low = 'rank_too_low';
  const missing = 'missing_permission';
  for (const [subject, action, object, expected] of [
    ['super_admin', 'update', 'super_admin', ok],
    ['super_admin', 'deactivate', 'super_admin', ok],
    ['super_admin', 'close', 'super_admin', ok],
    ['super_admin', 'make a user', 'super_admin', ok],
    ['super_admin', 'make a super_admin', 'user', ok],
    ['admin', 'update', 'super_admin', low],
    ['admin', 'deactivate', 'super_admin', low],
    ['admin', 'close', 'super_admin', low],
    ['admin', 'make a user', 'super_admin', low],
    ['admin', 'make a super_admin', 'super_admin', low],
    ['admin', 'make a super_admin', 'user', low],
    ['admin', 'end the sessions of', 'super_admin', low],
    ['admin', 'update', 'admin', ok],
    ['admin', 'deactivate', 'admin', ok],
    ['admin', 'close', 'admin', ok],
    ['admin', 'make a user', 'admin', ok],
    ['admin', 'make an admin', 'user', ok],
    ['admin', 'end the sessions of', 'admin', ok],
    ['moderator', 'deactivate', 'admin', low],
    ['moderator', 'deactivate', 'moderator', ok],
    ['moderator', 'deactivate', 'user', ok],
    ['moderator', 'end the sessions of', 'admin', low],
    ['moderator', 'end the sessions of', 'user', ok],
    ['moderator', 'make a user', 'user', missing],
    ['moderator', 'update', 'user', missing],
    ['operator', 'deactivate', 'user', missing],
    ['user', 'update', 'user', missing],
  ] as const)
    it(`${subject}: ${action} ${object}: ${expected}`, async () => {
      const { id } = await newUser(object);
      const before = await rowOf(id);
      const [method, path, body] = actions[action]?.(id) ?? ['', ''];
      const { status, json } = await by(subject).request(method, path, body);
      expect(status < 300 ? ok : json.code).toBe(expected);
      if (expected !== ok) expect(await rowOf(id)).toEqual(before);
    });
  it('counts roles that were granted beside the primary one, while they last', async () => {
    const { db } = server.database;
    const { id } = await newUser();
    const [role] = await db('roles').where({ name: 'super_admin' });
    await db('roleGrants').insert({ userId: id, roleId: role.id, expiresAt: new Date(Date.now() + 3_600_000) });
    const refused = await by('admin').request('POST', `/users/${id}/deactivate`);
    expect([refused.status, refused.json.code]).toEqual([403, 'rank_too_low']);
    await db('roleGrants')
      .where({ userId: id })
      .update({ startsAt: new Date(Date.now() - 7_200_000), expiresAt: new Date(Date.now() - 3_600_000) });
    expect((await by('admin').request('POST', `/users/${id}/deactivate`)).status).toBe(200);
  });
  it('a role gives what it gives with the next token, and what it took is gone with the next request', async () => {
    const email = await registerAccount(server);
    const anybody = nobody(server);
    const { json } = await anybody.request('POST', '/auth/login', { email, password: 'correct horse battery staple' });
    const list = async (token: string) =>
      (await anybody.request('GET', '/users', undefined, { authorization: `Bearer ${token}` })).status;
    const assign = (role: string) => by('admin').request('PUT', `/users/${json.user.id}/role`, { role });
    expect(await list(json.accessToken)).toBe(403);
    await assign('moderator');
    const { refreshToken } = json;
    const { accessToken } = (await anybody.request('POST', '/auth/refresh', { refreshToken })).json;
    expect([await list(json.accessToken), await list(accessToken)]).toEqual([403, 200]);
    await assign('user');
    expect(await list(accessToken)).toBe(403);
  });
  it('nobody deactivates themselves', async () => {
    for (const id of [by('admin').id, by('admin').id.toUpperCase()]) {
      const { status, json } = await by('admin').request('POST', `/users/${id}/deactivate`);
      expect([status, json.code]).toEqual([409, 'own_account']);
    }
  });
});

describe('the last super_admin', () => {
  /** Leaves these as the only ones. */
  const onlySuperAdmins = async (...ids: string[]) => {
    const { db } = server.database;
    await db('users')
      .where({ roleId: db('roles').where({ name: 'super_admin' }).select('id') })
      .whereNotIn('id', ids)
      .update({ roleId: db('roles').where({ name: 'user' }).select('id') });
    for (const id of ids) await giveRole(server, id, 'super_admin');
  };
  const left = async () =>
    Number(
      (
        await server.database
          .db('users')
          .join('roles', 'roles.id', 'users.roleId')
          .where({ 'roles.name': 'super_admin', status: 'active' })
          .count()
      )[0]?.count,
    );

  for (const [what, method, path, body] of [
    ['gives up the role', 'PUT', '/role', { role: 'admin' }],
    ['closes the account', 'DELETE', '', { password }],
  ] as const)
    it(`not: ${what}`, async () => {
      await onlySuperAdmins(by('super_admin').id);
      const { status, json } = await by('super_admin').request(method, `/users/${by('super_admin').id}${path}`, body);
      expect([status, json.code]).toEqual([409, 'last_super_admin']);
      expect(await left()).toBe(1);
    });
  it('counts no account that is deactivated, nor a role that was granted for a time', async () => {
    const { db } = server.database;
    const other = await newUser('super_admin');
    const granted = await newUser();
    const [role] = await db('roles').where({ name: 'super_admin' });
    await db('roleGrants').insert({ userId: granted.id, roleId: role.id });
    await onlySuperAdmins(by('super_admin').id, other.id);
    expect((await by('super_admin').request('POST', `/users/${other.id}/deactivate`)).status).toBe(200);
    const own = `/users/${by('super_admin').id}/role`;
    expect((await by('super_admin').request('PUT', own, { role: 'admin' })).json.code).toBe('last_super_admin');
    expect((await by('super_admin').request('POST', `/users/${other.id}/reactivate`)).status).toBe(200);
    expect((await by('super_admin').request('PUT', own, { role: 'admin' })).status).toBe(200);
    await giveRole(server, by('super_admin').id, 'super_admin');
  });
  it('of two who demote, deactivate or close each other at once, one remains', async () => {
    const [one, other] = [
      await callerOf(server, { role: 'super_admin' }),
      await callerOf(server, { role: 'super_admin' }),
    ];
    const rounds = onPostgres ? 30 : 3;
    for (let round = 0; round < rounds; round++) {
      await onlySuperAdmins(one.id, other.id);
      await server.database.db('users').whereIn('id', [one.id, other.id]).update({ status: 'active' });
      const attack = (by: TestCaller, { id }: TestCaller) =>
        round % 2
          ? by.request('PUT', `/users/${id}/role`, { role: 'user' })
          : by.request('PUT', `/users/${id}/role`, { role: 'admin' });
      const answers = await Promise.all([attack(one, other), attack(other, one)]);
      expect(await left()).toBe(1);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      for (const { status, json } of answers.filter(({ status }) => status !== 200))
        expect([
          [403, 'missing_permission'],
          [403, 'rank_too_low'],
          [409, 'last_super_admin'],
        ]).toContainEqual([status, json.code]);
    }
  }, 60_000);
});
