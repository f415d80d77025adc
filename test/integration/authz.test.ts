/** Questions about what somebody may do: `/authz/check`, and OpenID AuthZEN Authorization API 1.0. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, giveRole, machineOf, nobody, type TestCaller } from '../support/callers.ts';
import { grantPermission } from '../support/organizations.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let admin: TestCaller;
let person: TestCaller;
let enforcer: TestCaller;

beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'super_admin' });
  person = await callerOf(server);
  enforcer = await machineOf(server, 'authz:check:any');
});
afterAll(() => server?.stop());

type Answer = { allowed: boolean; because: Record<string, unknown>; reason: string };
const check = async (by: TestCaller, ...checks: unknown[]): Promise<Answer[]> => {
  const { status, json } = await by.request('post', '/authz/check', { checks });
  expect([status, json.code]).toEqual([200, undefined]);
  return json.results;
};
const refusals = async () =>
  Number((await server.database.db('auditLogs').where({ action: 'authorization.check' }).count().first())?.count);

/** A role with these permissions. */
const makeRole = async (name: string, rank: number, permissions: readonly string[]) => {
  const { db } = server.database;
  const [{ id }] = await db('roles').insert({ id: uuid(), name, rank }).returning('id');
  for (const permission of permissions) {
    await db('permissions').insert({ name: permission }).onConflict('name').ignore();
    const { id: permissionId } = await db('permissions').where({ name: permission }).first('id');
    await db('rolePermissions').insert({ roleId: id, permissionId });
  }
};

