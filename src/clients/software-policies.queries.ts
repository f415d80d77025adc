/** Reads of `software_policies` and `initial_access_tokens`. */
import type { Db } from '../../db/connect.ts';
import type { Profile } from './client-profiles.ts';

/** What clients may register that come with a token of this policy. */
export interface SoftwarePolicy {
  name: string;
  description: string | null;
  grantTypes: string[];
  /** Null: any. */
  redirectHosts: string[] | null;
  /** Beside the scopes of OpenID Connect. */
  scope: string | null;
  /** The profile that its clients are held to. */
  profile: Profile | null;
  /** False: confidential clients may do without PKCE. */
  requirePkce: boolean;
  createdAt: Date;
  updatedAt: Date;
}

const policyColumns = [
  'name',
  'description',
  'grantTypes',
  'redirectHosts',
  'scope',
  'profile',
  'requirePkce',
  'createdAt',
  'updatedAt',
] as const;

export const findPolicy = (db: Db, name: string): Promise<SoftwarePolicy | undefined> =>
  db('softwarePolicies')
    .where({ name })
    .first(...policyColumns);

/** In order of their names. */
export const listPolicies = (db: Db, { after, limit }: { after?: string | undefined; limit: number }) =>
  db('softwarePolicies')
    .modify((query) => {
      if (after !== undefined) query.where('name', '>', after);
    })
    .orderBy('name')
    .limit(limit)
    .select(...policyColumns) as Promise<SoftwarePolicy[]>;

/** A token with which a client may register itself (RFC 7591 section 3). */
export interface InitialAccessToken {
  id: string;
  note: string;
  softwarePolicy: string | null;
  /** Null: any number. */
  usesLeft: number | null;
  /** Who answers for the clients; null: the operator. */
  createdBy: string | null;
  createdAt: Date;
  expiresAt: Date;
}

const tokenColumns = ['id', 'note', 'softwarePolicy', 'usesLeft', 'createdBy', 'createdAt', 'expiresAt'] as const;

export const findInitialToken = (db: Db, where: { id: string } | { tokenHash: string }) =>
  db('initialAccessTokens')
    .where(where)
    .where('expiresAt', '>', db.fn.now())
    .first(...tokenColumns) as Promise<InitialAccessToken | undefined>;

/** Those that have not expired, in order of their ids, which is that of their creation. */
export const listInitialTokens = (db: Db, { after, limit }: { after?: string | undefined; limit: number }) =>
  db('initialAccessTokens')
    .where('expiresAt', '>', db.fn.now())
    .modify((query) => {
      if (after !== undefined) query.where('id', '>', after);
    })
    .orderBy('id')
    .limit(limit)
    .select(...tokenColumns) as Promise<InitialAccessToken[]>;
