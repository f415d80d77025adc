/** Policies: writing, activating and ending them, what they make of requests, and what they are tried on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, giveRole, machineOf, requester, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { openRelay } from '../support/relay.ts';
import { type Replica, startReplica } from '../support/replicas.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let admin: TestCaller;
let person: TestCaller;
let names = 0;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'super_admin' });
  person = await callerOf(server);
});
afterAll(() => server?.stop());

const rule = { effect: 'deny', resources: ['documents'], actions: ['write'], condition: true };

const write = async (members: object, by = admin) => {
  const answer = await by.request('post', '/policies', { name: `policy-${++names}`, ...rule, ...members });
  expect([answer.status, answer.json]).toEqual([201, expect.anything()]);
  return answer.json as { id: string; name: string };
};
const activate = (id: string, version = 1, by = admin) => by.request('post', `/policies/${id}/activate`, { version });
const end = (id: string) => admin.request('delete', `/policies/${id}`);

/** A policy in force for as long as the function runs. */
const withPolicy = async (members: object, run: (policy: { id: string; name: string }) => Promise<void>) => {
  const policy = await write(members);
  const { status, json } = await activate(policy.id);
  expect([status, json.code]).toEqual([200, undefined]);
  try {
    await run(policy);
  } finally {
    await end(policy.id);
  }
};

it('is a draft, then active in one of its versions, then a draft again, then gone', async () => {
  const { id, name } = await write({});
  const second = await admin.request('post', `/policies/${id}/versions`, { ...rule, condition: false });
  expect(second.json).toMatchObject({
    activeVersion: null,
    versions: [{ version: 2, condition: false }, { version: 1 }],
  });
  expect((await activate(id, 2)).json).toMatchObject({ activeVersion: 2, activatedRank: 100, activatedBy: admin.id });
  const list = await admin.request('get', '/policies?active=true');
  expect(list.json.data.map((one: { name: string }) => one.name)).toEqual([name]);
  expect((await admin.request('post', `/policies/${id}/deactivate`)).json.activeVersion).toBeNull();
  expect((await activate(id, 3)).json.code).toBe('policy_version_not_found');
  expect((await end(id)).status).toBe(204);
  expect((await admin.request('get', `/policies/${id}`)).json.code).toBe('policy_not_found');
});

it('a denial refuses what is permitted, at once, and not what ranks above', async () => {
  expect((await person.request('get', `/users/${person.id}`)).status).toBe(200);
  const low = await callerOf(server, { role: 'admin' });
  const policy = await write({ resources: ['users'], actions: ['read'] }, low);
  expect((await activate(policy.id, 1, low)).status).toBe(200);
  const refused = await person.request('get', `/users/${person.id}`);
  expect([refused.status, refused.json.code]).toEqual([403, 'missing_permission']);
  const asked = await person.request('post', '/authz/check', {
    checks: [{ subject: person.id, action: 'users:read:own' }],
  });
  expect(asked.json.results[0]).toMatchObject({
    allowed: false,
    because: { rule: 'policy', policy: policy.name, version: 1, effect: 'deny' },
  });
  expect((await admin.request('get', `/users/${person.id}`)).status).toBe(200);
  expect((await end(policy.id)).status).toBe(204);
  expect((await person.request('get', `/users/${person.id}`)).status).toBe(200);
});

it('an allowance gives what no permission does, and what cannot be evaluated denies and says so', async () => {
  const question = { checks: [{ subject: person.id, action: 'write', resource: { type: 'notes', owner: person.id } }] };
  const ask = async () => (await admin.request('post', '/authz/check', question)).json.results[0];
  expect(await ask()).toMatchObject({ allowed: false, because: { rule: 'default', permission: 'notes:write:own' } });
  await withPolicy({ template: 'owner-may', parameters: { resources: ['notes'] } }, async ({ name }) => {
    expect(await ask()).toMatchObject({ allowed: true, because: { rule: 'policy', policy: name, effect: 'allow' } });
    const broken = { effect: 'allow', resources: ['notes'], condition: { '<': [{ var: 'subject.roles' }, 1] } };
    await withPolicy({ ...broken }, async ({ name: second }) => {
      expect(await ask()).toMatchObject({
        allowed: false,
        because: { rule: 'policy', policy: second, effect: 'deny', error: expect.stringMatching(/number/) },
      });
    });
  });
});

