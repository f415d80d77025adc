/** Codes of a second factor as they are typed: of an authenticator app, or a backup code in its place. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import { lockUser } from '../users/users.queries.ts';
import { isBackupCode, useBackupCode } from './backup-codes.commands.ts';
import type { FactorDeps } from './factor-changes.ts';
import { useTotp } from './totp.commands.ts';

export type FactorCodeKind = 'totp' | 'backup-code';

/** How often codes may be tried, wherever that is: at sign-in, over REST and on a page together. */
export interface FactorLimits {
  /** Counts a try, whatever comes of it, for the address that it comes from. @throws AppError 429 */
  limitCodeAddress(address: string): Promise<void>;
  /** Counts a try of an account's codes: five, and then a pause. @throws AppError 429 */
  limitFactorTries(userId: string): Promise<void>;
  /** Gives a try back: the code was right. Without an address, what was counted for that is given back elsewhere. */
  returnFactorTry(userId: string, address?: string): Promise<void>;
}

export const invalidCode = () => invalid('invalid_code', 'The code is wrong, or was used before');

/**
 * Uses a code up, of whichever kind it is, in the transaction of what it is for; a backup code is written down and the owner
 * told of it.
 * @returns undefined when it is not right, or was used
 */
export const useFactorCode = async (
  deps: Pick<FactorDeps, 'secrets' | 'tellOwner'>,
  db: Db,
  actor: Actor,
  userId: string,
  code: string,
): Promise<FactorCodeKind | undefined> => {
  if (!isBackupCode(code)) return (await useTotp(db, deps.secrets, userId, code)) ? 'totp' : undefined;
  if (!(await useBackupCode(db, deps.secrets, userId, code))) return undefined;
  await recordEvent(db, actor, { action: 'backup_code.use', target: { type: 'user', id: userId } });
  await deps.tellOwner(db, actor, userId, 'backup-code-used');
  return 'backup-code';
};

/** What a code that was tried in vain leaves behind. */
export type FactorOperation = 'validate' | 'change';

/**
 * Tries a code of somebody who is signed in, and does in the same transaction what it was asked for. The try is counted
 * before anything is compared. Whoever signs in has a failed sign-in written down instead (see `src/auth/proceed.commands.ts`).
 * @param effect if it throws, the code is not used up
 * @returns what the effect did; undefined when the code is not right, or was used
 * @throws AppError 429
 */
export const tryFactorCode = async <T>(
  deps: Pick<FactorDeps, 'db' | 'secrets' | 'tellOwner'> & FactorLimits,
  actor: Actor,
  { userId, code, operation }: { userId: string; code: string; operation: FactorOperation },
  effect: (db: Db, kind: FactorCodeKind) => Promise<T>,
): Promise<{ done: T } | undefined> => {
  const address = actor.address ?? '';
  await deps.limitCodeAddress(address);
  await deps.limitFactorTries(userId);
  let right = false;
  try {
    const result = await transact(deps.db, async (db) => {
      // First, as everything does that changes factors: else two that hold one row each would wait for one another.
      await lockUser(db, userId);
      const kind = await useFactorCode(deps, db, actor, userId, code);
      right = kind !== undefined;
      return kind && { done: await effect(db, kind) };
    });
    if (result) return result;
  } finally {
    if (right) await deps.returnFactorTry(userId, address);
  }
  await deps.db.transaction((db) =>
    recordEvent(db, actor, {
      action: 'factor.verify_failed',
      target: { type: 'user', id: userId },
      meta: { operation },
    }),
  );
  return undefined;
};

/** What somebody shows before their factors are changed. */
export interface FactorProof {
  code?: string | undefined;
  password?: string | undefined;
}
