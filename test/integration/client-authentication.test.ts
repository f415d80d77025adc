/** Who may ask at the token endpoint: how clients authenticate, and which origins' scripts are answered. */
import { type CryptoKey, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  basic,
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
let posts: RelyingParty;
let spa: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer({ REFRESH_TOKEN_GRACE: '0' });
  const register = (metadata: Record<string, unknown> = {}) =>
    registerRelyingParty(server, { first_party: true, ...metadata });
  rp = await register({ scope: 'openid offline_access' });
  other = await register();
  posts = await register({ token_endpoint_auth_method: 'client_secret_post' });
  spa = await register({ token_endpoint_auth_method: 'none' });
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

describe('a client is refused: 401 invalid_client (RFC 6749 section 5.2)', () => {
  const credentials = ({ client }: RelyingParty) => ({
    client_id: client.client_id,
    client_secret: client.client_secret ?? '',
  });
  const refusals: {
    name: string;
    headers?: () => Record<string, string>;
    form?: () => Form;
    expected?: [number, string];
  }[] = [
    {
      name: 'a wrong secret',
      headers: () => basic({ ...rp.client, client_secret: tampered(rp.client.client_secret ?? '') }),
    },
    {
      name: 'the secret of another',
      headers: () => basic({ ...rp.client, client_secret: other.client.client_secret }),
    },
    {
      name: 'an empty secret',
      headers: () => basic({ ...rp.client, client_secret: '' }),
      expected: [400, 'invalid_request'],
    },
    { name: 'an unknown client', headers: () => basic({ client_id: 'nobody', client_secret: 'x' }) },
    { name: 'post instead of basic', form: () => credentials(rp) },
    { name: 'basic instead of post', headers: () => basic(posts.client) },
    { name: 'no secret at all', form: () => ({ client_id: rp.client.client_id }) },
    { name: 'a secret for a public client', form: () => ({ client_id: spa.client.client_id, client_secret: 'x' }) },
    { name: 'no client', expected: [400, 'invalid_request'] },
    {
      name: 'the secret in both places',
      headers: () => basic(rp.client),
      form: () => credentials(rp),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'another client_id in the body',
      headers: () => basic(rp.client),
      form: () => ({ client_id: other.client.client_id }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'credentials that are no base64',
      headers: () => ({ authorization: 'Basic ???' }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'credentials without a colon',
      headers: () => ({ authorization: `Basic ${btoa('x')}` }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'NUL in the credentials',
      headers: () => ({ authorization: `Basic ${btoa('a\0:b\0')}` }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'an escaped NUL in the credentials',
      headers: () => ({ authorization: `Basic ${btoa('%00:%00')}` }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'a client_id with NUL',
      form: () => ({ client_id: '\0', client_secret: 'x' }),
      expected: [400, 'invalid_request'],
    },
    {
      name: 'a bearer token as credentials',
      headers: () => ({ authorization: 'Bearer x' }),
      expected: [400, 'invalid_request'],
    },
  ];
  for (const {
    name,
    headers = (): Record<string, string> => ({}),
    form = () => ({}),
    expected = [401, 'invalid_client'],
  } of refusals) {
    it(name, async () => {
      const reply = await token({ grant_type: 'refresh_token', refresh_token: 'x', ...form() }, headers());
      expectError(reply, expected as [number, string]);
      const challenge = reply.headers.get('www-authenticate');
      if (reply.status === 401 && headers().authorization) expect(challenge).toMatch(/^Basic /);
    });
  }

  it('an assertion that is not its own, of another key, audience or time, or unsigned', async () => {
    const party = await registerRelyingParty(server, { token_endpoint_auth_method: 'private_key_jwt' });
    const stranger = await registerRelyingParty(server, { token_endpoint_auth_method: 'private_key_jwt' });
    const now = Math.floor(Date.now() / 1000);
    const id = party.client.client_id;
    const good = { iss: id, sub: id, aud: server.issuer, jti: crypto.randomUUID(), iat: now, exp: now + 60 };
    const sign = (claims: object, key = party.key as CryptoKey, alg = 'ES256') =>
      new SignJWT({ ...claims }).setProtectedHeader({ alg, kid: 'k1' }).sign(key);
    const unsigned = [{ alg: 'none' }, good]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
    const attempt = (client_assertion: string, more: Form = {}) =>
      token(
        { grant_type: 'refresh_token', refresh_token: 'x', client_assertion_type: type, client_assertion, ...more },
        {},
      );

    expectError(await attempt(await sign(good)), [400, 'invalid_grant']);
    for (const assertion of [
      await sign({ ...good, jti: crypto.randomUUID() }, stranger.key),
      await sign({ ...good, jti: crypto.randomUUID(), aud: 'https://other.example' }),
      await sign({ ...good, jti: crypto.randomUUID(), exp: now - 120, iat: now - 300 }),
      await sign({ ...good, jti: undefined }),
      await sign({ ...good, jti: crypto.randomUUID(), exp: undefined }),
      await sign({ ...good, jti: crypto.randomUUID(), sub: stranger.client.client_id }),
      await sign({ ...good, jti: crypto.randomUUID(), iss: '\0', sub: '\0' }),
      await sign(good),
      `${unsigned}.`,
      'x',
    ]) {
      const { status, body } = await attempt(assertion);
      expect([
        [400, 'invalid_request'],
        [401, 'invalid_client'],
      ]).toContainEqual([status, body.error]);
    }
    const wrongType = await attempt(await sign({ ...good, jti: crypto.randomUUID() }), { client_assertion_type: 'x' });
    expectError(wrongType, [400, 'invalid_request']);
  });
});

describe('scripts of other origins (CORS)', () => {
  const origin = new URL(redirectUri).origin;

  it('are answered for a public client, from the origins of its redirect URIs', async () => {
    const form = { ...(await codeForm(spa)), client_id: spa.client.client_id };
    const { status, headers } = await token(form, { origin });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([200, origin]);
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    expect(headers.get('vary')).toMatch(/origin/i);
  });

  for (const from of ['https://evil.example', 'null', `${origin}.evil.example`, origin.replace('https', 'http')]) {
    it(`are refused from ${from}`, async () => {
      const form = { ...(await codeForm(spa)), client_id: spa.client.client_id };
      const reply = await token(form, { origin: from });
      expectError(reply, [400, 'invalid_request']);
      expect(reply.headers.get('access-control-allow-origin')).toBeNull();
      expect((await token(form, { origin })).status).toBe(200);
    });
  }

  it('are refused for a confidential client, whose secret is not for browsers', async () => {
    const reply = await token(await codeForm(), { ...basic(rp.client), origin });
    expectError(reply, [400, 'invalid_request']);
    expect(reply.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('may ask beforehand', async () => {
    const headers = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'dpop' };
    const preflight = await send(`${server.issuer}/oauth/token`, { method: 'OPTIONS', headers });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, origin]);
    expect(preflight.headers.get('access-control-allow-credentials')).toBeNull();
  });
});
