/** Reads of authenticator apps. */
import type { Db } from '../../db/connect.ts';
import type { TotpParameters } from './totp.ts';

export interface TotpRow extends TotpParameters {
  id: string;
  secretEncrypted: Uint8Array;
}

const columns = ['id', 'secretEncrypted', 'algorithm', 'digits', 'periodSeconds'] as const;

/** The apps that count, those used last first. */
export const listUsableTotp = (db: Db, userId: string): Promise<TotpRow[]> =>
  db('totpDevices')
    .where({ userId })
    .whereNotNull('confirmedAt')
    .orderByRaw('last_used_at desc nulls last, id')
    .select(...columns);

/** How many apps count. */
export const countTotp = async (db: Db, userId: string): Promise<number> =>
  Number((await db('totpDevices').where({ userId }).whereNotNull('confirmedAt').count('* as count').first())?.count);

/** The app that is being set up. */
export const findPendingTotp = (db: Db, userId: string): Promise<TotpRow | undefined> =>
  db('totpDevices')
    .where({ userId, confirmedAt: null })
    .where('expiresAt', '>', db.fn.now())
    .orderBy('id', 'desc')
    .first(...columns);
