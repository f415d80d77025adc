/** What an organization's administrators may do with the accounts of its people, beyond who may at all (`authorization-matrix`). */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestCaller } from '../support/callers.ts';
import {
  addMember,
  grantPermission,
  grantRole,
  makeGroup,
  makeOrganization,
  makeRole,
} from '../support/organizations.ts';
import { mailCount } from '../support/requests.ts';
import { openRouteWorld, type World } from '../support/route-world.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let world: World;
/** Manages A. */
let manager: TestCaller;
let a: string;
let b: string;
beforeAll(async () => {
  server = await startServer();
  world = await openRouteWorld(server);
  const account = await world.account();
  a = (await makeOrganization(server, { managers: [account.id] })).id;
  b = (await makeOrganization(server)).id;
  manager = await world.signIn(account);
}, 60_000);
afterAll(() => server.stop());

const memberOf = async (organizationIds: readonly string[], role = 'user') => {
  const account = await world.account(role);
  for (const organizationId of organizationIds) await addMember(server, organizationId, account.id);
  return account;
};
const rowOf = (id: string) => server.database.db('users').where({ id }).first();
const change = (id: string, body: object) => manager.request('patch', `/users/${id}`, body);
const outcome = ({ status, json }: { status: number; json: { code?: string } }) => [status, json?.code];

describe('an account that holds more than whoever looks after it', () => {
  const holders: Record<string, () => Promise<string>> = {
    'a primary role': async () => (await memberOf([a], 'moderator')).id,
    'a role everywhere': async () => {
      const { id } = await memberOf([a]);
      await grantRole(server, { userId: id }, 'moderator');
      return id;
    },
    'a role there': async () => {
      const { id } = await memberOf([a]);
      const { name } = await makeRole(server, [], { rank: 55 });
      await grantRole(server, { userId: id }, name, { organizationId: a });
      return id;
    },
    'a role that begins later': async () => {
      const { id } = await memberOf([a]);
      await grantRole(server, { userId: id }, 'moderator', { startsAt: new Date(Date.now() + 3_600_000) });
      return id;
    },
    'a role by a group': async () => {
      const { id } = await memberOf([a]);
      const group = await makeGroup(server, { members: [id] });
      await grantRole(server, { groupId: group.id }, 'moderator');
      return id;
    },
  };
  for (const [how, make] of Object.entries(holders))
    it(`by ${how} is not theirs to change`, async () => {
      const id = await make();
      const before = await rowOf(id);
      expect(outcome(await change(id, { name: 'Changed' }))).toEqual([403, 'rank_too_low']);
      const profile = await manager.request('put', `/users/${id}/profile`, { name: 'Changed' });
      expect(outcome(profile)).toEqual([403, 'rank_too_low']);
      expect(await rowOf(id)).toEqual(before);
      // It is theirs to see.
      expect((await manager.request('get', `/users/${id}`)).status).toBe(200);
    });

  it('is, when it holds as much: another manager, a partner', async () => {
    const { id } = await memberOf([a]);
    await grantRole(server, { userId: id }, 'manager', { organizationId: a });
    expect((await change(id, { name: 'Changed' })).status).toBe(200);
    expect((await change((await memberOf([a], 'partner')).id, { name: 'Changed' })).status).toBe(200);
  });

  it('keeps who ranks low everywhere from those who own an organization', async () => {
    const helper = await world.account();
    await grantPermission(server, { userId: helper.id }, 'users:write:any');
    const caller = await world.signIn(helper);
    const { id } = await memberOf([]);
    await addMember(server, b, id, { isOwner: true });
    expect(outcome(await caller.request('patch', `/users/${id}`, { name: 'Changed' }))).toEqual([403, 'rank_too_low']);
    expect((await caller.request('patch', `/users/${(await memberOf([b])).id}`, { name: 'Changed' })).status).toBe(200);
  });
});

