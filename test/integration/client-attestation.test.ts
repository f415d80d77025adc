/** Clients whose instances are vouched for (OAuth 2.0 Attestation-Based Client Authentication, draft 12). */
import { randomUUID } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../support/browser.ts';
import { type ClientKey, makeKey, serveKeys } from '../support/client-keys.ts';
import { newPerson, post, type Reply, redirectUri, send } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let attester: ClientKey;
let clientId: string;

const machine = {
  redirect_uris: [],
  response_types: [],
  grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'attest_jwt_client_auth',
};
const register = async (more: Record<string, unknown> = {}) =>
  (await server.client({ ...machine, jwks: { keys: [attester.jwk] }, ...more })).client_id;

beforeAll(async () => {
  server = await startServer({ CLIENT_ATTESTATION: 'true' });
  attester = await makeKey();
  clientId = await register();
});
afterAll(() => server.stop());

/** The application on one device, with a key of its own. */
interface Device {
  jwk: JWK;
  privateKey: CryptoKey;
}
const makeDevice = async (): Promise<Device> => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { jwk: await exportJWK(publicKey), privateKey };
};

const now = () => Math.floor(Date.now() / 1000);

/** What the attester says of the device. */
const attest = (
  { jwk }: Device,
  claims: Record<string, unknown> = {},
  by = attester,
  typ = 'oauth-client-attestation+jwt',
) =>
  new SignJWT({ sub: clientId, iat: now(), exp: now() + 300, cnf: { jwk }, ...claims })
    .setProtectedHeader({ alg: by.alg, kid: by.kid, typ })
    .sign(by.privateKey);

/** What the device proves. */
const prove = ({ privateKey }: Device, challenge: string | undefined, claims: Record<string, unknown> = {}) =>
  new SignJWT({ iss: clientId, aud: server.issuer, jti: randomUUID(), iat: now(), challenge, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'oauth-client-attestation-pop+jwt' })
    .sign(privateKey);

const getChallenge = async (): Promise<string> =>
  (await send(`${server.issuer}/oauth/challenge`, { method: 'POST' })).body.attestation_challenge;

const attested = async (device: Device, attestation?: string, pop?: string) => ({
  'oauth-client-attestation': attestation ?? (await attest(device)),
  'oauth-client-attestation-pop': pop ?? (await prove(device, await getChallenge())),
});
const ask = (headers: Record<string, string>, form: Record<string, string> = { grant_type: 'client_credentials' }) =>
  post(server, '/oauth/token', form, headers);
const outcome = ({ status, body }: Reply) => (status === 200 ? 200 : `${status} ${body.error}`);

it('a device that its attester vouches for gets tokens', async () => {
  const device = await makeDevice();
  expect(outcome(await ask(await attested(device)))).toBe(200);
});

it('keys of the attester may come from a jwks_uri', async () => {
  const published = await serveKeys(attester);
  const sub = await register({ jwks: undefined, jwks_uri: published.uri });
  const device = await makeDevice();
  expect(outcome(await ask(await attested(device, await attest(device, { sub }))))).toBe(200);
  expect(published.fetches).toBe(1);
  await published.stop();
});