describe('POST /authz/check', () => {
  it('answers as the routes do, in the order of the questions', async () => {
    const routes = [
      ['get', `/users/${person.id}`, { action: 'read', resource: { type: 'users', id: person.id } }],
      ['get', `/users/${admin.id}`, { action: 'read', resource: { type: 'users', id: admin.id } }],
      ['get', '/sessions', { action: 'sessions:read:own' }],
      [
        'get',
        `/users/${admin.id}/sessions`,
        { action: { name: 'read' }, resource: { type: 'sessions', owner: person.id } },
      ],
      ['get', '/clients', { action: 'clients:read:any' }],
      ['get', '/policies', { action: 'policies:read', resource: 'policies' }],
    ] as const;
    const answers = await check(person, ...routes.map(([, , question]) => ({ subject: person.id, ...question })));
    for (const [at, [method, path]] of routes.entries()) {
      const { status } = await person.request(method, path);
      expect([path, answers[at]?.allowed]).toEqual([path, status === 200]);
    }
  });

  it('believes nobody about our own things', async () => {
    const told = { owner: person.id, organization: uuid(), properties: { owner: person.id } };
    const [user, session] = await check(
      enforcer,
      { subject: person.id, action: 'read', resource: { type: 'users', id: admin.id, ...told } },
      { subject: person.id, action: 'read', resource: { type: 'sessions', ...told } },
    );
    expect([user?.allowed, session?.allowed]).toEqual([false, false]);
    const { uid } = await server.database.db('sessions').where({ userId: person.id }).first('uid');
    const [own, others] = await check(
      enforcer,
      { subject: person.id, action: 'read', resource: { type: 'sessions', id: uid, owner: admin.id } },
      { subject: (await callerOf(server)).id, action: 'read', resource: { type: 'sessions', id: uid } },
    );
    expect([own?.allowed, others?.allowed]).toEqual([true, false]);
  });

  it('takes every name of a type for what it is', async () => {
    for (const type of ['constructor', 'toString', '__proto__'])
      expect((await check(enforcer, { subject: person.id, action: 'read', resource: { type, id: '1' } }))[0]).toEqual({
        allowed: false,
        because: { rule: 'default', permission: `${type}:read:any` },
        reason: `nothing gives ${type}:read:any`,
      });
    await grantPermission(server, { userId: person.id }, 'constructor:read:any');
    await grantPermission(server, { userId: person.id }, 'purchase-orders2:*:any');
    const order = { subject: person.id, action: 'sign-off', resource: { type: 'purchase-orders2', id: '1' } };
    expect((await check(enforcer, order))[0]?.allowed).toBe(true);
    const [given] = await check(enforcer, { subject: person.id, action: 'read', resource: 'constructor' });
    expect(given?.allowed).toBe(true);
  });

  it('looks up where our own things lie, and takes that of other things from the question', async () => {
    const { db } = server.database;
    const [above, beneath, elsewhere] = [uuid(), uuid(), uuid()];
    await db('organizations').insert([
      { id: above, name: 'Above' },
      { id: elsewhere, name: 'Elsewhere' },
    ]);
    await db('organizations').insert({ id: beneath, name: 'Beneath', parentId: above });
    const [manager, member] = [await callerOf(server), await callerOf(server)];
    await db('organizationMembers').insert([
      { organizationId: above, userId: manager.id, isOwner: true },
      { organizationId: beneath, userId: member.id },
    ]);
    const ask = (type: string, id: string, action = 'read') => ({
      subject: manager.id,
      action,
      resource: { type, id },
    });
    const answers = await check(
      enforcer,
      ask('organizations', beneath),
      ask('companies', above, 'write'),
      ask('organizations', elsewhere),
      ask('users', member.id),
      ask('users', person.id),
      { subject: manager.id, action: 'groups:read:organization' },
      {
        subject: manager.id,
        action: 'groups:read:organization',
        resource: { type: 'groups', organization: elsewhere },
      },
    );
    expect(answers.map(({ allowed }) => allowed)).toEqual([true, true, false, true, false, true, false]);
    expect(answers[0]?.because).toMatchObject({ rule: 'permission', role: 'manager', organizationId: above });
    await makeRole('writer', 20, ['notes:write:organization']);
    await giveRole(server, manager.id, 'writer');
    const notes = (organization: unknown) => ({
      subject: manager.id,
      action: 'write',
      resource: { type: 'notes', id: '1', organization },
    });
    const told = await check(
      enforcer,
      notes(beneath),
      notes([elsewhere]),
      notes('not an id'),
      notes([elsewhere, above]),
    );
    expect(told.map(({ allowed }) => allowed)).toEqual([true, false, false, true]);
  });

  it('knows our own things by their ids however these are written', async () => {
    const { db } = server.database;
    const organizationId = uuid();
    await db('organizations').insert({ id: organizationId, name: 'Denying' });
    const [asking, other] = [await callerOf(server, { role: 'admin' }), await callerOf(server)];
    for (const { id: userId } of [asking, other]) await db('organizationMembers').insert({ organizationId, userId });
    const names = ['users:read:organization', 'users:write:own'];
    await db('permissions')
      .insert(names.map((name) => ({ name })))
      .onConflict('name')
      .ignore();
    for (const { id: permissionId } of await db('permissions').whereIn('name', names).select('id'))
      await db('permissionGrants').insert({ userId: asking.id, permissionId, effect: 'deny' });
    const ids = [other.id, other.id.toUpperCase()];
    const ask = (id: string) => ({ subject: asking.id, action: 'read', resource: { type: 'users', id } });
    expect((await check(enforcer, ...ids.map(ask))).map(({ because: { rule } }) => rule)).toEqual(['denial', 'denial']);
    for (const id of ids) expect((await asking.request('get', `/users/${id}`)).status).toBe(403);
    const own = (await asking.request('patch', `/users/${asking.id.toUpperCase()}`, { name: 'Changed' })).status;
    expect(own).toBe(403);
  });

  it('does not tell who else belongs to the organizations of whoever asks', async () => {
    const { db } = server.database;
    const organizationId = uuid();
    await db('organizations').insert({ id: organizationId, name: 'Discreet' });
    const [asking, other, stranger] = [await callerOf(server), await callerOf(server), await callerOf(server)];
    for (const { id: userId } of [asking, other]) await db('organizationMembers').insert({ organizationId, userId });
    const ask = (id: string) => ({ subject: asking.id, action: 'read', resource: { type: 'users', id } });
    const answers = await check(asking, ask(other.id), ask(stranger.id), ask(uuid()));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  });

  it('lets others have their turn while it answers many questions', async () => {
    const condition = { some: [{ var: 'resource.properties.tags' }, { '==': [{ var: '' }, 'secret'] }] };
    const members = { name: 'many-tags', effect: 'deny', resources: ['documents'], actions: ['read'], condition };
    const { json } = await admin.request('post', '/policies', members);
    expect((await admin.request('post', `/policies/${json.id}/activate`, { version: 1 })).status).toBe(200);
    const properties = { tags: Array.from({ length: 3000 }, () => 'x') };
    /** The longest that others waited, as a part of the whole. */
    const longestWait = async () => {
      const turns = [performance.now()];
      const timer = setInterval(() => turns.push(performance.now()), 1);
      const { status } = await person.request('post', '/access/v1/evaluations', {
        subject: { type: 'user', id: person.id },
        action: { name: 'read' },
        resource: { type: 'documents', id: '1', properties },
        evaluations: Array.from({ length: 1000 }, () => ({})),
      });
      clearInterval(timer);
      const end = performance.now();
      expect(status).toBe(200);
      const waits = turns.map((turn, at) => (turns[at + 1] ?? end) - turn);
      return Math.max(...waits) / (end - (turns[0] as number));
    };
    // A machine that stood still in between was none's doing here; what gives no turn gives none at any time.
    let wait = await longestWait();
    for (let again = 0; again < 4 && wait >= 1 / 2; again++) wait = await longestWait();
    await admin.request('delete', `/policies/${json.id}`);
    expect(wait).toBeLessThan(1 / 2);
  });

  it('of oneself goes as far as the token', async () => {
    const narrow = await callerOf(server, { role: 'admin', scope: 'authz:check:own users:read:own' });
    const answers = await check(
      narrow,
      { subject: narrow.id, action: 'users:read:own' },
      { subject: narrow.id, action: 'users:read:any' },
      { subject: narrow.id, action: 'sessions:read:own' },
      { subject: narrow.id, action: 'mfa:nothing:any' },
    );
    expect(answers.map(({ allowed, because: { rule } }) => [allowed, rule])).toEqual([
      [true, 'permission'],
      [false, 'scope'],
      [false, 'scope'],
      [false, expect.stringMatching(/scope|default/)],
    ]);
    const others = await narrow.request('post', '/authz/check', {
      checks: [{ subject: admin.id, action: 'users:read:own' }],
    });
    expect([others.status, others.json.code]).toEqual([403, 'missing_permission']);
  });

  it('knows subjects that are not there by no other answer than no', async () => {
    const ids = [uuid(), 'nobody', "'; drop table users", '\u{1F600}'];
    const types = ['user', 'client', 'api_key', 'robot'];
    const checks = types.flatMap((type) =>
      ids.map((id) => ({ subject: { type, id }, action: 'read', resource: 'users' })),
    );
    for (const answer of await check(enforcer, ...checks))
      expect(answer).toMatchObject({ allowed: false, because: { rule: 'subject' } });
  });

  it('answers for a key as far as the key goes', async () => {
    const { json } = await person.request('post', '/api-keys', { name: 'k', scopes: ['users:read:own'] });
    const id = json.id ?? json.key?.id;
    if (!id) return;
    const subject = { type: 'api_key', id };
    const answers = await check(
      enforcer,
      { subject, action: 'read', resource: { type: 'users', id: person.id } },
      { subject, action: 'sessions:read:own' },
    );
    expect(answers.map(({ allowed }) => allowed)).toEqual([true, false]);
  });

  it('answers a thousand at once, with a query for each kind of fact, and one event', async () => {
    const before = await refusals();
    const subjects = [person.id, admin.id, enforcer.id];
    const checks = Array.from({ length: 1000 }, (_, at) => ({
      subject: at % 3 === 2 ? { type: 'client', id: enforcer.id } : subjects[at % 3],
      action: 'read',
      resource: { type: ['users', 'groups', 'notes'][at % 3], id: uuid() },
    }));
    let queries = 0;
    const count = () => queries++;
    server.database.db.on('query', count);
    const answers = await check(enforcer, ...checks);
    server.database.db.removeListener('query', count);
    expect(answers).toHaveLength(1000);
    expect(queries).toBeLessThan(15);
    expect((await refusals()) - before).toBe(1);
    const more = await enforcer.request('post', '/authz/check', { checks: [...checks, checks[0]] });
    expect([more.status, more.json.code]).toEqual([400, 'invalid_request']);
  });

  it('the time is this server’s, and about oneself the address is that of the request', async () => {
    const rule = { name: 'clock', effect: 'deny', resources: ['clocks'], actions: ['read'] };
    await makeRole('watch', 20, ['clocks:read:any', 'authz:check:own']);
    const watcher = await callerOf(server, { role: 'watch' });
    const context = { time: '1999-01-01T00:00:00Z', address: '203.0.113.9', acr: 'x' };
    const condition = {
      or: [
        { '<': [{ date: 'UTC' }, '2020-01-01'] },
        {
          and: [
            { in_network: [{ var: 'context.address' }, '203.0.113.0/24'] },
            { '===': [{ var: 'context.acr' }, 'x'] },
          ],
        },
      ],
    };
    const { json } = await admin.request('post', '/policies', { ...rule, condition });
    await admin.request('post', `/policies/${json.id}/activate`, { version: 1 });
    const question = { subject: watcher.id, action: 'clocks:read:any', context };
    const [own] = await check(watcher, question);
    const [asked] = await check(enforcer, question);
    const [unsaid] = await check(enforcer, { ...question, context: { time: context.time } });
    await admin.request('delete', `/policies/${json.id}`);
    expect([own?.allowed, asked?.allowed, unsaid?.allowed]).toEqual([true, false, true]);
  });

  for (const [name, body, status, code] of [
    ['no questions', { checks: [] }, 400, 'invalid_request'],
    ['no subject', { checks: [{ action: 'read', resource: 'users' }] }, 400, 'invalid_request'],
    ['no resource', { checks: [{ subject: 'x', action: 'read' }] }, 400, 'invalid_request'],
    [
      'control characters',
      { checks: [{ subject: 'a\u0000b', action: 'read', resource: 'users' }] },
      400,
      'invalid_request',
    ],
    ['no JSON', '{', 400, 'invalid_json'],
  ] as const)
    it(`refuses ${name}`, async () => {
      const answer = await enforcer.request('post', '/authz/check', body);
      expect([answer.status, answer.json.code]).toEqual([status, code]);
    });

  it('is for those who may ask', async () => {
    const question = { checks: [{ subject: person.id, action: 'users:read:own' }] };
    const without = await callerOf(server, { scope: 'users:read:own' });
    for (const [by, status] of [
      [nobody(server), 401],
      [without, 403],
      [await machineOf(server, 'users:read:any'), 403],
    ] as const)
      expect((await by.request('post', '/authz/check', question)).status).toBe(status);
  });
});

