/** Organizations, who belongs to them, who owns them, and who may do what in which. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { callerOf, machineOf, type TestCaller } from '../support/callers.ts';
import {
  addMember,
  grantPermission,
  grantRole,
  makeGroup,
  makeOrganization,
  makeRole,
} from '../support/organizations.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
/** Of role `admin`: may do everything to every organization and account. */
let admin: TestCaller;
/** Of role `user`, everywhere. */
let owner: TestCaller;
let manager: TestCaller;
let member: TestCaller;
/** Owns B, and has no part in A. */
let outsider: TestCaller;
let nobody: TestCaller;

/** B beside A; in A: a child, and in that a grandchild. All but B made anew for each test. */
let a: string;
let child: string;
let b: string;
/** Organizations that stay from test to test. */
let lasting: string[];

/** Somebody who manages an organization already when they sign in, so that their token may pass that on. */
const someManager = (scope = '*:*:*') =>
  callerOf(server, { scope, prepare: async (id) => makeOrganization(server, { owners: [id] }) });

beforeAll(async () => {
  server = await startServer();
  b = (await makeOrganization(server, { name: 'B' })).id;
  [admin, owner, manager, outsider, member, nobody] = await Promise.all([
    callerOf(server, { role: 'admin' }),
    someManager(),
    someManager(),
    callerOf(server, { prepare: (id) => addMember(server, b, id, { isOwner: true }) }),
    callerOf(server),
    callerOf(server),
  ]);
  lasting = (await server.database.db('organizations').select('id')).map(({ id }) => id);
});
afterAll(() => server.stop());
beforeEach(async () => {
  const { db } = server.database;
  await db('organizations').whereNotIn('id', lasting).update({ parentId: null });
  await db('organizations').whereNotIn('id', lasting).delete();
  await db('users').update({ status: 'active' }).where({ status: 'deactivated' });
  a = (await makeOrganization(server, { owners: [owner.id], managers: [manager.id], members: [member.id] })).id;
  child = (await makeOrganization(server, { parentId: a })).id;
});

const unknown = randomUUID();

type Body = Record<string, unknown>;
const ask = async (caller: TestCaller, method: string, path: string, body?: Body) => {
  const { status, json } = await caller.request(method, path, body);
  return { status, code: json?.code, json };
};
/** The status, with the code of a refusal. */
const outcome = async (...asked: Parameters<typeof ask>): Promise<string> => {
  const { status, code } = await ask(...asked);
  return code === undefined ? String(status) : `${status} ${code}`;
};
/** Somebody new, who belongs to nothing. */
const someone = () => callerOf(server);
const owners = async (id: string): Promise<string[]> =>
  (await server.database.db('organizationMembers').where({ organizationId: id, isOwner: true }).select('userId')).map(
    ({ userId }) => userId,
  );
const belongs = async (id: string, userId: string): Promise<boolean> =>
  (await server.database.db('organizationMembers').where({ organizationId: id, userId }).first()) !== undefined;
const missing = '403 missing_permission';
const hidden = '404 organization_not_found';

