/**
 * An account's way from registration to a forgotten password. Nothing here tells a caller whether an address has an
 * account: the same answer comes back, the same work is done, and the mailbox learns the rest.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { AppError, invalid } from '../errors.ts';
import {
  findUser,
  findUserByEmail,
  insertUser,
  normalizeEmail,
  roleIsHeld,
  type User,
  updateUser,
} from '../users/users.queries.ts';
import {
  type ActionPurpose,
  actionMinutes,
  consumeActionToken,
  createActionToken,
  lockActionTokens,
} from './action-tokens.commands.ts';
import type { Passwords } from './passwords.ts';

/** A mail to queue in the transaction that causes it. Links are absolute; `at` is when it happened. */
export type OutgoingMail =
  | { mail: 'verify-email'; props: { name: string; link: string; minutes: number } }
  | { mail: 'already-registered'; props: { name: string; signInLink: string; resetLink: string } }
  | {
      mail: 'reset-password';
      props: { name: string; link: string; minutes: number; device: string; address: string; at: Date };
    }
  | { mail: 'password-changed'; props: { name: string; device: string; address: string; at: Date; resetLink: string } };

export interface AccountDeps {
  db: Db;
  issuer: string;
  passwords: Passwords;
  queueMail(db: Db, to: { email: string; locale: string | null }, mail: OutgoingMail): Promise<void>;
  /** Queues a request for a mail; `answerMailRequest` is its worker. */
  queueMailRequest(db: Db, request: MailRequest): Promise<void>;
  /** @throws AppError 429 when too many mails went to this recipient, or were asked for from this address */
  limitMail(email: string, address: string): Promise<void>;
  /** @throws AppError 429 */
  limitRegistrations(address: string): Promise<void>;
  /** Says "Chrome on Windows" for a User-Agent. */
  describeDevice(userAgent: string | undefined): string;
  /** Ends all sessions of a user but the one with this uid, with their tokens. */
  endSessions(db: Db, actor: Actor, userId: string, except: string | undefined, reason: string): Promise<void>;
}

const linkTo = (issuer: string, page: string, token: string) => `${issuer}/${page}?token=${token}`;

const target = (id: string) => ({ type: 'user', id });

/** @throws AppError 400 with the fields that are wrong */
const checkPassword = async (
  passwords: Passwords,
  field: string,
  password: string,
  identity: { email: string; name: string },
): Promise<void> => {
  const problems = await passwords.check(password, identity);
  if (!problems.length) return;
  throw invalid('invalid_request', 'The password cannot be used', {
    fields: problems.map(({ code, values }) => ({
      field,
      code,
      message: code.replaceAll('_', ' '),
      ...(values ? { values } : {}),
    })),
  });
};

const sendVerification = async (
  deps: AccountDeps,
  db: Db,
  user: { id: string; email: string; name: string; locale: string | null },
): Promise<void> => {
  const token = await createActionToken(db, 'verify-email', user.id);
  await deps.queueMail(db, user, {
    mail: 'verify-email',
    props: { name: user.name, link: linkTo(deps.issuer, 'verify', token), minutes: actionMinutes['verify-email'] },
  });
};

export interface Registration {
  email: string;
  password: string;
  name: string;
  locale: string | null;
}

/**
 * Registers an account and mails a link that verifies its address; an address that is taken gets a mail that says so.
 * @returns the new user's id, or undefined when the address was taken: never let the difference show
 * @throws AppError 400 for a password that cannot be used, 429, 503 when too many hashes wait
 */
export const register = async (deps: AccountDeps, actor: Actor, input: Registration): Promise<string | undefined> => {
  const { db, issuer, passwords } = deps;
  const email = normalizeEmail(input.email);
  await checkPassword(passwords, 'password', input.password, { email, name: input.name });
  await deps.limitRegistrations(actor.address ?? '');
  await deps.limitMail(email, actor.address ?? '');
  const passwordHash = await passwords.hash(input.password);
  const user = { id: uuid(), email, name: input.name, locale: input.locale };
  return db.transaction(async (db) => {
    if (await insertUser(db, { ...user, passwordHash, role: 'user', emailVerifiedAt: null })) {
      await sendVerification(deps, db, user);
      await recordEvent(db, actor, { action: 'user.register', target: target(user.id) });
      return user.id;
    }
    const holder = (await findUserByEmail(db, email)) as User;
    await deps.queueMail(db, holder, {
      mail: 'already-registered',
      props: { name: holder.name, signInLink: `${issuer}/account`, resetLink: `${issuer}/forgot` },
    });
    await recordEvent(db, actor, { action: 'user.register_again', target: target(holder.id) });
    return undefined;
  });
};

