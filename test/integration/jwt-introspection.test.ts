/** Introspection answers as JWTs (RFC 9701). */
import { compactDecrypt, createLocalJWKSet, decodeJwt, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jwksOf } from '../support/jwks.ts';
import {
  basic,
  expectError,
  newPerson,
  post,
  type RelyingParty,
  registerRelyingParty,
} from '../support/relying-party.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

const media = 'application/token-introspection+jwt';

let server: TestServer;
let rp: RelyingParty;
/** By name, tokens that live. */
let tokens: Record<'a JWT' | 'an opaque token' | 'a refresh token', string>;
beforeAll(async () => {
  server = await startServer();
  const person = await newPerson(server);
  rp = await registerRelyingParty(server, { first_party: true, scope: 'openid email api:read' });
  const opaque = await rp.signIn(person, { scope: 'openid email' });
  const jwt = await rp.signIn(person, { scope: 'openid api:read', resource: `${server.issuer}/api` });
  tokens = {
    'a JWT': jwt.access_token,
    'an opaque token': opaque.access_token,
    'a refresh token': opaque.refresh_token,
  };
});
afterAll(() => server.stop());

const api = (metadata: Record<string, unknown> = {}): Promise<RegisteredClient> =>
  server.client({
    grant_types: ['client_credentials'],
    redirect_uris: [],
    scope: 'tokens:introspect:any',
    ...metadata,
  });
const introspect = (client: RegisteredClient, token: string, accept = media) =>
  post(server, '/oauth/introspect', { token }, { ...basic(client), accept });

describe('an introspection answer', () => {
  it('is signed however the media type is written (RFC 9110 section 8.3.1)', async () => {
    const client = await api({ introspection_signed_response_alg: 'ES256' });
    const { headers } = await introspect(client, tokens['a JWT'], 'application/Token-Introspection+JWT');
    expect(headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
  });

  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'])
    it(`is signed with ${alg} where the client is registered for it`, async () => {
      const client = await api({ introspection_signed_response_alg: alg });
      for (const [name, token] of Object.entries(tokens)) {
        const { status, headers, body } = await introspect(client, token);
        expect([name, status]).toEqual([name, 200]);
        expect(headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
        expect(headers.get('cache-control')).toBe('no-store');
        const jwks = createLocalJWKSet(await jwksOf(server.issuer));
        const { payload, protectedHeader } = await jwtVerify(body, jwks, {
          issuer: server.issuer,
          // RFC 9701 section 5: the resource server that asked.
          audience: client.client_id,
          typ: 'token-introspection+jwt',
          requiredClaims: ['iat'],
        });
        expect(protectedHeader.alg).toBe(alg);
        // Nothing beside it that would let it pass for the token itself, or for an id_token.
        expect(Object.keys(payload).sort()).toEqual(['aud', 'iat', 'iss', 'token_introspection']);
        const plain = await introspect(client, token, 'application/json');
        expect(payload.token_introspection).toEqual(plain.body);
        expect(plain.body.active).toBe(true);
      }
    });

  it('is signed as other things are for a client that has said nothing', async () => {
    const { body } = await introspect(await api(), tokens['a JWT']);
    await jwtVerify(body, createLocalJWKSet(await jwksOf(server.issuer)), { algorithms: ['RS256'] });
  });

  it('is JSON for whoever does not ask for a JWT', async () => {
    const client = await api({ introspection_signed_response_alg: 'ES256' });
    for (const accept of ['application/json', '*/*', 'application/*', 'text/html, */*;q=0.1']) {
      const { headers, body } = await introspect(client, tokens['a JWT'], accept);
      expect([accept, headers.get('content-type')]).toEqual([accept, expect.stringMatching(/^application\/json/)]);
      expect(body.active).toBe(true);
    }
  });

  it('says as a JWT too that a token is not active, and nothing more', async () => {
    const client = await api();
    for (const token of ['x', 'a.b.c', `${tokens['a JWT']}x`]) {
      const { status, body } = await introspect(client, token);
      expect([status, decodeJwt(body).token_introspection]).toEqual([200, { active: false }]);
      expect(decodeJwt(body).aud).toBe(client.client_id);
    }
    // Likewise of a token that is not for whoever asks.
    const stranger = await api({ scope: 'openid' });
    expect(decodeJwt((await introspect(stranger, tokens['a JWT'])).body).token_introspection).toEqual({
      active: false,
    });
  });

  for (const [alg, enc] of [
    ['RSA-OAEP-256', 'A256GCM'],
    ['ECDH-ES+A256KW', 'A128CBC-HS256'],
  ] as const)
    it(`is encrypted with ${alg} to the client’s key, which then must ask for a JWT`, async () => {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      const client = await api({
        introspection_signed_response_alg: 'ES256',
        introspection_encrypted_response_alg: alg,
        introspection_encrypted_response_enc: enc,
        jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'e1', use: 'enc', alg }] },
      });
      const { headers, body } = await introspect(client, tokens['a JWT']);
      expect(headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
      const { plaintext, protectedHeader } = await compactDecrypt(body, privateKey);
      expect(protectedHeader).toMatchObject({ alg, enc, cty: 'JWT' });
      const jwks = createLocalJWKSet(await jwksOf(server.issuer));
      const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), jwks, { audience: client.client_id });
      expect(payload.token_introspection).toMatchObject({ active: true, client_id: rp.client.client_id });
      expectError(await introspect(client, tokens['a JWT'], 'application/json'), [400, 'invalid_request']);
    });
});
