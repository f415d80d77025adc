/** Signing in with identity providers: each preset against a peer that answers as it does, and the accounts that come of it. */
import { createHash, randomBytes } from 'node:crypto';
import { decodeJwt } from 'jose';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize, Browser, formsOf, password, registerAccount } from '../support/browser.ts';
import { callerOf, giveRole, requester } from '../support/callers.ts';
import {
  administrator,
  connectPeer,
  deliver,
  press,
  signInPage,
  throughPeer,
  whoIsSignedIn,
} from '../support/federation.ts';
import { registerRelyingParty } from '../support/relying-party.ts';
import { eventually, mailCount, postJson, signedIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type Apple, startApple } from '../support/upstreams/apple.ts';
import { startFacebook } from '../support/upstreams/facebook.ts';
import { startGitHub } from '../support/upstreams/github.ts';
import { startGoogle } from '../support/upstreams/google.ts';
import { companyTenant, personalTenant, startMicrosoft } from '../support/upstreams/microsoft.ts';
import { type OpenIdPeer, startOpenIdPeer } from '../support/upstreams/openid-peer.ts';
import type { Account, Peer } from '../support/upstreams/peer.ts';
import { createSigner } from '../support/upstreams/signer.ts';

const appOrigin = 'https://app.example.com';
let server: TestServer;
let google: Peer;
let github: Peer;
let facebook: Peer;
let microsoft: Peer;
let apple: Apple;
let acme: OpenIdPeer;
const peers = () => ({ google, github, facebook, microsoft, apple, acme });
type Id = keyof ReturnType<typeof peers>;

beforeAll(async () => {
  server = await startServer({ AUTH_API_CORS_ORIGINS: appOrigin }, { poolMax: 20 });
  [google, github, facebook, microsoft, apple, acme] = await Promise.all([
    startGoogle([]),
    startGitHub([]),
    startFacebook([]),
    startMicrosoft([]),
    startApple([]),
    startOpenIdPeer({ name: 'Acme' }, []),
  ]);
  for (const kind of ['google', 'github', 'facebook', 'microsoft', 'apple'] as const)
    await connectPeer(server, peers()[kind], kind);
  await connectPeer(server, acme, 'oidc', 'acme', {
    trust_email: true,
    trust_acr: true,
    roles: [{ claim: 'realm_access.roles', value: 'staff', role: 'moderator' }],
    claims: { nickname: 'nick' },
  });
});
afterAll(async () => {
  await Promise.all(Object.values(peers()).map((peer) => peer?.stop()));
  await server?.stop();
});

const address = () => `${uuid()}@example.com`;
let people = 0;

/** Somebody new at a provider, in its own words. */
const newAccount: Record<Id, (email: string) => Account> = {
  google: (email) => ({
    login: email,
    id: `1${String(++people).padStart(20, '0')}`,
    email,
    verified: true,
    name: 'Ada Lovelace',
  }),
  github: (email) => ({
    login: `octo-${++people}`,
    id: String(people),
    name: 'The Octocat',
    extra: { emails: [{ email, verified: true, primary: true, visibility: 'private' }] },
  }),
  facebook: (email) => ({
    login: `fb-${++people}`,
    id: `1015${String(people).padStart(13, '0')}`,
    email,
    name: 'Grace Hopper',
  }),
  microsoft: (email) => ({
    login: email,
    id: uuid(),
    email,
    name: 'Alan Turing',
    extra: { tid: companyTenant, sub: `pairwise-${++people}`, xms_edov: true },
  }),
  apple: (email) => ({
    login: email,
    id: `001.${++people}`,
    email,
    verified: true,
    name: 'Ada Lovelace',
    extra: { is_private_email: 'true' },
  }),
  acme: (email) => ({ login: email, id: `acme|${++people}`, email, verified: true, name: 'Mary Somerville' }),
};

/** Somebody who has an account at the provider, and a browser. */
const newcomer = (id: Id, email = address(), changes: Partial<Account> = {}) => {
  const account = { ...newAccount[id](email), ...changes };
  peers()[id].accounts.push(account);
  const browser = new Browser(server.issuer);
  return {
    email,
    account,
    browser,
    goThrough: (by = browser) => throughPeer(by, peers()[id], id, { login: account.login }),
  };
};

const users = (email: string) => server.database.db('users').where({ email });
const identitiesOf = async (email: string): Promise<{ providerId: string; subject: string; issuer: string }[]> =>
  server.database
    .db('identities')
    .join('users', 'users.id', 'identities.userId')
    .where({ 'users.email': email })
    .select('identities.providerId', 'identities.subject', 'identities.issuer');

/** Follows the link of the mail in the same browser. */
const verify = async (browser: Browser, email: string): Promise<void> => {
  const { links } = await server.mail(email, /confirm|verify/i);
  const page = await browser.go(links.find((link) => link.includes('/verify')) as string);
  const { status } = await browser.submit(page, {}, '/verify');
  expect(status).toBe(200);
};

