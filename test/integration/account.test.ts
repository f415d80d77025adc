import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSetupToken } from '../../src/auth/administrators.commands.ts';
import { Browser, formsOf, type Page, password, registerAccount } from '../support/browser.ts';
import { eventually, postForm, type RelyingParty, relyingParty, signedIn, signIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let app: RelyingParty;
let receiver: Server;
/** Claims of the logout tokens that the application received. */
const logouts: Record<string, unknown>[] = [];
beforeAll(async () => {
  server = await startServer();
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      logouts.push(decodeJwt(new URLSearchParams(body).get('logout_token') ?? ''));
      response.end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  app = await relyingParty(server, {
    backchannel_logout_uri: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/logout`,
    backchannel_logout_session_required: true,
  });
});
afterAll(async () => {
  await server.stop();
  receiver.close();
});

const formFor = (page: Page, action: string) => formsOf(page.html).filter((form) => form.action === action);

describe('the profile page', () => {
  const filled = {
    name: 'Ada King',
    given_name: 'Ada',
    family_name: 'King',
    middle_name: '',
    nickname: 'الكونتيسة',
    preferred_username: 'ada',
    gender: 'female',
    profile: 'https://example.com/ada',
    picture: 'https://example.com/ada.jpg',
    website: 'http://ada.example',
    birthdate: '1815-12-10',
    zoneinfo: 'Europe/London',
    locale: 'en-GB',
    phone_number: '+49 (30) 901-820',
    street_address: '12 St James’s Square\r\nFlat 2',
    locality: 'London',
    region: '',
    postal_code: 'SW1Y',
    country: 'United Kingdom',
    formatted: '',
  };

  it('saves what its fields say, and applications get it as claims', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    const saved = await browser.submit(await browser.go('/account/profile'), filled);
    expect([saved.status, saved.url.pathname]).toEqual([200, '/account/profile']);
    expect(saved.html).toContain(words('notices.profileSaved'));
    const tokens = await app.tokens(browser, email);
    const sub = tokens.claims()?.sub as string;
    expect(await oidc.fetchUserInfo(app.config, tokens.access_token, sub)).toMatchObject({
      sub,
      name: 'Ada King',
      nickname: 'الكونتيسة',
      birthdate: '1815-12-10',
      locale: 'en-GB',
      zoneinfo: 'Europe/London',
    });
    const form = formFor(await browser.go('/account/profile'), '/account/profile')[0];
    expect(form?.fields).toMatchObject({ name: 'Ada King', phone_number: '+4930901820', locality: 'London' });
    // What is private is not in the clear.
    const row = JSON.stringify(await server.database.db('users').where({ email }).first());
    expect(row).not.toMatch(/1815|4930901820|London/);
    // Emptied again.
    await browser.submit(await browser.go('/account/profile'), { ...filled, birthdate: '', nickname: '' });
    const after = await oidc.fetchUserInfo(app.config, tokens.access_token, sub);
    expect([after.birthdate, after.nickname]).toEqual([undefined, undefined]);
  });

  it('gives address and phone to applications that may have them', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    await browser.submit(await browser.go('/account/profile'), filled);
    const tokens = await app.tokens(browser, email, { scope: 'openid address phone' });
    const claims = await oidc.fetchUserInfo(app.config, tokens.access_token, tokens.claims()?.sub as string);
    expect(claims).toMatchObject({
      phone_number: '+4930901820',
      phone_number_verified: false,
      address: { street_address: '12 St James’s Square\nFlat 2', locality: 'London', country: 'United Kingdom' },
    });
    expect(claims.name).toBeUndefined();
  });

  it('says all that is wrong, keeps what was typed, and saves nothing', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    const wrong = {
      ...filled,
      name: '',
      website: 'javascript:alert(1)',
      birthdate: '1815-13-40',
      zoneinfo: 'Mars/Olympus',
      locale: '!!',
      phone_number: '030',
    };
    const page = await postForm(browser, '/account/profile', wrong);
    expect(page.status).toBe(400);
    for (const code of [
      'nameRequired',
      'urlInvalid',
      'dateInvalid',
      'zoneinfoInvalid',
      'localeInvalid',
      'phoneInvalid',
    ])
      expect(page.html).toContain(words(`problems.${code}`));
    expect(formFor(page, '/account/profile')[0]?.fields).toMatchObject({ given_name: 'Ada', zoneinfo: 'Mars/Olympus' });
    expect((await browser.go('/account')).html).toContain('Ada Lovelace');
  });

  for (const [field, value] of [
    ['name', 'a'.repeat(101)],
    ['name', 'A\u0000da'],
    ['nickname', 'x'.repeat(201)],
    ['nickname', 'a\u0007b'],
    ['birthdate', '2023-02-30x'],
    ['birthdate', '2023-02-30'],
    ['picture', 'ftp://example.com/a'],
    ['street_address', 'a\u0000b'],
    ['formatted', 'x'.repeat(501)],
  ] as const) {
    it(`refuses ${JSON.stringify(value).slice(0, 20)} as ${field}`, async () => {
      const browser = await signedIn(server, await registerAccount(server));
      expect((await postForm(browser, '/account/profile', { ...filled, [field]: value })).status).toBe(400);
    });
  }
});

describe('sessions', () => {
  const twoBrowsers = async () => {
    const email = await registerAccount(server);
    const here = await signedIn(server, email);
    const phone = new Browser(server.issuer);
    phone.headers['user-agent'] =
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1';
    await signIn(phone, email);
    return {
      email,
      here,
      phone,
      tokens: { here: await app.tokens(here, email), phone: await app.tokens(phone, email) },
    };
  };
  const logoutFor = (sub: string | undefined) => logouts.filter((logout) => logout.sub === sub);

  it('are listed with device, address and applications, and one can be ended elsewhere', async () => {
    const { here, phone, tokens } = await twoBrowsers();
    const page = await here.go('/account/sessions');
    expect(page.html).toMatch(/Firefox · Linux/);
    expect(page.html).toMatch(/Safari · iOS/);
    expect(page.html).toMatch(/127\.0\.0\.1|::1/);
    expect(page.html.match(/<bdi>Acme<\/bdi>/g)?.length).toBeGreaterThanOrEqual(2);
    expect(page.html).toContain(words('sessions.current'));
    expect(formFor(page, '/account/sessions/end')).toHaveLength(1);

    const ended = await here.submit(page, {}, '/account/sessions/end');
    expect(ended.html).toContain(words('notices.sessionEnded'));
    expect((await phone.go('/account')).url.pathname).toMatch(/^\/interaction\//);
    expect(await app.alive(tokens.phone)).toEqual({ refresh: false, access: false });
    expect(await app.alive(tokens.here)).toEqual({ refresh: true, access: true });
    const { sub, sid } = tokens.phone.claims() as oidc.IDToken;
    await eventually(() => logoutFor(sub).length === 1, 'a logout token');
    expect(logoutFor(sub)[0]).toMatchObject({
      iss: server.issuer,
      aud: app.client.client_id,
      sub,
      sid,
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    });
  });

  it('all but this one can be ended', async () => {
    const { email, here, phone, tokens } = await twoBrowsers();
    const third = await signedIn(server, email);
    const ended = await here.submit(await here.go('/account/sessions'), {}, '/account/sessions/end-others');
    expect(ended.html).toContain(words('notices.othersEnded'));
    for (const browser of [phone, third])
      expect((await browser.go('/account')).url.pathname).toMatch(/^\/interaction\//);
    expect(await app.alive(tokens.phone)).toEqual({ refresh: false, access: false });
    expect(await app.alive(tokens.here)).toEqual({ refresh: true, access: true });
    await eventually(() => logoutFor(tokens.phone.claims()?.sub).length === 1, 'a logout token');
    expect(formFor(await here.go('/account/sessions'), '/account/sessions/end')).toHaveLength(0);
  });

  it('of another person cannot be ended', async () => {
    const { here, phone } = await twoBrowsers();
    const id = formFor(await here.go('/account/sessions'), '/account/sessions/end')[0]?.fields.id as string;
    const stranger = await signedIn(server, await registerAccount(server));
    await postForm(stranger, '/account/sessions/end', { id });
    await postForm(stranger, '/account/sessions/end-others', {});
    for (const browser of [here, phone]) expect((await browser.go('/account')).url.pathname).toBe('/account');
  });
});

describe('consent', () => {
  it('is listed, and taken back it ends tokens and must be asked again', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    const other = await relyingParty(server, { client_name: 'Other app' });
    const [tokens, others] = [await app.tokens(browser, email), await other.tokens(browser, email)];
    expect((await browser.go(await app.url())).url.origin).toBe('https://app.example.com');
    const page = await browser.go('/account/applications');
    const forms = formFor(page, '/account/applications/withdraw');
    expect(forms.map(({ fields }) => fields.id).sort()).toEqual([app.client.client_id, other.client.client_id].sort());
    const stranger = await signedIn(server, await registerAccount(server));
    expect((await postForm(stranger, '/account/applications/withdraw', { id: app.client.client_id })).status).toBe(404);
    expect(await app.alive(tokens)).toEqual({ refresh: true, access: true });

    const done = await postForm(browser, '/account/applications/withdraw', { id: app.client.client_id });
    expect(done.html).toContain(words('notices.consentWithdrawn'));
    expect(await app.alive(tokens)).toEqual({ refresh: false, access: false });
    expect(await other.alive(others)).toEqual({ refresh: true, access: true });
    expect((await browser.go(await app.url())).url.pathname).toMatch(/^\/interaction\//);
    const again = await postForm(browser, '/account/applications/withdraw', { id: app.client.client_id });
    expect([again.status, again.html.includes(words('problems.notFound'))]).toEqual([404, true]);
  });
});

it('a POST without a session leads to sign-in and changes nothing', async () => {
  for (const path of [
    '/account/profile',
    '/account/password',
    '/account/sessions/end',
    '/account/sessions/end-others',
    '/account/applications/withdraw',
  ]) {
    const page = await postForm(new Browser(server.issuer), path, { id: app.client.client_id, name: 'Eve' });
    expect([page.status, page.url.pathname.split('/')[1]]).toEqual([200, 'interaction']);
  }
});

describe('the set-up link', () => {
  const fields = { name: 'Root', password };

  it('creates the first administrator once, and is dead after that', async () => {
    const { db } = server.database;
    const token = (await createSetupToken(db)) as string;
    const browser = new Browser(server.issuer);
    const page = await browser.go(`/setup?token=${token}`);
    expect(page.status).toBe(200);
    const weak = await browser.submit(page, { ...fields, email: 'root@example.com', password: 'password1234' });
    expect([weak.status, weak.html.includes(words('problems.passwordCommon'))]).toEqual([400, true]);
    const taken = await registerAccount(server);
    const refused = await browser.submit(page, { ...fields, email: taken });
    expect(refused.status).toBe(409);
    expect(refused.html).toContain(words('layout.summary'));
    expect(await db('users').where({ email: 'root@example.com' })).toHaveLength(0);

    // Each has the form before either sends it: after that the link shows none.
    const others = [new Browser(server.issuer), new Browser(server.issuer)];
    const forms = await Promise.all(others.map((other) => other.go(`/setup?token=${token}`)));
    const answers = await Promise.all(
      others.map((other, at) => other.submit(forms[at] as Page, { ...fields, email: `${at}-${uuid()}@example.com` })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
    const holders = await db('users')
      .join('roles', 'roles.id', 'users.roleId')
      .where('roles.name', 'super_admin')
      .select('email', 'emailVerifiedAt');
    expect(holders).toHaveLength(1);
    const done = answers.find(({ status }) => status === 200) as Page;
    expect(done.html).toContain(words('notices.accountCreated'));
    await signedIn(server, holders[0]?.email as string);

    const dead = await browser.go(`/setup?token=${token}`);
    expect([dead.status, dead.html.includes(words('link-expired.setup'))]).toEqual([400, true]);
    expect((await browser.submit(page, { ...fields, email: `three-${uuid()}@example.com` })).status).toBe(400);
    expect(await createSetupToken(db)).toBeUndefined();
  });
});
