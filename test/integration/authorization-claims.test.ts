/** Roles, permissions, groups and organizations as claims: who is told them, where, how much of them, and as of when. */
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizationScopes } from '../../src/clients/identity-scopes.ts';
import { formsOf } from '../support/browser.ts';
import { giveRole } from '../support/callers.ts';
import { grantPermission, grantRole, makeGroup, makeOrganization, makeRole } from '../support/organizations.ts';
import {
  basic,
  bearer,
  errorOf,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const all = authorizationScopes.join(' ');

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

interface Somebody extends Person {
  id: string;
}

const somebody = async (): Promise<Somebody> => {
  const person = await newPerson(server);
  const { id } = await server.database.db('users').where({ email: person.email }).first('id');
  return { ...person, id };
};

const thirdParty = (metadata: Record<string, unknown> = {}) =>
  registerRelyingParty(server, { scope: `openid ${all} offline_access users:read:own`, ...metadata });
const firstParty = (metadata: Record<string, unknown> = {}) => thirdParty({ first_party: true, ...metadata });

const api = () => `${server.issuer}/api`;
const userinfo = async (token: string) =>
  (await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(token) })).body;
const introspect = async ({ client }: RelyingParty, token: string) =>
  (await post(server, '/oauth/introspect', { token }, basic(client))).body;
const named = (claims: object, names: readonly string[] = [...authorizationScopes, 'organization']) =>
  Object.fromEntries(Object.entries(claims).filter(([name]) => names.includes(name)));

/** A resource server of the operator's. */
const register = async (identifier: string, scopes: readonly string[] = ['orders.read']) => {
  await server.database.db('resourceServers').insert({
    ...{ id: uuid(), identifier, name: 'Orders', accessTokenFormat: 'jwt', allow: 'any', rank: 100 },
    scopes: JSON.stringify(scopes.map((name) => ({ name, description: name }))),
  });
  return identifier;
};

