/**
 * Changes to accounts: what people do to their own, and what those do who look after accounts. Nobody acts on whom ranks
 * higher, and somebody always remains who may do everything.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict, notFound } from '../errors.ts';
import { assertRank, type Caller } from '../http/caller.ts';
import type { Secrets } from '../secrets.ts';
import { openPii, type Pii, sealPii } from './pii.ts';
import {
  type Account,
  areSuperAdminsDenied,
  findAccount,
  findHighestRank,
  findUser,
  isOtherSuperAdmin,
  lockAccount,
  lockUser,
  normalizeEmail,
  updateUser,
} from './users.queries.ts';

export interface Profile {
  name: string;
  locale: string | null;
  pii: Omit<Pii, 'phone_number_verified' | 'attributes'>;
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
    // The lock keeps a number that counts as verified no longer from being written back as if it did.
    await lockUser(db, userId);
    const user = await findUser(db, userId);
    if (!user) throw notFound('user');
    const before = openPii(secrets, user);
    const verified =
      pii.phone_number !== undefined && pii.phone_number === before.phone_number && before.phone_number_verified;
    const sealed = sealPii(
      secrets,
      userId,
      {
        ...pii,
        ...(verified ? { phone_number_verified: true } : {}),
        ...(before.attributes ? { attributes: before.attributes } : {}),
      },
      user.piiKey,
    );
    await updateUser(db, userId, { name, locale, ...sealed });
    await recordEvent(db, actor, {
      action: 'user.update_profile',
      target: userTarget(userId),
      meta: { members: Object.keys(pii) },
    });
  });

/** Makes a number that a user has shown to be theirs the one in their profile. @throws AppError 404 user_not_found */
export const verifyPhone = (
  db: Db,
  secrets: Secrets,
  actor: Actor,
  userId: string,
  phoneNumber: string,
): Promise<void> =>
  db.transaction(async (db) => {
    // The lock keeps a change of the profile at the same time from being overwritten with what was read before it.
    await lockUser(db, userId);
    const user = await findUser(db, userId);
    if (!user) throw notFound('user');
    const pii = { ...openPii(secrets, user), phone_number: phoneNumber, phone_number_verified: true };
    await updateUser(db, userId, sealPii(secrets, userId, pii, user.piiKey));
    await recordEvent(db, actor, { action: 'user.verify_phone', target: userTarget(userId) });
  });

/** Has a verified number count as one that was merely typed in. Pass the transaction that records why. */
export const unverifyPhone = async (db: Db, secrets: Secrets, userId: string): Promise<void> => {
  const user = await findUser(db, userId);
  const { phone_number_verified: verified, ...pii } = user ? openPii(secrets, user) : {};
  if (user && verified) await updateUser(db, userId, sealPii(secrets, userId, pii, user.piiKey));
};

export interface UserDeps {
  db: Db;
  /** Ends all sessions of a user but the one with this uid, with their grants and tokens. */
  endSessions(db: Db, actor: Actor, userId: string, except: string | undefined, reason: string): Promise<void>;
  /** Ends links and codes that were sent to the account. */
  dropMailedLinks(db: Db, userId: string): Promise<void>;
  /** Mails the address that an account had before that it has another one now. */
  tellOldAddress(db: Db, account: { email: string; name: string; locale: string | null }): Promise<void>;
  /** Judges likewise what lets somebody take over an account that is not theirs. @throws AppError 403 */
  assertMayTakeOver(db: Db, by: Caller, userId: string): Promise<void>;
  /** Makes somebody whose address is said to be verified a member of the organization whose mail domain it is at. */
  joinByWord(db: Db, actor: Actor, by: Caller, userId: string): Promise<void>;
  /** Judges as the transaction runs whether somebody may change an account that is not theirs. @throws AppError 403 */
  assertMayChange(db: Db, by: Caller, userId: string): Promise<void>;
}

/** Who acts. */
export type By = Pick<Caller, 'kind' | 'id' | 'rank'>;

export const isSelf = (by: By, account: Account) => by.kind === 'user' && by.id === account.id;

/** The rank that somebody has now: it may have gone down since the request was let in. */
const presentRank = async (db: Db, by: By): Promise<number> => {
  if (by.kind !== 'user') return by.rank;
  const account = await findAccount(db, by.id);
  return account?.status === 'active' ? Math.min(by.rank, account.rank) : -1;
};

/** @throws AppError 403 rank_too_low unless whoever acts ranks at least as high now */
export const assertPresentRank = async (db: Db, by: By, rank: number): Promise<void> =>
  assertRank({ rank: await presentRank(db, by) }, rank);

/**
 * For acting on an account as a whole, or seeing where it is signed in: what is done to it is done in all of its organizations, so
 * that it takes a rank as high as the highest that it has anywhere. Whoever may do this to accounts of every organization
 * acts by what they are everywhere: being somebody in one of them is no power over the others.
 * @throws AppError 403 rank_too_low unless whoever acts ranks at least as high now
 */
export const assertOutranks = async (db: Db, by: By, userId: string): Promise<void> => {
  if (by.kind !== 'user' || by.id !== userId) await assertPresentRank(db, by, await findHighestRank(db, userId));
};

