/**
 * Who may do what is remembered, and what is remembered is true: at once on the replica that made a change, and a second later on
 * the others, however the change was made and whatever has become of the channel that tells of it.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Db } from '../../db/connect.ts';
import { quietTables } from '../../db/writes.ts';
import type { App } from '../../src/app.ts';
import { findStanding } from '../../src/clients/standing.queries.ts';
import { findPaths } from '../../src/organizations/paths.queries.ts';
import { findUserAccess } from '../../src/roles/access.queries.ts';
import { registerAccount } from '../support/browser.ts';
import { callerOf, requester, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { openRelay } from '../support/relay.ts';
import { type Replica, startReplica } from '../support/replicas.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let db: Db;
let replica: Replica | undefined;
beforeAll(async () => {
  server = await startServer();
  db = server.database.db;
  if (onPostgres) replica = await startReplica(server);
});
afterAll(async () => {
  await replica?.stop();
  await server.stop();
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const insert = async (table: string, row: Record<string, unknown>): Promise<string> => {
  const [{ id }] = (await db(table).insert(row).returning('id')) as [{ id: string }];
  return id;
};
const roleId = async (name: string): Promise<string> => (await db('roles').where({ name }).first('id')).id;
const permissionId = async (name: string): Promise<string> => {
  await db('permissions').insert({ name }).onConflict('name').ignore();
  return (await db('permissions').where({ name }).first('id')).id;
};

/** Somebody who has some of everything. */
const createWorld = async () => {
  const email = await registerAccount(server);
  const { id: userId } = await db('users').where({ email }).first('id');
  const name = randomUUID().slice(0, 8);
  const above = await insert('organizations', { name: `above ${name}` });
  const organizationId = await insert('organizations', { name, parentId: above });
  await db('organizationMembers').insert({ organizationId, userId });
  const [top, group] = await Promise.all([insert('groups', { name: `top ${name}` }), insert('groups', { name })]);
  await db('groups').where({ id: group }).update({ parentId: top });
  await db('groupMembers').insert({ groupId: group, userId });
  const [role, included] = await Promise.all(
    ['role', 'included'].map((kind) =>
      insert('roles', { name: `${kind}_${name.replace(/\d/g, 'x')}_${Date.now()}`, rank: 15 }),
    ),
  );
  const permission = `things_${name.replace(/\d/g, 'x')}:read:any`;
  await db('rolePermissions').insert({ roleId: role, permissionId: await permissionId(permission) });
  await db('roleInheritance').insert({ roleId: role, parentId: included });
  const grant = await insert('roleGrants', { groupId: top, roleId: role });
  const denial = await insert('permissionGrants', {
    userId,
    permissionId: await permissionId('things:write:any'),
    effect: 'deny',
  });
  const domainId = await insert('domains', { key: `d-${name}`, name });
  await db('domainMembers').insert({ domainId, userId });
  const clientId = `client-${name}`;
  await db('clients').insert({
    clientId,
    clientName: name,
    kind: 'registered',
    rank: 0,
    scope: 'users:read:own',
    createdBy: userId,
  });
  return {
    ...{ userId, email, above, organizationId, top, group, role, included, permission, grant, denial },
    ...{ domainId, clientId, name },
  };
};
type World = Awaited<ReturnType<typeof createWorld>>;

const asKnown = (access: unknown): unknown => {
  const { changesInMs: _, ...rest } = (access ?? {}) as { changesInMs?: number };
  return JSON.parse(JSON.stringify(rest));
};

/** What is asked of the caches, as it is in the database. */
const truth = async ({ userId, organizationId, clientId }: World) => [
  asKnown(await findUserAccess(db, userId)),
  await findPaths(db, 'user', userId),
  await findPaths(db, 'organization', organizationId),
  (await findStanding(db, clientId)) ?? null,
];
const told = async ({ access }: App, { userId, organizationId, clientId }: World) => [
  asKnown(await access.of(userId)),
  await access.paths('user', userId),
  await access.paths('organization', organizationId),
  (await access.standingOf(clientId)) ?? null,
];

