/** The pages of an account as a product: who may see and send what, and what comes of it. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { navigation } from '../../interactions/account/navigation.ts';
import { type Actor, recordEvent } from '../../src/audit/logs.commands.ts';
import { Browser, formsOf, password, registerAccount } from '../support/browser.ts';
import { callerOf, giveRole, type TestCaller } from '../support/callers.ts';
import { makeGroup, makeOrganization } from '../support/organizations.ts';
import { eventually, mailCount, postForm, relyingParty, signedIn, signIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const db = () => server.database.db;

interface Person {
  email: string;
  id: string;
  browser: Browser;
}
const person = async (): Promise<Person> => {
  const email = await registerAccount(server);
  const { id } = await db()('users').where({ email }).first('id');
  return { email, id, browser: await signedIn(server, email) };
};

/** Changes what the engine remembers of somebody's sign-ins. */
const changeSessions = (userId: string, changes: Record<string, unknown>) =>
  db()('sessions')
    .where({ userId })
    .update({ payload: db().raw('payload || cast(? as jsonb)', [JSON.stringify(changes)]) });
/** As if they had signed in eleven minutes ago. */
const age = (userId: string) => changeSessions(userId, { loginTs: Math.floor(Date.now() / 1000) - 660 });
/** As if an authenticator app had been set up since they signed in. */
const addApp = (userId: string) =>
  db()('totpDevices').insert({
    id: uuid(),
    userId,
    name: 'Phone',
    secretEncrypted: Buffer.from('sealed'),
    confirmedAt: new Date(),
  });
const userOf = (id: string) => db()('users').where({ id }).first();
const events = async (targetId: string) =>
  (await db()('auditLogs').where({ targetId }).orderBy('id')).map(({ action }) => action as string);
const isSignIn = ({ url }: { url: URL }) => url.pathname.startsWith('/interaction/');

const pages = [
  ['/account', 'account'],
  ['/account/profile', 'profile'],
  ['/account/profile/email', 'change-email'],
  ['/account/password', 'change-password'],
  ['/account/sessions', 'sessions'],
  ['/account/applications', 'applications'],
  ['/account/organizations', 'organizations'],
  ['/account/requests', 'requests'],
  ['/account/activity', 'activity'],
  ['/account/data', 'data'],
  ['/account/data/close', 'close-account'],
] as const;

/** What each form is sent, and whether it takes a sign-in of just now. */
const posts: [path: string, fields: Record<string, string>, recent: boolean][] = [
  ['/account/profile', { name: 'Eve' }, false],
  ['/account/profile/email', { email: 'eve@example.com' }, true],
  ['/account/profile/email/code', { code: '123456' }, true],
  ['/account/profile/email/verify', {}, false],
  ['/account/password', { currentPassword: password, newPassword: 'seven quiet lighthouses blink' }, false],
  ['/account/password/first', { newPassword: 'seven quiet lighthouses blink' }, true],
  ['/account/sessions/end', { id: 'x' }, false],
  ['/account/sessions/end-others', {}, false],
  ['/account/applications/withdraw', { id: 'x' }, false],
  ['/account/organizations/leave', { id: 'x' }, false],
  ['/account/data/download', {}, true],
  ['/account/data/close', { password }, true],
];

describe('each page', () => {
  let someone: Person;
  beforeAll(async () => {
    someone = await person();
  });
  for (const [path, view] of pages) {
    it(`${path} says where one is, and weighs little`, async () => {
      const page = await someone.browser.go(path);
      expect([page.status, page.url.pathname]).toEqual([200, path]);
      expect(page.html).toContain(`class="view-${view}"`);
      expect(page.headers.get('cache-control')).toBe('no-store');
      const current = [...page.html.matchAll(/<a href="([^"]+)" aria-current="page">/g)].map(([, href]) => href);
      // At the side, and folded.
      expect(current).toHaveLength(2);
      expect(path.startsWith(current[0] as string)).toBe(true);
      expect(page.html).toContain(someone.email);
      const styles = await Promise.all(
        [...page.html.matchAll(/<link rel="stylesheet" href="([^"]+)"/g)].map(async ([, href]) =>
          (await someone.browser.request(href as string)).text(),
        ),
      );
      expect(Buffer.byteLength(page.html + styles.join(''))).toBeLessThan(30_000);
    });

    it(`${path} is for who is signed in, and they come back to it`, async () => {
      const stranger = new Browser(server.issuer);
      const asked = await stranger.go(path);
      expect(isSignIn(asked)).toBe(true);
      const page = await stranger.submit(asked, { email: someone.email, password });
      expect([page.status, page.url.pathname]).toEqual([200, path]);
    });
  }

  it('is in the menu if it is served, and none other', async () => {
    const { html } = await someone.browser.go('/account');
    for (const { href } of navigation) {
      const { status } = await someone.browser.go(href);
      expect([href, html.includes(`<a href="${href}"`)]).toEqual([href, status === 200]);
    }
  });
});