describe('an account that ranks high inside an organization', () => {
  const ways: [name: string, method: string, path: string, body?: object][] = [
    ['seeing its sessions', 'get', '/sessions'],
    ['seeing its sign-ins', 'get', '/sign-ins'],
    ['ending its sessions', 'delete', '/sessions'],
    ['taking its factors away', 'delete', '/mfa'],
    ['shutting it', 'post', '/deactivate'],
    ['closing it', 'delete', ''],
  ];
  const mighty = async () => {
    const { id } = await memberOf([b]);
    await grantRole(server, { userId: id }, 'admin', { organizationId: b });
    return id;
  };

  for (const [name, method, path, body] of ways)
    it(`is not for those who rank lower everywhere: ${name}`, async () => {
      const moderator = await world.account('moderator');
      for (const permission of ['mfa:reset:any', 'users:close:any'])
        await grantPermission(server, { userId: moderator.id }, permission);
      // Who they are in that organization does not count: what is done to the account is done everywhere.
      await addMember(server, b, moderator.id);
      await grantRole(server, { userId: moderator.id }, 'admin', { organizationId: b });
      const caller = await world.signIn(moderator);
      const id = await mighty();
      const before = await rowOf(id);
      expect(outcome(await caller.request(method, `/users/${id}${path}`, body))).toEqual([403, 'rank_too_low']);
      expect(await rowOf(id)).toEqual(before);
      const low = (await memberOf([b])).id;
      expect((await caller.request(method, `/users/${low}${path}`, body)).status).toBeLessThan(300);
      const admin = await world.signIn(await world.account('super_admin'));
      expect((await admin.request(method, `/users/${id}${path}`, body)).status).toBeLessThan(300);
    });

  it('is like any other once the organization is shut', async () => {
    const caller = await world.signIn(await world.account('moderator'));
    const { id: organizationId } = await makeOrganization(server);
    const { id } = await memberOf([organizationId]);
    await grantRole(server, { userId: id }, 'admin', { organizationId });
    const shut = () => caller.request('post', `/users/${id}/deactivate`);
    expect(outcome(await shut())).toEqual([403, 'rank_too_low']);
    await server.database.db('organizations').where({ id: organizationId }).update({ isActive: false });
    expect((await shut()).status).toBe(200);
  });
});

describe('taking an account over', () => {
  it('by its address is for nobody whose power ends at an organization', async () => {
    const { id } = await memberOf([a]);
    const before = await rowOf(id);
    for (const body of [
      { email: `${uuid()}@example.com` },
      { emailVerified: false },
      { name: 'x', emailVerified: true },
    ]) {
      const answer = await change(id, body);
      expect([...outcome(answer), answer.headers.get('www-authenticate')]).toEqual([
        403,
        'missing_permission',
        expect.stringContaining('scope="users:write:any"'),
      ]);
    }
    expect(await rowOf(id)).toEqual(before);
  });

  it('by its verified number neither; whoever it is, signs in here for that', async () => {
    const account = await memberOf([a]);
    const person = await world.signIn(account);
    const profile = (caller: TestCaller, phone_number: string) =>
      caller.request('put', `/users/${account.id}/profile`, { name: 'Ada', phone_number });
    expect((await profile(manager, '+4930901820')).status).toBe(200);
    const { verifyPhone } = await import('../../src/users/users.commands.ts');
    const { operator } = await import('../../src/audit/logs.commands.ts');
    await verifyPhone(server.database.db, server.app.secrets, operator, account.id, '+4930901820');
    expect((await profile(manager, '+4930901820')).json.phone_number_verified).toBe(true);
    expect(outcome(await profile(manager, '+4930901821'))).toEqual([403, 'missing_permission']);
    const answer = await profile(person, '+4930901821');
    expect([answer.status, answer.json.phone_number_verified]).toEqual([200, false]);
  });

  it('by shutting it, its factors or its sessions neither', async () => {
    const { id } = await memberOf([a]);
    for (const [method, path] of [
      ['post', 'deactivate'],
      ['post', 'reactivate'],
      ['delete', 'mfa'],
      ['delete', 'sessions'],
      ['get', 'sessions'],
    ] as const) {
      const answer = await manager.request(method, `/users/${id}/${path}`);
      expect([path, answer.status === 405 || answer.status === 404 ? 403 : answer.status]).toEqual([path, 403]);
    }
    expect((await manager.request('delete', `/users/${id}`, {})).status).toBe(403);
  });
});

