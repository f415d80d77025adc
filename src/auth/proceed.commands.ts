/**
 * Where every way to sign in ends: a password, a passkey, a mailed link and an upstream provider each prove a first factor,
 * and from there on there is one road: assess, decide, ask for what is missing, record. docs/sign-in.md tells it at length.
 */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { step } from '../observing.ts';
import { type SignInMethod, signInMethodOf } from '../organizations/sign-in-rules.queries.ts';
import type { User } from '../users/users.queries.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { rememberedBrowser, withSecondFactor } from './authentication-context.ts';
import { type Circumstances, findCircumstances } from './circumstances.queries.ts';
import { graceUntil } from './enrolment.commands.ts';
import { isKnownDevice } from './known-devices.queries.ts';
import { type MfaDeps, mfaMethods, useMfaCode } from './mfa.commands.ts';
import { createMfaToken } from './mfa-tokens.commands.ts';
import {
  type RecordDeps,
  recordFailure,
  recordSignIn,
  type SignIn,
  type SignInMetric,
} from './record-sign-in.commands.ts';
import type { Risk } from './risk.commands.ts';
import type { Assessment } from './risk.ts';
import { type Decision, decideSecondFactor, type MfaMethod } from './second-factor-policy.ts';

export interface SignInDeps extends RecordDeps, Pick<AccountDeps, 'db' | 'passwords' | 'guesses' | 'hashDevice'> {
  requireVerifiedEmail: boolean;
  mfa: MfaDeps;
  risk?: Risk | undefined;
  /** @param amr of the first factor */
  countSignIn(outcome: SignInMetric, by: { amr: readonly string[]; clientId?: string | undefined }): void;
}

/** What somebody has shown of who they are, before policy and risk. */
export interface Proof {
  user: User;
  /** Authentication methods (RFC 8176). */
  amr: string[];
  /** When the oldest of them was shown, in seconds since the epoch. */
  ts: number;
}

/** What belongs to a sign-in and is done in its transaction. */
type Effect = ((db: Db) => Promise<void>) | undefined;

/** How and for what somebody signs in. */
export interface SignInContext {
  clientId?: string | undefined;
  /** What the device is known by; none when the factor came through an application that speaks for many people. */
  deviceHash?: string | undefined;
  /** Whether the account has been seen on that device before, if that was looked for already. */
  knownDevice?: boolean | undefined;
  /** What a browser shows to be known again. */
  deviceCookie?: string | undefined;
  /** The authentication contexts that the application asked for. */
  acr?: readonly string[] | undefined;
  /** The second factor's code, where it is known already. */
  mfaCode?: string | undefined;
  /** The factor came through an application that has authenticated: neither its address nor its User-Agent are a person's. */
  relayed?: boolean | undefined;
  /** There is nobody to ask whether a factor is to be set up now: that is put off for as long as it may be. */
  putsOff?: boolean | undefined;
  /** They are signed in already: they are asked for what is missing, if there is any, and nothing else happens. */
  stepUp?: boolean | undefined;
  /** What is known of the person, and how risky it is, if that was asked already. */
  circumstances?: Circumstances | undefined;
  assessment?: Assessment | undefined;
  /**
   * Done in the transaction that records the sign-in, last of all: an identity that is linked. If it throws, nobody is signed
   * in. It is not done when a second factor is still due: who wants it then passes it to `finishSignIn` again.
   */
  effect?: ((db: Db, userId: string) => Promise<void>) | undefined;
  /**
   * What the first factor's proof brings about by itself: a mailed link or a passkey's assertion is used up, a hash of an older
   * kind is replaced. Done in the transaction that records the sign-in, or as soon as the proof is turned into an `mfaToken`.
   * If it throws, there is neither.
   */
  settle?: Effect;
}

export type SignInOutcome =
  | ({ kind: 'signed-in' } & SignIn)
  /** `instead`: the factor was right, but an organization of the person’s allows only these ways in, of which this is none. */
  | { kind: 'refused'; instead?: readonly SignInMethod[] }
  /** The first factor was right, the second was not. */
  | { kind: 'wrong-code' }
  /** The first factor was right; `mfaToken` says so to whoever brings the second, for a quarter of an hour. */
  | { kind: 'mfa-required'; mfaToken: string; methods: MfaMethod[] }
  /** All factors were right, but a better one must be set up; `until`: that may be put off until then. */
  | { kind: 'enrolment-required'; mfaToken: string; methods: EnrolmentMethod[]; until?: Date };