describe('each form', () => {
  it('sent by nobody changes nothing and leads to sign-in', async () => {
    const before = await db()('auditLogs').count().first();
    for (const [path, fields] of posts) {
      const page = await postForm(new Browser(server.issuer), path, fields);
      expect([path, isSignIn(page)]).toEqual([path, true]);
    }
    expect(await db()('auditLogs').count().first()).toEqual(before);
  });

  it('sent from another site, or without the page’s token, is refused', async () => {
    const { browser, id } = await person();
    const before = [await userOf(id), await events(id)];
    for (const [path, fields] of posts) {
      const elsewhere = await postForm(browser, path, fields, { origin: 'https://evil.example' });
      const forged = await postForm(browser, path, { ...fields, csrf: 'made-up' });
      expect([path, elsewhere.status, forged.status]).toEqual([path, 403, 403]);
    }
    expect([await userOf(id), await events(id)]).toEqual(before);
  });

  for (const [path, fields] of posts.filter(([, , recent]) => recent)) {
    for (const [when, make] of [
      ['too late', age],
      ['without the second factor that there is', addApp],
    ] as const) {
      it(`${path} keeps nothing that comes ${when}, and says so`, async () => {
        const { browser, id } = await person();
        await make(id);
        const before = [await userOf(id), await events(id)];
        const page = await postForm(browser, path, fields);
        expect([page.status, page.html.includes(words('sign-in-again.lost'))]).toEqual([403, true]);
        expect([await userOf(id), await events(id)]).toEqual(before);
      });
    }
  }
});

describe('a sign-in of just now', () => {
  for (const path of ['/account/profile/email', '/account/data/close']) {
    it(`is asked for ${path}, and leads back there`, async () => {
      const { browser, email, id } = await person();
      await age(id);
      const asked = await browser.go(path);
      expect(isSignIn(asked)).toBe(true);
      const page = await browser.submit(asked, { email, password });
      expect([page.status, page.url.pathname]).toEqual([200, path]);
    });

    it(`is asked for ${path} with the second factor that there is`, async () => {
      const { browser, id } = await person();
      await addApp(id);
      const asked = await browser.go(path);
      expect(isSignIn(asked)).toBe(true);
      await changeSessions(id, { amr: ['pwd', 'otp', 'mfa'] });
      expect((await browser.go(path)).url.pathname).toBe(path);
    });
  }

  it('that somebody does not want to show leaves them with the rest of the account', async () => {
    const { browser, id } = await person();
    await age(id);
    const asked = await browser.go('/account/profile/email');
    const page = await postForm(browser, `${asked.url.pathname}/abort`, {});
    expect([page.status, page.url.pathname]).toEqual([200, '/account']);
  });

  it('that is not enough asks no third time by itself', async () => {
    const { browser, id } = await person();
    await age(id);
    const page = await browser.go(`/account/profile/email?iss=${encodeURIComponent(server.issuer)}`);
    expect([page.status, page.html.includes(words('sign-in-again.signIn'))]).toEqual([403, true]);
    expect(page.html).not.toContain(words('sign-in-again.lost'));
  });
});

