/** Mail domains of organizations: shown to be theirs by DNS, one organization’s each, and who joins by them. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTxtLookup } from '../../adapters/dns.ts';
import { cleanExpired } from '../../db/clean.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { createAdministrator } from '../../src/auth/administrators.commands.ts';
import { type MailDomainDeps, recheckMailDomains } from '../../src/organizations/mail-domains.commands.ts';
import { normalizeDomain } from '../../src/organizations/mail-domains.ts';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf, nobody, requester, type TestCaller } from '../support/callers.ts';
import { type DnsServer, startDns } from '../support/dns.ts';
import { addMember, makeOrganization, makeRole } from '../support/organizations.ts';
import { tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let dns: DnsServer;
let server: TestServer;
let admin: TestCaller;
beforeAll(async () => {
  dns = await startDns();
  server = await startServer({ DNS_SERVERS: dns.address });
  admin = await callerOf(server, { role: 'super_admin' });
});
afterAll(async () => {
  await server.stop();
  await dns.stop();
});

const db = () => server.database.db;
const outcome = ({ status, json }: { status: number; json: { code?: string } | undefined }) => [status, json?.code];
const aDomain = () => `d${uuid().slice(24)}.example`;
const signIn = async ({ id, email }: Pick<TestCaller, 'id' | 'email'>): Promise<TestCaller> => {
  const { json } = await nobody(server).request('post', '/auth/login', { email, password });
  return { id, email, token: json.accessToken, request: requester(server, json.accessToken) };
};
/** An organization with somebody who owns it. */
const owned = async () => {
  const email = await registerAccount(server);
  const { id: userId } = await db()('users').where({ email }).first('id');
  const { id } = await makeOrganization(server, { owners: [userId] });
  return { id, owner: await signIn({ id: userId, email }) };
};
const claim = async ({ id, owner }: Awaited<ReturnType<typeof owned>>, domain: string, body: object = {}) => {
  const { status, json } = await owner.request('post', `/organizations/${id}/domains`, { domain, ...body });
  expect(status).toBe(201);
  return json;
};
const publish = ({ record }: { record: { name: string; value: string } }) =>
  dns.records.set(record.name, ['v=spf1 -all', record.value]);
const verify = ({ id, owner }: Awaited<ReturnType<typeof owned>>, claimed: { id: string }, body?: object) =>
  owner.request('post', `/organizations/${id}/domains/${claimed.id}/verify`, body);
/** An organization whose people join by a domain. */
const joining = async (body: object = {}) => {
  const place = await owned();
  const domain = aDomain();
  const claimed = await claim(place, domain, { autoJoin: true, ...body });
  publish(claimed);
  expect((await verify(place, claimed)).status).toBe(200);
  return { ...place, domain, claimed };
};
const idOf = async (email: string) => (await db()('users').where({ email }).first('id'))?.id as string;
const isMember = async (organizationId: string, email: string) =>
  (await db()('organizationMembers')
    .where({ organizationId, userId: await idOf(email) })
    .first('userId')) !== undefined;