export type EnrolmentMethod = 'totp' | 'passkey';
export const enrolmentMethods: EnrolmentMethod[] = ['totp', 'passkey'];

/** @returns undefined where nobody judges */
export const assess = async (
  { db, risk }: Pick<SignInDeps, 'db' | 'risk'>,
  actor: Actor,
  user: Pick<User, 'id'>,
  { deviceHash, knownDevice: known }: Pick<SignInContext, 'deviceHash' | 'knownDevice'>,
  { history, failures }: Pick<Circumstances, 'history' | 'failures'>,
): Promise<Assessment | undefined> => {
  if (!risk) return undefined;
  return step('sign-in assess risk', async () => {
    const knownDevice = deviceHash !== undefined && (known ?? (await isKnownDevice(db, user.id, deviceHash)));
    return risk.assess({ actor, deviceHash, knownDevice, history, failures });
  });
};

/** Writes down that somebody was turned away although the first factor was right. By itself it looks as if it had been wrong. */
export const refuse = async (
  deps: SignInDeps,
  actor: Actor,
  { user, amr }: Pick<Proof, 'user' | 'amr'>,
  {
    clientId,
    deviceHash,
    assessment,
    locks = false,
  }: Pick<SignInContext, 'clientId' | 'deviceHash' | 'assessment'> & { locks?: boolean },
  reason: 'risk' | 'no_second_factor' | 'method_not_allowed',
): Promise<SignInOutcome> => {
  const refused = reason === 'risk' && assessment ? { assessment, amr, deviceHash } : undefined;
  await recordFailure(deps, actor, { user, clientId, reason, locks, ...(refused ? { refused } : {}) });
  deps.countSignIn(reason, { amr, clientId });
  return { kind: 'refused' };
};

/** Told after the proof alone: it says that the person is known, and something of their organizations. */
const refuseMethod = async (
  deps: SignInDeps,
  actor: Actor,
  proof: Proof,
  context: SignInContext,
  instead: readonly SignInMethod[],
): Promise<SignInOutcome> => {
  // A session that began so before the rule was made: its person signs in from the beginning, and is told then.
  if (!context.stepUp) await refuse(deps, actor, proof, context, 'method_not_allowed');
  return { kind: 'refused', instead };
};

/**
 * Goes on with somebody who has proved a first factor.
 * @throws AppError 429; and what `effect` and `settle` throw
 */
export const proceed = async (
  deps: SignInDeps,
  actor: Actor,
  proof: Proof,
  given: SignInContext = {},
): Promise<SignInOutcome> => {
  const { user, amr } = proof;
  const circumstances = given.circumstances ?? (await findCircumstances(deps.db, user.id, given.clientId));
  const assessment = given.assessment ?? (await assess(deps, actor, user, given, circumstances));
  const context = { ...given, assessment };
  const { clientId, deviceHash, settle } = context;
  const browser = context.deviceCookie !== undefined;
  if (assessment?.outcome === 'refuse') return refuse(deps, actor, proof, context, 'risk');
  const decision = await step('sign-in decide', () =>
    decideSecondFactor(deps.db, deps.mfa, circumstances, {
      userId: user.id,
      amr,
      acr: context.acr,
      risky: assessment?.outcome === 'step-up',
      browserHash: browser ? deviceHash : undefined,
    }),
  );
  const { reasons, factors, needs, enrols, excused, methods: allowed } = decision;
  if (allowed && !allowed.includes(signInMethodOf(amr))) return refuseMethod(deps, actor, proof, context, allowed);
  const methods = reasons.length ? mfaMethods(deps.mfa, user, { factors, amr, needs }) : [];
  if (!methods.length && context.stepUp) return { kind: 'refused' };
  // What an application would like and nobody here can show is left at that: the tokens say what there was.
  if (!methods.length && reasons.some((reason) => reason !== 'acr'))
    return refuse(deps, actor, proof, context, 'no_second_factor');
  if (!methods.length) {
    const shown = excused ? { ...proof, amr: [...amr, rememberedBrowser] } : proof;
    return conclude(deps, proof, await arrive(deps, actor, shown, { ...context, browser, enrols }), clientId);
  }
  if (context.mfaCode !== undefined) return arriveByCode(deps, actor, proof, context, decision, context.mfaCode);
  if (settle) await deps.db.transaction(settle);
  deps.countSignIn('mfa_required', { amr, clientId });
  const mfaToken = createMfaToken(deps.mfa.secrets, {
    ...{ due: 'factor', user, amr, ts: proof.ts, clientId, deviceHash, browser, enrols, needs },
  });
  return { kind: 'mfa-required', mfaToken, methods };
};

