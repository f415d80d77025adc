/** Risk in the sign-in pipeline: what is known of a sign-in is gathered, judged (`risk.ts`), and kept with it. */
import type { Actor } from '../audit/logs.commands.ts';
import type { Locate } from '../sessions/place.ts';
import type { User } from '../users/users.queries.ts';
import type { Circumstances } from './circumstances.queries.ts';
import { type Assessment, assessFacts, type RiskThresholds } from './risk.ts';
import { type Described, describeSignIn, type KeepDeps, type KeptSignIn } from './sign-ins.commands.ts';

/** Who signs in, from where and how. */
export interface RiskSubject extends Pick<Circumstances, 'history' | 'failures'> {
  actor: Actor;
  /** Undefined when the sign-in came through an application: then neither device nor address are the person's. */
  deviceHash: string | undefined;
  knownDevice: boolean;
}

/** Judges a sign-in. */
export type Assess = (subject: RiskSubject) => Assessment;

/** What `proceed` asks of risk. */
export interface Risk {
  /** Before it is decided whether a second factor is needed. */
  assess: Assess;
  /** What is to be written down of the sign-in, a refused one too; `id` goes along in `SignIn` as `signInId`. */
  describe(actor: Actor, user: User, facts: KeptSignIn): Described;
}

export const createRisk = (deps: KeepDeps & { locate: Locate; thresholds: RiskThresholds }): Risk => ({
  assess: createAssess(deps),
  describe: (actor, user, facts) => describeSignIn(deps, actor, user, facts),
});

const createAssess =
  ({ locate, thresholds }: { locate: Locate; thresholds: RiskThresholds }): Assess =>
  ({ actor, deviceHash, knownDevice, history, failures }) => {
    const direct = deviceHash !== undefined;
    return assessFacts(
      {
        at: new Date(),
        knownDevice: direct ? knownDevice : undefined,
        place: direct ? locate(actor.address) : undefined,
        ...{ history, failures },
      },
      thresholds,
    );
  };