describe('OpenID AuthZEN Authorization API 1.0', () => {
  const evaluate = (body: unknown, headers = {}) => enforcer.request('post', '/access/v1/evaluation', body, headers);
  const evaluateAll = (body: unknown) => enforcer.request('post', '/access/v1/evaluations', body);
  let reader: TestCaller;
  const subject = () => ({ type: 'user', id: reader.id });
  const document = (id: string) => ({ resource: { type: 'document', id, properties: { shelf: id } } });

  beforeAll(async () => {
    reader = await callerOf(server);
    const condition = { in: [{ var: 'resource.id' }, ['1', '3']] };
    const rule = { name: 'readers', effect: 'allow', resources: ['document'], actions: ['read'], condition };
    const { json } = await admin.request('post', '/policies', rule);
    await admin.request('post', `/policies/${json.id}/activate`, { version: 1 });
  });

  it('metadata tells where the endpoints are, and leaves out those that are not there (section 9)', async () => {
    const response = await fetch(`${server.address}/.well-known/authzen-configuration`);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      expect.stringMatching(/^application\/json/),
    ]);
    expect(await response.json()).toEqual({
      policy_decision_point: server.issuer,
      access_evaluation_endpoint: `${server.issuer}/access/v1/evaluation`,
      access_evaluations_endpoint: `${server.issuer}/access/v1/evaluations`,
    });
  });

  it('a decision is 200, whatever it is, and the request’s id comes back (sections 6 and 10.1)', async () => {
    const id = 'bfe9eb29-ab87-4ca3-be83-a1d5d8305716';
    for (const [one, decision] of [
      ['1', true],
      ['2', false],
    ] as const) {
      const body = {
        subject: subject(),
        action: { name: 'read', properties: { method: 'GET' } },
        ...document(one),
        context: { time: '1985-10-26T01:22-07:00' },
        unknown: 1,
      };
      const { status, json, headers } = await evaluate(body, { 'x-request-id': id });
      expect([status, json.decision, headers.get('x-request-id')]).toEqual([200, decision, id]);
    }
  });

  it('what a required member lacks is a 400 (section 10.1.1)', async () => {
    const whole = { subject: subject(), action: { name: 'read' }, ...document('1') };
    for (const lacking of [
      { ...whole, subject: undefined },
      { ...whole, action: undefined },
      { ...whole, action: {} },
      { ...whole, resource: { type: 'document' } },
      { ...whole, subject: { id: 'x' } },
      { ...whole, subject: 'x' },
    ]) {
      expect((await evaluate(lacking)).status).toBe(400);
      expect((await evaluateAll({ evaluations: [whole, lacking] })).status).toBe(400);
    }
    expect((await nobody(server).request('post', '/access/v1/evaluation', whole)).status).toBe(401);
    expect((await enforcer.request('get', '/access/v1/evaluation')).status).toBe(405);
  });

  const three = { evaluations: [document('1'), document('2'), document('3')] };
  for (const [name, options, expected] of [
    ['all are answered unless told otherwise', undefined, [true, false, true]],
    ['execute_all', { evaluations_semantic: 'execute_all', another_option: 'value' }, [true, false, true]],
    ['deny_on_first_deny', { evaluations_semantic: 'deny_on_first_deny' }, [true, false]],
    ['permit_on_first_permit', { evaluations_semantic: 'permit_on_first_permit' }, [true]],
  ] as const)
    it(`${name} (section 7.1.2)`, async () => {
      const { status, json } = await evaluateAll({ subject: subject(), action: { name: 'read' }, ...three, options });
      expect(status).toBe(200);
      expect(json.decision).toBeUndefined();
      expect(json.evaluations.map(({ decision }: { decision: boolean }) => decision)).toEqual(expected);
      const last = json.evaluations.at(-1).context;
      if (options && expected.length < 3)
        expect(last).toMatchObject({ code: '200', reason: options.evaluations_semantic });
    });

  it('what stands at the top is for those that do not say it, and an empty list is a single question (section 7.1)', async () => {
    const top = { subject: subject(), action: { name: 'read' }, resource: document('2').resource };
    const several = await evaluateAll({
      ...top,
      evaluations: [{}, document('3'), { ...document('1'), action: { name: 'edit' } }],
    });
    expect(several.json.evaluations.map(({ decision }: { decision: boolean }) => decision)).toEqual([
      false,
      true,
      false,
    ]);
    for (const body of [{ ...top, evaluations: [] }, top]) {
      const { json } = await evaluateAll({ ...body, ...document('1') });
      expect([json.decision, json.evaluations]).toEqual([true, undefined]);
    }
    expect((await evaluateAll({ ...top, ...three, options: { evaluations_semantic: 'some' } })).status).toBe(400);
  });

  it('the Todo scenario of the interoperability events', async () => {
    await makeRole('todo_admin', 1, ['todo:can_create_todo:any', 'todo:can_delete_todo:any']);
    await makeRole('todo_editor', 1, ['todo:can_create_todo:any']);
    await makeRole('todo_viewer', 1, []);
    const people: Record<string, TestCaller> = {};
    for (const [name, role] of [
      ['rick', 'todo_admin'],
      ['morty', 'todo_editor'],
      ['summer', 'todo_editor'],
      ['beth', 'todo_viewer'],
      ['jerry', 'todo_viewer'],
    ] as const) {
      const one = await callerOf(server);
      await giveRole(server, one.id, role);
      people[name] = one;
    }
    const idOf = (name: string) => people[name]?.id as string;
    for (const [name, rule] of Object.entries({
      everybody: { resources: ['todo', 'person'], actions: ['can_read_todos', 'can_read_user'], condition: true },
      // What an evil genius may, and editors with what is theirs.
      genius: {
        resources: ['todo'],
        actions: ['can_update_todo'],
        condition: { '===': [{ var: 'subject.id' }, idOf('rick')] },
      },
      owners: {
        resources: ['todo'],
        actions: ['can_update_todo', 'can_delete_todo'],
        condition: {
          and: [
            { in: ['todo_editor', { var: 'subject.roles' }] },
            { '===': [{ var: 'resource.properties.ownerID' }, { var: 'subject.id' }] },
          ],
        },
      },
    })) {
      const { json } = await admin.request('post', '/policies', { name: `todo-${name}`, effect: 'allow', ...rule });
      expect((await admin.request('post', `/policies/${json.id}/activate`, { version: 1 })).status).toBe(200);
    }
    const expected: Record<
      string,
      [create: boolean, ricks: boolean, own: boolean, deleteRicks: boolean, deleteOwn: boolean]
    > = {
      rick: [true, true, true, true, true],
      morty: [true, false, true, false, true],
      summer: [true, false, true, false, true],
      beth: [false, false, false, false, false],
      jerry: [false, false, false, false, false],
    };
    for (const [name, [create, ricks, own, deleteRicks, deleteOwn]] of Object.entries(expected)) {
      const todo = (owner: string) => ({ type: 'todo', id: uuid(), properties: { ownerID: idOf(owner) } });
      const { json } = await evaluateAll({
        subject: { type: 'user', id: idOf(name) },
        evaluations: [
          { action: { name: 'can_read_user' }, resource: { type: 'person', id: 'beth@the-smiths.com' } },
          { action: { name: 'can_read_todos' }, resource: { type: 'todo', id: 'todo-1' } },
          { action: { name: 'can_create_todo' }, resource: { type: 'todo', id: 'todo-1' } },
          { action: { name: 'can_update_todo' }, resource: todo('rick') },
          { action: { name: 'can_update_todo' }, resource: todo(name) },
          { action: { name: 'can_delete_todo' }, resource: todo('rick') },
          { action: { name: 'can_delete_todo' }, resource: todo(name) },
        ],
      });
      expect([name, ...json.evaluations.map(({ decision }: { decision: boolean }) => decision)]).toEqual([
        ...[name, true, true, create],
        ...[ricks, own, deleteRicks, deleteOwn],
      ]);
    }
  });
});