describe('every preset', () => {
  const rows: { id: Id; proves: boolean; issuer(): string }[] = [
    { id: 'google', proves: true, issuer: () => google.origin },
    { id: 'github', proves: true, issuer: () => github.origin },
    { id: 'apple', proves: true, issuer: () => apple.origin },
    { id: 'acme', proves: true, issuer: () => acme.origin },
    { id: 'facebook', proves: false, issuer: () => facebook.origin },
    { id: 'microsoft', proves: false, issuer: () => `${microsoft.origin}/${companyTenant}/v2.0` },
  ];
  for (const { id, proves, issuer } of rows)
    it(`${id}: signs somebody up, and in ever after`, async () => {
      const { email, browser, account, goThrough } = newcomer(id);
      const page = await goThrough();
      if (proves) expect([page.status, page.url.pathname]).toEqual([200, '/account']);
      else {
        expect([page.status, page.url.pathname]).toEqual([200, '/check-mail']);
        expect(await whoIsSignedIn(server, browser)).toBeUndefined();
        await verify(browser, email);
        expect((await goThrough()).url.pathname).toBe('/account');
      }
      expect(await whoIsSignedIn(server, browser)).toBe(email);
      const subject = (account.extra?.sub as string | undefined) ?? account.id;
      expect(await identitiesOf(email)).toEqual([{ providerId: id, issuer: issuer(), subject }]);
      const [user] = await users(email).select('name', 'passwordHash', 'emailVerifiedAt');
      expect(user).toEqual({ name: account.name, passwordHash: null, emailVerifiedAt: expect.any(Date) });

      const elsewhere = new Browser(server.issuer);
      expect((await goThrough(elsewhere)).url.pathname).toBe('/account');
      expect(await whoIsSignedIn(server, elsewhere)).toBe(email);
      expect(await identitiesOf(email)).toHaveLength(1);
      expect((await elsewhere.go('/account/linked')).html).toContain(email);
    });

  for (const { id } of rows)
    it(`${id}: whoever cancels there is back on the sign-in page`, async () => {
      const { browser, account } = newcomer(id);
      const page = await throughPeer(browser, peers()[id], id, { login: account.login, answer: 'deny' });
      expect([page.status, page.url.pathname.split('/')[1]]).toEqual([200, 'interaction']);
      expect(page.html).toContain(words('problems.socialCancelled').split('{{provider}}')[1]);
      expect(await whoIsSignedIn(server, browser)).toBeUndefined();
    });

  it('asks for what the provider did not tell, and mails the address that was typed', async () => {
    const { browser, goThrough, account } = newcomer('facebook', undefined, { email: undefined as never });
    const page = await goThrough();
    expect(page.html).toContain('name="socialProfile"');
    const email = address();
    const sent = await browser.submit(page, { email });
    expect([sent.status, sent.url.pathname]).toEqual([200, '/check-mail']);
    await verify(browser, email);
    expect((await goThrough()).url.pathname).toBe('/account');
    expect(await identitiesOf(email)).toMatchObject([{ subject: account.id }]);
  });

  it('GitHub: an address that is not verified there is not proven here', async () => {
    const email = address();
    const { goThrough } = newcomer('github', email, {
      extra: { emails: [{ email, verified: false, primary: true, visibility: null }] },
    });
    expect((await goThrough()).url.pathname).toBe('/check-mail');
  });

  it('Google: of a Workspace domain, whoever is of another one is refused whatever the browser asked', async () => {
    const staff = await startGoogle([]);
    await connectPeer(server, staff, 'google', 'staff', { hosted_domain: 'acme.example' });
    const [insider, outsider] = ['acme.example', 'evil.example'].map((hd) => {
      const account: Account = { ...newAccount.google(address()), extra: { hd } };
      staff.accounts.push(account);
      return account;
    }) as [Account, Account];
    const browser = new Browser(server.issuer);
    const refused = await throughPeer(browser, staff, 'staff', { login: outsider.login });
    expect(refused.html).toContain(words('problems.socialWrongAccount').split('{{provider}}')[1]);
    expect(await users(outsider.email as string)).toEqual([]);
    expect((await throughPeer(browser, staff, 'staff', { login: insider.login })).url.pathname).toBe('/account');
    await staff.stop();
  });

  it('Microsoft: `consumers` takes personal accounts, `organizations` none, and one tenant nobody else’s', async () => {
    const rows = [
      { tenant: 'consumers', tid: personalTenant, expected: '/check-mail' },
      { tenant: companyTenant, tid: companyTenant, expected: '/check-mail' },
      { tenant: companyTenant, tid: personalTenant, expected: undefined },
      { tenant: 'consumers', tid: companyTenant, expected: undefined },
      { tenant: 'organizations', tid: companyTenant, expected: '/check-mail' },
      { tenant: 'organizations', tid: personalTenant, expected: undefined, problem: 'socialWrongAccount' },
    ];
    for (const [index, { tenant, tid, expected, problem = 'socialInvalid' }] of rows.entries()) {
      const id = `entra-${index}`;
      const peer = await startMicrosoft([{ ...newAccount.microsoft(address()), extra: { tid, sub: `s${index}` } }]);
      await connectPeer(server, peer, 'microsoft', id, { tenant });
      const page = await throughPeer(new Browser(server.issuer), peer, id);
      if (expected) expect(page.url.pathname).toBe(expected);
      else expect(page.html).toContain(words(`problems.${problem}`).split('{{provider}}')[1]);
      await (await administrator(server)).request('DELETE', `/identity-providers/${id}`);
      await peer.stop();
    }
  });
});

