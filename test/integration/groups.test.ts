/** Groups over REST: who sees and changes which, that they stay a tree, and that nobody gives by them what they do not hold. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findUserAccess } from '../../src/roles/access.queries.ts';
import { callerOf, giveRole, machineOf, type TestCaller } from '../support/callers.ts';
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
const callers: Record<string, TestCaller> = {};
const by = (name: string): TestCaller => callers[name] as TestCaller;
const organizations: Record<string, string> = {};
const groups: Record<string, string> = {};
const db = () => server.database.db;
const outcome = ({ status, json }: Answer) => [status, ...(json?.code ? [json.code] : [])];
const ids = ({ json }: Answer): string[] => json.data.map(({ id }: { id: string }) => id);

beforeAll(async () => {
  server = await startServer();
  for (const role of ['super_admin', 'admin', 'moderator', 'user']) callers[role] = await callerOf(server, { role });
  callers.stranger = await callerOf(server);
  callers['a machine that reads'] = await machineOf(server, 'groups:read:any');
  callers['a machine that writes'] = await machineOf(server, 'groups:write:any groups:read:any');
  organizations.A = (await makeOrganization(server)).id;
  organizations['beneath A'] = (await makeOrganization(server, { parentId: organizations.A })).id;
  organizations.B = (await makeOrganization(server)).id;
  for (const name of ['A', 'B']) callers[`manager of ${name}`] = await callerOf(server, { prepare: managing(name) });
  callers['member of A'] = await callerOf(server, {
    prepare: (id) => addMember(server, organizations.A as string, id),
  });
  for (const name of ['A', 'beneath A', 'B']) {
    const organizationId = organizations[name];
    groups[`of ${name}`] = (await makeGroup(server, { organizationId })).id;
    groups[`team of ${name}`] = (await makeGroup(server, { organizationId, kind: 'team' })).id;
  }
  groups['of A, with the member'] = (
    await makeGroup(server, { organizationId: organizations.A, members: [by('member of A').id] })
  ).id;
  groups.global = (await makeGroup(server)).id;
  groups['global team'] = (await makeGroup(server, { kind: 'team' })).id;
}, 90_000);
afterAll(() => server.stop());

const managing = (name: string) => async (userId: string) => {
  const organizationId = organizations[name] as string;
  await addMember(server, organizationId, userId);
  await grantRole(server, { userId }, 'manager', { organizationId });
};
const permitting = (permissions: readonly string[]) => async (userId: string) => {
  for (const permission of permissions) await grantPermission(server, { userId }, permission);
};
const group = (name: string) => groups[name] as string;
const newPerson = async (organizationId?: string): Promise<string> => {
  const caller = await callerOf(server);
  if (organizationId) await db()('organizationMembers').insert({ organizationId, userId: caller.id });
  return caller.id;
};
const all = ['of A', 'team of A', 'of A, with the member', 'of beneath A', 'team of beneath A', 'of B', 'team of B'];
const everything = [...all, 'global', 'global team'];

describe('who sees what', () => {
  for (const [name, seen] of Object.entries({
    moderator: everything,
    admin: everything,
    'a machine that reads': everything,
    'manager of A': [
      ...['of A', 'team of A', 'of A, with the member', 'of beneath A', 'team of beneath A', 'global team'],
    ],
    'member of A': ['team of A', 'of A, with the member', 'global team'],
    'manager of B': ['of B', 'team of B', 'global team'],
    user: ['global team'],
  })) {
    it(`${name}: lists and single groups say the same`, async () => {
      const listed = ids(await by(name).request('get', '/groups?limit=200'));
      expect(everything.filter((one) => listed.includes(group(one)))).toEqual(
        everything.filter((one) => seen.includes(one)),
      );
      for (const one of everything) {
        const answer = await by(name).request('get', `/groups/${group(one)}`);
        expect([one, ...outcome(answer)]).toEqual(seen.includes(one) ? [one, 200] : [one, 404, 'group_not_found']);
      }
    });
  }

  it('a group that one is in disappears while it is not active, and a denial hides an organization’s', async () => {
    const caller = await callerOf(server, { role: 'moderator' });
    const { id } = await makeGroup(server, { organizationId: organizations.A });
    await db()('organizationMembers').insert({ organizationId: organizations.A, userId: caller.id });
    expect(outcome(await caller.request('get', `/groups/${id}`))).toEqual([200]);
    await grantPermission(server, { userId: caller.id }, 'groups:read:organization', {
      effect: 'deny',
      organizationId: organizations.A,
    });
    expect(outcome(await caller.request('get', `/groups/${id}`))).toEqual([404, 'group_not_found']);
    const listed = ids(await caller.request('get', '/groups?limit=200'));
    expect([listed.includes(id), listed.includes(group('of beneath A')), listed.includes(group('of B'))]).toEqual([
      false,
      false,
      true,
    ]);

    const shut = (await makeGroup(server, { members: [by('user').id] })).id;
    expect(outcome(await by('user').request('get', `/groups/${shut}`))).toEqual([200]);
    await db()('groups').where({ id: shut }).update({ isActive: false });
    expect(outcome(await by('user').request('get', `/groups/${shut}`))).toEqual([404, 'group_not_found']);
    expect(ids(await by('user').request('get', '/groups?limit=200'))).not.toContain(shut);
    expect(ids(await by('user').request('get', `/users/${by('user').id}/groups`))).not.toContain(shut);
    expect(ids(await by('moderator').request('get', `/users/${by('user').id}/groups`))).toContain(shut);
  });

  it('pages and filters, for whoever sees everything and for whoever does not', async () => {
    organizations.C = (await makeOrganization(server)).id;
    const organizationId = organizations.C;
    const manager = await callerOf(server, { prepare: managing('C') });
    const name = randomUUID();
    const root = (await makeGroup(server, { organizationId, name: `${name} root` })).id;
    const made = [root];
    for (let number = 0; number < 7; number++)
      made.push(
        (
          await makeGroup(server, {
            organizationId,
            parentId: number < 4 ? root : made[1],
            kind: number % 2 ? 'team' : 'group',
            name: `${name} ${number}`,
          })
        ).id,
      );
    await db()('groups').where({ id: made[3] }).update({ isActive: false, externalRef: name });
    for (const caller of [by('moderator'), manager]) {
      const found: string[] = [];
      let cursor = '';
      do {
        const { json } = await caller.request('get', `/groups?limit=3&organizationId=${organizationId}${cursor}`);
        found.push(...json.data.map(({ id }: { id: string }) => id));
        cursor = json.nextCursor ? `&cursor=${json.nextCursor}` : '';
        expect(json.data.length).toBeLessThanOrEqual(3);
      } while (cursor);
      expect(found).toEqual([...made].sort());
      for (const [query, expected] of Object.entries({
        [`q=${name.toUpperCase()}`]: made,
        [`q=${name} r`]: [root],
        'q=%25': [],
        [`parentId=${root}`]: made.slice(1, 5),
        [`ancestorId=${root}`]: made.slice(1),
        [`ancestorId=${root}&kind=team`]: [made[2], made[4], made[6]],
        [`externalRef=${name}`]: [made[3]],
        [`organizationId=${organizationId}&isActive=false`]: [made[3]],
        [`parentId=${randomUUID()}`]: [],
      })) {
        const answer = await caller.request('get', `/groups?${query}`);
        expect([query, ids(answer)]).toEqual([query, [...expected].sort()]);
      }
    }
    expect(ids(await by('manager of A').request('get', `/groups?ancestorId=${root}`))).toEqual([]);
  });
});

describe('who changes what', () => {
  const changes = ['of A', 'of beneath A', 'of B', 'global', 'global team'];
  const notFound = [404, 'group_not_found'];
  const missing = [403, 'missing_permission'];
  for (const [name, expected] of Object.entries({
    admin: [[200], [200], [200], [200], [200]],
    'a machine that writes': [[200], [200], [200], [200], [200]],
    'manager of A': [[200], [200], notFound, notFound, missing],
    'manager of B': [notFound, notFound, [200], notFound, missing],
    'member of A': [missing, missing, missing, missing, missing],
    moderator: [missing, missing, missing, missing, missing],
  })) {
    it(name, async () => {
      const body = { description: randomUUID() };
      for (const [at, one] of changes.entries()) {
        const answer = await by(name).request('patch', `/groups/${group(one)}`, body);
        expect([one, ...outcome(answer)]).toEqual([one, ...(expected[at] as unknown[])]);
        const removal = await by(name).request('delete', `/groups/${group(one)}/members/${by('user').id}`);
        const other = expected[at]?.[0] === 200 ? [404, 'member_not_found'] : (expected[at] as unknown[]);
        expect([one, ...outcome(removal)]).toEqual([one, ...other]);
      }
    });
  }

  it('groups are made where one may write', async () => {
    const make = async (name: string, body: object) =>
      outcome(await by(name).request('post', '/groups', { name: 'Research', ...body }));
    const inA = { organizationId: organizations.A };
    for (const [name, body, expected] of [
      ['admin', {}, [201]],
      ['admin', { organizationId: organizations.B }, [201]],
      ['admin', { organizationId: randomUUID() }, [404, 'organization_not_found']],
      ['manager of A', inA, [201]],
      ['manager of A', { organizationId: organizations['beneath A'] }, [201]],
      ['manager of A', { parentId: groups['of A'] }, [201]],
      ['manager of A', { parentId: groups['of beneath A'] }, [201]],
      ['manager of A', { parentId: groups['of beneath A'], ...inA }, [409, 'other_organization']],
      ['manager of A', {}, [403, 'missing_permission']],
      ['manager of A', { organizationId: organizations.B }, [404, 'organization_not_found']],
      ['manager of A', { organizationId: randomUUID() }, [404, 'organization_not_found']],
      ['manager of A', { parentId: groups['of B'] }, [400, 'invalid_request']],
      ['manager of A', { parentId: randomUUID() }, [400, 'invalid_request']],
      ['manager of A', { parentId: groups['global team'] }, [403, 'missing_permission']],
      ['member of A', inA, [403, 'missing_permission']],
      ['admin', { name: ' ' }, [400, 'invalid_request']],
      ['admin', { name: 'a\u0000b' }, [400, 'invalid_request']],
      ['admin', { kind: 'gang' }, [400, 'invalid_request']],
    ] as const)
      expect([name, body, ...(await make(name, body))]).toEqual([name, body, ...expected]);
    const { json } = await by('manager of A').request('post', '/groups', {
      name: ' Night shift ',
      parentId: groups['of A'],
    });
    expect(json).toMatchObject({
      ...{ name: 'Night shift', kind: 'group', description: '', isActive: true, externalRef: null },
      organizationId: organizations.A,
      parentId: groups['of A'],
    });
  });
});

describe('the tree', () => {
  const make = async (parentId?: string, organizationId?: string) =>
    (await makeGroup(server, { parentId, organizationId })).id;
  const move = async (id: string, parentId: string | null, name = 'admin') =>
    outcome(await by(name).request('patch', `/groups/${id}`, { parentId }));

  it('has no cycles, no orphans, at most ten levels, and one organization', async () => {
    const chain: string[] = [];
    for (let level = 0; level < 10; level++) chain.push(await make(chain.at(-1)));
    const [top, second] = chain as [string, string];
    const last = chain.at(-1) as string;
    const pair = await make();
    await make(pair);
    for (const [id, parentId, expected] of [
      [top, top, [409, 'tree_cycle']],
      [top, last, [409, 'tree_cycle']],
      [second, last, [409, 'tree_cycle']],
      [await make(), last, [409, 'tree_too_deep']],
      [pair, chain[8], [409, 'tree_too_deep']],
      [pair, chain[7], [200]],
      [await make(), group('of A'), [409, 'other_organization']],
      [await make(undefined, organizations.A), group('of beneath A'), [409, 'other_organization']],
      [await make(undefined, organizations.A), group('of A'), [200]],
      [await make(), randomUUID(), [400, 'invalid_request']],
      [last, null, [200]],
    ] as const)
      expect(await move(id, parentId as string | null)).toEqual(expected);
    expect(outcome(await by('admin').request('delete', `/groups/${top}`))).toEqual([409, 'has_children']);
    expect(outcome(await by('admin').request('delete', `/groups/${last}`))).toEqual([204]);
    const { json } = await by('admin').request('post', '/groups', { name: 'deep', parentId: chain[8] });
    expect(json.parentId).toBe(chain[8]);
    expect(outcome(await by('admin').request('post', '/groups', { name: 'deeper', parentId: json.id }))).toEqual([
      ...[409, 'tree_too_deep'],
    ]);
  });

  it('stays one when two moves that are fine one by one come at once', async () => {
    for (let round = 0; round < 8; round++) {
      const [one, other] = [await make(), await make()];
      const answers = await Promise.all([move(one, other), move(other, one)]);
      expect(answers.map(([status]) => status).sort()).toEqual([200, 409]);
    }
  });

  it('keeps no child of a parent that is deleted at the same time', async () => {
    for (let round = 0; round < 5; round++) {
      const parentId = await make();
      const [made, deleted] = await Promise.all([
        by('admin').request('post', '/groups', { name: 'child', parentId }),
        by('admin').request('delete', `/groups/${parentId}`),
      ]);
      expect([
        [201, 409],
        [400, 204],
      ]).toContainEqual([made.status, deleted.status]);
    }
  });
});

describe('what groups give', () => {
  it('comes down six levels, and not through one that is not active', async () => {
    const levels: string[] = [];
    for (let level = 0; level < 6; level++) levels.push((await makeGroup(server, { parentId: levels.at(-1) })).id);
    const [top, , third, , , last] = levels as [string, string, string, string, string, string];
    await grantRole(server, { groupId: top }, 'moderator');
    const person = await callerOf(server);
    const rolesOf = async () => (await findUserAccess(db(), person.id))?.roles;
    const add = await by('super_admin').request('post', `/groups/${last}/members`, { userId: person.id });
    expect([add.status, add.json]).toEqual([201, { id: person.id, name: expect.any(String), email: person.email }]);
    expect(await rolesOf()).toEqual(['moderator', 'user']);
    const shut = async (isActive: boolean) => {
      const { status } = await by('super_admin').request('patch', `/groups/${third}`, { isActive });
      expect(status).toBe(200);
    };
    await shut(false);
    expect(await rolesOf()).toEqual(['user']);
    await shut(true);
    expect(await rolesOf()).toEqual(['moderator', 'user']);
    expect(outcome(await by('super_admin').request('patch', `/groups/${last}`, { parentId: null }))).toEqual([200]);
    expect(await rolesOf()).toEqual(['user']);
  });

  it('is given and taken by those alone who hold it, whatever the way', async () => {
    const high = await makeRole(server, ['clients:write:any'], { rank: 20 });
    const prepare = permitting(['groups:write:any', 'groups:read:any', 'roles:assign:any']);
    const holder = await callerOf(server, { prepare });
    const giver = await callerOf(server, { role: 'admin' });
    const noAssigner = await callerOf(server, { role: 'admin' });
    await grantPermission(server, { userId: noAssigner.id }, 'roles:assign:any', { effect: 'deny' });
    const scene = async () => {
      await db()('groupMembers').where({ userId: holder.id }).delete();
      const above = (await makeGroup(server)).id;
      await grantRole(server, { groupId: above }, high.name);
      const within = (await makeGroup(server, { parentId: above })).id;
      const outside = (await makeGroup(server, { members: [holder.id] })).id;
      const userId = await newPerson();
      const inside = (await makeGroup(server, { parentId: above, members: [userId] })).id;
      const shut = (await makeGroup(server, { parentId: above })).id;
      await db()('groups').where({ id: shut }).update({ isActive: false });
      return { above, within, outside, inside, shut, userId };
    };
    const ways: Record<string, (one: Awaited<ReturnType<typeof scene>>) => [string, string, object?]> = {
      'putting somebody into it': ({ above, userId }) => ['post', `/groups/${above}/members`, { userId }],
      'putting somebody into one beneath it': ({ within, userId }) => ['post', `/groups/${within}/members`, { userId }],
      'putting oneself there': ({ within }) => ['post', `/groups/${within}/members`, { userId: holder.id }],
      'moving a group beneath it': ({ above, outside }) => ['patch', `/groups/${outside}`, { parentId: above }],
      'opening a group beneath it again': ({ shut }) => ['patch', `/groups/${shut}`, { isActive: true }],
      'taking somebody out': ({ inside, userId }) => ['delete', `/groups/${inside}/members/${userId}`],
      'moving a group away': ({ inside }) => ['patch', `/groups/${inside}`, { parentId: null }],
      'shutting one': ({ inside }) => ['patch', `/groups/${inside}`, { isActive: false }],
      'deleting one': ({ inside }) => ['delete', `/groups/${inside}`],
    };
    for (const [way, request] of Object.entries(ways)) {
      const one = await scene();
      const before = await db()('groupMembers').orderBy(['groupId', 'userId']);
      const rows = await db()('groups').orderBy('id');
      expect([way, (await holder.request(...request(one))).json?.code]).toEqual([way, 'rank_too_low']);
      expect([way, (await noAssigner.request(...request(one))).json?.code]).toEqual([way, 'missing_permission']);
      expect(await db()('groupMembers').orderBy(['groupId', 'userId'])).toEqual(before);
      expect(await db()('groups').orderBy('id')).toEqual(rows);
      expect([way, (await giver.request(...request(one))).status]).toEqual([way, expect.toBeOneOf([200, 201, 204])]);
    }
    // The rank would do, but not what they hold.
    await db()('roles').where({ id: high.id }).update({ rank: 1 });
    const { within, outside, above, userId } = await scene();
    for (const answer of [
      await holder.request('post', `/groups/${within}/members`, { userId }),
      await holder.request('patch', `/groups/${outside}`, { parentId: above }),
    ])
      expect(outcome(answer)).toEqual([403, 'exceeds_yours']);
    // What is theirs everywhere is not the token's.
    const narrow = await callerOf(server, {
      role: 'admin',
      scope: 'groups:write:any roles:assign:any',
      thirdParty: true,
    });
    expect(outcome(await narrow.request('post', `/groups/${within}/members`, { userId }))).toEqual([
      ...[403, 'session_needed'],
    ]);
  }, 60_000);

  it('is not denied any more only by those who might allow it', async () => {
    const prepare = permitting(['groups:write:any', 'groups:read:any', 'roles:assign:any']);
    const holder = await callerOf(server, { prepare });
    const userId = await newPerson();
    const { id } = await makeGroup(server, { members: [userId, holder.id] });
    await grantPermission(server, { groupId: id }, 'clients:read:any', { effect: 'deny' });
    for (const member of [userId, holder.id])
      expect(outcome(await holder.request('delete', `/groups/${id}/members/${member}`))).toEqual([
        ...[403, 'exceeds_yours'],
      ]);
    expect(outcome(await holder.request('delete', `/groups/${id}`))).toEqual([403, 'exceeds_yours']);
    expect(outcome(await by('admin').request('delete', `/groups/${id}/members/${userId}`))).toEqual([204]);
  });

  it('ends the sessions of whoever needs a second factor from then on', async () => {
    const strict = await startServer({ MFA_REQUIRED_ROLES: 'moderator' });
    try {
      const admin = await machineOf(strict, '*:*:*');
      const person = await callerOf(strict);
      const inside = await callerOf(strict);
      const { id } = await makeGroup(strict);
      await grantRole(strict, { groupId: id }, 'moderator');
      const beneath = (await makeGroup(strict, { members: [inside.id] })).id;
      const sessions = async (userId: string) => (await strict.database.db('sessions').where({ userId })).length;
      expect([await sessions(person.id), await sessions(inside.id)]).toEqual([1, 1]);
      const add = await admin.request('post', `/groups/${id}/members`, { userId: person.id });
      const move = await admin.request('patch', `/groups/${beneath}`, { parentId: id });
      expect([outcome(add), outcome(move)]).toEqual([[201], [200]]);
      expect([await sessions(person.id), await sessions(inside.id)]).toEqual([0, 0]);
    } finally {
      await strict.stop();
    }
  });
});

describe('who is in a group', () => {
  it('of an organization are its members alone, and nobody learns who has an account', async () => {
    const inA = await newPerson(organizations.A);
    const add = async (name: string, one: string, userId: string) =>
      outcome(await by(name).request('post', `/groups/${group(one)}/members`, { userId }));
    for (const [name, one, userId, expected] of [
      ['manager of A', 'of A', inA, [201]],
      ['manager of A', 'of A', inA, [409, 'already_member']],
      ['manager of A', 'of beneath A', inA, [409, 'not_a_member']],
      ['manager of A', 'of A', by('stranger').id, [409, 'not_a_member']],
      ['manager of A', 'of A', randomUUID(), [409, 'not_a_member']],
      ['manager of A', 'of B', inA, [404, 'group_not_found']],
      ['manager of A', 'global team', inA, [403, 'missing_permission']],
      ['admin', 'global', inA, [201]],
      ['admin', 'global', by('super_admin').id, [403, 'rank_too_low']],
      ['admin', 'global', randomUUID(), [404, 'user_not_found']],
      ['admin', 'global', 'x', [400, 'invalid_request']],
    ] as const)
      expect([name, one, ...(await add(name, one, userId))]).toEqual([name, one, ...expected]);
    // Somebody of the organization who is high elsewhere is nobody's whose rank is of the organization alone.
    const high = await newPerson(organizations.A);
    await giveRole(server, high, 'moderator');
    expect(await add('manager of A', 'of A', high)).toEqual([403, 'rank_too_low']);
  });

  it('is for those who read it, with addresses; those within see names, and a cursor says nothing', async () => {
    const people = [by('member of A').id, await newPerson(organizations.A), await newPerson(organizations.A)].sort();
    const { id } = await makeGroup(server, { organizationId: organizations.A, kind: 'team', members: people });
    const other = await callerOf(server);
    await db()('organizationMembers').insert({ organizationId: organizations.A, userId: other.id });
    const path = `/groups/${id}/members`;
    const full = await by('manager of A').request('get', path);
    expect(ids(full)).toEqual(people);
    expect(full.json.data[0]).toEqual({ id: people[0], name: expect.any(String), email: expect.any(String) });
    const seen: unknown[] = [];
    let cursor = '';
    do {
      const { json } = await by('member of A').request('get', `${path}?limit=1${cursor}`);
      seen.push(...json.data);
      const text = json.nextCursor && Buffer.from(Buffer.from(json.nextCursor, 'base64url').toString(), 'base64url');
      for (const person of people) expect(`${json.nextCursor} ${text}`).not.toContain(person);
      cursor = json.nextCursor ? `&cursor=${json.nextCursor}` : '';
    } while (cursor);
    expect(seen).toEqual(people.map(() => ({ name: 'Ada Lovelace' })));
    for (const [caller, expected] of [
      [other, [403, 'missing_permission']],
      [by('manager of B'), [404, 'group_not_found']],
      [by('user'), [404, 'group_not_found']],
      [by('a machine that reads'), [200]],
    ] as const)
      expect(outcome(await caller.request('get', path))).toEqual(expected);
    for (const wrong of ['x', Buffer.from(people[0] as string).toString('base64url')])
      expect(outcome(await by('manager of A').request('get', `${path}?cursor=${wrong}`))).toEqual([
        ...[400, 'invalid_request'],
      ]);
  });

  it('lists of somebody’s groups show what the caller may see', async () => {
    const person = await callerOf(server);
    for (const name of ['A', 'B'])
      await db()('organizationMembers').insert({ organizationId: organizations[name], userId: person.id });
    const mine = ['of A', 'of B', 'global', 'team of A'].map(group);
    await db()('groupMembers').insert(mine.map((groupId) => ({ groupId, userId: person.id })));
    const groupsOf = async (caller: TestCaller, face = 'groups') =>
      ids(await caller.request('get', `/users/${person.id}/${face}`));
    expect(await groupsOf(person)).toEqual([...mine].sort());
    expect(await groupsOf(person, 'teams')).toEqual([group('team of A')]);
    expect(await groupsOf(by('moderator'))).toEqual([...mine].sort());
    expect(await groupsOf(by('manager of A'))).toEqual([group('of A'), group('team of A')].sort());
    expect(await groupsOf(by('manager of B'))).toEqual([group('of B')]);
    expect(outcome(await by('stranger').request('get', `/users/${person.id}/groups`))).toEqual([
      ...[403, 'missing_permission'],
    ]);
  });
});
