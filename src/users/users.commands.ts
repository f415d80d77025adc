/** Changes that people make to their own account's data. */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { notFound } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import { openPii, type Pii, sealPii } from './pii.ts';
import { findUser, updateUser } from './users.queries.ts';

export interface Profile {
  name: string;
  locale: string | null;
  pii: Omit<Pii, 'phone_number_verified'>;
}

/** Replaces a user's profile. A phone number that changes is no longer verified. @throws AppError 404 user_not_found */
export const updateProfile = (
  db: Db,
  secrets: Secrets,
  actor: Actor,
  userId: string,
  { name, locale, pii }: Profile,
): Promise<void> =>
  db.transaction(async (db) => {
    const user = await findUser(db, userId);
    if (!user) throw notFound('user');
    const before = openPii(secrets, user);
    const verified =
      pii.phone_number !== undefined && pii.phone_number === before.phone_number && before.phone_number_verified;
    const sealed = sealPii(
      secrets,
      userId,
      { ...pii, ...(verified ? { phone_number_verified: true } : {}) },
      user.piiKey,
    );
    await updateUser(db, userId, { name, locale, ...sealed });
    await recordEvent(db, actor, {
      action: 'user.update_profile',
      target: { type: 'user', id: userId },
      meta: { members: Object.keys(pii) },
    });
  });
