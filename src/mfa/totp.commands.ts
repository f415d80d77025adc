/**
 * Authenticator apps. A secret is shown while its app is set up, and sealed under the row's id from the beginning; a code
 * works once, which the database decides.
 */
import { randomBytes } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import { createBackupCodes } from './backup-codes.commands.ts';
import { type FactorDeps, lockForFactors, lockForNewFactor, type Standing, settleRemoval } from './factor-changes.ts';
import { findFactors, hasStrongFactor } from './factors.queries.ts';
import { countTotp, findPendingTotp, listUsableTotp, type TotpRow } from './totp.queries.ts';
import { base32, matchTotp, otpauthUrl, usualTotp } from './totp.ts';

/** How many apps one person may have. */
export const totpMax = 5;
/** How long an app may take to be set up. */
export const enrolmentMinutes = 15;

/** 160 bits, as RFC 4226 section 4 recommends. */
const secretBytes = 20;

export const sealTotpSecret = (secrets: Secrets, id: string, secret: Uint8Array): Buffer =>
  secrets.seal('totp', id, secret);

const openSecret = (secrets: Secrets, { id, secretEncrypted }: Pick<TotpRow, 'id' | 'secretEncrypted'>): Buffer =>
  secrets.open('totp', id, secretEncrypted);

/** As the code is typed: spaces between the digits do no harm. */
const digitsOf = (code: string): string => code.replace(/[\s-]/g, '');

/** What an app needs to know: as a key to type in, and as the URL that a QR code says. */
export interface TotpEnrolment {
  id: string;
  /** Base 32 (RFC 4648). */
  secret: string;
  otpauthUrl: string;
}

/** Who is shown in the app. */
export interface TotpLabel {
  /** The service's name. */
  issuer: string;
  /** The account's address. */
  account: string;
}

const enrolmentOf = (secrets: Secrets, row: TotpRow, label: TotpLabel): TotpEnrolment => {
  const secret = openSecret(secrets, row);
  return { id: row.id, secret: base32(secret), otpauthUrl: otpauthUrl(secret, label, row) };
};

/**
 * Begins to set up an authenticator app, which counts for nothing until a code of it is shown, and takes the place of one
 * that was begun before.
 * @throws AppError 401 invalid_token when the standing is gone, 403 email_not_verified, 409 totp_limit_reached
 */
export const beginTotp = (
  { secrets }: Pick<FactorDeps, 'secrets'>,
  db: Db,
  actor: Actor,
  { userId, standing, name, label }: { userId: string; standing: Standing; name: string; label: TotpLabel },
): Promise<TotpEnrolment> =>
  transact(db, async (db) => {
    await lockForNewFactor(db, userId, standing);
    if ((await countTotp(db, userId)) >= totpMax)
      throw conflict('totp_limit_reached', `There are ${totpMax} authenticator apps already; remove one first`);
    await db('totpDevices').where({ userId, confirmedAt: null }).delete();
    const id = uuid();
    const row = { id, secretEncrypted: sealTotpSecret(secrets, id, randomBytes(secretBytes)), ...usualTotp };
    await db('totpDevices').insert({
      ...row,
      userId,
      name,
      expiresAt: db.raw(`now() + interval '${enrolmentMinutes} minutes'`),
    });
    await recordEvent(db, actor, { action: 'factor.begin', target: userTarget(userId), meta: { factor: 'totp', id } });
    return enrolmentOf(secrets, row, label);
  });

/** What is being set up, to be shown again; undefined when nothing is. */
export const showPendingTotp = async (
  db: Db,
  secrets: Secrets,
  userId: string,
  label: TotpLabel,
): Promise<TotpEnrolment | undefined> => {
  const row = await findPendingTotp(db, userId);
  return row && enrolmentOf(secrets, row, label);
};

export interface ConfirmedTotp {
  id: string;
  /** Shown this once; none for somebody who has some already. */
  backupCodes: string[];
}

/**
 * Turns the app on that is being set up, when the code shows that it works, and tells the owner by mail. That code opens
 * nothing else. With the first factor come backup codes, and browsers that were remembered are so no longer: what had let
 * them in was less.
 * @param name for the app, where it is only given now
 * @returns undefined when the code is wrong, or there is nothing to set up any more
 * @throws AppError 401 invalid_token when the standing is gone, 403 email_not_verified
 */
export const confirmTotp = (
  deps: FactorDeps,
  db: Db,
  actor: Actor,
  { userId, standing, code, name }: { userId: string; standing: Standing; code: string; name?: string | undefined },
): Promise<ConfirmedTotp | undefined> =>
  transact(db, async (db) => {
    await lockForNewFactor(db, userId, standing);
    const row = await findPendingTotp(db, userId);
    const step = row && matchTotp(openSecret(deps.secrets, row), digitsOf(code), row);
    if (!row || step === undefined) return undefined;
    const before = await findFactors(db, userId);
    await db('totpDevices')
      .where({ id: row.id })
      .update({
        confirmedAt: db.fn.now(),
        lastUsedAt: db.fn.now(),
        lastStep: step,
        expiresAt: null,
        ...(name === undefined ? {} : { name }),
      });
    const backupCodes = before.backupCodes ? [] : await createBackupCodes(db, deps.secrets, userId);
    if (!hasStrongFactor(before)) await deps.forgetBrowsers(db, userId);
    await recordEvent(db, actor, {
      action: 'factor.add',
      target: userTarget(userId),
      meta: { factor: 'totp', id: row.id, backupCodes: backupCodes.length },
    });
    await deps.tellOwner(db, actor, userId, 'totp-added');
    return { id: row.id, backupCodes };
  });

/**
 * Uses a code up, in the transaction of what it is for: the step that it is of must be later than the last that was used, so
 * of two that bring the same code one wins (RFC 6238 section 5.2).
 * @returns false when it is no code of any of the user's apps, or was used
 */
export const useTotp = async (db: Db, secrets: Secrets, userId: string, code: string): Promise<boolean> => {
  const digits = digitsOf(code);
  for (const row of await listUsableTotp(db, userId)) {
    const step = matchTotp(openSecret(secrets, row), digits, row);
    if (step !== undefined && (await takeStep(db, row.id, step))) return true;
  }
  return false;
};

const takeStep = async (db: Db, id: string, step: number): Promise<boolean> =>
  (await db('totpDevices')
    .where({ id })
    .where((either) => either.whereNull('lastStep').orWhere('lastStep', '<', step))
    .update({ lastStep: step, lastUsedAt: db.fn.now() })) === 1;

/**
 * Removes every authenticator app, one that is being set up included, and tells the owner. Without any other factor the
 * backup codes go too.
 * @throws AppError 401 invalid_token, 409 last_factor when policy wants one to stay
 */
export const disableTotp = (
  deps: FactorDeps,
  db: Db,
  actor: Actor,
  { userId, standing }: { userId: string; standing: Standing },
): Promise<void> =>
  transact(db, async (db) => {
    await lockForFactors(db, userId, standing);
    const removed: { id: string; confirmedAt: Date | null }[] = await db('totpDevices')
      .where({ userId })
      .delete()
      .returning(['id', 'confirmedAt']);
    const confirmed = removed.filter(({ confirmedAt }) => confirmedAt !== null);
    if (!confirmed.length) return;
    await settleRemoval(deps, db, userId);
    await recordEvent(db, actor, {
      action: 'factor.remove',
      target: userTarget(userId),
      meta: { factor: 'totp', ids: confirmed.map(({ id }) => id) },
    });
    await deps.tellOwner(db, actor, userId, 'totp-removed');
  });