describe('the overview', () => {
  it('says what one may want to see to', async () => {
    const { browser, id } = await person();
    const calm = await browser.go('/account');
    const served = calm.html.includes('href="/account/two-step"');
    expect(calm.html.includes(words('account.attention.noSecondFactor'))).toBe(served);
    await db()('users').where({ id }).update({ emailVerifiedAt: null });
    await addApp(id);
    await changeSessions(id, { amr: ['pwd', 'otp', 'mfa'] });
    const page = await browser.go('/account');
    expect(page.html).toContain(words('account.attention.unverified'));
    expect(page.html).not.toContain(words('account.attention.noSecondFactor'));
    expect(page.html.includes(words('account.attention.noBackupCodes'))).toBe(served);
    await db()('backupCodes').insert({ id: uuid(), userId: id, codeHash: 'x' });
    expect((await browser.go('/account')).html.includes('Backup codes left: 1')).toBe(served);
  });

  it('says nothing where there is nothing', async () => {
    const { browser, id } = await person();
    await addApp(id);
    await changeSessions(id, { amr: ['pwd', 'otp', 'mfa'] });
    for (let code = 0; code < 10; code++)
      await db()('backupCodes').insert({ id: uuid(), userId: id, codeHash: `x${code}` });
    expect((await browser.go('/account')).html).not.toContain(words('account.attention.title'));
  });
});

describe('what is another person’s', () => {
  it('is not there', async () => {
    const [ada, bob] = [await person(), await person()];
    const app = await relyingParty(server);
    await app.tokens(ada.browser, ada.email);
    const [session] = await db()('sessions').where({ userId: ada.id }).select('uid');
    for (const [path, id] of [
      ['/account/sessions/end', session.uid],
      ['/account/applications/withdraw', app.client.client_id],
    ]) {
      const page = await postForm(bob.browser, path, { id });
      expect([path, page.status, page.html.includes(words('problems.notFound'))]).toEqual([path, 404, true]);
    }
    expect((await ada.browser.go('/account')).url.pathname).toBe('/account');
    expect((await ada.browser.go('/account/applications')).html).toContain('Acme');
  });
});

describe('what makes no sense', () => {
  for (const [path, fields] of [
    ['/account/sessions/end', {}],
    ['/account/sessions/end', { id: 'ü' }],
    ['/account/sessions/end', { id: 'x'.repeat(501) }],
    ['/account/applications/withdraw', {}],
    ['/account/applications/withdraw', { id: 'a\u0000b' }],
    ['/account/profile/email', {}],
    ['/account/profile/email', { email: 'nobody' }],
    ['/account/profile/email', { email: `${'x'.repeat(300)}@example.com` }],
    ['/account/profile/email/code', {}],
    ['/account/profile/email/code', { code: 'x'.repeat(30) }],
    ['/account/password/first', {}],
    ['/account/data/close', {}],
    ['/account/data/close', { password: 'x'.repeat(5000) }],
  ] as [string, Record<string, string>][]) {
    it(`${path} ${JSON.stringify(fields).slice(0, 30)} is refused`, async () => {
      const { browser, id } = await person();
      const before = await userOf(id);
      const { status } = await postForm(browser, path, fields);
      expect(status >= 400 && status < 500).toBe(true);
      expect(await userOf(id)).toEqual(before);
    });
  }
});

