/** What makes an id_token one that may be believed: OpenID Connect Core 1.0 section 3.1.3.7. */
import { createHash } from 'node:crypto';
import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { equalInConstantTime } from '../secrets.ts';
import type { Upstream } from './discovery.ts';
import { FederationError } from './federation-error.ts';

export interface IdTokenChecks {
  clientId: string;
  nonce: string;
  accessToken: string;
}

/** What clocks may differ by, in seconds. */
const toleranceSeconds = 60;
/** An id_token comes straight from the provider, so it was just made. */
const ageMaxSeconds = 600;

const invalid = (message: string, cause?: unknown) => new FederationError('invalid', `id_token: ${message}`, { cause });

const guid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * The issuer that the token must have. Microsoft's, for any tenant, follows from the token's own `tid`; it is believed when the
 * signature holds, and only then is anything else of the token looked at.
 */
const issuerOf = ({ issuer }: Upstream, token: string): string => {
  if (!issuer.includes('{tenantid}')) return issuer;
  const { tid } = decodeJwt(token);
  if (typeof tid !== 'string' || !guid.test(tid)) throw invalid('no tid');
  return issuer.replace('{tenantid}', tid);
};

/** OpenID Connect Core 1.0 section 3.1.3.6: half of the hash that the signature is made with. */
const hashOf = (alg: string, value: string): string => {
  const name = alg === 'EdDSA' || alg.endsWith('512') ? 'sha512' : alg.endsWith('384') ? 'sha384' : 'sha256';
  const digest = createHash(name).update(value).digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
};

/** @throws FederationError invalid; unavailable when the keys cannot be had */
export const verifyIdToken = async (
  upstream: Upstream,
  token: unknown,
  { clientId, nonce, accessToken }: IdTokenChecks,
): Promise<JWTPayload & { iss: string; sub: string }> => {
  if (typeof token !== 'string' || !upstream.keys) throw invalid('there is none');
  try {
    const { payload, protectedHeader } = await jwtVerify(token, upstream.keys, {
      algorithms: [...upstream.algs],
      issuer: issuerOf(upstream, token),
      audience: clientId,
      clockTolerance: toleranceSeconds,
      maxTokenAge: ageMaxSeconds,
      requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'nonce'],
    });
    const { sub, iss, aud, azp, at_hash } = payload;
    // Section 2 has it in ASCII; a NUL cannot even be stored.
    if (typeof sub !== 'string' || !/^[^\p{Cc}\p{Cs}]{1,255}$/u.test(sub) || typeof iss !== 'string')
      throw invalid('no usable sub');
    if (azp !== undefined ? azp !== clientId : Array.isArray(aud) && aud.length > 1)
      throw invalid('is for another azp');
    if (typeof payload.nonce !== 'string' || !equalInConstantTime(payload.nonce, nonce)) throw invalid('another nonce');
    if (at_hash !== undefined && at_hash !== hashOf(protectedHeader.alg, accessToken)) throw invalid('another at_hash');
    return { ...payload, iss, sub };
  } catch (error) {
    if (error instanceof FederationError) throw error;
    const isAway = !(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout;
    if (isAway || /expected 200 ok/i.test((error as Error).message))
      throw new FederationError('unavailable', `keys: ${(error as Error).message}`, { cause: error });
    throw invalid((error as Error).message, error);
  }
};