describe('An organization', () => {
  it('is made, seen, changed and deleted', async () => {
    const fields = { name: ' Acme ', description: 'Makes everything', settings: { requireMfa: true } };
    const made = await ask(admin, 'post', '/organizations', fields);
    expect(made).toMatchObject({
      status: 201,
      json: {
        ...{ name: 'Acme', description: 'Makes everything', kind: 'organization', parentId: null, isActive: true },
        settings: { requireMfa: true, signInMethods: null },
      },
    });
    const { id } = made.json;
    const changes = { name: 'Acme Ltd', isActive: false, settings: { signInMethods: ['passkey'] } };
    const changed = await ask(admin, 'patch', `/organizations/${id}`, changes);
    expect(changed).toMatchObject({
      status: 200,
      json: { name: 'Acme Ltd', isActive: false, settings: { requireMfa: true, signInMethods: ['passkey'] } },
    });
    expect((await ask(admin, 'get', `/organizations/${id.toUpperCase()}`)).json).toEqual(changed.json);
    expect(await outcome(admin, 'delete', `/organizations/${id}`)).toBe('204');
    expect(await outcome(admin, 'get', `/organizations/${id}`)).toBe(hidden);
  });

  it('says what is wrong with what is sent', async () => {
    for (const body of [
      { name: '' },
      { name: 'x'.repeat(101) },
      { name: 'a\u0007b' },
      { name: 'Acme', description: 'a\0b' },
      { name: 'Acme', kind: 'club' },
      { name: 'Acme', parentId: 'x' },
      { name: 'Acme', parentId: unknown },
      { name: 'Acme', settings: { signInMethods: [] } },
      { name: 'Acme', settings: { signInMethods: ['guessing'] } },
    ])
      expect([body, await outcome(admin, 'post', '/organizations', body)]).toEqual([body, '400 invalid_request']);
    expect((await ask(admin, 'post', '/organizations', { name: 'Acme', description: 'one\ntwo' })).status).toBe(201);
  });

  it('is not moved beneath itself, nor too deep', async () => {
    expect(await outcome(admin, 'patch', `/organizations/${a}`, { parentId: child })).toBe('409 tree_cycle');
    expect(await outcome(admin, 'patch', `/organizations/${a}`, { parentId: a })).toBe('409 tree_cycle');
    let parentId = child;
    for (let level = 3; level <= 10; level++)
      parentId = (await ask(admin, 'post', '/organizations', { name: `Level ${level}`, parentId })).json.id;
    expect(await outcome(admin, 'post', '/organizations', { name: 'Level 11', parentId })).toBe('409 tree_too_deep');
    expect(await outcome(admin, 'patch', `/organizations/${b}`, { parentId })).toBe('409 tree_too_deep');
  });

  it('lets one of two moves win that would make a cycle together', async () => {
    const [left, right] = [(await makeOrganization(server)).id, (await makeOrganization(server)).id];
    const outcomes = await Promise.all([
      outcome(admin, 'patch', `/organizations/${left}`, { parentId: right }),
      outcome(admin, 'patch', `/organizations/${right}`, { parentId: left }),
    ]);
    expect(outcomes.toSorted()).toEqual(['200', '409 tree_cycle']);
  });

  it('is not deleted while something lies beneath it, nor with people or groups unless that is said', async () => {
    expect(await outcome(admin, 'delete', `/organizations/${a}?force=true`)).toBe('409 has_children');
    expect(await outcome(admin, 'delete', `/organizations/${child}`)).toBe('204');
    expect(await outcome(admin, 'delete', `/organizations/${a}`)).toBe('409 has_members');
    const empty = (await makeOrganization(server, { owners: [owner.id] })).id;
    const parent = await makeGroup(server, { organizationId: empty, members: [owner.id] });
    await makeGroup(server, { organizationId: empty, parentId: parent.id });
    expect(await outcome(owner, 'delete', `/organizations/${empty}`)).toBe('409 has_members');
    expect(await outcome(owner, 'delete', `/organizations/${empty}?force=true`)).toBe('204');
    expect(await server.database.db('groups').where({ organizationId: empty }).select('id')).toEqual([]);
    expect(await outcome(admin, 'delete', `/organizations/${a}?force=true`)).toBe('204');
  });

  it('gives nobody anything while it is not active', async () => {
    await ask(admin, 'patch', `/organizations/${a}`, { isActive: false });
    for (const caller of [owner, manager, member])
      expect(await outcome(caller, 'get', `/organizations/${a}`)).toBe(hidden);
    expect(await outcome(owner, 'patch', `/organizations/${a}`, { isActive: true })).toMatch(/^40[34] /);
    await ask(admin, 'patch', `/organizations/${a}`, { isActive: true });
    expect(await outcome(member, 'get', `/organizations/${a}`)).toBe('200');
  });

  it('writes down what was done to it', async () => {
    const { json } = await ask(admin, 'post', '/organizations', { name: 'Acme', parentId: a });
    await ask(admin, 'patch', `/organizations/${json.id}`, { name: 'Acme', parentId: child });
    await ask(admin, 'delete', `/organizations/${json.id}`);
    const events = await server.database.db('auditLogs').where({ targetId: json.id }).orderBy('id');
    expect(events).toMatchObject([
      { action: 'organization.create', actorId: admin.id, meta: { kind: 'organization', parentId: a } },
      { action: 'organization.update', actorId: admin.id, meta: { members: ['parentId'], from: a, to: child } },
      { action: 'organization.delete', actorId: admin.id, meta: { members: 0, groups: 0 } },
    ]);
  });
});

