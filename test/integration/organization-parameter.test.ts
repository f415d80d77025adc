/** `organization` at the authorization endpoint: chosen, asked for, enforced, kept to, and lost again. */
import { randomUUID } from 'node:crypto';
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf, type Page, password } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { addMember, grantPermission, grantRole, makeGroup, makeOrganization } from '../support/organizations.ts';
import {
  type Answer,
  basic,
  bearer,
  elsewhere,
  errorOf,
  expectError,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

interface Somebody extends Person {
  id: string;
}

let server: TestServer;
/** Of A and B. */
let person: Somebody;
let a: { id: string; name: string };
let b: { id: string; name: string };
/** Nobody's here. */
let strangers: { id: string; name: string };

const somebody = async (): Promise<Somebody> => {
  const made = await newPerson(server);
  const { id } = await server.database.db('users').where({ email: made.email }).first('id');
  return { ...made, id };
};

const all = 'openid roles permissions groups organizations offline_access';
const application = (metadata: Record<string, unknown> = {}) =>
  registerRelyingParty(server, { scope: `${all} users:read:own users:read:organization`, ...metadata });

beforeAll(async () => {
  server = await startServer();
  person = await somebody();
  a = await makeOrganization(server, { name: 'Alpha & Söhne', kind: 'company', members: [person.id] });
  b = await makeOrganization(server, { name: 'Beta', owners: [person.id] });
  strangers = await makeOrganization(server, { name: 'Strangers' });
  await grantRole(server, { userId: person.id }, 'moderator', { organizationId: a.id });
  await grantPermission(server, { userId: person.id }, 'users:read:organization', { organizationId: a.id });
  await makeGroup(server, { name: 'Everywhere', members: [person.id] });
  await makeGroup(server, { name: 'In A', organizationId: a.id, members: [person.id] });
  await makeGroup(server, { name: 'In B', organizationId: b.id, members: [person.id] });
  // Signed in from here on.
  await (await application({ first_party: true })).signIn(person);
});
afterAll(() => server.stop());

const open = async (rp: RelyingParty, parameters: Parameters, who: Person = person) => {
  const attempt = await rp.begin(parameters);
  return { attempt, page: await who.browser.go(attempt.url) };
};
const offered = (page: Page): string[] =>
  formsOf(page.html).flatMap(({ fields }) => ('organization' in fields ? [fields.organization as string] : []));
const choose = (who: Person, page: Page, organization: string): Promise<Page> =>
  who.browser.submit(page, { organization });
const answerOf = (attempt: Answer['attempt'], { url }: Page): Answer => ({ attempt, callback: url });
const introspect = async ({ client }: RelyingParty, token: string) =>
  (await post(server, '/oauth/introspect', { token }, basic(client))).body;
const api = () => `${server.issuer}/api`;

describe('an organization by its id', () => {
  it('is in the tokens, with what is held everywhere and there, and nothing of others', async () => {
    const rp = await application();
    const { id_token, access_token } = await rp.signIn(person, { scope: all, organization: a.id });
    const userinfo = (await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) })).body;
    for (const claims of [decodeJwt(id_token), userinfo]) {
      expect(claims).toMatchObject({
        organization: { id: a.id, name: a.name },
        organizations: [{ id: a.id, name: a.name, kind: 'company', roles: ['moderator'] }],
        roles: ['moderator', 'user'],
        groups: ['/Everywhere', `${a.id}/In A`].sort(),
        permissions: expect.arrayContaining(['users:read:own', 'users:read:organization']),
      });
      // What holds in one organization reaches no further.
      expect((claims.permissions as string[]).filter((name) => name.endsWith(':any'))).toEqual([]);
      expect(JSON.stringify(claims)).not.toContain(b.id);
    }
    const inB = await rp.signIn(person, { scope: all, organization: b.id });
    expect(decodeJwt(inB.id_token)).toMatchObject({
      organization: { id: b.id, name: b.name },
      roles: ['manager', 'user'],
      groups: ['/Everywhere', `${b.id}/In B`].sort(),
    });
    const inNone = await rp.signIn(person, { scope: all });
    expect(decodeJwt(inNone.id_token)).toMatchObject({ roles: ['user'] });
    expect(decodeJwt(inNone.id_token)).not.toHaveProperty('organization');
    expect((decodeJwt(inNone.id_token).organizations as object[]).length).toBe(2);
  });

  it('is named on the consent page, and told with consent alone', async () => {
    const rp = await application();
    const { attempt, page } = await open(rp, { organization: a.id });
    expect(page.html).toContain('For the organization');
    expect(page.html).toContain('Alpha &#38; Söhne');
    expect(page.html).toContain('The organization that you sign in for');
    const silent = await rp.begin({ organization: a.id, prompt: 'none' });
    expect(errorOf(answerOf(silent, await person.browser.go(silent.url)))).toBe('consent_required');
    // Nor does silence tell before that who belongs where.
    const strange = await rp.begin({ organization: strangers.id, prompt: 'none' });
    expect(errorOf(answerOf(strange, await person.browser.go(strange.url)))).toBe('consent_required');
    const tokens = await rp.redeem(answerOf(attempt, await person.browser.submit(page)));
    expect(decodeJwt(tokens.id_token as string)).toMatchObject({ organization: { id: a.id } });
    // Once agreed to, it is not asked again.
    const again = await rp.begin({ organization: b.id, prompt: 'none' });
    const silently = await rp.redeem(answerOf(again, await person.browser.go(again.url)));
    expect(decodeJwt(silently.id_token as string)).toMatchObject({ organization: { id: b.id } });
  });

  it.each([
    ['pushed (RFC 9126)', {}],
    ['in an implicit id_token', { response_types: ['id_token'], grant_types: ['implicit'] }],
  ])('%s', async (how, metadata) => {
    const rp = await application({ first_party: true, ...metadata });
    const { client, config } = rp;
    if (how.startsWith('pushed')) {
      const attempt = await rp.begin();
      const parameters = Object.fromEntries(attempt.url.searchParams);
      const { status, body } = await post(
        server,
        '/oauth/par',
        { ...parameters, organization: a.id } as Record<string, string>,
        basic(client),
      );
      expect(status).toBe(201);
      const url = oidc.buildAuthorizationUrl(config, { request_uri: body.request_uri });
      const tokens = await rp.redeem(answerOf(attempt, await person.browser.go(url)));
      expect(decodeJwt(tokens.id_token as string)).toMatchObject({ organization: { id: a.id } });
      return;
    }
    const attempt = await rp.begin({
      response_type: 'id_token',
      code_challenge: undefined,
      code_challenge_method: undefined,
      organization: a.id,
      scope: 'openid roles',
    });
    const { url } = await person.browser.go(attempt.url);
    const token = new URLSearchParams(url.hash.slice(1)).get('id_token') as string;
    expect(decodeJwt(token)).toMatchObject({ organization: { id: a.id }, roles: ['moderator', 'user'] });
  });

  it('in a signed request (RFC 9101)', async () => {
    const rp = await application({ first_party: true, token_endpoint_auth_method: 'private_key_jwt' });
    const attempt = await rp.begin();
    const url = await oidc.buildAuthorizationUrlWithJAR(
      rp.config,
      new URLSearchParams([...attempt.url.searchParams, ['organization', b.id]]),
      { key: rp.key as never, kid: 'k1' },
    );
    const tokens = await rp.redeem(answerOf(attempt, await person.browser.go(url)));
    expect(decodeJwt(tokens.id_token as string)).toMatchObject({ organization: { id: b.id } });
  });

  it.each([
    ['no id', 'acme'],
    ['an id with more', `${randomUUID()} or 1=1`],
    ['an id in capitals', 'A3BB189E-8BF9-3888-9912-ACE4E6543002'],
    ['JSON', '{"id":"*"}'],
    ['another word', 'selected'],
    ['10 KB', 'x'.repeat(10_240)],
  ])('that is %s is refused', async (_what, organization) => {
    const rp = await application({ first_party: true });
    const { attempt, page } = await open(rp, { organization });
    expect(errorOf(answerOf(attempt, page))).toBe('invalid_request');
  });

  it('a NUL is refused wherever it comes', async () => {
    const rp = await application({ first_party: true, token_endpoint_auth_method: 'private_key_jwt' });
    const { page } = await open(rp, { organization: `${a.id}\0` });
    expect(page.status).toBe(400);
    const attempt = await rp.begin();
    const url = await oidc.buildAuthorizationUrlWithJAR(
      rp.config,
      new URLSearchParams([...attempt.url.searchParams, ['organization', `${a.id}\0`]]),
      { key: rp.key as never, kid: 'k1' },
    );
    expect((await person.browser.go(url)).status).toBe(400);
  });

  it('that comes twice is refused', async () => {
    const rp = await application({ first_party: true });
    const attempt = await rp.begin({ organization: a.id });
    attempt.url.searchParams.append('organization', b.id);
    const page = await person.browser.go(attempt.url);
    expect(page.url.searchParams.get('error') ?? String(page.status)).toMatch(/invalid_request|400/);
  });

  it.each([
    ['of strangers', () => strangers.id],
    ['that is not there', () => randomUUID()],
  ])('%s stops at a page, and ends in access_denied', async (_what, id) => {
    const rp = await application({ first_party: true });
    const { attempt, page } = await open(rp, { organization: id() });
    expect(page.status).toBe(200);
    expect(page.html).toContain('organization that you don’t belong to');
    expect(page.html).not.toContain('Strangers');
    expect(offered(page)).toEqual([]);
    const { url } = await person.browser.submit(page);
    expect(errorOf({ attempt, callback: url })).toBe('access_denied');
    expect(url.searchParams.get('error_description')).toMatch(/does not belong/);
    expect(url.searchParams.get('state')).toBe(attempt.state);
    const silent = await rp.begin({ organization: id(), prompt: 'none' });
    expect(errorOf(answerOf(silent, await person.browser.go(silent.url)))).toBe('interaction_required');
  });

  it('may be had with another account', async () => {
    const other = await somebody();
    await addMember(server, strangers.id, other.id);
    const who = { ...elsewhere(person), id: person.id };
    const rp = await application({ first_party: true });
    await rp.signIn(who);
    const { attempt, page } = await open(rp, { organization: strangers.id }, who);
    const signIn = await who.browser.submit(page, {}, '/switch');
    let next = await who.browser.submit(signIn, { email: other.email, password });
    for (let step = 0; step < 3 && next.url.origin === server.issuer; step++) next = await who.browser.submit(next);
    const tokens = await rp.redeem(answerOf(attempt, next));
    expect(decodeJwt(tokens.id_token as string)).toMatchObject({
      sub: other.id,
      organization: { id: strangers.id },
    });
  });

  it('is no matter for an organization that is not active', async () => {
    const asleep = await makeOrganization(server, { isActive: false, members: [person.id] });
    const rp = await application({ first_party: true });
    expect((await open(rp, { organization: asleep.id })).page.html).toContain('don’t belong');
  });
});

