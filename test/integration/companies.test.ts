/** Companies are organizations of that kind, at addresses of their own; and which one somebody belongs to. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, type TestCaller } from '../support/callers.ts';
import { addMember, grantRole, makeOrganization } from '../support/organizations.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let admin: TestCaller;

beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'admin' });
});
afterAll(() => server.stop());

const unknown = randomUUID();

type Body = Record<string, unknown>;
const ask = async (caller: TestCaller, method: string, path: string, body?: Body) => {
  const { status, json } = await caller.request(method, path, body);
  return { status, code: json?.code, json };
};
const outcome = async (...asked: Parameters<typeof ask>): Promise<string> => {
  const { status, code } = await ask(...asked);
  return code === undefined ? String(status) : `${status} ${code}`;
};
const someone = () => callerOf(server);
const company = (more: Parameters<typeof makeOrganization>[1] = {}) =>
  makeOrganization(server, { kind: 'company', ...more });
const companiesOf = async (userId: string): Promise<string[]> => {
  const rows = await server.database
    .db('organizationMembers')
    .join('organizations', 'organizations.id', 'organizationId')
    .where({ userId, kind: 'company' })
    .select('id');
  return rows.map(({ id }) => id);
};

describe('A company', () => {
  it('is made, seen, changed, replaced and deleted', async () => {
    const made = await ask(admin, 'post', '/companies', {
      name: 'Acme',
      kind: 'organization',
      description: 'Everything',
    });
    expect(made).toMatchObject({ status: 201, json: { name: 'Acme', kind: 'company', description: 'Everything' } });
    const path = `/companies/${made.json.id}`;
    const changes = { kind: 'organization', isActive: false, settings: { requireMfa: true } };
    expect((await ask(admin, 'patch', path, changes)).json).toMatchObject({
      ...{ kind: 'company', isActive: false, description: 'Everything' },
      settings: { requireMfa: true, signInMethods: null },
    });
    // Whether it is active, and where it lies, stays.
    expect((await ask(admin, 'put', path, { name: 'Acme Ltd' })).json).toMatchObject({
      ...{ name: 'Acme Ltd', kind: 'company', isActive: false, description: '', parentId: null },
      settings: { requireMfa: false, signInMethods: null },
    });
    expect(await outcome(admin, 'put', path, {})).toBe('400 invalid_request');
    // It is an organization as well.
    expect((await ask(admin, 'get', `/organizations/${made.json.id}`)).json.kind).toBe('company');
    expect(await outcome(admin, 'delete', path)).toBe('204');
    expect(await outcome(admin, 'get', path)).toBe('404 organization_not_found');
  });

  it('is none where it is an organization of another kind', async () => {
    const person = await someone();
    const { id } = await makeOrganization(server, { members: [person.id], owners: [admin.id] });
    const path = `/companies/${id}`;
    for (const [method, rest, body] of [
      ['get', '', undefined],
      ['patch', '', { name: 'x' }],
      ['put', '', { name: 'x' }],
      ['delete', '?force=true', undefined],
      ['get', '/users', undefined],
      ['post', '/users', { userId: (await someone()).id }],
      ['delete', '/users/me', undefined],
      ['patch', `/users/${person.id}`, { isOwner: true }],
      ['delete', `/users/${person.id}`, undefined],
      ['get', '/owners', undefined],
      ['post', '/owners', { userId: person.id }],
      ['delete', `/owners/${admin.id}`, undefined],
    ] as const)
      expect([method, rest, await outcome(admin, method, `${path}${rest}`, body)]).toEqual([
        method,
        rest,
        '404 organization_not_found',
      ]);
    const listed: { id: string; kind: string }[] = (await ask(admin, 'get', '/companies?limit=200')).json.data;
    expect(listed.every(({ kind }) => kind === 'company')).toBe(true);
  });

  it('has users and owners as organizations have members', async () => {
    const person = await someone();
    const { id } = await company();
    const path = `/companies/${id}`;
    expect((await ask(admin, 'post', `${path}/users`, { userId: person.id })).json).toMatchObject({ isOwner: false });
    expect(await outcome(admin, 'post', `${path}/owners`, { userId: person.id })).toBe('201');
    expect((await ask(person, 'get', `${path}/owners`)).json.data).toMatchObject([{ userId: person.id }]);
    expect((await ask(admin, 'get', `${path}/users`)).json.data).toMatchObject([{ userId: person.id, isOwner: true }]);
    expect(await outcome(person, 'delete', `${path}/users/me`)).toBe('409 last_owner');
    expect(await outcome(admin, 'delete', `${path}/owners/${person.id}`)).toBe('409 last_owner');
    expect(await outcome(admin, 'post', `${path}/users`, { userId: admin.id, isOwner: true })).toBe('201');
    expect(await outcome(admin, 'patch', `${path}/users/${person.id}`, { isOwner: false })).toBe('200');
    expect(await outcome(person, 'delete', `${path}/users/me`)).toBe('204');
  });
});

describe('The company of a person', () => {
  const set = (caller: TestCaller, userId: string, companyId: string | null) =>
    ask(caller, 'put', `/users/${userId}/company`, { companyId });

  it('is one, which the next one takes the place of', async () => {
    const { id: userId } = await someone();
    const [first, second] = [await company(), await company()];
    const organization = await makeOrganization(server, { members: [userId] });
    expect(await set(admin, userId, first.id.toUpperCase())).toMatchObject({
      status: 200,
      json: { userId, companyId: first.id, company: { id: first.id, name: first.name, kind: 'company' } },
    });
    await grantRole(server, { userId }, 'partner', { organizationId: first.id });
    // Nothing changes for whoever belongs to it.
    expect((await set(admin, userId, first.id)).status).toBe(200);
    expect(await server.database.db('roleGrants').where({ userId }).select('id')).toHaveLength(1);
    await addMember(server, (await company()).id, userId);
    expect((await set(admin, userId, second.id)).status).toBe(200);
    expect(await companiesOf(userId)).toEqual([second.id]);
    expect(await server.database.db('roleGrants').where({ userId }).select('id')).toEqual([]);
    expect((await set(admin, userId, null)).json).toEqual({ userId, companyId: null, company: null });
    expect(await companiesOf(userId)).toEqual([]);
    const left = await server.database.db('organizationMembers').where({ userId }).select('organizationId');
    expect(left).toEqual([{ organizationId: organization.id }]);
    const events = await server.database.db('auditLogs').where({ targetId: userId }).orderBy('id').select('action');
    expect(events.map(({ action }) => action).filter((action) => action.startsWith('organization.'))).toEqual([
      'organization.add_member',
      'organization.remove_member',
      'organization.remove_member',
      'organization.add_member',
      'organization.remove_member',
    ]);
  });

  it('is one that is there', async () => {
    const { id: userId } = await someone();
    const { id } = await makeOrganization(server);
    for (const companyId of [unknown, id])
      expect((await set(admin, userId, companyId)).json.errors).toMatchObject([{ field: 'companyId' }]);
    expect((await set(admin, unknown, null)).code).toBe('user_not_found');
  });

  it('is not left without an owner, and then nothing has changed', async () => {
    const { id: userId } = await someone();
    const [first, second, next] = [
      await company({ members: [userId] }),
      await company({ owners: [userId] }),
      await company(),
    ];
    expect((await set(admin, userId, next.id)).code).toBe('last_owner');
    expect(new Set(await companiesOf(userId))).toEqual(new Set([first.id, second.id]));
  });

  it('takes power over the account, and a say in all of the companies', async () => {
    const manager = await callerOf(server, { prepare: (id) => company({ owners: [id] }) });
    const mine = await company({ owners: [manager.id] });
    const beneath = await company({ parentId: mine.id });
    const theirs = await company();
    const person = await someone();
    expect((await set(manager, person.id, mine.id)).code).toBe('missing_permission');
    await addMember(server, mine.id, person.id);
    expect((await set(manager, person.id, theirs.id)).json.errors).toMatchObject([{ field: 'companyId' }]);
    expect((await set(manager, person.id, beneath.id)).status).toBe(200);
    expect(await companiesOf(person.id)).toEqual([beneath.id]);
    await addMember(server, theirs.id, person.id);
    expect((await set(manager, person.id, mine.id)).code).toBe('missing_permission');
    expect((await set(person, person.id, null)).code).toBe('missing_permission');
  });

  it('is one of two at the same time', async () => {
    const { id: userId } = await someone();
    const both = [await company(), await company()];
    const answers = await Promise.all(both.map(({ id }) => set(admin, userId, id)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(await companiesOf(userId)).toHaveLength(1);
  });
});
