/** The device flow (RFC 8628): a device without a keyboard, a person on their phone, and whoever tries to come between. */
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Browser, formsOf, type Page, password } from '../support/browser.ts';
import {
  basic,
  bearer,
  elsewhere,
  expectError,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

let server: TestServer;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  person = await newPerson(server);
});
afterAll(() => server.stop());

/** An application on a television: public, without any redirect URI. */
const television = (metadata: Record<string, unknown> = {}, on = server): Promise<RelyingParty> =>
  registerRelyingParty(on, {
    client_name: 'Living Room TV',
    redirect_uris: undefined,
    post_logout_redirect_uris: undefined,
    token_endpoint_auth_method: 'none',
    grant_types: [deviceGrant, 'refresh_token'],
    ...metadata,
  });

const ask = ({ config }: RelyingParty, parameters: Record<string, string> = {}) =>
  oidc.initiateDeviceAuthorization(config, { scope: 'openid email', ...parameters });

const poll = ({ client: { client_id } }: RelyingParty, device_code: string, more: Record<string, string> = {}) =>
  post(server, '/oauth/token', { grant_type: deviceGrant, client_id, device_code, ...more });

/** Types the code and sees what is asked. */
const type = async (browser: Browser, user_code: string): Promise<Page> =>
  browser.submit(await browser.go('/device'), { user_code });

const button = (page: Page, name: 'confirm' | 'abort') => formsOf(page.html).find(({ fields }) => name in fields);
const press = (browser: Browser, page: Page, name: 'confirm' | 'abort'): Promise<Page> =>
  browser.go('/device', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin: browser.issuer },
    body: new URLSearchParams(button(page, name)?.fields),
  });

/** Signs in and consents as far as one is asked to. */
const goOn = async ({ browser, email }: Person, first: Page): Promise<Page> => {
  let page = first;
  for (let step = 0; step < 5 && page.url.pathname.startsWith('/interaction/') && page.status === 200; step++)
    page = page.html.includes('current-password')
      ? await browser.submit(page, { email, password })
      : await browser.submit(page);
  return page;
};

const connect = async (who: Person, userCode: string): Promise<Page> =>
  goOn(who, await press(who.browser, await type(who.browser, userCode), 'confirm'));

/** As if the last poll had been that long ago. */
const wait = (seconds: number) =>
  server.database.db.raw(`update oidc_payloads set polled_at = polled_at - ? * interval '1 second'`, [seconds]);

const actionsOf = async (clientId: string, on = server): Promise<string[]> =>
  on.database
    .db('auditLogs')
    .where({ targetId: clientId, targetType: 'client' })
    .orderBy('id')
    .pluck('action')
    .then((actions: string[]) => actions.filter((action) => action.startsWith('device.')));