describe('an address that has an account already', () => {
  it('is connected after its owner has signed in once to confirm', async () => {
    const email = await registerAccount(server);
    const { browser, goThrough, account } = newcomer('google', email);
    const page = await goThrough();
    expect(page.url.pathname).toMatch(/^\/interaction\//);
    expect(page.html).toContain(words('sign-in.connects').split('{{provider}}')[0]?.trim());
    expect(await identitiesOf(email)).toEqual([]);
    const done = await browser.submit(page, { email, password });
    expect(done.url.pathname).toBe('/account');
    expect(await identitiesOf(email)).toMatchObject([{ providerId: 'google', subject: account.id }]);
    const used = await server.database.db('identities').where({ subject: account.id }).first('lastUsedAt');
    expect(used.lastUsedAt).toBeInstanceOf(Date);
    await server.mail(email, /linked/i);
    const elsewhere = new Browser(server.issuer);
    expect((await goThrough(elsewhere)).url.pathname).toBe('/account');
    expect(await whoIsSignedIn(server, elsewhere)).toBe(email);
  });

  it('is not connected by whoever signs in to another account instead', async () => {
    const email = await registerAccount(server);
    const other = await registerAccount(server);
    const { browser, goThrough } = newcomer('google', email);
    const page = await goThrough();
    await browser.submit(page, { email: other, password });
    expect(await whoIsSignedIn(server, browser)).toBe(other);
    expect([await identitiesOf(email), await identitiesOf(other)]).toEqual([[], []]);
  });
});

describe('account takeover by linking', () => {
  const twin = (email: string) => email.replace('@example', '@ⓔxample');
  const attacks: { name: string; id: Id; account(victim: string): Partial<Account>; page: string }[] = [
    { name: 'an address that Facebook gives', id: 'facebook', account: (email) => ({ email }), page: '/check-mail' },
    {
      name: 'an address that the administrator of some Microsoft tenant typed in',
      id: 'microsoft',
      account: (email) => ({ email, extra: { tid: '11111111-2222-4333-8444-555555555555', sub: 'attacker' } }),
      page: '/check-mail',
    },
    {
      name: 'an address of a Microsoft tenant that calls it verified',
      id: 'microsoft',
      account: (email) => ({
        email,
        extra: { tid: companyTenant, sub: 'attacker-2', xms_edov: true, email_verified: true },
      }),
      page: '/check-mail',
    },
    {
      name: 'an address that Google says is not verified',
      id: 'google',
      account: (email) => ({ email, verified: false }),
      page: '/check-mail',
    },
    {
      name: 'an address that Apple says, as a string, is not verified',
      id: 'apple',
      account: (email) => ({ email, verified: false }),
      page: '/check-mail',
    },
    {
      name: 'a primary address at GitHub that is not verified',
      id: 'github',
      account: (email) => ({ extra: { emails: [{ email, verified: false, primary: true }] } }),
      page: '/check-mail',
    },
    {
      name: 'a public address at GitHub that is not of the list',
      id: 'github',
      account: (email) => ({ email, extra: { emails: [] } }),
      page: '/interaction',
    },
    {
      name: 'a verified address that Unicode makes the same',
      id: 'acme',
      account: (email) => ({ email: twin(email) }),
      page: '/check-mail',
    },
    {
      name: 'a verified address with a control character in it',
      id: 'acme',
      account: (email) => ({ email: email.replace('@', '\u0000@') }),
      page: '/check-mail',
    },
  ];
  for (const { name, id, account, page: expected } of attacks)
    it(`does not work with ${name}`, async () => {
      const victim = await registerAccount(server);
      const mails = mailCount(server, victim);
      const { browser, goThrough } = newcomer(id, victim, account(victim));
      const page = await goThrough();
      expect(page.url.pathname.startsWith(expected)).toBe(true);
      expect(page.html).not.toContain(words('sign-in.connects').split('{{provider}}')[0]?.trim());
      expect(await whoIsSignedIn(server, browser)).toBeUndefined();
      expect(await identitiesOf(victim)).toEqual([]);
      expect(await users(victim)).toHaveLength(1);
      // The page is the one that an address without an account gets; the owner is told.
      if (expected === '/check-mail') await eventually(() => mailCount(server, victim) > mails, 'a mail to the owner');
    });

  it('an identity of the same subject at another provider is nobody’s', async () => {
    const owner = newcomer('acme');
    await owner.goThrough();
    const evil = await startOpenIdPeer({ name: 'Evil' }, [{ ...owner.account, email: address() }]);
    await connectPeer(server, evil, 'oidc', 'evil');
    const browser = new Browser(server.issuer);
    await throughPeer(browser, evil, 'evil');
    expect(await whoIsSignedIn(server, browser)).toBeUndefined();
    expect(await identitiesOf(owner.email)).toHaveLength(1);
    await (await administrator(server)).request('DELETE', '/identity-providers/evil');
    await evil.stop();
  });

  it('whoever registered somebody’s address first by a provider is out once the owner takes it back', async () => {
    const victim = address();
    const attacker = newcomer('facebook', victim);
    expect((await attacker.goThrough()).url.pathname).toBe('/check-mail');
    expect(await identitiesOf(victim)).toHaveLength(1);
    // The owner wants an account, and learns that there is one; the mail leads to a new password.
    const owner = new Browser(server.issuer);
    const page = await owner.submit(await owner.go('/forgot'), { email: victim });
    expect(page.status).toBe(200);
    const { links } = await server.mail(victim, /password/i);
    const form = await owner.go(links.find((link) => link.includes('/reset')) as string);
    const done = await owner.submit(form, { password: 'seven quiet lighthouses blink' }, '/reset');
    expect(done.status).toBe(200);
    expect(await identitiesOf(victim)).toEqual([]);
    await attacker.goThrough();
    expect(await whoIsSignedIn(server, attacker.browser)).toBeUndefined();
  });

  it('a link that confirms, opened elsewhere, asks for no password where there is none, and leads to one', async () => {
    const person = newcomer('facebook');
    await person.goThrough();
    const { links } = await server.mail(person.email);
    const elsewhere = new Browser(server.issuer);
    const page = await elsewhere.go(links.find((link) => link.includes('/verify')) as string);
    expect(page.html).toContain(words('verify.withoutPassword'));
    expect(page.html).not.toContain('name="password"');
    expect(formsOf(page.html).some(({ action }) => action === '/verify')).toBe(false);
    await elsewhere.submit(page, {}, '/forgot');
    const mail = await server.mail(person.email, /password/i);
    expect(mail.links.some((link) => link.includes('/reset'))).toBe(true);
    // By the way they signed up: what is mailed then is of this browser.
    const again = await throughPeer(elsewhere, facebook, 'facebook', { login: person.account.login });
    expect(again.url.pathname).toBe('/check-mail');
    await eventually(() => mailCount(server, person.email, /confirm/i) === 2, 'another mail');
    const [link = ''] = (await server.mail(person.email, /confirm/i)).links.filter((link) => link.includes('/verify'));
    await elsewhere.submit(await elsewhere.go(link), {}, '/verify');
    expect((await users(person.email).first('emailVerifiedAt')).emailVerifiedAt).not.toBeNull();
  });

  it('nor does confirming the address in another browser let the one in who registered it', async () => {
    const victim = address();
    const attacker = newcomer('facebook', victim);
    await attacker.goThrough();
    const { links } = await server.mail(victim);
    const owner = new Browser(server.issuer);
    const page = await owner.go(links.find((link) => link.includes('/verify')) as string);
    const token = new URL(links.find((link) => link.includes('/verify')) as string).searchParams.get('token') as string;
    for (const typed of ['', password])
      await owner.go('/verify', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
        body: new URLSearchParams({ ...formsOf(page.html)[0]?.fields, token, password: typed }),
      });
    expect((await users(victim).first('emailVerifiedAt')).emailVerifiedAt).toBeNull();
    await attacker.goThrough();
    expect(await whoIsSignedIn(server, attacker.browser)).toBeUndefined();
    // An application that confirms it takes the account back from whoever was in it.
    await eventually(() => mailCount(server, victim) === 2, 'another mail, which the attempt to sign in has sent');
    const [link = ''] = (await server.mail(victim)).links.filter((link) => link.includes('/verify'));
    const latest = new URL(link).searchParams.get('token');
    expect((await postJson(`${server.address}/auth/verify`, { token: latest })).status).toBe(200);
    expect(await identitiesOf(victim)).toEqual([]);
  });

  it('an account that somebody registered with the address and never confirmed is not theirs to keep', async () => {
    const victim = address();
    await postJson(`${server.address}/auth/register`, { email: victim, password, name: 'Mallory' });
    const owner = newcomer('google', victim);
    expect((await owner.goThrough()).url.pathname).toBe('/check-mail');
    expect(await whoIsSignedIn(server, owner.browser)).toBeUndefined();
    expect(await identitiesOf(victim)).toEqual([]);
    expect((await users(victim).first('emailVerifiedAt')).emailVerifiedAt).toBeNull();
  });

  it('an upstream account that was given to somebody else by address is still told apart by its subject', async () => {
    const email = address();
    const first = newcomer('google', email);
    await first.goThrough();
    // The provider recycles the address: another subject comes with it.
    const second = newcomer('google', email, { login: uuid() });
    const page = await second.goThrough();
    expect(page.url.pathname).toMatch(/^\/interaction\//);
    expect(await whoIsSignedIn(server, second.browser)).toBeUndefined();
    expect(await identitiesOf(email)).toHaveLength(1);
  });
});

/** Somebody who is signed in with a password. */
const member = async () => {
  const email = await registerAccount(server);
  const browser = await signedIn(server, email);
  return { email, browser };
};

/** Presses a button of the page of linked accounts. */
const beginLink = async (browser: Browser, id: Id): Promise<URL> =>
  (await browser.submit(await browser.go('/account/linked'), { provider: id }, '/account/linked/link')).url;

const linkThrough = async (browser: Browser, id: Id, login: string) =>
  deliver(browser, await peers()[id].signIn(await beginLink(browser, id), login));

const unlinkForms = (html: string) => formsOf(html).filter(({ action }) => action === '/account/linked/unlink');

describe('the page of linked accounts', () => {
  for (const id of ['google', 'github', 'facebook', 'microsoft', 'apple', 'acme'] as const)
    it(`connects ${id} and takes it apart again`, async () => {
      const { email, browser } = await member();
      const { account } = newcomer(id);
      const page = await linkThrough(browser, id, account.login);
      expect([page.url.pathname, page.url.search]).toEqual(['/account/linked', '?notice=connected']);
      expect(await identitiesOf(email)).toHaveLength(1);
      await server.mail(email, /was linked/);
      const elsewhere = new Browser(server.issuer);
      await throughPeer(elsewhere, peers()[id], id, { login: account.login });
      expect(await whoIsSignedIn(server, elsewhere)).toBe(email);

      const done = await browser.submit(await browser.go('/account/linked'), {}, '/account/linked/unlink');
      expect(done.url.search).toBe('?notice=disconnected');
      expect(await identitiesOf(email)).toEqual([]);
      await server.mail(email, /was unlinked/);
    });

  for (const how of ['page', 'REST'] as const)
    it(`taken apart by ${how}, signs whoever came in by it out, and nobody who asks for it`, async () => {
      const { email, browser } = await member();
      const { account } = newcomer('google');
      await linkThrough(browser, 'google', account.login);
      const thief = new Browser(server.issuer);
      await throughPeer(thief, google, 'google', { login: account.login });
      expect(await whoIsSignedIn(server, thief)).toBe(email);
      if (how === 'page') await browser.submit(await browser.go('/account/linked'), {}, '/account/linked/unlink');
      else {
        const { json } = await postJson(`${server.address}/auth/login`, { email, password });
        const request = requester(server, json.accessToken);
        const [{ id }] = (await request('GET', '/auth/me/identities')).json.data;
        expect((await request('DELETE', `/auth/me/identities/${id}`)).status).toBe(204);
        expect((await request('GET', '/auth/me')).status).toBe(200);
      }
      expect(await whoIsSignedIn(server, thief)).toBeUndefined();
      if (how === 'page') expect(await whoIsSignedIn(server, browser)).toBe(email);
    });

  it('does not connect what is connected with another account', async () => {
    const owner = newcomer('google');
    await owner.goThrough();
    const { email, browser } = await member();
    const page = await linkThrough(browser, 'google', owner.account.login);
    expect(page.html).toContain(words('problems.socialTaken').split('{{provider}}')[1]);
    expect(await identitiesOf(email)).toEqual([]);
    expect(await identitiesOf(owner.email)).toHaveLength(1);
  });

  it('never takes the last way in, by page or by REST, nor both of two at once', async () => {
    const { email, browser, goThrough } = newcomer('google');
    await goThrough();
    const page = await browser.go('/account/linked');
    expect(unlinkForms(page.html)).toEqual([]);
    const { id } = await server.database
      .db('identities')
      .join('users', 'users.id', 'userId')
      .where({ 'users.email': email })
      .first('identities.id');
    const [form] = formsOf(page.html).filter(({ action }) => action === '/account/linked/link');
    const forced = await browser.go('/account/linked/unlink', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
      body: new URLSearchParams({ ...form?.fields, id }),
    });
    expect(forced.status).toBe(409);
    expect(await identitiesOf(email)).toHaveLength(1);

    await linkThrough(browser, 'github', newcomer('github').account.login);
    const forms = unlinkForms((await browser.go('/account/linked')).html);
    expect(forms).toHaveLength(2);
    await Promise.all(
      forms.map(({ action, fields }) =>
        browser.go(action, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
          body: new URLSearchParams(fields),
        }),
      ),
    );
    expect(await identitiesOf(email)).toHaveLength(1);
  });
});