/** The second factor came along with the first. */
const arriveByCode = async (
  deps: SignInDeps,
  actor: Actor,
  proof: Proof,
  context: SignInContext,
  { enrols }: Decision,
  code: string,
): Promise<SignInOutcome> => {
  const arrival = { ...context, browser: context.deviceCookie !== undefined, enrols };
  const outcome = await useMfaCode(deps.mfa, actor, proof.user, code, (db, second) =>
    arrive({ ...deps, db }, actor, { ...proof, amr: withSecondFactor(proof.amr, second) }, arrival),
  );
  const { clientId } = context;
  return outcome ? conclude(deps, proof, outcome, clientId) : wrongCode(deps, actor, proof, clientId);
};

export const wrongCode = async (
  deps: SignInDeps,
  actor: Actor,
  { user, amr }: Pick<Proof, 'user' | 'amr'>,
  clientId: string | undefined,
): Promise<SignInOutcome> => {
  await recordFailure(deps, actor, { user, clientId, reason: 'wrong_code' });
  deps.countSignIn('wrong_code', { amr, clientId });
  return { kind: 'wrong-code' };
};

export interface Arrival extends Omit<SignInContext, 'deviceCookie' | 'acr' | 'mfaCode' | 'relayed'> {
  /** The device showed a cookie of its own. */
  browser: boolean;
  /** A better factor must be set up. */
  enrols: boolean;
  /** That was put off just now, or is done. */
  enrolled?: boolean;
  /** The browser need not be asked for a second factor for a while. */
  remember?: boolean;
}

/**
 * Signs in somebody who has shown all that is asked for, or asks them first to set up what they lack. In the transaction of
 * `deps.db`, if it is one.
 */
export const arrive = async (
  deps: SignInDeps,
  actor: Actor,
  proof: Proof,
  context: Arrival,
): Promise<SignInOutcome> => {
  const { user, amr, ts } = proof;
  const { clientId, deviceHash, browser, assessment, settle, effect, enrols, enrolled } = context;
  const until = enrols && !enrolled ? await graceUntil(deps.db, deps.mfa, user.id) : undefined;
  const mayPutOff = until !== undefined && until.getTime() > Date.now();
  if (enrols && !enrolled && !(mayPutOff && context.putsOff)) {
    if (settle) await deps.db.transaction(settle);
    const mfaToken = createMfaToken(deps.mfa.secrets, {
      ...{ due: 'enrolment', user, amr, ts, clientId, deviceHash, browser, enrols },
    });
    return { kind: 'enrolment-required', mfaToken, methods: enrolmentMethods, ...(mayPutOff ? { until } : {}) };
  }
  const both = async (db: Db) => {
    await settle?.(db);
    await effect?.(db, user.id);
  };
  const whole = settle || effect ? both : undefined;
  const mfaDays = context.remember && browser && deps.mfa.rememberDays > 0 ? deps.mfa.rememberDays : undefined;
  const facts = { amr, ts, clientId, deviceHash, mfaDays, assessment, effect: whole };
  const signedIn = await recordSignIn(deps, actor, user, facts);
  return { kind: 'signed-in', ...signedIn, ...(mayPutOff ? { enrolBy: until } : {}) };
};

/** What has an effect outside the database, once that is certain. */
export const conclude = async (
  deps: SignInDeps,
  { user, amr }: Pick<Proof, 'user' | 'amr'>,
  outcome: SignInOutcome,
  clientId: string | undefined,
): Promise<SignInOutcome> => {
  if (outcome.kind === 'enrolment-required') deps.countSignIn('enrolment_required', { amr, clientId });
  if (outcome.kind !== 'signed-in') return outcome;
  await deps.guesses.release(user.email);
  deps.countSignIn('signed_in', { amr, clientId });
  return outcome;
};
