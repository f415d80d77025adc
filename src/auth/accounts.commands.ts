/**
 * Registration and verification, and what the commands around an account share. Nothing here tells a caller whether an address has an
 * account: the same answer comes back, the same work is done, and the mailbox learns the rest.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { AppError, invalid } from '../errors.ts';
import type { FactorChange } from '../mfa/factor-changes.ts';
import type { InvitationMail } from '../organizations/invitations.commands.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { hashToken, type Secrets } from '../secrets.ts';
import {
  findUser,
  findUserByEmail,
  insertUser,
  lockUserByEmail,
  normalizeEmail,
  type User,
  updateUser,
} from '../users/users.queries.ts';
import {
  type ActionPurpose,
  actionMinutes,
  consumeActionToken,
  createActionToken,
  findActionToken,
} from './action-tokens.commands.ts';
import type { Guesses } from './guesses.ts';
import { provePassword } from './password-proofs.commands.ts';
import type { PasswordProblem } from './password-rules.ts';
import type { Passwords } from './passwords.ts';
import { takeBack } from './taking-back.commands.ts';

/** A mail to queue in the transaction that causes it. Links are absolute; `at` is when it happened. */
export type OutgoingMail =
  | { mail: 'verify-email'; props: { name: string; link: string; minutes: number } }
  | { mail: 'sign-in-code'; props: { name: string; code: string; minutes: number } }
  | { mail: 'verify-email-code'; props: { name: string; code: string; minutes: number } }
  | { mail: 'change-email-code'; props: { name: string; code: string; minutes: number } }
  | { mail: 'already-registered'; props: { name: string; signInLink: string; resetLink: string } }
  | {
      mail: 'reset-password';
      props: { name: string; link: string; minutes: number; device: string; address: string; at: Date };
    }
  | {
      mail: 'sign-in-link';
      props: { name: string; link: string; code: string; minutes: number; device: string; address: string; at: Date };
    }
  | { mail: 'invitation'; props: { name: string; link: string; minutes: number } }
  | InvitationMail
  | {
      mail: 'backchannel-request';
      props: { name: string; client: string; link: string; minutes: number; at: Date };
    }
  | { mail: 'password-changed'; props: Notice & { apiKeys: 'none' | 'kept' | 'revoked' } }
  | { mail: 'api-key-created'; props: Notice & { prefix: string } }
  | {
      mail: 'new-sign-in';
      props: Omit<Notice, 'resetLink'> & { place: { country?: string; city?: string }; link: string };
    }
  | { mail: 'factor-changed'; props: Notice & { change: FactorChange } }
  | { mail: 'session-refused'; props: Notice }
  | { mail: 'phone-verified'; props: Notice & { ending: string } }
  | { mail: 'identity-connected'; props: Notice & { provider: string } }
  | { mail: 'identity-disconnected'; props: Notice & { provider: string } }
  | { mail: 'address-changed'; props: Pick<Notice, 'name' | 'at'> };

/** What every mail says that tells the owner of a change: who made it, where, and where to press if it was not they. */
export interface Notice {
  name: string;
  device: string;
  address: string;
  at: Date;
  resetLink: string;
}

export interface AccountDeps {
  db: Db;
  issuer: string;
  secrets: Secrets;
  passwords: Passwords;
  queueMail(db: Db, to: { email: string; locale: string | null }, mail: OutgoingMail): Promise<void>;
  /** Queues a request for a mail; `answerMailRequest` is its worker. */
  queueMailRequest(db: Db, request: MailRequest): Promise<void>;
  /**
   * @returns whether the recipient may get one more mail; if not, answer as usual and send nothing, so that nobody can
   * keep a stranger from registering
   * @throws AppError 429 when too many mails were asked for from this address
   */
  limitMail(
    kind: 'registration' | 'verification-code' | 'sign-in-code' | 'address-change' | MailRequest['kind'],
    email: string,
    address: string,
  ): Promise<boolean>;
  guesses: Guesses;
  /** Forgets the wrong one-time codes that were tried for a user. */
  releaseCodes(userId: string): Promise<void>;
  /**
   * What an account knows a device by: its cookie, and where there is none the network address and User-Agent. Keyed, and
   * another one for each account.
   */
  hashDevice(userId: string, actor: Actor, cookie: string | undefined): string;
  /** @throws AppError 429 */
  limitRegistrations(address: string): Promise<void>;
  /** Says "Chrome on Windows" for a User-Agent. */
  describeDevice(userAgent: string | undefined): string;
  /** Disconnects accounts elsewhere that may be a stranger's, when the mailbox's owner takes the account back. */
  dropUnprovenIdentities(db: Db, actor: Actor, userId: string, reason: string): Promise<void>;
  /** Ends all sessions of a user but the one with this uid, with their tokens. */
  endSessions(db: Db, actor: Actor, userId: string, except: string | undefined, reason: string): Promise<void>;
}

export const linkTo = (issuer: string, page: string, token: string) => `${issuer}/${page}?token=${token}`;

const passwordMessages: Record<PasswordProblem['code'], (values?: Record<string, string | number>) => string> = {
  password_too_short: (values) => `needs at least ${values?.min} characters`,
  password_too_long: (values) => `may have at most ${values?.max} bytes`,
  password_common: () => 'is one that many people use',
  password_contains_identity: () => 'is mostly a name or an address that is known',
  password_breached: () => 'has appeared in a data leak',
};

/** @throws AppError 400 with the fields that are wrong */
export const checkPassword = async (
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
      message: passwordMessages[code](values),
      ...(values ? { values } : {}),
    })),
  });
};