it('a passkey is a way in when it can be used without a name', async () => {
  const { email, browser, goThrough } = newcomer('google');
  await goThrough();
  const { id: userId } = await users(email).first('id');
  const key = { publicKey: Buffer.alloc(1), counter: 0, aaguid: uuid(), backedUp: false, name: 'Key' };
  for (const discoverable of [false, true]) {
    await server.database.db('passkeys').insert({ ...key, id: uuid(), userId, credentialId: uuid(), discoverable });
    expect(unlinkForms((await browser.go('/account/linked')).html)).toHaveLength(discoverable ? 1 : 0);
  }
});

describe('forged requests', () => {
  for (const [how, begin] of [
    ['the button', async (browser: Browser, id: Id) => (await press(browser, await signInPage(browser), id)).url.href],
    [
      'its address',
      async (browser: Browser, id: Id) => (await browser.request(`/auth/social/${id}`)).headers.get('location'),
    ],
  ] as const)
    it(`login CSRF: an answer that another browser began by ${how} signs nobody in`, async () => {
      for (const id of ['google', 'apple', 'acme'] as const) {
        const attacker = newcomer(id);
        await attacker.goThrough(new Browser(server.issuer));
        const stolen = await peers()[id].signIn((await begin(attacker.browser, id)) as string, attacker.account.login);
        for (const victim of [new Browser(server.issuer), await withCookieOfItsOwn()]) {
          const page = await deliver(victim, stolen);
          expect(page.status).toBe(400);
          expect(await whoIsSignedIn(server, victim)).toBeUndefined();
        }
        // It was good, and still is where it was begun.
        expect((await deliver(attacker.browser, stolen)).url.pathname).toBe('/account');
      }
    });

  for (const site of ['cross-site', 'same-site'])
    it(`login CSRF: a link or an image of a page that is ${site} begins nothing, and shows the sign-in page at most`, async () => {
      const begun = await new Browser(server.issuer).request('/auth/social/google', {
        redirect: 'manual',
        headers: { 'sec-fetch-site': site },
      });
      expect([begun.status, begun.headers.get('location')]).toEqual([303, '/account']);
      const own = await new Browser(server.issuer).request('/auth/social/google', {
        redirect: 'manual',
        headers: { 'sec-fetch-site': 'same-origin' },
      });
      expect([own.status, new URL(own.headers.get('location') ?? '').origin]).toEqual([302, google.origin]);
    });

  it('linking CSRF: an answer that another browser began is connected with nothing', async () => {
    for (const id of ['google', 'apple'] as const) {
      const attacker = await member();
      const { account } = newcomer(id);
      const stolen = await peers()[id].signIn(await beginLink(attacker.browser, id), account.login);
      const victim = await member();
      await beginLink(victim.browser, id);
      const page = await deliver(victim.browser, stolen);
      expect(page.status).toBe(400);
      expect([await identitiesOf(victim.email), await identitiesOf(attacker.email)]).toEqual([[], []]);
    }
  });

  it('an answer for linking does not count once somebody else is signed in in that browser', async () => {
    const first = await member();
    const { account } = newcomer('google');
    const answer = await google.signIn(await beginLink(first.browser, 'google'), account.login);
    const { browser } = first;
    await browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' });
    const second = await registerAccount(server);
    await browser.submit(await browser.go('/account'), { email: second, password });
    expect(await whoIsSignedIn(server, browser)).toBe(second);
    expect((await deliver(browser, answer)).status).toBe(400);
    expect([await identitiesOf(first.email), await identitiesOf(second)]).toEqual([[], []]);
  });

  it('the form that links is refused from another site, and without its token', async () => {
    const { browser } = await member();
    const page = await browser.go('/account/linked');
    const fields = formsOf(page.html).find(({ action }) => action === '/account/linked/link')?.fields ?? {};
    const post = (headers: Record<string, string>, body: Record<string, string>) =>
      browser.request('/account/linked/link', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: new URLSearchParams(body),
      });
    const evil = await post(
      { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
      { ...fields, provider: 'google' },
    );
    expect([evil.status, evil.headers.get('location')]).toEqual([403, null]);
    if ('csrf' in fields) {
      const bare = await post({ origin: server.issuer }, { provider: 'google' });
      expect([bare.status, bare.headers.get('location')]).toEqual([403, null]);
    }
  });

  it('mix-up: an answer that comes to the redirect URI of another provider is not taken', async () => {
    const { browser, account } = newcomer('google');
    const { url } = await press(browser, await signInPage(browser), 'google');
    const { url: answer } = await google.signIn(url, account.login);
    answer.pathname = '/auth/social/acme/callback';
    expect((await browser.go(answer)).status).toBe(400);
    expect(acme.requests.map(({ form }) => form.code)).not.toContain(answer.searchParams.get('code'));
  });

  it('replay: the URL of an answer works once, also when two come at the same time', async () => {
    for (const times of [1, 2]) {
      const { browser, account, email } = newcomer('google');
      const { url } = await press(browser, await signInPage(browser), 'google');
      const answer = await google.signIn(url, account.login);
      const asked = google.requests.filter(({ path }) => path === '/token').length;
      const pages = await Promise.all(Array.from({ length: times }, () => browser.request(answer.url)));
      expect(pages.map(({ status }) => status).sort()).toEqual([303, 400].slice(0, times));
      expect((await browser.request(answer.url)).status).toBe(400);
      expect(google.requests.filter(({ path }) => path === '/token')).toHaveLength(asked + 1);
      expect(await users(email)).toEqual([]);
    }
  });

  it('an injected code of somebody else’s sign-in is refused (PKCE and nonce)', async () => {
    const victim = newcomer('google');
    const { url } = await press(victim.browser, await signInPage(victim.browser), 'google');
    const stolen = (await google.signIn(url, victim.account.login)).url.searchParams.get('code') as string;
    const attacker = newcomer('google');
    const own = await press(attacker.browser, await signInPage(attacker.browser), 'google');
    const answer = (await google.signIn(own.url, attacker.account.login)).url;
    answer.searchParams.set('code', stolen);
    const page = await attacker.browser.go(answer);
    expect(page.html).toContain(words('problems.socialInvalid').split('{{provider}}')[1]);
    expect(await whoIsSignedIn(server, attacker.browser)).toBeUndefined();
  });
});

