/** What the token endpoint refuses. Every answer is JSON, whatever the client would rather see. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  basic,
  elsewhere,
  expectError,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
  send,
  tampered,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let other: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer({ REFRESH_TOKEN_GRACE: '0' });
  const register = (metadata: Record<string, unknown> = {}) =>
    registerRelyingParty(server, { first_party: true, ...metadata });
  rp = await register({ scope: 'openid offline_access' });
  other = await register();
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

type Form = Record<string, string>;

/** A good request for a code of `rp`. */
const codeForm = async (party = rp): Promise<Form> => {
  const { attempt, callback } = await party.authorize(person);
  return {
    grant_type: 'authorization_code',
    code: callback.searchParams.get('code') as string,
    redirect_uri: redirectUri,
    code_verifier: attempt.verifier,
  };
};

/** As a browser's address bar would ask. */
const asBrowser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
const token = (form: Form | [string, string][] | string, headers: Record<string, string> = basic(rp.client)) =>
  post(server, '/oauth/token', form, { ...asBrowser, ...headers });

describe('a code is refused', () => {
  const refusals: { name: string; change: (form: Form) => Form; by?: () => RelyingParty; error?: string }[] = [
    {
      name: 'with a wrong verifier',
      change: (form) => ({ ...form, code_verifier: tampered(form.code_verifier ?? '') }),
    },
    { name: 'without its verifier', change: ({ code_verifier: _, ...form }) => form },
    {
      name: 'with a verifier that is too short',
      change: (form) => ({ ...form, code_verifier: 'short' }),
      error: 'invalid_request',
    },
    { name: 'with another redirect_uri', change: (form) => ({ ...form, redirect_uri: `${redirectUri}x` }) },
    { name: 'without its redirect_uri', change: ({ redirect_uri: _, ...form }) => form, error: 'invalid_request' },
    { name: 'with one character changed', change: (form) => ({ ...form, code: tampered(form.code ?? '') }) },
    { name: 'that is none', change: (form) => ({ ...form, code: 'x' }) },
    { name: 'that is a JWT', change: (form) => ({ ...form, code: 'eyJhbGciOiJub25lIn0.e30.' }) },
    { name: 'that is missing', change: ({ code: _, ...form }) => form, error: 'invalid_request' },
    { name: 'of another client', change: (form) => form, by: () => other },
  ];
  for (const { name, change, by = () => rp, error = 'invalid_grant' } of refusals) {
    it(name, async () => {
      expectError(await token(change(await codeForm()), basic(by().client)), [400, error]);
    });
  }

  it('of another client, and the client that it was made for is not harmed by the attempt', async () => {
    const form = await codeForm();
    expectError(await token(form, basic(other.client)), [400, 'invalid_grant']);
    expect((await token(form)).status).toBe(200);
  });

  it('the second time, and what the first time gave is dead (RFC 6749 section 4.1.2)', async () => {
    const form = await codeForm();
    const { body } = await token(form);
    expectError(await token(form), [400, 'invalid_grant']);
    expectError(await token({ grant_type: 'refresh_token', refresh_token: body.refresh_token }), [
      400,
      'invalid_grant',
    ]);
    const headers = { authorization: `Bearer ${body.access_token}` };
    expect((await send(`${server.issuer}/oauth/userinfo`, { headers })).status).toBe(401);
  });

  it('when it has expired', async () => {
    const form = await codeForm();
    const { db } = server.database;
    await db('oidcPayloads')
      .where({ model: 'AuthorizationCode' })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    expectError(await token(form), [400, 'invalid_grant']);
  });

  it('once the session that it is of has ended', async () => {
    const someone = elsewhere(person);
    const { attempt, callback } = await rp.authorize(someone);
    await someone.browser.submit(await someone.browser.go('/oauth/logout'), { logout: 'yes' });
    await expect(rp.redeem({ attempt, callback })).rejects.toMatchObject({ error: 'invalid_grant' });
  });
});

