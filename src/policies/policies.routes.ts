/** Policies over REST. */
import { z } from 'zod';
import { invalid, notFound } from '../errors.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id } from '../http/schemas.ts';
import type { ActivePolicies } from './active-policies.ts';
import { Check } from './checks.ts';
import { inspectCondition } from './condition-shape.ts';
import { dryRun } from './dry-run.ts';
import { activatePolicy, addPolicyVersion, createPolicy, deactivatePolicy, deletePolicy } from './policies.commands.ts';
import {
  findPolicy,
  findVersion,
  listPolicies,
  listVersions,
  type PolicyRule,
  type Policy as StoredPolicy,
  type PolicyVersion as StoredVersion,
} from './policies.queries.ts';
import {
  CreatePolicy,
  CreatePolicyVersion,
  DryRun,
  Name,
  Policy,
  PolicyTemplate,
  PolicyWithVersions,
} from './policy-schemas.ts';
import type { QuestionDeps } from './questions.ts';
import type { DecisionRecorder } from './recorded-decisions.ts';
import { describeTemplates, templates } from './templates.ts';

const shown = ({ activatedAt, createdAt, updatedAt, ...policy }: StoredPolicy) => ({
  ...policy,
  activatedAt: activatedAt?.toISOString() ?? null,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});
const shownVersion = ({ createdAt, ...version }: StoredVersion) => ({ ...version, createdAt: createdAt.toISOString() });

const invalidField = (field: string, message: string) =>
  invalid('invalid_request', 'The request is not valid', { fields: [{ field, code: 'invalid', message }] });

/** The rule that a body has, or that its template makes. @throws AppError 400 invalid_request */
const ruleOf = (body: Omit<z.output<typeof CreatePolicyVersion>, 'description'>): PolicyRule => {
  if (body.template === undefined) {
    const { effect, resources, actions, condition } = body;
    for (const [field, value] of Object.entries({ effect, resources, actions, condition }))
      if (value === undefined) throw invalidField(field, 'is needed, unless a template is named');
    return { effect, resources, actions, condition } as PolicyRule;
  }
  const template = Object.hasOwn(templates, body.template) ? templates[body.template] : undefined;
  if (!template) throw invalidField('template', 'there is no such template');
  const parsed = template.parameters.safeParse(body.parameters ?? {});
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalidField(`parameters.${issue?.path.join('.') ?? ''}`, issue?.message ?? 'not valid');
  }
  const rule = template.rule(parsed.data);
  const { mistake } = inspectCondition(rule.condition);
  if (mistake) throw invalidField('parameters', mistake);
  if (!z.array(Name).safeParse([...rule.resources, ...rule.actions]).success)
    throw invalidField('parameters', 'resources and actions must be names, or *');
  return rule;
};

export interface PolicyRouteDeps extends QuestionDeps {
  active: ActivePolicies;
  recorder: DecisionRecorder;
}

const tag = 'Policies';
const params = z.object({ id: Id });
const versionBody = z.object({ version: z.int().min(1).max(1_000_000).meta({ example: 1 }) });
const refusals = ['rank_too_low', 'exceeds_yours', 'session_needed'] as const;

/** @throws AppError 404 policy_not_found */
const readPolicy = async (db: QuestionDeps['db'], id: string) => {
  const policy = await findPolicy(db, { id });
  if (!policy) throw notFound('policy');
  return { ...shown(policy), versions: (await listVersions(db, id)).map(shownVersion) };
};

const readRoutes = ({ db }: PolicyRouteDeps): Route[] => [
  route({
    id: 'listPolicies',
    method: 'get',
    path: '/policies',
    tag,
    summary: 'List policies, in order of their names',
    access: 'policies:read:any',
    query: ListQuery.extend({
      active: z
        .enum(['true', 'false'])
        .transform((text) => text === 'true')
        .optional()
        .meta({ description: 'Only those that are in force, or only drafts' }),
    }),
    returns: listOf(Policy),
    status: 200,
    handle: async ({ query: { limit, cursor, active } }) => {
      const rows = await listPolicies(db, { after: keyOf(cursor), limit: limit + 1, active });
      const page = pageOf(rows, limit, ({ name }) => name);
      return { ...page, data: page.data.map(shown) };
    },
  }),
  route({
    id: 'listPolicyTemplates',
    method: 'get',
    path: '/policies/templates',
    tag,
    summary: 'List templates of policies',
    description: 'Create a policy with `template` and `parameters` to use one.',
    access: 'policies:read:any',
    returns: z.object({ data: z.array(PolicyTemplate) }),
    status: 200,
    handle: () => Promise.resolve({ data: describeTemplates() }),
  }),
  route({
    id: 'getPolicy',
    method: 'get',
    path: '/policies/:id',
    tag,
    summary: 'Read a policy, with its versions',
    access: 'policies:read:any',
    params,
    returns: PolicyWithVersions,
    status: 200,
    problems: { 404: ['policy_not_found'] },
    handle: ({ params: { id } }) => readPolicy(db, id),
  }),
];