const sendVerification = async (
  deps: AccountDeps,
  db: Db,
  user: { id: string; email: string; name: string; locale: string | null },
  browser?: string,
): Promise<void> => {
  const token = await createActionToken(db, 'verify-email', user.id, browser);
  await deps.queueMail(db, user, {
    mail: 'verify-email',
    props: { name: user.name, link: linkTo(deps.issuer, 'verify', token), minutes: actionMinutes['verify-email'] },
  });
};

export interface Registration {
  /** A secret that the registering browser keeps; see `verifyEmail`. */
  browser?: string;
  email: string;
  password: string;
  name: string;
  /** `user` unless whoever registers somebody else may give another. */
  role?: string;
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
  const mayMail = await deps.limitMail('registration', email, actor.address ?? '');
  const passwordHash = await passwords.hash(input.password);
  const user = { id: uuid(), email, name: input.name, locale: input.locale };
  const { role = 'user' } = input;
  return db.transaction(async (db) => {
    if (await insertUser(db, { ...user, passwordHash, role, emailVerifiedAt: null })) {
      if (mayMail) await sendVerification(deps, db, user, input.browser);
      await recordEvent(db, actor, {
        action: 'user.register',
        target: userTarget(user.id),
        ...(role === 'user' ? {} : { meta: { role } }),
      });
      return user.id;
    }
    const holder = (await findUserByEmail(db, email)) as User;
    const mail = {
      mail: 'already-registered' as const,
      props: { name: holder.name, signInLink: `${issuer}/account`, resetLink: `${issuer}/forgot` },
    };
    if (mayMail) await deps.queueMail(db, holder, mail);
    await recordEvent(db, actor, { action: 'user.register_again', target: userTarget(holder.id) });
    return undefined;
  });
};

/** What a person may ask to be mailed. */
export interface MailRequest {
  kind: 'verification' | 'password-reset' | 'sign-in-link';
  email: string;
  actor: Actor;
  /** SHA-256 of what tells the browser that asks from others. */
  browserHash?: string;
}

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
  browserHash?: string,
): Promise<void> => {
  const email = normalizeEmail(address);
  if (!(await deps.limitMail(kind, email, actor.address ?? ''))) return;
  await deps.queueMailRequest(deps.db, { kind, email, actor, ...(browserHash ? { browserHash } : {}) });
};

/** Mails a new verification link if the address has an account that waits for one. */
export const resendVerification = async (deps: AccountDeps, actor: Actor, address: string): Promise<void> => {
  await deps.db.transaction(async (db) => {
    const user = await lockUserByEmail(db, address);
    if (user?.status !== 'active' || user.emailVerifiedAt) return;
    await sendVerification(deps, db, user);
    await recordEvent(db, actor, { action: 'user.verify_requested', target: userTarget(user.id) });
  });
};

export const expired = (purpose: ActionPurpose) =>
  new AppError(400, 'invalid_token', 'The link has expired or was already used', {
    fields: [{ field: 'token', code: purpose, message: 'expired or used' }],
  });

/** The user of a token, who must still be there; the token is used up. @throws AppError 400 invalid_token */
export const userOfToken = async (db: Db, purpose: ActionPurpose, token: string): Promise<User> => {
  const used = await consumeActionToken(db, purpose, token);
  const user = used?.userId ? await findUser(db, used.userId) : undefined;
  if (user?.status !== 'active') throw expired(purpose);
  return user;
};

/** What shows that whoever confirms an address is who registered with it. */
export interface VerificationProof {
  /** The secret that the registering browser keeps. */
  browser?: string;
  password?: string;
}

/**
 * Whether the link was opened in the browser that registered. In any other the password is asked: else somebody could
 * register with a stranger's address and a password of their own, and have the stranger confirm it.
 */
export const isVerifiedByBrowser = (token: { browserHash: string | null }, browser: string | undefined): boolean =>
  token.browserHash !== null && browser !== undefined && token.browserHash === hashToken(browser);

/**
 * Verifies the address of the account that the token was mailed to. Without a proof (REST, where the application
 * vouches for whom it talks to) what the account has is taken back: it was begun before the address was proven.
 * @throws AppError 400 invalid_token, or with the field `password`
 */
export const verifyEmail = async (
  deps: AccountDeps,
  actor: Actor,
  token: string,
  proof?: VerificationProof,
): Promise<{ email: string }> => {
  const pending = await findActionToken(deps.db, 'verify-email', token);
  if (!pending) throw expired('verify-email');
  if (proof && !isVerifiedByBrowser(pending, proof.browser)) {
    // Whoever has the link reads the account's mail, and has five tries with it whatever others do.
    const device = { kind: 'proven', key: `link ${hashToken(token)}` } as const;
    const user = pending.userId ? await findUser(deps.db, pending.userId) : undefined;
    const { password = '' } = proof;
    await provePassword(deps, actor, user, { operation: 'verify_email', password, device });
  }
  return transact(deps.db, async (db) => {
    const user = await userOfToken(db, 'verify-email', token);
    await updateUser(db, user.id, { emailVerifiedAt: new Date() });
    if (!proof) await takeBack(deps, db, actor, user.id, 'verified');
    const person: Actor = { ...actor, type: 'user', id: user.id };
    await recordEvent(db, person, { action: 'user.verify_email', target: userTarget(user.id) });
    await joinByAddress(db, person, [user.id]);
    return { email: user.email };
  });
};
