/** A client's key and the proofs that it makes with it (RFC 9449 section 4.2), or fails to make as it should. */
import { createHash, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWTHeaderParameters, SignJWT } from 'jose';

export interface ProofOptions {
  method?: string;
  url: string;
  /** The access token that the proof goes with. */
  token?: string | undefined;
  nonce?: string | undefined;
  /** Take the place of what is right; undefined leaves a claim out. */
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
}

export interface Prover {
  /** The key's thumbprint (RFC 7638). */
  jkt: string;
  proof(options: ProofOptions): Promise<string>;
}

export const makeProver = async (alg = 'ES256'): Promise<Prover> => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return {
    jkt: await calculateJwkThumbprint(jwk),
    proof: ({ method = 'POST', url, token, nonce, claims = {}, header = {} }) =>
      new SignJWT({
        htm: method,
        htu: url,
        jti: randomUUID(),
        iat: Math.floor(Date.now() / 1000),
        ...(token ? { ath: createHash('sha256').update(token).digest('base64url') } : {}),
        ...(nonce ? { nonce } : {}),
        ...claims,
      })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk, ...header } as JWTHeaderParameters)
        .sign(privateKey),
  };
};
