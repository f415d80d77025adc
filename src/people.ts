/** People and how they sign in, as `app.ts` puts it together: accounts, factors, risk, and the providers that vouch for them. */
import { createAccountLimits } from '../adapters/account-limits.ts';
import type { Jobs } from '../adapters/jobs.ts';
import { createOperatorFetch } from '../adapters/outbound.ts';
import type { RateLimits } from '../adapters/rate-limits.ts';
import type { Db } from '../db/connect.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import { findRequiredRank, type MfaDeps } from './auth/mfa.commands.ts';
import type { OtpDeps } from './auth/otp.commands.ts';
import type { PasskeySignInDeps } from './auth/passkey-sign-in.commands.ts';
import { createPasswords, hashConcurrency } from './auth/passwords.ts';
import type { SignInDeps } from './auth/proceed.commands.ts';
import { isMfaRequired } from './auth/second-factor-policy.ts';
import type { Config } from './config.ts';
import { codeLimits, type Delivery } from './delivery.ts';
import { dropUnprovenIdentities } from './federation/identities.commands.ts';
import { createFederation, type Federation } from './federation-parts.ts';
import type { Log } from './log.ts';
import type { FactorDeps } from './mfa/factor-changes.ts';
import { mfaRoles } from './mfa-settings.ts';
import { relyingPartyOf } from './passkey-settings.ts';
import { createPasskeySignIn } from './passkey-sign-in.ts';
import { workersOf } from './process-settings.ts';
import { createFactorDeps } from './second-factors.ts';
import type { Secrets } from './secrets.ts';
import { describeDevice } from './sessions/device.ts';
import { endSessions, type QueueLogout } from './sessions/sessions.commands.ts';
import { createSignInRisk } from './sign-in-risk.ts';

export interface People {
  accounts: AccountDeps;
  otp: OtpDeps;
  mfa: MfaDeps;
  factors: FactorDeps;
  signInDeps: SignInDeps;
  passkeySignInDeps: PasskeySignInDeps;
  federated: Federation;
  /** Whether a user's role needs a second factor. */
  needsMfa(userId: string): Promise<boolean>;
  close(): void;
}

export interface PeopleParts {
  config: Config;
  db: Db;
  secrets: Secrets;
  limits: RateLimits;
  jobs: Jobs;
  delivery: Pick<Delivery, 'queueMail' | 'queueSms'>;
  queueLogout: QueueLogout;
  log: Log;
  /** For the metrics. */
  count: {
    sms(outcome: string): void;
    signIn: SignInDeps['countSignIn'];
    federation: Parameters<typeof createFederation>[3];
  };
}

export const createPeople = async ({
  config,
  db,
  secrets,
  limits,
  jobs,
  delivery: { queueMail, queueSms },
  queueLogout,
  log,
  count,
}: PeopleParts): Promise<People> => {
  const passwords = createPasswords({
    minLength: config.PASSWORD_MIN_LENGTH,
    concurrency: hashConcurrency(config.HASH_CONCURRENCY, workersOf(config), config.UV_THREADPOOL_SIZE),
    queue: config.HASH_QUEUE,
    brandName: config.BRAND_NAME,
    log,
    ...(config.PASSWORD_BREACH_URL
      ? {
          breachUrl: config.PASSWORD_BREACH_URL,
          fetch: createOperatorFetch(config.PASSWORD_BREACH_URL, 'breached-passwords'),
        }
      : {}),
  });
  const accounts: AccountDeps = {
    db,
    issuer: config.JWT_ISSUER,
    secrets,
    passwords,
    describeDevice,
    queueMail,
    queueMailRequest: (db, request) => jobs.send(db, 'mail-request', request),
    ...createAccountLimits(limits, secrets),
    dropUnprovenIdentities,
    endSessions: async (db, actor, userId, except, reason) => {
      await endSessions(db, actor, { userId, reason, ...(except === undefined ? {} : { except }) }, queueLogout);
    },
  };
  const queueCodeRequest: OtpDeps['queueCodeRequest'] = (db, request) => jobs.send(db, 'code-request', request);
  const otp: OtpDeps = {
    ...accounts,
    ...codeLimits({ config, limits, log, countSms: count.sms }),
    queueCodeRequest,
    queueSms,
  };
  const requiredRank = await findRequiredRank(db, mfaRoles(config));
  const factors = createFactorDeps(accounts, requiredRank);
  const mfa: MfaDeps = {
    ...otp,
    ...factors,
    requiredRank,
    rememberDays: config.MFA_REMEMBER_DAYS,
    enrolmentGraceSeconds: config.MFA_ENROLMENT_GRACE,
    relyingParty: relyingPartyOf(config),
  };
  const federated = createFederation(config, accounts, requiredRank, count.federation);
  const places = createSignInRisk(config, accounts, log);
  const signInDeps: SignInDeps = {
    ...accounts,
    mfa,
    risk: places.risk,
    requireVerifiedEmail: config.REQUIRE_VERIFIED_EMAIL,
    countSignIn: count.signIn,
  };

  const passkeySignInDeps = createPasskeySignIn(signInDeps, limits);
  const needsMfa = (userId: string) => isMfaRequired(db, mfa, userId);
  return { accounts, otp, mfa, factors, signInDeps, passkeySignInDeps, federated, needsMfa, close: places.close };
};