/** A browser that has begun something of its own. */
const withCookieOfItsOwn = async () => {
  const browser = new Browser(server.issuer);
  await press(browser, await signInPage(browser), 'google');
  return browser;
};

describe('two at once', () => {
  it('make one account of one person, and both are signed in', async () => {
    const { email, account } = newcomer('google');
    const browsers = [new Browser(server.issuer), new Browser(server.issuer)];
    const answers = await Promise.all(
      browsers.map(async (browser) => {
        const { url } = await press(browser, await signInPage(browser), 'google');
        return google.signIn(url, account.login);
      }),
    );
    const pages = await Promise.all(browsers.map((browser, index) => deliver(browser, answers[index] as never)));
    expect(pages.map(({ url }) => url.pathname)).toEqual(['/account', '/account']);
    expect(await users(email)).toHaveLength(1);
    expect(await identitiesOf(email)).toHaveLength(1);
  });

  it('connect one upstream account with one of two', async () => {
    const { account } = newcomer('google');
    const members = [await member(), await member()];
    const answers = await Promise.all(
      members.map(async ({ browser }) => google.signIn(await beginLink(browser, 'google'), account.login)),
    );
    await Promise.all(members.map(({ browser }, index) => deliver(browser, answers[index] as never)));
    const linked = await Promise.all(members.map(({ email }) => identitiesOf(email)));
    expect(linked.flat()).toHaveLength(1);
  });
});

