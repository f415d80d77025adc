/** Questions about what somebody may do: those of this service's own form, and those of OpenID AuthZEN. */
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { forbidden } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { type Route, route } from '../http/route.ts';
import type { ActivePolicies } from './active-policies.ts';
import {
  AuthzenAction,
  AuthzenContext,
  AuthzenResource,
  AuthzenSubject,
  Check,
  type CheckInput,
  normalize,
} from './checks.ts';
import { type Decision, explain } from './decide.ts';
import { Because } from './decision-schemas.ts';
import { answer, isAboutAsker, prepare, type QuestionDeps } from './questions.ts';
import type { DecisionRecorder } from './recorded-decisions.ts';

export interface AuthzDeps extends QuestionDeps {
  active: ActivePolicies;
  recorder: DecisionRecorder;
}

const checksMax = 1000;
/** For how long questions are answered at a stretch, in milliseconds. */
const turnMs = 10;

/** @throws AppError 403 missing_permission, where it is not about the caller alone */
const assertMayAsk = (caller: Caller, checks: readonly ReturnType<typeof normalize>[]): void => {
  if (checks.every((check) => isAboutAsker(check, caller))) return;
  const permission = 'authz:check:any';
  if (decideFor(caller, permission).allowed) return;
  throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

/**
 * Answers questions in their order.
 * @param isLast after an answer that says so no more questions are answered
 * @throws AppError 403 missing_permission
 */
const answerAll = async (
  deps: AuthzDeps,
  { caller, actor }: { caller: Caller; actor: Actor },
  inputs: readonly CheckInput[],
  isLast: (allowed: boolean) => boolean = () => false,
): Promise<Decision[]> => {
  const checks = inputs.map(normalize);
  assertMayAsk(caller, checks);
  const { policiesFor } = await deps.active.current();
  const decisions: Decision[] = [];
  let since = performance.now();
  for (const one of await prepare(deps, checks, caller)) {
    // Many questions and many policies must not keep everybody else waiting.
    if (performance.now() - since > turnMs) {
      await setImmediate();
      since = performance.now();
    }
    const decision = answer(one, policiesFor);
    deps.recorder.record(one.question, decision);
    decisions.push(decision);
    if (isLast(decision.allowed)) break;
  }
  const refused = decisions.filter(({ allowed }) => !allowed).length;
  if (refused)
    await recordEvent(deps.db, actor, {
      action: 'authorization.check',
      meta: { asked: decisions.length, refused, others: !checks.every((check) => isAboutAsker(check, caller)) },
    });
  return decisions;
};

const CheckAnswer = z
  .object({
    allowed: z.boolean().meta({ example: true }),
    because: Because,
    reason: z.string().meta({ description: 'The same for people', example: 'the role admin gives users:*:any' }),
  })
  .meta({ id: 'AuthorizationAnswer' });

const CheckRequest = z.object({ checks: z.array(Check).min(1).max(checksMax) }).meta({
  id: 'CheckAuthorization',
  example: { checks: [{ subject: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f', action: 'read', resource: 'users' }] },
});

const tag = 'Authorization';
const whoMayAsk =
  'Questions about oneself take `authz:check:own`, and are answered as far as the token goes; about anybody else `authz:check:any`.';

const checkRoute = (deps: AuthzDeps): Route =>
  route({
    id: 'checkAuthorization',
    method: 'post',
    path: '/authz/check',
    tag,
    summary: 'Ask what somebody may do',
    description: `Up to ${checksMax} questions are answered in their order, by the same decision that guards this API. ${whoMayAsk} Whose our own things are and where they lie is looked up, whatever the question says.`,
    access: 'authz:check:own',
    owner: (_params, caller) => caller.id,
    body: CheckRequest,
    bodyLimit: '1mb',
    returns: z.object({ results: z.array(CheckAnswer) }),
    status: 200,
    handle: async ({ body: { checks }, caller, actor }) => ({
      results: (await answerAll(deps, { caller, actor }, checks)).map((decision) => ({
        ...decision,
        reason: explain(decision.because),
      })),
    }),
  });

/** AuthZEN section 5.5. */
const AuthzenDecision = z
  .object({
    decision: z.boolean().meta({ example: true }),
    context: z
      .object({
        because: Because,
        reason_admin: z.record(z.string(), z.string()).meta({ example: { en: 'the role admin gives users:*:any' } }),
        code: z.string().optional().meta({ example: '200' }),
        reason: z.string().optional().meta({
          description: '`deny_on_first_deny` or `permit_on_first_permit`, of the answer after which no more are given',
        }),
      })
      .optional(),
  })
  .meta({ id: 'AuthzenDecision' });

const toAuthzen = ({ allowed, because }: Decision) => ({
  decision: allowed,
  context: { because, reason_admin: { en: explain(because) } },
});

const evaluationMembers = { subject: AuthzenSubject, action: AuthzenAction, resource: AuthzenResource };
const evaluationExample = {
  subject: { type: 'user', id: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' },
  action: { name: 'read' },
  resource: { type: 'documents', id: '123' },
};
const AuthzenEvaluation = z
  .object({ ...evaluationMembers, context: AuthzenContext.optional() })
  .meta({ id: 'AuthzenEvaluation', example: evaluationExample });

const semantics = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const;
const defaults = {
  subject: AuthzenSubject.optional(),
  action: AuthzenAction.optional(),
  resource: AuthzenResource.optional(),
  context: AuthzenContext.optional(),
};

/** Section 7.1: what stands at the top is for those that do not say it themselves. */
const AuthzenEvaluations = z
  .object({
    ...defaults,
    evaluations: z.array(z.object(defaults)).max(checksMax).optional(),
    options: z
      .looseObject({ evaluations_semantic: z.enum(semantics).default('execute_all') })
      .optional()
      .meta({ description: 'When the answers end', example: { evaluations_semantic: 'execute_all' } }),
  })
  .superRefine(({ evaluations, ...top }, context) => {
    const all: [path: (string | number)[], one: Partial<z.output<typeof AuthzenEvaluation>>][] = evaluations?.length
      ? evaluations.map((one, at) => [['evaluations', at], one])
      : [[[], {}]];
    for (const [path, one] of all)
      for (const name of ['subject', 'action', 'resource'] as const)
        if (!one[name] && !top[name])
          context.addIssue({ code: 'custom', path: [...path, name], message: 'is needed, here or at the top' });
  })
  .meta({
    id: 'AuthzenEvaluations',
    example: { ...evaluationExample, evaluations: [{ resource: { type: 'documents', id: '124' } }] },
  });

const authzenText =
  'OpenID AuthZEN Authorization API 1.0. A refusal is an answer (200 with `decision: false`); a request that is not valid is a 400. ';

const evaluate = (deps: AuthzDeps): Route =>
  route({
    id: 'authzenEvaluation',
    method: 'post',
    path: '/access/v1/evaluation',
    tag,
    summary: 'Evaluate one access request',
    description: `${authzenText}${whoMayAsk}`,
    access: 'authz:check:own',
    owner: (_params, caller) => caller.id,
    body: AuthzenEvaluation,
    returns: AuthzenDecision,
    status: 200,
    handle: async ({ body, caller, actor }) => {
      const [decision] = await answerAll(deps, { caller, actor }, [body]);
      return toAuthzen(decision as Decision);
    },
  });

const evaluateSeveral = (deps: AuthzDeps): Route =>
  route({
    id: 'authzenEvaluations',
    method: 'post',
    path: '/access/v1/evaluations',
    tag,
    summary: 'Evaluate several access requests',
    description: `${authzenText}Without \`evaluations\` the request is that of a single one, and so is the answer. ${whoMayAsk}`,
    access: 'authz:check:own',
    owner: (_params, caller) => caller.id,
    body: AuthzenEvaluations,
    bodyLimit: '1mb',
    returns: z
      .object({
        decision: z.boolean().optional(),
        context: AuthzenDecision.shape.context,
        evaluations: z.array(AuthzenDecision).optional(),
      })
      .meta({ id: 'AuthzenDecisions' }),
    status: 200,
    handle: async ({ body: { evaluations, options, ...top }, caller, actor }) => {
      const inputs = (evaluations?.length ? evaluations : [{}]).map((one) => ({ ...top, ...one }) as CheckInput);
      const semantic = evaluations?.length ? (options?.evaluations_semantic ?? 'execute_all') : 'execute_all';
      const endsAt = semantic === 'execute_all' ? undefined : semantic === 'permit_on_first_permit';
      const decisions = await answerAll(deps, { caller, actor }, inputs, (allowed) => allowed === endsAt);
      const answers = decisions.map(toAuthzen);
      if (!evaluations?.length) return answers[0] as ReturnType<typeof toAuthzen>;
      return {
        evaluations: answers.map(({ decision, context }) => ({
          decision,
          context: decision === endsAt ? { ...context, code: '200', reason: semantic } : context,
        })),
      };
    },
  });

export const authzRoutes = (deps: AuthzDeps): Route[] => [checkRoute(deps), evaluate(deps), evaluateSeveral(deps)];
