/**
 * Backup codes: ten that each stand in once for a lost factor. They are shown when they are made and kept as an HMAC under a
 * key that is not in the database, bound to their owner; new ones void the old.
 */
import { randomInt } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import { type FactorDeps, lockForFactors, type Standing } from './factor-changes.ts';
import { findFactors, hasStrongFactor } from './factors.queries.ts';

export const backupCodeCount = 10;
/** Crockford's base 32: no letter in it can be taken for a digit, or spells what one would not print. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
/** 60 random bits each. */
const characters = 12;

/** As people type them: case, spaces and dashes do not matter, nor do letters that look like digits. */
export const normalizeBackupCode = (code: string): string =>
  code
    .toLowerCase()
    .replace(/[\s\p{Pd}]/gu, '')
    .replaceAll('o', '0')
    .replace(/[il]/g, '1');

/** Whether it may be one: a code of an authenticator app or from a mail has digits alone, and fewer. */
export const isBackupCode = (code: string): boolean =>
  new RegExp(`^[${alphabet}]{${characters}}$`).test(normalizeBackupCode(code));

const newCode = (): string => {
  const text = Array.from({ length: characters }, () => alphabet[randomInt(alphabet.length)]).join('');
  return (text.match(/.{4}/g) as string[]).join('-');
};

const hashCode = (secrets: Secrets, userId: string, code: string): string =>
  secrets.mac('backup-code', `${userId} ${normalizeBackupCode(code)}`);

/**
 * Makes ten codes that void the earlier ones. Pass the transaction that records why.
 * @returns the codes, this once
 */
export const createBackupCodes = async (db: Db, secrets: Secrets, userId: string): Promise<string[]> => {
  const codes = new Set<string>();
  while (codes.size < backupCodeCount) codes.add(newCode());
  await db('backupCodes').where({ userId }).delete();
  await db('backupCodes').insert(
    [...codes].map((code) => ({ id: uuid(), userId, codeHash: hashCode(secrets, userId, code) })),
  );
  return [...codes];
};

/**
 * Uses a code up, in the transaction of what it is for: of two that bring the same one at a time, one wins.
 * @returns false when it is not one of the user's, or was used
 */
export const useBackupCode = async (db: Db, secrets: Secrets, userId: string, code: string): Promise<boolean> => {
  if (!isBackupCode(code)) return false;
  const used = await db('backupCodes')
    .where({ userId, codeHash: hashCode(secrets, userId, code), consumedAt: null })
    .update({ consumedAt: db.fn.now() });
  return used === 1;
};

/**
 * Gives somebody new codes, and tells them by mail.
 * @returns the codes, this once
 * @throws AppError 401 invalid_token, 409 no_second_factor when there is nothing that they could stand in for
 */
export const regenerateBackupCodes = (
  deps: FactorDeps,
  db: Db,
  actor: Actor,
  { userId, standing }: { userId: string; standing: Standing },
): Promise<string[]> =>
  transact(db, async (db) => {
    await lockForFactors(db, userId, standing);
    if (!hasStrongFactor(await findFactors(db, userId)))
      throw conflict('no_second_factor', 'There is no authenticator app or passkey that the codes could stand in for');
    const codes = await createBackupCodes(db, deps.secrets, userId);
    await recordEvent(db, actor, { action: 'backup_codes.create', target: { type: 'user', id: userId } });
    await deps.tellOwner(db, actor, userId, 'backup-codes-made');
    return codes;
  });
