/** What every command that changes somebody's second factors is given, and sees to before it does. */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { conflict, forbidden, notFound, unauthenticated } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import { isSessionLive } from '../sessions/sessions.queries.ts';
import { lockUser } from '../users/users.queries.ts';
import { findFactors, hasStrongFactor } from './factors.queries.ts';

/** What the owner of an account is told by mail. No name of a factor is: whoever gave it would have us send a message of theirs. */
export type FactorChange =
  | 'totp-added'
  | 'totp-removed'
  | 'passkey-added'
  | 'passkey-removed'
  /** One was used whose counter went backwards: perhaps there are two of it. */
  | 'passkey-refused'
  | 'backup-code-used'
  | 'backup-codes-made'
  | 'factors-reset';

export interface FactorDeps {
  db: Db;
  secrets: Secrets;
  /** Mails the owner what was changed, in the transaction that changes it. */
  tellOwner(db: Db, actor: Actor, userId: string, change: FactorChange): Promise<void>;
  /** Whether policy asks this person for a second factor, so that the last one must stay. */
  needsFactor(db: Db, userId: string): Promise<boolean>;
  /** Has every browser asked for the second factor again. */
  forgetBrowsers(db: Db, userId: string): Promise<void>;
}

/**
 * Why somebody may change an account's factors: a session, which must not have ended by then, or a password that was shown
 * just now (while signing in), which must still be the account's; `credential` is when it had been set, in milliseconds.
 */
export type Standing = { sessionUid: string } | { credential: number };

/**
 * Has changes of somebody's factors come one after the other, and a reset of the password before or after them: a factor
 * outlives sessions and passwords, so whoever adds one must still be in then. Pass the transaction that makes the change.
 * @throws AppError 401 invalid_token when the session has ended or the password was changed, 404 user_not_found
 */
export const lockForFactors = async (db: Db, userId: string, standing: Standing): Promise<void> => {
  if ((await lockUser(db, userId)) !== 'active') throw notFound('user');
  if ('sessionUid' in standing) {
    if (!(await isSessionLive(db, userId, standing.sessionUid)))
      throw unauthenticated('invalid_token', 'The session has ended');
    return;
  }
  const user = await db('users').where({ id: userId }).first('passwordChangedAt');
  if (Number(user?.passwordChangedAt ?? 0) !== standing.credential)
    throw unauthenticated('invalid_token', 'The password was changed meanwhile');
};

/**
 * As `lockForFactors`, for what adds a factor. In a session the account's address must be verified: else somebody could
 * register with a stranger's address, add a factor of their own, and have the stranger's account from then on.
 * @throws AppError 401 invalid_token, 403 email_not_verified, 404 user_not_found
 */
export const lockForNewFactor = async (db: Db, userId: string, standing: Standing): Promise<void> => {
  await lockForFactors(db, userId, standing);
  if (!('sessionUid' in standing)) return;
  const user = await db('users').where({ id: userId }).first('emailVerifiedAt');
  if (!user?.emailVerifiedAt) throw forbidden('email_not_verified', 'Verify the address of the account first');
};

/**
 * Call it once a factor is gone, in the transaction that removes it: backup codes stand in for a factor, so with the last
 * one they go.
 * @throws AppError 409 last_factor when none is left and policy wants one
 */
export const settleRemoval = async (
  { needsFactor }: Pick<FactorDeps, 'needsFactor'>,
  db: Db,
  userId: string,
): Promise<void> => {
  if (hasStrongFactor(await findFactors(db, userId))) return;
  if (await needsFactor(db, userId))
    throw conflict('last_factor', 'This account must have a second factor: add another one before this one goes');
  await db('backupCodes').where({ userId }).delete();
};