describe('another address', () => {
  const newAddress = () => `${uuid()}@example.com`;
  const codeFor = async (to: string) => /\b\d{6}\b/.exec((await server.mail(to, /code/)).text)?.[0] as string;

  it('takes the code that was mailed to it, and the old one is told', async () => {
    const { browser, email, id } = await person();
    const elsewhere = await signedIn(server, email);
    const address = newAddress();
    const asked = await browser.submit(await browser.go('/account/profile/email'), { email: address.toUpperCase() });
    expect([asked.status, asked.html.includes(address)]).toEqual([200, true]);
    expect((await userOf(id)).email).toBe(email);
    const code = await codeFor(address);
    const wrong = await browser.submit(asked, { code: code === '111111' ? '222222' : '111111' }, '/code');
    expect([wrong.status, wrong.html.includes(words('problems.wrongCode'))]).toEqual([400, true]);

    const done = await browser.submit(asked, { code: ` ${code.slice(0, 3)} ${code.slice(3)} ` }, '/code');
    expect([done.status, done.html.includes(words('notices.emailChanged'))]).toEqual([200, true]);
    expect(await userOf(id)).toMatchObject({ email: address, emailVerifiedAt: expect.any(Date) });
    expect(await events(id)).toEqual(expect.arrayContaining(['otp.send', 'user.change_email']));
    await server.mail(email, /address of your .* account was changed/);
    expect((await elsewhere.go('/account')).html).toContain(address);
    // The code is used up, and signing in takes the new address.
    expect((await postForm(browser, '/account/profile/email/code', { code })).status).toBe(400);
    expect((await signIn(new Browser(server.issuer), email)).status).toBe(401);
    await signedIn(server, address);
    // So does showing again that it is they.
    await age(id);
    const again = await browser.go('/account/profile/email');
    expect(formsOf(again.html).some(({ fields }) => fields.email === address)).toBe(true);
    expect((await browser.submit(again, { password })).url.pathname).toBe('/account/profile/email');
  });

  it('that is the present one is said to be', async () => {
    const { browser, email } = await person();
    const page = await postForm(browser, '/account/profile/email', { email: ` ${email.toUpperCase()}` });
    expect([page.status, page.html.includes(words('problems.emailSame'))]).toEqual([400, true]);
  });

  it('that has an account is told to who reads its mail, and to nobody else', async () => {
    const [ada, bob] = [await person(), await person()];
    const free = await ada.browser.submit(await ada.browser.go('/account/profile/email'), { email: newAddress() });
    const taken = await ada.browser.submit(await ada.browser.go('/account/profile/email'), { email: bob.email });
    expect([taken.status, taken.url.href]).toEqual([free.status, free.url.href]);
    const page = await ada.browser.submit(taken, { code: await codeFor(bob.email) }, '/code');
    expect([page.status, page.html.includes(words('problems.emailTaken'))]).toEqual([409, true]);
    expect([(await userOf(ada.id)).email, (await userOf(bob.id)).email]).toEqual([ada.email, bob.email]);
  });

  it('cannot be confirmed in another account', async () => {
    const [ada, bob] = [await person(), await person()];
    const address = newAddress();
    await postForm(ada.browser, '/account/profile/email', { email: address });
    const page = await postForm(bob.browser, '/account/profile/email/code', { code: await codeFor(address) });
    expect(page.status).toBe(400);
    expect((await userOf(bob.id)).email).toBe(bob.email);
  });

  it('takes the newest code, and each has five tries', async () => {
    const { browser, email, id } = await person();
    const [first, second] = [newAddress(), newAddress()];
    await postForm(browser, '/account/profile/email', { email: first });
    const old = await codeFor(first);
    await postForm(browser, '/account/profile/email', { email: second });
    const code = await codeFor(second);
    const tries = [old, ...Array.from({ length: 4 }, (_, at) => `00000${at}`)].map((one) =>
      one === code ? '999999' : one,
    );
    for (const one of tries)
      expect((await postForm(browser, '/account/profile/email/code', { code: one })).status).toBe(400);
    expect((await postForm(browser, '/account/profile/email/code', { code })).status).toBe(400);
    expect((await userOf(id)).email).toBe(email);
  });

  it('is decided by one of two that race for it', async () => {
    const { browser, id } = await person();
    const address = newAddress();
    const asked = await browser.submit(await browser.go('/account/profile/email'), { email: address });
    const code = await codeFor(address);
    const answers = await Promise.all([1, 2, 3].map(() => browser.submit(asked, { code }, '/code')));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await events(id)).filter((action) => action === 'user.change_email')).toHaveLength(1);
  });

  it('that waits to be confirmed gets its mail again', async () => {
    const { browser, email, id } = await person();
    await db()('users').where({ id }).update({ emailVerifiedAt: null });
    const before = mailCount(server, email);
    const page = await browser.submit(await browser.go('/account/profile'), {}, '/email/verify');
    expect(page.html).toContain(words('notices.mailSent'));
    await eventually(() => mailCount(server, email) > before, 'another mail');
  });
});