/** Waits until something is remembered of these people: not at once where proof of the channel is slow to come. */
const remembered = async ({ access }: Pick<App, 'access'>, ...ids: string[]): Promise<void> =>
  eventually(async () => {
    await access.ofMany(ids);
    return ids.every((id) => access.peek(id));
  }, 'it is remembered');

type Change = [table: string, what: string, change: (world: World) => Promise<unknown>];
const changes: Change[] = [
  ['users', 'somebody is deactivated', ({ userId: id }) => db('users').where({ id }).update({ status: 'deactivated' })],
  [
    'users',
    'the primary role changes',
    async ({ userId: id }) =>
      db('users')
        .where({ id })
        .update({ roleId: await roleId('admin') }),
  ],
  [
    'users',
    'somebody is deleted',
    async ({ userId: id, clientId }) => {
      await db('clients').where({ clientId }).update({ createdBy: null });
      await db('users').where({ id }).delete();
    },
  ],
  [
    'role_grants',
    'a role is given',
    async ({ userId, organizationId }) =>
      db('roleGrants').insert({ userId, organizationId, roleId: await roleId('manager') }),
  ],
  [
    'role_grants',
    'a role is given to a group above',
    async ({ top: groupId }) => db('roleGrants').insert({ groupId, roleId: await roleId('operator') }),
  ],
  [
    'role_grants',
    'a grant goes to another group',
    ({ grant: id, above: _, ...world }) =>
      db('roleGrants').where({ id }).update({ groupId: null, userId: world.userId, roleId: world.included }),
  ],
  ['role_grants', 'a role is taken from a group', ({ grant: id }) => db('roleGrants').where({ id }).delete()],
  [
    'role_grants',
    'a grant ends',
    ({ grant: id }) =>
      db('roleGrants')
        .where({ id })
        .update({ startsAt: new Date(0), expiresAt: new Date(1) }),
  ],
  ['permission_grants', 'a denial is taken back', ({ denial: id }) => db('permissionGrants').where({ id }).delete()],
  [
    'permission_grants',
    'a denial becomes an allowance',
    ({ denial: id }) => db('permissionGrants').where({ id }).update({ effect: 'allow' }),
  ],
  [
    'permission_grants',
    'a group is denied something',
    async ({ top: groupId }) =>
      db('permissionGrants').insert({ groupId, permissionId: await permissionId('things:read:any'), effect: 'deny' }),
  ],
  ['group_members', 'somebody leaves a group', ({ userId }) => db('groupMembers').where({ userId }).delete()],
  [
    'group_members',
    'somebody moves to another group',
    ({ userId, top: groupId }) => db('groupMembers').where({ userId }).update({ groupId }),
  ],
  ['groups', 'a group above becomes inactive', ({ top: id }) => db('groups').where({ id }).update({ isActive: false })],
  [
    'groups',
    'a group moves from under another',
    ({ group: id }) => db('groups').where({ id }).update({ parentId: null }),
  ],
  ['groups', 'a group gets another name', ({ group: id }) => db('groups').where({ id }).update({ name: 'other' })],
  ['groups', 'a group is deleted', ({ group: id }) => db('groups').where({ id }).delete()],
  ['roles', 'a role ranks higher', ({ role: id }) => db('roles').where({ id }).update({ rank: 70 })],
  ['roles', 'a role is deleted', ({ role: id }) => db('roles').where({ id }).delete()],
  [
    'role_permissions',
    'a role gets a permission',
    async ({ included }) =>
      db('rolePermissions').insert({ roleId: included, permissionId: await permissionId('things:list:any') }),
  ],
  [
    'role_permissions',
    'a role loses a permission',
    ({ role }) => db('rolePermissions').where({ roleId: role }).delete(),
  ],
  [
    'role_inheritance',
    'a role includes another',
    async ({ included }) => db('roleInheritance').insert({ roleId: included, parentId: await roleId('moderator') }),
  ],
  [
    'role_inheritance',
    'a role includes another no more',
    ({ role }) => db('roleInheritance').where({ roleId: role }).delete(),
  ],
  ['permissions', 'a permission is deleted', ({ permission: name }) => db('permissions').where({ name }).delete()],
  [
    'permissions',
    'a permission gets another name',
    ({ permission: name }) =>
      db('permissions')
        .where({ name })
        .update({ name: name.replace('read', 'see') }),
  ],
  [
    'organization_members',
    'somebody leaves an organization',
    ({ userId }) => db('organizationMembers').where({ userId }).delete(),
  ],
  [
    'organization_members',
    'a member becomes an owner',
    ({ userId }) => db('organizationMembers').where({ userId }).update({ isOwner: true }),
  ],
  [
    'organization_members',
    'somebody joins another',
    ({ userId, above: organizationId }) => db('organizationMembers').insert({ userId, organizationId }),
  ],
  [
    'organizations',
    'an organization becomes inactive',
    ({ organizationId: id }) => db('organizations').where({ id }).update({ isActive: false }),
  ],
  [
    'organizations',
    'an organization gets another name',
    ({ organizationId: id }) => db('organizations').where({ id }).update({ name: 'other' }),
  ],
  [
    'organizations',
    'an organization moves',
    ({ organizationId: id }) => db('organizations').where({ id }).update({ parentId: null }),
  ],
  [
    'organizations',
    'an organization is deleted',
    ({ organizationId: id }) => db('organizations').where({ id }).delete(),
  ],
  ['domain_members', 'somebody leaves a domain', ({ userId }) => db('domainMembers').where({ userId }).delete()],
  [
    'domains',
    'a domain gets another key',
    ({ domainId: id, name }) =>
      db('domains')
        .where({ id })
        .update({ key: `other-${name}` }),
  ],
  ['domains', 'a domain is deleted', ({ domainId: id }) => db('domains').where({ id }).delete()],
  [
    'clients',
    'a client gets another scope',
    ({ clientId }) => db('clients').where({ clientId }).update({ scope: 'users:write:own' }),
  ],
  ['clients', 'a client is deleted', ({ clientId }) => db('clients').where({ clientId }).delete()],
];

