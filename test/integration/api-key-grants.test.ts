/** API keys as subjects: what is given to a key widens its scopes, what is denied narrows it, and it never goes past its owner. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { callerOf, giveRole, requester, type TestCaller } from '../support/callers.ts';
import { basic, post } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

let server: TestServer;
let owner: TestCaller;
let here: string;
let beneath: string;
let elsewhere: string;
let key: { id: string; value: string; request: TestCaller['request'] };
beforeAll(async () => {
  server = await startServer();
  const { db } = server.database;
  owner = await callerOf(server, { role: 'admin' });
  const made = async (name: string, parentId: string | null = null) =>
    (await db('organizations').insert({ name, parentId }).returning('id'))[0].id as string;
  [here, elsewhere] = [await made('here'), await made('elsewhere')];
  beneath = await made('beneath', here);
});
afterAll(() => server.stop());
beforeEach(async () => {
  const { db } = server.database;
  await giveRole(server, owner.id, 'admin');
  await db('organizationMembers').where({ userId: owner.id }).delete();
  await db('organizationMembers').insert([
    { userId: owner.id, organizationId: here },
    { userId: owner.id, organizationId: elsewhere },
  ]);
  const { json } = await owner.request('post', '/api-keys', { name: 'ci', scopes: ['sessions:read:own'] });
  key = { id: json.id, value: json.key, request: requester(server, json.key) };
});

interface Given {
  permission?: string;
  role?: string;
  effect?: 'allow' | 'deny';
  organizationId?: string;
  startsAt?: Date;
  expiresAt?: Date;
}
const give = async ({ permission, role, effect, ...where }: Given) => {
  const { db } = server.database;
  if (role) {
    const { id: roleId } = await db('roles').where({ name: role }).first('id');
    await db('roleGrants').insert({ apiKeyId: key.id, roleId, ...where });
    return;
  }
  await db('permissions').insert({ name: permission }).onConflict('name').ignore();
  const { id: permissionId } = await db('permissions').where({ name: permission }).first('id');
  await db('permissionGrants').insert({ apiKeyId: key.id, permissionId, effect: effect ?? 'allow', ...where });
};

const asUser = () => giveRole(server, owner.id, 'user');
const hour = 3_600_000;

describe('a key', () => {
  it.each<[string, Given[], number, (() => Promise<void>)?]>([
    ['with its scopes alone', [], 403],
    ['that was given the permission', [{ permission: 'users:read:any' }], 200],
    ['that was given a wildcard', [{ permission: 'users:*:any' }], 200],
    ['that was given a role', [{ role: 'admin' }], 200],
    ['that was given a role without the permission', [{ role: 'operator' }], 403],
    [
      'that is denied what it was given',
      [{ permission: 'users:*:any' }, { permission: 'users:read:*', effect: 'deny' }],
      403,
    ],
    ['whose grant has ended', [{ permission: 'users:read:any', startsAt: new Date(0), expiresAt: new Date(1) }], 403],
    ['whose grant has yet to begin', [{ permission: 'users:read:any', startsAt: new Date(Date.now() + hour) }], 403],
    [
      'whose denial has ended',
      [
        { permission: 'users:read:any' },
        { permission: '*:*:any', effect: 'deny', startsAt: new Date(0), expiresAt: new Date(1) },
      ],
      200,
    ],
    ['whose owner does not hold it', [{ permission: '*:*:*' }, { role: 'super_admin' }], 403, asUser],
  ])('%s', async (_name, given, status, before) => {
    for (const one of given) await give(one);
    await before?.();
    expect((await key.request('get', '/users')).status).toBe(status);
  });

  it('is denied what its scopes name, at once', async () => {
    expect((await key.request('get', '/sessions')).status).toBe(200);
    await give({ permission: 'sessions:read:own', effect: 'deny' });
    expect((await key.request('get', '/sessions')).status).toBe(403);
  });

  it.each<[string, Given[], [here: number, beneath: number, elsewhere: number]]>([
    ['without a grant', [], [403, 403, 403]],
    ['given it there', [{ permission: 'organizations:read:organization' }], [200, 200, 404]],
    ['given more than it there', [{ permission: 'organizations:*:any' }], [200, 200, 404]],
    ['given a role there', [{ role: 'manager' }], [200, 200, 404]],
    [
      'given it there, and denied it there',
      [
        { permission: 'organizations:*:organization' },
        { permission: 'organizations:read:organization', effect: 'deny' },
      ],
      [404, 404, 404],
    ],
    [
      'given it there, and denied all of it there',
      [{ permission: 'organizations:*:organization' }, { permission: 'organizations:read:any', effect: 'deny' }],
      [404, 404, 404],
    ],
  ])('in an organization, %s: counts there and beneath', async (_name, given, expected) => {
    for (const one of given) await give({ ...one, organizationId: here });
    const statuses = [];
    for (const id of [here, beneath, elsewhere])
      statuses.push((await key.request('get', `/organizations/${id}`)).status);
    const refused = (status: number) => (status === 403 ? 404 : status);
    expect(statuses.map(refused)).toEqual(expected.map(refused));
    // Nobody's grant counts where its owner is no member.
    await server.database.db('organizationMembers').where({ userId: owner.id }).delete();
    expect([403, 404]).toContain((await key.request('get', `/organizations/${here}`)).status);
  });

  it('is exchanged for a token that does no more than it', async () => {
    const gateway = await server.client({
      grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      redirect_uris: [],
      scope: '*:*:*',
    });
    await give({ permission: 'users:read:any' });
    await give({ permission: 'sessions:read:own', effect: 'deny' });
    await give({ permission: 'organizations:read:any', organizationId: here });
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: key.value,
      subject_token_type: 'urn:countersign:params:oauth:token-type:api_key',
    };
    const { body } = await post(server, '/oauth/token', form, basic(gateway));
    expect(String(body.scope).split(' ').sort()).toEqual(['users:read:any']);
  });

  it('is exchanged for a token that what is denied to the key later narrows at once, and so the next one', async () => {
    const gateway = await server.client({
      grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      redirect_uris: [],
      scope: '*:*:*',
      first_party: true,
      token_exchange: { impersonation: true },
    });
    await give({ permission: 'users:read:any' });
    await give({ permission: 'organizations:read:any' });
    const exchange = async (subject_token: string, subject_token_type: string) => {
      const form = { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token, subject_token_type };
      const { body } = await post(server, '/oauth/token', form, basic(gateway));
      return body.access_token as string;
    };
    const first = await exchange(key.value, 'urn:countersign:params:oauth:token-type:api_key');
    const second = await exchange(first, 'urn:ietf:params:oauth:token-type:access_token');
    const paths = ['/users', '/sessions', `/organizations/${here}`, `/organizations/${elsewhere}`];
    const statuses = async () => {
      const all = [];
      for (const token of [first, second])
        for (const path of paths) all.push((await requester(server, token)('get', path)).status);
      return all;
    };
    expect(await statuses()).toEqual([200, 200, 200, 200, 200, 200, 200, 200]);
    await give({ permission: 'users:read:*', effect: 'deny' });
    await give({ permission: 'organizations:read:*', effect: 'deny', organizationId: here });
    const refused = (await statuses()).map((status) => (status === 404 ? 403 : status));
    expect(refused).toEqual([403, 200, 403, 200, 403, 200, 403, 200]);
    // What the key was given counts as long as it is given.
    await server.database.db('permissionGrants').where({ apiKeyId: key.id }).delete();
    expect((await requester(server, first)('get', '/users')).status).toBe(403);
    expect((await requester(server, first)('get', '/sessions')).status).toBe(200);
  });

  it('is judged alike by the decision endpoint', async () => {
    await give({ permission: 'users:read:any' });
    await give({ permission: 'sessions:read:own', effect: 'deny' });
    const admin = await callerOf(server, { role: 'super_admin' });
    const checks = [
      ['users', 'read'],
      ['sessions', 'read'],
      ['users', 'write'],
    ].map(([type, action]) => ({ subject: { type: 'api_key', id: key.id }, action, resource: { type } }));
    const { json } = await admin.request('post', '/authz/check', { checks });
    expect(json.results.map(({ allowed }: { allowed: boolean }) => allowed)).toEqual([true, false, false]);
  });
});

describe('a key of somebody who manages an organization', () => {
  const manager = async () => {
    const caller = await callerOf(server, {
      prepare: async (userId) => {
        const { db } = server.database;
        await db('organizationMembers').insert([
          { userId, organizationId: here, isOwner: true },
          { userId, organizationId: elsewhere },
        ]);
      },
    });
    const make = async (scopes: string[]) => {
      const { status, json } = await caller.request('post', '/api-keys', { name: 'ci', scopes });
      return { status, json, key: requester(server, json.key ?? '') };
    };
    return { ...caller, make };
  };
  const bystander = async (organizationId?: string) => {
    const { id } = await callerOf(server);
    if (organizationId) await server.database.db('organizationMembers').insert({ userId: id, organizationId });
    return id;
  };

  it('works there and beneath, and nowhere else', async () => {
    const { make } = await manager();
    const { status, key } = await make(['users:read:organization']);
    expect(status).toBe(201);
    const people = [await bystander(here), await bystander(beneath), await bystander(elsewhere), await bystander()];
    const statuses = await Promise.all(people.map(async (id) => (await key('get', `/users/${id}`)).status));
    expect(statuses).toEqual([200, 200, 403, 403]);
    const { json } = await key('get', '/users?limit=200');
    const seen = new Set(json.data.map(({ id }: { id: string }) => id));
    expect(people.map((id) => seen.has(id))).toEqual([true, true, false, false]);
    // It has no more than its scopes name, there neither.
    expect((await key('patch', `/users/${people[0]}`, { name: 'Changed' })).status).toBe(403);
    expect((await key('get', `/organizations/${here}`)).status).toBeGreaterThanOrEqual(403);
  });

  it('is worth nothing once they manage it no more', async () => {
    const { id, make } = await manager();
    const { key } = await make(['users:read:organization']);
    expect((await key('get', '/users')).status).toBe(200);
    await server.database
      .db('organizationMembers')
      .where({ userId: id, organizationId: here })
      .update({ isOwner: false });
    expect((await key('get', '/users')).status).toBe(403);
  });

  it.each(['users:read:any', 'users:*:*', '*:*:organization', 'users:close:organization', 'keys:rotate:any'])(
    'is not given %s, which they hold nowhere',
    async (scope) => {
      const { make } = await manager();
      const { status, json } = await make(['users:read:organization', scope]);
      expect([status, json.code]).toEqual([403, 'scope_exceeds_yours']);
      expect(JSON.stringify(json)).toContain(scope);
      expect(JSON.stringify(json)).not.toContain('users:read:organization');
    },
  );

  it('is not given it with a token that is for one organization alone, or that has less', async () => {
    const { email } = await manager();
    const tokenOf = async ({
      scope = 'openid *:*:*',
      ...more
    }: Record<string, string>): Promise<TestCaller['request']> => {
      const application = await openApplication(server, { scope, first_party: true }, { email });
      const { access_token } = await application.tokens({ scope, resource: `${server.issuer}/api`, ...more });
      return requester(server, access_token);
    };
    const make = async (request: TestCaller['request'], scope: string) =>
      (await request('post', '/api-keys', { name: 'ci', scopes: [scope] })).status;
    const whole = await tokenOf({});
    expect(await make(whole, 'users:read:organization')).toBe(201);
    const bound = await tokenOf({ organization: here });
    expect((await bound('get', '/users')).status).toBe(200);
    expect([await make(bound, 'users:read:organization'), await make(bound, 'users:read:own')]).toEqual([403, 201]);
    const narrow = await tokenOf({ scope: 'openid users:read:own api_keys:write:own' });
    expect([await make(narrow, 'users:read:organization'), await make(narrow, 'users:read:own')]).toEqual([403, 201]);
  });
});

describe('/auth/me and /auth/validate', () => {
  it('show where the person belongs and what they are there, as it is now', async () => {
    const { db } = server.database;
    const person = await callerOf(server);
    const groups: { id: string; name: string }[] = await db('groups')
      .insert([
        { name: 'A team', kind: 'team', externalRef: 'x' },
        { name: 'B group', organizationId: here },
        { name: 'C inactive', isActive: false },
        { name: 'D of another', organizationId: elsewhere },
      ])
      .returning(['id', 'name']);
    await db('groupMembers').insert(groups.map(({ id }) => ({ groupId: id, userId: person.id })));
    await db('organizationMembers').insert({ organizationId: here, userId: person.id, isOwner: true });
    const [{ id: domainId }] = await db('domains').insert({ key: 'me', name: 'Me' }).returning('id');
    await db('domainMembers').insert({ domainId, userId: person.id });

    const me = (await person.request('get', '/auth/me')).json;
    expect(me).toMatchObject({
      roles: ['user'],
      organizations: [{ id: here, kind: 'organization', name: 'here', isOwner: true, roles: ['manager'] }],
      teams: [{ name: 'A team', externalRef: 'x', organizationId: null }],
      groups: [{ name: 'B group', externalRef: null, organizationId: here }],
      domains: [{ id: domainId, key: 'me', name: 'Me' }],
    });
    // Of the role manager what the token, which is older, may do.
    expect(me.organizations[0].permissions).toContain('users:read:own');
    const validated = await person.request('post', '/auth/validate', { token: person.token });
    expect(validated.json.user).toEqual(me);

    await giveRole(server, person.id, 'operator');
    await db('organizationMembers').where({ userId: person.id }).delete();
    expect((await person.request('get', '/auth/me')).json).toMatchObject({
      role: 'operator',
      roles: ['operator'],
      organizations: [],
      groups: [],
    });
  });
});