it('acr, risk and address are those of the request and its session', async () => {
  for (const [condition, status] of [
    [{ '===': [{ var: 'context.acr' }, 'urn:countersign:acr:single-factor'] }, 403],
    [{ '>=': [{ var: 'context.risk' }, 0] }, 403],
    [{ '===': [{ var: 'context.risk' }, null] }, 200],
    [{ in_network: [{ var: 'context.address' }, '127.0.0.0/8', '::1'] }, 403],
    [{ in_network: [{ var: 'context.address' }, '10.0.0.0/8'] }, 200],
    [{ '<': [{ date: 'UTC' }, '2020-01-01'] }, 200],
    [{ and: [{ '===': [{ var: 'subject.id' }, person.id] }, { in: ['user', { var: 'subject.roles' }] }] }, 403],
  ] as const) {
    const policy = await write({ resources: ['sessions'], actions: ['read'], condition });
    // Somebody who ranks as high as all others, and is bound as well.
    expect((await activate(policy.id)).status).toBe(200);
    const answer = await person.request('get', '/sessions');
    await end(policy.id);
    expect([condition, answer.status]).toEqual([condition, status]);
  }
});

describe('refuses', () => {
  for (const { name, body, expected } of [
    { name: 'an unknown operator', body: { condition: { method: ['x'] } }, expected: [400, 'invalid_request'] },
    { name: 'a template that is none', body: { template: 'constructor' }, expected: [400, 'invalid_request'] },
    {
      name: 'parameters that are not valid',
      body: { template: 'own-network', parameters: { networks: ['x'] } },
      expected: [400, 'invalid_request'],
    },
    { name: 'an action that is no name', body: { actions: ['a b'] }, expected: [400, 'invalid_request'] },
    { name: 'a rule without an effect', body: { effect: undefined }, expected: [400, 'invalid_request'] },
    {
      name: 'a type by its other name, which nothing asks about',
      body: { resources: ['companies'] },
      expected: [400, 'invalid_request'],
    },
  ]) {
    it(name, async () => {
      const { status, json } = await admin.request('post', '/policies', { name: 'refused', ...rule, ...body });
      expect([status, json.code]).toEqual(expected);
      expect(await server.database.db('policies').where({ name: 'refused' })).toEqual([]);
    });
  }

  it('a name that is taken', async () => {
    const { name } = await write({});
    expect((await admin.request('post', '/policies', { ...rule, name })).json.code).toBe('policy_exists');
  });

  it('to let somebody activate what gives more than they hold, or ranks above them', async () => {
    const low = await callerOf(server, { role: 'admin' });
    const { id } = await write({ effect: 'allow', resources: ['payroll'], actions: ['*'] });
    const refused = await activate(id, 1, low);
    expect([refused.status, refused.json.code]).toEqual([403, 'exceeds_yours']);
    const any = await write({ effect: 'allow', resources: ['Weird-Type'], actions: ['x'] });
    expect((await activate(any.id, 1, low)).json.code).toBe('exceeds_yours');
    expect((await activate(any.id)).status).toBe(200);
    for (const [method, path] of [
      ['post', `/policies/${any.id}/deactivate`],
      ['delete', `/policies/${any.id}`],
    ] as const)
      expect((await low.request(method, path)).json.code).toBe('rank_too_low');
    expect((await activate(any.id, 1, low)).json.code).toBe('rank_too_low');
    await end(any.id);
  });

  it('to lock its author out', async () => {
    for (const condition of [true, { '<': [{ var: 'subject.roles' }, 1] }]) {
      const { id } = await write({ resources: ['*'], actions: ['*'], condition });
      const { status, json } = await activate(id);
      expect([status, json.code]).toEqual([409, 'policy_locks_out']);
    }
    expect((await admin.request('get', '/policies')).status).toBe(200);
  });

  it('somebody who may not', async () => {
    const { id } = await write({});
    for (const [method, path, body] of [
      ['get', '/policies', undefined],
      ['get', '/policies/templates', undefined],
      ['get', `/policies/${id}`, undefined],
      ['post', '/policies', { name: 'mine', ...rule }],
      ['post', `/policies/${id}/dry-run`, {}],
      ['delete', `/policies/${id}`, undefined],
    ] as const)
      expect([path, (await person.request(method, path, body)).status]).toEqual([path, 403]);
  });
});