describe('an upstream that is down', () => {
  it('is said to be, and the other ways still work', async () => {
    const away = await startOpenIdPeer({ name: 'Away' });
    await connectPeer(server, away, 'oidc', 'away');
    away.down = true;
    const email = await registerAccount(server);
    const browser = new Browser(server.issuer);
    const page = await press(browser, await signInPage(browser), 'away');
    expect(page.html).toContain(words('problems.socialUnavailable').split('{{provider}}')[1]);
    const done = await browser.submit(page, { email, password });
    expect(done.url.pathname).toBe('/account');
    const direct = await fetch(`${server.issuer}/auth/social/away`, { headers: { accept: 'application/json' } });
    expect([direct.status, ((await direct.json()) as { code: string }).code]).toEqual([503, 'social_unavailable']);
    const events = () => server.database.db('auditLogs').count('* as rows');
    const before = await events();
    for (let times = 0; times < 3; times++) await fetch(`${server.issuer}/auth/social/away`, { redirect: 'manual' });
    // Anybody may ask, and it costs nothing: the audit log must not grow by it.
    expect(await events()).toEqual(before);
    await (await administrator(server)).request('DELETE', '/identity-providers/away');
    await away.stop();
  });

  it('or that nobody can sign in with as it is set up is said to be unavailable, and not our mistake', async () => {
    const broken = await startApple([newAccount.apple(address())]);
    await connectPeer(server, broken, 'apple', 'broken', { private_key: 'not a key' });
    const page = await throughPeer(new Browser(server.issuer), broken, 'broken');
    expect(page.status).toBe(200);
    expect(page.html).toContain(words('problems.socialUnavailable').split('{{provider}}')[1]);
    await (await administrator(server)).request('DELETE', '/identity-providers/broken');
    await broken.stop();
  });

  for (const id of ['%00', 'acme%00', '%E0%A4%A', '__proto__', 'ACME'])
    it(`and one called ${id} is not there`, async () => {
      for (const accept of ['text/html', 'application/json']) {
        const response = await fetch(`${server.issuer}/auth/social/${id}`, { redirect: 'manual', headers: { accept } });
        expect(response.status).toBe(404);
      }
    });
});

describe('what the provider publishes', () => {
  it('is asked once, and keys again when they are new', async () => {
    const peer = await startOpenIdPeer({ name: 'Rotating' });
    await connectPeer(server, peer, 'oidc', 'rotating', { trust_email: true });
    const through = async () => (await throughPeer(new Browser(server.issuer), peer, 'rotating')).url.pathname;
    const asked = () =>
      ['/.well-known/openid-configuration', '/jwks'].map(
        (wanted) => peer.requests.filter(({ path }) => path === wanted).length,
      );
    peer.accounts.splice(0, 1, newAccount.acme(address()));
    const began = Date.now();
    expect([await through(), await through()]).toEqual(['/account', '/account']);
    expect(asked()).toEqual([1, 1]);
    peer.signer = await createSigner('upstream-2');
    // Not oftener than every ten seconds, whoever sends what; on a slow machine they may be over by now.
    await through();
    if (Date.now() - began < 10_000) expect(asked()).toEqual([1, 1]);
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    expect(await through()).toBe('/account');
    expect(asked()).toEqual([1, 2]);
    await (await administrator(server)).request('DELETE', '/identity-providers/rotating');
    await peer.stop();
  });
});

