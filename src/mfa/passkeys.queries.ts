/** Reads of `passkeys`, and what a use of one changes. */
import type { Db } from '../../db/connect.ts';

export interface Passkey {
  id: string;
  userId: string;
  name: string;
  /** Whether it can be found without saying whose it is, and so sign in alone. */
  discoverable: boolean;
  /** Whether it is copied to the owner's other devices. */
  backedUp: boolean;
  /** Which kind of authenticator made it; zeros where it does not say. */
  aaguid: string;
  lastUsedAt: Date | null;
  createdAt: Date;
}

/** What is checked when it is used. */
export interface PasskeyKey {
  id: string;
  userId: string;
  credentialId: string;
  /** COSE_Key. */
  publicKey: Uint8Array;
  counter: number;
  discoverable: boolean;
  /** Null of one that was imported, until its first use says it. */
  backupEligible: boolean | null;
  /** By which name it knows its owner, of one that was imported. */
  userHandle: string | null;
  /** Whether its owner's account is one that can be signed in to. */
  active: boolean;
}

const columns = ['id', 'userId', 'name', 'discoverable', 'backedUp', 'aaguid', 'lastUsedAt', 'createdAt'] as const;

/** A person's passkeys, the oldest first; there are few. */
export const listPasskeys = (db: Db, userId: string): Promise<Passkey[]> =>
  db('passkeys')
    .where({ userId })
    .orderBy([{ column: 'createdAt' }, { column: 'id' }])
    .select(...columns);

export const findPasskey = (db: Db, userId: string, id: string): Promise<Passkey | undefined> =>
  db('passkeys')
    .where({ id, userId })
    .first(...columns);

/** What a browser needs to find a person's passkeys, or to make no second one where there is one. */
export const listDescriptors = (db: Db, userId: string): Promise<{ credentialId: string; transports: string[] }[]> =>
  db('passkeys').where({ userId }).orderBy('createdAt').select('credentialId', 'transports');

export const findPasskeyKey = async (db: Db, credentialId: string): Promise<PasskeyKey | undefined> => {
  const row = (await db('passkeys')
    .join('users', 'users.id', 'passkeys.userId')
    .where({ credentialId })
    .first(
      'passkeys.id',
      'userId',
      'credentialId',
      'publicKey',
      'counter',
      'discoverable',
      'backupEligible',
      'userHandle',
      'users.status',
    )) as (Omit<PasskeyKey, 'active' | 'counter'> & { counter: string | number; status: string }) | undefined;
  if (!row) return undefined;
  const { status, counter, ...passkey } = row;
  return { ...passkey, counter: Number(counter), active: status === 'active' };
};

/**
 * Notes a use. The database decides: of two at the same time with the same counter one fails, unless the authenticator
 * does not count (WebAuthn Level 3 section 6.1.1: then it says 0 for ever).
 * @returns false when the passkey is gone, or its counter is not behind this one
 */
export const usePasskey = async (
  db: Db,
  id: string,
  { counter, backupEligible, backedUp }: { counter: number; backupEligible: boolean; backedUp: boolean },
): Promise<boolean> =>
  (await db('passkeys')
    .where({ id })
    .where((row) => (counter === 0 ? row.where({ counter: 0 }) : row.where('counter', '<', counter)))
    .update({ counter, backupEligible, backedUp, lastUsedAt: db.fn.now() })) === 1;
