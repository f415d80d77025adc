/**
 * Codes of six digits that people type. There are only a million, so what is stored is an HMAC under a key that is not
 * in the database, bound to its row; five tries end a code, ten minutes do, and so does a newer one.
 */
import { randomInt } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { equalInConstantTime, type Secrets } from '../secrets.ts';
import { nobody } from '../users/users.queries.ts';

export type CodePurpose = 'verify-email' | 'verify-phone' | 'mfa' | 'sign-in' | 'change-email';
export type CodeChannel = 'email' | 'sms';

export const codeMinutes = 10;
export const codeTries = 5;

const macInput = (id: string, code: string) => `${id} ${code}`;
const hashCode = (secrets: Secrets, id: string, code: string): string =>
  secrets.mac('one-time-code', macInput(id, code));

/**
 * Under what the codes of a mail address are kept. It is not a user's id, so that an address without an account has
 * codes as well, which nobody is sent: a guess then costs the same work, whether there is an account or not.
 */
export const emailSubject = (secrets: Secrets, email: string): string => secrets.mac('code-subject', email);

export interface NewCode {
  purpose: CodePurpose;
  /** Whose code it is: a user's id, or `emailSubject`. Of a purpose and subject there is one code at a time. */
  subject: string;
  /** Null when the code is for nobody and will never be right. */
  userId: string | null;
  channel: CodeChannel;
  /** Where the code is sent, when that must be remembered until it is used; stored sealed. */
  destination?: string;
}

/** Makes a code that replaces the earlier one of its purpose and subject. Pass the transaction that sends it. */
export const createOneTimeCode = async (
  db: Db,
  secrets: Secrets,
  { purpose, subject, userId, channel, destination }: NewCode,
): Promise<string> => {
  const id = uuid();
  const code = String(randomInt(1_000_000)).padStart(6, '0');
  const row = {
    id,
    userId,
    channel,
    codeHash: hashCode(secrets, id, code),
    destinationEncrypted: destination === undefined ? null : secrets.seal('one-time-code', id, destination),
    tries: 0,
    expiresAt: db.raw(`now() + interval '${codeMinutes} minutes'`),
    consumedAt: null,
    createdAt: db.fn.now(),
  };
  await db('oneTimeCodes')
    .insert({ ...row, purpose, subject })
    .onConflict(['purpose', 'subject'])
    .merge(row);
  return code;
};

export interface CodeUse {
  purpose: CodePurpose;
  subject: string;
  code: string;
  /** The code must have been sent there, when this is given. */
  destination?: string;
}

/** How often codes may be tried. */
export interface CodeLimits {
  /** Counts a try, whatever comes of it, for the address that it comes from. @throws AppError 429 */
  limitCodeAddress(address: string): Promise<void>;
  /** Counts a try of a code that is there. @throws AppError 429 */
  limitCodes(purpose: CodePurpose, subject: string): Promise<void>;
  /** Gives a try back: the code was right. */
  returnCode(purpose: CodePurpose, subject: string, address: string): Promise<void>;
}

interface CodeRow {
  id: string;
  userId: string | null;
  channel: CodeChannel;
  codeHash: string;
  destinationEncrypted: Uint8Array | null;
}

/** A code that was right. */
export interface MatchedCode {
  id: string;
  userId: string | null;
  channel: CodeChannel;
  /** Where it was sent, if that was remembered. */
  destination: string | undefined;
}

/**
 * Compares a code, and does not use it up yet. The try is counted before anything is compared, in a statement of its own that
 * no failure takes back: so `db` must not be a transaction.
 * @param onTry called when there is a code to compare with, before that is done; what it throws is thrown
 * @returns undefined when the code is wrong, expired, replaced, tried too often or already used
 */
export const matchOneTimeCode = async (
  db: Db,
  secrets: Secrets,
  { purpose, subject, code, destination }: CodeUse,
  onTry: () => Promise<void> = () => Promise.resolve(),
): Promise<MatchedCode | undefined> => {
  const [row]: CodeRow[] = await db('oneTimeCodes')
    .where({ purpose, subject, consumedAt: null })
    .where('expiresAt', '>', db.fn.now())
    .where('tries', '<', codeTries)
    .update({ tries: db.raw('tries + 1') })
    .returning(['id', 'userId', 'channel', 'codeHash', 'destinationEncrypted']);
  if (row) await onTry();
  const expected = row?.codeHash ?? hashCode(secrets, nobody, '');
  const given = secrets.macs('one-time-code', macInput(row?.id ?? nobody, code));
  const right = given.map((hash) => equalInConstantTime(hash, expected)).includes(true);
  if (!row || !right) return undefined;
  const sentTo =
    row.destinationEncrypted === null
      ? undefined
      : secrets.open('one-time-code', row.id, row.destinationEncrypted).toString();
  if (destination !== undefined && (sentTo === undefined || !equalInConstantTime(destination, sentTo)))
    return undefined;
  return { id: row.id, userId: row.userId, channel: row.channel, destination: sentTo };
};

/** Uses a code up that was right, in the transaction of what it is for. @returns false when it was used meanwhile */
export const consumeOneTimeCode = async (db: Db, id: string): Promise<boolean> =>
  (await db('oneTimeCodes').where({ id, consumedAt: null }).update({ consumedAt: db.fn.now() })) === 1;

/**
 * Uses a code up, and does in the same transaction what it was asked for; see `matchOneTimeCode`.
 * @param effect if it throws, the code is not used up
 * @returns what the effect did; undefined when the code is not right, or no longer
 */
export const useOneTimeCode = async <T>(
  db: Db,
  secrets: Secrets,
  use: CodeUse,
  effect: (db: Db, used: Omit<MatchedCode, 'id'>) => Promise<T>,
  onTry?: () => Promise<void>,
): Promise<T | undefined> => {
  const matched = await matchOneTimeCode(db, secrets, use, onTry);
  if (!matched) return undefined;
  const { id, ...used } = matched;
  return transact(db, async (db) => ((await consumeOneTimeCode(db, id)) ? effect(db, used) : undefined));
};

/**
 * Tries a code under the limits: of an address, and of a purpose and subject. The latter counts only while there is a code
 * to guess, which only a code's being sent makes: else anybody could use up the tries of somebody who has yet to ask for one.
 * @throws AppError 429
 */
export const tryOneTimeCode = async <T>(
  deps: CodeLimits & { db: Db; secrets: Secrets },
  { address = '' }: { address?: string | undefined },
  use: CodeUse,
  effect: Parameters<typeof useOneTimeCode<T>>[3],
): Promise<T | undefined> => {
  const { purpose, subject } = use;
  await deps.limitCodeAddress(address);
  const done = await useOneTimeCode(deps.db, deps.secrets, use, effect, () => deps.limitCodes(purpose, subject));
  if (done !== undefined) await deps.returnCode(purpose, subject, address);
  return done;
};
