/** Roles, permissions and grants over REST: what there is, what is refused, and that nobody gives what they do not hold. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { seedDefaults } from '../../db/seeds.ts';
import { createKey, displayPrefix } from '../../src/api-keys/api-key-format.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { isMfaRequired } from '../../src/auth/second-factor-policy.ts';
import { findUserAccess } from '../../src/roles/access.queries.ts';
import { restoreDefaults } from '../../src/roles/defaults.commands.ts';
import { hashToken } from '../../src/secrets.ts';
import { callerOf, giveRole, machineOf, requester, type TestCaller } from '../support/callers.ts';
import { dumpTables } from '../support/dump.ts';
import {
  addMember,
  grantPermission,
  grantRole,
  makeGroup,
  makeOrganization,
  makeRole,
} from '../support/organizations.ts';
import type { Answer } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let root: TestCaller;
let admin: TestCaller;
let nobody: TestCaller;
beforeAll(async () => {
  server = await startServer();
  root = await callerOf(server, { role: 'super_admin' });
  // So that the first is not the last one.
  await callerOf(server, { role: 'super_admin' });
  admin = await callerOf(server, { role: 'admin' });
  nobody = await callerOf(server);
});
afterAll(() => server.stop());

const outcome = ({ status, json }: Answer) => [status, json?.code];
const newName = () => `role ${randomUUID().slice(0, 8)}`;
const hours = (count: number) => new Date(Date.now() + count * 3_600_000);
const newUser = async (role = 'user') => {
  const { db } = server.database;
  const id = randomUUID();
  const roleId = db('roles').where({ name: role }).select('id');
  await db('users').insert({ id, email: `${id}@example.com`, name: 'Ada', roleId });
  return id;
};
const create = async (by: TestCaller, body: object) => by.request('post', '/rbac/roles', body);
const heldBy = async (id: string) => (await findUserAccess(server.database.db, id))?.permissions ?? [];

describe('a role', () => {
  it('takes a name and permissions, and ranks as a user does', async () => {
    const name = newName();
    const { status, json } = await create(root, { name, permissions: ['invoices:read:any', 'users:read:any'] });
    expect([status, json]).toEqual([
      201,
      {
        ...{ id: expect.any(String), name, description: '', rank: 10, builtIn: false, inherits: [] },
        permissions: ['invoices:read:any', 'users:read:any'],
        effectivePermissions: ['invoices:read:any', 'users:read:any'],
        createdAt: expect.any(String),
        updatedAt: expect.any(String),
      },
    ]);
    for (const id of [json.id, encodeURIComponent(name)])
      expect((await root.request('get', `/rbac/roles/${id}`)).json).toEqual(json);
    const renamed = { name: newName(), description: 'Reads', permissions: ['users:read:any'], inherits: ['user'] };
    const changed = await root.request('patch', `/rbac/roles/${json.id}`, renamed);
    expect(changed.json).toMatchObject(renamed);
    expect(changed.json.effectivePermissions).toContain('sessions:read:own');
    expect((await root.request('delete', `/rbac/roles/${encodeURIComponent(renamed.name)}`)).status).toBe(204);
    expect(outcome(await root.request('get', `/rbac/roles/${json.id}`))).toEqual([404, 'role_not_found']);
  });

  it('includes others by others, and what is given later with them', async () => {
    const names = [newName(), newName(), newName()] as const;
    await create(root, { name: names[0], permissions: ['a:read:any'] });
    await create(root, { name: names[1], permissions: ['b:read:any'], inherits: [names[0]] });
    const { json } = await create(root, { name: names[2], permissions: [], inherits: [names[1]] });
    expect(json.effectivePermissions).toEqual(['a:read:any', 'b:read:any']);
    const id = await newUser();
    await root.request('post', `/rbac/users/${id}/roles`, { role: names[2] });
    await root.request('patch', `/rbac/roles/${encodeURIComponent(names[0])}`, { permissions: ['c:read:any'] });
    expect(await heldBy(id)).toEqual(expect.arrayContaining(['b:read:any', 'c:read:any']));
    expect(await heldBy(id)).not.toContain('a:read:any');
    const held = await root.request('get', `/rbac/users/${id}/roles`);
    expect(held.json.data).toContainEqual(
      expect.objectContaining({
        role: names[2],
        includes: [names[0], names[1]].sort(),
        source: 'grant',
        state: 'active',
      }),
    );
  });

  it('is listed in pages, the highest first, under both of its addresses', async () => {
    const all: { name: string; rank: number }[] = [];
    let cursor: string | undefined;
    do {
      const { json } = await root.request('get', `/rbac/roles?limit=3${cursor ? `&cursor=${cursor}` : ''}`);
      all.push(...json.data);
      cursor = json.nextCursor ?? undefined;
    } while (cursor);
    const { json } = await root.request('get', '/roles?limit=200');
    expect(all).toEqual(json.data);
    expect(all.map(({ rank }) => rank)).toEqual(all.map(({ rank }) => rank).sort((a, b) => b - a));
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    expect(outcome(await root.request('get', `/rbac/roles?cursor=${btoa('x')}`))).toEqual([400, 'invalid_request']);
  });

  describe('is refused', () => {
    let held: { id: string; name: string };
    let unheld: { id: string; name: string };
    beforeAll(async () => {
      held = await makeRole(server, ['users:read:any']);
      unheld = await makeRole(server, []);
      await newUser(held.name);
    });
    const refusals: [name: string, () => Promise<Answer>, [number, string]][] = [
      ['a name that is taken', () => create(root, { name: 'admin', permissions: [] }), [409, 'role_exists']],
      ['a name in another case', () => create(root, { name: 'ADMIN', permissions: [] }), [409, 'role_exists']],
      ['a name like an id', () => create(root, { name: randomUUID(), permissions: [] }), [400, 'invalid_request']],
      ['no name', () => create(root, { name: ' ', permissions: [] }), [400, 'invalid_request']],
      [
        'what is no permission',
        () => create(root, { name: newName(), permissions: ['everything'] }),
        [400, 'invalid_request'],
      ],
      [
        'to include what is not there',
        () => create(root, { name: newName(), permissions: [], inherits: ['nothing'] }),
        [400, 'invalid_request'],
      ],
      [
        'a rank below what it includes',
        () => create(root, { name: newName(), rank: 5, permissions: [], inherits: ['user'] }),
        [409, 'role_ranks'],
      ],
      [
        'a name of its own for a built-in one',
        () => root.request('patch', '/rbac/roles/user', { name: 'people' }),
        [409, 'role_built_in'],
      ],
      [
        'another rank for a built-in one',
        () => root.request('patch', '/rbac/roles/partner', { rank: 41 }),
        [409, 'role_built_in'],
      ],
      [
        'any change of super_admin',
        () => root.request('patch', '/rbac/roles/super_admin', { permissions: [] }),
        [409, 'role_built_in'],
      ],
      ['the end of a built-in one', () => root.request('delete', '/rbac/roles/partner'), [409, 'role_built_in']],
      [
        'the end of somebody’s primary role',
        () => root.request('delete', `/rbac/roles/${held.id}`),
        [409, 'role_in_use'],
      ],
      [
        'another rank for one that is held',
        () => root.request('patch', `/rbac/roles/${held.id}`, { rank: 20 }),
        [409, 'role_in_use'],
      ],
      [
        'to include itself',
        () => root.request('patch', `/rbac/roles/${unheld.id}`, { inherits: [unheld.name] }),
        [409, 'role_cycle'],
      ],
      ['nobody', () => nobody.request('get', '/rbac/roles'), [403, 'missing_permission']],
      ['a change by nobody', () => create(nobody, { name: newName(), permissions: [] }), [403, 'missing_permission']],
    ];
    for (const [name, run, expected] of refusals)
      it(name, async () => {
        const before = await dumpTables(server.database.db, ['public']);
        expect(outcome(await run())).toEqual(expected);
        const after = await dumpTables(server.database.db, ['public']);
        expect({ ...after, 'public.audit_logs': [] }).toMatchObject(
          Object.fromEntries(Object.entries(before).filter(([table]) => /role|permission/.test(table))),
        );
      });
  });

  it('has no cycle, however long, and is no deeper than ten', async () => {
    const names: string[] = [];
    for (let level = 1; level <= 10; level++) {
      names.push(newName());
      const inherits = names.slice(-2, -1);
      expect((await create(root, { name: names.at(-1), permissions: [], inherits })).status).toBe(201);
    }
    const [first = '', last = ''] = [names[0], names[9]].map((name) => encodeURIComponent(name as string));
    expect(outcome(await root.request('patch', `/rbac/roles/${first}`, { inherits: [names[9]] }))).toEqual([
      409,
      'role_cycle',
    ]);
    expect(outcome(await root.request('patch', `/rbac/roles/${first}`, { inherits: ['user'] }))).toEqual([
      409,
      expect.stringMatching(/role_too_deep|role_ranks/),
    ]);
    expect(outcome(await create(root, { name: newName(), permissions: [], inherits: [names[9]] }))).toEqual([
      409,
      'role_too_deep',
    ]);
    expect((await root.request('delete', `/rbac/roles/${last}`)).status).toBe(204);
  });

  it('of two changes at once that make a cycle together, one is refused', async () => {
    for (let round = 0; round < 5; round++) {
      const roles = await Promise.all([makeRole(server, []), makeRole(server, []), makeRole(server, [])]);
      const answers = await Promise.all(
        roles.map(({ id }, at) =>
          root.request('patch', `/rbac/roles/${id}`, { inherits: [roles[(at + 1) % 3]?.name as string] }),
        ),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 409]);
    }
  });
});

describe('the catalogue of permissions', () => {
  it('has this service’s own and those of applications, in order and in pages', async () => {
    const name = 'zebra-herds2:read:any';
    expect((await root.request('post', '/rbac/permissions', { name, description: 'See zebras' })).status).toBe(201);
    const all: { name: string }[] = [];
    let cursor: string | undefined;
    do {
      const { json } = await root.request('get', `/rbac/permissions?limit=20${cursor ? `&cursor=${cursor}` : ''}`);
      all.push(...json.data);
      cursor = json.nextCursor ?? undefined;
    } while (cursor);
    const names = all.map((one) => one.name);
    expect(names).toEqual([...new Set(names)].sort());
    expect(all).toContainEqual({ name, description: 'See zebras', builtIn: false });
    expect(all).toContainEqual({ name: 'users:read:any', description: 'See every account', builtIn: true });
    expect(names.some((one) => one.includes('*'))).toBe(false);
    const { json } = await root.request('get', '/rbac/permissions?q=zebra-herds2:');
    expect(json.data).toHaveLength(1);
  });

  const refusals: [string, string, string, object | undefined, [number, string]][] = [
    ['a wildcard', 'post', '', { name: 'zebras:*:any' }, [400, 'invalid_request']],
    ['another text for our own', 'post', '', { name: 'users:read:any' }, [409, 'permission_built_in']],
    ['the end of our own', 'delete', '/users:read:any', undefined, [409, 'permission_built_in']],
    ['the end of what is not there', 'delete', '/unicorns:read:any', undefined, [404, 'permission_not_found']],
    ['the end of what a role has', 'delete', '/horses:read:any', undefined, [409, 'permission_in_use']],
  ];
  for (const [name, method, path, body, expected] of refusals)
    it(`refuses ${name}`, async () => {
      await makeRole(server, ['horses:read:any']);
      expect(outcome(await root.request(method, `/rbac/permissions${path}`, body))).toEqual(expected);
    });

  it('loses what nobody has', async () => {
    await root.request('post', '/rbac/permissions', { name: 'dodos:read:any' });
    expect((await root.request('delete', '/rbac/permissions/dodos:read:any')).status).toBe(204);
    expect((await root.request('get', '/rbac/permissions?q=dodos')).json.data).toEqual([]);
  });
});

describe('a grant', () => {
  it('counts at once, is changed by the same again, and is listed with why', async () => {
    const who = await callerOf(server);
    expect(outcome(await who.request('get', '/users'))).toEqual([403, 'missing_permission']);
    const grant = (body: object) => root.request('post', `/rbac/users/${who.id}/roles`, { role: 'moderator', ...body });
    const first = await grant({ expiresAt: hours(1).toISOString() });
    expect([first.status, first.json]).toEqual([
      201,
      {
        ...{ id: expect.any(String), role: 'moderator', organizationId: null },
        startsAt: expect.any(String),
        expiresAt: expect.any(String),
        createdAt: expect.any(String),
      },
    ]);
    expect(await heldBy(who.id)).toContain('users:read:any');
    const again = await grant({});
    expect(again.json).toEqual({ ...first.json, expiresAt: null });
    const { json } = await root.request('get', `/rbac/users/${who.id}/roles`);
    const place = { group: null, organizationId: null, expiresAt: null, state: 'active', includes: [] };
    expect(json.data).toEqual([
      { ...place, id: first.json.id, role: 'moderator', rank: 60, source: 'grant', startsAt: first.json.startsAt },
      { ...place, id: null, role: 'user', rank: 10, source: 'primary', startsAt: null },
    ]);
    const gone = await root.request('delete', `/rbac/users/${who.id}/roles/${first.json.id}`);
    expect([gone.status, await heldBy(who.id)]).toEqual([204, expect.not.arrayContaining(['users:read:any'])]);
    expect(outcome(await root.request('delete', `/rbac/users/${who.id}/roles/${first.json.id}`))).toEqual([
      404,
      'grant_not_found',
    ]);
  });

  it('begins and lapses by the clock, whether a job runs or not, and is cleaned a month later', async () => {
    const { db } = server.database;
    const id = await newUser();
    const { json } = await root.request('post', `/rbac/users/${id}/permissions`, {
      ...{ permission: 'later:read:any', startsAt: hours(1).toISOString(), expiresAt: hours(2).toISOString() },
    });
    const list = async (state = '') =>
      (await root.request('get', `/rbac/users/${id}/permissions${state}`)).json.data.map(
        (one: { state: string }) => one.state,
      );
    expect([await heldBy(id), await list()]).toEqual([expect.not.arrayContaining(['later:read:any']), ['later']]);
    const { json: effective } = await root.request('get', `/rbac/users/${id}/effective`);
    expect(Math.abs(Date.parse(effective.changesAt) - hours(1).getTime())).toBeLessThan(60_000);
    await db('permissionGrants')
      .where({ id: json.id })
      .update({ startsAt: hours(-1) });
    expect([await heldBy(id), await list()]).toEqual([expect.arrayContaining(['later:read:any']), ['active']]);
    await db('permissionGrants')
      .where({ id: json.id })
      .update({ expiresAt: hours(-0.5) });
    expect([await heldBy(id), await list(), await list('?state=lapsed')]).toEqual([
      expect.not.arrayContaining(['later:read:any']),
      [],
      ['lapsed'],
    ]);
    await cleanExpired(db);
    expect(await list('?state=lapsed')).toEqual(['lapsed']);
    await db('permissionGrants')
      .where({ id: json.id })
      .update({ startsAt: hours(-24 * 40), expiresAt: hours(-24 * 31) });
    await cleanExpired(db);
    expect(await list('?state=lapsed')).toEqual([]);
  });

  it('of a group is its members’, and is listed with the group', async () => {
    const id = await newUser();
    const group = await makeGroup(server, { members: [id] });
    const above = await makeGroup(server, {});
    await server.database.db('groups').where({ id: group.id }).update({ parentId: above.id });
    expect((await root.request('post', `/rbac/groups/${above.id}/roles`, { role: 'moderator' })).status).toBe(201);
    const denial = { permission: 'sessions:end:any', effect: 'deny' };
    expect((await root.request('post', `/rbac/groups/${group.id}/permissions`, denial)).status).toBe(201);
    expect(await heldBy(id)).toEqual(expect.arrayContaining(['users:read:any', '!sessions:end:any']));
    const roles = await root.request('get', `/rbac/users/${id}/roles`);
    expect(roles.json.data).toContainEqual(
      expect.objectContaining({ role: 'moderator', source: 'group', group: { id: above.id, name: above.name } }),
    );
    const passed = await root.request('get', `/rbac/groups/${group.id}/roles`);
    expect(passed.json.data).toEqual([expect.objectContaining({ role: 'moderator', source: 'group' })]);
    const effective = await root.request('get', `/rbac/users/${id}/effective`);
    expect(effective.json.grants).toContainEqual({
      ...{ permission: 'users:read:any', effect: 'allow', role: 'moderator', groupId: above.id },
    });
  });

  it('in an organization counts there and beneath it, as far as that', async () => {
    const id = await newUser();
    const organization = await makeOrganization(server, { members: [id] });
    const grant = { role: 'moderator', organizationId: organization.id };
    expect((await root.request('post', `/rbac/users/${id}/roles`, grant)).status).toBe(201);
    const access = await findUserAccess(server.database.db, id);
    expect(access?.permissions).not.toContain('users:read:any');
    expect(access?.organizations[0]).toMatchObject({ id: organization.id, rank: 60 });
    expect(access?.organizations[0]?.permissions).toContain('users:read:organization');
    const { json } = await root.request('get', `/rbac/users/${id}/effective`);
    expect(json.organizations[0].roles).toEqual(['moderator']);
    await server.database.db('organizationMembers').where({ userId: id }).delete();
    const listed = await root.request('get', `/rbac/users/${id}/roles?state=inactive`);
    expect(listed.json.data).toEqual([expect.objectContaining({ role: 'moderator', organizationId: organization.id })]);
  });

  it('is one of five hundred at most', async () => {
    const { db } = server.database;
    const id = await newUser();
    const organizations = await db('organizations')
      .insert(Array.from({ length: 500 }, () => ({ name: 'Acme' })))
      .returning('id');
    const { id: roleId } = await db('roles').where({ name: 'user' }).first('id');
    await db('roleGrants').insert(
      organizations.map((one: { id: string }) => ({ userId: id, roleId, organizationId: one.id })),
    );
    const give = () => root.request('post', `/rbac/users/${id}/roles`, { role: 'user' });
    expect(outcome(await give())).toEqual([409, 'too_many_grants']);
    const { json } = await root.request('get', `/rbac/users/${id}/roles?limit=1`);
    await root.request('delete', `/rbac/users/${id}/roles/${json.data[0].id}`);
    expect((await give()).status).toBe(201);
    expect((await give()).status).toBe(201);
  });

  describe('is refused', () => {
    const refusals: [string, () => Promise<[string, object]>, [number, string]][] = [
      ['for nobody', async () => [`users/${randomUUID()}/roles`, { role: 'user' }], [404, 'user_not_found']],
      ['for no group', async () => [`groups/${randomUUID()}/roles`, { role: 'user' }], [404, 'group_not_found']],
      ['for no key', async () => [`api-keys/${randomUUID()}/roles`, { role: 'user' }], [404, 'api_key_not_found']],
      ['of no role', async () => [`users/${await newUser()}/roles`, { role: 'x' }], [400, 'invalid_request']],
      [
        'that ends before it begins',
        async () => [
          `users/${await newUser()}/roles`,
          { role: 'user', startsAt: hours(2).toISOString(), expiresAt: hours(1).toISOString() },
        ],
        [400, 'invalid_request'],
      ],
      [
        'that is over',
        async () => [`users/${await newUser()}/roles`, { role: 'user', expiresAt: hours(-1).toISOString() }],
        [400, 'invalid_request'],
      ],
      [
        'in no organization',
        async () => [`users/${await newUser()}/roles`, { role: 'user', organizationId: randomUUID() }],
        [404, 'organization_not_found'],
      ],
      [
        'where the person is no member',
        async () => [
          `users/${await newUser()}/roles`,
          { role: 'user', organizationId: (await makeOrganization(server)).id },
        ],
        [409, 'not_a_member'],
      ],
      [
        'of what has another name',
        async () => [`users/${await newUser()}/permissions`, { permission: 'teams:read:any', effect: 'deny' }],
        [400, 'invalid_request'],
      ],
      [
        'of what is one’s own, in an organization',
        async () => [
          `users/${await newUser()}/permissions`,
          {
            permission: 'users:write:own',
            effect: 'deny',
            organizationId: (await makeOrganization(server)).id,
          },
        ],
        [400, 'invalid_request'],
      ],
      [
        'where the group does not lie',
        async () => [
          `groups/${(await makeGroup(server, { organizationId: (await makeOrganization(server)).id })).id}/roles`,
          { role: 'user', organizationId: (await makeOrganization(server)).id },
        ],
        [409, 'not_a_member'],
      ],
    ];
    for (const [name, request, expected] of refusals)
      it(name, async () => {
        const [path, body] = await request();
        expect(outcome(await root.request('post', `/rbac/${path}`, body))).toEqual(expected);
      });
  });
});

describe('nobody gives what they do not hold', () => {
  /** May give, and read accounts; nothing besides. */
  let giver: TestCaller;
  /** The same in an organization. */
  let manager: TestCaller;
  let organizationId: string;
  let other: { id: string; member: string };
  let member: string;
  let role: { id: string; name: string };
  let plain: { id: string; name: string };

  beforeAll(async () => {
    const held = await makeRole(server, ['roles:assign:any', 'roles:write:any', 'users:read:any'], { rank: 30 });
    giver = await callerOf(server, { prepare: (userId) => grantRole(server, { userId }, held.name) });
    role = await makeRole(server, ['audit:read:any'], { rank: 20 });
    plain = await makeRole(server, ['users:read:any'], { rank: 20 });
    const organization = await makeOrganization(server);
    organizationId = organization.id;
    manager = await callerOf(server, {
      prepare: async (userId) => {
        await addMember(server, organizationId, userId);
        await grantRole(server, { userId }, 'manager', { organizationId });
      },
    });
    const elsewhere = await newUser();
    other = { id: (await makeOrganization(server, { members: [elsewhere] })).id, member: elsewhere };
  });
  beforeEach(async () => {
    member = await newUser();
    await addMember(server, organizationId, member);
  });
  const makeKey = async (userId: string, scopes: readonly string[] = []) => {
    const { db } = server.database;
    const key = { id: randomUUID(), userId, name: 'a key', prefix: 'cs_000000', scopes: [...scopes] };
    await db('apiKeys').insert({ ...key, keyHash: randomUUID() });
    return key.id;
  };
  const exceeds = [403, 'exceeds_yours'];
  const low = [403, 'rank_too_low'];

  type Attempt = [
    who: () => TestCaller,
    method: string,
    path: string | (() => Promise<string> | string),
    body: object | (() => object),
  ];
  const byGiver = () => giver;
  const byManager = () => manager;
  const toMember = () => `/rbac/users/${member}/roles`;
  const refusals: [name: string, Attempt, expected: unknown[]][] = [
    [
      'by a new role',
      [byGiver, 'post', '/rbac/roles', () => ({ name: newName(), permissions: ['audit:read:any'] })],
      exceeds,
    ],
    [
      'by a wildcard',
      [byGiver, 'post', '/rbac/roles', () => ({ name: newName(), permissions: ['users:*:any'] })],
      exceeds,
    ],
    ['by a wider scope', [byManager, 'post', toMember, () => ({ role: 'moderator', organizationId })], low],
    [
      'by a new role above oneself',
      [byGiver, 'post', '/rbac/roles', () => ({ name: newName(), rank: 31, permissions: [] })],
      low,
    ],
    [
      'by a new role that includes one',
      [byGiver, 'post', '/rbac/roles', () => ({ name: newName(), rank: 20, permissions: [], inherits: [role.name] })],
      exceeds,
    ],
    [
      'by a change',
      [byGiver, 'patch', () => `/rbac/roles/${plain.id}`, { permissions: ['users:read:any', 'audit:read:any'] }],
      exceeds,
    ],
    [
      'by a change of everybody’s role',
      [byGiver, 'patch', '/rbac/roles/user', { permissions: ['audit:read:any'] }],
      exceeds,
    ],
    ['by inheritance', [byGiver, 'patch', () => `/rbac/roles/${plain.id}`, () => ({ inherits: [role.name] })], exceeds],
    ['by a change of a role above oneself', [byGiver, 'patch', '/rbac/roles/moderator', { description: 'x' }], low],
    [
      'by the end of a role above oneself',
      [byGiver, 'delete', async () => `/rbac/roles/${(await makeRole(server, [], { rank: 40 })).id}`, {}],
      low,
    ],
    ['by a role', [byGiver, 'post', toMember, () => ({ role: role.name })], exceeds],
    ['by a role that ranks higher', [byGiver, 'post', toMember, { role: 'admin' }], low],
    [
      'by a role, to oneself',
      [byGiver, 'post', () => `/rbac/users/${giver.id}/roles`, () => ({ role: role.name })],
      exceeds,
    ],
    [
      'by a role that begins later',
      [byGiver, 'post', toMember, () => ({ role: role.name, startsAt: hours(9).toISOString() })],
      exceeds,
    ],
    ['by the primary role', [byGiver, 'put', () => `/users/${member}/role`, () => ({ role: role.name })], exceeds],
    [
      'by a permission',
      [byGiver, 'post', () => `/rbac/users/${member}/permissions`, { permission: 'audit:read:any' }],
      exceeds,
    ],
    [
      'by a permission that is a wildcard',
      [byGiver, 'post', () => `/rbac/users/${member}/permissions`, { permission: '*:*:*' }],
      exceeds,
    ],
    [
      'by a permission of an application',
      [byGiver, 'post', () => `/rbac/users/${member}/permissions`, { permission: 'invoices:pay:any' }],
      exceeds,
    ],
    [
      'by a permission that begins later',
      [
        byGiver,
        'post',
        () => `/rbac/users/${member}/permissions`,
        () => ({ permission: 'audit:read:any', startsAt: hours(9).toISOString() }),
      ],
      exceeds,
    ],
    [
      'by a group',
      [
        byGiver,
        'post',
        async () => `/rbac/groups/${(await makeGroup(server, { members: [giver.id] })).id}/roles`,
        () => ({ role: role.name }),
      ],
      exceeds,
    ],
    [
      'by a group’s permission',
      [
        byGiver,
        'post',
        async () => `/rbac/groups/${(await makeGroup(server)).id}/permissions`,
        { permission: 'audit:read:any' },
      ],
      exceeds,
    ],
    [
      'by a key',
      [
        byGiver,
        'post',
        async () => `/rbac/api-keys/${await makeKey(giver.id)}/permissions`,
        { permission: 'audit:read:any' },
      ],
      exceeds,
    ],
    [
      'by a key’s role',
      [byGiver, 'post', async () => `/rbac/api-keys/${await makeKey(member)}/roles`, () => ({ role: role.name })],
      exceeds,
    ],
    [
      'to a key of somebody who ranks higher',
      [
        byGiver,
        'post',
        async () => `/rbac/api-keys/${await makeKey(admin.id)}/permissions`,
        { permission: 'users:read:any' },
      ],
      low,
    ],
    ['in an organization', [byGiver, 'post', toMember, () => ({ role: role.name, organizationId })], exceeds],
    [
      'everywhere, by what is held in an organization',
      [byManager, 'post', toMember, { role: 'user' }],
      [403, 'missing_permission'],
    ],
    [
      'everywhere, by a permission',
      [byManager, 'post', () => `/rbac/users/${member}/permissions`, { permission: 'users:read:organization' }],
      [403, 'missing_permission'],
    ],
    [
      'in another organization',
      [
        byManager,
        'post',
        () => `/rbac/users/${other.member}/roles`,
        () => ({ role: 'user', organizationId: other.id }),
      ],
      [404, 'organization_not_found'],
    ],
    [
      'to somebody of another organization',
      [byManager, 'post', () => `/rbac/users/${other.member}/roles`, () => ({ role: 'user', organizationId })],
      [404, 'user_not_found'],
    ],
    [
      'to nobody, told alike',
      [byManager, 'post', () => `/rbac/users/${randomUUID()}/roles`, () => ({ role: 'user', organizationId })],
      [404, 'user_not_found'],
    ],
    [
      'to a group of nobody’s organization',
      [
        byManager,
        'post',
        async () => `/rbac/groups/${(await makeGroup(server)).id}/roles`,
        () => ({ role: 'user', organizationId }),
      ],
      [404, 'group_not_found'],
    ],
    [
      'in an organization, more than is held there',
      [
        byManager,
        'post',
        () => `/rbac/users/${member}/permissions`,
        () => ({ permission: 'audit:read:any', organizationId }),
      ],
      exceeds,
    ],
    [
      'in an organization, to one who ranks higher',
      [
        byManager,
        'post',
        async () => {
          await giveRole(server, member, 'admin');
          return toMember();
        },
        () => ({ role: 'user', organizationId }),
      ],
      low,
    ],
    [
      'nor denies anything to one who ranks higher',
      [byGiver, 'post', () => `/rbac/users/${admin.id}/permissions`, { permission: 'users:read:any', effect: 'deny' }],
      low,
    ],
    [
      'nor to a group of such',
      [
        byGiver,
        'post',
        async () => `/rbac/groups/${(await makeGroup(server, { members: [admin.id] })).id}/permissions`,
        { permission: 'users:read:any', effect: 'deny' },
      ],
      low,
    ],
  ];
  for (const [name, [who, method, path, body], expected] of refusals)
    it(name, async () => {
      const url = typeof path === 'string' ? path : await path();
      const tables = async () => {
        const dump = await dumpTables(server.database.db, ['public']);
        return Object.entries(dump).filter(([table]) => /role|permission|group/.test(table));
      };
      const before = await tables();
      const answer = await who().request(method, url, typeof body === 'function' ? body() : body);
      expect(outcome(answer)).toEqual(expected);
      expect(await tables()).toEqual(before);
    });

  it('nor takes anything from a role that ranks higher, by one that it includes', async () => {
    const above = await makeRole(server, [], { rank: 40 });
    const part = await makeRole(server, ['users:read:any'], { rank: 20 });
    await server.database.db('roleInheritance').insert({ roleId: above.id, parentId: part.id });
    const path = `/rbac/roles/${part.id}`;
    expect(outcome(await giver.request('patch', path, { permissions: [] }))).toEqual(low);
    expect(outcome(await giver.request('delete', path))).toEqual(low);
    await server.database.db('roleInheritance').where({ roleId: above.id }).delete();
    expect((await giver.request('patch', path, { permissions: [] })).status).toBe(200);
  });

  it('and gives what they hold: everywhere, in an organization, by a group, to a key', async () => {
    const group = await makeGroup(server, { organizationId });
    const key = await makeKey(member);
    const done: [TestCaller, string, object][] = [
      [giver, `/rbac/users/${member}/roles`, { role: plain.name }],
      [giver, `/rbac/users/${member}/permissions`, { permission: 'users:read:organization' }],
      [giver, `/rbac/api-keys/${key}/permissions`, { permission: 'users:read:any' }],
      [manager, `/rbac/users/${member}/roles`, { role: 'manager', organizationId }],
      [manager, `/rbac/users/${member}/permissions`, { permission: 'users:read:any', organizationId }],
      [manager, `/rbac/groups/${group.id}/roles`, { role: plain.name, organizationId }],
    ];
    for (const [who, path, body] of done)
      expect([path, (await who.request('post', path, body)).status]).toEqual([path, 201]);
  });

  it('and sees and takes back what was given in their organization, and no more', async () => {
    const here = await grantRole(server, { userId: member }, 'user', { organizationId });
    const everywhere = await grantRole(server, { userId: member }, 'partner');
    const path = `/rbac/users/${member}/roles`;
    const { json } = await manager.request('get', path);
    expect(json.data.map(({ id }: { id: string }) => id)).toEqual([here]);
    expect(outcome(await manager.request('get', `/rbac/users/${other.member}/roles`))).toEqual([404, 'user_not_found']);
    expect(outcome(await manager.request('delete', `${path}/${everywhere}`))).toEqual([404, 'grant_not_found']);
    expect((await manager.request('delete', `${path}/${here}`)).status).toBe(204);
  });

  it('nor for longer than they hold it', async () => {
    const until = hours(5);
    const temporary = await callerOf(server, {
      prepare: (userId) => grantRole(server, { userId }, 'admin', { expiresAt: until }),
    });
    const give = async (body: object) =>
      outcome(await temporary.request('post', `/rbac/users/${member}/roles`, { role: 'moderator', ...body }));
    expect(await give({})).toEqual(low);
    expect(await give({ expiresAt: hours(6).toISOString() })).toEqual(low);
    expect(await give({ startsAt: hours(6).toISOString(), expiresAt: hours(7).toISOString() })).toEqual(low);
    expect(await give({ expiresAt: hours(4).toISOString() })).toEqual([201, undefined]);
    const own = { role: 'admin' };
    expect(outcome(await temporary.request('post', `/rbac/users/${temporary.id}/roles`, own))).toEqual(low);
    expect(outcome(await create(temporary, { name: newName(), permissions: ['audit:read:any'] }))).toEqual(exceeds);
  });

  it('nor past what their token passes on', async () => {
    const own = await callerOf(server, { role: 'super_admin', scope: 'roles:assign:any users:read:any' });
    const foreign = await callerOf(server, {
      ...{ role: 'super_admin', scope: 'roles:assign:any users:read:any', thirdParty: true },
    });
    const machine = await machineOf(server, 'roles:assign:any users:read:any');
    for (const [caller, code] of [
      [own, 'exceeds_yours'],
      [foreign, 'session_needed'],
      [machine, 'session_needed'],
    ] as const) {
      const give = async (permission: string) =>
        outcome(await caller.request('post', `/rbac/users/${member}/permissions`, { permission }));
      expect(await give('audit:read:any')).toEqual([403, code]);
      expect(await give('users:read:any')).toEqual([201, undefined]);
    }
  });

  it('nor what is denied to them', async () => {
    const denied = await callerOf(server, {
      role: 'admin',
      prepare: (userId) => grantPermission(server, { userId }, 'audit:read:any', { effect: 'deny' }),
    });
    const give = async (permission: string) =>
      outcome(await denied.request('post', `/rbac/users/${member}/permissions`, { permission }));
    expect(await give('audit:read:any')).toEqual(exceeds);
    expect(await give('audit:*:any')).toEqual(exceeds);
    expect(await give('audit:export:any')).toEqual([201, undefined]);
  });

  it('nor what is denied to them in a part of the place', async () => {
    const beneath = (await makeOrganization(server, { parentId: organizationId })).id;
    const limited = await callerOf(server, {
      prepare: async (userId) => {
        for (const id of [organizationId, beneath]) await addMember(server, id, userId);
        await grantRole(server, { userId }, 'manager', { organizationId });
        await grantPermission(server, { userId }, 'users:read:organization', {
          effect: 'deny',
          organizationId: beneath,
        });
        await grantRole(server, { userId }, plain.name);
        await grantPermission(server, { userId }, 'roles:assign:any');
      },
    });
    const give = async (permission: string, place?: string) =>
      outcome(
        await limited.request('post', `/rbac/users/${member}/permissions`, {
          permission,
          organizationId: place ?? null,
        }),
      );
    expect(await give('users:read:organization', organizationId)).toEqual(exceeds);
    expect(await give('users:read:any')).toEqual(exceeds);
    expect(await give('groups:read:organization', organizationId)).toEqual([201, undefined]);
  });

  it('nor once they have lost it, whatever their request was let in with', async () => {
    const { db } = server.database;
    for (let round = 0; round < 4; round++) {
      const falling = await callerOf(server, { role: 'admin' });
      const accomplice = await newUser();
      const [, given] = await Promise.all([
        root.request('put', `/users/${falling.id}/role`, { role: 'user' }),
        falling.request('post', `/rbac/users/${accomplice}/roles`, { role: 'moderator' }),
      ]);
      const events = await db('auditLogs')
        .whereIn('action', ['role.grant', 'user.assign_role'])
        .whereIn('targetId', [accomplice, falling.id])
        .orderBy('id')
        .pluck('action');
      expect([201, 401, 403]).toContain(given.status);
      if (given.status !== 201) expect(events).toEqual(['user.assign_role']);
      expect(outcome(await falling.request('post', `/rbac/users/${accomplice}/roles`, { role: 'moderator' }))[0]).toBe(
        403,
      );
    }
  });
});