describe('no stale answer', () => {
  it('of a table that is not in this list', async () => {
    const { rows } = (await db.raw(
      `select distinct tgrelid::regclass::text as name from pg_trigger where tgname like '%\\_tell\\_%' order by 1`,
    )) as { rows: { name: string }[] };
    // What is remembered for tokens alone: token-caches.test.ts.
    const ofTokens = ['resource_server_clients', 'resource_servers', 'software_policies'];
    expect(rows.map(({ name }) => name)).toEqual(
      [...new Set([...changes.map(([table]) => table), ...ofTokens])].sort(),
    );
  });

  it('because a table that is written all the time was taken for harmless', async () => {
    const { rows } = (await db.raw(
      `with recursive reached (name) as (
         select conrelid from pg_constraint where contype = 'f' and confdeltype in ('c', 'n')
           and confrelid::regclass::text = any(:quiet)
         union
         select conrelid from pg_constraint join reached on confrelid = reached.name
           where contype = 'f' and confdeltype in ('c', 'n')
       ) select name::regclass::text as name from reached
         where name::regclass::text in (select tgrelid::regclass::text from pg_trigger where tgname like '%\\_tell\\_%')
           -- What is given to keys is not remembered.
           and name::regclass::text not in ('role_grants', 'permission_grants')`,
      { quiet: [...quietTables] },
    )) as { rows: { name: string }[] };
    expect(rows).toEqual([]);
    const { rows: tables } = (await db.raw(`select tablename as name from pg_tables where schemaname = 'public'`)) as {
      rows: { name: string }[];
    };
    for (const name of quietTables) expect(tables.map((table) => table.name)).toContain(name);
  });

  it.each(changes)('%s: when %s', async (_table, _what, change) => {
    const world = await createWorld();
    const before = await truth(world);
    const others = replica ? [replica.app] : [];
    for (const app of [server.app, ...others]) {
      expect(await told(app, world)).toEqual(before);
      await remembered(app, world.userId);
      expect(await told(app, world)).toEqual(before);
    }
    const done = change(world);
    await done;
    const at = performance.now();
    // Here it is in force before anybody can ask.
    expect(server.app.access.peek(world.userId)).toBeUndefined();
    const now = await told(server.app, world);
    const after = await truth(world);
    expect(after).not.toEqual(before);
    expect(now).toEqual(after);
    await sleep(Math.max(0, 1000 - (performance.now() - at)));
    for (const app of others) expect(await told(app, world)).toEqual(after);
  });

  it('of many people at once', async () => {
    const ids = Array.from({ length: 160 }, () => randomUUID());
    const role = await roleId('user');
    await db('users').insert(
      ids.map((id) => ({ id, email: `${id}@example.com`, name: 'x', status: 'active', roleId: role })),
    );
    expect((await server.app.access.ofMany(ids)).size).toBe(160);
    await remembered(server.app, ...ids);
    await db('users')
      .whereIn('id', ids)
      .update({ roleId: await roleId('operator') });
    const found = await server.app.access.ofMany(ids);
    expect(new Set([...found.values()].map(({ roles }) => roles.join()))).toEqual(new Set(['operator']));
  });

  it('after a temporary grant has ended, or begun, whether jobs run or not', async () => {
    const { userId } = await createWorld();
    const at = Date.now();
    await db('roleGrants').insert([
      { userId, roleId: await roleId('operator'), expiresAt: new Date(at + 1500) },
      { userId, roleId: await roleId('moderator'), startsAt: new Date(at + 1500) },
    ]);
    const app = replica?.app ?? server.app;
    const roles = async () => (await app.access.of(userId))?.roles;
    for (;;) {
      const now = await roles();
      // An answer that came later may have been asked for too late.
      if (Date.now() > at + 1450) break;
      expect(now).toContain('operator');
      expect(now).not.toContain('moderator');
      await sleep(50);
    }
    await sleep(at + 1520 - Date.now());
    expect(await roles()).not.toContain('operator');
    expect(await roles()).toContain('moderator');
  });
});

