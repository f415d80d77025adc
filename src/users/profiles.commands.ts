/** Profiles that are changed over REST: one's own, and those of others by those who look after accounts. */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { forbidden, notFound } from '../errors.ts';
import { assertSignedInHere, type Caller, decideFor } from '../http/caller.ts';
import type { Secrets } from '../secrets.ts';
import { openPii } from './pii.ts';
import { isSelf, type Profile, type UserDeps, updateProfile } from './users.commands.ts';
import { findUser, lockAccount } from './users.queries.ts';

export interface ProfileDeps extends Pick<UserDeps, 'db' | 'assertMayChange' | 'assertMayTakeOver'> {
  secrets: Secrets;
}

/**
 * A verified number is a second factor: replacing it takes one away. That is for its owner, signed in at an application of our own,
 * and for those who may change every account and hold all that it does; an organization must not disarm the accounts of its people.
 * @throws AppError 403 session_needed, missing_permission, rank_too_low or exceeds_yours
 */
const assertMayReplaceNumber = async (
  { assertMayTakeOver }: ProfileDeps,
  db: Db,
  by: Caller,
  userId: string,
  isOwn: boolean,
): Promise<void> => {
  if (isOwn) return assertSignedInHere(by);
  const permission = 'users:write:any';
  if (!decideFor(by, permission, { owner: userId }).allowed)
    throw forbidden('missing_permission', `A verified number takes the permission ${permission}`, { permission });
  await assertMayTakeOver(db, by, userId);
};

/**
 * Replaces a profile. A phone number that changes is no longer verified.
 * @throws AppError 404 user_not_found, 403 missing_permission, rank_too_low, exceeds_yours or session_needed
 */
export const changeProfile = (
  deps: ProfileDeps,
  actor: Actor,
  by: Caller,
  userId: string,
  profile: Profile,
): Promise<void> =>
  deps.db.transaction(async (db) => {
    const account = await lockAccount(db, userId);
    if (!account) throw notFound('user');
    const isOwn = isSelf(by, account);
    if (!isOwn) await deps.assertMayChange(db, by, account.id);
    const user = await findUser(db, account.id);
    const { phone_number, phone_number_verified } = user ? openPii(deps.secrets, user) : {};
    if (phone_number_verified && phone_number !== profile.pii.phone_number)
      await assertMayReplaceNumber(deps, db, by, account.id, isOwn);
    await updateProfile(db, deps.secrets, actor, account.id, profile);
  });
