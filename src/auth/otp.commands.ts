/**
 * Codes that show that an address or a phone number is one's own. Nothing here tells a caller whether an address has an
 * account: codes are made, tried and counted in the same way for one that has none, and only the mailbox learns more.
 */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { forbidden, invalid, unauthenticated } from '../errors.ts';
import type { FactorLimits } from '../mfa/factor-codes.commands.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { isSessionLive } from '../sessions/sessions.queries.ts';
import { openPii } from '../users/pii.ts';
import { verifyPhone } from '../users/users.commands.ts';
import { findUser, findUserByEmail, normalizeEmail, updateUser } from '../users/users.queries.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { dropActionTokens } from './action-tokens.commands.ts';
import { tellOfPhone } from './notices.commands.ts';
import {
  type CodeLimits,
  codeMinutes,
  createOneTimeCode,
  emailSubject,
  tryOneTimeCode,
} from './one-time-codes.commands.ts';
import { takeBack } from './taking-back.commands.ts';

/** A question for a code by mail, answered behind the request. */
export interface CodeRequest {
  email: string;
  actor: Actor;
}

export interface OutgoingCode {
  phoneNumber: string;
  locale: string | null;
  code: string;
  minutes: number;
}

export interface OtpDeps
  extends CodeLimits,
    FactorLimits,
    Pick<AccountDeps, 'db' | 'issuer' | 'secrets' | 'limitMail' | 'queueMail' | 'endSessions' | 'describeDevice'>,
    Pick<AccountDeps, 'dropUnprovenIdentities'> {
  /** Queues a question for a code; `answerCodeRequest` is its worker. */
  queueCodeRequest(db: Db, request: CodeRequest): Promise<void>;
  /** Queues an SMS with a code in the transaction that makes the code; undefined where no SMS can be sent. */
  queueSms: ((db: Db, message: OutgoingCode) => Promise<void>) | undefined;
  /**
   * @returns whether the number may get one more SMS; if not, answer as usual and send nothing, since the limits of the
   * number and of everybody together would tell what others did
   * @throws AppError 429 when the account or the address has asked for too many
   */
  limitSms(phoneNumber: string, userId: string, address: string): Promise<boolean>;
  /** Whether SMS go to numbers that begin like this one (SMS_ALLOWED_PREFIXES). */
  mayText(phoneNumber: string): boolean;
}

/** One answer for a code that is wrong, expired, used, replaced, or of an address that nobody has. */
const invalidCode = () => invalid('invalid_code', 'The code is wrong, or no longer valid; ask for a new one');

/**
 * Asks for a code by mail. The request only queues the question, so that the time to answer tells nothing.
 * @throws AppError 429
 */
export const requestEmailCode = async (deps: OtpDeps, actor: Actor, address: string): Promise<void> => {
  const email = normalizeEmail(address);
  if (!(await deps.limitMail('verification-code', email, actor.address ?? ''))) return;
  await deps.queueCodeRequest(deps.db, { email, actor });
};

/** Mails a code if the address has an account that waits to be verified; else makes one that will never be right. */
export const answerCodeRequest = async (deps: OtpDeps, { email, actor }: CodeRequest): Promise<void> => {
  const { secrets } = deps;
  await deps.db.transaction(async (db) => {
    const user = await findUserByEmail(db, email);
    const waiting = user?.status === 'active' && !user.emailVerifiedAt ? user : undefined;
    const subject = emailSubject(secrets, email);
    const userId = waiting?.id ?? null;
    const code = await createOneTimeCode(db, secrets, { purpose: 'verify-email', subject, userId, channel: 'email' });
    if (!waiting) return;
    await deps.queueMail(db, waiting, {
      mail: 'verify-email-code',
      props: { name: waiting.name, code, minutes: codeMinutes },
    });
    await recordEvent(db, actor, {
      action: 'otp.send',
      target: userTarget(waiting.id),
      meta: { purpose: 'verify-email', channel: 'email' },
    });
  });
};

const phoneRequired = () =>
  invalid('invalid_request', 'There is no phone number to send a code to', {
    fields: [{ field: 'phoneNumber', code: 'required', message: 'is needed: the profile has none' }],
  });

const numberNotAllowed = () =>
  invalid('number_not_allowed', 'This service sends no SMS to such a number', {
    fields: [{ field: 'phoneNumber', code: 'number_not_allowed', message: 'is of a country that gets no SMS' }],
  });

