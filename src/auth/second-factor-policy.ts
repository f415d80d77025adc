/**
 * Why a sign-in needs a second factor, and which ones do. There are six reasons: one was set up, the role, an organization, the
 * application, what the application asked for, and risk. A browser that is remembered excuses from the first three alone.
 */
import type { Db } from '../../db/connect.ts';
import { type Factors, hasStrongFactor } from '../mfa/factors.queries.ts';
import { findSignInRules, type SignInMethod } from '../organizations/sign-in-rules.queries.ts';
import type { Access } from '../roles/access.ts';
import { type Acr, acrOf, neededAcr, satisfies } from './authentication-context.ts';
import type { Circumstances } from './circumstances.queries.ts';
import { isRememberedBrowser } from './known-devices.queries.ts';

/** In the order of preference. */
export type MfaMethod = 'totp' | 'passkey' | 'backup-code' | 'email' | 'sms';

export type SecondFactorReason = 'set-up' | 'role' | 'organization' | 'client' | 'acr' | 'risk';

export interface SecondFactorPolicy {
  /** The lowest rank of MFA_REQUIRED_ROLES; undefined when no role needs a second factor. */
  requiredRank: number | undefined;
  /** MFA_REMEMBER_DAYS; 0: no browser is remembered. */
  rememberDays: number;
  /** MFA_ENROLMENT_GRACE, in seconds. */
  enrolmentGraceSeconds: number;
}

/** What is known when it is decided. */
export interface PolicyFacts {
  userId: string;
  /** Methods that were shown so far (RFC 8176). */
  amr: readonly string[];
  /** The authentication contexts that the application asked for. */
  acr?: readonly string[] | undefined;
  /** The sign-in was assessed as one that needs more than a password. */
  risky: boolean;
  /** The browser's own cookie, hashed; none for what anybody could show as well. */
  browserHash?: string | undefined;
}

export interface Decision {
  factors: Factors;
  /** Why a factor is due beyond what was shown; empty: none is. */
  reasons: SecondFactorReason[];
  /** A second factor would have been due on any other browser. */
  excused: boolean;
  /** One that is stronger than a mailed code must be set up. */
  enrols: boolean;
  /** The class that must be reached, of those that were asked for. */
  needs: Acr | undefined;
  /** The ways in that the person’s organizations allow; undefined where none says. */
  methods: readonly SignInMethod[] | undefined;
}

const when = <T extends string>(name: T, holds: boolean): T[] => (holds ? [name] : []);

const ranksFor = ({ requiredRank }: Pick<SecondFactorPolicy, 'requiredRank'>, rank: number): boolean =>
  requiredRank !== undefined && Math.max(rank, 0) >= requiredRank;

/** Whether a sign-in of this user needs a second factor because of their role or of an organization. */
export const isMfaRequired = async (
  db: Db,
  policy: Pick<SecondFactorPolicy, 'requiredRank'>,
  userId: string,
): Promise<boolean> => {
  const { rank, needsMfa } = await findSignInRules(db, userId);
  return needsMfa || ranksFor(policy, rank);
};

/** How many people's rules are remembered. */
const rulesMax = 10_000;
/** For how long it may have been known what somebody holds. */
const knownForMs = 60_000;

/**
 * `isRequired`, which is asked at each refresh, remembered until what it rests on changes: the person's roles and memberships, and
 * what organizations ask. For requests that only read, and to be called once.
 */
export const rememberRules = (
  { of, shelf }: Access,
  isRequired: (userId: string) => Promise<boolean>,
): ((userId: string) => Promise<boolean>) => {
  const rules = shelf<{ isRequired: boolean; changesInMs: number | undefined }>({
    name: 'rules',
    follows: 'user',
    max: rulesMax,
    changesInMs: ({ changesInMs }) => changesInMs,
  });
  return async (userId) => {
    const found = await rules.get(userId, async () => {
      // Roles begin and end by themselves; when they do was read a while ago, perhaps.
      const { changesInMs } = (await of(userId)) ?? {};
      const required = await isRequired(userId);
      return { isRequired: required, changesInMs: changesInMs && Math.max(0, changesInMs - knownForMs) };
    });
    return found?.isRequired ?? true;
  };
};

export const decideSecondFactor = async (
  db: Db,
  policy: SecondFactorPolicy,
  { factors, rules, byClient }: Pick<Circumstances, 'factors' | 'rules' | 'byClient'>,
  { userId, amr, acr = [], risky, browserHash }: PolicyFacts,
): Promise<Decision> => {
  const strong = hasStrongFactor(factors);
  const { rank, needsMfa: byOrganization, methods } = rules;
  const byRole = ranksFor(policy, rank);
  const shown = amr.includes('mfa');
  const needs = neededAcr(acr);

  // Who brings two factors from elsewhere has them there.
  const enrols = !strong && (byRole || byOrganization || byClient) && !(shown && amr.includes('fed'));
  const excusable: SecondFactorReason[] = shown
    ? []
    : [...when('set-up', strong), ...when('role', byRole), ...when('organization', byOrganization)];
  const remembered =
    excusable.length > 0 &&
    strong &&
    policy.rememberDays > 0 &&
    browserHash !== undefined &&
    (await isRememberedBrowser(db, userId, browserHash));
  const others: SecondFactorReason[] = [
    ...when('client', byClient && !shown),
    ...when('acr', needs !== undefined && !satisfies(acrOf(amr), [needs])),
    ...when('risk', risky && !shown),
  ];
  return {
    factors,
    reasons: [...(remembered ? [] : excusable), ...others],
    excused: remembered && !others.length,
    enrols,
    needs,
    methods,
  };
};

/**
 * The second factors that somebody can show after `amr`. Codes that are mailed or sent to a phone are for those who have set up
 * nothing stronger: else whoever holds the mailbox would need nothing more. And what came by mail is not followed by more mail.
 */
export const secondFactorsOf = (
  { totp, passkeys, backupCodes }: Factors,
  amr: readonly string[],
  { needs, phone }: { needs: Acr | undefined; phone: boolean },
): MfaMethod[] => {
  const passkey = passkeys > 0 && !amr.includes('pop');
  const resistant = needs === 'urn:countersign:acr:phishing-resistant';
  // A code would add nothing to what was shown already.
  if (resistant && amr.includes('mfa')) return passkey ? ['passkey'] : [];
  const byMail = !['pwd', 'pop', 'fed'].some((first) => amr.includes(first));
  const strong: MfaMethod[] = resistant
    ? [...when('passkey', passkey), ...when('totp', totp)]
    : [...when('totp', totp), ...when('passkey', passkey)];
  if (strong.length) return [...strong, ...when('backup-code', backupCodes > 0)];
  // Somebody who has shown their passkey, which was all they have.
  return [...when('email', !byMail), ...when('sms', phone)];
};
