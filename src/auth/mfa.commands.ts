/**
 * The second factor of a sign-in: a code that is mailed, or sent to a verified phone, once the password was right.
 * Between the two steps nothing is kept on the server: the sealed token that the caller holds says how far they got.
 */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { AppError, invalid, tooMany } from '../errors.ts';
import { findRanks, findUserAccess } from '../roles/roles.queries.ts';
import { openPii } from '../users/pii.ts';
import { findUser, type User } from '../users/users.queries.ts';
import { userTarget } from './accounts.commands.ts';
import { type CodeLimits, codeMinutes, createOneTimeCode, tryOneTimeCode } from './one-time-codes.commands.ts';
import type { OtpDeps } from './otp.commands.ts';

export type MfaMethod = 'email' | 'sms';

export interface MfaDeps
  extends CodeLimits,
    Pick<OtpDeps, 'db' | 'secrets' | 'limitMail' | 'queueMail' | 'queueSms' | 'limitSms' | 'mayText'> {
  /** The lowest rank of MFA_REQUIRED_ROLES; undefined when nobody needs a second factor. */
  requiredRank: number | undefined;
}

/** A sign-in whose password was right and whose second factor is due. */
const Pending = z.object({
  userId: z.uuid(),
  /** When the password had been set, in milliseconds: one that changes meanwhile undoes this. */
  credential: z.number(),
  clientId: z.string().optional(),
  deviceHash: z.string().optional(),
  /** In milliseconds since the epoch. */
  expiresAt: z.number(),
});
export type Pending = z.output<typeof Pending>;

/** How long the second step may take. */
const pendingMs = 15 * 60_000;

/** What the sealed token is bound to; it is nobody's row. */
const row = 'mfa-token';

export const invalidMfaToken = () =>
  new AppError(401, 'invalid_mfa_token', 'The sign-in has expired, or is not valid; begin again');

/**
 * The rank from which on a second factor is needed: whoever ranks above a role that needs one needs one too.
 * @throws Error for the name of no role
 */
export const findRequiredRank = async (db: Db, roles: readonly string[]): Promise<number | undefined> => {
  if (!roles.length) return undefined;
  const ranks = await findRanks(db, roles);
  const unknown = roles.filter((name) => ranks[name] === undefined);
  if (unknown.length) throw new Error(`MFA_REQUIRED_ROLES: there is no role ${unknown.join(', ')}`);
  return Math.min(...Object.values(ranks));
};

/** Whether a sign-in of this user needs a second factor. */
export const isMfaRequired = async (
  { db, requiredRank }: Pick<MfaDeps, 'db' | 'requiredRank'>,
  userId: string,
): Promise<boolean> => requiredRank !== undefined && ((await findUserAccess(db, userId))?.rank ?? 0) >= requiredRank;

/** The number that codes go to: verified, and one that this service still sends to. */
const verifiedPhone = ({ secrets, mayText }: Pick<MfaDeps, 'secrets' | 'mayText'>, user: User): string | undefined => {
  const { phone_number, phone_number_verified } = openPii(secrets, user);
  return phone_number && phone_number_verified && mayText(phone_number) ? phone_number : undefined;
};

/** How this user can be sent a code. */
export const mfaMethods = (deps: MfaDeps, user: User): MfaMethod[] =>
  deps.queueSms && verifiedPhone(deps, user) ? ['email', 'sms'] : ['email'];

export const createMfaToken = ({ secrets }: MfaDeps, pending: Omit<Pending, 'expiresAt'>): string =>
  secrets
    .seal('mfa-token', row, JSON.stringify({ ...pending, expiresAt: Date.now() + pendingMs } satisfies Pending))
    .toString('base64url');

/** @throws AppError 401 invalid_mfa_token when it is not ours, too old, or the account has changed since */
export const openMfaToken = async ({ db, secrets }: MfaDeps, token: string): Promise<Pending & { user: User }> => {
  const pending = readMfaToken(secrets, token);
  const user = pending && pending.expiresAt > Date.now() ? await findUser(db, pending.userId) : undefined;
  if (!pending || user?.status !== 'active' || Number(user.passwordChangedAt ?? 0) !== pending.credential)
    throw invalidMfaToken();
  return { ...pending, user };
};

const readMfaToken = (secrets: MfaDeps['secrets'], token: string): Pending | undefined => {
  try {
    return Pending.parse(JSON.parse(secrets.open('mfa-token', row, Buffer.from(token, 'base64url')).toString()));
  } catch {
    return undefined;
  }
};

/**
 * Sends the code that finishes a sign-in. A newer one replaces an older one.
 * @throws AppError 401 invalid_mfa_token, 400 sms_unavailable, 429
 */
export const sendMfaCode = async (
  deps: MfaDeps,
  actor: Actor,
  { mfaToken, channel }: { mfaToken: string; channel: MfaMethod },
): Promise<void> => {
  const { user } = await openMfaToken(deps, mfaToken);
  const phone = verifiedPhone(deps, user);
  const { secrets, queueSms } = deps;
  const address = actor.address ?? '';
  if (channel === 'sms' && !(queueSms && phone)) throw invalid('sms_unavailable', 'No code can be sent to a phone');
  // Who got this far knows the password, so it may be told that there were too many.
  const allowed =
    channel === 'sms' && phone
      ? await deps.limitSms(phone, user.id, address)
      : await deps.limitMail('sign-in-code', user.email, address);
  if (!allowed) throw tooMany(3600);
  await deps.db.transaction(async (db) => {
    const code = await createOneTimeCode(db, secrets, { purpose: 'mfa', subject: user.id, userId: user.id, channel });
    if (channel === 'sms' && queueSms && phone)
      await queueSms(db, { phoneNumber: phone, locale: user.locale, code, minutes: codeMinutes });
    else
      await deps.queueMail(db, user, { mail: 'sign-in-code', props: { name: user.name, code, minutes: codeMinutes } });
    await recordEvent(db, actor, {
      action: 'otp.send',
      target: userTarget(user.id),
      meta: { purpose: 'mfa', channel },
    });
  });
};

/** Authentication methods (RFC 8176) of a sign-in with a password and such a code. */
const methodsOf: Record<MfaMethod, string[]> = { email: ['pwd', 'otp', 'mfa'], sms: ['pwd', 'sms', 'mfa'] };

/**
 * Uses a code up, and does in the same transaction what it was asked for.
 * @returns what the effect did; undefined when the code is not right, or no longer @throws AppError 429
 */
export const useMfaCode = <T>(
  deps: MfaDeps,
  actor: Actor,
  userId: string,
  code: string,
  effect: (db: Db, amr: string[]) => Promise<T>,
): Promise<T | undefined> => {
  const use = { purpose: 'mfa', subject: userId, code } as const;
  return tryOneTimeCode(deps, actor, use, (db, { channel }) => effect(db, methodsOf[channel]));
};