describe('organization=select', () => {
  it('asks on a page where there are several, and takes one’s own alone', async () => {
    const rp = await application();
    const { attempt, page } = await open(rp, { scope: all, organization: 'select' });
    expect(offered(page)).toEqual([a.id, b.id]);
    expect(page.html).toContain('Company');
    for (const tampered of [strangers.id, randomUUID(), 'select', '', `${a.id}\0`, 'x'.repeat(10_240)]) {
      const refused = await choose(person, page, tampered);
      expect(refused.status).toBe(400);
      expect(refused.url.searchParams.has('code')).toBe(false);
    }
    const consent = await choose(person, page, b.id);
    expect(consent.html).toContain('For the organization');
    expect(consent.html).toContain('Beta');
    const tokens = await rp.redeem(answerOf(attempt, await person.browser.submit(consent)));
    expect(decodeJwt(tokens.id_token as string)).toMatchObject({ organization: { id: b.id, name: 'Beta' } });
  });

  it('asks each time, and never in silence', async () => {
    const rp = await application({ first_party: true });
    await rp.signIn(person, { organization: 'select' });
    expect(offered((await open(rp, { organization: 'select' })).page)).toEqual([a.id, b.id]);
    const silent = await rp.begin({ organization: 'select', prompt: 'none' });
    expect(errorOf(answerOf(silent, await person.browser.go(silent.url)))).toBe('interaction_required');
  });

  it('can be given up', async () => {
    const rp = await application({ first_party: true });
    const { attempt, page } = await open(rp, { organization: 'select' });
    expect(errorOf(answerOf(attempt, await person.browser.submit(page, {}, '/abort')))).toBe('access_denied');
  });

  it('takes the only one there is, in silence too', async () => {
    const single = await somebody();
    await addMember(server, b.id, single.id);
    const rp = await application({ first_party: true, require_organization: true });
    const tokens = await rp.signIn(single);
    expect(decodeJwt(tokens.id_token)).toMatchObject({ organization: { id: b.id } });
    const silent = await rp.begin({ prompt: 'none' });
    const silently = await rp.redeem(answerOf(silent, await single.browser.go(silent.url)));
    expect(decodeJwt(silently.id_token as string)).toMatchObject({ organization: { id: b.id } });
  });

  it('says so where there is none', async () => {
    const lonely = await somebody();
    const rp = await application({ first_party: true, require_organization: true });
    const attempt = await rp.begin();
    const page = await lonely.browser.submit(await lonely.browser.go(attempt.url), { email: lonely.email, password });
    expect(page.html).toContain('is for members of an organization');
    const { url } = await lonely.browser.submit(page);
    expect(errorOf({ attempt, callback: url })).toBe('access_denied');
    const silent = await rp.begin({ prompt: 'none' });
    expect(errorOf(answerOf(silent, await lonely.browser.go(silent.url)))).toBe('interaction_required');
  });

  it('an answer of one account is none of another’s', async () => {
    const other = await somebody();
    for (const { id } of [a, b]) await addMember(server, id, other.id);
    const who = elsewhere(person);
    const rp = await application({ first_party: true });
    const begun = await open(rp, { organization: 'select' }, who);
    const page = await who.browser.submit(begun.page, { email: person.email, password });
    expect(offered(page)).toEqual([a.id, b.id]);
    // Somebody else signs in in this browser meanwhile.
    const signIn = await who.browser.submit(page, {}, '/switch');
    const asked = await who.browser.submit(signIn, { email: other.email, password });
    let next = asked;
    for (let step = 0; step < 3 && !offered(next).length && next.url.origin === server.issuer; step++)
      next = await who.browser.submit(next);
    expect(offered(next)).toEqual([a.id, b.id]);
    // The first account's page is of an interaction that is over.
    const late = await choose(who, page, a.id);
    expect(late.url.searchParams.has('code')).toBe(false);
    const done = await choose(who, next, b.id);
    const tokens = await rp.redeem(answerOf(begun.attempt, done));
    expect(decodeJwt(tokens.id_token as string)).toMatchObject({ sub: other.id, organization: { id: b.id } });
  });
});

