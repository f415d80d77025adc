/** Who calls a route, as the token that was sent says. */
import type { Actor } from '../audit/logs.commands.ts';
import { forbidden } from '../errors.ts';
import { type Decision, decide, type Facts, noPolicies, type Question, type SubjectFacts } from '../policies/decide.ts';

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
  /** What they may do with it besides, inside the organizations that they belong to and in those beneath them. */
  organizations?: SubjectFacts['organizations'];
  /** Of a token that is for one organization alone: `organizations` has that one. */
  organizationId?: string;
  groups?: SubjectFacts['groups'];
  domains?: SubjectFacts['domains'];
  /** The policies that are active, and what they may ask about the request. */
  policiesFor?: Facts['policiesFor'];
  context?: Question['context'];
  /** What the token is bound to (RFC 7800 `cnf`): whoever sends it must prove that they hold it. */
  confirmation?: Readonly<{ jkt?: string; 'x5t#S256'?: string }>;
  /** What `/auth/me` tells of a user, where it was read along with the token. */
  person?: unknown;
  /** Of a token of an external issuer: what it says of the person. */
  claims?: Readonly<Record<string, unknown>>;
}

/** What it is that a caller wants to do something to, as far as it matters to who may. */
export type Target = Pick<Question['resource'], 'id' | 'owner' | 'organizations' | 'every' | 'properties'>;

/** The question whether the caller may do what the permission names. */
export const questionOf = ({ kind, id, context }: Caller, permission: string, target: Target = {}): Question => {
  const [type = '', action = '', scope] = permission.split(':');
  const owner = scope === 'own' && !Object.keys(target).length ? id : target.owner;
  return { subject: { type: kind, id }, action, resource: { type, ...target, owner }, context };
};

/**
 * Whether the caller may do what the permission names, and why. What is wanted is its resource and action; which scope suffices
 * follows from the target: `own` for its owner, `organization` for a member of one of its organizations or of one above
 * them, else `any`. Without a target a permission that ends in `own` is for the caller's own things.
 */
export const decideFor = (caller: Caller, permission: string, target: Target = {}): Decision => {
  const scope = permission.split(':')[2];
  // What is one's own is a person's: an application has no account, sessions or keys.
  if (scope === 'own' && !Object.keys(target).length && caller.kind !== 'user')
    return { allowed: false, because: { rule: 'default', permission } };
  const { organizations = [], policiesFor = noPolicies } = caller;
  return decide(questionOf(caller, permission, target), {
    subject: { ...caller, organizations },
    scope: caller.scope,
    policiesFor,
  });
};

/** As `decideFor`: whether the caller may, for one whose thing it is. */
export const may = (caller: Caller, permission: string, owner?: string): boolean =>
  decideFor(caller, permission, owner === undefined ? {} : { owner }).allowed;

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