it('a dry run tells which answers would change, of recorded requests and of given ones, and changes nothing', async () => {
  const { id } = await write({
    resources: ['sessions'],
    actions: ['read'],
    condition: { '===': [{ var: 'subject.id' }, person.id] },
  });
  // It writes what has gathered. Of all that the tests above asked, only a sample is kept; of the few after it, each one is.
  const earlier = (await admin.request('post', `/policies/${id}/dry-run`, {})).json;
  for (let count = 0; count < 3; count++) expect((await person.request('get', '/sessions')).status).toBe(200);
  expect((await admin.request('get', '/sessions')).status).toBe(200);
  const requests = [
    { subject: person.id, action: 'sessions:read:own' },
    { subject: admin.id, action: 'sessions:read:own' },
  ];
  const { status, json } = await admin.request('post', `/policies/${id}/dry-run`, { requests });
  expect([status, json.version, json.notJudged]).toEqual([200, 1, 0]);
  expect(json.examined - earlier.examined).toBe(6);
  expect(json.changed - earlier.changed).toBe(4);
  for (const change of json.changes)
    expect(change).toMatchObject({
      question: { subject: { id: person.id }, action: 'read' },
      before: { allowed: true },
      after: { allowed: false, because: { rule: 'policy', version: 1 } },
    });
  expect((await person.request('get', '/sessions')).status).toBe(200);
  const unseen = await write({
    resources: ['sessions'],
    actions: ['*'],
    template: undefined,
    condition: { in_network: [{ var: 'context.address' }, '10.0.0.0/8'] },
  });
  const unjudged = await admin.request('post', `/policies/${unseen.id}/dry-run`, {});
  expect([unjudged.json.examined, unjudged.json.notJudged > 0]).toEqual([0, true]);
});

it('what is recorded holds no names, addresses or properties', async () => {
  await admin.request('post', '/authz/check', {
    checks: [
      {
        subject: { type: 'user', id: person.id, properties: { name: 'Ada Lovelace' } },
        action: 'read',
        resource: { type: 'mails', id: 'ada@example.com', owner: 'ada@example.com', properties: { text: 'secret' } },
        context: { address: '192.0.2.7', note: 'private' },
      },
    ],
  });
  const { id } = await write({});
  await admin.request('post', `/policies/${id}/dry-run`, {});
  const rows = await server.database.db('decisions').select('question', 'because');
  expect(rows.length).toBeGreaterThan(0);
  // An id may spell anything.
  expect(JSON.stringify(rows).replace(/[\da-f-]{36}/g, '')).not.toMatch(/ada|Lovelace|secret|192\.0|private|127\.0/i);
});