describe('require_organization', () => {
  it('asks without being told to, and a named one needs no page', async () => {
    const rp = await application({ first_party: true, require_organization: true });
    expect(offered((await open(rp, {})).page)).toEqual([a.id, b.id]);
    const { id_token } = await rp.signIn(person, { organization: b.id });
    expect(decodeJwt(id_token)).toMatchObject({ organization: { id: b.id } });
  });

  it('is part of a client’s metadata', async () => {
    const admin = await callerOf(server, { role: 'super_admin' });
    const created = await admin.request('post', '/clients', {
      client_name: 'Strict',
      redirect_uris: ['https://strict.example.com/cb'],
      require_organization: true,
    });
    expect([created.status, created.json.require_organization]).toEqual([201, true]);
    const read = await admin.request('get', `/clients/${created.json.client_id}`);
    expect(read.json.require_organization).toBe(true);
  });

  it('leaves an application that acts for itself alone', async () => {
    const rp = await application({
      require_organization: true,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    });
    const { status, body } = await post(
      server,
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'users:read:own', organization: a.id },
      basic(rp.client),
    );
    expect(status).toBe(200);
    expect(decodeJwt(body.access_token)).not.toHaveProperty('organization');
  });
});

describe('tokens for an organization', () => {
  it('stay of it: two of one session, refreshed in turn', async () => {
    const rp = await application();
    const scope = `${all} users:read:organization users:read:own`;
    const inA = await rp.signIn(person, { scope, organization: a.id, resource: api() });
    const inB = await rp.signIn(person, { scope, organization: b.id, resource: api() });
    expect(decodeJwt(inA.access_token).grant_id).toBe(decodeJwt(inB.access_token).grant_id);
    let [ofA, ofB] = [inA, inB] as oidc.TokenEndpointResponse[];
    for (let round = 0; round < 2; round++) {
      ofA = await rp.refresh(ofA?.refresh_token as string);
      ofB = await rp.refresh(ofB?.refresh_token as string);
      for (const [tokens, { id, name }] of [[ofA, a] as const, [ofB, b] as const]) {
        expect(decodeJwt(tokens.access_token).organization).toEqual({ id, name });
        expect(decodeJwt(tokens.id_token as string).organization).toEqual({ id, name });
        expect(await introspect(rp, tokens.access_token)).toMatchObject({ active: true, organization: { id, name } });
      }
    }
    // What the scope may hold follows from where it is for: only A lets them see its people.
    expect(decodeJwt(ofA?.access_token as string).scope).toContain('users:read:organization');
  });

  it('reach its people at the REST API, and nobody of another organization', async () => {
    const reader = await somebody();
    const [colleague, outsider] = [await somebody(), await somebody()];
    const [one, two] = [
      await makeOrganization(server, { members: [reader.id, colleague.id] }),
      await makeOrganization(server, { members: [reader.id, outsider.id] }),
    ];
    for (const { id } of [one, two])
      await grantPermission(server, { userId: reader.id }, 'users:read:organization', { organizationId: id });
    const rp = await application({ first_party: true });
    const scope = 'openid users:read:own users:read:organization';
    const read = async (token: string, id: string) =>
      (await send(`${server.issuer}/users/${id}`, { headers: bearer(token) })).status;
    const { access_token: bound } = await rp.signIn(reader, { scope, resource: api(), organization: one.id });
    const { access_token: unbound } = await rp.signIn(reader, { scope, resource: api() });
    expect([await read(bound, colleague.id), await read(unbound, colleague.id)]).toEqual([200, 200]);
    expect(await read(unbound, outsider.id)).toBe(200);
    expect([403, 404]).toContain(await read(bound, outsider.id));
  });

  it('tell nothing of other organizations at the REST API, and do not leave them', async () => {
    const leaver = await somebody();
    const [one, two] = [
      await makeOrganization(server, { members: [leaver.id] }),
      await makeOrganization(server, { members: [leaver.id] }),
    ];
    const scope = 'openid authz:check:own organizations:leave:own';
    const rp = await application({ first_party: true, scope });
    const { access_token: bound } = await rp.signIn(leaver, { scope, resource: api(), organization: one.id });
    const ask = (method: string, path: string) => send(`${server.issuer}${path}`, { method, headers: bearer(bound) });
    const { body } = await ask('GET', `/rbac/users/${leaver.id}/effective`);
    expect(body.organizations.map(({ id }: { id: string }) => id)).toEqual([one.id]);
    expect(JSON.stringify(body)).not.toContain(two.id);
    expect((await ask('DELETE', `/organizations/${two.id}/members/me`)).status).toBe(404);
    expect((await ask('DELETE', `/organizations/${one.id}/members/me`)).status).toBe(204);
    const left = await server.database.db('organizationMembers').where({ userId: leaver.id }).select('organizationId');
    expect(left).toEqual([{ organizationId: two.id }]);
  });

  it.each([
    ['the membership', () => ({ members: true })],
    ['the organization', () => ({ members: false })],
  ])('end with %s: refresh, introspection, userinfo, REST, a code', async (_what, how) => {
    const member = await somebody();
    const left = await makeOrganization(server, { members: [member.id] });
    const rp = await application();
    const scope = `${all} users:read:own`;
    const opaque = await rp.signIn(member, { scope, organization: left.id });
    const jwt = await rp.signIn(member, { scope, organization: left.id, resource: api() });
    const other = await rp.signIn(member, { scope, resource: api() });
    const code = await rp.authorize(member, { scope, organization: left.id });
    const { db } = server.database;
    if (how().members) await db('organizationMembers').where({ organizationId: left.id }).delete();
    else await db('organizations').where({ id: left.id }).update({ isActive: false });

    await expect(rp.refresh(opaque.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    await expect(rp.refresh(jwt.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    await expect(rp.redeem(code)).rejects.toMatchObject({ error: 'invalid_grant' });
    for (const { access_token } of [opaque, jwt]) expect(await introspect(rp, access_token)).toEqual({ active: false });
    expect((await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(opaque.access_token) })).status).toBe(401);
    const me = `${server.issuer}/users/${member.id}`;
    expect((await send(me, { headers: bearer(jwt.access_token) })).status).toBe(401);
    // What is for no organization is not concerned.
    expect((await send(me, { headers: bearer(other.access_token) })).status).toBe(200);
    expect(decodeJwt((await rp.refresh(other.refresh_token)).access_token)).not.toHaveProperty('organization');
  });

  it('what is exchanged for one is of the same organization (RFC 8693)', async () => {
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const app = await application({ first_party: true });
    const backend = await server.client({
      ...{ redirect_uris: [], response_types: [], grant_types: [exchange], first_party: true },
      scope: 'users:read:own users:read:organization',
      token_exchange: { impersonation: true, subject_clients: [app.client.client_id] },
    });
    const scope = 'openid users:read:own users:read:organization';
    const subject = await app.signIn(person, { scope, resource: api(), organization: b.id });
    const exchanged = await post(
      server,
      '/oauth/token',
      {
        grant_type: exchange,
        subject_token: subject.access_token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      },
      basic(backend),
    );
    expect(exchanged.status).toBe(200);
    expect(decodeJwt(exchanged.body.access_token)).toMatchObject({ organization: { id: b.id, name: b.name } });
  });

  it('a claim of the request puts nobody anywhere', async () => {
    const rp = await application({ first_party: true });
    const claims = JSON.stringify({
      id_token: { organization: { value: { id: a.id } }, organizationId: null },
      userinfo: { organization: { essential: true } },
    });
    const { id_token, access_token } = await rp.signIn(person, { claims });
    expect(decodeJwt(id_token)).not.toHaveProperty('organization');
    const { body } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) });
    expect(body).not.toHaveProperty('organization');
  });
});