/**
 * Sends a code by SMS to a number, or to the one in the profile.
 * @throws AppError 400 sms_unavailable, number_not_allowed, or with the field `phoneNumber`; 403 email_not_verified; 429
 */
export const sendSmsCode = async (
  deps: OtpDeps,
  actor: Actor,
  { userId, phoneNumber }: { userId: string; phoneNumber?: string | undefined },
): Promise<void> => {
  const { secrets, queueSms } = deps;
  if (!queueSms) throw invalid('sms_unavailable', 'This service sends no SMS');
  const user = await findUser(deps.db, userId);
  const destination = phoneNumber ?? (user && openPii(secrets, user).phone_number);
  if (!user || !destination) throw phoneRequired();
  // SMS cost money, and their number can be made to earn it: an account takes a mailbox, and then these do.
  if (!user.emailVerifiedAt) throw forbidden('email_not_verified', 'Verify the address of the account first');
  if (!deps.mayText(destination)) throw numberNotAllowed();
  if (!(await deps.limitSms(destination, userId, actor.address ?? ''))) return;
  await deps.db.transaction(async (db) => {
    const purpose = 'verify-phone';
    const code = await createOneTimeCode(db, secrets, {
      purpose,
      subject: userId,
      userId,
      channel: 'sms',
      destination,
    });
    await queueSms(db, { phoneNumber: destination, locale: user.locale, code, minutes: codeMinutes });
    await recordEvent(db, actor, { action: 'otp.send', target: userTarget(userId), meta: { purpose, channel: 'sms' } });
  });
};

/** @throws AppError 400 invalid_code, 429 */
const tryCode = async (...tried: Parameters<typeof tryOneTimeCode<true | undefined>>): Promise<void> => {
  if (!(await tryOneTimeCode(...tried))) throw invalidCode();
};

/**
 * Verifies an address by the code that was mailed to it. As with a link that REST confirms, what the account has is taken
 * back: it was begun before the address was proven. @throws AppError 400 invalid_code, 429
 */
export const verifyEmailByCode = (
  deps: OtpDeps,
  actor: Actor,
  { email, code }: { email: string; code: string },
): Promise<void> => {
  const normal = normalizeEmail(email);
  const use = { purpose: 'verify-email', subject: emailSubject(deps.secrets, normal), code } as const;
  return tryCode(deps, actor, use, async (db, { userId }) => {
    const user = userId ? await findUser(db, userId) : undefined;
    if (user?.status !== 'active' || user.email !== normal) return undefined;
    await updateUser(db, user.id, { emailVerifiedAt: new Date() });
    await dropActionTokens(db, 'verify-email', user.id);
    await takeBack(deps, db, actor, user.id, 'verified');
    const person: Actor = { ...actor, type: 'user', id: user.id };
    await recordEvent(db, person, { action: 'user.verify_email', target: userTarget(user.id) });
    await joinByAddress(db, person, [user.id]);
    return true;
  });
};

export interface PhoneVerification {
  userId: string;
  /** The session that the owner asks in: a number is offered as a second factor, so it must not have ended meanwhile. */
  sessionUid: string;
  phoneNumber?: string | undefined;
  code: string;
}

/**
 * Verifies the phone number that a code was sent to, makes it the one in the profile, and tells the owner by mail.
 * @throws AppError 400 invalid_code, 401 invalid_token when the session has ended, 429
 */
export const verifyPhoneByCode = (
  deps: OtpDeps,
  actor: Actor,
  { userId, sessionUid, phoneNumber, code }: PhoneVerification,
): Promise<void> => {
  const sentTo = phoneNumber === undefined ? {} : { destination: phoneNumber };
  const use = { purpose: 'verify-phone', subject: userId, code, ...sentTo } as const;
  return tryCode(deps, actor, use, async (db, { destination }) => {
    if (destination === undefined) return undefined;
    // It locks the user's row, so a reset of the password comes before, or after: then it undoes this.
    await verifyPhone(db, deps.secrets, actor, userId, destination);
    if (!(await isSessionLive(db, userId, sessionUid))) throw unauthenticated('invalid_token', 'The session has ended');
    await tellOfPhone(deps, db, actor, { userId, phoneNumber: destination });
    return true;
  });
};
