/** Pushed authorization requests (RFC 9126). */
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { password } from '../support/browser.ts';
import {
  basic,
  expectError,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  rp = await registerRelyingParty(server, { first_party: true });
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

/** Pushes a request, and gives the URL that the browser is to visit. */
const push = async (parameters?: Parameters, party = rp) => {
  const attempt = await party.begin(parameters);
  const url = await oidc.buildAuthorizationUrlWithPAR(party.config, attempt.url.searchParams);
  return { ...attempt, pushed: url };
};

describe('a pushed request', () => {
  for (const method of ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']) {
    it(`signs a person in at a client that authenticates with ${method}`, async () => {
      const party = await registerRelyingParty(server, { token_endpoint_auth_method: method, first_party: true });
      const { pushed, ...attempt } = await push({}, party);
      expect([...pushed.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
      const { url: callback } = await person.browser.go(pushed);
      expect((await party.redeem({ attempt, callback })).claims()?.nonce).toBe(attempt.nonce);
    });
  }

  it('is answered with 201, a request_uri that cannot be guessed, and a short life', async () => {
    const { searchParams } = (await rp.begin()).url;
    const { status, headers, body } = await post(server, '/oauth/par', searchParams.toString(), basic(rp.client));
    expect([status, headers.get('cache-control')]).toEqual([201, 'no-store']);
    expect(body).toEqual({
      expires_in: expect.toSatisfy((seconds: number) => seconds >= 5 && seconds <= 600),
      request_uri: expect.stringMatching(/^urn:ietf:params:oauth:request_uri:[\w-]{32,}$/),
    });
  });

  it('can be used once', async () => {
    const { pushed } = await push();
    expect((await person.browser.go(pushed)).url.searchParams.has('code')).toBe(true);
    const again = await person.browser.go(pushed);
    expect([again.status, again.url.searchParams.has('code')]).toEqual([400, false]);
  });

  it('can be looked at again before it is used: the page may be reloaded', async () => {
    const { pushed } = await push({ prompt: 'login' });
    expect((await person.browser.go(pushed)).html).toContain('current-password');
    expect((await person.browser.go(pushed)).html).toContain('current-password');
  });

  for (const metadata of [
    { require_pushed_authorization_requests: true },
    { require_pushed_authorization_requests: true, token_endpoint_auth_method: 'none' },
  ])
    it(`goes on for another account: ${JSON.stringify(metadata)}`, async () => {
      const party = await registerRelyingParty(server, { ...metadata, first_party: true });
      const other = await newPerson(server);
      const someone = await newPerson(server);
      await rp.signIn(someone);
      const { pushed, ...attempt } = await push(
        { prompt: 'login', login_hint: someone.email, resource: undefined },
        party,
      );
      const page = await someone.browser.submit(await someone.browser.go(pushed), {}, '/switch');
      expect(page.html).toContain('current-password');
      expect(page.html).not.toContain(someone.email);
      const ending = await someone.browser.submit(page, { email: other.email, password });
      const { url: callback } = await someone.browser.submit(ending);
      const tokens = await party.redeem({ attempt, callback });
      expect(tokens.claims()).toMatchObject({ nonce: attempt.nonce, aud: party.client.client_id });
      const { id } = await server.database.db('users').where({ email: other.email }).first('id');
      expect(tokens.claims()?.sub).toBe(id);
    });

  it('cannot be changed on the way', async () => {
    const { pushed, ...attempt } = await push({ scope: 'openid' });
    pushed.searchParams.set('scope', 'openid email');
    pushed.searchParams.set('redirect_uri', 'https://evil.example/');
    pushed.searchParams.set('state', 'another');
    const { url: callback } = await person.browser.go(pushed);
    expect((await rp.redeem({ attempt, callback })).scope).toBe('openid');
  });

  it('is of the client that pushed it', async () => {
    const other = await registerRelyingParty(server, { first_party: true });
    const { pushed } = await push();
    pushed.searchParams.set('client_id', other.client.client_id);
    const page = await person.browser.go(pushed);
    expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
  });

  it('expires', async () => {
    const { pushed } = await push();
    const { db } = server.database;
    await db('oidcPayloads')
      .where({ model: 'PushedAuthorizationRequest' })
      .update({ expiresAt: new Date(Date.now() - 1000) });
    const page = await person.browser.go(pushed);
    expect([page.status, page.url.origin]).toEqual([400, server.issuer]);
  });
});

describe('a request is refused where it is pushed', () => {
  const refusals: { name: string; parameters: Parameters; expected: [number, string] }[] = [
    {
      name: 'a redirect URI that is not registered',
      parameters: { redirect_uri: `${redirectUri}x` },
      expected: [400, 'invalid_request'],
    },
    {
      name: 'no PKCE',
      parameters: { code_challenge: undefined, code_challenge_method: undefined },
      expected: [400, 'invalid_request'],
    },
    { name: 'plain PKCE', parameters: { code_challenge_method: 'plain' }, expected: [400, 'invalid_request'] },
    {
      name: 'an unknown response_type',
      parameters: { response_type: 'nonsense' },
      expected: [400, 'unsupported_response_type'],
    },
    {
      name: 'a request_uri',
      parameters: { request_uri: 'urn:ietf:params:oauth:request_uri:x' },
      expected: [400, 'request_uri_not_supported'],
    },
    {
      name: 'a resource that nobody may ask for',
      parameters: { resource: 'http://other.example' },
      expected: [400, 'invalid_target'],
    },
    { name: 'NUL', parameters: { state: 'a\0' }, expected: [400, 'invalid_request'] },
    { name: 'too much', parameters: { state: 'x'.repeat(60_000) }, expected: [413, 'invalid_request'] },
    { name: 'another client_id', parameters: { client_id: 'another' }, expected: [400, 'invalid_request'] },
  ];
  for (const { name, parameters, expected } of refusals) {
    it(name, async () => {
      const { searchParams } = (await rp.begin(parameters)).url;
      expectError(await post(server, '/oauth/par', searchParams.toString(), basic(rp.client)), expected);
    });
  }

  it('when the client does not authenticate', async () => {
    const { searchParams } = (await rp.begin()).url;
    const body = searchParams.toString();
    expectError(await post(server, '/oauth/par', body), [401, 'invalid_client']);
    expectError(await post(server, '/oauth/par', body, basic({ ...rp.client, client_secret: 'x' })), [
      401,
      'invalid_client',
    ]);
  });

  it('a parameter twice', async () => {
    const { searchParams } = (await rp.begin()).url;
    searchParams.append('scope', 'openid');
    expectError(await post(server, '/oauth/par', searchParams.toString(), basic(rp.client)), [400, 'invalid_request']);
  });
});
