/** Userinfo (OpenID Connect Core section 5.3) and the standard scopes with real values behind them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bearer,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  type Reply,
  registerRelyingParty,
  send,
  tampered,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

/** Typed into the profile page. */
const profile = {
  name: 'Augusta Ada King',
  given_name: 'Augusta Ada',
  family_name: 'King',
  middle_name: 'Byron',
  nickname: 'Ada',
  preferred_username: 'ada.king',
  profile: 'https://example.com/ada',
  picture: 'https://example.com/ada.png',
  website: 'https://ada.example.com/',
  gender: 'female',
  birthdate: '1815-12-10',
  zoneinfo: 'Europe/London',
  locale: 'en-GB',
};
const address = {
  street_address: "12 St James's Square",
  locality: 'London',
  region: 'Greater London',
  postal_code: 'SW1Y 4JH',
  country: 'United Kingdom',
};
const formatted = "12 St James's Square\nSW1Y 4JH London\nGreater London\nUnited Kingdom";

let server: TestServer;
let rp: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  rp = await registerRelyingParty(server, { first_party: true });
  person = await newPerson(server);
  await rp.signIn(person);
  const page = await person.browser.go('/account/profile');
  const saved = await person.browser.submit(
    page,
    { ...profile, ...address, phone_number: '+44 20 7946 0018' },
    '/account/profile',
  );
  expect(saved.url.search).toBe('?notice=profileSaved');
});
afterAll(() => server.stop());

const url = () => `${server.issuer}/oauth/userinfo`;
const get = (headers: Record<string, string>): Promise<Reply> => send(url(), { headers });
const claims = async (scope: string) => (await get(bearer((await rp.signIn(person, { scope })).access_token))).body;

describe('each scope gives its claims (OpenID Connect Core section 5.4)', () => {
  const email = () => ({ email: person.email, email_verified: true });
  const scopes: [scope: string, expected: () => Record<string, unknown>][] = [
    ['openid', () => ({})],
    ['openid profile', () => ({ ...profile, updated_at: expect.any(Number) })],
    ['openid email', email],
    ['openid phone', () => ({ phone_number: '+442079460018', phone_number_verified: false })],
    ['openid address', () => ({ address: { ...address, formatted } })],
    ['openid email phone', () => ({ ...email(), phone_number: '+442079460018', phone_number_verified: false })],
  ];
  for (const [scope, expected] of scopes) {
    it(scope, async () => {
      expect(await claims(scope)).toEqual({ sub: expect.stringMatching(/^[0-9a-f-]{36}$/), ...expected() });
    });
  }

  it('leaves out what is not known, rather than saying null or nothing', async () => {
    const newcomer = await newPerson(server);
    const { access_token } = await rp.signIn(newcomer, { scope: 'openid profile email phone address' });
    const { body } = await get(bearer(access_token));
    expect(Object.keys(body).sort()).toEqual(
      ['email', 'email_verified', 'name', 'sub', 'updated_at', ...(body.locale ? ['locale'] : [])].sort(),
    );
  });

  it('says what is true now, not what was when the token was made', async () => {
    const { access_token } = await rp.signIn(person, { scope: 'openid profile' });
    const { db } = server.database;
    await db('users').where({ email: person.email }).update({ name: 'Countess of Lovelace' });
    expect((await get(bearer(access_token))).body.name).toBe('Countess of Lovelace');
  });
});

describe('userinfo', () => {
  it('takes the token in the header, by GET and POST, or in a posted form (RFC 6750)', async () => {
    const tokens = await rp.signIn(person, { scope: 'openid email' });
    const { access_token } = tokens;
    const replies = [
      await get(bearer(access_token)),
      await send(url(), { method: 'POST', headers: bearer(access_token) }),
      await post(server, '/oauth/userinfo', { access_token }),
    ];
    for (const { status, headers, body } of replies) {
      expect(status).toBe(200);
      expect(body).toEqual({ sub: tokens.claims()?.sub, email: person.email, email_verified: true });
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(headers.get('cache-control')).toMatch(/no-store/);
    }
  });

  it('does not take it in the query, where it would end in logs', async () => {
    const { access_token } = await rp.signIn(person);
    expect((await send(`${url()}?access_token=${access_token}`)).status).toBeGreaterThanOrEqual(400);
  });

  it('is for scripts of the public client’s origin alone', async () => {
    const spa = await registerRelyingParty(server, { token_endpoint_auth_method: 'none', first_party: true });
    const { access_token } = await spa.signIn(person);
    const origin = 'https://app.example.com';
    const allowed = await get({ ...bearer(access_token), origin });
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([200, origin]);
    for (const [token, from] of [
      [access_token, 'https://evil.example'],
      [(await rp.signIn(person)).access_token, origin],
    ] as const) {
      const refused = await get({ ...bearer(token), origin: from });
      expect(refused.status).toBe(400);
      expect(refused.headers.get('access-control-allow-origin')).toBeNull();
      expect(JSON.stringify(refused.body)).not.toContain(person.email);
    }
  });
});

