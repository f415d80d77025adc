/** Tokens of one other issuer, which `/auth/me` and `/auth/validate` accept when AUTH_OIDC_ISSUER names it. */
import { createRemoteJWKSet, customFetch, decodeJwt, errors, jwtVerify } from 'jose';
import { AppError } from '../errors.ts';
import type { Caller } from '../http/caller.ts';

export interface ExternalIssuer {
  /** Compared with `iss` character by character. */
  issuer: string;
  /** One of them must be in `aud`. */
  audience: readonly string[];
  jwksUrl: string;
}

/** Asymmetric ones alone: a token must not choose to be verified by something that everybody knows. */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** Between two fetches that an unknown `kid` causes, or a failure: forged tokens cannot make us ask the issuer all the time. */
const refetchFloorMs = 30_000;
const cacheMs = 600_000;
const timeoutMs = 5000;
const clockToleranceSeconds = 5;

/** What the keys' absence means: the issuer is away, which says nothing about the token. */
const isAway = (error: unknown): boolean =>
  error instanceof errors.JWKSTimeout || (error instanceof errors.JOSEError ? error.code === 'ERR_JOSE_GENERIC' : true);

/**
 * Reads tokens of the issuer. Its keys are fetched when they are first needed and kept.
 * @returns a function that says whom a token speaks for: undefined for a token of somebody else, or one that is not valid
 * @throws AppError (from that function) 503 issuer_unavailable when the keys cannot be had
 */
export const createExternalTokens = (
  { issuer, audience, jwksUrl }: ExternalIssuer,
  fetchKeys: typeof fetch,
): ((token: string) => Promise<Caller | undefined>) => {
  let failedAt = Number.NEGATIVE_INFINITY;
  const fetchWithFloor: typeof fetch = async (...request) => {
    if (Date.now() - failedAt < refetchFloorMs) throw new Error('the keys could not be had a moment ago');
    failedAt = Date.now();
    const response = await fetchKeys(...request);
    if (response.status === 200) failedAt = Number.NEGATIVE_INFINITY;
    return response;
  };
  const keys = createRemoteJWKSet(new URL(jwksUrl), {
    cooldownDuration: refetchFloorMs,
    cacheMaxAge: cacheMs,
    timeoutDuration: timeoutMs,
    [customFetch]: fetchWithFloor,
  });
  const isOfIssuer = (token: string): boolean => {
    try {
      return decodeJwt(token).iss === issuer;
    } catch {
      return false;
    }
  };
  return async (token) => {
    if (!isOfIssuer(token)) return undefined;
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience: [...audience],
        algorithms,
        clockTolerance: clockToleranceSeconds,
        requiredClaims: ['sub', 'exp'],
      });
      const { sub: id = '', cnf } = payload;
      const confirmation = typeof cnf === 'object' && cnf !== null ? { confirmation: cnf } : {};
      return { kind: 'external', id, roles: [], rank: 0, permissions: [], claims: payload, ...confirmation };
    } catch (error) {
      if (!isAway(error)) return undefined;
      throw new AppError(503, 'issuer_unavailable', 'The keys of the token’s issuer cannot be had; try again shortly', {
        retryAfterSeconds: refetchFloorMs / 1000,
      });
    }
  };
};
