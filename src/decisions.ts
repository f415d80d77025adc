/** Who may do what, as `rest-api.ts` puts it together: policies, questions about them, and what guards of routes are told. */
import type Koa from 'koa';
import type { Database } from '../db/connect.ts';
import type { ClientAccess } from './clients/client-access.ts';
import type { Caller } from './http/caller.ts';
import type { Route } from './http/route.ts';
import { type ActivePolicies, createActivePolicies } from './policies/active-policies.ts';
import { authzRoutes } from './policies/authz.routes.ts';
import { policyRoutes } from './policies/policies.routes.ts';
import type { QuestionDeps } from './policies/questions.ts';
import { createDecisionRecorder, type DecisionRecorder } from './policies/recorded-decisions.ts';
import { findSessionContext } from './sessions/sessions.queries.ts';

export interface Decisions {
  routes: readonly Route[];
  recorder: DecisionRecorder;
  active: ActivePolicies;
  /** The caller with the policies in force, and what these may ask about the request. */
  inRequest(ctx: Koa.Context, caller: Caller): Promise<Caller>;
  stop(): Promise<void>;
}

export const createDecisions = async (
  { db, listen }: Pick<Database, 'db' | 'listen'>,
  { access, retention }: { access: ClientAccess; retention: number },
): Promise<Decisions> => {
  const active = await createActivePolicies(db, listen);
  const recorder = createDecisionRecorder(db, retention > 0);
  const questions: QuestionDeps = {
    db,
    accessOf: access.ofMany,
    standingsOf: access.standingsOf,
  };
  const deps = { ...questions, active, recorder };
  return {
    active,
    recorder,
    routes: [...policyRoutes(deps), ...authzRoutes(deps)],
    inRequest: async (ctx, caller) => {
      const { policiesFor, needs } = await active.current();
      const session =
        (needs.acr || needs.risk) && caller.sessionUid
          ? await findSessionContext(db, caller.id, caller.sessionUid)
          : {};
      const organization = caller.organizationId;
      const time = new Date().toISOString();
      return {
        ...caller,
        policiesFor,
        context: { time, address: ctx.ip, ...session, ...(organization ? { organization } : {}) },
      };
    },
    stop: async () => {
      recorder.stop();
      await active.stop();
    },
  };
};
