/** Risk in the sign-in pipeline: what is known of a sign-in is gathered, judged (`risk.ts`), and kept with it. */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import type { Locate } from '../sessions/place.ts';
import type { User } from '../users/users.queries.ts';
import { type Assessment, assessFacts, type RiskThresholds } from './risk.ts';
import { type KeepDeps, type KeptSignIn, keepSignIn } from './sign-ins.commands.ts';
import { findHistory } from './sign-ins.queries.ts';

export type { Assessment } from './risk.ts';

/** Who signs in, from where and how. */
export interface RiskSubject {
  user: { id: string };
  actor: Actor;
  /** Undefined when the sign-in came through an application: then neither device nor address are the person's. */
  deviceHash: string | undefined;
  clientId: string | undefined;
  /** Authentication methods that were shown so far (RFC 8176). */
  amr: readonly string[];
  knownDevice: boolean;
}

/** Judges a sign-in; reads only. Pass the handle of the transaction where there is one. */
export type Assess = (db: Db, subject: RiskSubject) => Promise<Assessment>;

/** What `proceed` asks of risk. */
export interface Risk {
  /** Before it is decided whether a second factor is needed. */
  assess: Assess;
  /**
   * Writes the sign-in down, and mails its owner if the device is new; a refused one too. Pass the transaction that records it.
   * @returns the id of the sign-in, which goes along in `SignIn` as `signInId`: its session is bound to it
   */
  keep(db: Db, actor: Actor, user: User, facts: KeptSignIn): Promise<string>;
}

export const createRisk = (deps: KeepDeps & { locate: Locate; thresholds: RiskThresholds }): Risk => ({
  assess: createAssess(deps),
  keep: (db, actor, user, facts) => keepSignIn(deps, db, actor, user, facts),
});

const createAssess =
  ({ locate, thresholds }: { locate: Locate; thresholds: RiskThresholds }): Assess =>
  async (db, { user, actor, deviceHash, knownDevice }) => {
    const direct = deviceHash !== undefined;
    return assessFacts(
      {
        at: new Date(),
        knownDevice: direct ? knownDevice : undefined,
        place: direct ? locate(actor.address) : undefined,
        ...(await findHistory(db, user.id)),
      },
      thresholds,
    );
  };
