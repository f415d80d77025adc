/**
 * JWT access tokens (RFC 9068) are stored nowhere. They carry what a liveness check needs, so that introspection and
 * revocation tell the truth about them all the same.
 */
import { createLocalJWKSet, type JWTPayload, errors as joseErrors, jwtVerify } from 'jose';
import type { AdapterPayload, Configuration } from 'oidc-provider';
import { jwtName } from '../../adapters/oidc-payloads.ts';
import type { OidcStorage } from '../../adapters/oidc-storage.ts';
import type { TokenReads } from '../../adapters/token-reads.ts';
import { createGrowingCache } from '../growing-cache.ts';
import { type KeySet, verificationKeys } from '../keys/key-set.ts';
import { hashToken } from '../secrets.ts';

/**
 * The name under which a JWT reaches the engine, which refuses whatever looks like one. No part of a JWT has the sign that stands
 * for its dots: what has it is nobody's token, as each has one spelling.
 */
export const toJwtName = (jwt: string): string => jwtName + (jwt.includes('~') ? '' : jwt.replaceAll('.', '~'));

const fromJwtName = (name: string): string => name.slice(jwtName.length).replaceAll('~', '.');

/** Our claims, and which members of the engine's payload they stand for. */
interface LivenessClaims {
  /** The session whose end ends this token; absent with `offline_access`. */
  sid?: string;
  /** The grant; absent in tokens of client_credentials. */
  grant_id?: string;
  /** Of tokens of client_credentials: the client's `token_generation` when it was made, unless that was 0. */
  gen?: number;
}

/** What a token is bound to (RFC 9449 section 6.1, RFC 8705 section 3.1). */
interface Confirmation {
  jkt?: string;
  'x5t#S256'?: string;
}

type Customizer = NonNullable<NonNullable<NonNullable<Configuration['formats']>['customizers']>['jwt']>;

/**
 * `formats.customizers.jwt`: adds the liveness claims. The generation is the one that is known of the client: what another replica
 * has just revoked all tokens of may get one more, for less than a second, that is of no use from the start.
 */
export const livenessClaims: Customizer = (_ctx, token, jwt) => {
  const { kind, client, grantId, sessionUid, expiresWithSession } = token as {
    kind: string;
    client?: { token_generation?: number };
    grantId?: string;
    sessionUid?: string;
    expiresWithSession?: boolean;
  };
  Object.assign(jwt.payload, {
    grant_id: grantId,
    sid: expiresWithSession ? sessionUid : undefined,
    gen: (kind === 'ClientCredentials' && client?.token_generation) || undefined,
  } satisfies { [claim in keyof LivenessClaims]: LivenessClaims[claim] | undefined });
};

type Claims = JWTPayload &
  LivenessClaims & { client_id?: string; scope?: string; cnf?: Confirmation; organization?: { id: string } };

/** How many signatures are remembered to be right, of 3 kB each: most tokens are asked about more than once. */
const verifiedMax = 5000;

interface Verified {
  claims: Claims;
  /** Of its `jti`. */
  hash: string;
}

/**
 * `findJwt` of the storage: verifies signature, issuer, type and expiry, and asks the database whether the token, its
 * grant and its user are still there. The engine checks the session itself.
 */
export const createJwtFinder = (issuer: string, reads: TokenReads, keySet: KeySet): OidcStorage['findJwt'] => {
  const keys = createLocalJWKSet({ keys: verificationKeys(keySet) });
  // What was signed stays signed for as long as these keys are; whether it still counts is asked each time.
  const verified = createGrowingCache<Verified>(verifiedMax);
  const verify = async (name: string): Promise<Verified | undefined> => {
    const known = verified.get(name);
    if (known) return (known.claims.exp as number) > Math.floor(Date.now() / 1000) ? known : undefined;
    try {
      const { payload } = await jwtVerify<Claims>(fromJwtName(name), keys, {
        issuer,
        typ: 'at+jwt',
        requiredClaims: ['jti', 'exp', 'client_id', 'sub'],
      });
      const made = { claims: payload, hash: hashToken(payload.jti as string) };
      verified.set(name, made);
      return made;
    } catch (error) {
      if (error instanceof joseErrors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  };

  return async (model, name): Promise<AdapterPayload | undefined> => {
    const signed = await verify(name);
    if (!signed || (model === 'AccessToken') !== (signed.claims.grant_id !== undefined)) return undefined;
    const {
      jti,
      iat,
      exp,
      aud,
      scope,
      client_id: clientId,
      sub,
      grant_id: grantId,
      sid,
      gen,
      cnf,
      authorization_details: rar,
      iss: _iss,
      ...extra
    } = signed.claims;
    const { hash } = signed;
    const found = await (grantId
      ? reads.read({ model: 'Jwt', hash, clientId, grantId, sessionUid: sid })
      : reads.read({ model: 'MachineJwt', hash, clientId, generation: gen ?? 0 }));
    if (!found) return undefined;
    return {
      kind: model,
      jti,
      iat,
      exp,
      aud,
      scope,
      clientId,
      rar,
      extra,
      ...(extra.organization ? { organizationId: extra.organization.id } : {}),
      ...(cnf?.jkt ? { jkt: cnf.jkt } : {}),
      ...(cnf?.['x5t#S256'] ? { 'x5t#S256': cnf['x5t#S256'] } : {}),
      ...(grantId
        ? { accountId: found.userId, grantId, ...(sid ? { sessionUid: sid, expiresWithSession: true } : {}) }
        : {}),
    } as AdapterPayload;
  };
};