describe('a denial', () => {
  const deny = (by: TestCaller, id: string, permission = 'users:read:any') =>
    by.request('post', `/rbac/users/${id}/permissions`, { permission, effect: 'deny' });

  it('beats whatever allows, and is not lifted by whom it is for', async () => {
    const who = await callerOf(server, { role: 'admin' });
    const { json } = await deny(root, who.id, 'audit:read:any');
    expect(outcome(await who.request('get', '/audit/logs'))).toEqual([403, 'missing_permission']);
    const path = `/rbac/users/${who.id}/permissions`;
    const lifting: [string, string, object?][] = [
      ['delete', `${path}/${json.id}`],
      ['post', path, { permission: 'audit:read:any', effect: 'allow' }],
      ['post', path, { permission: 'audit:read:any', effect: 'deny', expiresAt: hours(1).toISOString() }],
    ];
    for (const [method, url, body] of lifting)
      expect(outcome(await who.request(method, url, body))).toEqual([403, 'own_denial']);
    const group = await makeGroup(server, { members: [who.id] });
    const ofGroup = await grantPermission(server, { groupId: group.id }, 'clients:read:any', { effect: 'deny' });
    expect(outcome(await who.request('delete', `/rbac/groups/${group.id}/permissions/${ofGroup}`))).toEqual([
      403,
      'own_denial',
    ]);
    expect((await root.request('delete', `${path}/${json.id}`)).status).toBe(204);
    expect((await who.request('get', '/audit/logs')).status).toBe(200);
  });

  it('is lifted by nobody who does not hold what it denies', async () => {
    const held = await makeRole(server, ['roles:assign:any'], { rank: 30 });
    const giver = await callerOf(server, { prepare: (userId) => grantRole(server, { userId }, held.name) });
    const id = await newUser();
    const { json } = await deny(root, id);
    const path = `/rbac/users/${id}/permissions`;
    expect(outcome(await giver.request('delete', `${path}/${json.id}`))).toEqual([403, 'exceeds_yours']);
    expect(outcome(await giver.request('post', path, { permission: 'users:read:any', effect: 'deny' }))).toEqual([
      403,
      'exceeds_yours',
    ]);
    expect(outcome(await deny(giver, id, 'sessions:read:any'))).toEqual([201, undefined]);
  });

  it('never hits the last who may do everything: directly, by a group, in an organization, or one after another', async () => {
    const { db } = server.database;
    const roots: string[] = await db('users')
      .whereIn('roleId', db('roles').where({ name: 'super_admin' }).select('id'))
      .pluck('id');
    const others = roots.filter((id) => id !== root.id);
    const first = root.id;
    try {
      for (const id of others) await giveRole(server, id, 'user');
      const group = await makeGroup(server, { members: [first] });
      const organization = await makeOrganization(server, { members: [first] });
      const denial = { permission: 'invoices:read:any', effect: 'deny' };
      for (const [path, body] of [
        [`users/${first}`, denial],
        [`users/${first}`, { ...denial, startsAt: hours(5).toISOString() }],
        [`users/${first}`, { ...denial, organizationId: organization.id }],
        [`groups/${group.id}`, denial],
      ] as const)
        expect(outcome(await root.request('post', `/rbac/${path}/permissions`, body))).toEqual([
          409,
          'last_super_admin',
        ]);
      const second = await newUser('super_admin');
      expect((await root.request('post', `/rbac/users/${second}/permissions`, denial)).status).toBe(201);
      // Somebody to whom something is denied does not count.
      expect(outcome(await root.request('post', `/rbac/users/${first}/permissions`, denial))).toEqual([
        409,
        'last_super_admin',
      ]);
      expect(outcome(await root.request('put', `/users/${first}/role`, { role: 'user' }))).toEqual([
        409,
        'last_super_admin',
      ]);
      await giveRole(server, second, 'user');
    } finally {
      for (const id of others) await giveRole(server, id, 'super_admin');
    }
  });
});