describe('claims of what somebody may do', () => {
  it('are in the id_token, in a token for an API and at userinfo, for who asks by scope', async () => {
    const person = await somebody();
    const organization = await makeOrganization(server, { name: 'Acme Ltd', kind: 'company', members: [person.id] });
    await grantRole(server, { userId: person.id }, 'manager', { organizationId: organization.id });
    const parent = await makeGroup(server, { name: 'Engineering' });
    await makeGroup(server, { name: 'Back/end', kind: 'team', parentId: parent.id, members: [person.id] });
    await makeGroup(server, { name: 'Sales', organizationId: organization.id, members: [person.id] });
    const expected = {
      roles: ['user'],
      permissions: expect.arrayContaining(['users:read:own', 'authz:check:own']),
      groups: ['/Engineering/@Back~1end', `${organization.id}/Sales`].sort(),
      organizations: [{ id: organization.id, name: 'Acme Ltd', kind: 'company', roles: ['manager'] }],
    };

    const rp = await thirdParty();
    const plain = await rp.signIn(person, { scope: `openid ${all}` });
    expect(named(decodeJwt(plain.id_token))).toEqual(expected);
    const described = await oidc.fetchUserInfo(rp.config, plain.access_token, person.id);
    expect(named(described)).toEqual(expected);

    const forApi = await rp.signIn(person, { scope: `openid ${all} users:read:own`, resource: api() });
    expect(named(decodeJwt(forApi.id_token))).toEqual(expected);
    // What its application may do here, and not what its person may.
    expect(named(decodeJwt(forApi.access_token))).toEqual({ ...expected, permissions: ['users:read:own'] });
    expect(decodeJwt(forApi.access_token).scope).toBe('users:read:own');

    // Nobody else is told.
    const silent = await rp.signIn(person, { scope: 'openid users:read:own', resource: api() });
    for (const token of [silent.id_token, silent.access_token]) expect(named(decodeJwt(token))).toEqual({});
  });

  it('are told to third parties with consent, in words, and to the operator’s own without', async () => {
    const person = await somebody();
    await (await firstParty()).signIn(person, { scope: 'openid roles' });
    const rp = await thirdParty();
    const page = await person.browser.go((await rp.begin({ scope: `openid ${all}` })).url);
    for (const words of [
      'See which roles you have',
      'See what you may do',
      'See which groups and teams you are in',
      'See which organizations you belong to',
    ])
      expect(page.html).toContain(words);
    const denied = await person.browser.submit(page, {}, '/abort');
    expect(denied.url.searchParams.get('error')).toBe('access_denied');

    // The consent that there is for other things does not do.
    await rp.signIn(person, { scope: 'openid groups' });
    const attempt = await rp.begin({ scope: 'openid roles', prompt: 'none' });
    const { url } = await person.browser.go(attempt.url);
    expect(errorOf({ attempt, callback: url })).toBe('consent_required');
    const tokens = await rp.signIn(person, { scope: 'openid' });
    expect(named(decodeJwt(tokens.id_token))).toEqual({});
  });

  it.each([
    ...authorizationScopes.map((name) => [name, 'id_token', null] as const),
    ...authorizationScopes.map((name) => [name, 'userinfo', { essential: true }] as const),
  ])('the claims parameter asks for %s in %s alone', async (name, place, how) => {
    const person = await somebody();
    const rp = await thirdParty({ scope: 'openid' });
    const claims = JSON.stringify({ [place]: { [name]: how } });
    const attempt = await rp.begin({ claims });
    const asked = await person.browser.go(attempt.url);
    const consent = await person.browser.submit(asked, {
      email: person.email,
      password: 'correct horse battery staple',
    });
    expect(consent.html).toContain('/abort');
    const { url } = await person.browser.submit(consent);
    const tokens = await rp.redeem({ attempt, callback: url });
    const [told, silent] = [decodeJwt(tokens.id_token as string), await userinfo(tokens.access_token)];
    expect(Object.keys(named(place === 'id_token' ? told : silent))).toEqual([name]);
    expect(named(place === 'id_token' ? silent : told)).toEqual({});
  });

  it('scopes that a client is not registered for are refused', async () => {
    const rp = await registerRelyingParty(server, { scope: 'openid roles' });
    const person = await somebody();
    const attempt = await rp.begin({ scope: 'openid groups' });
    const { url } = await person.browser.go(attempt.url);
    expect(errorOf({ attempt, callback: url })).toBe('invalid_scope');
  });

  it('discovery lists the scopes and the claims', async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body.scopes_supported).toEqual(expect.arrayContaining([...authorizationScopes]));
    expect(body.scopes_supported).not.toContain('organization');
    expect(body.claims_supported).toEqual(expect.arrayContaining([...authorizationScopes, 'organization']));
    expect(body.claims_parameter_supported).toBe(true);
  });

  it('a pairwise subject stays one', async () => {
    const person = await somebody();
    await makeGroup(server, { name: 'Pairs', members: [person.id] });
    const rp = await thirdParty({ subject_type: 'pairwise' });
    const { id_token, access_token } = await rp.signIn(person, { scope: 'openid groups' });
    expect(decodeJwt(id_token)).toMatchObject({ groups: ['/Pairs'] });
    expect(decodeJwt(id_token).sub).not.toBe(person.id);
    expect(await userinfo(access_token)).toEqual({ sub: decodeJwt(id_token).sub, groups: ['/Pairs'] });
  });
});

