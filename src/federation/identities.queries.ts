/** Reads and single-statement writes of `identities`: whose account elsewhere signs whom in here. */
import type { Db } from '../../db/connect.ts';

export interface Identity {
  id: string;
  userId: string;
  providerId: string;
  /** Empty when it was brought from elsewhere and has not been used here. */
  issuer: string;
  subject: string;
  /** The address that the provider gave, for people to know the account by. */
  email: string | null;
  /** Whether a provider that is trusted for addresses said that it is verified. */
  emailProven: boolean;
  lastUsedAt: Date | null;
  createdAt: Date;
}

const columns = [
  ...(['id', 'userId', 'providerId', 'issuer', 'subject', 'email', 'emailProven'] as const),
  ...(['lastUsedAt', 'createdAt'] as const),
] as const;

/** What tells somebody's account at a provider from all others (OpenID Connect Core 1.0 section 5.7: `iss` and `sub`). */
export interface IdentityKey {
  providerId: string;
  issuer: string;
  subject: string;
}

/** The identity; one that was brought from elsewhere is found whatever the issuer. */
export const findIdentity = (db: Db, { providerId, issuer, subject }: IdentityKey): Promise<Identity | undefined> =>
  db('identities')
    .where({ providerId, subject })
    .whereIn('issuer', [issuer, ''])
    .orderBy('issuer', 'desc')
    .first(...columns);

export const listIdentities = (db: Db, userId: string): Promise<Identity[]> =>
  db('identities')
    .where({ userId })
    .orderBy('createdAt')
    .select(...columns);

export type NewIdentity = IdentityKey &
  Pick<Identity, 'userId' | 'email' | 'emailProven'> &
  Partial<Pick<Identity, 'lastUsedAt'>>;

/** @returns undefined when the account there is connected with somebody already */
export const insertIdentity = async (db: Db, identity: NewIdentity): Promise<Identity | undefined> => {
  const [row] = await db('identities')
    .insert(identity)
    .onConflict(['providerId', 'issuer', 'subject'])
    .ignore()
    .returning([...columns]);
  return row;
};

/** Writes down that an identity has signed in, and what the provider says of it now. */
export const touchIdentity = async (
  db: Db,
  id: string,
  changes: Pick<Identity, 'issuer' | 'email' | 'emailProven'>,
): Promise<void> => {
  await db('identities')
    .where({ id })
    .update({ ...changes, lastUsedAt: db.fn.now() });
};

/** @returns what it was; undefined when the person has none of that id */
export const deleteIdentity = async (db: Db, userId: string, id: string): Promise<Identity | undefined> => {
  const [row] = await db('identities')
    .where({ userId, id })
    .delete()
    .returning([...columns]);
  return row;
};

/**
 * The person's ways in beside identities: a password, or a passkey that needs no name. Pass a transaction that has locked the person's row.
 */
export const hasOwnWayIn = async (db: Db, userId: string): Promise<boolean> => {
  const { rows } = (await db.raw(
    `select password_hash is not null or exists (select from passkeys where user_id = users.id and discoverable) as has
       from users where id = ?`,
    [userId],
  )) as { rows: { has: boolean }[] };
  return rows[0]?.has ?? false;
};