describe('a first password', () => {
  const withoutPassword = async (): Promise<Person> => {
    const someone = await person();
    await db()('users').where({ id: someone.id }).update({ passwordHash: null });
    return someone;
  };
  const newPassword = 'seven quiet lighthouses blink';

  it('is set by who has none, tells the owner and ends the other sessions', async () => {
    const someone = await withoutPassword();
    const { browser, email, id } = someone;
    const page = await browser.go('/account/password');
    expect(page.html).toContain(words('change-password.firstText'));
    expect(page.html).not.toContain('current-password');
    const weak = await browser.submit(page, { newPassword: 'password1234' }, '/first');
    expect([weak.status, weak.html.includes(words('problems.passwordCommon'))]).toEqual([400, true]);
    const done = await browser.submit(page, { newPassword }, '/first');
    expect([done.status, done.html.includes(words('notices.passwordChanged'))]).toEqual([200, true]);
    expect(await events(id)).toContain('password.set');
    await server.mail(email, /password was changed/);
    await signedIn(server, email, newPassword);
  });

  it('is not a way around the one that there is', async () => {
    const { browser, email } = await person();
    const page = await postForm(browser, '/account/password/first', { newPassword });
    expect(page.status).toBe(409);
    await signedIn(server, email);
  });

  it('takes a sign-in of just now', async () => {
    const { browser, id } = await withoutPassword();
    await age(id);
    const page = await browser.go('/account/password');
    expect(page.html).toContain(words('sign-in-again.first'));
    expect(formsOf(page.html).filter(({ action }) => action.includes('password'))).toEqual([]);
  });

  it('is set by one of two that race for it', async () => {
    const { browser, id } = await withoutPassword();
    const page = await browser.go('/account/password');
    const answers = await Promise.all(
      [1, 2].map((n) => browser.submit(page, { newPassword: newPassword + n }, '/first')),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect((await events(id)).filter((action) => action === 'password.set')).toHaveLength(1);
  });
});

describe('activity', () => {
  const from = (id: string): Actor => ({ type: 'user', id, address: '192.0.2.10', requestId: 'r', userAgent: 'x' });

  it('is told in words, with what was thought of a sign-in', async () => {
    const { browser, id } = await person();
    // The same account on a device that it does not know.
    const { email } = await userOf(id);
    const elsewhere = new Browser(server.issuer);
    elsewhere.headers['user-agent'] =
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1';
    await signIn(elsewhere, email);
    await recordEvent(db(), { type: 'user', id: uuid() }, { action: 'user.deactivate', target: { type: 'user', id } });
    const page = await browser.go('/account/activity');
    for (const key of ['activity.actions.session-sign_in', 'activity.signals.new-device', 'activity.by.administrator'])
      expect([key, page.html.includes(words(key))]).toEqual([key, true]);
    expect(page.html).toContain('Safari · iOS');
    // One’s own registration is nobody else’s doing.
    expect(page.html).toContain(words('activity.actions.user-register'));
    for (const key of ['activity.by.unknown', 'activity.actions.other']) expect(page.html).not.toContain(words(key));
    expect(page.html).not.toMatch(/session\.sign_in|user\.register/);
  });

  it('is one’s own', async () => {
    const [ada, bob] = [await person(), await person()];
    await recordEvent(db(), from(bob.id), { action: 'api_key.create', target: { type: 'api_key', id: uuid() } });
    expect((await ada.browser.go('/account/activity')).html).not.toContain(words('activity.actions.api_key-create'));
    expect((await bob.browser.go('/account/activity')).html).toContain(words('activity.actions.api_key-create'));
  });

  it('is paged, and each event stands on one page', async () => {
    const { browser, id } = await person();
    for (let n = 0; n < 60; n++)
      await recordEvent(db(), from(id), { action: 'user.update_profile', target: { type: 'user', id } });
    let seen = 0;
    let href = '/account/activity';
    let count = 0;
    for (; href && count < 6; count++) {
      const { html } = await browser.go(href);
      seen += html.split(words('activity.actions.user-update_profile')).length - 1;
      href = (/<a class="button[^"]*" href="(\/account\/activity\?before=[^"]+)"/.exec(html)?.[1] ?? '').replaceAll(
        '&amp;',
        '&',
      );
    }
    expect([seen, count]).toEqual([60, 3]);
    expect((await browser.go('/account/activity?before=nonsense')).status).toBe(200);
  });
});

describe('one’s data', () => {
  const needles = (id: string) => [
    ...['argon2', 'password_hash', 'passwordHash', 'secret', 'Encrypted', 'keyHash', 'tokenHash', 'deviceHash'],
    ...['codeHash', 'publicKey', 'piiKey', 'requestId', `before ${id}`],
  ];
  const download = async (browser: Browser) => browser.submit(await browser.go('/account/data'), {}, '/download');

  it('is a file with all that is kept, and no secret', async () => {
    const { browser, email, id } = await person();
    const app = await relyingParty(server);
    await app.tokens(browser, email);
    await browser.submit(await browser.go('/account/profile'), { nickname: 'الكونتيسة', birthdate: '1815-12-10' });
    await addApp(id);
    await changeSessions(id, { amr: ['pwd', 'otp', 'mfa'] });
    await db()('apiKeys').insert({ id: uuid(), userId: id, name: 'deployments', prefix: 'cs_4fTq9Z', keyHash: uuid() });
    const owned = await makeOrganization(server, { owners: [id] });
    await makeGroup(server, { name: 'Night shift', kind: 'team', members: [id] });
    const sales = db()('domains').where({ key: 'sales' }).select('id');
    await db()('domainMembers').insert({ userId: id, domainId: sales });
    const file = await download(browser);
    expect(file.status).toBe(200);
    expect(file.headers.get('content-type')).toMatch(/^application\/json/);
    expect(file.headers.get('content-disposition')).toMatch(
      /^attachment; filename="account-data-\d{4}-\d\d-\d\d\.json"$/,
    );
    expect(file.headers.get('cache-control')).toBe('no-store');
    expect(JSON.parse(file.html)).toMatchObject({
      about: { service: server.issuer, format: 1 },
      account: { id, email, emailVerified: true, name: 'Ada Lovelace', role: 'user', hasPassword: true },
      profile: { nickname: 'الكونتيسة', birthdate: '1815-12-10' },
      authenticatorApps: [{ name: 'Phone' }],
      organizations: [{ ...owned, kind: 'organization', isActive: true, isOwner: true }],
      groups: [{ name: 'Night shift', kind: 'team', isActive: true, createdAt: expect.any(String) }],
      businessDomains: [{ key: 'sales', isActive: true, createdAt: expect.any(String) }],
      passkeys: [],
      backupCodesLeft: 0,
      linkedAccounts: [],
      sessions: [{ address: expect.any(String), userAgent: expect.stringContaining('Firefox') }],
      knownDevices: [{ lastSeenAt: expect.any(String) }],
      applications: [{ clientId: app.client.client_id, scopes: expect.arrayContaining(['openid']) }],
      apiKeys: [{ name: 'deployments', prefix: 'cs_4fTq9Z' }],
      signIns: [{ amr: ['pwd'], outcome: 'allow' }],
      activity: expect.arrayContaining([expect.objectContaining({ action: 'user.register' })]),
    });
    for (const needle of needles(id)) expect([needle, file.html.includes(needle)]).toEqual([needle, false]);
    expect(await events(id)).toContain('user.export_data');
  });

  it('does not say where somebody sits who was refused: that is perhaps somebody else', async () => {
    const { browser, id } = await person();
    const place = { address: '198.51.100.77', country: 'NZ', city: 'Wellington', network: 'AS64500' };
    const row = { id: uuid(), userId: id, score: 90, factors: '[]', outcome: 'refuse', userAgent: 'Guesser/1' };
    await db()('signIns').insert({ ...row, ...place });
    const { html } = await download(browser);
    expect(JSON.parse(html).signIns).toContainEqual(expect.objectContaining({ outcome: 'refuse', address: null }));
    for (const word of Object.values(place)) expect(html).not.toContain(`"${word}"`);
  });

  it('is whole, however much has happened', async () => {
    const { browser, id } = await person();
    const rows = Array.from({ length: 1203 }, () => ({
      id: uuid(),
      actorType: 'user',
      actorId: id,
      action: 'user.update_profile',
      meta: '{}',
    }));
    for (let at = 0; at < rows.length; at += 200) await db()('auditLogs').insert(rows.slice(at, at + 200));
    const { activity } = JSON.parse((await download(browser)).html) as { activity: { id: string; action: string }[] };
    expect(activity.filter(({ action }) => action === 'user.update_profile')).toHaveLength(1203);
    expect(new Set(activity.map((event) => event.id)).size).toBe(activity.length);
  });

  it('asks first for a sign-in of just now', async () => {
    const { browser, email, id } = await person();
    await age(id);
    const page = await browser.go('/account/data');
    expect(formsOf(page.html).filter(({ action }) => action.endsWith('/download'))).toEqual([]);
    const href = /<a class="button[^"]*" href="(\/oauth\/authorize[^"]+)"/.exec(page.html)?.[1] as string;
    const back = await browser.submit(await browser.go(href.replaceAll('&#38;', '&').replaceAll('&amp;', '&')), {
      email,
      password,
    });
    expect(back.url.pathname).toBe('/account/data');
    expect((await download(browser)).status).toBe(200);
  });

  describe('over REST', () => {
    let ada: TestCaller;
    beforeAll(async () => {
      ada = await callerOf(server);
    });

    it('is the same', async () => {
      const { status, json, headers } = await ada.request('get', '/auth/me/data');
      expect([status, json.account.email]).toEqual([200, ada.email]);
      expect(headers.get('content-disposition')).toMatch(/^attachment/);
      expect(await events(ada.id)).toContain('user.export_data');
    });

    it('is not for other people’s applications', async () => {
      const theirs = await callerOf(server, { thirdParty: true });
      const { status, json } = await theirs.request('get', '/auth/me/data');
      expect([status, json.code]).toEqual([403, 'session_needed']);
    });

    for (const [when, make] of [
      ['old', age],
      ['without the second factor that there is', addApp],
    ] as const) {
      it(`is not for a sign-in that is ${when}`, async () => {
        const caller = await callerOf(server);
        await make(caller.id);
        const { status, json } = await caller.request('get', '/auth/me/data');
        expect([status, json.code]).toEqual([403, 'session_needed']);
        expect(await events(caller.id)).not.toContain('user.export_data');
      });
    }
  });
});

describe('closing one’s account', () => {
  it('takes the password, erases the account and signs out', async () => {
    const { browser, email, id } = await person();
    const page = await browser.go('/account/data/close');
    const wrong = await browser.submit(page, { password: 'not it, not at all' });
    expect([wrong.status, wrong.html.includes(words('problems.currentPasswordWrong'))]).toEqual([400, true]);
    expect((await userOf(id)).status).toBe('active');
    const done = await browser.submit(page, { password });
    expect([done.status, done.url.pathname]).toEqual([200, '/account/closed']);
    expect(done.html).toContain(words('account-closed.text'));
    expect(done.html).not.toContain('aria-current="page"');
    expect(await userOf(id)).toMatchObject({ status: 'closed', name: '', passwordHash: null });
    expect(isSignIn(await browser.go('/account'))).toBe(true);
    // The address is free again.
    expect(await db()('users').where({ email })).toEqual([]);
  });

  it('needs none where there is none', async () => {
    const { browser, id } = await person();
    await db()('users').where({ id }).update({ passwordHash: null });
    const page = await browser.go('/account/data/close');
    expect(page.html).not.toContain('current-password');
    expect((await browser.submit(page)).url.pathname).toBe('/account/closed');
    expect((await userOf(id)).status).toBe('closed');
  });

  it('is not there for people whose role may not', async () => {
    const { browser, id } = await person();
    const { id: permissionId } = await db()('permissions').where({ name: 'users:close:own' }).first('id');
    await db()('permissionGrants').insert({ userId: id, permissionId, effect: 'deny' });
    expect((await browser.go('/account/data')).html).not.toContain('/account/data/close');
    const page = await browser.go('/account/data/close');
    const sent = await postForm(browser, '/account/data/close', { password });
    expect([page.status, sent.status, page.html.includes(words('errors.forbidden.title'))]).toEqual([403, 403, true]);
    expect((await userOf(id)).status).toBe('active');
  });

  it('is not for who owns something that nobody else owns', async () => {
    const { browser, id } = await person();
    const name = `Engines <${uuid()}>`;
    await makeOrganization(server, { name, owners: [id] });
    const page = await postForm(browser, '/account/data/close', { password });
    expect(page.status).toBe(409);
    expect(page.html).toContain(name.replace('<', '&lt;').replace('>', '&gt;'));
    expect((await userOf(id)).status).toBe('active');
  });

  it('is not for the last who may do everything', async () => {
    const { browser, id } = await person();
    await giveRole(server, id, 'super_admin');
    await changeSessions(id, { amr: ['pwd', 'otp', 'mfa'] });
    const page = await postForm(browser, '/account/data/close', { password });
    expect([page.status, page.html.includes(words('problems.lastSuperAdmin'))]).toEqual([409, true]);
    expect((await userOf(id)).status).toBe('active');
  });
});