describe('Who may do what to an organization', () => {
  const people = { admin: () => admin, owner: () => owner, manager: () => manager, member: () => member };
  const others = { outsider: () => outsider, nobody: () => nobody };
  const everybody: Readonly<Record<string, () => TestCaller>> = { ...people, ...others };

  // In the order: admin, owner, manager, member, outsider, nobody.
  const table: [title: string, expected: string[], request: () => [method: string, path: string, body?: Body]][] = [
    ['see it', ['200', '200', '200', '200', hidden, hidden], () => ['get', `/organizations/${a}`]],
    ['see what is beneath', ['200', '200', '200', hidden, hidden, hidden], () => ['get', `/organizations/${child}`]],
    [
      'see who belongs to it',
      ['200', '200', '200', missing, hidden, missing],
      () => ['get', `/organizations/${a}/members`],
    ],
    ['see who owns it', ['200', '200', '200', '200', hidden, hidden], () => ['get', `/organizations/${a}/owners`]],
    [
      'rename it',
      ['200', '200', '200', missing, hidden, missing],
      () => ['patch', `/organizations/${a}`, { name: 'A' }],
    ],
    [
      'change its rules',
      ['200', '200', '200', missing, hidden, missing],
      () => ['patch', `/organizations/${a}`, { settings: { requireMfa: false } }],
    ],
    [
      'rename what is beneath',
      ['200', '200', '200', missing, hidden, missing],
      () => ['patch', `/organizations/${child}`, { name: 'C' }],
    ],
    [
      'deactivate it',
      ['200', missing, missing, missing, hidden, missing],
      () => ['patch', `/organizations/${a}`, { isActive: false }],
    ],
    [
      'deactivate what is beneath',
      ['200', '200', '200', missing, hidden, missing],
      () => ['patch', `/organizations/${child}`, { isActive: false }],
    ],
    [
      'make it a company',
      ['200', missing, missing, missing, hidden, missing],
      () => ['patch', `/organizations/${a}`, { kind: 'company' }],
    ],
    [
      'move it beneath another one',
      ['200', missing, missing, missing, hidden, missing],
      () => ['patch', `/organizations/${a}`, { parentId: b }],
    ],
    [
      'move what is beneath it to where they have no say',
      ['200', '400 invalid_request', '400 invalid_request', missing, hidden, missing],
      () => ['patch', `/organizations/${child}`, { parentId: b }],
    ],
    [
      'move what is beneath it to nowhere',
      ['200', missing, missing, missing, hidden, missing],
      () => ['patch', `/organizations/${child}`, { parentId: null }],
    ],
    [
      'make something beneath it',
      ['201', '201', '201', missing, '400 invalid_request', missing],
      () => ['post', '/organizations', { name: 'New', parentId: a }],
    ],
    [
      'make a root',
      ['201', missing, missing, missing, missing, missing],
      () => ['post', '/organizations', { name: 'New' }],
    ],
    [
      'delete what is beneath',
      ['204', '204', '204', missing, hidden, missing],
      () => ['delete', `/organizations/${child}`],
    ],
    [
      'delete it',
      ['409 has_children', '409 has_children', '403 owner_needed', missing, hidden, missing],
      () => ['delete', `/organizations/${a}`],
    ],
    [
      'make a member an owner',
      ['201', '201', '403 owner_needed', missing, hidden, missing],
      () => ['post', `/organizations/${a}/owners`, { userId: member.id }],
    ],
    [
      'make an owner a member',
      ['409 last_owner', '409 last_owner', '403 owner_needed', missing, hidden, missing],
      () => ['delete', `/organizations/${a}/owners/${owner.id}`],
    ],
    [
      'take a member out',
      ['204', '204', '204', missing, hidden, missing],
      () => ['delete', `/organizations/${a}/members/${member.id}`],
    ],
    [
      'take the owner out',
      ['409 last_owner', '409 last_owner', '403 owner_needed', missing, hidden, missing],
      () => ['delete', `/organizations/${a}/members/${owner.id}`],
    ],
    [
      'take a stranger in',
      ['201', missing, missing, missing, hidden, missing],
      () => ['post', `/organizations/${a}/members`, { userId: nobody.id }],
    ],
    [
      'take a member into what is beneath',
      ['201', '201', '201', missing, hidden, missing],
      () => ['post', `/organizations/${child}/members`, { userId: member.id }],
    ],
    [
      'leave it',
      [hidden, '409 last_owner', '204', '204', hidden, hidden],
      () => ['delete', `/organizations/${a}/members/me`],
    ],
  ];
  for (const [title, expected, request] of table)
    for (const [at, [name, caller]] of Object.entries(everybody).entries())
      it(`${name}: ${title}`, async () => {
        expect(await outcome(caller(), ...request())).toBe(expected[at]);
      });

  it('is asked of what an unknown id stands for as of one that is not theirs to see', async () => {
    for (const [, , request] of table) {
      const [method, path, body] = request();
      if (!path.includes('/organizations/')) continue;
      const theirs = await ask(outsider, method, path, body);
      const none = await ask(outsider, method, path.replace(/[0-9a-f-]{36}/, unknown), body);
      expect([path, none.status, none.json]).toEqual([path, theirs.status, { ...theirs.json, ...ids(none.json) }]);
    }
  });
  const ids = ({ requestId, instance }: Body) => ({
    ...(requestId ? { requestId } : {}),
    ...(instance ? { instance } : {}),
  });

  it('goes no further than a token does', async () => {
    const narrow = await someManager('organizations:read:own');
    await addMember(server, a, narrow.id, { isOwner: true });
    expect(await outcome(narrow, 'get', `/organizations/${a}`)).toBe('200');
    expect(await outcome(narrow, 'get', `/organizations/${a}/members`)).toBe(missing);
    expect(await outcome(narrow, 'patch', `/organizations/${a}`, { name: 'x' })).toBe(missing);
    expect(await outcome(narrow, 'delete', `/organizations/${a}/members/me`)).toBe(missing);
    const writer = await someManager('organizations:write:organization');
    await addMember(server, a, writer.id, { isOwner: true });
    expect(await outcome(writer, 'patch', `/organizations/${a}`, { name: 'x' })).toBe('200');
    // What owners hold is more than this token may pass on.
    expect(await outcome(writer, 'post', `/organizations/${a}/owners`, { userId: member.id })).toMatch(/^403 /);
    const machine = await machineOf(server, 'organizations:read:any');
    expect(await outcome(machine, 'get', `/organizations/${a}`)).toBe('200');
    expect(await outcome(machine, 'get', '/organizations')).toBe('200');
    expect(await outcome(machine, 'patch', `/organizations/${a}`, { name: 'x' })).toBe(missing);
  });

  it.each(['organization', 'any', '*'])('ends where something is denied in the scope %s', async (scope) => {
    const one = await someManager();
    await addMember(server, a, one.id);
    await addMember(server, child, one.id);
    await grantRole(server, { userId: one.id }, 'manager', { organizationId: a });
    await grantPermission(server, { userId: one.id }, `organizations:read:${scope}`, {
      effect: 'deny',
      organizationId: child,
    });
    expect(await outcome(one, 'get', `/organizations/${a}/members`)).toBe('200');
    expect(await outcome(one, 'get', `/organizations/${child}/members`)).toMatch(/^40[34] /);
    const seen = (await ask(one, 'get', '/organizations')).json.data.map(({ id }: { id: string }) => id);
    expect([seen.includes(a), seen.includes(child)]).toEqual([true, false]);
  });
});

