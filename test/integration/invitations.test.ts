/** Invitations to organizations: whoever holds the link gets in only as who was invited, once, with no more than the inviter has. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf, machineOf, nobody, requester, type TestCaller } from '../support/callers.ts';
import { addMember, grantRole, makeOrganization, makeRole } from '../support/organizations.ts';
import { eventually, mailCount, signedIn, tokenOf, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let anybody: TestCaller;
let owner: TestCaller;
let organization: { id: string; name: string };
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
  owner = await callerOf(server);
  organization = await makeOrganization(server, { name: `Analytical Engines ${uuid()}`, owners: [owner.id] });
  owner = await renewed(owner);
});
afterAll(() => server.stop());

/** Signs somebody in anew: a token passes on what its person held when it was made. */
const renewed = async ({ id, email }: TestCaller, on = server): Promise<TestCaller> => {
  const { json } = await nobody(on).request('post', '/auth/login', { email, password });
  return { id, email, token: json.accessToken, request: requester(on, json.accessToken) };
};

const db = () => server.database.db;
const subject = /organization/;
const address = () => `${uuid()}@example.com`;
const at = (id = organization.id) => `/organizations/${id}/invitations`;
const linkOf = async (email: string, already = 0) => {
  await eventually(() => mailCount(server, email, subject) > already, 'an invitation');
  const { links } = await server.mail(email, subject);
  return { token: tokenOf(links, 'invitation'), links };
};
/** Invites somebody. */
const invited = async (email = address(), body: object = {}, by = owner, id = organization.id) => {
  const { status, json } = await by.request('post', at(id), { email, ...body });
  expect([status, json.code]).toEqual([201, undefined]);
  return { email, id: json.id as string, ...(await linkOf(email)) };
};
const withAccount = async (options: Parameters<typeof callerOf>[1] = {}) => callerOf(server, options);
const isMember = async (userId: string, organizationId = organization.id) =>
  (await db()('organizationMembers').where({ userId, organizationId }).first('userId')) !== undefined;
const accept = (person: TestCaller, token: string) =>
  person.request('post', '/organizations/invitations/accept', { token });
const outcome = ({ status, json }: { status: number; json: { code?: string } | undefined }) => [status, json?.code];
const eventsOf = async (targetId: string) =>
  (await db()('auditLogs').where({ targetId }).orderBy('at')).map(({ action }) => action as string);
const expire = (id: string) =>
  db()('organizationInvitations')
    .where({ id })
    .update({ expiresAt: new Date(Date.now() - 1000) });

describe('answering one that is listed', () => {
  it('goes by its id, for whom it is to alone', async () => {
    const [guest, other] = [await withAccount(), await withAccount()];
    const first = await invited(guest.email);
    const answer = (person: TestCaller, verb: string, body: object) =>
      person.request('post', `/organizations/invitations/${verb}`, body);
    const listed = await guest.request('get', '/organizations/invitations');
    expect(listed.json.data).toMatchObject([{ id: first.id }]);
    for (const verb of ['accept', 'decline']) {
      expect(outcome(await answer(other, verb, { id: first.id }))).toEqual([404, 'invitation_not_found']);
      expect(outcome(await answer(guest, verb, {}))).toEqual([400, 'invalid_request']);
    }
    expect(outcome(await answer(guest, 'accept', { id: first.id }))).toEqual([200, undefined]);
    expect(await isMember(guest.id)).toBe(true);
    const second = await invited(other.email);
    expect(outcome(await answer(other, 'decline', { id: second.id }))).toEqual([204, undefined]);
    expect(await isMember(other.id)).toBe(false);
  });
});