describe('a domain', () => {
  it.each([
    ['Example.COM', 'example.com'],
    [' @example.com. ', 'example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['a.b.example.co.uk', 'a.b.example.co.uk'],
    ['localhost', undefined],
    ['127.0.0.1', undefined],
    ['example', undefined],
    ['-a.example', undefined],
    ['a..example', undefined],
    ['http://example.com', undefined],
    ['example.com/path', undefined],
    ['exa%6dple.com', undefined],
    ['user@example.com', undefined],
    ['*.example.com', undefined],
    ['exam\tple.com', undefined],
    [`${'a'.repeat(64)}.example`, undefined],
    ['', undefined],
  ])('%s is %s', (text, expected) => expect(normalizeDomain(text)).toBe(expected));
});

describe('claiming', () => {
  it('gives a record to publish, and nothing else comes of it', async () => {
    const place = await owned();
    const domain = aDomain();
    const claimed = await claim(place, domain.toUpperCase(), { autoJoin: true });
    expect(claimed).toMatchObject({
      ...{ domain, autoJoin: true, role: null, verifiedAt: null, checkedAt: null, missingSince: null },
      record: { type: 'TXT', name: `_countersign-challenge.${domain}`, value: expect.stringMatching(/^[\w-]{43}$/) },
    });
    expect(await isMember(place.id, await registerAccount(server, `ada@${domain}`))).toBe(false);
    const { json } = await place.owner.request('get', `/organizations/${place.id}/domains`);
    expect([json.data, json.nextCursor]).toEqual([[claimed], null]);
  });

  for (const [name, domain, code] of [
    ['no domain', 'ada@', 'invalid_domain'],
    ['a public provider’s', 'Gmail.com', 'public_provider'],
  ])
    it(`refuses ${name}`, async () => {
      const { id, owner } = await owned();
      const { status, json } = await owner.request('post', `/organizations/${id}/domains`, { domain });
      expect([status, json.errors]).toMatchObject([400, [{ field: 'domain', code }]]);
    });

  it('refuses one that is claimed already, a role that the caller could not give, and strangers', async () => {
    const place = await owned();
    const domain = aDomain();
    await claim(place, domain);
    const again = (body: object, by = place.owner) => by.request('post', `/organizations/${place.id}/domains`, body);
    expect(outcome(await again({ domain }))).toEqual([409, 'mail_domain_exists']);
    expect(outcome(await again({ domain: aDomain(), role: 'admin' }))).toEqual([403, 'rank_too_low']);
    expect(outcome(await again({ domain: aDomain(), role: 'none' }))).toEqual([400, 'invalid_request']);
    const { owner: stranger } = await owned();
    expect(outcome(await again({ domain: aDomain() }, stranger))).toEqual([404, 'organization_not_found']);
    expect(outcome(await stranger.request('get', `/organizations/${place.id}/domains`))).toEqual([
      404,
      'organization_not_found',
    ]);
  });
});

describe('verifying', () => {
  it('asks DNS, and not a cache of anybody’s', async () => {
    const place = await owned();
    const claimed = await claim(place, aDomain());
    expect(outcome(await verify(place, claimed))).toEqual([409, 'mail_domain_not_verified']);
    dns.records.set(claimed.record.name, [`${claimed.record.value} `, claimed.record.value.slice(1)]);
    expect(outcome(await verify(place, claimed))).toEqual([409, 'mail_domain_not_verified']);
    publish(claimed);
    const { status, json } = await verify(place, claimed);
    expect([status, json.verifiedByHand, json.verifiedAt !== null]).toEqual([200, false, true]);
  });

  it('is one organization’s: of two at the same time one gets it, and the other may not claim it any more', async () => {
    const domain = aDomain();
    const places = [await owned(), await owned()];
    const claims = [await claim(places[0] as never, domain), await claim(places[1] as never, domain)];
    dns.records.set(
      claims[0].record.name,
      claims.map(({ record }) => record.value),
    );
    const answers = await Promise.all(places.map((place, at) => verify(place, claims[at])));
    expect(answers.map(outcome).toSorted()).toEqual([
      [200, undefined],
      [409, 'mail_domain_taken'],
    ]);
    const third = await owned();
    expect(outcome(await third.owner.request('post', `/organizations/${third.id}/domains`, { domain }))).toEqual([
      409,
      'mail_domain_taken',
    ]);
  });

  it('by hand is for those who may write every organization', async () => {
    const place = await owned();
    const claimed = await claim(place, aDomain());
    expect(outcome(await verify(place, claimed, { byHand: true }))).toEqual([403, 'missing_permission']);
    const { status, json } = await verify({ ...place, owner: admin }, claimed, { byHand: true });
    expect([status, json.verifiedByHand]).toEqual([200, true]);
  });

  it('is not the matter of another organization’s owner', async () => {
    const place = await owned();
    const other = await owned();
    const claimed = await claim(place, aDomain());
    publish(claimed);
    expect(outcome(await verify({ ...place, owner: other.owner }, claimed))).toEqual([404, 'organization_not_found']);
    expect(outcome(await verify({ ...other }, claimed))).toEqual([404, 'mail_domain_not_found']);
  });

  it('says that DNS is away when it is, and does not wait for long', async () => {
    const place = await owned();
    const claimed = await claim(place, aDomain());
    for (const mood of ['broken', 'silent'] as const) {
      dns.mood = mood;
      const began = Date.now();
      expect(outcome(await verify(place, claimed))).toEqual([503, 'dns_unavailable']);
      expect(Date.now() - began).toBeLessThan(20_000);
    }
    dns.mood = 'well';
  });
});

describe('joining', () => {
  it('takes in those who have verified addresses there, once the domain is verified, and nobody else', async () => {
    const place = await owned();
    const domain = aDomain();
    const [early, unverified, beneath, beside] = [`a@${domain}`, `b@${domain}`, `c@sub.${domain}`, `d@x${domain}`];
    for (const email of [early, unverified, beneath, beside]) await registerAccount(server, email);
    await db()('users').where({ email: unverified }).update({ emailVerifiedAt: null });
    const claimed = await claim(place, domain, { autoJoin: true, role: 'manager' });
    publish(claimed);
    await verify(place, claimed);
    expect(await Promise.all([early, unverified, beneath, beside].map((email) => isMember(place.id, email)))).toEqual([
      ...[true, false, false, false],
    ]);
    expect(await db()('roleGrants').where({ organizationId: place.id }).select('userId', 'expiresAt')).toEqual([
      { userId: await idOf(early), expiresAt: null },
    ]);
    const [event] = await db()('auditLogs').where({ action: 'organization.join', targetId: place.id });
    expect(event).toMatchObject({ actorType: 'user', actorId: place.owner.id, meta: { count: 1 } });
  });

  /** Every way in which an address comes to be verified. */
  const ways: [string, (email: string) => Promise<unknown>][] = [
    ['a registration whose link is followed', (email) => registerAccount(server, email)],
    [
      'a code that is typed',
      async (email) => {
        const { request } = nobody(server);
        await request('post', '/auth/register', { email, password, name: 'Ada' });
        await request('post', '/auth/otp/send', { channel: 'email', email });
        const { text } = await server.mail(email, /Your code/);
        const code = /\b\d{6}\b/.exec(text)?.[0];
        expect((await request('post', '/auth/otp/verify', { channel: 'email', email, code })).status).toBe(200);
      },
    ],
    [
      'a password that is set by a mailed link',
      async (email) => {
        const made = await admin.request('post', '/users', { email, name: 'Ada' });
        expect(made.status).toBe(201);
        const { links } = await server.mail(email, /invited/);
        const body = { token: tokenOf(links, 'reset'), password: 'another horse battery staple' };
        expect((await nobody(server).request('post', '/auth/reset-password', body)).status).toBeLessThan(300);
      },
    ],
    [
      'an administrator who may do everything and says so',
      async (email) => {
        const body = { email, name: 'Ada', password, emailVerified: true };
        expect((await admin.request('post', '/users', body)).status).toBe(201);
      },
    ],
    [
      'an account that is moved to the address',
      async (email) => {
        const before = await registerAccount(server);
        const body = { email, emailVerified: true };
        expect((await admin.request('patch', `/users/${await idOf(before)}`, body)).status).toBe(200);
      },
    ],
    [
      'the command line',
      (email) =>
        createAdministrator(server.app.accounts, operator, { email, password: `${uuid()} horse`, name: 'Ada' }),
    ],
  ];
  for (const [name, way] of ways)
    it(`follows ${name}`, async () => {
      const { id, domain } = await joining();
      await way(`ada@${domain}`);
      expect(await isMember(id, `ada@${domain}`)).toBe(true);
    });

  it('follows a change of one’s address on the account page', async () => {
    const { id, domain } = await joining();
    const email = await registerAccount(server);
    const browser = new Browser(server.issuer);
    await browser.submit(await browser.go('/account'), { email, password });
    let page = await browser.submit(await browser.go('/account/profile/email'), { email: `ada@${domain}` });
    const { text } = await server.mail(`ada@${domain}`);
    page = await browser.submit(page, { code: /\b\d{6}\b/.exec(text)?.[0] ?? '' }, '/code');
    expect(await isMember(id, `ada@${domain}`)).toBe(true);
  });

  it('does not follow the word of somebody who merely looks after accounts', async () => {
    const { id, domain } = await joining({ role: 'manager' });
    const role = await makeRole(server, ['users:*:any', 'users:write:own'], { rank: 90 });
    const person = await callerOf(server);
    await db()('users').where({ id: person.id }).update({ roleId: role.id });
    const helper = await signIn(person);
    const body = { email: `mallory@${domain}`, emailVerified: true };
    expect((await helper.request('post', '/users', { ...body, name: 'Mallory', password })).status).toBe(201);
    expect(await isMember(id, body.email)).toBe(false);
  });

  it('misses nobody who verifies an address while the domain is being verified', async () => {
    const place = await owned();
    const domain = aDomain();
    const claimed = await claim(place, domain, { autoJoin: true });
    publish(claimed);
    const emails = Array.from({ length: 4 }, (_, at) => `p${at}@${domain}`);
    await Promise.all([...emails.map((email) => registerAccount(server, email)), verify(place, claimed)]);
    expect(await Promise.all(emails.map((email) => isMember(place.id, email)))).toEqual(emails.map(() => true));
  });

  it('begins when the organization wants it, and ends when it does not any more', async () => {
    const { id, domain, owner, claimed } = await joining({ autoJoin: false });
    const path = `/organizations/${id}/domains/${claimed.id}`;
    await registerAccount(server, `early@${domain}`);
    expect(await isMember(id, `early@${domain}`)).toBe(false);
    expect((await owner.request('patch', path, { autoJoin: true })).json.autoJoin).toBe(true);
    expect(await isMember(id, `early@${domain}`)).toBe(true);
    await owner.request('patch', path, { autoJoin: false });
    await registerAccount(server, `late@${domain}`);
    expect(await isMember(id, `late@${domain}`)).toBe(false);
    expect((await owner.request('delete', path)).status).toBe(204);
    expect(await isMember(id, `early@${domain}`)).toBe(true);
  });

  it('gives no role by way of somebody who could not give it', async () => {
    const { id, claimed } = await joining();
    const person = await callerOf(server);
    await addMember(server, id, person.id);
    const role = await makeRole(server, ['organizations:write:organization'], { rank: 1 });
    await db()('roleGrants').insert({ userId: person.id, roleId: role.id, organizationId: id });
    const writer = await signIn(person);
    const path = `/organizations/${id}/domains/${claimed.id}`;
    expect(outcome(await writer.request('patch', path, { role: 'manager' }))).toEqual([403, 'missing_permission']);
  });

  it('does not bring back who was removed, nor takes anybody into an organization that is shut', async () => {
    const { id, domain, owner, claimed } = await joining();
    const email = await registerAccount(server, `ada@${domain}`);
    await db()('organizationMembers')
      .where({ organizationId: id, userId: await idOf(email) })
      .delete();
    const path = `/organizations/${id}/domains/${claimed.id}`;
    await owner.request('patch', path, { autoJoin: true });
    await db()('users').where({ email }).update({ emailVerifiedAt: null });
    await nobody(server).request('post', '/auth/verify/resend', { email });
    await admin.request('patch', `/users/${await idOf(email)}`, { emailVerified: true });
    expect(await isMember(id, email)).toBe(false);
    await db()('organizations').where({ id }).update({ isActive: false });
    expect(await isMember(id, await registerAccount(server, `bob@${domain}`))).toBe(false);
  });

  it('ends with the organization', async () => {
    const { id, domain } = await joining();
    const other = await owned();
    await db()('organizations').where({ id }).delete();
    expect(await db()('organizationDepartures').where({ organizationId: id })).toEqual([]);
    const claimed = await claim(other, domain, { autoJoin: true });
    publish(claimed);
    expect((await verify(other, claimed)).status).toBe(200);
  });
});

describe('asking again', () => {
  const deps = (): MailDomainDeps => ({
    db: db(),
    lookUpTxt: createTxtLookup([dns.address]),
    limitLookups: async () => {},
    joinByDomain: async () => {},
    findRoles: async () => [],
    assertMayGive: async () => {},
  });
  const day = 86_400_000;
  const age = (id: string, changes: Record<string, Date>) => db()('organizationDomains').where({ id }).update(changes);
  const stateOf = (id: string) =>
    db()('organizationDomains').where({ id }).first('verifiedAt', 'missingSince', 'checkedAt');

  it('takes a domain away whose record has been gone for three days, and not before', async () => {
    const { id, domain, claimed } = await joining();
    dns.records.delete(claimed.record.name);
    await age(claimed.id, { checkedAt: new Date(Date.now() - 2 * day) });
    expect(await recheckMailDomains(deps())).toBe(0);
    const state = await stateOf(claimed.id);
    expect([state.verifiedAt === null, state.missingSince === null]).toEqual([false, false]);
    await age(claimed.id, { checkedAt: new Date(Date.now() - 2 * day), missingSince: new Date(Date.now() - 3 * day) });
    expect(await recheckMailDomains(deps())).toBe(1);
    expect((await stateOf(claimed.id)).verifiedAt).toBe(null);
    expect(await isMember(id, await registerAccount(server, `late@${domain}`))).toBe(false);
    const events = await db()('auditLogs').where({ targetId: id, action: 'organization.lose_domain' });
    expect(events).toHaveLength(1);
  });

  it('forgives a record that is back, and DNS that is away; asks once a day, and never what was marked by hand', async () => {
    const { claimed } = await joining();
    await age(claimed.id, { checkedAt: new Date(Date.now() - 2 * day), missingSince: new Date(Date.now() - 9 * day) });
    dns.mood = 'broken';
    expect(await recheckMailDomains(deps())).toBe(0);
    dns.mood = 'well';
    expect((await stateOf(claimed.id)).missingSince).not.toBe(null);
    await age(claimed.id, { checkedAt: new Date(Date.now() - 2 * day) });
    await recheckMailDomains(deps());
    expect((await stateOf(claimed.id)).missingSince).toBe(null);
    // Whoever asked now would miss it.
    dns.records.delete(claimed.record.name);
    await recheckMailDomains(deps());
    await db()('organizationDomains')
      .where({ id: claimed.id })
      .update({ verifiedByHand: true, checkedAt: new Date(Date.now() - 2 * day) });
    await recheckMailDomains(deps());
    expect((await stateOf(claimed.id)).missingSince).toBe(null);
  });

  it('forgets claims of which nothing has come', async () => {
    const place = await owned();
    const claimed = await claim(place, aDomain());
    await age(claimed.id, { createdAt: new Date(Date.now() - 91 * day) });
    await cleanExpired(db());
    expect(await stateOf(claimed.id)).toBeUndefined();
  });
});