/**
 * The account that somebody acts on, which nobody else changes until the transaction ends.
 * @throws AppError 404 user_not_found, also for a closed account; 403 rank_too_low for one that ranks higher
 */
export const lockTarget = async (db: Db, by: By, userId: string): Promise<Account> => {
  const account = await lockAccount(db, userId);
  if (!account) throw notFound('user');
  await assertOutranks(db, by, account.id);
  return account;
};

/** @throws AppError 409 last_super_admin when nobody else could do everything once this account cannot any more */
export const assertNotLastSuperAdmin = async (db: Db, { id, role, status }: Account): Promise<void> => {
  if (role === 'super_admin' && status === 'active' && !(await isOtherSuperAdmin(db, id)))
    throw conflict('last_super_admin', 'This is the last super_admin: make somebody else one first');
};

/**
 * For whatever denies something, or makes somebody a member of a group that is denied something: ask afterwards, in its transaction.
 * @throws AppError 409 last_super_admin when something is denied to the last who may do everything
 */
export const assertSuperAdminRemains = async (db: Db): Promise<void> => {
  if (await areSuperAdminsDenied(db))
    throw conflict('last_super_admin', 'This denies something to the last super_admin: make somebody else one first');
};

export const emailTaken = () => conflict('email_taken', 'Another account has this address');

/** Whether the database refused an address because another account has it. */
export const isEmailTaken = (error: unknown): boolean =>
  (error as { code?: unknown }).code === '23505' &&
  (error as { constraint?: unknown }).constraint === 'users_email_key';

export interface UserChanges {
  name?: string | undefined;
  locale?: string | null | undefined;
  email?: string | undefined;
  emailVerified?: boolean | undefined;
}

/**
 * Changes an account. A new address is not verified unless it is said to be; the old one is told, and links and codes that
 * were sent there work no more. Whoever has the mailbox has the account: that takes all that the account may do.
 * @throws AppError 404, 403 rank_too_low, exceeds_yours or session_needed, 409 email_taken
 */
export const changeUser = (
  { db, dropMailedLinks, tellOldAddress, assertMayTakeOver, assertMayChange, joinByWord }: UserDeps,
  actor: Actor,
  by: Caller,
  userId: string,
  { email, emailVerified, ...changes }: UserChanges,
): Promise<Account> =>
  transact(db, async (db) => {
    const account = await lockAccount(db, userId);
    if (!account) throw notFound('user');
    if (!isSelf(by, account)) await assertMayChange(db, by, account.id);
    if (email !== undefined || emailVerified !== undefined) await assertMayTakeOver(db, by, account.id);
    const address = email === undefined ? account.email : normalizeEmail(email);
    const isNew = address !== account.email;
    const verified = emailVerified ?? (!isNew && account.emailVerified);
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    await updateUser(db, account.id, {
      ...Object.fromEntries(given),
      ...(isNew ? { email: address } : {}),
      ...(isNew || verified !== account.emailVerified ? { emailVerifiedAt: verified ? new Date() : null } : {}),
    });
    if (isNew) {
      await dropMailedLinks(db, account.id);
      await tellOldAddress(db, account);
    }
    const members = given.map(([member]) => member);
    if (isNew) members.push('email');
    if (verified !== account.emailVerified) members.push('emailVerified');
    await recordEvent(db, actor, { action: 'user.update', target: userTarget(account.id), meta: { members } });
    if (verified && (isNew || !account.emailVerified)) await joinByWord(db, actor, by, account.id);
    return (await findAccount(db, account.id)) as Account;
  }).catch((error: unknown) => {
    throw isEmailTaken(error) ? emailTaken() : error;
  });

/**
 * Shuts an account until somebody reactivates it. Its sessions, grants and tokens are ended, so that they stay dead then.
 * @throws AppError 404, 403 rank_too_low, 409 own_account or last_super_admin
 */
export const deactivateUser = ({ db, endSessions }: UserDeps, actor: Actor, by: By, userId: string): Promise<Account> =>
  transact(db, async (db) => {
    const account = await lockTarget(db, by, userId);
    if (isSelf(by, account)) throw conflict('own_account', 'Nobody deactivates their own account');
    if (account.status === 'deactivated') return account;
    await assertNotLastSuperAdmin(db, account);
    await updateUser(db, account.id, { status: 'deactivated' });
    await endSessions(db, actor, account.id, undefined, 'deactivated');
    await recordEvent(db, actor, { action: 'user.deactivate', target: userTarget(account.id) });
    return (await findAccount(db, account.id)) as Account;
  });

/** Opens a deactivated account again. @throws AppError 404, 403 rank_too_low */
export const reactivateUser = ({ db }: UserDeps, actor: Actor, by: By, userId: string): Promise<Account> =>
  db.transaction(async (db) => {
    const account = await lockTarget(db, by, userId);
    if (account.status === 'active') return account;
    // Somebody who has been deactivated meanwhile must not undo it with a request that was let in before.
    await assertPresentRank(db, by, account.rank);
    await updateUser(db, account.id, { status: 'active' });
    await recordEvent(db, actor, { action: 'user.reactivate', target: userTarget(account.id) });
    return (await findAccount(db, account.id)) as Account;
  });