/** What a person may ask to be mailed. */
export type MailRequest = { kind: 'verification' | 'password-reset'; email: string; actor: Actor };

/**
 * Asks for a mail. The request only queues the question: whether the address has an account is looked up behind it, so
 * that the time to answer tells nothing.
 * @throws AppError 429
 */
export const requestMail = async (
  deps: AccountDeps,
  actor: Actor,
  kind: MailRequest['kind'],
  address: string,
): Promise<void> => {
  const email = normalizeEmail(address);
  await deps.limitMail(email, actor.address ?? '');
  await deps.queueMailRequest(deps.db, { kind, email, actor });
};

/** Answers a request for a mail; this is the queue's work. */
export const answerMailRequest = (deps: AccountDeps, { kind, email, actor }: MailRequest): Promise<void> =>
  kind === 'verification' ? resendVerification(deps, actor, email) : forgotPassword(deps, actor, email);

/** Mails a new verification link if the address has an account that waits for one. */
export const resendVerification = async (deps: AccountDeps, actor: Actor, address: string): Promise<void> => {
  await deps.db.transaction(async (db) => {
    const user = await findUserByEmail(db, address);
    if (user?.status !== 'active' || user.emailVerifiedAt) return;
    await sendVerification(deps, db, user);
    await recordEvent(db, actor, { action: 'user.verify_requested', target: target(user.id) });
  });
};

const expired = (purpose: ActionPurpose) =>
  new AppError(400, 'invalid_token', 'The link has expired or was already used', {
    fields: [{ field: 'token', code: purpose, message: 'expired or used' }],
  });

/** The user of a token, who must still be there; the token is used up. @throws AppError 400 invalid_token */
const userOfToken = async (db: Db, purpose: ActionPurpose, token: string): Promise<User> => {
  const used = await consumeActionToken(db, purpose, token);
  const user = used?.userId ? await findUser(db, used.userId) : undefined;
  if (user?.status !== 'active') throw expired(purpose);
  return user;
};

/** Verifies the address of the account that the token was mailed to. @throws AppError 400 invalid_token */
export const verifyEmail = (db: Db, actor: Actor, token: string): Promise<{ email: string }> =>
  db.transaction(async (db) => {
    const user = await userOfToken(db, 'verify-email', token);
    await updateUser(db, user.id, { emailVerifiedAt: new Date() });
    await recordEvent(
      db,
      { ...actor, type: 'user', id: user.id },
      { action: 'user.verify_email', target: target(user.id) },
    );
    return { email: user.email };
  });

/** Mails a link that sets a new password, if the address has an account. */
export const forgotPassword = async (deps: AccountDeps, actor: Actor, address: string): Promise<void> => {
  const { issuer, describeDevice } = deps;
  await deps.db.transaction(async (db) => {
    const user = await findUserByEmail(db, address);
    if (user?.status !== 'active') return;
    const token = await createActionToken(db, 'reset-password', user.id);
    await deps.queueMail(db, user, {
      mail: 'reset-password',
      props: {
        name: user.name,
        link: linkTo(issuer, 'reset', token),
        minutes: actionMinutes['reset-password'],
        device: describeDevice(actor.userAgent),
        address: actor.address ?? '',
        at: new Date(),
      },
    });
    await recordEvent(db, actor, { action: 'password.reset_requested', target: target(user.id) });
  });
};

/**
 * Sets a new password by a mailed token and ends every session. The link came by mail, so the address is verified too.
 * @throws AppError 400 invalid_token, or with the field `password`
 */
export const resetPassword = async (
  deps: AccountDeps,
  actor: Actor,
  input: { token: string; password: string },
): Promise<{ email: string }> => {
  const { db, passwords } = deps;
  // The new password is judged before the token is used up, so that a refused one leaves the link alive.
  await checkPassword(passwords, 'password', input.password, { email: '', name: '' });
  const passwordHash = await passwords.hash(input.password);
  return db.transaction(async (db) => {
    const user = await userOfToken(db, 'reset-password', input.token);
    await checkPassword(passwords, 'password', input.password, user);
    await updateUser(db, user.id, { passwordHash, emailVerifiedAt: user.emailVerifiedAt ?? new Date() });
    await deps.endSessions(db, actor, user.id, undefined, 'password_reset');
    await passwordChanged(deps, db, actor, user);
    await recordEvent(
      db,
      { ...actor, type: 'user', id: user.id },
      { action: 'password.reset', target: target(user.id) },
    );
    return { email: user.email };
  });
};