describe('a request', () => {
  const accessQueries = async (work: () => Promise<unknown>, on: Db = db) => {
    const counts = { all: 0, access: 0 };
    const count = ({ sql }: { sql: string }) => {
      counts.all++;
      if (/held_grants|first_party as trusted/.test(sql)) counts.access++;
    };
    on.on('query', count);
    try {
      await work();
    } finally {
      on.removeListener('query', count);
    }
    return counts;
  };
  /** Waits until that is what it takes: more is asked where proof of the channel is slow to come, or older than a second. */
  const expectQueries = (work: () => Promise<unknown>, expected: Awaited<ReturnType<typeof accessQueries>>) =>
    eventually(
      async () => isDeepStrictEqual(await accessQueries(work), expected),
      `a request that takes ${JSON.stringify(expected)}`,
    );

  it('with a JWT asks the database one question, which `/auth/me` is answered from', async () => {
    const { request } = await callerOf(server);
    await request('get', '/auth/me');
    await expectQueries(() => request('get', '/auth/me'), { all: 1, access: 0 });
  });

  it('with an API key asks one', async () => {
    const { request } = await callerOf(server);
    const { json } = await request('post', '/api-keys', { name: 'ci', scopes: ['users:read:own'] });
    const { request: byKey } = { request: requester(server, json.key) };
    await byKey('get', '/auth/me');
    await expectQueries(() => byKey('get', '/auth/me'), { all: 2, access: 0 });
  });

  it('is counted by where it was answered from', async () => {
    const { request } = await callerOf(server);
    await request('get', '/auth/me');
    const text = await (await fetch(`${server.address}/metrics`)).text();
    expect(text).toMatch(/^cache_requests_total\{cache="\w+",layer="memory",outcome="hit"\} [1-9]/m);
    expect(text).toMatch(/^cache_requests_total\{cache="\w+",layer="memory",outcome="miss"\} [1-9]/m);
  });

  it('is answered by what holds now, on the replica that took the role away and on the other', async () => {
    const admin = await callerOf(server, { role: 'admin' });
    const elsewhere = replica ? requester({ address: replica.address } as TestServer, admin.token) : undefined;
    const list = async (by: TestCaller['request'] | undefined) => (by ? (await by('get', '/users')).status : 403);
    expect(await list(admin.request)).toBe(200);
    if (elsewhere) expect(await list(elsewhere)).toBe(200);
    const boss = await callerOf(server, { role: 'super_admin' });
    expect((await boss.request('put', `/users/${admin.id}/role`, { role: 'user' })).status).toBeLessThan(300);
    expect(await list(admin.request)).toBe(403);
    await sleep(1000);
    expect(await list(elsewhere)).toBe(403);
  });
});

