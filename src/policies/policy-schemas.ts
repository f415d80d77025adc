/** Policies as the REST API takes and shows them. */
import { z } from 'zod';
import { Id, Time } from '../http/schemas.ts';
import { canonicalType } from '../roles/permissions.ts';
import { conditionBounds } from './condition-shape.ts';
import { Because } from './decision-schemas.ts';

const effect = z
  .enum(['allow', 'deny'])
  .meta({ description: 'What comes about where the condition holds; a denial beats everything', example: 'deny' });
export const Name = z
  .string()
  .regex(/^(\*|[A-Za-z][\w.:-]{0,63})$/, 'expected a name such as documents, or *')
  .meta({ example: 'documents' });
/** Policies are asked about one name of each type: one about another would be in force and never asked. */
const ResourceType = Name.refine((type) => canonicalType(type) === type, {
  error: ({ input }) => `expected ${canonicalType(String(input))}, which includes ${input}`,
});
const resources = z
  .array(ResourceType)
  .min(1)
  .max(50)
  .meta({ description: 'Types of resources that it is about; `*`: all', example: ['documents'] });
const actions = z
  .array(Name)
  .min(1)
  .max(50)
  .meta({ description: 'Actions that it is about; `*`: all', example: ['write'] });
const condition = z.union([z.boolean(), z.record(z.string(), z.unknown())]).meta({
  description: `JSON Logic of the operators in docs/authorization.md; at most ${conditionBounds.nodes} operators and values`,
  example: { '!': { in_network: [{ var: 'context.address' }, '10.0.0.0/8'] } },
});
const description = z
  .string()
  .trim()
  .max(1000)
  .regex(/^[^\p{Cc}]*$/u, 'must not contain control characters')
  .meta({ description: 'For administrators', example: 'Documents are written at the office' });
const policyName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'expected lower-case letters, digits, dots, dashes and underscores')
  .meta({ example: 'office-only' });

const ruleMembers = {
  effect: effect.optional(),
  resources: resources.optional(),
  actions: actions.optional(),
  condition: condition.optional(),
  template: z.string().max(64).optional().meta({
    description: 'The id of a template, instead of effect, resources, actions and condition',
    example: 'own-network',
  }),
  parameters: z
    .record(z.string().max(64), z.unknown())
    .optional()
    .meta({ description: 'What the template leaves open', example: { networks: ['10.0.0.0/8'] } }),
};
const ruleExample = {
  effect: 'deny',
  resources: ['documents'],
  actions: ['write'],
  condition: { '!': { in_network: [{ var: 'context.address' }, '10.0.0.0/8'] } },
};
export const CreatePolicy = z
  .object({ name: policyName, description: description.default(''), ...ruleMembers })
  .meta({ id: 'CreatePolicy', example: { name: 'office-only', ...ruleExample } });
export const CreatePolicyVersion = z
  .object({ description: description.optional(), ...ruleMembers })
  .meta({ id: 'CreatePolicyVersion', example: ruleExample });

export const Policy = z
  .object({
    id: Id,
    name: z.string().meta({ example: 'office-only' }),
    description: z.string().meta({ example: 'Documents are written at the office' }),
    activeVersion: z.int().nullable().meta({ description: 'Null: it is a draft', example: 1 }),
    activatedRank: z
      .int()
      .nullable()
      .meta({ description: 'The rank of whoever activated it: it binds nobody who ranks higher', example: 90 }),
    activatedBy: z.string().nullable().meta({ description: 'The id of whoever activated it', example: null }),
    activatedAt: Time.nullable(),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Policy' });
const PolicyVersion = z
  .object({
    version: z.int().meta({ example: 1 }),
    effect,
    resources: z.array(z.string()).meta({ example: ['documents'] }),
    actions: z.array(z.string()).meta({ example: ['write'] }),
    condition: z.unknown().meta({ example: { '!': { in_network: [{ var: 'context.address' }, '10.0.0.0/8'] } } }),
    createdBy: z.string().nullable().meta({ description: 'The id of whoever wrote it', example: null }),
    createdAt: Time,
  })
  .meta({ id: 'PolicyVersion' });
export const PolicyWithVersions = Policy.extend({
  versions: z.array(PolicyVersion).meta({ description: 'The newest first' }),
}).meta({ id: 'PolicyWithVersions' });

export const PolicyTemplate = z
  .object({
    id: z.string().meta({ example: 'own-network' }),
    name: z.string().meta({ example: 'Own network' }),
    description: z.string().meta({ example: 'Only from certain networks.' }),
    parameters: z.array(
      z.object({
        name: z.string().meta({ example: 'networks' }),
        description: z.string().meta({ example: 'Networks, or single addresses' }),
        default: z.unknown().meta({ example: ['10.0.0.0/8'] }),
      }),
    ),
    policy: z
      .object({ effect, resources: z.array(z.string()), actions: z.array(z.string()), condition: z.unknown() })
      .meta({ description: 'What it makes of the defaults', example: ruleExample }),
  })
  .meta({ id: 'PolicyTemplate' });

const answerMembers = { allowed: z.boolean().meta({ example: false }), because: Because };
export const DryRun = z
  .object({
    version: z.int().meta({ example: 2 }),
    examined: z.int().meta({ description: 'How many questions were answered', example: 200 }),
    changed: z.int().meta({ description: 'How many of them otherwise than now', example: 3 }),
    notJudged: z.int().meta({
      description:
        'Recorded requests that were left out, since the condition asks for what is not recorded: addresses and properties',
      example: 0,
    }),
    changes: z
      .array(
        z.object({
          question: z.record(z.string(), z.unknown()).meta({ example: { action: 'write' } }),
          before: z.object(answerMembers),
          after: z.object(answerMembers),
        }),
      )
      .meta({ description: 'Up to 100 of the answers that change' }),
  })
  .meta({ id: 'PolicyDryRun' });