describe('what the provider says', () => {
  it('of two factors counts where it is trusted, and nowhere else', async () => {
    const party = await registerRelyingParty(server);
    const multi = 'urn:countersign:acr:multi-factor';
    const { browser, goThrough, account } = newcomer('acme');
    await goThrough();
    for (const [amr, id] of [
      [['pwd', 'otp', 'mfa'], 'acme'],
      [['pwd'], 'acme'],
    ] as const) {
      acme.alsoSays = { amr: [...amr] };
      const fresh = new Browser(server.issuer);
      const attempt = await party.begin({ acr_values: multi });
      const page = await fresh.go(attempt.url);
      const { url } = await press(fresh, page, id);
      const back = await deliver(fresh, await acme.signIn(url, account.login));
      const callback = await authorize(fresh, back.url, account.email);
      if (amr.includes('mfa' as never)) {
        const tokens = await party.redeem({ attempt, callback });
        expect(decodeJwt(tokens.id_token as string)).toMatchObject({ amr: expect.arrayContaining(['fed', 'mfa']) });
      } else expect(callback.origin).toBe(server.issuer);
    }
    acme.alsoSays = {};
    expect(await whoIsSignedIn(server, browser)).toBe(account.email);
  });

  it('is taken as far as people themselves could say it: no text that turns, no odd language, no date before there were any', async () => {
    const odd = await startOpenIdPeer({
      misdeed: {
        claims: (honest) => ({
          ...honest,
          name: 'Ada \u202Eecalevol\u2069',
          locale: 'en-12345678-12345678',
          auth_time: -Number.MAX_SAFE_INTEGER,
        }),
      },
    });
    await connectPeer(server, odd, 'oidc', 'odd', { trust_email: true, claims: { name: 'name', locale: 'locale' } });
    const browser = new Browser(server.issuer);
    expect((await throughPeer(browser, odd, 'odd')).status).toBe(200);
    const email = (await whoIsSignedIn(server, browser)) as string;
    const { name, locale } = await users(email).first('name', 'locale');
    expect([name, locale]).toEqual(['Ada ecalevol', 'en']);
    await (await administrator(server)).request('DELETE', '/identity-providers/odd');
    await odd.stop();
  });

  it('of roles holds for as long as it says so', async () => {
    const { email, goThrough, browser } = newcomer('acme');
    const roles = async () =>
      (
        await server.database
          .db('roleGrants')
          .join('roles', 'roles.id', 'roleGrants.roleId')
          .join('users', 'users.id', 'roleGrants.userId')
          .where({ 'users.email': email })
          .select('roles.name', 'identityProviderId')
      ).map(({ name, identityProviderId }) => `${name} by ${identityProviderId}`);
    acme.alsoSays = { realm_access: { roles: ['offline_access', 'staff'] }, nick: 'Queen of Science' };
    await goThrough();
    expect(await roles()).toEqual(['moderator by acme']);
    expect((await browser.go('/account/profile')).html).toContain('Queen of Science');
    for (const said of [
      { realm_access: { roles: 'staffing' } },
      { 'realm_access.roles': ['STAFF'] },
      { roles: ['staff'] },
      {},
    ]) {
      acme.alsoSays = said;
      await goThrough(new Browser(server.issuer));
      expect(await roles()).toEqual([]);
    }
    acme.alsoSays = {};
  });
});

