/** What an application asks of a sign-in, and what it is told of one: acr_values, the claims parameter, RFC 9470. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from '../support/browser.ts';
import { password } from '../support/browser.ts';
import {
  basic,
  elsewhere,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
} from '../support/relying-party.ts';
import { eventually, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const single = 'urn:countersign:acr:single-factor';
const multi = 'urn:countersign:acr:multi-factor';

let server: TestServer;
let rp: RelyingParty;
beforeAll(async () => {
  server = await startServer();
  rp = await registerRelyingParty(server, { first_party: true, scope: 'openid email users:read:own' });
});
afterAll(() => server.stop());

const codes = (email: string): string[] =>
  (server.app.mailbox?.messages() ?? [])
    .filter((mail) => mail.to === email && /sign-in code/.test(mail.subject))
    .map(({ text }) => /\b\d{6}\b/.exec(text)?.[0] as string);

/** Gives the password, and the code if one is asked for. */
const pass = async ({ browser, email }: Person, page: Page): Promise<Page & { asked: boolean }> => {
  const before = codes(email).length;
  const next = await browser.submit(page, { email, password });
  if (next.url.origin !== server.issuer) return { ...next, asked: false };
  await eventually(() => codes(email).length > before, 'a code');
  return { ...(await browser.submit(next, { code: codes(email)[0] as string })), asked: true };
};

/** Signs in from nothing, and tells whether a second factor was asked for, and what the id_token says. */
const enter = async (person: Person, parameters: Parameters) => {
  const attempt = await rp.begin(parameters);
  const { url: callback, asked } = await pass(person, await person.browser.go(attempt.url));
  const tokens = await rp.redeem({ attempt, callback });
  return { asked, tokens, claims: tokens.claims() };
};
const essential = (...values: string[]) => JSON.stringify({ id_token: { acr: { essential: true, values } } });

describe('acr_values', () => {
  it.each([
    ['nothing', undefined, false, single],
    ['a single factor', single, false, single],
    ['two factors', multi, true, multi],
    ['either, which one factor satisfies', `${multi} ${single}`, false, single],
    ['what nobody here knows', 'urn:example:gold', false, single],
  ])('that ask for %s', async (_, acr_values, asked, acr) => {
    const outcome = await enter(await newPerson(server), { acr_values });
    expect([outcome.asked, outcome.claims?.acr]).toEqual([asked, acr]);
    expect(outcome.claims?.amr).toEqual(asked ? ['pwd', 'otp', 'mfa'] : ['pwd']);
    expect(outcome.claims?.auth_time).toEqual(expect.closeTo(Date.now() / 1000, -1.5));
  });

  it('step a session up by what it lacks alone, and leave one alone that is strong enough', async () => {
    const person = await newPerson(server);
    const before = (await enter(person, {})).claims?.auth_time as number;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const up = await rp.begin({ acr_values: multi });
    const page = await person.browser.go(up.url);
    expect(page.url.pathname).toMatch(/^\/interaction\//);
    expect(page.html).toContain(words('second-factor.stepUp'));
    await eventually(() => codes(person.email).length > 0, 'a code');
    const { url: callback } = await person.browser.submit(page, { code: codes(person.email)[0] as string });
    const claims = (await rp.redeem({ attempt: up, callback })).claims();
    // The password is as old as it was, and so is the sign-in.
    expect(claims).toMatchObject({ acr: multi, amr: ['pwd', 'otp', 'mfa'], auth_time: before });
    const again = await rp.begin({ acr_values: multi });
    const { url } = await person.browser.go(again.url);
    expect((await rp.redeem({ attempt: again, callback: url })).claims()).toMatchObject({
      acr: multi,
      auth_time: claims?.auth_time,
    });
  });

  it('are not silently passed over with prompt=none', async () => {
    const person = await newPerson(server);
    await enter(person, {});
    const { url } = await person.browser.go((await rp.begin({ acr_values: multi, prompt: 'none' })).url);
    expect(url.searchParams.get('error')).toBe('login_required');
  });
});

describe('an essential acr claim', () => {
  it('is reached, or the request ends: not even the right password passes for it', async () => {
    expect((await enter(await newPerson(server), { claims: essential(multi) })).claims?.acr).toBe(multi);
    const { browser } = await newPerson(server);
    const { url } = await browser.go((await rp.begin({ claims: essential('urn:example:gold') })).url);
    expect([url.searchParams.get('error'), url.searchParams.has('code')]).toEqual([
      'unmet_authentication_requirements',
      false,
    ]);
  });

  it.each([
    ['values that are no list', { values: 'gold' }],
    ['values that are no strings', { values: [1] }],
    ['a value that is no string', { value: { a: 1 } }],
  ])('with %s is refused', async (_, acr) => {
    const { browser } = await newPerson(server);
    const claims = JSON.stringify({ id_token: { acr: { essential: true, ...acr } } });
    const { url } = await browser.go((await rp.begin({ claims })).url);
    expect(url.searchParams.get('error')).toBe('invalid_request');
  });
});

it.each([{ values: null }, { value: single, values: null }, { values: [] }, null])(
  'an acr claim of %j asks for no more than it names',
  async (acr) => {
    const { asked, claims } = await enter(await newPerson(server), { claims: JSON.stringify({ id_token: { acr } }) });
    expect([asked, claims?.acr]).toEqual([false, single]);
  },
);

describe('access tokens say how their person signed in (RFC 9068 section 2.2.1, RFC 9470 section 6)', () => {
  const expected = (claims: Record<string, unknown>) =>
    expect(claims).toMatchObject({ acr: multi, amr: ['pwd', 'otp', 'mfa'], auth_time: expect.any(Number) });

  it('as JWTs, refreshed ones too, and at introspection', async () => {
    const person = await newPerson(server);
    const { tokens } = await enter(person, {
      acr_values: multi,
      resource: `${server.issuer}/api`,
      scope: 'openid users:read:own',
    });
    expected(decodeJwt(tokens.access_token));
    const refreshed = await rp.refresh(tokens.refresh_token as string);
    expected(decodeJwt(refreshed.access_token));
    const { body } = await post(server, '/oauth/introspect', { token: refreshed.access_token }, basic(rp.client));
    expect(body.active).toBe(true);
    expected(body);
  });

  it('of REST', async () => {
    const { email } = await newPerson(server);
    const login = await fetch(`${server.issuer}/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password }),
    });
    const { accessToken } = (await login.json()) as { accessToken: string };
    expect(decodeJwt(accessToken)).toMatchObject({ acr: single, amr: ['pwd'], auth_time: expect.any(Number) });
  });
});

describe('max_age', () => {
  it('asks again when the sign-in is too old, and the id_token says when it was', async () => {
    const person = await newPerson(server);
    const first = await enter(person, {});
    await new Promise((resolve) => setTimeout(resolve, 2100));
    const again = await enter(person, { max_age: '1' });
    expect(Number(again.claims?.auth_time)).toBeGreaterThan(Number(first.claims?.auth_time));
    expect(elsewhere(person).email).toBe(person.email);
  });
});