describe('permissions in tokens', () => {
  const permissionsOf = async (person: Person, rp: RelyingParty, parameters: Parameters = {}) =>
    decodeJwt((await rp.signIn(person, { scope: 'openid permissions', ...parameters })).id_token).permissions;

  it('never claim what is denied, and spell out the wildcards that overlap it', async () => {
    const person = await somebody();
    await giveRole(server, person.id, 'super_admin');
    const rp = await firstParty();
    expect(await permissionsOf(person, rp)).toEqual(['*:*:*']);

    await grantPermission(server, { userId: person.id }, 'users:write:any', { effect: 'deny' });
    await makeRole(server, ['invoices:read:any', 'invoices:write:any']);
    const spelled = (await permissionsOf(person, rp)) as string[];
    expect(spelled).toEqual(expect.arrayContaining(['users:read:any', 'users:write:own', 'invoices:read:any']));
    expect(spelled).not.toContain('users:write:any');
    expect(spelled.some((name) => name.includes('*') || name.startsWith('!'))).toBe(false);
  });

  it('a scope that is denied is left out with those that include it', async () => {
    const person = await somebody();
    const rp = await thirdParty();
    for (const name of ['orders:*:any', 'invoices:read:any'])
      await grantPermission(server, { userId: person.id }, name);
    await grantPermission(server, { userId: person.id }, 'orders:read:any', { effect: 'deny' });
    await grantPermission(server, { userId: person.id }, 'invoices:read:own', { effect: 'deny' });
    const claimed = ((await permissionsOf(person, rp)) as string[]).filter((name) => /^(orders|invoices):/.test(name));
    expect(claimed).toEqual(['orders:read:organization', 'orders:read:own']);
  });

  it('what is denied in an organization is not to be had by signing in for another', async () => {
    const person = await somebody();
    const [here, there] = [
      await makeOrganization(server, { members: [person.id] }),
      await makeOrganization(server, { members: [person.id] }),
    ];
    await grantPermission(server, { userId: person.id }, 'orders:read:any');
    await grantPermission(server, { userId: person.id }, 'orders:read:organization', {
      effect: 'deny',
      organizationId: there.id,
    });
    const rp = await thirdParty();
    for (const organization of [undefined, here.id, there.id])
      expect((await permissionsOf(person, rp, { organization })) as string[]).not.toContainEqual(
        expect.stringMatching(/^orders:read:(organization|any)$/),
      );
  });

  it('in a token for an API they go as far as its application may act', async () => {
    const person = await somebody();
    await grantPermission(server, { userId: person.id }, 'orders:write:any');
    const scope = 'openid permissions orders.read';
    const orders = await register('https://orders.example.com/');
    const own = await firstParty({ scope });
    const theirs = await thirdParty({ scope });
    const claimed = async (rp: RelyingParty) =>
      decodeJwt((await rp.signIn(person, { scope, resource: orders })).access_token).permissions;
    expect(await claimed(own)).toContain('orders:write:any');
    expect(await claimed(theirs)).toEqual([]);
  });

  it('an API that nobody registered is told nothing', async () => {
    const person = await somebody();
    const rp = await thirdParty({ scope: `openid ${all} read` });
    const tokens = await rp.signIn(person, { scope: `openid ${all} read`, resource: 'https://unknown.example.net/' });
    expect(decodeJwt(tokens.access_token).aud).toBe('https://unknown.example.net/');
    expect(named(decodeJwt(tokens.access_token))).toEqual({});
  });
});

describe('a change of what somebody holds', () => {
  it('shows at the next refresh, and at once at introspection and userinfo', async () => {
    const person = await somebody();
    const rp = await thirdParty();
    const scope = `openid ${all} offline_access`;
    const opaque = await rp.signIn(person, { scope });
    const jwt = await rp.signIn(person, { scope: `${scope} users:read:own`, resource: api() });
    const before = decodeJwt(jwt.access_token);
    expect(before.roles).toEqual(['user']);

    const organization = await makeOrganization(server, { members: [person.id] });
    await grantRole(server, { userId: person.id }, 'moderator');
    await makeGroup(server, { name: 'Late', members: [person.id] });
    const now = {
      roles: ['moderator', 'user'],
      groups: ['/Late'],
      organizations: [expect.objectContaining({ id: organization.id })],
    };
    expect(await userinfo(opaque.access_token)).toMatchObject(now);
    expect(await introspect(rp, opaque.access_token)).toMatchObject({ active: true, ...now });
    expect(await introspect(rp, jwt.access_token)).toMatchObject({ active: true, ...now });
    const refreshed = await rp.refresh(jwt.refresh_token);
    expect(decodeJwt(refreshed.access_token)).toMatchObject(now);
    expect(decodeJwt(refreshed.id_token as string)).toMatchObject(now);

    // And taken away again.
    const { db } = server.database;
    await db('roleGrants').where({ userId: person.id }).delete();
    await db('groupMembers').where({ userId: person.id }).delete();
    const after = { roles: ['user'], groups: [] };
    expect(await introspect(rp, refreshed.access_token)).toMatchObject(after);
    expect(await userinfo(opaque.access_token)).toMatchObject(after);
    expect(decodeJwt((await rp.refresh(refreshed.refresh_token as string)).access_token)).toMatchObject(after);
  });

  it('a refresh that names fewer scopes is told less', async () => {
    const person = await somebody();
    const rp = await thirdParty();
    const { refresh_token } = await rp.signIn(person, { scope: 'openid roles groups users:read:own', resource: api() });
    const narrow = await rp.refresh(refresh_token, { scope: 'openid groups users:read:own' });
    expect(Object.keys(named(decodeJwt(narrow.access_token)))).toEqual(['groups']);
    expect(Object.keys(named(decodeJwt(narrow.id_token as string)))).toEqual(['groups']);
  });

  it('consent that is taken back ends what was told by it', async () => {
    const person = await somebody();
    const rp = await thirdParty();
    const { refresh_token, access_token } = await rp.signIn(person, { scope: 'openid groups' });
    const page = await person.browser.go('/account/applications');
    expect(page.html).toContain('See which groups and teams you are in');
    const form = formsOf(page.html).find(({ fields }) => fields.id === rp.client.client_id);
    expect(form).toBeDefined();
    await person.browser.submit(page, { id: rp.client.client_id }, '/withdraw');
    await expect(rp.refresh(refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    expect((await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) })).status).toBe(401);
  });
});