describe('an account that begins in an organization', () => {
  const make = (body: object) =>
    manager.request('post', '/users', { email: `${uuid()}@example.com`, name: 'Ada', ...body });

  it('is a member with the role user, and sets its own password by mail', async () => {
    const email = `${uuid()}@example.com`;
    const { status, json } = await make({ email, organizationId: a });
    expect([status, json.role, json.emailVerified]).toEqual([201, 'user', false]);
    const { db } = server.database;
    expect(await db('organizationMembers').where({ userId: json.id }).select('organizationId', 'isOwner')).toEqual([
      { organizationId: a, isOwner: false },
    ]);
    expect(await world.mailed(email, /\/reset\?token=([\w-]+)/)).toBeTruthy();
    const events = await db('auditLogs').where({ targetId: json.id }).orderBy('id').pluck('action');
    expect(events).toEqual(['user.create', 'organization.add_member']);
    expect((await manager.request('get', `/users/${json.id}`)).status).toBe(200);
  });

  it('has no more than that', async () => {
    const count = async () => (await server.database.db('users').count())[0];
    const before = await count();
    for (const body of [
      {},
      { organizationId: a, role: 'manager' },
      { organizationId: a, role: 'partner' },
      { organizationId: a, emailVerified: true },
      { organizationId: a, password: 'correct horse battery staple' },
    ])
      expect(outcome(await make(body))).toEqual([403, 'missing_permission']);
    for (const organizationId of [b, uuid()])
      expect(outcome(await make({ organizationId }))).toEqual([404, 'organization_not_found']);
    expect(await count()).toEqual(before);
  });

  it('is not made in one that is gone, by anybody', async () => {
    const answer = await world.superAdmin.request('post', '/users', {
      email: `${uuid()}@example.com`,
      name: 'Ada',
      organizationId: uuid(),
    });
    expect(outcome(answer)).toEqual([404, 'organization_not_found']);
    expect(mailCount(server, answer.json.email)).toBe(0);
  });
});