describe('The list of organizations', () => {
  const ids = async (caller: TestCaller, query = ''): Promise<string[]> =>
    (await ask(caller, 'get', `/organizations?limit=200${query}`)).json.data.map(({ id }: { id: string }) => id);

  it('shows what one belongs to, and what is beneath where one may see that', async () => {
    expect(await ids(nobody)).toEqual([]);
    const one = await someManager();
    const own = await ids(one);
    expect(own).toHaveLength(1);
    await addMember(server, a, one.id);
    expect(new Set(await ids(one))).toEqual(new Set([...own, a]));
    await grantRole(server, { userId: one.id }, 'manager', { organizationId: a });
    expect(new Set(await ids(one))).toEqual(new Set([...own, a, child]));
    expect(await ids(one, `&parentId=${a}`)).toEqual([child]);
    expect(await ids(one, `&ancestorId=${b}`)).toEqual([]);
    expect((await ids(admin)).includes(b)).toBe(true);
  });

  it('has filters', async () => {
    const tag = randomUUID();
    const top = (await makeOrganization(server, { name: `${tag} Top`, kind: 'company' })).id;
    const one = (await makeOrganization(server, { name: `${tag}_ONE`, parentId: top })).id;
    const two = (await makeOrganization(server, { name: `${tag} two%`, parentId: one, isActive: false })).id;
    const q = `&q=${encodeURIComponent(tag.toUpperCase())}`;
    expect(await ids(admin, q)).toEqual([top, two, one]);
    expect(await ids(admin, `${q}%20t`)).toEqual([top, two]);
    expect(await ids(admin, `${q}_`)).toEqual([one]);
    expect(await ids(admin, `${q}%25`)).toEqual([]);
    expect(await ids(admin, `${q}&kind=company`)).toEqual([top]);
    expect(await ids(admin, `${q}&isActive=false`)).toEqual([two]);
    expect(await ids(admin, `&parentId=${top}`)).toEqual([one]);
    expect(await ids(admin, `&ancestorId=${top}`)).toEqual([two, one]);
    expect(await ids(admin, `&parentId=${unknown}`)).toEqual([]);
  });

  it('comes in pages, by name and then by id, and goes on where it was', async () => {
    const tag = randomUUID();
    const made: string[] = [];
    for (const name of ['b', 'A', 'ä'.repeat(60), 'B', 'a'])
      made.push((await makeOrganization(server, { name: `${tag} ${name}` })).id);
    const found: string[] = [];
    let cursor: string | null = '';
    let pages = 0;
    while (cursor !== null) {
      const page: { data: { id: string }[]; nextCursor: string | null } = (
        await ask(admin, 'get', `/organizations?q=${tag}&limit=2${cursor && `&cursor=${cursor}`}`)
      ).json;
      found.push(...page.data.map(({ id }) => id));
      cursor = page.nextCursor;
      pages += 1;
    }
    expect([pages, found.length, new Set(found)]).toEqual([3, 5, new Set(made)]);
    const longest = made[2];
    expect(found.at(-1)).toBe(longest);
    // The first again for what is no cursor of ours.
    expect((await ask(admin, 'get', `/organizations?q=${tag}&limit=1&cursor=AAAA`)).json.data[0].id).toBe(found[0]);
  });
});