describe('is refused', () => {
  const refusals: [name: string, headers: (device: Device) => Promise<Record<string, string>>, expected?: string][] = [
    [
      'an attestation of somebody else',
      async (device) => attested(device, await attest(device, {}, await makeKey('ES256', attester.kid))),
    ],
    ['one that has expired', async (device) => attested(device, await attest(device, { exp: now() - 60 }))],
    ['one that never expires', async (device) => attested(device, await attest(device, { exp: undefined }))],
    ['one for another client', async (device) => attested(device, await attest(device, { sub: 'other' }))],
    ['one of another device', async (device) => attested(device, await attest(await makeDevice()))],
    ['one that names no key', async (device) => attested(device, await attest(device, { cnf: undefined }))],
    ['one of another kind', async (device) => attested(device, await attest(device, {}, attester, 'JWT'))],
    ['one without a proof', async (device) => ({ 'oauth-client-attestation': await attest(device) })],
    [
      'a proof for another server',
      async (device) =>
        attested(device, undefined, await prove(device, await getChallenge(), { aud: 'https://other.example' })),
    ],
    [
      'one without a challenge',
      async (device) => attested(device, undefined, await prove(device, undefined)),
      '400 use_attestation_challenge',
    ],
    [
      'one with a challenge that is not ours',
      async (device) => attested(device, undefined, await prove(device, 'mine')),
      '400 use_attestation_challenge',
    ],
  ];
  for (const [name, headers, expected = '401 invalid_client'] of refusals)
    it(name, async () => expect(outcome(await ask(await headers(await makeDevice())))).toBe(expected));

  it('an attestation of a client’s own attester for another client', async () => {
    const others = await makeKey();
    const sub = await register({ jwks: { keys: [others.jwk] } });
    const device = await makeDevice();
    expect(outcome(await ask(await attested(device, await attest(device, { sub }))))).toBe('401 invalid_client');
    expect(outcome(await ask(await attested(device, await attest(device, { sub }, others))))).toBe(200);
  });

  it('a proof that was used', async () => {
    const headers = await attested(await makeDevice());
    expect([outcome(await ask(headers)), outcome(await ask(headers))]).toEqual([200, '401 invalid_client']);
  });

  it('a client by its name alone, or with a secret', async () => {
    const forms: Record<string, string>[] = [{ client_id: clientId }, { client_id: clientId, client_secret: 'x' }];
    for (const form of forms)
      expect(outcome(await ask({}, { grant_type: 'client_credentials', ...form }))).toBe('401 invalid_client');
  });

  it('the registration of a client that nobody could vouch for', async () => {
    await expect(server.client(machine)).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });
});

it('one proof may serve for the client and for its tokens (dpop_combined)', async () => {
  const sub = await register({ token_endpoint_auth_method: 'attest_jwt_client_auth_dpop' });
  const device = await makeDevice();
  const combined = async (nonce?: string, by = device) => ({
    'oauth-client-attestation': await attest(device, { sub }),
    dpop: await new SignJWT({ htm: 'POST', htu: `${server.issuer}/oauth/token`, jti: randomUUID(), iat: now(), nonce })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: by.jwk })
      .sign(by.privateKey),
  });
  const first = await ask(await combined());
  expect(outcome(first)).toBe('400 use_dpop_nonce');
  const nonce = first.headers.get('dpop-nonce') as string;
  expect(outcome(await ask(await combined(nonce, await makeDevice())))).toBe('401 invalid_client');
  const headers = await combined(nonce);
  const { status, body } = await ask(headers);
  expect([status, body.token_type]).toEqual([200, 'DPoP']);
  expect(outcome(await ask(headers))).toBe('400 invalid_dpop_proof');
});

it('a refresh token is its device’s', async () => {
  const person = await newPerson(server);
  const client_id = await register({
    redirect_uris: [redirectUri],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    first_party: true,
    require_pkce: false,
  });
  const query = new URLSearchParams({ client_id, response_type: 'code', scope: 'openid', redirect_uri: redirectUri });
  const callback = await authorize(person.browser, `/oauth/authorize?${query}`, person.email);
  const [device, another] = [await makeDevice(), await makeDevice()];
  const headers = async (from: Device) => attested(from, await attest(from, { sub: client_id }));
  const form = {
    grant_type: 'authorization_code',
    code: callback.searchParams.get('code') as string,
    redirect_uri: redirectUri,
  };
  const { body } = await ask(await headers(device), form);
  const refresh = { grant_type: 'refresh_token', refresh_token: body.refresh_token as string };
  expect(outcome(await ask(await headers(another), refresh))).toBe('400 invalid_grant');
  expect(outcome(await ask(await headers(device), refresh))).toBe(200);
});

it('discovery tells of it where it is on, and nothing where it is not', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body.challenge_endpoint).toBe(`${server.issuer}/oauth/challenge`);
  for (const endpoint of ['token', 'introspection', 'revocation'])
    expect(body[`${endpoint}_endpoint_auth_methods_supported`]).toContain('attest_jwt_client_auth');
  const plain = await startServer();
  try {
    const other = (await send(`${plain.issuer}/.well-known/openid-configuration`)).body;
    expect(other).not.toHaveProperty('challenge_endpoint');
    expect(JSON.stringify(other)).not.toContain('attest');
    expect((await send(`${plain.issuer}/oauth/challenge`, { method: 'POST' })).status).toBe(404);
    await expect(plain.client({ ...machine, jwks: { keys: [attester.jwk] } })).rejects.toMatchObject({
      code: 'invalid_client_metadata',
    });
  } finally {
    await plain.stop();
  }
});