describe('a device and a phone', () => {
  it('meet by a code: openid-client on the one, a browser on the other', async () => {
    const tv = await television();
    const answer = await ask(tv);
    expect(answer).toMatchObject({
      user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verification_uri: `${server.issuer}/device`,
      verification_uri_complete: `${server.issuer}/device?user_code=${answer.user_code}`,
      expires_in: 600,
      interval: 5,
    });
    const phone = elsewhere(person);
    const done = await connect(phone, answer.user_code);
    expect([done.status, done.url.pathname]).toEqual([200, '/device/connected']);
    expect(done.html).toContain('Living Room TV');

    const tokens = await oidc.pollDeviceAuthorizationGrant(tv.config, { ...answer, interval: 1 });
    const claims = tokens.claims();
    const userinfo = await oidc.fetchUserInfo(tv.config, tokens.access_token, claims?.sub ?? '');
    expect(userinfo).toMatchObject({ sub: claims?.sub, email: phone.email });
    expect(claims).toMatchObject({ amr: ['pwd'], auth_time: expect.any(Number), aud: tv.client.client_id });
    const refreshed = await oidc.refreshTokenGrant(tv.config, tokens.refresh_token as string);
    expect(refreshed.access_token).toBeTruthy();
    expectError(await poll(tv, answer.device_code), [400, 'invalid_grant']);
    await eventually(async () => (await actionsOf(tv.client.client_id)).length === 2, 'both events');
    expect((await actionsOf(tv.client.client_id)).sort()).toEqual(['device.approve', 'device.authorize']);
  });

  it('the complete address leads to the same question, with the name of the application and the code', async () => {
    const tv = await television();
    const { user_code, verification_uri_complete = '' } = await ask(tv);
    const { browser } = elsewhere(person);
    const hop = await browser.go(verification_uri_complete);
    expect(formsOf(hop.html)[0]?.fields).toMatchObject({ user_code });
    const page = await browser.submit(hop);
    expect(page.html).toContain('Living Room TV');
    expect(page.html).toContain(user_code);
    expect(button(page, 'confirm')).toBeDefined();
    expect(button(page, 'abort')).toBeDefined();
  });

  it('the question says where the device is and what it calls itself, and nothing is connected by looking', async () => {
    const tv = await television();
    const { body } = await post(
      server,
      '/oauth/device',
      { client_id: tv.client.client_id, scope: 'openid' },
      { 'user-agent': 'Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/120.0 Safari/537.36' },
    );
    const page = await type(elsewhere(person).browser, body.user_code);
    expect(page.html).toContain('127.0.0.1');
    expect(page.html).toContain('WebOS');
    expectError(await poll(tv, body.device_code), [400, 'authorization_pending']);
  });

  for (const [how, spell] of [
    ['in small letters', (code: string) => code.toLowerCase()],
    ['without the dash', (code: string) => code.replace('-', '')],
    ['with spaces', (code: string) => ` ${code.replace('-', ' ').split('').join(' ')} `],
  ] as const)
    it(`the code is taken ${how}`, async () => {
      const tv = await television();
      const { user_code } = await ask(tv);
      const page = await type(elsewhere(person).browser, spell(user_code));
      expect([page.status, page.html.includes(user_code)]).toEqual([200, true]);
    });

  it('who is signed in already is told as whom, and consents; the operator’s own asks no consent', async () => {
    const someone = await newPerson(server);
    await someone.browser.submit(await someone.browser.go('/account'), { email: someone.email, password });
    const own = await television({ first_party: true });
    const asked = await ask(own);
    const page = await type(someone.browser, asked.user_code);
    expect(page.html).toContain(someone.email);
    expect((await press(someone.browser, page, 'confirm')).url.pathname).toBe('/device/connected');
    const other = await ask(await television());
    const consent = await press(someone.browser, await type(someone.browser, other.user_code), 'confirm');
    expect(consent.html).toContain('asks for access to your account');
    expect(consent.html).not.toContain('/switch');
  });

  it('a token for the API is a JWT that speaks for the person', async () => {
    const tv = await television({ scope: 'openid users:read:own', first_party: true });
    const answer = await ask(tv, { scope: 'openid users:read:own', resource: `${server.issuer}/api` });
    await connect(elsewhere(person), answer.user_code);
    const { body } = await poll(tv, answer.device_code);
    expect(decodeJwt(body.access_token)).toMatchObject({ scope: 'users:read:own', client_id: tv.client.client_id });
    const me = await send(`${server.issuer}/auth/me`, { headers: bearer(body.access_token) });
    expect([me.status, me.body.email]).toEqual([200, person.email]);
  });
});

describe('saying no', () => {
  const refusals: [string, (who: Person, userCode: string) => Promise<Page>][] = [
    ['at the question', async ({ browser }, code) => press(browser, await type(browser, code), 'abort')],
    [
      'at the sign-in',
      async ({ browser }, code) =>
        browser.submit(await press(browser, await type(browser, code), 'confirm'), {}, '/abort'),
    ],
    [
      'at the consent',
      async (who, code) => {
        const signIn = await press(who.browser, await type(who.browser, code), 'confirm');
        const consent = await who.browser.submit(signIn, { email: who.email, password });
        return who.browser.submit(consent, {}, '/abort');
      },
    ],
  ];
  for (const [where, refuse] of refusals)
    it(`${where} is access_denied for the device`, async () => {
      const tv = await television();
      const { user_code, device_code } = await ask(tv);
      const page = await refuse(elsewhere(person), user_code);
      expect([page.status, page.url.pathname]).toEqual([200, '/device/refused']);
      expectError(await poll(tv, device_code), [400, 'access_denied']);
      expect(await actionsOf(tv.client.client_id)).toContain('device.refuse');
    });
});

