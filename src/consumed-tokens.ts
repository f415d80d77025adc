/** Single use of values that are sealed and handed out, and of which nothing is stored until they come back. */
import type { Db } from '../db/connect.ts';
import { hashToken } from './secrets.ts';

/**
 * Uses a value up, in the transaction of what it is used for: of two that come at the same time the second waits for the
 * first, and loses if that is committed.
 * @param id what tells the value from all others, of whatever kind @param expiresAt in milliseconds since the epoch
 * @returns false when it was used before
 */
export const consumeOnce = async (db: Db, id: string, expiresAt: number): Promise<boolean> => {
  const rows = await db('consumedTokens')
    .insert({ tokenHash: hashToken(id), expiresAt: new Date(expiresAt) })
    .onConflict('tokenHash')
    .ignore()
    .returning('tokenHash');
  return rows.length === 1;
};

/** Whether a value was used up, as `consumeOnce` has it. */
export const isConsumed = async (db: Db, id: string): Promise<boolean> =>
  (await db('consumedTokens')
    .where({ tokenHash: hashToken(id) })
    .first('tokenHash')) !== undefined;
