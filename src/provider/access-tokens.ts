/**
 * JWT access tokens (RFC 9068) are stored nowhere. They carry what a liveness check needs, so that introspection and
 * revocation tell the truth about them all the same.
 */
import { createLocalJWKSet, type JWTPayload, errors as joseErrors, jwtVerify } from 'jose';
import type { AdapterPayload, Configuration } from 'oidc-provider';
import { liveGrants } from '../../adapters/oidc-grants.ts';
import { jwtName } from '../../adapters/oidc-payloads.ts';
import type { OidcStorage } from '../../adapters/oidc-storage.ts';
import type { Db } from '../../db/connect.ts';
import { type KeySet, verificationKeys } from '../keys/key-set.ts';
import { hashToken } from '../secrets.ts';

/** The name under which a JWT reaches the engine, which refuses whatever looks like one. */
export const toJwtName = (jwt: string): string => jwtName + Buffer.from(jwt).toString('base64url');

const fromJwtName = (name: string): string => Buffer.from(name.slice(jwtName.length), 'base64url').toString();

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

/** `formats.customizers.jwt`: adds the liveness claims. */
export const createLivenessClaims =
  (db: Db): Customizer =>
  async (_ctx, token, jwt) => {
    const { kind, clientId, grantId, sessionUid, expiresWithSession } = token as {
      kind: string;
      clientId?: string;
      grantId?: string;
      sessionUid?: string;
      expiresWithSession?: boolean;
    };
    const client =
      kind === 'ClientCredentials' ? await db('clients').where({ clientId }).first('tokenGeneration') : undefined;
    Object.assign(jwt.payload, {
      grant_id: grantId,
      sid: expiresWithSession ? sessionUid : undefined,
      gen: client?.tokenGeneration || undefined,
    } satisfies { [claim in keyof LivenessClaims]: LivenessClaims[claim] | undefined });
  };

/**
 * `findJwt` of the storage: verifies signature, issuer, type and expiry, and asks the database whether the token, its
 * grant and its user are still there. The engine checks the session itself.
 */
export const createJwtFinder = (issuer: string, db: Db, keySet: KeySet): OidcStorage['findJwt'] => {
  const keys = createLocalJWKSet({ keys: verificationKeys(keySet) });
  const verify = async (
    jwt: string,
  ): Promise<
    (JWTPayload & LivenessClaims & { client_id?: string; scope?: string; cnf?: Confirmation }) | undefined
  > => {
    try {
      return (await jwtVerify(jwt, keys, { issuer, typ: 'at+jwt', requiredClaims: ['jti', 'exp', 'client_id', 'sub'] }))
        .payload;
    } catch (error) {
      if (error instanceof joseErrors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  };

  return async (model, name): Promise<AdapterPayload | undefined> => {
    const claims = await verify(fromJwtName(name));
    if (!claims || (model === 'AccessToken') !== (claims.grant_id !== undefined)) return undefined;
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
    } = claims;
    const revoked = await db('revokedTokens')
      .where({ jtiHash: hashToken(jti as string) })
      .first('jtiHash');
    if (revoked) return undefined;
    const user = grantId ? await liveGrants(db).where({ id: grantId, clientId }).first('userId') : undefined;
    const client = grantId
      ? undefined
      : await db('clients')
          .where({ clientId, tokenGeneration: gen ?? 0 })
          .first('clientId');
    if (grantId ? !user : !client) return undefined;
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
      ...(cnf?.jkt ? { jkt: cnf.jkt } : {}),
      ...(cnf?.['x5t#S256'] ? { 'x5t#S256': cnf['x5t#S256'] } : {}),
      ...(grantId
        ? { accountId: user.userId, grantId, ...(sid ? { sessionUid: sid, expiresWithSession: true } : {}) }
        : {}),
    } as AdapterPayload;
  };
};