describe('inviting', () => {
  it('mails a link to the issuer, whatever host the request named, and answers the same whether there is an account', async () => {
    const there = await withAccount();
    const answers = [];
    for (const email of [address(), there.email]) {
      const answer = await owner.request(
        'post',
        at(),
        { email },
        { host: 'evil.example', 'x-forwarded-host': 'evil.example' },
      );
      const { links } = await linkOf(email);
      expect(links.every((link) => link.startsWith(`${server.issuer}/`))).toBe(true);
      const { id: _i, email: _e, expiresAt: _x, createdAt: _c, ...rest } = answer.json;
      answers.push([answer.status, rest]);
    }
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toEqual([
      201,
      { organizationId: organization.id, roles: [], invitedBy: owner.id, state: 'pending' },
    ]);
  });

  for (const { name, by = () => owner, body = () => ({ email: address() }), expected } of [
    { name: 'nobody', by: () => anybody, expected: [401, 'unauthenticated'] },
    { name: 'a stranger', by: () => withAccount(), expected: [403, 'missing_permission'] },
    {
      name: 'a member who is no manager',
      by: async () => {
        const member = await withAccount();
        await addMember(server, organization.id, member.id);
        return member;
      },
      expected: [403, 'missing_permission'],
    },
    {
      name: 'an owner of another organization, who does not learn whether this one is there',
      by: async () => {
        const other = await withAccount();
        await makeOrganization(server, { owners: [other.id] });
        return renewed(other);
      },
      expected: [404, 'organization_not_found'],
    },
    {
      name: 'an application by itself',
      by: () => machineOf(server, 'organizations:write:any'),
      expected: [403, 'inviter_needed'],
    },
    {
      name: 'a role above one’s own',
      body: () => ({ email: address(), roles: ['admin'] }),
      expected: [403, 'rank_too_low'],
    },
    {
      name: 'a role that is not there',
      body: () => ({ email: address(), roles: ['manager', 'nothing'] }),
      expected: [400, 'invalid_request'],
    },
    { name: 'something that is no address', body: () => ({ email: 'ada' }), expected: [400, 'invalid_request'] },
    {
      name: 'a time that is past',
      body: () => ({ email: address(), expiresAt: '2020-01-01T00:00:00Z' }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'a time too far away',
      body: () => ({ email: address(), expiresAt: new Date(Date.now() + 100 * 86_400_000).toISOString() }),
      expected: [400, 'invalid_request'],
    },
  ] as { name: string; by?: () => TestCaller | Promise<TestCaller>; body?: () => object; expected: unknown[] }[]) {
    it(`refuses ${name}`, async () => {
      const caller = await by();
      const before = await db()('organizationInvitations').orderBy('id').pluck('id');
      expect(outcome(await caller.request('post', at(), body()))).toEqual(expected);
      expect(await db()('organizationInvitations').orderBy('id').pluck('id')).toEqual(before);
    });
  }

  it('refuses a member, and an address that is invited already until that has expired', async () => {
    const member = await withAccount();
    await addMember(server, organization.id, member.id);
    expect(outcome(await owner.request('post', at(), { email: member.email }))).toEqual([409, 'already_member']);
    const { email, id } = await invited();
    expect(outcome(await owner.request('post', at(), { email: email.toUpperCase() }))).toEqual([
      409,
      'invitation_exists',
    ]);
    await expire(id);
    expect((await owner.request('post', at(), { email })).status).toBe(201);
    const both = await Promise.all([0, 1].map(() => owner.request('post', at(), { email: `twice-${email}` })));
    expect(both.map(({ status }) => status).toSorted()).toEqual([201, 409]);
  });

  it('is listed in pages, for those who look after the organization alone', async () => {
    const other = await makeOrganization(server, { owners: [owner.id] });
    const emails = [address(), address(), address()];
    for (const email of emails) await owner.request('post', at(other.id), { email });
    const first = await owner.request('get', `${at(other.id)}?limit=2`);
    const second = await owner.request('get', `${at(other.id)}?limit=2&cursor=${first.json.nextCursor}`);
    const data = [...first.json.data, ...second.json.data];
    expect([data.map(({ email }) => email), second.json.nextCursor]).toEqual([emails, null]);
    expect(outcome(await (await withAccount()).request('get', at(other.id)))).toEqual([403, 'missing_permission']);
  });

  it('is limited for the person, and for the address even if it tells nobody', async () => {
    const strict = await startServer({ RATE_LIMIT_FACTOR: '1', RATE_LIMITS: '' });
    try {
      const person = await callerOf(strict);
      const { id } = await makeOrganization(strict, { owners: [person.id] });
      const sender = await renewed(person, strict);
      const email = address();
      const made = await sender.request('post', at(id), { email });
      const again = () => sender.request('post', `${at(id)}/${made.json.id}/resend`);
      const statuses = [];
      for (let count = 0; count < 5; count++) statuses.push((await again()).status);
      expect(statuses).toEqual([200, 200, 200, 200, 429]);
    } finally {
      await strict.stop();
    }
  });
});

describe('accepting', () => {
  it('makes the person a member with the roles, once, and says so in the audit log', async () => {
    const person = await withAccount();
    const { token, id } = await invited(person.email, { roles: ['manager'] });
    const { json: own } = await person.request('get', '/organizations/invitations');
    expect(own.data).toMatchObject([{ id, organization, roles: ['manager'] }]);
    const answers = await Promise.all([accept(person, token), accept(person, token)]);
    expect(answers.map(outcome).toSorted()).toEqual([
      [200, undefined],
      [410, 'invitation_used'],
    ]);
    expect(await isMember(person.id)).toBe(true);
    const grants = await db()('roleGrants')
      .where({ userId: person.id })
      .select('organizationId', 'expiresAt', 'grantedBy');
    expect(grants).toEqual([{ organizationId: organization.id, expiresAt: null, grantedBy: owner.id }]);
    expect(await eventsOf(organization.id)).toContain('organization.accept_invitation');
    expect((await person.request('get', '/organizations/invitations')).json.data).toEqual([]);
    expect((await (await renewed(person)).request('get', at())).status).toBe(200);
  });

  it('tells whoever has the link what it is about, and uses nothing up by that', async () => {
    const { token, email } = await invited();
    const lookup = () => anybody.request('post', '/organizations/invitations/lookup', { token });
    for (let count = 0; count < 2; count++)
      expect((await lookup()).json).toEqual({
        organization: { name: organization.name },
        invitedBy: { name: 'Ada Lovelace' },
        ...{ email, state: 'pending', expiresAt: expect.any(String) },
      });
    expect(outcome(await anybody.request('post', '/organizations/invitations/lookup', { token: 'no' }))).toEqual([
      404,
      'invitation_not_found',
    ]);
  });

  it('is for the address that was invited: a forwarded link lets nobody in', async () => {
    const { token, email } = await invited();
    const other = await withAccount();
    expect(outcome(await accept(other, token))).toEqual([403, 'invitation_for_another']);
    // Nor does an account that says it has the address, and has not shown it.
    await db()('users').where({ id: other.id }).update({ email, emailVerifiedAt: null });
    expect(outcome(await accept(other, token))).toEqual([403, 'email_not_verified']);
    expect((await other.request('get', '/organizations/invitations')).json.data).toEqual([]);
    expect(await isMember(other.id)).toBe(false);
  });

  it('is for people who have signed in here: no key and no application of somebody else’s', async () => {
    const stranger = await withAccount({ thirdParty: true });
    const { token } = await invited(stranger.email);
    expect(outcome(await accept(stranger, token))).toEqual([403, 'session_needed']);
    expect(outcome(await accept(anybody, token))).toEqual([401, 'unauthenticated']);
  });

  const inviterIs: [string, (inviter: TestCaller, id: string) => Promise<unknown>][] = [
    [
      'no manager any more',
      (inviter, id) => db()('roleGrants').where({ userId: inviter.id, organizationId: id }).delete(),
    ],
    [
      'gone from the organization',
      (inviter, id) => db()('organizationMembers').where({ userId: inviter.id, organizationId: id }).delete(),
    ],
    ['deactivated', (inviter) => db()('users').where({ id: inviter.id }).update({ status: 'deactivated' })],
    ['closed', (inviter) => db()('users').where({ id: inviter.id }).update({ status: 'closed' })],
    ['of an organization that is shut', (_, id) => db()('organizations').where({ id }).update({ isActive: false })],
  ];
  for (const [what, change] of inviterIs)
    it(`is void once whoever sent it is ${what}`, async () => {
      const inviter = await withAccount();
      const { id } = await makeOrganization(server, { managers: [inviter.id] });
      const person = await withAccount();
      const { token } = await invited(person.email, {}, await renewed(inviter), id);
      await change(inviter, id);
      expect(outcome(await accept(person, token))).toEqual([410, 'invitation_revoked']);
      expect(await isMember(person.id, id)).toBe(false);
    });

  it('gives no role that whoever sent it could not give now', async () => {
    const inviter = await withAccount();
    const { id } = await makeOrganization(server, { managers: [inviter.id] });
    const role = await makeRole(server, ['groups:read:organization']);
    const person = await withAccount();
    const { token } = await invited(person.email, { roles: [role.name] }, await renewed(inviter), id);
    // The role has come to permit more meanwhile.
    await db()('permissions').insert({ name: 'users:deactivate:any' }).onConflict('name').ignore();
    const { id: permissionId } = await db()('permissions').where({ name: 'users:deactivate:any' }).first('id');
    await db()('rolePermissions').insert({ roleId: role.id, permissionId });
    expect(outcome(await accept(person, token))).toEqual([410, 'invitation_revoked']);
    await db()('rolePermissions').where({ roleId: role.id, permissionId }).delete();
    expect((await accept(person, token)).status).toBe(200);
  });

  it('says plainly what has become of it', async () => {
    const person = await withAccount();
    const expired = await invited(person.email);
    await expire(expired.id);
    expect(outcome(await accept(person, expired.token))).toEqual([410, 'invitation_expired']);
    const revoked = await invited();
    expect((await owner.request('delete', `${at()}/${revoked.id}`)).status).toBe(204);
    const other = await callerOf(server);
    await db()('users').where({ id: other.id }).update({ email: revoked.email });
    expect(outcome(await accept(other, revoked.token))).toEqual([410, 'invitation_revoked']);
    expect(outcome(await accept(person, 'nothing'))).toEqual([404, 'invitation_not_found']);
  });

  it('works by the latest link alone when it was sent again', async () => {
    const person = await withAccount();
    const { id, token, email } = await invited(person.email);
    expect((await owner.request('post', `${at()}/${id}/resend`)).status).toBe(200);
    const { token: later } = await linkOf(email, 1);
    expect(outcome(await accept(person, token))).toEqual([404, 'invitation_not_found']);
    expect((await accept(person, later)).status).toBe(200);
    expect(outcome(await owner.request('post', `${at()}/${id}/resend`))).toEqual([409, 'already_member']);
  });

  it('can be declined', async () => {
    const person = await withAccount();
    const { token } = await invited(person.email);
    expect((await person.request('post', '/organizations/invitations/decline', { token })).status).toBe(204);
    expect(outcome(await accept(person, token))).toEqual([410, 'invitation_used']);
    expect(await isMember(person.id)).toBe(false);
  });

  it('is of its own organization alone', async () => {
    const { id } = await invited();
    const other = await makeOrganization(server, { owners: [owner.id] });
    expect(outcome(await owner.request('delete', `${at(other.id)}/${id}`))).toEqual([404, 'invitation_not_found']);
    expect(outcome(await owner.request('post', `${at(other.id)}/${id}/resend`))).toEqual([404, 'invitation_not_found']);
  });

  it('turns a role that was given for a time into one for good', async () => {
    const person = await withAccount();
    await addMember(server, organization.id, person.id);
    await grantRole(server, { userId: person.id }, 'manager', {
      organizationId: organization.id,
      expiresAt: new Date(Date.now() + 60_000),
    });
    await db()('organizationMembers').where({ userId: person.id }).delete();
    const { token } = await invited(person.email, { roles: ['manager'] });
    expect((await accept(person, token)).status).toBe(200);
    expect(await db()('roleGrants').where({ userId: person.id }).select('expiresAt')).toEqual([{ expiresAt: null }]);
  });

  it('is forgotten a month after it has expired', async () => {
    const { id } = await invited();
    await db()('organizationInvitations')
      .where({ id })
      .update({ expiresAt: new Date(Date.now() - 31 * 86_400_000) });
    await cleanExpired(db());
    expect(await db()('organizationInvitations').where({ id })).toEqual([]);
  });
});

describe('the page', () => {
  it('shows what it is about, changes nothing by being opened, and no link leads elsewhere', async () => {
    const { token, email } = await invited();
    const browser = new Browser(server.issuer);
    for (let count = 0; count < 3; count++) {
      const page = await browser.go(`/invitation?token=${token}&next=https://evil.example&return=//evil.example`);
      expect([page.status, page.html.includes(email), page.html.includes(organization.name)]).toEqual([
        200,
        true,
        true,
      ]);
      expect(page.html).not.toMatch(/(href|action)="(https?:)?\/\/evil/);
    }
    expect((await anybody.request('post', '/organizations/invitations/lookup', { token })).json.state).toBe('pending');
  });

  it('lets somebody with an account in, whether they are signed in already or sign in now', async () => {
    for (const already of [true, false]) {
      const email = await registerAccount(server);
      const { token } = await invited(email);
      const browser = already ? await signedIn(server, email) : new Browser(server.issuer);
      let page = await browser.go(`/invitation?token=${token}`);
      if (!already) {
        page = await browser.submit(page, { go: 'sign-in' }, '/invitation');
        page = await browser.submit(page, { email, password });
      }
      expect(page.html).toContain(organization.name);
      page = await browser.submit(page, {}, '/accept');
      expect([page.url.pathname, page.html.includes(words('notices.invitationAccepted'))]).toEqual([
        '/account/invitations',
        true,
      ]);
      const { id } = await db()('users').where({ email }).first('id');
      expect(await isMember(id)).toBe(true);
    }
  });

  it('lets somebody new in, once they have confirmed the address that was invited', async () => {
    const { token, email } = await invited();
    const browser = new Browser(server.issuer);
    let page = await browser.go(`/invitation?token=${token}`);
    page = await browser.submit(page, { go: 'register' }, '/invitation');
    expect([page.url.pathname, page.html.includes(email)]).toEqual(['/register', true]);
    await browser.submit(page, { name: 'Grace Hopper', email, password });
    const { links } = await server.mail(email, /Confirm/);
    page = await browser.submit(
      await browser.go(links.find((link) => link.includes('/verify')) as string),
      {},
      '/verify',
    );
    expect(page.html).toContain('href="/account/invitations"');
    page = await browser.submit(await browser.go('/account/invitations'), { email, password });
    page = await browser.submit(page, {}, '/accept');
    expect(page.html).toContain(words('notices.invitationAccepted'));
  });

  it('offers whoever is signed in as somebody else to sign in as who was invited', async () => {
    const email = await registerAccount(server);
    const other = await registerAccount(server);
    const { token } = await invited(email);
    const browser = await signedIn(server, other);
    let page = await browser.go(`/invitation?token=${token}`);
    expect(page.html).not.toContain('/accept');
    page = await browser.submit(page, { go: 'sign-in' }, '/invitation');
    page = await browser.submit(page, { email, password });
    // The engine has the browser carry on by a form of its own when another person takes a session over.
    page = await browser.submit(page);
    page = await browser.submit(page, {}, '/accept');
    expect([page.url.pathname, page.html.includes(email)]).toEqual(['/account/invitations', true]);
    const { id } = await db()('users').where({ email: other }).first('id');
    expect(await isMember(id)).toBe(false);
  });

  it('tells nobody’s invitations on an account page: an id of somebody else’s is none', async () => {
    const { id } = await invited();
    const browser = await signedIn(server, await registerAccount(server));
    const page = await browser.go('/account/invitations', {
      method: 'POST',
    });
    expect(page.status).toBe(404);
    const refused = await browser.submit(
      {
        ...(await browser.go('/account/invitations')),
        html: `<form method="post" action="/account/invitations/accept"><input type="hidden" name="csrf" value="${browser.formToken}"></form>`,
      },
      { id },
      '/accept',
    );
    expect([refused.status, refused.html.includes(words('problems.invitationGone'))]).toEqual([404, true]);
  });

  for (const [what, change, status, text] of [
    ['expired', (id: string) => expire(id), 410, 'expired'],
    ['revoked', (id: string) => owner.request('delete', `${at()}/${id}`), 410, 'revoked'],
    [
      'used',
      (id: string) => db()('organizationInvitations').where({ id }).update({ acceptedAt: new Date() }),
      410,
      'accepted',
    ],
    [
      'declined',
      (id: string) => db()('organizationInvitations').where({ id }).update({ declinedAt: new Date() }),
      410,
      'declined',
    ],
    ['unknown', (id: string) => db()('organizationInvitations').where({ id }).delete(), 404, 'unknown'],
  ] as [string, (id: string) => Promise<unknown>, number, string][])
    it(`has a page of its own for one that is ${what}`, async () => {
      const { id, token } = await invited();
      await change(id);
      const page = await new Browser(server.issuer).go(`/invitation?token=${token}`);
      const [said = ''] = words(`invitation-closed.${text}`).split('{{organization}}');
      expect([page.status, page.html.includes(said), page.html.includes('<form')]).toEqual([status, true, false]);
      expect(page.html).toContain('hreflang="de"');
    });
});