describe('The people of an organization', () => {
  const members = `/members`;

  it('are listed with their roles there, in pages', async () => {
    const { json } = await ask(owner, 'get', `/organizations/${a}${members}`);
    expect(json.nextCursor).toBeNull();
    expect(json.data.map(({ userId }: { userId: string }) => userId)).toEqual(
      [owner.id, manager.id, member.id].toSorted(),
    );
    expect(json.data.find(({ userId }: { userId: string }) => userId === manager.id)).toEqual({
      userId: manager.id,
      name: expect.any(String),
      email: manager.email,
      isOwner: false,
      roles: ['manager'],
      createdAt: expect.any(String),
    });
    const first = (await ask(owner, 'get', `/organizations/${a}${members}?limit=2`)).json;
    const rest = (await ask(owner, 'get', `/organizations/${a}${members}?limit=2&cursor=${first.nextCursor}`)).json;
    expect([...first.data, ...rest.data]).toEqual(json.data);
    const owning = (await ask(owner, 'get', `/organizations/${a}${members}?isOwner=true`)).json.data;
    expect(owning.map(({ userId }: { userId: string }) => userId)).toEqual([owner.id]);
    // Mere members are told no addresses.
    expect((await ask(member, 'get', `/organizations/${a}/owners`)).json.data).toEqual([
      { userId: owner.id, name: expect.any(String) },
    ]);
  });

  it('come with roles, and as owners, as far as whoever adds them may give that', async () => {
    const one = await someManager();
    const add = (caller: TestCaller, body: Body) => ask(caller, 'post', `/organizations/${a}${members}`, body);
    expect((await add(admin, { userId: one.id, roles: ['nonsense'] })).json.errors).toMatchObject([
      { field: 'roles.0' },
    ]);
    const strong = await makeRole(server, [], { rank: 90 });
    expect((await add(admin, { userId: one.id, roles: [strong.name] })).code).toBe('rank_too_low');
    const wide = await makeRole(server, ['orders:write:any'], { rank: 5 });
    expect((await add(admin, { userId: one.id, roles: [wide.name] })).code).toBe('exceeds_yours');
    expect(await belongs(a, one.id)).toBe(false);
    const added = await add(admin, { userId: one.id, roles: ['manager', 'manager'], isOwner: true });
    expect(added).toMatchObject({ status: 201, json: { isOwner: true, roles: ['manager'] } });
    expect((await add(admin, { userId: one.id })).code).toBe('already_member');
    expect((await add(admin, { userId: unknown })).code).toBe('user_not_found');
    // At once they may do what managers do.
    expect(await outcome(one, 'patch', `/organizations/${a}`, { name: 'Theirs' })).toBe('200');
  });

  it('are no strangers whom somebody pulls in to have power over them', async () => {
    const stranger = await someone();
    for (const caller of [owner, manager]) {
      expect(await outcome(caller, 'post', `/organizations/${a}${members}`, { userId: stranger.id })).toBe(missing);
      // Nobody learns that way which ids are somebody's.
      expect(await outcome(caller, 'post', `/organizations/${a}${members}`, { userId: unknown })).toBe(missing);
    }
    // Whoever belongs to another organization as well is not theirs either.
    await addMember(server, a, stranger.id);
    await addMember(server, b, stranger.id);
    expect(await outcome(manager, 'post', `/organizations/${child}${members}`, { userId: stranger.id })).toBe(missing);
  });

  it('lose what they had there when they are taken out, and nothing else', async () => {
    const { db } = server.database;
    const one = await someone();
    await addMember(server, a, one.id);
    await addMember(server, b, one.id);
    for (const organizationId of [a, b, undefined]) {
      await grantRole(server, { userId: one.id }, 'partner', { organizationId });
      await grantPermission(server, { userId: one.id }, 'clients:read:any', { organizationId });
    }
    const [{ id: apiKeyId }] = await db('apiKeys')
      .insert({
        id: randomUUID(),
        userId: one.id,
        name: 'a key',
        prefix: 'cs_000000',
        scopes: [],
        keyHash: randomUUID(),
      })
      .returning('id');
    await grantRole(server, { apiKeyId }, 'partner', { organizationId: a });
    await makeGroup(server, { organizationId: a, members: [one.id] });
    const elsewhere = await makeGroup(server, { organizationId: b, members: [one.id] });
    expect(await outcome(admin, 'delete', `/organizations/${a}${members}/${one.id}`)).toBe('204');
    expect(await belongs(a, one.id)).toBe(false);
    for (const table of ['roleGrants', 'permissionGrants']) {
      const left = await db(table).where({ userId: one.id }).orWhere({ apiKeyId }).select('organizationId');
      expect([table, left.map(({ organizationId }) => organizationId).toSorted()]).toEqual([
        table,
        [b, null].toSorted(),
      ]);
    }
    expect(await db('groupMembers').where({ userId: one.id }).select('groupId')).toEqual([{ groupId: elsewhere.id }]);
    expect(await outcome(admin, 'delete', `/organizations/${a}${members}/${one.id}`)).toBe('404 member_not_found');
  });

  it('are not acted on by whom they outrank there', async () => {
    const high = await makeRole(server, [], { rank: 70 });
    await grantRole(server, { userId: member.id }, high.name, { organizationId: a });
    expect(await outcome(manager, 'delete', `/organizations/${a}${members}/${member.id}`)).toBe('403 rank_too_low');
    expect(await outcome(owner, 'delete', `/organizations/${a}${members}/${member.id}`)).toBe('403 rank_too_low');
    await addMember(server, a, admin.id);
    expect(await outcome(owner, 'delete', `/organizations/${a}${members}/${admin.id}`)).toBe('403 rank_too_low');
    expect(await outcome(admin, 'delete', `/organizations/${a}${members}/${member.id}`)).toBe('204');
  });

  it('leave by themselves', async () => {
    await grantRole(server, { userId: member.id }, 'partner', { organizationId: a });
    expect(await outcome(member, 'delete', `/organizations/${a}${members}/me`)).toBe('204');
    expect(await outcome(member, 'get', `/organizations/${a}`)).toBe(hidden);
    expect(await server.database.db('roleGrants').where({ organizationId: a, userId: member.id }).select('id')).toEqual(
      [],
    );
    const [event] = await server.database
      .db('auditLogs')
      .where({ action: 'organization.leave' })
      .orderBy('id', 'desc')
      .limit(1);
    expect(event).toMatchObject({ actorId: member.id, targetId: member.id, meta: { organizationId: a } });
  });

  it('do not shed by going what is denied to them, nor are rid of it by whom it is not theirs to lift', async () => {
    const change = () => outcome(manager, 'patch', `/organizations/${child}`, { description: randomUUID() });
    const denial = { effect: 'deny', organizationId: child } as const;
    await addMember(server, child, manager.id);
    await grantPermission(server, { userId: manager.id }, 'organizations:write:organization', denial);
    expect(await change()).toBe(missing);
    // From above they would have it.
    expect(await outcome(manager, 'delete', `/organizations/${child}${members}/me`)).toBe('403 own_denial');
    expect(await outcome(manager, 'delete', `/organizations/${child}${members}/${manager.id}`)).toBe(missing);
    expect(await outcome(owner, 'delete', `/organizations/${child}${members}/${manager.id}`)).toBe('204');
    expect(await change()).toBe('200');

    const { id: groupId } = await makeGroup(server, { organizationId: a, members: [member.id] });
    await grantPermission(server, { groupId }, 'sessions:read:own', { effect: 'deny' });
    expect(await outcome(member, 'delete', `/organizations/${a}${members}/me`)).toBe('403 own_denial');
    expect(await outcome(owner, 'delete', `/organizations/${a}${members}/${member.id}`)).toBe(missing);
    // Nor with the whole organization.
    await server.database.db('organizations').where({ id: child }).delete();
    expect(await outcome(owner, 'delete', `/organizations/${a}?force=true`)).toBe(missing);
    expect(await outcome(member, 'get', '/sessions')).toBe(missing);
    expect(await outcome(admin, 'delete', `/organizations/${a}${members}/${member.id}`)).toBe('204');
    expect(await outcome(member, 'get', '/sessions')).toBe('200');

    // Nobody is kept where nothing is to be had.
    const one = await someone();
    await addMember(server, a, one.id);
    await grantPermission(server, { userId: one.id }, 'groups:read:organization', {
      effect: 'deny',
      organizationId: a,
    });
    expect(await outcome(one, 'delete', `/organizations/${a}${members}/me`)).toBe('204');
  });
});

