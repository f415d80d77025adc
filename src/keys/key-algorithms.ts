/** What keys are kept for, and what each algorithm's keys look like. */
import type { JWK } from 'jose';

/** Signatures: RFC 7518 section 3, RFC 8037 section 3.1, and ML-DSA (FIPS 204) as JOSE names it. */
export const signingAlgorithms = ['RS256', 'PS256', 'ES256', 'EdDSA', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'] as const;
export type SigningAlg = (typeof signingAlgorithms)[number];

/** Every relying party knows RS256; FAPI asks for PS256 or ES256. ML-DSA makes the JWKS grow by kilobytes. */
export const defaultSigningAlgorithms: readonly SigningAlg[] = ['RS256', 'PS256', 'ES256', 'EdDSA'];

/**
 * What request objects may be encrypted to. A key of each serves a family: RSA-OAEP with either hash, ECDH-ES with and
 * without a key wrap. So the keys are published without `alg`.
 */
export const decryptionAlgorithms = ['RSA-OAEP-256', 'ECDH-ES'] as const;
export type DecryptionAlg = (typeof decryptionAlgorithms)[number];

export type KeyAlg = SigningAlg | DecryptionAlg;

export const isDecryption = (alg: KeyAlg): alg is DecryptionAlg =>
  (decryptionAlgorithms as readonly KeyAlg[]).includes(alg);

/** Arguments of `generateKeyPair`. */
export const generation = (alg: KeyAlg): [type: string, options: object] => {
  switch (alg) {
    case 'RS256':
    case 'PS256':
    case 'RSA-OAEP-256':
      return ['rsa', { modulusLength: 2048 }];
    case 'ES256':
    case 'ECDH-ES':
      return ['ec', { namedCurve: 'P-256' }];
    case 'EdDSA':
      return ['ed25519', {}];
    default:
      return [alg.toLowerCase(), {}];
  }
};

/** The members of a JWK that name the public key, in the order of RFC 7638; `alg` belongs to an AKP key's name. */
export const namingMembers: Readonly<Record<string, readonly string[]>> = {
  AKP: ['alg', 'kty', 'pub'],
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
};

/** What may be published of a key. */
export const publicJwk = (key: JWK): JWK => {
  const members = ['kid', 'alg', 'use', ...(namingMembers[key.kty as string] ?? [])];
  return Object.fromEntries(Object.entries(key).filter(([name]) => members.includes(name))) as JWK;
};
