/**
 * Changing the mail address of one's account. A code goes to the new address, so that nobody moves an account to a mailbox
 * that is not theirs, by mistake or to have its owner blamed; the old one is told. Whether the new one has an account already
 * is told only to who has its mailbox.
 */
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { AppError, invalid, notFound, unauthenticated } from '../errors.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { isSessionLive } from '../sessions/sessions.queries.ts';
import { isEmailTaken } from '../users/users.commands.ts';
import { findUser, lockUser, normalizeEmail, updateUser } from '../users/users.queries.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { dropMailedLinks } from './action-tokens.commands.ts';
import { tellOldAddress } from './notices.commands.ts';
import { type CodeLimits, codeMinutes, createOneTimeCode, tryOneTimeCode } from './one-time-codes.commands.ts';

export type AddressChangeDeps = CodeLimits & Pick<AccountDeps, 'db' | 'secrets' | 'limitMail' | 'queueMail'>;

/** Whoever asks has signed in lately, in this session. */
export interface Owner {
  userId: string;
  sessionUid: string;
}

const purpose = 'change-email';

/**
 * Mails a code to the new address.
 * @throws AppError 400 with the field `email` when it is the present one, 429
 */
export const requestAddressChange = async (
  deps: AddressChangeDeps,
  actor: Actor,
  { userId, email: typed }: { userId: string; email: string },
): Promise<void> => {
  const email = normalizeEmail(typed);
  const user = await findUser(deps.db, userId);
  if (!user) throw notFound('user');
  if (email === user.email) {
    throw invalid('invalid_request', 'That is the address already', {
      fields: [{ field: 'email', code: 'email_same', message: 'is the present one' }],
    });
  }
  if (!(await deps.limitMail('address-change', email, actor.address ?? ''))) return;
  await deps.db.transaction(async (db) => {
    const { secrets } = deps;
    const code = await createOneTimeCode(db, secrets, {
      purpose,
      subject: userId,
      userId,
      channel: 'email',
      destination: email,
    });
    await deps.queueMail(
      db,
      { email, locale: user.locale },
      { mail: 'change-email-code', props: { name: user.name, code, minutes: codeMinutes } },
    );
    await recordEvent(db, actor, {
      action: 'otp.send',
      target: userTarget(userId),
      meta: { purpose, channel: 'email' },
    });
  });
};

const invalidCode = () =>
  invalid('invalid_code', 'The code is wrong, or no longer valid; ask for a new one', {
    fields: [{ field: 'code', code: 'wrong_code', message: 'is wrong, or no longer valid' }],
  });

const taken = () =>
  new AppError(409, 'email_taken', 'Another account has this address', {
    fields: [{ field: 'email', code: 'email_taken', message: 'is that of another account' }],
  });

/**
 * Moves the account to the address that the code was mailed to, which is verified by that. Links and codes that went to the
 * old address work no more, and it is told.
 * @returns the new address
 * @throws AppError 400 invalid_code, 401 when the session has ended, 409 email_taken, 429
 */
export const changeAddress = async (
  deps: AddressChangeDeps,
  actor: Actor,
  { userId, sessionUid, code }: Owner & { code: string },
): Promise<string> => {
  const use = { purpose, subject: userId, code } as const;
  const changed = await tryOneTimeCode<string | undefined>(deps, actor, use, async (db, { destination: email }) => {
    // The lock has a reset of the password come before, and then the session has ended, or after.
    const status = await lockUser(db, userId);
    const before = await findUser(db, userId);
    if (status !== 'active' || !before || email === undefined) return undefined;
    if (!(await isSessionLive(db, userId, sessionUid))) throw unauthenticated('invalid_token', 'The session has ended');
    await updateUser(db, userId, { email, emailVerifiedAt: new Date() });
    await dropMailedLinks(db, userId);
    await tellOldAddress(deps, db, before);
    await recordEvent(db, actor, { action: 'user.change_email', target: userTarget(userId) });
    await joinByAddress(db, actor, [userId]);
    return email;
  }).catch((error: unknown) => {
    throw isEmailTaken(error) ? taken() : error;
  });
  if (changed === undefined) throw invalidCode();
  return changed;
};