describe('an API key', () => {
  it('may do more by a grant, less by a denial, and never more than its owner', async () => {
    const owner = await callerOf(server, { role: 'moderator' });
    const { db } = server.database;
    const key = createKey();
    const id = randomUUID();
    const scopes = ['users:read:own'];
    await db('apiKeys').insert({
      ...{ id, userId: owner.id, name: 'a key', prefix: displayPrefix(key), keyHash: hashToken(key), scopes },
    });
    const request = requester(server, key);
    const statusOf = async (path: string) => (await request('get', path)).status;
    const give = (permission: string, effect = 'allow') =>
      root.request('post', `/rbac/api-keys/${id}/permissions`, { permission, effect });
    expect([await statusOf('/users'), await statusOf('/clients')]).toEqual([403, 403]);
    expect((await give('users:read:any')).status).toBe(201);
    expect((await give('clients:read:any')).status).toBe(201);
    expect([await statusOf('/users'), await statusOf('/clients')]).toEqual([200, 403]);
    expect((await give('users:read:any', 'deny')).status).toBe(201);
    expect(await statusOf('/users')).toBe(403);
    const { json } = await root.request('get', `/rbac/api-keys/${id}/permissions`);
    expect(json.data.map(({ permission, effect }: Record<string, string>) => `${effect} ${permission}`).sort()).toEqual(
      ['allow clients:read:any', 'deny users:read:any'],
    );
  });
});

