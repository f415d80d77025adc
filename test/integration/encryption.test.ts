/** Nested JWTs (RFC 7516, RFC 7519 section 11.2): what we encrypt to a client's keys, and what clients encrypt to ours. */
import {
  CompactEncrypt,
  type CryptoKey,
  compactDecrypt,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  jwtVerify,
  SignJWT,
} from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { publishSeconds, rotateKeys } from '../../src/keys/keys.commands.ts';
import { jwksOf } from '../support/jwks.ts';
import {
  bearer,
  newPerson,
  type Person,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const algs = ['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW'];
const encs = ['A128CBC-HS256', 'A256CBC-HS512', 'A128GCM', 'A256GCM'];
const symmetric = ['dir', 'A128KW', 'A256GCMKW'];

let server: TestServer;
let person: Person;
/** The client's key for each family. */
let keys: Record<'rsa' | 'sha1' | 'ec', Awaited<ReturnType<typeof generateKeyPair>>>;
beforeAll(async () => {
  server = await startServer();
  person = await newPerson(server);
  keys = {
    rsa: await generateKeyPair('RSA-OAEP-256', { extractable: true }),
    sha1: await generateKeyPair('RSA-OAEP', { extractable: true }),
    ec: await generateKeyPair('ECDH-ES', { extractable: true, crv: 'P-256' }),
  };
});
afterAll(() => server.stop());

const keyOf = (alg: string) => {
  if (alg.startsWith('ECDH')) return keys.ec;
  return alg === 'RSA-OAEP' ? keys.sha1 : keys.rsa;
};
const publicKey = async (alg: string): Promise<JWK> => ({
  ...(await exportJWK(keyOf(alg).publicKey)),
  kid: 'e1',
  use: 'enc',
  alg,
});

/** What is inside: a JWT that verifies by our JWKS. */
const open = async (jwe: string, alg: string, enc: string) => {
  const { plaintext, protectedHeader } = await compactDecrypt(jwe, keyOf(alg).privateKey);
  expect(protectedHeader).toMatchObject({ alg, enc, kid: 'e1', cty: 'JWT' });
  const jwks = createLocalJWKSet(await jwksOf(server.issuer));
  return (await jwtVerify(new TextDecoder().decode(plaintext), jwks, { issuer: server.issuer })).payload;
};

describe('an id_token and a userinfo answer are encrypted to the client', () => {
  const combinations = algs.map((alg, index) => [alg, encs[index % encs.length] as string] as const);
  for (const [alg, enc] of combinations)
    it(`with ${alg} and ${enc}`, async () => {
      const application = await openApplication(
        server,
        {
          first_party: true,
          jwks: { keys: [await publicKey(alg)] },
          id_token_encrypted_response_alg: alg,
          id_token_encrypted_response_enc: enc,
          userinfo_signed_response_alg: 'ES256',
          userinfo_encrypted_response_alg: alg,
          userinfo_encrypted_response_enc: enc,
        },
        { email: person.email },
      );
      const { id_token, access_token } = await application.tokens({ scope: 'openid email' });
      const claims = await open(id_token, alg, enc);
      expect(claims.aud).toBe(application.client.client_id);
      const { body, headers } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) });
      expect(headers.get('content-type')).toMatch(/^application\/jwt/);
      expect(await open(body, alg, enc)).toMatchObject({ sub: claims.sub, email: person.email });
    });
});