describe('userinfo refuses, in JSON and with a challenge (RFC 6750 section 3)', () => {
  const html = { accept: 'text/html' };
  const refusals: { name: string; init: (token: string) => RequestInit; expected: [number, string] }[] = [
    {
      name: 'a token with one character changed',
      init: (token) => ({ headers: bearer(tampered(token)) }),
      expected: [401, 'invalid_token'],
    },
    { name: 'a token that is none', init: () => ({ headers: bearer('x') }), expected: [401, 'invalid_token'] },
    {
      name: 'a token that looks like a JWT',
      init: () => ({ headers: bearer('e30.e30.x') }),
      expected: [401, 'invalid_token'],
    },
    { name: 'no token', init: () => ({}), expected: [401, 'invalid_token'] },
    {
      name: 'an empty token',
      init: () => ({ headers: { authorization: 'Bearer ' } }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'another scheme',
      init: (token) => ({ headers: { authorization: `Basic ${token}` } }),
      expected: [400, 'invalid_request'],
    },
    { name: 'two words', init: (token) => ({ headers: bearer(`${token} x`) }), expected: [400, 'invalid_request'] },
    {
      name: 'the token in two places',
      init: (token) => ({ method: 'POST', headers: bearer(token), body: new URLSearchParams({ access_token: token }) }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'a form that is too large',
      init: () => ({ method: 'POST', body: new URLSearchParams({ access_token: 'x'.repeat(60_000) }) }),
      expected: [413, 'invalid_request'],
    },
    {
      name: 'NUL in a posted token',
      init: () => ({ method: 'POST', body: new URLSearchParams({ access_token: '\0' }) }),
      expected: [400, 'invalid_request'],
    },
  ];
  for (const { name, init, expected } of refusals) {
    it(name, async () => {
      const { access_token } = await rp.signIn(person);
      const given = init(access_token);
      const reply = await send(url(), { ...given, headers: { ...html, ...(given.headers as Record<string, string>) } });
      expect([reply.status, reply.body.error]).toEqual(expected);
      expect(reply.headers.get('content-type')).toMatch(/^application\/json/);
      // Whoever gave no token is only told that one is needed (section 3.1).
      const challenge =
        name === 'no token'
          ? /^Bearer realm="[^"]+", DPoP realm="[^"]+", algs="[^"]+"$/
          : /^Bearer .*error="invalid_token"/;
      if (reply.status === 401) expect(reply.headers.get('www-authenticate')).toMatch(challenge);
    });
  }

  it('an id_token, a refresh token, and a token that does not have openid', async () => {
    const api = await registerRelyingParty(server, { first_party: true, scope: 'openid api:read' });
    const { id_token, refresh_token } = await api.signIn(person);
    const { access_token } = await api.signIn(person, { scope: 'api:read', nonce: undefined });
    for (const token of [id_token, refresh_token, access_token]) expect((await get(bearer(token))).status).toBe(401);
  });

  it('a token that has expired', async () => {
    const { access_token } = await rp.signIn(person);
    const { db } = server.database;
    await db('oidcPayloads')
      .where({ model: 'AccessToken' })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    expect((await get(bearer(access_token))).status).toBe(401);
  });

  it('other methods', async () => {
    for (const method of ['PUT', 'DELETE', 'PATCH']) expect((await send(url(), { method })).status).toBe(404);
  });
});

describe('x-fapi-interaction-id (FAPI 1.0 Baseline section 6.2.1)', () => {
  const idOf = async (headers: Record<string, string>) => (await get(headers)).headers.get('x-fapi-interaction-id');
  it('is repeated when it is a UUID, and else made here, on refusals too', async () => {
    const id = 'c770aef3-6784-41f7-8e0e-ff5f97bddb3a';
    expect(await idOf({ 'x-fapi-interaction-id': id })).toBe(id);
    for (const headers of [{}, { 'x-fapi-interaction-id': 'nothing of the kind' }] as Record<string, string>[])
      expect(await idOf(headers)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});