describe('countersign seed', () => {
  const tables = async () =>
    Object.entries(await dumpTables(server.database.db, ['public'])).filter(
      ([name]) => !/audit|schema|decisions/.test(name),
    );

  it('finds nothing missing in a new database, nor the second time', async () => {
    const { db } = server.database;
    const before = await tables();
    for (let time = 0; time < 2; time++)
      expect(await db.transaction((db) => seedDefaults(db))).toEqual({
        ...{ roles: [], permissions: [], teams: [], domains: [] },
      });
    expect(await tables()).toEqual(before);
  });

  it('puts back what is missing, and changes nothing else', async () => {
    const { db } = server.database;
    const names = async () => {
      const { rows } = await db.raw(`select roles.name, rank, description, built_in,
        array(select p.name from role_permissions join permissions p on p.id = permission_id where role_id = roles.id order by 1) as permissions
        from roles where built_in order by roles.name`);
      return { roles: rows, teams: await db('groups').where({ kind: 'team' }).orderBy('name').pluck('name') };
    };
    const before = await names();
    await db('roles').where({ name: 'partner' }).delete();
    await db('rolePermissions')
      .whereIn('roleId', db('roles').whereIn('name', ['admin', 'user', 'manager']).select('id'))
      .delete();
    await db('groups').where({ name: 'Design', kind: 'team' }).delete();
    await db('domains').where({ key: 'marketing' }).delete();
    await db('roles').where({ name: 'operator' }).update({ description: 'Our own words' });
    const made = await restoreDefaults(db, operator);
    expect(made).toMatchObject({ roles: ['partner'], teams: ['Design'], domains: ['marketing'] });
    expect(made.permissions).toEqual(expect.arrayContaining(['admin users:*:any', 'partner users:read:own']));
    const own = (description: string) => ({ name: 'operator', description });
    expect(await names()).toEqual({
      ...before,
      roles: before.roles.map((one: { name: string }) =>
        one.name === 'operator' ? { ...one, ...own('Our own words') } : one,
      ),
    });
    const after = await tables();
    await restoreDefaults(db, operator);
    expect(await tables()).toEqual(after);
  });
});

