/** The signing key of a peer that speaks OpenID Connect. */
import { createHash } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

export interface Signer {
  privateKey: CryptoKey;
  jwk: JWK;
  sign(claims: JWTPayload): Promise<string>;
}

export const createSigner = async (kid: string, alg: 'RS256' | 'ES256' = 'RS256'): Promise<Signer> => {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return {
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' },
    sign: (claims) => new SignJWT(claims).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(privateKey),
  };
};

/** OpenID Connect Core 1.0 section 3.1.3.6: the left half of the hash of the access token. */
export const atHash = (accessToken: string): string =>
  createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url');

/** Seconds since the epoch. */
export const now = (): number => Math.floor(Date.now() / 1000);
