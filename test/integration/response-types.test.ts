/** Response types beyond `code`, and signed responses (JARM): what a client is registered for, and nothing else. */
import { compactDecrypt, createRemoteJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf } from '../support/browser.ts';
import {
  newPerson,
  type Person,
  type RelyingParty,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let person: Person;
let plain: RelyingParty;
beforeAll(async () => {
  server = await startServer();
  person = await newPerson(server);
  plain = await registerRelyingParty(server, { first_party: true });
  await plain.signIn(person);
});
afterAll(() => server.stop());

const fragment = (url: URL) => new URLSearchParams(url.hash.slice(1));

describe('hybrid and implicit', () => {
  it.each(['code id_token', 'id_token'])('%s is refused unless registered', async (response_type) => {
    const { url } = await person.browser.go((await plain.begin({ response_type })).url);
    expect([fragment(url).get('error'), fragment(url).has('id_token')]).toEqual(['invalid_request', false]);
  });

  it.each(['token', 'code token', 'id_token token', 'code id_token token'])(
    '%s cannot even be registered: no access token goes through a browser’s address',
    async (type) => {
      await expect(registerRelyingParty(server, { response_types: [type] })).rejects.toThrow(/response_types/);
      const { url } = await person.browser.go((await plain.begin({ response_type: type })).url);
      expect(fragment(url).get('error') ?? url.searchParams.get('error')).toBe('unsupported_response_type');
    },
  );

  it('`code id_token` gives both, bound to one another by c_hash and nonce', async () => {
    const rp = await registerRelyingParty(server, {
      response_types: ['code id_token'],
      grant_types: ['authorization_code', 'implicit', 'refresh_token'],
      first_party: true,
    });
    oidc.useCodeIdTokenResponseType(rp.config);
    const attempt = await rp.begin({ response_type: 'code id_token' });
    const { url: callback } = await person.browser.go(attempt.url);
    expect([...fragment(callback).keys()].sort()).toEqual(['code', 'id_token', 'state']);
    expect((await rp.redeem({ attempt, callback })).claims()?.nonce).toBe(attempt.nonce);
  });

  it('`id_token` gives claims by scope, since there is no userinfo to ask', async () => {
    const rp = await registerRelyingParty(server, {
      response_types: ['id_token'],
      grant_types: ['implicit'],
      first_party: true,
      token_endpoint_auth_method: 'none',
    });
    oidc.useIdTokenResponseType(rp.config);
    const attempt = await rp.begin({
      response_type: 'id_token',
      scope: 'openid email',
      code_challenge: undefined,
      code_challenge_method: undefined,
    });
    const { url } = await person.browser.go(attempt.url);
    const claims = await oidc.implicitAuthentication(rp.config, url, attempt.nonce as string, {
      expectedState: attempt.state as string,
    });
    expect(claims).toMatchObject({ email: person.email, nonce: attempt.nonce });
  });

  it('want a nonce', async () => {
    const rp = await registerRelyingParty(server, {
      response_types: ['code id_token'],
      grant_types: ['authorization_code', 'implicit'],
      first_party: true,
    });
    const { url } = await person.browser.go((await rp.begin({ response_type: 'code id_token', nonce: undefined })).url);
    expect(fragment(url).get('error')).toBe('invalid_request');
  });

  it('of a web application want https that is not localhost', async () => {
    for (const uri of ['http://app.example.com/cb', 'https://localhost/cb'])
      await expect(
        registerRelyingParty(server, { response_types: ['id_token'], grant_types: ['implicit'], redirect_uris: [uri] }),
      ).rejects.toThrow(/implicit/);
  });
});

describe('a response as a JWT (JARM)', () => {
  const parametersOf = (mode: string, url: URL, html: string) => {
    if (mode.startsWith('form_post')) return new URLSearchParams(formsOf(html)[0]?.fields);
    return mode.startsWith('fragment') ? fragment(url) : url.searchParams;
  };

  it.each(['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'])(
    'in the mode %s is signed for the client, and carries all',
    async (response_mode) => {
      const rp = await registerRelyingParty(server, { authorization_signed_response_alg: 'ES256', first_party: true });
      const attempt = await rp.begin({ response_mode });
      const { url, html } = await person.browser.go(attempt.url);
      const parameters = parametersOf(response_mode, url, html);
      expect([...parameters.keys()]).toEqual(['response']);
      const config = await oidc.discovery(
        new URL(server.issuer),
        rp.client.client_id,
        { authorization_signed_response_alg: 'ES256' },
        oidc.ClientSecretBasic(rp.client.client_secret),
        { execute: [oidc.allowInsecureRequests, oidc.useJwtResponseMode] },
      );
      const callback = new URL(`${redirectUri}?${parameters}`);
      const tokens = await oidc.authorizationCodeGrant(config, callback, {
        pkceCodeVerifier: attempt.verifier,
        expectedState: attempt.state as string,
        expectedNonce: attempt.nonce as string,
      });
      expect(tokens.claims()?.sub).toBeTruthy();
    },
  );

  it.each([
    ['RSA-OAEP-256', 'A256GCM'],
    ['ECDH-ES', 'A128CBC-HS256'],
  ])('is encrypted to the client by %s and %s, with the signature within', async (alg, enc) => {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    const rp = await registerRelyingParty(server, {
      authorization_signed_response_alg: 'ES256',
      authorization_encrypted_response_alg: alg,
      authorization_encrypted_response_enc: enc,
      jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'e1', use: 'enc', alg }] },
      first_party: true,
    });
    const attempt = await rp.begin({ response_mode: 'jwt' });
    const { url } = await person.browser.go(attempt.url);
    const { plaintext, protectedHeader } = await compactDecrypt(url.searchParams.get('response') ?? '', privateKey);
    expect(protectedHeader).toMatchObject({ alg, enc });
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys, {
      issuer: server.issuer,
      audience: rp.client.client_id,
    });
    const callback = new URL(redirectUri);
    callback.search = new URLSearchParams({
      code: payload.code as string,
      state: payload.state as string,
      iss: server.issuer,
    }).toString();
    expect((await rp.redeem({ attempt, callback })).claims()?.sub).toBeTruthy();
  });

  it('tells errors too', async () => {
    const { url } = await person.browser.go(
      (await plain.begin({ response_mode: 'jwt', scope: 'openid nope:nope:nope', prompt: 'none login' })).url,
    );
    const [, payload = ''] = (url.searchParams.get('response') ?? '').split('.');
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
      error: 'invalid_request',
      iss: server.issuer,
      aud: plain.client.client_id,
    });
  });

  it('is all that a client gets that registered its modes', async () => {
    const rp = await registerRelyingParty(server, { response_modes: ['jwt'], first_party: true });
    const { url } = await person.browser.go((await rp.begin({ response_mode: 'query' })).url);
    expect(url.searchParams.has('code')).toBe(false);
  });
});

it('every response names its issuer (RFC 9207)', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body.authorization_response_iss_parameter_supported).toBe(true);
  const { url } = await person.browser.go((await plain.begin()).url);
  expect(url.searchParams.get('iss')).toBe(server.issuer);
  const refused = await person.browser.go((await plain.begin({ prompt: 'none login' })).url);
  expect(refused.url.searchParams.get('iss')).toBe(server.issuer);
});

it('what discovery lists can be registered', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body.response_types_supported.toSorted()).toEqual(['code', 'code id_token', 'id_token', 'none']);
  expect(body.response_modes_supported.toSorted()).toEqual([
    'form_post',
    'form_post.jwt',
    'fragment',
    'fragment.jwt',
    'jwt',
    'query',
    'query.jwt',
  ]);
});