describe('lists', () => {
  const idsOf = async (caller: TestCaller, query: string) => {
    const { status, json } = await caller.request('get', `/users?${query}`);
    expect(status).toBe(200);
    return json.data.map(({ id }: { id: string }) => id) as string[];
  };

  it('have full pages, whoever else there is in between', async () => {
    const owner = await world.account();
    const { id: organizationId } = await makeOrganization(server, { owners: [owner.id] });
    const caller = await world.signIn(owner);
    const members = [owner.id];
    for (let made = 0; made < 5; made++) {
      await memberOf([b]);
      members.push((await memberOf([organizationId])).id);
    }
    const seen: string[] = [];
    let cursor: string | null = '';
    for (let pages = 0; cursor !== null && pages < 9; pages++) {
      const { json } = await caller.request('get', `/users?limit=2${cursor ? `&cursor=${cursor}` : ''}`);
      cursor = json.nextCursor;
      expect(json.data).toHaveLength(2);
      seen.push(...json.data.map(({ id }: { id: string }) => id));
    }
    expect(seen).toEqual(members.toSorted());
  });

  it('tell nobody of one organization who is in another', async () => {
    const { id } = await memberOf([a, b]);
    const group = await makeGroup(server, { organizationId: b, members: [id] });
    const open = await makeGroup(server, { members: [id] });
    expect(await idsOf(manager, `limit=200&organizationId=${a}`)).toContain(id);
    for (const query of [
      `organizationId=${b}`,
      `organizationId=${uuid()}`,
      `groupId=${group.id}`,
      `groupId=${open.id}`,
    ])
      expect(await idsOf(manager, query)).toEqual([]);
    expect(await idsOf(world.superAdmin, `groupId=${group.id}`)).toEqual([id]);
    expect(await idsOf(world.superAdmin, `groupId=${open.id}&organizationId=${b}`)).toEqual([id]);
    const own = await makeGroup(server, { organizationId: a, members: [id] });
    expect(await idsOf(manager, `groupId=${own.id}`)).toEqual([id]);
  });

  it('leave out where it is denied, and whoever belongs there too', async () => {
    const account = await world.account();
    const { id: top } = await makeOrganization(server, { managers: [account.id] });
    const { id: child } = await makeOrganization(server, { parentId: top, members: [account.id] });
    const [inTop, inChild, inBoth] = [await memberOf([top]), await memberOf([child]), await memberOf([top, child])];
    await grantPermission(server, { userId: account.id }, 'users:read:organization', {
      effect: 'deny',
      organizationId: child,
    });
    const caller = await world.signIn(account);
    const ids = await idsOf(caller, 'limit=200');
    expect(ids).toContain(inTop.id);
    for (const { id } of [inChild, inBoth]) {
      expect(ids).not.toContain(id);
      expect((await caller.request('get', `/users/${id}`)).status).toBe(403);
    }
  });

  it('show nothing once the organization is shut, or the role has lapsed', async () => {
    const account = await world.account();
    const { id } = await makeOrganization(server, { members: [account.id] });
    const grant = await grantRole(server, { userId: account.id }, 'manager', { organizationId: id });
    const caller = await world.signIn(account);
    expect(await idsOf(caller, 'limit=200')).toEqual([account.id]);
    const { db } = server.database;
    await db('organizations').where({ id }).update({ isActive: false });
    expect((await caller.request('get', '/users')).status).toBe(403);
    await db('organizations').where({ id }).update({ isActive: true });
    expect((await caller.request('get', '/users')).status).toBe(200);
    await db('roleGrants').where({ id: grant }).delete();
    expect((await caller.request('get', '/users')).status).toBe(403);
  });
});

describe('profiles', () => {
  it('are replaced, not merged, and checked', async () => {
    const account = await world.account();
    const caller = await world.signIn(account);
    const path = `/users/${account.id}/profile`;
    const address = { street_address: '1 Analytical Row\nLondon', country: 'United Kingdom' };
    const full = { name: 'Ada', locale: 'en-GB', given_name: 'Ada', birthdate: '1815-12-10', address };
    const { json } = await caller.request('put', path, full);
    expect(json).toMatchObject({ ...full, id: account.id, phone_number_verified: false });
    expect((await caller.request('get', path)).json).toEqual(json);
    const less = await caller.request('put', path, { name: 'Ada', address: {} });
    expect(less.json).toEqual({
      ...{ id: account.id, name: 'Ada', locale: null, phone_number_verified: false },
      updatedAt: expect.any(String),
    });
    for (const wrong of [
      { birthdate: '1815-02-30' },
      { zoneinfo: 'Mars/Phobos' },
      { picture: 'javascript:alert(1)' },
      { phone_number: '030 901820' },
      { given_name: 'a\nb' },
      { address: { locality: 'a\0b' } },
    ])
      expect((await caller.request('put', path, { name: 'Ada', ...wrong })).status).toBe(400);
    // What is not the caller's to set is not taken.
    await caller.request('put', path, { name: 'Ada', phone_number: '+4930901820', phone_number_verified: true });
    expect((await caller.request('get', path)).json.phone_number_verified).toBe(false);
  });

  it('are gone with the account', async () => {
    const { id } = await world.account();
    await world.superAdmin.request('delete', `/users/${id}`, {});
    expect((await world.superAdmin.request('get', `/users/${id}/profile`)).status).toBe(404);
  });
});
