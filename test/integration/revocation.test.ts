/** Revocation (RFC 7009): one access token alone, or a refresh token and all that came of it. */
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  tampered,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let other: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  const grant_types = ['authorization_code', 'refresh_token', 'client_credentials'];
  rp = await registerRelyingParty(server, { scope: 'openid email api:read', grant_types, first_party: true });
  other = await registerRelyingParty(server, { first_party: true });
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

const isActive = async (token: string) =>
  (await post(server, '/oauth/introspect', { token }, basic(other.client))).body.active;
const revoke = (
  form: Record<string, string> | [string, string][] | string,
  headers: Record<string, string> = basic(rp.client),
) => post(server, '/oauth/revoke', form, { accept: 'text/html', ...headers });
const resource = () => ({ scope: 'openid api:read', resource: `${server.issuer}/api` });

describe('revocation', () => {
  for (const hint of [undefined, 'access_token', 'refresh_token', 'nonsense']) {
    it(`ends a JWT and nothing else, with the hint ${hint}`, async () => {
      const [first, bystander] = [await rp.signIn(person, resource()), await rp.signIn(person, resource())];
      const second = await rp.refresh(first.refresh_token);
      const reply = await revoke({ token: first.access_token, ...(hint ? { token_type_hint: hint } : {}) });
      // An empty answer is of no type: oidc-client-ts takes any other than JSON for a failure.
      expect([reply.status, reply.body, reply.headers.get('content-type')]).toEqual([200, '', null]);
      expect(await isActive(first.access_token)).toBe(false);
      for (const token of [second.access_token, second.refresh_token as string, bystander.access_token])
        expect(await isActive(token)).toBe(true);
    });
  }

  it('ends an opaque access token and nothing else', async () => {
    const { access_token, refresh_token } = await rp.signIn(person, { scope: 'openid email' });
    expect((await revoke({ token: access_token })).status).toBe(200);
    expect((await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) })).status).toBe(401);
    expect((await rp.refresh(refresh_token)).access_token).toBeTruthy();
  });

  it('ends a token of the client itself', async () => {
    const { access_token } = await oidc.clientCredentialsGrant(rp.config);
    const { access_token: next } = await oidc.clientCredentialsGrant(rp.config);
    await oidc.tokenRevocation(rp.config, access_token);
    expect([await isActive(access_token), await isActive(next)]).toEqual([false, true]);
  });

  it('of a refresh token ends what came of the same sign-in, access tokens included', async () => {
    const first = await rp.signIn(person, resource());
    const second = await rp.refresh(first.refresh_token);
    const device = await rp.signIn(elsewhere(person), resource());
    expect((await revoke({ token: second.refresh_token as string })).status).toBe(200);
    for (const token of [first.access_token, second.access_token, second.refresh_token as string])
      expect(await isActive(token)).toBe(false);
    await expect(rp.refresh(second.refresh_token as string)).rejects.toMatchObject({ error: 'invalid_grant' });
    expect(await isActive(device.access_token)).toBe(true);
  });

  it('does not sign anybody out, and the next sign-in works', async () => {
    const { refresh_token } = await rp.signIn(person, { scope: 'openid email' });
    await revoke({ token: refresh_token });
    const next = await rp.signIn(person, { prompt: 'none', scope: 'openid email' });
    expect((await rp.refresh(next.refresh_token)).access_token).toBeTruthy();
  });

  it('may be repeated, and of what is no token is a success (section 2.2)', async () => {
    const { access_token, refresh_token, id_token } = await rp.signIn(person, resource());
    const tokens = [
      access_token,
      access_token,
      refresh_token,
      refresh_token,
      id_token,
      'x',
      'a.b.c',
      'e30.e30.',
      'jwt~e30',
    ];
    for (const token of [...tokens, tampered(access_token, 40)]) expect((await revoke({ token })).status).toBe(200);
  });
});

describe('revocation refuses, in JSON', () => {
  it('the tokens of another client, which live on (section 2.1)', async () => {
    const opaque = await rp.signIn(person, { scope: 'openid email' });
    const jwt = await rp.signIn(person, resource());
    for (const token of [opaque.access_token, opaque.refresh_token, jwt.access_token, jwt.refresh_token]) {
      expectError(await revoke({ token }, basic(other.client)), [400, 'invalid_request']);
      expect(await isActive(token)).toBe(true);
    }
  });

  it('to let a public client do it, or tell it anything', async () => {
    const spa = await registerRelyingParty(server, { token_endpoint_auth_method: 'none', first_party: true });
    const { access_token } = await rp.signIn(person, resource());
    const { status, body } = await revoke({ token: access_token, client_id: spa.client.client_id }, {});
    expect([status, body]).toEqual([200, '']);
    expect(await isActive(access_token)).toBe(true);
    const own = await spa.signIn(person);
    await revoke({ token: own.refresh_token, client_id: spa.client.client_id }, {});
    expect([await isActive(own.access_token), await isActive(own.refresh_token)]).toEqual([false, false]);
  });

  it('whoever does not authenticate, and the token lives on', async () => {
    const { refresh_token: token } = await rp.signIn(person);
    expectError(await revoke({ token }, {}), [400, 'invalid_request']);
    expectError(await revoke({ token, client_id: rp.client.client_id }, {}), [401, 'invalid_client']);
    expectError(await revoke({ token }, basic({ ...rp.client, client_secret: 'x' })), [401, 'invalid_client']);
    expect(await isActive(token)).toBe(true);
  });

  it('no token, two tokens, too much, NUL, another type, GET', async () => {
    expectError(await revoke({}), [400, 'invalid_request']);
    expectError(
      await revoke([
        ['token', 'x'],
        ['token', 'y'],
      ]),
      [400, 'invalid_request'],
    );
    expectError(await revoke({ token: 'x'.repeat(60_000) }), [413, 'invalid_request']);
    expectError(await revoke('token=%00'), [400, 'invalid_request']);
    expectError(await revoke('{}', { ...basic(rp.client), 'content-type': 'application/json' }), [
      400,
      'invalid_request',
    ]);
    const { status, body } = await send(`${server.issuer}/oauth/revoke?token=x`, { headers: { accept: 'text/html' } });
    expect([status, body.error]).toEqual([405, 'invalid_request']);
  });
});