describe('a refresh token is refused', () => {
  const refresh = (refresh_token: string, by = rp) =>
    token({ grant_type: 'refresh_token', refresh_token }, basic(by.client));

  it('of another client, with one letter changed, or when it is something else', async () => {
    const { refresh_token, access_token, id_token } = await rp.signIn(person);
    expectError(await refresh(refresh_token, other), [400, 'invalid_grant']);
    for (const value of [tampered(refresh_token), access_token, id_token, 'x'])
      expectError(await refresh(value), [400, 'invalid_grant']);
    expect((await refresh(refresh_token)).status).toBe(200);
  });

  it('the second time, and its whole family is dead, also an access token (RFC 9700 section 4.14.2)', async () => {
    const first = await rp.signIn(person);
    const second = (await refresh(first.refresh_token)).body;
    const third = (await refresh(second.refresh_token)).body;
    expectError(await refresh(first.refresh_token), [400, 'invalid_grant']);
    for (const dead of [second.refresh_token, third.refresh_token])
      expectError(await refresh(dead), [400, 'invalid_grant']);
    const headers = { authorization: `Bearer ${third.access_token}` };
    expect((await send(`${server.issuer}/oauth/userinfo`, { headers })).status).toBe(401);
  });

  it('the second time, and the person’s other devices are not signed out', async () => {
    const here = await rp.signIn(person);
    const there = await rp.signIn(elsewhere(person));
    await refresh(here.refresh_token);
    expectError(await refresh(here.refresh_token), [400, 'invalid_grant']);
    expect((await refresh(there.refresh_token)).status).toBe(200);
  });

  it('when it has expired', async () => {
    const { refresh_token } = await rp.signIn(person);
    const { db } = server.database;
    await db('refreshTokens').update({ expiresAt: new Date(Date.now() - 1000) });
    expectError(await refresh(refresh_token), [400, 'invalid_grant']);
  });
});

describe('a request is refused', () => {
  const encoded = (headers: Record<string, string>) => ({ ...basic(rp.client), ...headers });
  it('with a grant_type that is unknown, missing or not the client’s', async () => {
    expectError(await token({ grant_type: 'nonsense' }), [400, 'unsupported_grant_type']);
    expectError(await token({ grant_type: 'implicit' }), [400, 'unsupported_grant_type']);
    expectError(await token({ grant_type: 'password', username: 'a', password: 'b' }), [400, 'invalid_request']);
    expectError(await token({}), [400, 'invalid_request']);
    expectError(await token({ grant_type: 'client_credentials' }), [400, 'invalid_request']);
  });

  it('with a parameter given twice', async () => {
    const form = Object.entries(await codeForm());
    for (const name of ['grant_type', 'code', 'redirect_uri', 'code_verifier'])
      expectError(await token([...form, [name, 'x']]), [400, 'invalid_request']);
  });

  it('with a body that is too large, of another type, or malformed', async () => {
    expectError(await token(`grant_type=${'x'.repeat(60_000)}`), [413, 'invalid_request']);
    expectError(await token('{"grant_type":"refresh_token"}', encoded({ 'content-type': 'application/json' })), [
      400,
      'invalid_request',
    ]);
    expectError(await token('x', encoded({ 'content-type': 'multipart/form-data; boundary=y' })), [
      400,
      'invalid_request',
    ]);
    for (const body of [
      '',
      '&&&',
      '=',
      '%',
      '%zz=%zz',
      'grant_type',
      'grant_type[]=refresh_token',
      '\0',
      'grant_type=%00',
    ])
      expectError(await token(body), [400, 'invalid_request']);
  });

  it('with another method', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const url = `${server.issuer}/oauth/token?${new URLSearchParams(await codeForm())}`;
      const { status, headers, body } = await send(url, { method, headers: { ...asBrowser, ...basic(rp.client) } });
      expect([status, headers.get('allow'), body.error]).toEqual([405, 'POST, OPTIONS', 'invalid_request']);
    }
  });

  it('with its parameters in the query (RFC 6749 section 3.2)', async () => {
    const form = await codeForm();
    expectError(await post(server, `/oauth/token?${new URLSearchParams(form)}`, {}, basic(rp.client)), [
      400,
      'invalid_request',
    ]);
    expect((await token(form)).status).toBe(200);
  });
});