const passwordChanged = (deps: AccountDeps, db: Db, actor: Actor, user: User): Promise<void> =>
  deps.queueMail(db, user, {
    mail: 'password-changed',
    props: {
      name: user.name,
      device: deps.describeDevice(actor.userAgent),
      address: actor.address ?? '',
      at: new Date(),
      resetLink: `${deps.issuer}/forgot`,
    },
  });

/**
 * Changes the password of somebody who is signed in and knows it, and ends the other sessions.
 * @throws AppError 400 with the field `currentPassword` or `newPassword`
 */
export const changePassword = async (
  deps: AccountDeps,
  actor: Actor,
  input: { userId: string; sessionUid: string | undefined; currentPassword: string; newPassword: string },
): Promise<void> => {
  const { db, passwords } = deps;
  const user = await findUser(db, input.userId);
  const { ok } = await passwords.verify(input.currentPassword, user?.passwordHash ?? undefined);
  if (!user || !ok) {
    throw invalid('invalid_request', 'The current password is wrong', {
      fields: [{ field: 'currentPassword', code: 'wrong_current_password', message: 'is wrong' }],
    });
  }
  await checkPassword(passwords, 'newPassword', input.newPassword, user);
  const passwordHash = await passwords.hash(input.newPassword);
  await db.transaction(async (db) => {
    await updateUser(db, user.id, { passwordHash });
    await deps.endSessions(db, actor, user.id, input.sessionUid, 'password_change');
    await passwordChanged(deps, db, actor, user);
    await recordEvent(db, actor, { action: 'password.change', target: target(user.id) });
  });
};

export interface NewAdministrator {
  email: string;
  password: string;
  name: string;
}

const createSuperAdmin = async (
  db: Db,
  actor: Actor,
  passwordHash: string,
  { email, name }: NewAdministrator,
): Promise<string> => {
  const id = uuid();
  if (
    !(await insertUser(db, {
      id,
      email: normalizeEmail(email),
      name,
      passwordHash,
      role: 'super_admin',
      emailVerifiedAt: new Date(),
    }))
  ) {
    throw new AppError(409, 'email_taken', 'Another account has this address', {
      fields: [{ field: 'email', code: 'email_taken', message: 'is taken' }],
    });
  }
  await recordEvent(db, actor, { action: 'user.create', target: target(id), meta: { role: 'super_admin' } });
  return id;
};

/** Creates an administrator with a verified address. @throws AppError 400 for the password, 409 email_taken */
export const createAdministrator = async (
  { db, passwords }: Pick<AccountDeps, 'db' | 'passwords'>,
  actor: Actor,
  input: NewAdministrator,
): Promise<string> => {
  await checkPassword(passwords, 'password', input.password, input);
  const passwordHash = await passwords.hash(input.password);
  return db.transaction((db) => createSuperAdmin(db, actor, passwordHash, input));
};

/** A set-up link's token while nobody administers the service; undefined once somebody does. */
export const createSetupToken = (db: Db): Promise<string | undefined> =>
  db.transaction(async (db) =>
    (await roleIsHeld(db, 'super_admin')) ? undefined : createActionToken(db, 'setup', null),
  );

/** Creates the first administrator by the set-up link. @throws AppError 400 invalid_token or for the password */
export const setUp = async (
  { db, passwords }: Pick<AccountDeps, 'db' | 'passwords'>,
  actor: Actor,
  input: NewAdministrator & { token: string },
): Promise<string> => {
  await checkPassword(passwords, 'password', input.password, input);
  const passwordHash = await passwords.hash(input.password);
  return db.transaction(async (db) => {
    // One at a time: two links that are alive at once must not make two first administrators.
    await lockActionTokens(db, 'setup', null);
    if (!(await consumeActionToken(db, 'setup', input.token)) || (await roleIsHeld(db, 'super_admin')))
      throw expired('setup');
    return createSuperAdmin(db, actor, passwordHash, input);
  });
};
