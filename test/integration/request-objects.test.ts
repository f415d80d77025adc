/** Signed requests (JAR, RFC 9101), by value. */
import { type CryptoKey, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password } from '../support/browser.ts';
import {
  type Attempt,
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
let strict: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  const metadata = { token_endpoint_auth_method: 'private_key_jwt', first_party: true };
  rp = await registerRelyingParty(server, { ...metadata, request_object_signing_alg: 'ES256' });
  strict = await registerRelyingParty(server, { ...metadata, require_signed_request_object: true });
  person = await newPerson(server);
  await rp.signIn(person, {});
});
afterAll(() => server.stop());

interface Changes {
  party?: RelyingParty;
  key?: CryptoKey;
  alg?: string;
  claims?: Record<string, unknown>;
  aud?: unknown;
  iss?: string;
  exp?: number;
}
const now = () => Math.floor(Date.now() / 1000);
const sign = async ({ url }: Attempt, { party = rp, key, alg = 'ES256', claims = {}, aud, iss, exp }: Changes = {}) =>
  new SignJWT({
    ...Object.fromEntries(url.searchParams),
    ...claims,
    aud: (aud ?? server.issuer) as string,
    iss: iss ?? party.client.client_id,
    exp: exp ?? now() + 60,
  })
    .setProtectedHeader({ alg, kid: 'k1', typ: 'oauth-authz-req+jwt' })
    .sign(key ?? (party.key as CryptoKey));

const urlWith = (request: string, outside: Record<string, string> = {}, party = rp): URL => {
  const url = new URL('/oauth/authorize', server.issuer);
  url.search = new URLSearchParams({ client_id: party.client.client_id, ...outside, request }).toString();
  return url;
};
const visit = (request: string, outside: Record<string, string> = {}, party = rp) =>
  person.browser.go(urlWith(request, outside, party));

describe('a signed request', () => {
  it('goes on for another account where requests must be signed', async () => {
    const [someone, other] = [await newPerson(server), await newPerson(server)];
    await rp.signIn(someone, {});
    const attempt = await strict.begin({ prompt: 'login', login_hint: someone.email });
    const first = await someone.browser.go(urlWith(await sign(attempt, { party: strict }), {}, strict));
    const page = await someone.browser.submit(first, {}, '/switch');
    expect(page.html).not.toContain(someone.email);
    const ending = await someone.browser.submit(page, { email: other.email, password });
    const { url: callback } = await someone.browser.submit(ending);
    const claims = (await strict.redeem({ attempt, callback })).claims();
    const { id } = await server.database.db('users').where({ email: other.email }).first('id');
    expect([claims?.sub, claims?.nonce]).toEqual([id, attempt.nonce]);
  });

  it('signs a person in, and what is outside it is not believed', async () => {
    const attempt = await rp.begin({ scope: 'openid email' });
    const { url: callback } = await visit(await sign(attempt), {
      response_type: 'code',
      scope: 'openid email offline_access phone',
      state: 'outside',
      nonce: 'outside',
    });
    expect(callback.searchParams.get('state')).toBe(attempt.state);
    const tokens = await rp.redeem({ attempt, callback });
    expect([tokens.claims()?.nonce, tokens.scope]).toEqual([attempt.nonce, 'openid email']);
  });

  it('can be pushed (RFC 9126 section 3)', async () => {
    const attempt = await rp.begin();
    const assertion = await new SignJWT({})
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(rp.client.client_id)
      .setSubject(rp.client.client_id)
      .setAudience(server.issuer)
      .setJti(crypto.randomUUID())
      .setExpirationTime('1m')
      .sign(rp.key as CryptoKey);
    const { status, body } = await post(server, '/oauth/par', {
      request: await sign(attempt),
      client_assertion: assertion,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    });
    expect(status).toBe(201);
    const url = new URL('/oauth/authorize', server.issuer);
    url.search = new URLSearchParams({ client_id: rp.client.client_id, request_uri: body.request_uri }).toString();
    const { url: callback } = await person.browser.go(url);
    expect((await rp.redeem({ attempt, callback })).claims()?.nonce).toBe(attempt.nonce);
  });

  it('is required of a client that is registered so (section 10.5)', async () => {
    const attempt = await strict.begin();
    const plain = await person.browser.go(attempt.url);
    expect(plain.url.searchParams.get('error')).toBe('invalid_request');
    const { url: callback } = await visit(await sign(attempt, { party: strict }), {}, strict);
    expect((await strict.redeem({ attempt, callback })).claims()?.sub).toBeTruthy();
  });

  const stranger = generateKeyPair('ES256');
  const refusals: [what: string, make: (attempt: Attempt) => Promise<string> | string][] = [
    ['by another key', async (attempt) => sign(attempt, { key: (await stranger).privateKey })],
    ['whose signature was changed', async (attempt) => tampered(await sign(attempt))],
    [
      'without a signature',
      (attempt) =>
        new UnsecuredJWT({
          ...Object.fromEntries(attempt.url.searchParams),
          iss: rp.client.client_id,
          aud: server.issuer,
        }).encode(),
    ],
    ['for another server', (attempt) => sign(attempt, { aud: 'https://other.example' })],
    ['of another client', (attempt) => sign(attempt, { iss: 'somebody' })],
    ['that has expired', (attempt) => sign(attempt, { exp: now() - 120 })],
    ['that names another client', (attempt) => sign(attempt, { claims: { client_id: strict.client.client_id } })],
    ['that holds another request', (attempt) => sign(attempt, { claims: { request: 'x' } })],
    ['that holds a request_uri', (attempt) => sign(attempt, { claims: { request_uri: 'https://app.example.com/r' } })],
    ['that is none', () => 'not.a.jwt'],
  ];
  it.each(refusals)('%s is refused, and nobody is redirected by its word', async (_, make) => {
    const page = await visit(await make(await rp.begin()), {
      response_type: 'code',
      redirect_uri: 'https://evil.example/cb',
    });
    expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
    expect(page.html).toMatch(/invalid_request(_object)?|invalid_redirect_uri/);
  });

  it.each([
    ['NUL', { nonce: 'a\0b' }],
    ['half a character', { nonce: '\ud800' }],
    ['NUL in a claim’s name', { claims: { id_token: { 'a\0b': null } } }],
    ['claims without a bottom', { claims: JSON.parse(`${'{"a":'.repeat(30)}1${'}'.repeat(30)}`) }],
  ])('that holds %s is a 400', async (_, claims) => {
    const page = await visit(await sign(await rp.begin(), { claims }));
    expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
  });

  it('by an algorithm that the client did not register is refused', async () => {
    const { privateKey } = await generateKeyPair('PS256');
    const page = await visit(await sign(await rp.begin(), { key: privateKey, alg: 'PS256' }));
    expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
  });

  it('beside a request_uri is refused, and so is a request_uri that is no pushed one', async () => {
    const attempt = await rp.begin();
    for (const outside of [
      { request_uri: 'https://app.example.com/request.jwt' },
      { request_uri: 'urn:ietf:params:oauth:request_uri:x' },
    ]) {
      const page = await visit(await sign(attempt), outside);
      expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
    }
  });
});

it('discovery says what is so', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body).toMatchObject({ request_parameter_supported: true, request_uri_parameter_supported: false });
  expect(body.request_object_signing_alg_values_supported).toEqual(expect.arrayContaining(['ES256', 'PS256']));
  expect(body.request_object_signing_alg_values_supported).not.toContain('none');
});
