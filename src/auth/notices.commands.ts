/** Mails that tell an account's owner what was done there, so that they notice if it was somebody else. */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import type { FactorChange } from '../mfa/factor-changes.ts';
import { findUser } from '../users/users.queries.ts';
import type { AccountDeps, Notice } from './accounts.commands.ts';

type NoticeDeps = Pick<AccountDeps, 'issuer' | 'describeDevice' | 'queueMail'>;

/** What all of them say. */
export const noticeTo = (
  { issuer, describeDevice }: Pick<NoticeDeps, 'issuer' | 'describeDevice'>,
  actor: Actor,
  { name }: { name: string },
): Notice => ({
  name,
  device: describeDevice(actor.userAgent),
  address: actor.address ?? '',
  at: new Date(),
  resetLink: `${issuer}/forgot`,
});

/** An API key was made. Its name is not in the mail: whoever made it would have us send a message of theirs. */
export const tellOfApiKey = async (
  deps: NoticeDeps,
  db: Db,
  actor: Actor,
  { userId, prefix }: { userId: string; prefix: string },
): Promise<void> => {
  const user = await findUser(db, userId);
  if (user)
    await deps.queueMail(db, user, { mail: 'api-key-created', props: { ...noticeTo(deps, actor, user), prefix } });
};

/** A session was ended because its cookie came from another device. */
export const tellOfRefusedSession = async (deps: NoticeDeps, db: Db, actor: Actor, userId: string): Promise<void> => {
  const user = await findUser(db, userId);
  if (user) await deps.queueMail(db, user, { mail: 'session-refused', props: noticeTo(deps, actor, user) });
};

/** A phone number was verified, of which the last digits are told. */
export const tellOfPhone = async (
  deps: NoticeDeps,
  db: Db,
  actor: Actor,
  { userId, phoneNumber }: { userId: string; phoneNumber: string },
): Promise<void> => {
  const user = await findUser(db, userId);
  const ending = phoneNumber.slice(-3);
  if (user)
    await deps.queueMail(db, user, { mail: 'phone-verified', props: { ...noticeTo(deps, actor, user), ending } });
};

/** Second factors were added, removed or used up. The mail does not say what they are called: see `FactorChange`. */
export const tellOfFactor = async (
  deps: NoticeDeps,
  db: Db,
  actor: Actor,
  { userId, change }: { userId: string; change: FactorChange },
): Promise<void> => {
  const user = await findUser(db, userId);
  if (user)
    await deps.queueMail(db, user, { mail: 'factor-changed', props: { ...noticeTo(deps, actor, user), change } });
};

/**
 * The account has another address; this goes to the one that it had. Neither the new one nor who gave it is told: the old
 * one may have been a stranger's, and whoever gave it may be an administrator.
 */
export const tellOldAddress = (
  deps: Pick<NoticeDeps, 'queueMail'>,
  db: Db,
  { name, ...to }: { email: string; name: string; locale: string | null },
): Promise<void> => deps.queueMail(db, to, { mail: 'address-changed', props: { name, at: new Date() } });