describe('polling', () => {
  it('too fast is slow_down, and each time the interval grows by 5 seconds (section 3.5)', async () => {
    const tv = await television();
    const { device_code } = await ask(tv);
    const answers: string[] = [];
    const step = async () => answers.push((await poll(tv, device_code)).body.error);
    await step();
    await step(); // at once: the interval is 10 from now on
    await wait(6);
    await step(); // 15
    await wait(12);
    await step(); // 20
    await wait(21);
    await step();
    expect(answers).toEqual(['authorization_pending', 'slow_down', 'slow_down', 'slow_down', 'authorization_pending']);
  });

  it('at the same time: one is told that it is pending, the others to slow down', async () => {
    const tv = await television();
    const { device_code } = await ask(tv);
    const answers = await Promise.all(Array.from({ length: 4 }, () => poll(tv, device_code)));
    expect(answers.map(({ body }) => body.error).sort()).toEqual([
      'authorization_pending',
      ...Array(3).fill('slow_down'),
    ]);
  });

  it('of one device does not slow another one down, nor does another client', async () => {
    const [tv, other] = [await television(), await television()];
    const [first, second] = [await ask(tv), await ask(tv)];
    expectError(await poll(other, first.device_code), [400, 'invalid_grant']);
    expectError(await poll(tv, first.device_code), [400, 'authorization_pending']);
    expectError(await poll(tv, second.device_code), [400, 'authorization_pending']);
  });

  it('once it is decided gives the tokens, however soon', async () => {
    const tv = await television();
    const { device_code, user_code } = await ask(tv);
    await poll(tv, device_code);
    await connect(elsewhere(person), user_code);
    expect((await poll(tv, device_code)).status).toBe(200);
  });

  it('at the same time gives tokens once', async () => {
    const tv = await television();
    const { device_code, user_code } = await ask(tv);
    await connect(elsewhere(person), user_code);
    const answers = await Promise.all(Array.from({ length: 4 }, () => poll(tv, device_code)));
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
    for (const answer of answers.filter(({ status }) => status !== 200)) expectError(answer, [400, 'invalid_grant']);
  });

  it('leaves no trace in the audit log, and is not counted as a failure', async () => {
    const tv = await television();
    const { device_code } = await ask(tv);
    for (let count = 0; count < 3; count++) await poll(tv, device_code);
    const refused = await server.database
      .db('auditLogs')
      .where({ action: 'token.refuse', targetId: tv.client.client_id });
    expect(refused).toEqual([]);
  });

  it('for one that has expired is expired_token', async () => {
    const tv = await television();
    const { device_code, user_code } = await ask(tv);
    await expire(user_code, device_code);
    expectError(await poll(tv, device_code), [400, 'expired_token']);
  });
});

/** As if the code had been given out long ago: the expiry is in its sealed payload. */
const expire = async (_userCode: string, deviceCode: string): Promise<void> => {
  const { DeviceCode } = server.app.provider.provider();
  const code = (await DeviceCode.find(deviceCode)) as unknown as {
    exp: number;
    inFlight: boolean;
    save(): Promise<string>;
  };
  Object.assign(code, { exp: Math.floor(Date.now() / 1000) - 1, inFlight: true });
  await code.save();
};

