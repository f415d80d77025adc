/** Whether a sign-in is fresh and strong enough to change how one signs in, or to carry off what is known of one. */
import type { Db } from '../../db/connect.ts';
import { findFactors, hasStrongFactor } from '../mfa/factors.queries.ts';

/** How old it may be, in seconds. */
export const recentSignInSeconds = 600;

/** What a sign-in was: the methods (RFC 8176), and when, in seconds since 1970. */
export interface PastProof {
  userId: string;
  amr: readonly string[];
  authTime: number;
}

/**
 * What a sign-in lacks. A session that was left open, or was stolen, is old; one that had no second factor although its
 * person has one (a remembered browser excuses that, and may have been left open too) is weak.
 */
export const findLacking = async (
  db: Db,
  { userId, amr, authTime }: PastProof,
): Promise<{ stale: boolean; weak: boolean }> => ({
  stale: Date.now() / 1000 - authTime > recentSignInSeconds,
  weak: !amr.includes('mfa') && hasStrongFactor(await findFactors(db, userId)),
});
