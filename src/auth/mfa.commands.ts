/** The second factor of a sign-in: which there are, codes that are mailed or sent to a verified phone, and using any of them up. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { invalid, tooMany } from '../errors.ts';
import { type FactorLimits, useFactorCode } from '../mfa/factor-codes.commands.ts';
import { type Factors, findFactors, hasStrongFactor } from '../mfa/factors.queries.ts';
import type { AuthenticationResponse } from '../mfa/passkey-responses.ts';
import { type PasskeyDeps, verifyPasskey } from '../mfa/passkeys.commands.ts';
import { findRanks } from '../roles/roles.queries.ts';
import { lockUser, type User } from '../users/users.queries.ts';
import type { Acr } from './authentication-context.ts';
import { verifiedPhone } from './fallback-factors.queries.ts';
import { openMfaToken } from './mfa-tokens.commands.ts';
import { type CodeLimits, codeMinutes, createOneTimeCode, tryOneTimeCode } from './one-time-codes.commands.ts';
import type { OtpDeps } from './otp.commands.ts';
import { type MfaMethod, type SecondFactorPolicy, secondFactorsOf } from './second-factor-policy.ts';

export interface MfaDeps
  extends CodeLimits,
    FactorLimits,
    SecondFactorPolicy,
    Pick<OtpDeps, 'db' | 'secrets' | 'limitMail' | 'queueMail' | 'queueSms' | 'limitSms' | 'mayText'>,
    Pick<PasskeyDeps, 'relyingParty' | 'tellOwner' | 'forgetBrowsers'> {}

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

/** The second factors that this user can show after `amr`, the preferred first. */
export const mfaMethods = (
  deps: Pick<MfaDeps, 'secrets' | 'mayText' | 'queueSms'>,
  user: User,
  { factors, amr, needs }: { factors: Factors; amr: readonly string[]; needs?: Acr | undefined },
): MfaMethod[] => secondFactorsOf(factors, amr, { needs, phone: verifiedPhone(deps, user) !== undefined });

/**
 * Sends the code that finishes a sign-in. A newer one replaces an older one.
 * @throws AppError 401 invalid_mfa_token, 400 email_unavailable or sms_unavailable, 429
 */
export const sendMfaCode = async (
  deps: MfaDeps,
  actor: Actor,
  { mfaToken, channel }: { mfaToken: string; channel: 'email' | 'sms' },
): Promise<void> => {
  const { user, amr, due, needs } = await openMfaToken(deps, mfaToken);
  const methods = mfaMethods(deps, user, { factors: await findFactors(deps.db, user.id), amr, needs });
  const { secrets, queueSms } = deps;
  const phone = verifiedPhone(deps, user);
  const address = actor.address ?? '';
  if (due !== 'factor' || !methods.includes(channel)) {
    if (channel === 'sms') throw invalid('sms_unavailable', 'No code can be sent to a phone');
    throw invalid('email_unavailable', 'The second factor of this account is not a mailed code');
  }
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

/** Authentication methods (RFC 8176) of codes. */
const methodsOf = { email: ['otp'], sms: ['sms'] };

/**
 * Uses a second factor's code up, and does in the same transaction what it was asked for: of an authenticator app or a backup
 * code for those who have set something up, of a mail or SMS for everybody else. The try is counted before anything is
 * compared, for the account, whatever token and door it comes by: five, then there is a pause.
 * @returns what the effect did; undefined when the code is not right, or no longer
 * @throws AppError 429
 */
export const useMfaCode = async <T>(
  deps: MfaDeps,
  actor: Actor,
  user: Pick<User, 'id'>,
  code: string,
  effect: (db: Db, amr: string[]) => Promise<T>,
): Promise<T | undefined> => {
  const { id: userId } = user;
  if (!hasStrongFactor(await findFactors(deps.db, userId))) {
    await deps.limitFactorTries(userId);
    const use = { purpose: 'mfa', subject: userId, code: code.replace(/[\s-]/g, '') } as const;
    const done = await tryOneTimeCode(deps, actor, use, async (db, { channel }) => {
      // One that was set up meanwhile is the one to show.
      await lockUser(db, userId);
      return hasStrongFactor(await findFactors(db, userId)) ? undefined : effect(db, methodsOf[channel]);
    });
    if (done !== undefined) await deps.returnFactorTry(userId);
    return done;
  }
  const address = actor.address ?? '';
  await deps.limitCodeAddress(address);
  await deps.limitFactorTries(userId);
  const done = await transact(deps.db, async (db) => {
    // First, as everything does that changes factors: else two that hold one row each would wait for one another.
    await lockUser(db, userId);
    const kind = await useFactorCode(deps, db, actor, userId, code);
    return kind && effect(db, ['otp']);
  });
  if (done !== undefined) await deps.returnFactorTry(userId, address);
  return done;
};

/**
 * Checks a passkey as a second factor, and does in the same transaction what it was asked for. Nothing is to be guessed, so
 * only what is wrong is counted, for the address that it comes from: each leaves a line in the audit log.
 * @returns what the effect did; undefined when the passkey proves nothing
 * @throws AppError 400 invalid_passkey when its challenge or counter was used meanwhile, 429
 */
export const useMfaPasskey = async <T>(
  deps: MfaDeps,
  actor: Actor,
  { mfaToken, userId, passkey }: { mfaToken: string; userId: string; passkey: AuthenticationResponse },
  effect: (db: Db, amr: string[]) => Promise<T>,
): Promise<T | undefined> => {
  const proof = await verifyPasskey(deps, actor, { kind: 'second-factor', mfaToken, userId }, passkey);
  if (proof?.userId !== userId) {
    await deps.limitCodeAddress(actor.address ?? '');
    return undefined;
  }
  return transact(deps.db, async (db) => {
    await lockUser(db, userId);
    const done = await effect(db, proof.amr);
    await proof.effect(db);
    return done;
  });
};