it('a machine asks about people', async () => {
  const machine = await machineOf(server, 'authz:check:any');
  await giveRole(server, person.id, 'admin');
  const checks = [
    { subject: person.id, action: 'users:read:any' },
    { subject: { type: 'user', id: person.id }, action: { name: 'read' }, resource: { type: 'users', id: admin.id } },
    { subject: person.id, action: 'read', resource: 'keys' },
    { subject: { type: 'client', id: machine.id }, action: 'authz:check:any' },
    { subject: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f', action: 'users:read:any' },
    { subject: person.id, action: 'mfa:reset:any' },
  ];
  const { status, json } = await machine.request('post', '/authz/check', { checks });
  await giveRole(server, person.id, 'user');
  expect(status).toBe(200);
  const found = json.results.map(
    ({ allowed, because }: { allowed: boolean; because: { rule: string; role?: string } }) => [
      allowed,
      because.rule,
      because.role,
    ],
  );
  expect(found.slice(0, 5)).toEqual([
    [true, 'permission', 'admin'],
    [true, 'permission', 'admin'],
    [true, 'permission', 'admin'],
    [true, 'permission', undefined],
    [false, 'subject', undefined],
  ]);
});

it('asks of our own things the same at the routes and at the decision endpoints, whoever comes', async () => {
  const { db } = server.database;
  const [{ id: organizationId }] = await db('organizations').insert({ name: 'Guarded' }).returning('id');
  const [inside, outside] = [await callerOf(server), await callerOf(server, { role: 'admin' })];
  await db('organizationMembers').insert({ organizationId, userId: inside.id });
  const self = { subject: outside.id, action: 'read', resource: { type: 'users', id: inside.id } };
  const told = { context: { organization: organizationId, badge: 1 } };
  const both = async (question: object = self) => [
    (await outside.request('get', `/users/${inside.id}`)).status,
    (await outside.request('post', '/authz/check', { checks: [question] })).json.results[0].allowed,
  ];
  expect(await both()).toEqual([200, true]);
  const about = { effect: 'deny', resources: ['users'], actions: ['read'] };
  // Somebody of no organization is no exception.
  await withPolicy({ ...about, condition: { in: [organizationId, { var: 'resource.organizations' }] } }, async () =>
    expect(await both()).toEqual([403, false]),
  );
  await withPolicy({ ...about, condition: { '==': [{ var: 'resource.id' }, inside.id] } }, async () =>
    expect(await both()).toEqual([403, false]),
  );
  // What is told of the request does not count.
  for (const [path, value] of [
    ['context.organization', organizationId],
    ['context.badge', 1],
    ['action.properties.badge', 1],
  ])
    await withPolicy({ ...about, condition: { '!=': [{ var: path }, value] } }, async () =>
      expect(await both({ ...self, ...told, action: { name: 'read', properties: { badge: 1 } } })).toEqual([
        403,
        false,
      ]),
    );
});

describe.runIf(onPostgres)('on another replica', () => {
  const other = (replica: Replica) => requester({ ...server, address: replica.address }, person.token);
  const statusOf = async (replica: Replica) => (await other(replica)('get', `/users/${person.id}`)).status;
  /** A second after each change it shows there, whether the replica hears of it or not. */
  const watch = async (replica: Replica) => {
    expect(await statusOf(replica)).toBe(200);
    const { id } = await write({ resources: ['users'], actions: ['read'] });
    expect((await activate(id)).status).toBe(200);
    await sleep(1000);
    expect(await statusOf(replica)).toBe(403);
    await admin.request('post', `/policies/${id}/versions`, { ...rule, resources: ['users'], condition: false });
    expect((await activate(id, 2)).status).toBe(200);
    await sleep(1000);
    expect(await statusOf(replica)).toBe(200);
    expect((await activate(id)).status).toBe(200);
    await sleep(1000);
    expect(await statusOf(replica)).toBe(403);
    expect((await end(id)).status).toBe(204);
    await sleep(1000);
    expect(await statusOf(replica)).toBe(200);
  };

  it('a policy is in force within a second, and so is its end', async () => {
    const replica = await startReplica(server);
    try {
      await watch(replica);
    } finally {
      await replica.stop();
    }
  });

  it('that has lost the channel too', async () => {
    const url = new URL(server.database.url as string);
    const relay = await openRelay(url.hostname, Number(url.port || 5432));
    const listenUrl = Object.assign(new URL(url), { hostname: '127.0.0.1', port: String(relay.port) });
    const replica = await startReplica(server, { listenUrl: listenUrl.href });
    try {
      expect(await statusOf(replica)).toBe(200);
      relay.silence();
      await watch(replica);
      await relay.cut();
      await watch(replica);
    } finally {
      await relay.cut();
      await replica.stop();
    }
  });
});