describe('a user code', () => {
  const notOurs = (page: Page) => {
    expect(page.status).toBe(400);
    expect(page.html).not.toContain('Living Room TV');
    return page.html.replace(/value="[^"]*"|<footer[\s\S]*/g, '');
  };

  it('that is unknown, expired, used or being used looks the same', async () => {
    const tv = await television();
    const [used, refused, expired, begun] = [await ask(tv), await ask(tv), await ask(tv), await ask(tv)];
    await connect(elsewhere(person), used.user_code);
    const other = elsewhere(person);
    await press(other.browser, await type(other.browser, refused.user_code), 'abort');
    await press(other.browser, await type(other.browser, begun.user_code), 'confirm');
    await expire(expired.user_code, expired.device_code);
    const { browser } = elsewhere(person);
    const pages = [];
    for (const code of ['BCDF-GHJK', used.user_code, refused.user_code, expired.user_code, begun.user_code])
      pages.push(notOurs(await type(browser, code)));
    expect(new Set(pages).size).toBe(1);
  });

  for (const [what, code] of [
    ['nothing', ''],
    ['something else', '<script>alert(1)</script>'],
    ['a very long text', 'B'.repeat(5000)],
    ['letters that are not in it', 'AEIO-UAEI'],
  ] as const)
    it(`that is ${what} is refused, and shown as text at most`, async () => {
      const page = await type(elsewhere(person).browser, code);
      expect(page.status).toBe(400);
      expect(page.html).not.toContain('<script>alert');
      expect(page.html.length).toBeLessThan(20_000);
    });

  it('is stored in no form that could be typed', async () => {
    const { user_code, device_code } = await ask(await television());
    const { rows } = (await server.database.db.raw('select row_to_json(p)::text as row from oidc_payloads p')) as {
      rows: { row: string }[];
    };
    const dump = rows.map(({ row }) => row).join('\n');
    for (const needle of [user_code, user_code.replace('-', ''), device_code]) expect(dump).not.toContain(needle);
  });

  it('is approved by one of two people who confirm at the same time', async () => {
    const tv = await television({ first_party: true });
    const { user_code, device_code } = await ask(tv);
    const people = [elsewhere(person), await newPerson(server)];
    for (const { browser, email } of people) await browser.submit(await browser.go('/account'), { email, password });
    const pages: Page[] = [];
    for (const { browser } of people) pages.push(await type(browser, user_code));
    const ends = await Promise.all(people.map(({ browser }, index) => press(browser, pages[index] as Page, 'confirm')));
    expect(ends.map(({ url }) => url.pathname).sort()).toEqual(['/device', '/device/connected']);
    const winner = people[ends.findIndex(({ url }) => url.pathname === '/device/connected')];
    const { body } = await poll(tv, device_code);
    const userinfo = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(body.access_token) });
    expect(userinfo.body.email).toBe(winner?.email);
  });

  it('is not approved when the approval cannot be written down', async () => {
    const tv = await television({ first_party: true });
    const { user_code, device_code } = await ask(tv);
    const { db } = server.database;
    const who = elsewhere(person);
    await who.browser.submit(await who.browser.go('/account'), { email: who.email, password });
    const page = await type(who.browser, user_code);
    await db.raw(`alter table audit_logs add constraint broken check (action <> 'device.approve') not valid`);
    const end = await press(who.browser, page, 'confirm').finally(() =>
      db.raw('alter table audit_logs drop constraint broken'),
    );
    expect(end.url.pathname).toBe('/device');
    expect((await poll(tv, device_code)).body.error).not.toBe(undefined);
    expect((await poll(tv, device_code)).body.access_token).toBe(undefined);
  });

  it('is not approved from another site’s form, nor without the page that asked', async () => {
    const { user_code, device_code } = await ask(await television());
    const { browser } = elsewhere(person);
    const forged = await browser.go('/device', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://evil.example' },
      body: new URLSearchParams({ user_code, confirm: 'yes', xsrf: 'guess' }),
    });
    expect(forged.status).toBe(400);
    const { rows } = (await server.database.db.raw(
      'select stage from oidc_payloads where model = ? order by created_at desc',
      ['DeviceCode'],
    )) as { rows: { stage: number }[] };
    expect([rows[0]?.stage, device_code.length > 20]).toEqual([0, true]);
  });
});

describe('what a device was given', () => {
  const given = async (who: Person, scope: string) => {
    const tv = await television({ first_party: true, scope: 'openid offline_access users:read:own' });
    const answer = await ask(tv, { scope, resource: `${server.issuer}/api` });
    await connect(who, answer.user_code);
    const { body } = await poll(tv, answer.device_code);
    const works = async () => (await send(`${server.issuer}/auth/me`, { headers: bearer(body.access_token) })).status;
    const refresh = async () =>
      (
        await post(server, '/oauth/token', {
          grant_type: 'refresh_token',
          client_id: tv.client.client_id,
          refresh_token: body.refresh_token,
        })
      ).status;
    expect(await works()).toBe(200);
    return { works, refresh };
  };
  const signOut = async ({ browser }: Person) =>
    browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' }, '/confirm');

  it('ends with the browser’s session', async () => {
    const who = elsewhere(person);
    const { works, refresh } = await given(who, 'openid users:read:own');
    await signOut(who);
    expect([await works(), await refresh()]).toEqual([401, 400]);
  });

  it('lives on with offline_access when the browser signs out, until the session is ended from the account page', async () => {
    const [who, other] = [elsewhere(person), elsewhere(person)];
    const { works, refresh } = await given(who, 'openid offline_access users:read:own');
    await signOut(who);
    expect(await works()).toBe(200);
    await other.browser.submit(await other.browser.go('/account'), { email: other.email, password });
    await other.browser.go('/account/sessions/end-others', { method: 'POST', headers: { origin: server.issuer } });
    expect([await works(), await refresh()]).toEqual([401, 400]);
  });

  it('is dead once the account is deactivated, and so is a code that was approved before', async () => {
    const who = await newPerson(server);
    const { works, refresh } = await given(who, 'openid offline_access users:read:own');
    const tv = await television({ first_party: true });
    const answer = await ask(tv);
    await connect(who, answer.user_code);
    await server.database.db('users').where({ email: who.email }).update({ status: 'deactivated' });
    expect([await works(), await refresh()]).toEqual([401, 400]);
    expectError(await poll(tv, answer.device_code), [400, 'invalid_grant']);
  });
});

