/** Forgotten and changed passwords. A password that changes ends the sessions and tokens that it had given. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { countLiveApiKeys } from '../api-keys/api-keys.queries.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict } from '../errors.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { isSessionLive } from '../sessions/sessions.queries.ts';
import { findUser, lockUserByEmail, replacePasswordHash, type User, updateUser } from '../users/users.queries.ts';
import { type AccountDeps, checkPassword, expired, linkTo, userOfToken } from './accounts.commands.ts';
import {
  actionMinutes,
  createActionToken,
  dropActionTokens,
  findActionToken,
  invitationMinutes,
} from './action-tokens.commands.ts';
import { forgetDevices, rememberDevice } from './known-devices.queries.ts';
import { noticeTo } from './notices.commands.ts';
import { provePassword } from './password-proofs.commands.ts';
import { takeBack } from './taking-back.commands.ts';

/** Mails a link that sets a new password, if the address has an account. */
export const forgotPassword = async (deps: AccountDeps, actor: Actor, address: string): Promise<void> => {
  const { issuer, describeDevice } = deps;
  await deps.db.transaction(async (db) => {
    const user = await lockUserByEmail(db, address);
    if (user?.status !== 'active') return;
    // It takes the place of an invitation, so it lives as long: a stranger's question must not shorten that.
    const minutes = user.passwordHash ? actionMinutes['reset-password'] : invitationMinutes;
    const token = await createActionToken(db, 'reset-password', user.id, undefined, minutes);
    await deps.queueMail(db, user, {
      mail: 'reset-password',
      props: {
        name: user.name,
        link: linkTo(issuer, 'reset', token),
        minutes,
        device: describeDevice(actor.userAgent),
        address: actor.address ?? '',
        at: new Date(),
      },
    });
    await recordEvent(db, actor, { action: 'password.reset_requested', target: userTarget(user.id) });
  });
};

/**
 * Sets a new password by a mailed token, ends every session, revokes every API key and has the phone number count as not
 * verified. The link came by mail, so the address is verified too. A lockout of the account ends, by passwords and by codes.
 * @param deviceCookie of the browser that asks; see `SignInInput`
 * @throws AppError 400 invalid_token, or with the field `password`
 */
export const resetPassword = async (
  deps: AccountDeps,
  actor: Actor,
  input: { token: string; password: string },
  deviceCookie?: string,
): Promise<{ email: string }> => {
  const { db, passwords } = deps;
  // Only who has a link may have anything hashed.
  if (!(await findActionToken(db, 'reset-password', input.token))) throw expired('reset-password');
  // The new password is judged before the token is used up, so that a refused one leaves the link alive.
  await checkPassword(passwords, 'password', input.password, { email: '', name: '' });
  const passwordHash = await passwords.hash(input.password);
  const { id, email } = await transact(db, async (db) => {
    const user = await userOfToken(db, 'reset-password', input.token);
    await checkPassword(passwords, 'password', input.password, user);
    await updateUser(db, user.id, { passwordHash, emailVerifiedAt: user.emailVerifiedAt ?? new Date() });
    const keys = await takeBack(deps, db, actor, user.id, 'password_reset');
    await passwordChanged(deps, db, actor, user, keys ? 'revoked' : 'none');
    // Whoever read the mail is the owner: their device counts as known, so that guessing does not hold them back at once.
    await forgetDevices(db, user.id);
    await rememberDevice(db, user.id, deps.hashDevice(user.id, actor, deviceCookie));
    const person: Actor = { ...actor, type: 'user', id: user.id };
    await recordEvent(db, person, { action: 'password.reset', target: userTarget(user.id) });
    if (!user.emailVerifiedAt) await joinByAddress(db, person, [user.id]);
    return user;
  });
  await deps.guesses.release(email);
  await deps.releaseCodes(id);
  return { email };
};

/** Tells the owner, and ends links that would set the password once more. */
const passwordChanged = async (
  deps: AccountDeps,
  db: Db,
  actor: Actor,
  user: User,
  apiKeys: 'none' | 'kept' | 'revoked',
): Promise<void> => {
  await dropActionTokens(db, 'reset-password', user.id);
  await deps.queueMail(db, user, {
    mail: 'password-changed',
    props: { ...noticeTo(deps, actor, user), apiKeys },
  });
};

const passwordIsAnother = () => conflict('password_changed', 'The password was changed or the session ended meanwhile');

/** In the place of the password that `user` was found with, from a session that lives; the other sessions end. */
const putPassword = async (
  deps: AccountDeps,
  actor: Actor,
  user: User,
  { sessionUid, newPassword }: { sessionUid: string; newPassword: string },
  action: 'password.change' | 'password.set',
): Promise<void> => {
  const { db, passwords } = deps;
  await checkPassword(passwords, 'newPassword', newPassword, user);
  const passwordHash = await passwords.hash(newPassword);
  await transact(db, async (db) => {
    const replaced = await replacePasswordHash(db, user.id, user.passwordHash, passwordHash);
    if (!replaced || !(await isSessionLive(db, user.id, sessionUid))) throw passwordIsAnother();
    await deps.endSessions(db, actor, user.id, sessionUid, 'password_change');
    await passwordChanged(deps, db, actor, user, (await countLiveApiKeys(db, user.id)) ? 'kept' : 'none');
    await recordEvent(db, actor, { action, target: userTarget(user.id) });
  });
};

/**
 * Changes the password of somebody who is signed in and knows it, and ends the other sessions. API keys stay: they are
 * programs at work, and who changes a password by habit need not set them up again; the mail says that there are some.
 * @throws AppError 400 with the field `currentPassword` or `newPassword`, 429, or 409 password_changed when the password
 * or the session is no longer the one that was checked: a reset by the owner must win over a thief's request in flight
 */
export const changePassword = async (
  deps: AccountDeps,
  actor: Actor,
  input: { userId: string; sessionUid: string; currentPassword: string; newPassword: string },
): Promise<void> => {
  // A session is proof enough to have tries of one's own, whatever others do to the account.
  const device = { kind: 'proven', key: `session ${input.sessionUid}` } as const;
  const user = await provePassword(deps, actor, await findUser(deps.db, input.userId), {
    operation: 'change_password',
    password: input.currentPassword,
    device,
  });
  await putPassword(deps, actor, user, input, 'password.change');
};

/**
 * Sets the password of somebody who has none, since they sign in with a passkey, by link or at another service. It ends the
 * other sessions as a change does. Whoever calls this has seen to it that they have signed in lately.
 * @throws AppError 400 with the field `newPassword`, 503, or 409 password_changed when there is a password after all or the
 * session has ended
 */
export const setFirstPassword = async (
  deps: AccountDeps,
  actor: Actor,
  input: { userId: string; sessionUid: string; newPassword: string },
): Promise<void> => {
  const user = await findUser(deps.db, input.userId);
  if (user?.status !== 'active' || user.passwordHash !== null) throw passwordIsAnother();
  await putPassword(deps, actor, user, input, 'password.set');
};