describe('Owners', () => {
  const make = (caller: TestCaller, userId: string, id = a) =>
    outcome(caller, 'post', `/organizations/${id}/owners`, { userId });
  const leave = (caller: TestCaller, id = a) => outcome(caller, 'delete', `/organizations/${id}/members/me`);

  it('hand it over: there is one at every moment', async () => {
    expect(await make(owner, unknown)).toBe('404 member_not_found');
    expect(await make(owner, nobody.id)).toBe('404 member_not_found');
    expect(await make(owner, member.id)).toBe('201');
    expect(await outcome(owner, 'patch', `/organizations/${a}/members/${owner.id}`, { isOwner: false })).toBe('200');
    expect(await owners(a)).toEqual([member.id]);
    expect(await make(owner, owner.id)).toBe('403 missing_permission');
    expect(await leave(owner)).toBe('204');
    expect(await leave(member)).toBe('409 last_owner');
  });

  it('of one above make and unmake them', async () => {
    await addMember(server, child, member.id);
    expect(await make(manager, member.id, child)).toBe('403 owner_needed');
    expect(await make(owner, member.id, child)).toBe('201');
    await addMember(server, child, nobody.id, { isOwner: true });
    expect(await outcome(owner, 'delete', `/organizations/${child}/owners/${member.id}`)).toBe('204');
    // Not the other way round.
    expect(await make(nobody, member.id, a)).toMatch(/^40[34] /);
  });

  it('count only while their accounts are active', async () => {
    await addMember(server, a, member.id, { isOwner: true });
    await server.database.db('users').where({ id: member.id }).update({ status: 'deactivated' });
    expect(await leave(owner)).toBe('409 last_owner');
    await server.database.db('users').where({ id: member.id }).update({ status: 'active' });
    expect(await leave(owner)).toBe('204');
  });

  it('do not all leave, however many go at once', async () => {
    for (let round = 0; round < 3; round++) {
      const both = await Promise.all([someone(), someone()]);
      const { id } = await makeOrganization(server, { owners: both.map((one) => one.id) });
      const outcomes = await Promise.all(both.map((one) => leave(one, id)));
      expect(outcomes.toSorted()).toEqual(['204', '409 last_owner']);
      expect(await owners(id)).toHaveLength(1);
    }
  });

  it('do not all go, whichever ways they take at once', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => someManager()));
    const [one, two, three, four] = all as [TestCaller, TestCaller, TestCaller, TestCaller];
    const { id } = await makeOrganization(server, { owners: all.map((each) => each.id) });
    const outcomes = await Promise.all([
      leave(one, id),
      outcome(two, 'delete', `/organizations/${id}/owners/${two.id}`),
      outcome(admin, 'delete', `/organizations/${id}/members/${three.id}`),
      outcome(admin, 'delete', `/users/${four.id}`),
    ]);
    expect(outcomes.filter((code) => code === '409 last_owner')).toHaveLength(1);
    expect(await owners(id)).toHaveLength(1);
  });

  it('do not close their accounts before they have handed over what nobody else owns', async () => {
    const one = await someManager();
    // What they own beside this is not theirs alone.
    const [{ organizationId }] = await server.database.db('organizationMembers').where({ userId: one.id });
    await addMember(server, organizationId, admin.id, { isOwner: true });
    const first = await makeOrganization(server, { name: `Z ${randomUUID()}`, owners: [one.id] });
    const second = await makeOrganization(server, { name: `A ${randomUUID()}`, owners: [one.id], isActive: false });
    const shared = await makeOrganization(server, { owners: [one.id, owner.id] });
    const refused = await ask(one, 'delete', `/users/${one.id}`, { password: 'correct horse battery staple' });
    expect(refused).toMatchObject({ status: 409, code: 'last_owner', json: { organizations: [second, first] } });
    expect(await outcome(admin, 'delete', `/users/${one.id}`)).toBe('409 last_owner');
    expect(await outcome(one, 'delete', `/organizations/${first.id}`)).toBe('204');
    await addMember(server, second.id, owner.id, { isOwner: true });
    expect(await outcome(admin, 'delete', `/users/${one.id}`)).toBe('204');
    expect(await owners(shared.id)).toEqual([owner.id]);
  });
});
