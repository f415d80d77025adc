/**
 * The tokens that take part in an exchange (RFC 8693 section 2.1): which of ours each one is, whom it speaks for, for how long,
 * and what it ends with. A refresh token is its client's alone and takes part in none; neither does a token of another issuer,
 * since nothing says which account here its subject has.
 */
import { createLocalJWKSet, decodeProtectedHeader, type JWTPayload, errors as joseErrors, jwtVerify } from 'jose';
import type { Provider } from 'oidc-provider';
import { z } from 'zod';
import { jwtName } from '../../adapters/oidc-payloads.ts';
import type { Db } from '../../db/connect.ts';
import { type KeySet, verificationKeys } from '../keys/key-set.ts';
import { listSessions } from '../sessions/sessions.queries.ts';
import { toJwtName } from './access-tokens.ts';
import type { Act } from './acting.ts';
import { isJwt } from './requests.ts';

const urn = (name: string) => `urn:ietf:params:oauth:token-type:${name}` as const;

/** RFC 8693 section 3. */
export const tokenTypes = { access: urn('access_token'), id: urn('id_token'), jwt: urn('jwt') } as const;

/** The key or certificate that a token is bound to. */
export interface Confirmation {
  jkt?: string | undefined;
  'x5t#S256'?: string | undefined;
}

/** A token that somebody other than its subject may hold. */
interface Presented {
  /** The client that it was issued to. */
  clientId: string;
  /** Whom it is for. */
  audience: readonly string[];
  /** Seconds since 1970. */
  expiresAt: number;
  confirmation: Confirmation;
}

/** A person, by a token of theirs. */
export interface Subject extends Presented {
  userId: string;
  /** What the token may do at a resource, by the resource's identifier. */
  scopeAt(resource: string): string[];
  /** What it ends with. */
  source: { grantId: string; sessionUid: string | null };
  /** The organization that it is for, and so whatever it is exchanged for. */
  organizationId?: string | undefined;
  act?: Act | undefined;
  mayAct?: unknown;
}

/** Whoever is to act: a person, or an application by itself. */
export interface Actor extends Presented {
  type: 'user' | 'client';
  id: string;
  act?: Act | undefined;
}

/** The parts of the engine's tokens that are looked at; its published types leave some of it out. */
interface EngineToken extends Confirmation {
  accountId?: string;
  clientId?: string;
  grantId?: string;
  sessionUid?: string;
  expiresWithSession?: boolean;
  scope?: string;
  aud?: string | string[];
  exp: number;
  organizationId?: string;
  extra?: { act?: Act; may_act?: unknown };
  isValid: boolean;
}

const presented = (token: EngineToken, clientId: string): Presented => ({
  clientId,
  audience: token.aud === undefined ? [] : [token.aud].flat(),
  expiresAt: token.exp,
  confirmation: { jkt: token.jkt, 'x5t#S256': token['x5t#S256'] },
});

/** The name under which the engine finds a token. A JWT has one spelling; the name that it is looked up by is not another. */
const nameOf = (value: string): string | undefined => {
  if (value.startsWith(jwtName)) return undefined;
  return isJwt(value) ? toJwtName(value) : value;
};

const isAccessJwt = (value: string): boolean => {
  try {
    return isJwt(value) && decodeProtectedHeader(value).typ === 'at+jwt';
  } catch {
    return false;
  }
};

export interface TokenFinder {
  /** @returns undefined for whatever is not alive, not ours, or not of that type */
  findSubject(value: string, type: string): Promise<Subject | undefined>;
  findActor(value: string, type: string): Promise<Actor | undefined>;
}

export const createTokenFinder = (provider: Provider, db: Db, keySet: KeySet): TokenFinder => {
  const keys = createLocalJWKSet({ keys: verificationKeys(keySet) });

  const findPerson = async (value: string): Promise<Subject | undefined> => {
    const name = nameOf(value);
    const token = name ? ((await provider.AccessToken.find(name)) as unknown as EngineToken | undefined) : undefined;
    if (!token?.isValid) return undefined;
    const { accountId, clientId, grantId, sessionUid, expiresWithSession, scope, organizationId, extra } = token;
    if (!accountId || !clientId || !grantId) return undefined;
    const grant = await provider.Grant.find(grantId);
    if (grant?.clientId !== clientId || grant.accountId !== accountId) return undefined;
    return {
      ...presented(token, clientId),
      userId: accountId,
      scopeAt: () => scope?.split(' ') ?? [],
      source: { grantId, sessionUid: (expiresWithSession && sessionUid) || null },
      organizationId,
      act: extra?.act,
      mayAct: extra?.may_act,
    };
  };

  const verifyIdToken = async (value: string): Promise<JWTPayload | undefined> => {
    try {
      const { payload, protectedHeader } = await jwtVerify(value, keys, {
        issuer: provider.issuer,
        requiredClaims: ['sub', 'aud', 'exp', 'sid'],
      });
      // What we sign for other purposes says so in `typ`.
      return protectedHeader.typ === undefined ? payload : undefined;
    } catch (error) {
      if (error instanceof joseErrors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  };

  /**
   * An id_token has no scope: it stands for what its application was granted in the session that it is of. That is told by
   * `sid`, which an application gets with a `backchannel_logout_uri` and `backchannel_logout_session_required`; without it
   * nothing says when it ends.
   */
  const findByIdToken = async (value: string): Promise<Subject | undefined> => {
    const claims = await verifyIdToken(value);
    const { sub, aud, exp, sid, may_act: mayAct, organization } = claims ?? {};
    if (typeof sub !== 'string' || typeof aud !== 'string' || typeof sid !== 'string' || !exp) return undefined;
    // A pairwise subject is the id of no account.
    if (!z.uuid().safeParse(sub).success) return undefined;
    const session = (await listSessions(db, sub)).find(({ authorizations }) => authorizations[aud]?.sid === sid);
    const grantId = session?.authorizations[aud]?.grantId;
    const grant = grantId ? await provider.Grant.find(grantId) : undefined;
    if (!session || !grantId || grant?.clientId !== aud || grant.accountId !== sub) return undefined;
    return {
      userId: sub,
      clientId: aud,
      audience: [aud],
      expiresAt: exp,
      confirmation: {},
      scopeAt: (resource) => grant.getResourceScope(resource).split(' ').filter(Boolean),
      source: { grantId, sessionUid: session.uid },
      organizationId: (organization as { id: string } | undefined)?.id,
      mayAct,
    };
  };

  const findMachine = async (value: string): Promise<Actor | undefined> => {
    const name = nameOf(value);
    const token = name
      ? ((await provider.ClientCredentials.find(name)) as unknown as EngineToken | undefined)
      : undefined;
    if (!token?.isValid || !token.clientId) return undefined;
    return { ...presented(token, token.clientId), type: 'client', id: token.clientId };
  };

  const takesAccessToken = (value: string, type: string) =>
    type === tokenTypes.access || (type === tokenTypes.jwt && isAccessJwt(value));

  const findSubject = async (value: string, type: string): Promise<Subject | undefined> => {
    if (takesAccessToken(value, type)) return findPerson(value);
    return type === tokenTypes.id || type === tokenTypes.jwt ? findByIdToken(value) : undefined;
  };

  return {
    findSubject,
    findActor: async (value, type) => {
      const person = await findSubject(value, type);
      if (!person) return takesAccessToken(value, type) ? findMachine(value) : undefined;
      const { clientId, audience, expiresAt, confirmation, act } = person;
      return { clientId, audience, expiresAt, confirmation, act, type: 'user', id: person.userId };
    },
  };
};