describe('who may not come in by a provider alone', () => {
  it('is whoever has set up a second factor, on the page and over REST', async () => {
    const { email, goThrough, account } = newcomer('google');
    await goThrough();
    const { id: userId } = await users(email).first('id');
    await server.database.db('totpDevices').insert({
      id: uuid(),
      userId,
      name: 'Phone',
      secretEncrypted: Buffer.from('sealed'),
      confirmedAt: new Date(),
    });
    const browser = new Browser(server.issuer);
    const page = await goThrough(browser);
    expect(page.url.pathname).toMatch(/^\/interaction\//);
    expect(page.html).toContain('one-time-code');
    expect(await whoIsSignedIn(server, browser)).toBeUndefined();

    const start = await browser.request(socialStart());
    const answer = await google.signIn(start.headers.get('location') as string, account.login);
    const { url } = await deliver(new Browser(server.issuer), answer);
    // Another browser than the one that began it: nothing comes of it.
    expect(url.origin).toBe(server.issuer);
    const back = await deliver(
      browser,
      await google.signIn((await browser.request(socialStart())).headers.get('location') as string, account.login),
    );
    const redeemed = await postJson(`${server.address}/auth/social/token`, {
      code: back.url.searchParams.get('code'),
      codeVerifier: restVerifier,
    });
    expect([redeemed.status, redeemed.json.code]).toEqual([401, 'mfa_required']);
    expect(redeemed.json).not.toHaveProperty('accessToken');
  });

  it('is whoever was deactivated', async () => {
    const { email, goThrough } = newcomer('google');
    await goThrough();
    await users(email)
      .update({ status: 'inactive' })
      .catch(() => users(email).update({ status: 'deactivated' }));
    const browser = new Browser(server.issuer);
    const page = await goThrough(browser);
    expect(page.html).toContain(words('problems.socialNoAccount').split('{{provider}}')[1]);
    expect(await whoIsSignedIn(server, browser)).toBeUndefined();
  });

  it('is whoever ranks above the one who registered the provider: else that one could be anybody', async () => {
    const admin = await callerOf(server, { role: 'admin' });
    const evil = await startOpenIdPeer({ name: 'Own' }, []);
    const written = await admin.request('POST', '/identity-providers', {
      id: 'own',
      preset: 'oidc',
      issuer: evil.origin,
      client_id: evil.clientId,
      client_secret: evil.clientSecret,
      trust_email: true,
      trust_acr: true,
      roles: [{ claim: 'r', value: 'x', role: 'admin' }],
    });
    expect([written.status, written.text]).toEqual([201, written.text]);
    evil.redirectUris.push(`${server.issuer}/auth/social/own/callback`);
    const higher = await admin.request('PUT', '/identity-providers/own', {
      preset: 'oidc',
      issuer: evil.origin,
      client_id: evil.clientId,
      roles: [{ claim: 'r', value: 'x', role: 'super_admin' }],
    });
    expect([higher.status, higher.json.code]).toEqual([403, 'rank_too_low']);

    const boss = await registerAccount(server);
    const { id: userId } = await users(boss).first('id');
    await giveRole(server, userId, 'super_admin');
    evil.accounts.push({ login: 'boss', id: 'boss', email: boss, verified: true, name: 'Boss' });
    // Connected while they were a user, and by what would confirm it now.
    const db = server.database.db;
    await db('identities').insert({ userId, providerId: 'own', issuer: evil.origin, subject: 'boss', email: boss });
    evil.alsoSays = { amr: ['mfa'] };
    const browser = new Browser(server.issuer);
    const page = await throughPeer(browser, evil, 'own', { login: 'boss' });
    expect(page.html).toContain(words('problems.socialNoAccount').split('{{provider}}')[1]);
    expect(await whoIsSignedIn(server, browser)).toBeUndefined();
    await (await administrator(server)).request('DELETE', '/identity-providers/own');
    expect(await db('identities').where({ userId })).toEqual([]);
    await evil.stop();
  });

  it('is nobody by a provider that was changed or switched off meanwhile', async () => {
    const peer = await startOpenIdPeer({ name: 'Changing' });
    await connectPeer(server, peer, 'oidc', 'changing');
    const caller = await administrator(server);
    const document = { preset: 'oidc', issuer: peer.origin, client_id: peer.clientId };
    for (const change of [{ name: 'Changed' }, { enabled: false }]) {
      const browser = new Browser(server.issuer);
      await caller.request('PUT', '/identity-providers/changing', document);
      const { url } = await press(browser, await signInPage(browser), 'changing');
      const answer = await peer.signIn(url);
      expect((await caller.request('PUT', '/identity-providers/changing', { ...document, ...change })).status).toBe(
        200,
      );
      expect((await deliver(browser, answer)).status).toBe(400);
    }
    expect(peer.requests.map(({ path }) => path)).not.toContain('/token');
    const gone = new Browser(server.issuer);
    expect((await signInPage(gone)).html).not.toContain('value="changing"');
    await caller.request('DELETE', '/identity-providers/changing');
    await peer.stop();
  });
});

const restVerifier = randomBytes(32).toString('base64url');
const socialStart = () =>
  `/auth/social/google?${new URLSearchParams({
    redirectUri: `${appOrigin}/signed-in`,
    codeChallenge: createHash('sha256').update(restVerifier).digest('base64url'),
  })}`;

describe('an application that uses the REST API', () => {
  const verifier = randomBytes(32).toString('base64url');
  const codeChallenge = createHash('sha256').update(verifier).digest('base64url');
  const redirectUri = `${appOrigin}/signed-in`;
  const begin = (parameters: Record<string, string> = {}, id = 'google') =>
    `/auth/social/${id}?${new URLSearchParams({ redirectUri, codeChallenge, state: 'of the app'.replaceAll(' ', '-'), ...parameters })}`;
  const redeem = (code: string, codeVerifier = verifier) =>
    postJson(`${server.address}/auth/social/token`, { code, codeVerifier });

  const codeFor = async (id: Id, browser = new Browser(server.issuer)) => {
    const { account, email } = newcomer(id);
    const start = await browser.request(begin({}, id));
    expect(start.status).toBe(302);
    const back = await deliver(
      browser,
      await peers()[id].signIn(start.headers.get('location') as string, account.login),
    );
    expect(`${back.url.origin}${back.url.pathname}`).toBe(redirectUri);
    expect(back.url.searchParams.get('state')).toBe('of-the-app');
    return { code: back.url.searchParams.get('code') as string, email, account };
  };

  for (const id of ['google', 'github', 'apple', 'acme'] as const)
    it(`gets tokens by way of ${id}`, async () => {
      const { code, email } = await codeFor(id);
      const { status, json } = await redeem(code);
      expect(status).toBe(200);
      const me = await requester(server, json.accessToken)('GET', '/auth/me');
      expect(me.json.email).toBe(email);
      expect((await redeem(code)).status).toBe(401);
    });

  it('begins as a program as well, with what the browser is sent to', async () => {
    const { account } = newcomer('google');
    const answer = await fetch(`${server.issuer}${begin()}`, { headers: { accept: 'application/json' } });
    const { authorizationUrl, state } = (await answer.json()) as { authorizationUrl: string; state: string };
    expect([answer.status, state]).toEqual([200, 'of-the-app']);
    const browser = new Browser(server.issuer);
    const back = await deliver(browser, await google.signIn(authorizationUrl, account.login));
    expect((await redeem(back.url.searchParams.get('code') as string)).status).toBe(200);
  });

  it('refuses the code without its verifier, and then the code is gone', async () => {
    const { code } = await codeFor('google');
    const wrong = await redeem(code, randomBytes(32).toString('base64url'));
    expect([wrong.status, wrong.json.code]).toEqual([401, 'invalid_social_code']);
    expect((await redeem(code)).status).toBe(401);
  });

  it('redeems a code once of many at the same time', async () => {
    const { code } = await codeFor('google');
    const answers = await Promise.all(Array.from({ length: 6 }, () => redeem(code)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401, 401, 401]);
  });

  for (const [name, parameters] of [
    ['another origin', { redirectUri: 'https://evil.example/' }],
    ['an origin that begins alike', { redirectUri: `${appOrigin}.evil.example/` }],
    ['credentials in the URL', { redirectUri: 'https://app.example.com@evil.example/' }],
    ['a script', { redirectUri: 'javascript:alert(1)' }],
    ['another scheme', { redirectUri: 'http://app.example.com/' }],
    ['no challenge', { codeChallenge: '' }],
    ['a challenge that is none', { codeChallenge: 'plain' }],
  ] as const)
    it(`is not sent to ${name}`, async () => {
      const answer = await fetch(`${server.issuer}${begin(parameters)}`, {
        redirect: 'manual',
        headers: { accept: 'application/json' },
      });
      expect([answer.status, answer.headers.get('location')]).toEqual([400, null]);
    });

  it('is told that an account is there, and gets no tokens for it', async () => {
    const email = await registerAccount(server);
    const { account } = newcomer('google', email);
    const browser = new Browser(server.issuer);
    const start = await browser.request(begin());
    const back = await deliver(browser, await google.signIn(start.headers.get('location') as string, account.login));
    const answer = await redeem(back.url.searchParams.get('code') as string);
    expect([answer.status, answer.json.code]).toEqual([409, 'social_account_exists']);
    expect(await identitiesOf(email)).toEqual([]);
  });

  it('learns that the person cancelled, or that the provider is not to be believed, at its redirect URI', async () => {
    const browser = new Browser(server.issuer);
    const { account } = newcomer('google');
    const start = async (id: Id) => (await browser.request(begin({}, id))).headers.get('location') as string;
    const denied = await deliver(browser, await google.signIn(await start('google'), account.login, 'deny'));
    expect(denied.url.searchParams.get('error')).toBe('access_denied');
    newcomer('acme');
    acme.misdeed = { claims: (honest) => ({ ...honest, nonce: 'another' }) };
    const cheated = await deliver(browser, await acme.signIn(await start('acme')));
    acme.misdeed = {};
    expect(cheated.url.searchParams.get('error')).toBe('server_error');
    expect(cheated.url.searchParams.has('code')).toBe(false);
  });
});