describe('elsewhere than in a browser', () => {
  it('a device’s tokens are for what its person chose (RFC 8628)', async () => {
    const grant = 'urn:ietf:params:oauth:grant-type:device_code';
    const tv = await application({
      ...{ redirect_uris: undefined, post_logout_redirect_uris: undefined, token_endpoint_auth_method: 'none' },
      ...{ grant_types: [grant, 'refresh_token'], require_organization: true },
    });
    const begin = () => oidc.initiateDeviceAuthorization(tv.config, { scope: all });
    const enter = async (user_code: string) => {
      const { browser } = person;
      const typed = await browser.submit(await browser.go('/device'), { user_code });
      const fields = formsOf(typed.html).find((form) => 'confirm' in form.fields)?.fields;
      return browser.go('/device', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: browser.issuer },
        body: new URLSearchParams(fields),
      });
    };
    const device = await begin();
    const page = await enter(device.user_code);
    expect(offered(page)).toEqual([a.id, b.id]);
    expect(formsOf(page.html).some(({ action }) => action.endsWith('/switch'))).toBe(false);
    const done = await person.browser.submit(await choose(person, page, b.id));
    expect(done.url.pathname).toBe('/device/connected');
    const tokens = await oidc.pollDeviceAuthorizationGrant(tv.config, { ...device, interval: 1 });
    expect(tokens.claims()).toMatchObject({ organization: { id: b.id } });
    const refreshed = await oidc.refreshTokenGrant(tv.config, tokens.refresh_token as string);
    expect(decodeJwt(refreshed.id_token as string)).toMatchObject({ organization: { id: b.id } });
  });

  it('the password grant takes an id, and asks for one where there are several', async () => {
    const rp = await application({
      ...{ first_party: true, grant_types: ['password', 'refresh_token'], redirect_uris: [], response_types: [] },
      require_organization: true,
    });
    const ask = (more: Record<string, string>) =>
      post(
        server,
        '/oauth/token',
        { grant_type: 'password', username: person.email, password, ...more },
        basic(rp.client),
      );
    // Whoever gets no token has not signed in.
    const signIns = async () => {
      const { db } = server.database;
      const [ins, { lastSignInAt }] = await Promise.all([
        db('signIns').where({ userId: person.id }).count().first(),
        db('users').where({ id: person.id }).first('lastSignInAt'),
      ]);
      return { ...ins, lastSignInAt };
    };
    const before = await signIns();
    expectError(await ask({}), [400, 'invalid_request']);
    expectError(await ask({ organization: strangers.id }), [400, 'invalid_grant']);
    expectError(await ask({ organization: 'acme' }), [400, 'invalid_grant']);
    expect(await signIns()).toEqual(before);
    const { body } = await ask({ organization: a.id });
    expect(decodeJwt(body.access_token)).toMatchObject({ organization: { id: a.id }, roles: ['moderator', 'user'] });
    const refreshed = await rp.refresh(body.refresh_token);
    expect(decodeJwt(refreshed.access_token)).toMatchObject({ organization: { id: a.id } });
  });

  it.each([
    ['that names one', { organization: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' }, {}],
    ['of a client that requires one', {}, { require_organization: true }],
  ])('a backchannel request %s is refused', async (_what, parameters, metadata) => {
    const rp = await application({
      grant_types: ['urn:openid:params:grant-type:ciba'],
      ...{ redirect_uris: [], response_types: [], backchannel_token_delivery_mode: 'poll', ...metadata },
    });
    const reply = await post(
      server,
      '/oauth/backchannel',
      { scope: 'openid', login_hint: person.email, ...parameters },
      basic(rp.client),
    );
    expectError(reply, [400, 'invalid_request']);
  });
});
