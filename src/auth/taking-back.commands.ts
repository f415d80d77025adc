/**
 * What the mailbox's owner takes back, whoever was in the account before: what was arranged there to outlive a password.
 */
import type { Db } from '../../db/connect.ts';
import { revokeApiKeysOf } from '../api-keys/api-keys.commands.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { unverifyPhone } from '../users/users.commands.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { dropSignInLinks } from './action-tokens.commands.ts';
import { forgetRememberedBrowsers } from './known-devices.queries.ts';

/**
 * Revokes the account's API keys, ends its sessions with their grants and tokens, and has its phone number count as not
 * verified: it may be an intruder's, and would be offered as a second factor. Accounts elsewhere that sign in to it go, but those
 * that are proven to have its very address. Links that sign in end, and every browser is asked
 * for the second factor again. Authenticator apps, passkeys and backup codes stay: whoever holds the mailbox alone must not get
 * past them, and if they are an intruder's, an administrator takes them away (`resetFactors`). Pass the transaction that has changed the
 * user's row; what creates a key or verifies a number locks that row too, and then looks whether its session is there.
 * @returns how many keys there were
 */
export const takeBack = async (
  deps: Pick<AccountDeps, 'secrets' | 'endSessions' | 'dropUnprovenIdentities'>,
  db: Db,
  actor: Actor,
  userId: string,
  reason: string,
): Promise<number> => {
  const keys = await revokeApiKeysOf(db, actor, userId, reason);
  await deps.endSessions(db, actor, userId, undefined, reason);
  await unverifyPhone(db, deps.secrets, userId);
  await deps.dropUnprovenIdentities(db, actor, userId, reason);
  await dropSignInLinks(db, userId);
  await forgetRememberedBrowsers(db, userId);
  return keys;
};