describe.runIf(onPostgres)('a replica that has lost the channel', () => {
  let lost: Replica | undefined;
  beforeEach(() => {
    lost = undefined;
  });

  /** Warms the replica, loses the channel, changes something, and sees what the replica says from a second later on. */
  const watch = async (replica: Replica, lose: () => Promise<unknown>) => {
    const { userId } = await createWorld();
    const { access } = replica.app;
    await remembered(replica.app, userId);
    expect((await access.of(userId))?.roles).not.toContain('operator');
    const keep = setInterval(() => void access.of(userId).catch(() => {}), 20);
    try {
      await lose();
      const id = await insert('roleGrants', { userId, roleId: await roleId('operator') });
      const at = performance.now();
      await sleep(1000);
      while (performance.now() < at + 2500) {
        expect((await access.of(userId))?.roles, `${performance.now() - at} ms later`).toContain('operator');
        await sleep(20);
      }
      await db('roleGrants').where({ id }).delete();
      await sleep(1000);
      expect((await access.of(userId))?.roles).not.toContain('operator');
      return userId;
    } finally {
      clearInterval(keep);
    }
  };

  it('since its connection was ended asks the database, and remembers again when it has another', async () => {
    const userId = await watch(replica as Replica, () =>
      db.raw(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'countersign listen' and datname = current_database()`,
      ),
    );
    await remembered((replica as Replica).app, userId);
    await remembered(server.app, userId);
  });

  it('without a word asks the database', async () => {
    const url = new URL(server.database.url as string);
    const relay = await openRelay(url.hostname, Number(url.port || 5432));
    const listenUrl = new URL(url);
    Object.assign(listenUrl, { hostname: '127.0.0.1', port: String(relay.port) });
    lost = await startReplica(server, { listenUrl: listenUrl.href });
    try {
      const userId = await watch(lost, async () => relay.silence());
      const begun = performance.now();
      // Twenty-five seconds if each waited for what is not heard any more.
      for (let count = 0; count < 100; count++) await lost.app.access.of(userId);
      expect(performance.now() - begun).toBeLessThan(12_500);
      await relay.cut();
      await relay.restore();
      await remembered(lost.app, userId);
    } finally {
      await relay.cut();
      await lost.stop();
    }
  });

  it('to a pooler that breaks LISTEN remembers nothing', async () => {
    const { userId } = await createWorld();
    const { createAccessChannel, createClock } = await import('../../adapters/access-channel.ts');
    const { createListening } = await import('../../db/listening.ts');
    const listening = createListening(server.database.url as string);
    // As if the connection that listens were not the one that asks.
    const stop = await listening.listen('access', () => {});
    const deaf = createAccessChannel(
      { writes: () => 0, catchUp: async (withinMs) => (await listening.catchUp(withinMs)) && false },
      createClock(),
    );
    expect([await deaf.prove(), deaf.isProven(), await deaf.prove()]).toEqual([false, false, false]);
    expect(userId).toBeDefined();
    await stop();
  });
});