describe('the device authorization endpoint', () => {
  const refused: {
    name: string;
    form: Record<string, string>;
    headers?: Record<string, string>;
    expected: [number, string];
  }[] = [
    { name: 'no client', form: { scope: 'openid' }, expected: [400, 'invalid_request'] },
    { name: 'an unknown client', form: { client_id: 'nobody', scope: 'openid' }, expected: [401, 'invalid_client'] },
    { name: 'a scope that is not the client’s', form: { scope: 'openid phone' }, expected: [400, 'invalid_scope'] },
    {
      name: 'an unknown resource',
      form: { scope: 'openid', resource: 'https://x.example/#part' },
      expected: [400, 'invalid_target'],
    },
    { name: 'a NUL', form: { scope: 'openid', nonce: '\0' }, expected: [400, 'invalid_request'] },
  ];
  for (const { name, form, expected } of refused)
    it(`refuses ${name}`, async () => {
      const { client } = await television({ scope: 'openid email' });
      const anonymous = ['no client', 'an unknown client'].includes(name);
      const all: Record<string, string> = { ...(anonymous ? {} : { client_id: client.client_id }), ...form };
      expectError(await post(server, '/oauth/device', all), expected);
    });

  it('refuses a client that is not registered for it, and one that does not prove itself', async () => {
    const { client } = await registerRelyingParty(server);
    expectError(await post(server, '/oauth/device', { scope: 'openid' }, basic(client)), [400, 'invalid_request']);
    const secret = await television({ token_endpoint_auth_method: 'client_secret_basic' });
    const form = { client_id: secret.client.client_id, scope: 'openid' };
    expectError(await post(server, '/oauth/device', form), [401, 'invalid_client']);
    const { client_id } = secret.client;
    expectError(await post(server, '/oauth/device', form, basic({ client_id, client_secret: 'wrong' })), [
      401,
      'invalid_client',
    ]);
  });

  it('is advertised, and only POST is taken', async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body.device_authorization_endpoint).toBe(`${server.issuer}/oauth/device`);
    expect(body.grant_types_supported).toContain(deviceGrant);
    expect((await send(`${server.issuer}/oauth/device`)).status).toBe(405);
  });
});

describe('guessing', () => {
  let limited: TestServer;
  beforeAll(async () => {
    limited = await startServer({ RATE_LIMIT_FACTOR: '1', TRUST_PROXY: '1' });
  });
  afterAll(() => limited.stop());
  const from = (browser: Browser, address: string) => {
    browser.headers['x-forwarded-for'] = address;
    return browser;
  };
  const guess = (count: number) => `BBBB-${'BCDFGHJKLMNPQRSTVWXZ'[count % 20]}BBB`;

  it('ends for an address after 20 wrong codes, right ones are not counted, and elsewhere goes on', async () => {
    const who = await newPerson(limited);
    const tv = await television({}, limited);
    from(who.browser, '198.51.100.1');
    const right = (await ask(tv)).user_code;
    for (let count = 0; count < 25; count++) expect((await type(who.browser, right)).status).toBe(200);
    const statuses = [];
    for (let count = 0; count < 21; count++) statuses.push((await type(who.browser, guess(count))).status);
    expect(statuses).toEqual([...Array(20).fill(400), 429]);
    const refused = await type(who.browser, right);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, expect.stringMatching(/^\d+$/)]);
    expect((await type(from(elsewhere(who).browser, '198.51.100.2'), right)).status).toBe(200);
  });

  it('ends for an account after 20 wrong codes, from wherever', async () => {
    const who = await newPerson(limited);
    from(who.browser, '198.51.100.10');
    await who.browser.submit(await who.browser.go('/account'), { email: who.email, password });
    const statuses = [];
    for (let count = 0; count < 21; count++)
      statuses.push((await type(from(who.browser, `198.51.100.${20 + count}`), guess(count))).status);
    expect(statuses).toEqual([...Array(20).fill(400), 429]);
  });

  it('device codes can be asked for 60 times in a minute by one address', async () => {
    const tv = await television({}, limited);
    const form = { client_id: tv.client.client_id, scope: 'openid' };
    const headers = { 'x-forwarded-for': '198.51.100.99' };
    const answers = [];
    for (let count = 0; count < 61; count++) answers.push(await post(limited, '/oauth/device', form, headers));
    expect(answers.filter(({ status }) => status === 200).length).toBe(60);
    expectError(answers.at(-1) as (typeof answers)[number], [429, 'temporarily_unavailable']);
  });
});
