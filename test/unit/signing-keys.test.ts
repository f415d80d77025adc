/** Signatures made at once verify like any other, whatever the algorithm. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { compactVerify, importJWK, type JWK } from 'jose';
import { ExternalSigningKey } from 'oidc-provider';
import { describe, expect, it } from 'vitest';
import { generation, publicJwk, signingAlgorithms } from '../../src/keys/key-algorithms.ts';
import { engineKeys } from '../../src/provider/signing-keys.ts';

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('signing keys', () => {
  for (const alg of signingAlgorithms)
    it(`${alg} verifies, and tells its public half alone`, async () => {
      const [type, options] = generation(alg);
      const { privateKey } = generateKeyPairSync(type as 'ed25519', options as object) as { privateKey: KeyObject };
      const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'a', alg, use: 'sig' } as JWK;
      const { keys } = engineKeys({ jwks: { keys: [jwk] }, algs: [alg], unpublished: [], version: 'a' });
      const [key] = keys as unknown as [ExternalSigningKey];
      expect(key).toBeInstanceOf(ExternalSigningKey);
      const data = `${encode({ alg, kid: 'a' })}.${encode({ sub: 'ada' })}`;
      const signature = Buffer.from(await key.sign(Buffer.from(data))).toString('base64url');
      const { payload } = await compactVerify(`${data}.${signature}`, await importJWK(publicJwk(jwk), alg));
      expect(JSON.parse(Buffer.from(payload).toString())).toEqual({ sub: 'ada' });
      expect((await key.keyObject()).type).toBe('public');
      const told = { kid: key.kid, alg: key.alg, kty: key.kty, use: key.use };
      expect(told).toEqual({ kid: 'a', alg, kty: jwk.kty, use: 'sig' });
      for (const [name, value] of Object.entries(publicJwk(jwk)))
        expect([name, (key as unknown as Record<string, unknown>)[name]]).toEqual([name, value]);
    });

  it('what decrypts is left to the engine', () => {
    const jwk = { kty: 'RSA', kid: 'b', use: 'enc' } as JWK;
    expect(engineKeys({ jwks: { keys: [jwk] }, algs: [], unpublished: [], version: 'b' }).keys).toEqual([jwk]);
  });
});