it('a person sees what they may do, and nobody else’s', async () => {
  const { json } = await nobody.request('get', `/rbac/users/${nobody.id}/effective`);
  expect(json).toMatchObject({ roles: ['user'], rank: 10, organizations: [], changesAt: null });
  expect(outcome(await nobody.request('get', `/rbac/users/${admin.id}/effective`))).toEqual([
    403,
    'missing_permission',
  ]);
  expect((await admin.request('get', `/rbac/users/${nobody.id}/effective`)).json.roles).toEqual(['user']);
  expect(outcome(await root.request('get', `/rbac/users/${randomUUID()}/effective`))).toEqual([404, 'user_not_found']);
});

describe('a group that is denied something', () => {
  it('is not left by oneself, nor joined by the last who may do everything', async () => {
    const { db } = server.database;
    const who = await callerOf(server, { role: 'admin' });
    const group = await makeGroup(server, { members: [who.id] });
    await grantPermission(server, { groupId: group.id }, 'audit:read:any', { effect: 'deny' });
    const path = `/groups/${group.id}/members`;
    expect(outcome(await who.request('delete', `${path}/${who.id}`))).toEqual([403, 'exceeds_yours']);
    expect((await root.request('delete', `${path}/${who.id}`)).status).toBe(204);
    const superAdmins = db('roles').where({ name: 'super_admin' }).select('id');
    const others = await db('users').where({ roleId: superAdmins }).whereNot({ id: root.id }).pluck('id');
    for (const id of others) await giveRole(server, id, 'user');
    expect(outcome(await root.request('post', path, { userId: root.id }))).toEqual([409, 'last_super_admin']);
    for (const id of others) await giveRole(server, id, 'super_admin');
    expect((await root.request('post', path, { userId: root.id })).status).toBe(201);
    await db('groupMembers').where({ groupId: group.id }).delete();
  });
});

