/** Changes to second factors of any kind: renaming and removing one's own, and taking away those of somebody who has lost them. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict, forbidden, notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { findSessionSignIn } from '../sessions/sessions.queries.ts';
import { lockTarget } from '../users/users.commands.ts';
import { type FactorDeps, lockForFactors, type Standing, settleRemoval } from './factor-changes.ts';
import { type FactorLimits, type FactorProof, invalidCode, tryFactorCode } from './factor-codes.commands.ts';
import { type FactorKind, findFactors, hasStrongFactor } from './factors.queries.ts';

const tables: readonly [kind: FactorKind, table: string][] = [
  ['totp', 'totpDevices'],
  ['passkey', 'passkeys'],
];
const tablesOf = (wanted: FactorKind | undefined) => tables.filter(([kind]) => wanted === undefined || kind === wanted);

/** An authenticator app that is being set up is not there yet. */
const setUp = (kind: FactorKind) => (query: { whereNotNull(column: string): unknown }) => {
  if (kind === 'totp') query.whereNotNull('confirmedAt');
};

export interface OwnFactor {
  userId: string;
  standing: Standing;
  id: string;
  /** Where one of another kind is not to be found. */
  kind?: FactorKind;
}

/** @throws AppError 401 invalid_token, 404 factor_not_found */
export const renameFactor = (
  db: Db,
  actor: Actor,
  { userId, standing, id, kind: only, name }: OwnFactor & { name: string },
): Promise<void> =>
  transact(db, async (db) => {
    await lockForFactors(db, userId, standing);
    for (const [kind, table] of tablesOf(only)) {
      if (!(await db(table).where({ id, userId }).modify(setUp(kind)).update({ name }))) continue;
      await recordEvent(db, actor, { action: 'factor.rename', target: userTarget(userId), meta: { factor: kind, id } });
      return;
    }
    throw notFound('factor');
  });

/**
 * Removes one authenticator app or passkey, and tells the owner. With the last one the backup codes go.
 * @throws AppError 401 invalid_token, 404 factor_not_found, 409 last_factor when policy wants one to stay
 */
export const removeFactor = (
  deps: FactorDeps,
  db: Db,
  actor: Actor,
  { userId, standing, id, kind: only }: OwnFactor,
): Promise<void> =>
  transact(db, async (db) => {
    await lockForFactors(db, userId, standing);
    for (const [kind, table] of tablesOf(only)) {
      if (!(await db(table).where({ id, userId }).modify(setUp(kind)).delete())) continue;
      await settleRemoval(deps, db, userId);
      await recordEvent(db, actor, {
        action: 'factor.remove',
        target: userTarget(userId),
        meta: { factor: kind, ids: [id] },
      });
      await deps.tellOwner(db, actor, userId, `${kind}-removed`);
      return;
    }
    throw notFound('factor');
  });

export interface ResetDeps extends Pick<FactorDeps, 'db' | 'tellOwner' | 'forgetBrowsers'> {
  endSessions(db: Db, actor: Actor, userId: string, except: string | undefined, reason: string): Promise<void>;
  /** @throws AppError 403 unless the caller holds all that whoever takes the account over may do with it */
  assertMayTakeOver(db: Db, by: Caller, userId: string): Promise<void>;
}

/**
 * Takes away every second factor of somebody who has lost theirs: apps, passkeys and backup codes. Their sessions end, every
 * browser is asked again, and they are told by mail. From then on the account is worth what its password and mailbox are, so
 * it takes all that the account may do.
 * @throws AppError 403 rank_too_low, exceeds_yours or session_needed, 404 user_not_found, 409 own_account
 */
export const resetFactors = (deps: ResetDeps, actor: Actor, by: Caller, userId: string): Promise<void> =>
  transact(deps.db, async (db) => {
    const { id } = await lockTarget(db, by, userId);
    // One's own are removed with a code of theirs.
    if (by.kind === 'user' && by.id === id) throw conflict('own_account', 'Nobody resets their own factors');
    await deps.assertMayTakeOver(db, by, id);
    const totp = await db('totpDevices').where({ userId: id }).delete();
    const passkeys = await db('passkeys').where({ userId: id }).delete();
    await db('backupCodes').where({ userId: id }).delete();
    await deps.forgetBrowsers(db, id);
    await deps.endSessions(db, actor, id, undefined, 'factors_reset');
    await recordEvent(db, actor, { action: 'factor.reset', target: userTarget(id), meta: { totp, passkeys } });
    await deps.tellOwner(db, actor, id, 'factors-reset');
  });

/** Has every browser of somebody's asked for the second factor again. */
export const forgetAllBrowsers = (
  { db, forgetBrowsers }: Pick<FactorDeps, 'db' | 'forgetBrowsers'>,
  actor: Actor,
  userId: string,
): Promise<void> =>
  db.transaction(async (db) => {
    await forgetBrowsers(db, userId);
    await recordEvent(db, actor, { action: 'factor.forget_browsers', target: userTarget(userId) });
  });

export interface ProofDeps extends FactorDeps, FactorLimits {
  /** @throws AppError 400 with the field `password`, 429 */
  provePassword(actor: Actor, proof: { userId: string; sessionUid: string; password: string }): Promise<void>;
}

const proofNeeded = () =>
  forbidden(
    'factor_proof_needed',
    'This takes a current code of an authenticator app or a backup code in `code`; without any of those, the `password`',
  );

/**
 * Has somebody who is signed in show a factor before theirs are changed, and does the change in the same transaction. Who has
 * an app or backup codes gives a code; the password does only where there is none.
 * @throws AppError 400 invalid_code or with the field `password`, 401, 403 factor_proof_needed, 429; and what `effect` throws
 */
export const withProof = async <T>(
  deps: ProofDeps,
  actor: Actor,
  { userId, sessionUid, code, password }: FactorProof & { userId: string; sessionUid: string },
  effect: (db: Db) => Promise<T>,
): Promise<T> => {
  if (code !== undefined) {
    const result = await tryFactorCode(deps, actor, { userId, code, operation: 'change' }, effect);
    if (!result) throw invalidCode();
    return result.done;
  }
  const assertNoCodes = async (db: Db): Promise<void> => {
    const { totp, backupCodes } = await findFactors(db, userId);
    if (totp || backupCodes) throw proofNeeded();
  };
  await assertNoCodes(deps.db);
  if (password === undefined) throw proofNeeded();
  await deps.provePassword(actor, { userId, sessionUid, password });
  return transact(deps.db, async (db) => {
    await lockForFactors(db, userId, { sessionUid });
    await assertNoCodes(db);
    return effect(db);
  });
};

/** How old a sign-in may be that adds a factor without any further proof, in seconds. */
const recentSeconds = 600;

/** Whether the session was begun lately, by the strongest factor that its owner has. */
export const isFreshSession = async (db: Db, userId: string, sessionUid: string): Promise<boolean> => {
  const signIn = await findSessionSignIn(db, userId, sessionUid);
  if (!signIn || Date.now() / 1000 - signIn.authTime > recentSeconds) return false;
  return signIn.amr.includes('mfa') || !hasStrongFactor(await findFactors(db, userId));
};
