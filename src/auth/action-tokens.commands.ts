/** Single-use tokens that travel in mailed links: stored hashed, they expire, and a newer one replaces an older one. */
import type { Db } from '../../db/connect.ts';
import { hashToken, randomToken } from '../secrets.ts';

export type ActionPurpose = 'verify-email' | 'reset-password' | 'setup' | 'sign-in-link';

/** A link that sets the first password of an account, in minutes: people are invited on a Friday. */
export const invitationMinutes = 3 * 24 * 60;

/** Lifetimes in minutes. */
export const actionMinutes: Record<ActionPurpose, number> = {
  'verify-email': 24 * 60,
  'reset-password': 60,
  setup: 24 * 60,
  'sign-in-link': 10,
};

/** Until the transaction ends, nobody else works with tokens of this purpose and user. */
export const lockActionTokens = async (db: Db, purpose: ActionPurpose, userId: string | null): Promise<void> => {
  await db.raw('select pg_advisory_xact_lock(hashtextextended(?, 0))', [`action_tokens ${purpose} ${userId ?? ''}`]);
};

/**
 * Makes a token, and ends the earlier ones of the same user and purpose. Pass a transaction.
 * @param browser a secret that the browser which asked for it keeps: it can be told from others by it
 */
export const createActionToken = (
  db: Db,
  purpose: ActionPurpose,
  userId: string | null,
  browser?: string,
  minutes = actionMinutes[purpose],
): Promise<string> => issueActionToken(db, purpose, userId, browser ? hashToken(browser) : null, minutes);

/** Likewise, where only the hash of the browser's secret is at hand. */
export const issueActionToken = async (
  db: Db,
  purpose: ActionPurpose,
  userId: string | null,
  browserHash: string | null,
  minutes = actionMinutes[purpose],
): Promise<string> => {
  const token = randomToken();
  await lockActionTokens(db, purpose, userId);
  await db('actionTokens').delete().where({ purpose, userId });
  await db('actionTokens').insert({
    tokenHash: hashToken(token),
    purpose,
    userId,
    browserHash,
    expiresAt: new Date(Date.now() + minutes * 60_000),
  });
  return token;
};

/** Uses a token up: of two requests at once, one gets the user. */
export const consumeActionToken = async (
  db: Db,
  purpose: ActionPurpose,
  token: string,
): Promise<{ userId: string | null } | undefined> => {
  const [row] = await db('actionTokens')
    .where({ tokenHash: hashToken(token), purpose, consumedAt: null })
    .where('expiresAt', '>', db.fn.now())
    .update({ consumedAt: db.fn.now() })
    .returning('userId');
  return row;
};

/** A token that would still work, without using it up: a mail scanner that follows the link changes nothing. */
export const findActionToken = (
  db: Db,
  purpose: ActionPurpose,
  token: string,
): Promise<{ userId: string | null; browserHash: string | null } | undefined> =>
  db('actionTokens')
    .where({ tokenHash: hashToken(token), purpose, consumedAt: null })
    .where('expiresAt', '>', db.fn.now())
    .first('userId', 'browserHash');

/** Ends the tokens of a user and purpose. */
export const dropActionTokens = async (db: Db, purpose: ActionPurpose, userId: string): Promise<void> => {
  await db('actionTokens').delete().where({ purpose, userId });
};

/** Ends every link and code that was sent to a user: the address is another's now. Pass a transaction. */
export const dropMailedLinks = async (db: Db, userId: string): Promise<void> => {
  await db('actionTokens').delete().where({ userId });
  await db('oneTimeCodes').delete().where({ userId });
};

/** Ends links and codes that would sign in. Pass a transaction. */
export const dropSignInLinks = async (db: Db, userId: string): Promise<void> => {
  await dropActionTokens(db, 'sign-in-link', userId);
  await db('oneTimeCodes').delete().where({ purpose: 'sign-in', userId });
};
