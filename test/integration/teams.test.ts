/** Teams over REST: the groups of that kind, under paths of their own. What they share with groups is in `groups.test.ts`. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, machineOf, type TestCaller } from '../support/callers.ts';
import { addMember, grantRole, makeGroup, makeOrganization } from '../support/organizations.ts';
import type { Answer } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let [a, b] = ['', ''];
const callers: Record<string, TestCaller> = {};
const by = (name: string): TestCaller => callers[name] as TestCaller;
const teams: Record<string, string> = {};
const team = (name: string) => teams[name] as string;
const outcome = ({ status, json }: Answer) => [status, ...(json?.code ? [json.code] : [])];
const named = ({ json }: Answer): string[] =>
  Object.keys(teams).filter((name) => json.data.some(({ id }: { id: string }) => id === teams[name]));

beforeAll(async () => {
  server = await startServer();
  [a, b] = [(await makeOrganization(server)).id, (await makeOrganization(server)).id];
  const child = (await makeOrganization(server, { parentId: a })).id;
  for (const role of ['admin', 'moderator', 'user']) callers[role] = await callerOf(server, { role });
  callers['a machine'] = await machineOf(server, 'groups:read:any');
  callers.member = await callerOf(server, { prepare: (id) => addMember(server, a, id) });
  callers.manager = await callerOf(server, {
    prepare: async (userId) => {
      await addMember(server, a, userId);
      await grantRole(server, { userId }, 'manager', { organizationId: a });
    },
  });
  const make = async (name: string, organizationId?: string, isActive = true) => {
    teams[name] = (await makeGroup(server, { kind: 'team', organizationId })).id;
    await server.database.db('groups').where({ id: teams[name] }).update({ isActive });
  };
  await make('global');
  await make('global, shut', undefined, false);
  await make('of A', a);
  await make('of A, shut', a, false);
  await make('beneath A', child);
  await make('of B', b);
});
afterAll(() => server.stop());

const active = ['global', 'of A', 'beneath A', 'of B'];
const everything = ['global', 'global, shut', 'of A', 'of A, shut', 'beneath A', 'of B'];

describe('teams', () => {
  it('are there from the start, and everybody sees them', async () => {
    const { json } = await by('user').request('get', '/teams?limit=200');
    const defaults = json.data.filter(({ name }: { name: string }) => !name.startsWith('Group '));
    expect(defaults.map(({ name }: { name: string }) => name).sort()).toEqual([
      ...['Design', 'Engineering', 'General', 'Product'],
    ]);
    expect(defaults[0]).toMatchObject({ kind: 'team', organizationId: null, parentId: null, isActive: true });
  });

  for (const [name, open, all] of [
    ['user', ['global'], undefined],
    ['member', ['global', 'of A'], undefined],
    ['manager', ['global', 'of A', 'beneath A'], ['of A', 'of A, shut', 'beneath A']],
    ['moderator', active, everything],
    ['admin', active, everything],
    ['a machine', active, everything],
  ] as const) {
    it(`${name} sees those that are open to them, and all only by a permission`, async () => {
      expect(named(await by(name).request('get', '/teams?limit=200'))).toEqual(open);
      const answer = await by(name).request('get', '/teams/all?limit=200');
      if (all) expect(named(answer)).toEqual(all);
      else expect(outcome(answer)).toEqual([403, 'missing_permission']);
      const single = await Promise.all(
        everything.map(async (one) => (await by(name).request('get', `/teams/${team(one)}`)).status),
      );
      const seen: readonly string[] = [...new Set([...open, ...(all ?? [])])];
      expect(single).toEqual(everything.map((one) => (seen.includes(one) ? 200 : 404)));
    });
  }

  it('are found by what another system calls them, and shut ones by their state', async () => {
    const externalRef = randomUUID();
    const made = await by('admin').request('post', '/teams', { name: 'Research', externalRef, isActive: false });
    expect([made.status, made.json]).toEqual([
      201,
      expect.objectContaining({ kind: 'team', externalRef, isActive: false }),
    ]);
    const find = async (query: string) =>
      (await by('moderator').request('get', `/teams/all?externalRef=${externalRef}${query}`)).json.data.length;
    expect([await find(''), await find('&isActive=false'), await find('&isActive=true')]).toEqual([1, 1, 0]);
    expect((await by('moderator').request('get', `/teams?externalRef=${externalRef}`)).json.data).toEqual([]);
    const path = `/teams/${made.json.id}`;
    const { json } = await by('admin').request('patch', path, { isActive: true, externalRef: null });
    expect(json).toMatchObject({ isActive: true, externalRef: null });
    expect(outcome(await by('admin').request('delete', path))).toEqual([204]);
    expect(outcome(await by('admin').request('get', path))).toEqual([404, 'group_not_found']);
  });

  it('are no other groups, which have their own paths', async () => {
    const { id } = await makeGroup(server);
    const userId = by('user').id;
    for (const [method, path, body] of [
      ['get', '', undefined],
      ['patch', '', { name: 'x' }],
      ['delete', '', undefined],
      ['get', '/members', undefined],
      ['post', '/members', { userId }],
      ['delete', `/members/${userId}`, undefined],
    ] as const) {
      const answer = await by('admin').request(method, `/teams/${id}${path}`, body);
      expect([method, path, ...outcome(answer)]).toEqual([method, path, 404, 'group_not_found']);
    }
    expect(outcome(await by('admin').request('get', `/groups/${team('of B')}`))).toEqual([200]);
    const { json } = await by('admin').request('get', '/groups?kind=group&limit=200');
    expect(json.data.map(({ kind }: { kind: string }) => kind)).not.toContain('team');
  });

  it('show who is in them to those within, and at /auth/me', async () => {
    const path = `/teams/${team('of A')}/members`;
    expect(outcome(await by('member').request('get', path))).toEqual([403, 'missing_permission']);
    const added = await by('manager').request('post', path, { userId: by('member').id });
    expect([added.status, added.json.email]).toEqual([201, by('member').email]);
    expect((await by('member').request('get', path)).json.data).toEqual([{ name: 'Ada Lovelace' }]);
    const { json } = await by('member').request('get', '/auth/me');
    expect(json.teams).toEqual([expect.objectContaining({ id: team('of A') })]);
    const mine = await by('member').request('get', `/users/${by('member').id}/teams`);
    expect(named(mine)).toEqual(['of A']);
    expect(outcome(await by('manager').request('delete', `${path}/${by('member').id}`))).toEqual([204]);
    expect((await by('member').request('get', '/auth/me')).json.teams).toEqual([]);
  });
});
