/**
 * Codes of six digits that people type. There are only a million, so what is stored is an HMAC under a key that is not
 * in the database, bound to its row; five tries end a code, ten minutes do, and so does a newer one.
 */
import { randomInt } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { equalInConstantTime, type Secrets } from '../secrets.ts';

export type CodePurpose = 'verify-email' | 'verify-phone' | 'mfa';
export type CodeChannel = 'email' | 'sms';

export const codeMinutes = 10;
export const codeTries = 5;

/** Stands in for a row that is not there, so that the same is computed for it. */
const nobody = '00000000-0000-0000-0000-000000000000';

const hashCode = (secrets: Secrets, id: string, code: string): string => secrets.mac('one-time-code', `${id} ${code}`);

/**
 * Under what the codes of a mail address are kept. It is not a user's id, so that an address without an account has
 * codes as well, which nobody is sent: a guess then costs the same work, whether there is an account or not.
 */
export const emailSubject = (secrets: Secrets, email: string): string => secrets.mac('one-time-code', `email ${email}`);

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

interface CodeRow {
  id: string;
  userId: string | null;
  channel: CodeChannel;
  codeHash: string;
  destinationEncrypted: Uint8Array | null;
}

/**
 * Uses a code up, and does in the same transaction what it was asked for. The try is counted before anything is
 * compared, in a statement of its own that no failure takes back: so `db` must not be a transaction.
 * @param effect if it throws, the code is not used up
 * @returns what the effect did; undefined when the code is wrong, expired, replaced, tried too often or already used
 */
export const useOneTimeCode = async <T>(
  db: Db,
  secrets: Secrets,
  { purpose, subject, code, destination }: CodeUse,
  effect: (
    db: Db,
    used: { userId: string | null; channel: CodeChannel; destination: string | undefined },
  ) => Promise<T>,
): Promise<T | undefined> => {
  const [row]: CodeRow[] = await db('oneTimeCodes')
    .where({ purpose, subject, consumedAt: null })
    .where('expiresAt', '>', db.fn.now())
    .where('tries', '<', codeTries)
    .update({ tries: db.raw('tries + 1') })
    .returning(['id', 'userId', 'channel', 'codeHash', 'destinationEncrypted']);
  const expected = row?.codeHash ?? hashCode(secrets, nobody, '');
  const right = equalInConstantTime(hashCode(secrets, row?.id ?? nobody, code), expected);
  if (!row || !right) return undefined;
  const sentTo =
    row.destinationEncrypted === null
      ? undefined
      : secrets.open('one-time-code', row.id, row.destinationEncrypted).toString();
  if (destination !== undefined && (sentTo === undefined || !equalInConstantTime(destination, sentTo)))
    return undefined;
  return db.transaction(async (db) => {
    const won = await db('oneTimeCodes').where({ id: row.id, consumedAt: null }).update({ consumedAt: db.fn.now() });
    return won === 1 ? effect(db, { userId: row.userId, channel: row.channel, destination: sentTo }) : undefined;
  });
};