describe('a role that needs a second factor', () => {
  let strict: TestServer;
  beforeAll(async () => {
    strict = await startServer({ MFA_REQUIRED_ROLES: 'moderator' });
  });
  afterAll(() => strict.stop());
  const sessionsOf = async (userId: string) =>
    (await strict.database.db('sessions').where({ userId }).where('expiresAt', '>', new Date())).length;

  it('ends the sessions of whom it is given to, by a group and from a later day on too, and of nobody else', async () => {
    const { db } = strict.database;
    const boss = await machineOf(strict, '*:*:*');
    const people = await Promise.all([0, 1, 2, 3].map(() => callerOf(strict)));
    const [direct, grouped, later, plain] = people.map(({ id }) => id) as [string, string, string, string];
    const group = await makeGroup(strict, { members: [grouped] });
    const organization = await makeOrganization(strict, { members: [plain] });
    const grants: [string, object][] = [
      [`users/${direct}`, { role: 'moderator' }],
      [`groups/${group.id}`, { role: 'admin' }],
      [`users/${later}`, { role: 'moderator', startsAt: hours(1).toISOString() }],
      [`users/${plain}`, { role: 'manager' }],
      [`users/${plain}`, { role: 'moderator', organizationId: organization.id }],
    ];
    for (const [path, body] of grants)
      expect((await boss.request('post', `/rbac/${path}/roles`, body)).status).toBe(201);
    expect(await Promise.all([direct, grouped, later, plain].map(sessionsOf))).toEqual([0, 0, 0, 1]);
    const { requiredRank } = strict.app.signIn.mfa;
    const required = [direct, grouped, later, plain].map((id) => isMfaRequired(db, { requiredRank }, id));
    expect(await Promise.all(required)).toEqual([true, true, true, false]);
  });
});
