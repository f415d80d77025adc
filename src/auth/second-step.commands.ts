/** The second step of a sign-in: whoever holds an `mfaToken` brings what it says is due. */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import { findFactors, hasStrongFactor } from '../mfa/factors.queries.ts';
import type { AuthenticationResponse } from '../mfa/passkey-responses.ts';
import type { User } from '../users/users.queries.ts';
import { withSecondFactor } from './authentication-context.ts';
import { findCircumstances } from './circumstances.queries.ts';
import { graceUntil } from './enrolment.commands.ts';
import { useMfaCode, useMfaPasskey } from './mfa.commands.ts';
import { invalidMfaToken, isEnrolledBy, openMfaToken, type Pending, spendMfaToken } from './mfa-tokens.commands.ts';
import {
  arrive,
  assess,
  conclude,
  enrolmentMethods,
  type Proof,
  refuse,
  type SignInDeps,
  type SignInOutcome,
  wrongCode,
} from './proceed.commands.ts';
import type { Assessment } from './risk.ts';

export interface SecondStep {
  mfaToken: string;
  /** The application where the sign-in was begun. */
  clientId: string;
  /** Of an authenticator app, from a mail or an SMS, or a backup code. */
  code?: string | undefined;
  passkey?: AuthenticationResponse | undefined;
  /** This browser need not be asked for a second factor for a while. */
  remember?: boolean | undefined;
  /** As in `SignInContext`. */
  putsOff?: boolean | undefined;
  /** As in `SignInContext`. */
  effect?: ((db: Db) => Promise<void>) | undefined;
}

/**
 * Finishes a sign-in at the application where it was begun: with a second factor, or, where one had to be set up, without
 * anything once that is done or may be put off. The token is used up in the same transaction.
 * @throws AppError 401 invalid_mfa_token, 400 invalid_passkey, 429
 */
export const finishSignIn = async (deps: SignInDeps, actor: Actor, step: SecondStep): Promise<SignInOutcome> => {
  const { user, ...pending } = await openMfaToken(deps.mfa, step.mfaToken);
  if (pending.clientId !== step.clientId) throw invalidMfaToken();
  const { amr, ts, clientId, deviceHash } = pending;
  const circumstances = await findCircumstances(deps.db, user.id, clientId);
  const assessment = await assess(deps, actor, user, { deviceHash }, circumstances);
  if (assessment?.outcome === 'refuse')
    return refuse(deps, actor, { user, amr }, { clientId, deviceHash, assessment }, 'risk');
  if (pending.due === 'enrolment') return finishEnrolment(deps, actor, { user, pending, step, assessment });
  const finish = async (db: Db, second: string[]): Promise<SignInOutcome> => {
    await spendMfaToken(db, pending);
    const proof: Proof = { user, ts, amr: withSecondFactor(amr, second) };
    const { effect, putsOff } = step;
    // A code that came by mail or SMS has no browser remembered: whoever holds the mailbox would be let in for long.
    const remember = step.remember === true && hasStrongFactor(await findFactors(db, user.id));
    const context = { clientId, deviceHash, assessment, effect, putsOff, remember, browser: pending.browser };
    return arrive({ ...deps, db }, actor, proof, { ...context, enrols: pending.enrols });
  };
  const { mfaToken, code, passkey } = step;
  if (!passkey && code === undefined)
    throw invalid('invalid_request', 'The request is not valid', {
      fields: [{ field: 'code', code: 'required', message: 'is needed, or a passkey' }],
    });
  const outcome = passkey
    ? await useMfaPasskey(deps.mfa, actor, { mfaToken, userId: user.id, passkey }, finish)
    : await useMfaCode(deps.mfa, actor, user, code as string, finish);
  return outcome ? conclude(deps, { user, amr }, outcome, clientId) : wrongCode(deps, actor, { user, amr }, clientId);
};

/** A second factor that had to be set up is, or that is put off. */
const finishEnrolment = async (
  deps: SignInDeps,
  actor: Actor,
  { user, pending, step, assessment }: Finishing,
): Promise<SignInOutcome> => {
  const enrolled = hasStrongFactor(await findFactors(deps.db, user.id));
  // One that was set up elsewhere meanwhile is the one to show: perhaps by the owner, while somebody else waits here.
  if (enrolled && !(await isEnrolledBy(deps.db, pending))) throw invalidMfaToken();
  const until = enrolled ? undefined : await graceUntil(deps.db, deps.mfa, user.id);
  if (!enrolled && !(until && until.getTime() > Date.now()))
    return { kind: 'enrolment-required', mfaToken: step.mfaToken, methods: enrolmentMethods };
  const { amr, ts, clientId, deviceHash, browser } = pending;
  const outcome = await deps.db.transaction(async (db) => {
    await spendMfaToken(db, pending);
    const context = { clientId, deviceHash, assessment, effect: step.effect, browser, enrols: true, enrolled: true };
    return arrive({ ...deps, db }, actor, { user, amr, ts }, context);
  });
  return conclude(deps, { user, amr }, outcome, clientId);
};

interface Finishing {
  user: User;
  pending: Omit<Pending, 'user'>;
  step: SecondStep;
  assessment: Assessment | undefined;
}
