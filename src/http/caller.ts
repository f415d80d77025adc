/** Who calls a route, as the token that was sent says. */
import type { Actor } from '../audit/logs.commands.ts';
import { forbidden } from '../errors.ts';
import { mayPassOn, permits } from '../roles/permissions.ts';

export interface Caller {
  /** `external`: somebody whom the issuer in AUTH_OIDC_ISSUER vouches for and who has no account here. */
  kind: 'user' | 'client' | 'external';
  /** The user's id, the client's `client_id`, or the external issuer's `sub`. */
  id: string;
  /** The application that the token was given to. */
  clientId?: string;
  /** The session and the grant that the token is of. */
  sessionUid?: string;
  grantId?: string;
  apiKeyId?: string;
  /** Who acts for the person by token exchange (`act` of RFC 8693 section 4.1), the present actor first. */
  actors?: readonly { sub: string; clientId?: string }[];
  /** The application is the operator's own (`first_party`), this API included; asked only of a token that is of a session. */
  firstParty?: boolean;
  /** Names of roles; none for clients. */
  roles: readonly string[];
  /** Nobody acts on whom or gives what ranks higher. */
  rank: number;
  /** The scopes of the token, those of OpenID Connect included. */
  scope?: readonly string[];
  /** What the caller may do with this token: what they may do at all, as far as its scope goes. */
  permissions: readonly string[];
  /** What the token is bound to (RFC 7800 `cnf`): whoever sends it must prove that they hold it. */
  confirmation?: Readonly<{ jkt?: string; 'x5t#S256'?: string }>;
  /** Of a token of an external issuer: what it says of the person. */
  claims?: Readonly<Record<string, unknown>>;
}

/** Whether the caller holds the permission; for one that ends in `:own`, whether `owner` is the caller or they hold it for any. */
export const may = (caller: Caller, permission: string, owner?: string): boolean => {
  if (!permission.endsWith(':own')) return permits(caller.permissions, permission);
  // What is one's own is a person's: an application has no account, sessions or keys.
  if (owner === undefined) return caller.kind === 'user' && permits(caller.permissions, permission);
  return permits(
    caller.permissions,
    caller.kind === 'user' && owner === caller.id ? permission : permission.replace(/own$/, 'any'),
  );
};

/**
 * The caller as the audit log is to name them.
 * @param ownClientId the client under which this API itself signs people in: a person who uses it acts by themselves
 */
export const callerActor = (actor: Actor, caller: Caller, ownClientId: string): Actor => {
  const { kind, id, clientId, apiKeyId, actors } = caller;
  if (kind === 'external') return actor;
  const via = {
    ...(kind === 'user' && clientId !== undefined && clientId !== ownClientId ? { clientId } : {}),
    ...(apiKeyId === undefined ? {} : { apiKeyId }),
    ...(actors?.length ? { actors } : {}),
  };
  return { ...actor, type: kind, id, ...(Object.keys(via).length ? { via } : {}) };
};

/** @throws AppError 403 rank_too_low unless the caller ranks at least as high */
export const assertRank = (caller: { rank: number }, rank: number): void => {
  if (caller.rank < rank) throw forbidden('rank_too_low', 'This is for those with a higher role');
};

export interface SignedInHere extends Caller {
  kind: 'user';
  sessionUid: string;
}

/**
 * For what would outlive the loss of a token (keys, factors, the password): it takes somebody who has signed in at an
 * application of our own. An API key has no session, nor has a token that it was exchanged for; an application of somebody
 * else's was given leave to act, not to make that permanent.
 * @throws AppError 403 session_needed
 */
export function assertSignedInHere(caller: Caller): asserts caller is SignedInHere {
  if (isSignedInHere(caller)) return;
  throw forbidden(
    'session_needed',
    'This needs the token of a sign-in at an application of this service’s own, without offline_access',
  );
}

/** Whether it is the token of a person's sign-in at an application of our own. */
export const isSignedInHere = (caller: Caller): boolean =>
  caller.kind === 'user' && caller.sessionUid !== undefined && caller.firstParty === true && !caller.apiKeyId;

/**
 * For what gives somebody these permissions, or takes over an account that has them: an API key, an application or a machine may
 * do so only as far as its own token goes. Whoever has signed in here is judged by rank alone.
 * @throws AppError 403 session_needed
 */
export const assertPassesOn = (caller: Caller, permissions: readonly string[]): void => {
  const given = permissions.filter((name) => !name.startsWith('!') && !name.endsWith(':own'));
  if (!isSignedInHere(caller) && given.some((name) => !mayPassOn(caller.permissions, name)))
    throw forbidden('session_needed', 'This gives more than the token may do: it needs that of a sign-in here');
};