describe('a client cannot register', () => {
  const members = ['id_token', 'userinfo', 'introspection', 'authorization'].map(
    (kind) => `${kind}_encrypted_response`,
  );
  for (const alg of [...symmetric, 'RSA1_5', 'none'])
    it(`encryption with ${alg}: secrets are kept as hashes, and the rest is not sound`, async () => {
      for (const member of [...members.map((name) => `${name}_alg`), 'request_object_encryption_alg'])
        await expect(
          server.client({
            redirect_uris: ['https://app.example.com/'],
            jwks: { keys: [await publicKey('RSA-OAEP-256')] },
            [member]: alg,
          }),
        ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
    });

  it('encryption without a key to encrypt to', async () => {
    await expect(
      server.client({ redirect_uris: ['https://app.example.com/'], id_token_encrypted_response_alg: 'RSA-OAEP-256' }),
    ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });

  it('signatures with a secret, or none', async () => {
    for (const member of ['id_token_signed_response_alg', 'userinfo_signed_response_alg', 'request_object_signing_alg'])
      for (const alg of ['HS256', 'none'])
        await expect(
          server.client({ redirect_uris: ['https://app.example.com/'], [member]: alg }),
        ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });
});

it('discovery says what is there, and nothing that is not', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  for (const kind of ['id_token', 'userinfo', 'introspection', 'authorization', 'request_object']) {
    expect([kind, body[`${kind}_encryption_alg_values_supported`]?.toSorted()]).toEqual([kind, algs.toSorted()]);
    expect([kind, body[`${kind}_encryption_enc_values_supported`]?.toSorted()]).toEqual([kind, encs.toSorted()]);
  }
  for (const kind of ['id_token', 'userinfo', 'introspection', 'authorization'])
    expect([kind, body[`${kind}_signing_alg_values_supported`]?.toSorted()]).toEqual([
      kind,
      ['ES256', 'EdDSA', 'PS256', 'RS256'],
    ]);
  const accepted = ['ES256', 'Ed25519', 'EdDSA', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87', 'PS256', 'RS256'];
  for (const kind of ['token_endpoint_auth', 'request_object'])
    expect([kind, body[`${kind}_signing_alg_values_supported`]?.toSorted()]).toEqual([kind, accepted.toSorted()]);
  expect(JSON.stringify(body)).not.toMatch(/"(HS\d+|dir|none_alg|A\d+KW|RSA1_5)"/);
});

describe('a request object (RFC 9101 section 6.1) is encrypted to us', () => {
  let rp: RelyingParty;
  beforeAll(async () => {
    rp = await registerRelyingParty(server, { token_endpoint_auth_method: 'private_key_jwt', first_party: true });
    await rp.signIn(person, {});
  });

  const decryptionKey = async (alg: string): Promise<JWK> =>
    (await jwksOf(server.issuer)).keys.find(
      ({ use, kty }) => use === 'enc' && kty === (alg.startsWith('RSA') ? 'RSA' : 'EC'),
    ) as JWK;
  const encrypt = async (text: string, alg: string, enc: string, jwk: JWK): Promise<string> =>
    new CompactEncrypt(new TextEncoder().encode(text))
      .setProtectedHeader({ alg, enc, kid: jwk.kid as string, cty: 'JWT' })
      .encrypt((await importJWK(jwk, alg)) as CryptoKey);
  const sign = (url: URL) =>
    new SignJWT({
      ...Object.fromEntries(url.searchParams),
      aud: server.issuer,
      iss: rp.client.client_id,
      exp: Math.floor(Date.now() / 1000) + 60,
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .sign(rp.key as CryptoKey);
  const urlOf = (request: string) =>
    `${server.issuer}/oauth/authorize?${new URLSearchParams({ client_id: rp.client.client_id, response_type: 'code', scope: 'openid', request })}`;
  const visit = async (request: string) => (await person.browser.go(urlOf(request))).url;

  for (const [index, alg] of algs.entries())
    it(`with ${alg}`, async () => {
      const enc = encs[(index + 1) % encs.length] as string;
      const attempt = await rp.begin();
      const callback = await visit(await encrypt(await sign(attempt.url), alg, enc, await decryptionKey(alg)));
      expect((await rp.redeem({ attempt, callback })).claims()?.sub).toEqual(expect.any(String));
    });

  it('with another algorithm, or to another key, is refused', async () => {
    const jwk = await decryptionKey('RSA-OAEP-256');
    const { url } = await rp.begin();
    const signed = await sign(url);
    const other = { ...(await exportJWK(keys.rsa.publicKey)), kid: jwk.kid } as JWK;
    for (const request of [
      await encrypt(signed, 'RSA-OAEP-512', 'A256GCM', jwk),
      await encrypt(signed, 'RSA-OAEP-256', 'A192GCM', jwk),
      await encrypt(signed, 'RSA-OAEP-256', 'A256GCM', other),
      'e30.e30.e30.e30.e30',
    ]) {
      const { html, status } = await person.browser.go(urlOf(request));
      expect([status, html]).toEqual([400, expect.stringContaining('invalid_request_object')]);
    }
  });

  it('to a key that was rotated can be decrypted until that is deleted, and nobody is given it any more', async () => {
    const { db } = server.database;
    const old = await decryptionKey('ECDH-ES');
    const { keys } = await rotateKeys(db, server.app.secrets, operator);
    await server.app.provider.reload();
    // Every replica can decrypt before anybody encrypts.
    expect((await decryptionKey('ECDH-ES')).kid).toBe(old.kid);
    const fresh = keys.find(({ alg }) => alg === 'ECDH-ES');
    await db('jwksDecryptionKeys')
      .where({ kid: fresh?.kid })
      .update({ publishedFrom: new Date(Date.now() - publishSeconds) });
    await server.app.provider.reload();
    expect((await jwksOf(server.issuer)).keys.filter(({ use, kty }) => use === 'enc' && kty === 'EC')).toHaveLength(1);
    const current = await decryptionKey('ECDH-ES');
    expect(current.kid).toBe(fresh?.kid);
    for (const jwk of [old, current]) {
      const attempt = await rp.begin();
      const callback = await visit(await encrypt(await sign(attempt.url), 'ECDH-ES', 'A256GCM', jwk));
      expect((await rp.redeem({ attempt, callback })).access_token).toBeTruthy();
    }
    await db('jwksDecryptionKeys').where({ kid: old.kid }).delete();
    await server.app.provider.reload();
    const attempt = await rp.begin();
    const { html } = await person.browser.go(urlOf(await encrypt(await sign(attempt.url), 'ECDH-ES', 'A256GCM', old)));
    expect(html).toContain('invalid_request_object');
  });
});
