/** Business domains over REST: a tree of areas, and who works in them. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, machineOf, type TestCaller } from '../support/callers.ts';
import type { Answer } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
const callers: Record<string, TestCaller> = {};
const by = (name: string): TestCaller => callers[name] as TestCaller;
const outcome = ({ status, json }: Answer) => [status, ...(json?.code ? [json.code] : [])];
const keys = ({ json }: Answer): string[] => json.data.map(({ key }: { key: string }) => key);

beforeAll(async () => {
  server = await startServer();
  for (const role of ['super_admin', 'admin', 'moderator', 'user', 'operator'])
    callers[role] = await callerOf(server, { role });
  callers['a machine that reads'] = await machineOf(server, 'domains:read:any');
}, 60_000);
afterAll(() => server.stop());

const make = async (body: object = {}) => {
  const { status, json } = await by('admin').request('post', '/domains', {
    ...{ key: `d-${randomUUID()}`, name: 'Domain' },
    ...body,
  });
  expect(status).toBe(201);
  return json as { id: string; key: string };
};

describe('domains', () => {
  it('are there from the start, in the order of their keys', async () => {
    for (const name of ['user', 'moderator', 'a machine that reads'])
      expect(keys(await by(name).request('get', '/domains'))).toEqual([
        ...['design', 'engineering', 'marketing', 'product', 'sales'],
      ]);
  });

  for (const [title, body, expected] of [
    ['a key of capitals', { key: 'Sales' }, [400, 'invalid_request']],
    ['a key with two hyphens', { key: 'a--b' }, [400, 'invalid_request']],
    ['a key that means a path', { key: 'all' }, [400, 'invalid_request']],
    ['a key that looks like an id', { key: randomUUID() }, [400, 'invalid_request']],
    ['a key that is taken', { key: 'sales' }, [409, 'domain_key_taken']],
    ['an unknown parent', { key: 'x', parentId: randomUUID() }, [400, 'invalid_request']],
    ['no name', { key: 'x', name: '' }, [400, 'invalid_request']],
  ] as const)
    it(`refuses ${title}`, async () => {
      const answer = await by('admin').request('post', '/domains', { name: 'Domain', ...body });
      expect(outcome(answer)).toEqual(expected);
    });

  it('are seen by id and key, those that are not active by those who look after them', async () => {
    const { id, key } = await make({ isActive: false });
    for (const reference of [id, id.toUpperCase(), key]) {
      expect((await by('moderator').request('get', `/domains/${reference}`)).json).toMatchObject({ id, key });
      expect(outcome(await by('user').request('get', `/domains/${reference}`))).toEqual([404, 'domain_not_found']);
    }
    expect(keys(await by('moderator').request('get', '/domains?limit=200'))).not.toContain(key);
    expect(keys(await by('moderator').request('get', '/domains/all?limit=200'))).toContain(key);
    expect(keys(await by('moderator').request('get', '/domains/all?isActive=false'))).toEqual([key]);
    expect(outcome(await by('user').request('get', '/domains/all'))).toEqual([403, 'missing_permission']);
    const changed = await by('admin').request('patch', `/domains/${key}`, { isActive: true, name: 'X', key: 'other' });
    expect(changed.json).toMatchObject({ id, key, name: 'X', isActive: true });
    expect(outcome(await by('user').request('get', `/domains/${key}`))).toEqual([200]);
    expect(outcome(await by('moderator').request('patch', `/domains/${key}`, { name: 'Y' }))).toEqual([
      ...[403, 'missing_permission'],
    ]);
    expect(outcome(await by('admin').request('delete', `/domains/${key}`))).toEqual([204]);
    expect(outcome(await by('admin').request('get', `/domains/${id}`))).toEqual([404, 'domain_not_found']);
  });

  it('are trees, cut where one is not active, in pages of those that lie beneath no other', async () => {
    const prefix = `a-${randomUUID().slice(0, 8)}`;
    const root = await make({ key: `${prefix}-1` });
    const second = await make({ key: `${prefix}-2` });
    const child = await make({ key: `${prefix}-1-1`, parentId: root.id });
    const shut = await make({ key: `${prefix}-1-2`, parentId: root.id, isActive: false });
    const leaf = await make({ key: `${prefix}-1-1-1`, parentId: child.id });
    await make({ key: `${prefix}-1-2-1`, parentId: shut.id });
    type Node = { key: string; children: Node[] };
    const shape = ({ key, children }: Node): unknown => [key, children.map(shape)];
    const first = await by('user').request('get', '/domains?tree=true&limit=1');
    expect(first.json.data.map(shape)).toEqual([[root.key, [[child.key, [[leaf.key, []]]]]]]);
    const next = await by('user').request('get', `/domains?tree=true&limit=1&cursor=${first.json.nextCursor}`);
    expect(next.json.data.map(shape)).toEqual([[second.key, []]]);
    expect(keys(await by('user').request('get', `/domains?parentId=${root.id}`))).toEqual([child.key]);

    const move = async (id: string, parentId: string | null) =>
      outcome(await by('admin').request('patch', `/domains/${id}`, { parentId }));
    expect(await move(root.id, leaf.id)).toEqual([409, 'tree_cycle']);
    expect(outcome(await by('admin').request('delete', `/domains/${root.id}`))).toEqual([409, 'has_children']);
    const both = await Promise.all([move(root.id, second.id), move(second.id, root.id)]);
    expect(both.map(([status]) => status).sort()).toEqual([200, 409]);
  });
});

describe('who works in them', () => {
  it('is set one by one, or all at once, and shown', async () => {
    const { id } = await callerOf(server);
    const { key } = await make({ isActive: false });
    const add = (reference: string, userId = id, name = 'admin') =>
      by(name).request('post', `/domains/${reference}/users`, { userId });
    const added = await add('sales');
    expect([added.status, added.json]).toEqual([201, { id, name: 'Ada Lovelace', email: expect.any(String) }]);
    for (const [answer, expected] of [
      [await add('sales'), [409, 'already_member']],
      [await add('nowhere'), [404, 'domain_not_found']],
      [await add('sales', randomUUID()), [404, 'user_not_found']],
      [await add('sales', by('super_admin').id), [403, 'rank_too_low']],
      [await add('sales', id, 'moderator'), [403, 'missing_permission']],
      [await by('admin').request('delete', `/domains/design/users/${id}`), [404, 'member_not_found']],
      [await by('user').request('get', '/domains/sales/users'), [403, 'missing_permission']],
    ] as const)
      expect(outcome(answer)).toEqual(expected);
    const { json } = await by('moderator').request('get', '/domains/sales/users');
    expect(json.data.map((one: { id: string }) => one.id)).toEqual([id]);

    const assign = (domains: unknown, userId = id) =>
      by('admin').request('put', `/users/${userId}/domains`, { domains });
    const { id: marketing } = (await by('user').request('get', '/domains/marketing')).json;
    expect(keys(await assign([marketing, 'design', 'design', key]))).toEqual([key, 'design', 'marketing'].sort());
    expect(keys(await by('moderator').request('get', `/users/${id}/domains`))).toEqual(
      [key, 'design', 'marketing'].sort(),
    );
    for (const [answer, expected] of [
      [await assign(['sales', 'nowhere']), [400, 'invalid_request']],
      [await assign(['sales', randomUUID()]), [400, 'invalid_request']],
      [await assign('sales'), [400, 'invalid_request']],
      [await assign([], randomUUID()), [404, 'user_not_found']],
      [await assign([], by('super_admin').id), [403, 'rank_too_low']],
      [await by('user').request('get', `/users/${id}/domains`), [403, 'missing_permission']],
    ] as const)
      expect(outcome(answer)).toEqual(expected);
    // What was refused has changed nothing.
    expect(keys(await by('moderator').request('get', `/users/${id}/domains?limit=2`))).toHaveLength(2);
    expect(keys(await by('moderator').request('get', `/users/${id}/domains`))).toHaveLength(3);
    expect(keys(await assign([]))).toEqual([]);
  });

  it('shows at /auth/me and to oneself, as far as they are active', async () => {
    const { key } = await make({ isActive: false });
    const { id } = by('user');
    await by('admin').request('put', `/users/${id}/domains`, { domains: ['sales', key] });
    expect(keys(await by('user').request('get', `/users/${id}/domains`))).toEqual(['sales']);
    const { json } = await by('user').request('get', '/auth/me');
    expect(json.domains.map((one: { key: string }) => one.key)).toEqual(['sales']);
    const before = await server.database.db('auditLogs').where({ action: 'user.assign_domains' });
    await by('admin').request('put', `/users/${id}/domains`, { domains: [key, 'SALES'] });
    expect(await server.database.db('auditLogs').where({ action: 'user.assign_domains' })).toHaveLength(before.length);
  });

  it('is one of two sets that are put at once, whole', async () => {
    const { id } = await callerOf(server);
    const sets = [
      ['design', 'sales'],
      ['marketing', 'product'],
    ];
    for (let round = 0; round < 4; round++) {
      const answers = await Promise.all(
        sets.map((domains) => by('admin').request('put', `/users/${id}/domains`, { domains })),
      );
      expect(answers.map(({ status }) => status)).toEqual([200, 200]);
      expect(sets).toContainEqual(keys(await by('moderator').request('get', `/users/${id}/domains`)));
    }
  });
});