const writeRoutes = ({ db }: PolicyRouteDeps): Route[] => [
  route({
    id: 'createPolicy',
    method: 'post',
    path: '/policies',
    tag,
    summary: 'Write a policy, as a draft',
    description: 'It is in force once a version of it is activated.',
    access: 'policies:write:any',
    body: CreatePolicy,
    returns: PolicyWithVersions,
    status: 201,
    problems: { 409: ['policy_exists', 'too_many_policies'] },
    handle: async ({ body: { name, description, ...body }, caller, actor }) => {
      const { id } = await createPolicy(db, actor, caller, { name, description, ...ruleOf(body) });
      return readPolicy(db, id);
    },
  }),
  route({
    id: 'createPolicyVersion',
    method: 'post',
    path: '/policies/:id/versions',
    tag,
    summary: 'Write a new version of a policy, as a draft',
    description: 'A version that is active stays so until another one is activated. The last 100 versions are kept.',
    access: 'policies:write:any',
    params,
    body: CreatePolicyVersion,
    returns: PolicyWithVersions,
    status: 201,
    problems: { 404: ['policy_not_found'] },
    handle: async ({ params: { id }, body: { description, ...body }, caller, actor }) => {
      await addPolicyVersion(db, actor, caller, { id, description, ...ruleOf(body) });
      return readPolicy(db, id);
    },
  }),
];

const forceRoutes = ({ db, active }: PolicyRouteDeps): Route[] => [
  route({
    id: 'activatePolicy',
    method: 'post',
    path: '/policies/:id/activate',
    tag,
    summary: 'Put a version of a policy into force',
    description:
      'It binds everybody who ranks no higher than the caller, at once. An allowing policy can be activated only by somebody who holds what it gives, and none that would keep the caller from changing policies.',
    access: 'policies:write:any',
    params,
    body: versionBody.meta({ id: 'ActivatePolicy' }),
    returns: PolicyWithVersions,
    status: 200,
    problems: { 403: refusals, 404: ['policy_not_found', 'policy_version_not_found'], 409: ['policy_locks_out'] },
    handle: async ({ params: { id }, body: { version }, caller, actor }) => {
      await activatePolicy(db, actor, caller, { id, version });
      await active.reload();
      return readPolicy(db, id);
    },
  }),
  route({
    id: 'deactivatePolicy',
    method: 'post',
    path: '/policies/:id/deactivate',
    tag,
    summary: 'Take a policy out of force',
    access: 'policies:write:any',
    params,
    returns: PolicyWithVersions,
    status: 200,
    problems: { 403: refusals, 404: ['policy_not_found'] },
    handle: async ({ params: { id }, caller, actor }) => {
      await deactivatePolicy(db, actor, caller, { id });
      await active.reload();
      return readPolicy(db, id);
    },
  }),
  route({
    id: 'deletePolicy',
    method: 'delete',
    path: '/policies/:id',
    tag,
    summary: 'Delete a policy with all its versions',
    description: 'If it is in force it is so no longer.',
    access: 'policies:write:any',
    params,
    status: 204,
    problems: { 403: refusals, 404: ['policy_not_found'] },
    handle: async ({ params: { id }, caller, actor }) => {
      await deletePolicy(db, actor, caller, id);
      await active.reload();
    },
  }),
];

export const policyRoutes = (deps: PolicyRouteDeps): Route[] => [
  ...readRoutes(deps),
  ...writeRoutes(deps),
  ...forceRoutes(deps),
  route({
    id: 'dryRunPolicy',
    method: 'post',
    path: '/policies/:id/dry-run',
    tag,
    summary: 'Try a version of a policy',
    description:
      'On recorded requests, on those in the body, or on both: how many answers it would change, and which. What people may do is as of now; nothing comes into force.',
    access: 'policies:read:any',
    params,
    body: z
      .object({
        version: versionBody.shape.version.optional().meta({ description: 'The newest unless it is said', example: 1 }),
        requests: z.array(Check).max(1000).default([]),
        recorded: z
          .int()
          .min(0)
          .max(5000)
          .default(1000)
          .meta({ description: 'On how many recorded requests, the last first', example: 1000 }),
      })
      .meta({ id: 'DryRunPolicy' }),
    bodyLimit: '1mb',
    returns: DryRun,
    status: 200,
    problems: { 404: ['policy_not_found', 'policy_version_not_found'] },
    handle: async ({ params: { id }, body: { version, ...input }, caller }) => {
      const policy = await findPolicy(deps.db, { id });
      if (!policy) throw notFound('policy');
      const [newest] = version === undefined ? await listVersions(deps.db, id) : [];
      const rule = newest ?? (version === undefined ? undefined : await findVersion(deps.db, id, version));
      if (!rule) throw notFound('policy_version');
      await deps.recorder.flush();
      const { changes, ...result } = await dryRun(deps, caller, policy, rule, input);
      return {
        ...result,
        version: rule.version,
        changes: changes.map(({ question, ...answers }) => ({ question: { ...question }, ...answers })),
      };
    },
  }),
];