describe('a person of 5,000 groups', () => {
  let person: Somebody;
  beforeAll(async () => {
    person = await somebody();
    const { db } = server.database;
    await db.raw(
      `with made as (insert into groups (name) select 'Department number ' || n from generate_series(1, 5000) n returning id)
       insert into group_members (group_id, user_id) select id, ? from made`,
      [person.id],
    );
    await db.raw(
      `with made as (
         insert into organizations (name) select 'Organization number ' || n || ' of a hundred and fifty' from generate_series(1, 150) n returning id
       ) insert into organization_members (organization_id, user_id) select id, ? from made`,
      [person.id],
    );
    // What many permissions weigh together.
    await db.raw(
      `with made as (insert into permissions (name) select 'warehouses_' || repeat('x', n) || ':read:any' from generate_series(1, 29) n returning id)
       insert into permission_grants (user_id, permission_id, effect) select ?, id, 'allow' from made`,
      [person.id],
    );
  });

  it('gets tokens that fit a header of 8 KB, and the claims elsewhere (OpenID Connect Core section 5.6.2)', async () => {
    const rp = await thirdParty();
    const tokens = await rp.signIn(person, { scope: `openid ${all} offline_access users:read:own`, resource: api() });
    for (const [token, source] of [
      [tokens.id_token, { userinfo: { endpoint: `${server.issuer}/oauth/userinfo` } }],
      [tokens.access_token, { introspection: { endpoint: `${server.issuer}/oauth/introspect` } }],
    ] as const) {
      expect(`Authorization: Bearer ${token}`.length).toBeLessThan(8192);
      const claims = decodeJwt(token);
      expect(Object.keys(named(claims)).sort()).toEqual(['permissions', 'roles']);
      const [name] = Object.keys(source);
      expect(claims._claim_names).toEqual({ groups: name, organizations: name });
      expect(claims._claim_sources).toEqual(source);
    }
    // The API takes it.
    expect((await send(`${server.issuer}/users/${person.id}`, { headers: bearer(tokens.access_token) })).status).toBe(
      200,
    );

    const introspected = await introspect(rp, tokens.access_token);
    expect([introspected.groups.length, introspected.organizations.length]).toEqual([5000, 150]);
    expect(introspected).not.toHaveProperty('_claim_names');

    const plain = await rp.refresh((await rp.signIn(person, { scope: `openid ${all}` })).refresh_token);
    const described = await userinfo(plain.access_token);
    expect([described.groups.length, described.organizations.length]).toEqual([5000, 150]);
    expect(described).not.toHaveProperty('_claim_names');
  });

  it('an id_token that was asked for one claim says where that one is', async () => {
    const rp = await thirdParty();
    const claims = '{"id_token":{"groups":{"essential":true}}}';
    const { id_token } = await rp.signIn(person, { claims });
    expect(named(decodeJwt(id_token))).toEqual({});
    expect(decodeJwt(id_token)._claim_names).toEqual({ groups: 'userinfo' });
  });

  it('TOKEN_CLAIMS_BYTES says how much may be in a token', async () => {
    const strict = await startServer({ TOKEN_CLAIMS_BYTES: '256' });
    try {
      const somebody = await newPerson(strict);
      const rp = await registerRelyingParty(strict, { scope: `openid ${all}` });
      const { id_token } = await rp.signIn(somebody, { scope: `openid ${all}` });
      const told = decodeJwt(id_token);
      expect(told).toMatchObject({ roles: ['user'], groups: [], organizations: [] });
      expect(told._claim_names).toEqual({ permissions: 'userinfo' });
    } finally {
      await strict.stop();
    }
  });
});
