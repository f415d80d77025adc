/** Policies that many want, with what each of them leaves open. */
import { z } from 'zod';
import { isTimeZone } from '../http/schemas.ts';
import { isNetwork } from './condition-shape.ts';
import type { PolicyRule } from './policies.queries.ts';

const names = (example: string[], description: string) =>
  z.array(z.string().min(1).max(100)).min(1).max(50).default(example).meta({ description, example });
const about = (resources: string[], actions: string[]) => ({
  resources: names(resources, 'Types of resources that it is about; `*`: all'),
  actions: names(actions, 'Actions that it is about; `*`: all'),
});
const zone = z
  .string()
  .refine(isTimeZone, 'expected a time zone such as Europe/Berlin')
  .default('Europe/Berlin')
  .meta({ description: 'The time zone', example: 'Europe/Berlin' });
const time = (example: string, description: string) =>
  z
    .string()
    .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected HH:MM')
    .default(example)
    .meta({ description, example });
const day = (example: string, description: string) => z.iso.date().default(example).meta({ description, example });
const networks = z
  .array(z.string().refine(isNetwork, 'expected a network such as 10.0.0.0/8'))
  .min(1)
  .max(100)
  .default(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'])
  .meta({ description: 'Networks, or single addresses', example: ['10.0.0.0/8'] });

const is = (path: string, other: string) => ({ '===': [{ var: path }, { var: other }] });
const not = (condition: object) => ({ '!': condition });

interface Template<P extends z.ZodObject = z.ZodObject> {
  name: string;
  description: string;
  parameters: P;
  rule(parameters: z.output<P>): PolicyRule;
}

const template = <P extends z.ZodObject>(declaration: Template<P>): Template => declaration as unknown as Template;

const inAddress = (list: readonly string[]) => ({ in_network: [{ var: 'context.address' }, ...list] });

/** By id. */
export const templates: Readonly<Record<string, Template>> = {
  'business-hours': template({
    name: 'Business hours',
    description: 'Nothing outside certain hours of certain days.',
    parameters: z.object({
      ...about(['*'], ['write']),
      zone,
      from: time('08:00', 'From then on'),
      until: time('18:00', 'Before then'),
      days: z
        .array(z.int().min(1).max(7))
        .min(1)
        .max(7)
        .default([1, 2, 3, 4, 5])
        .meta({ description: 'Days of the week, from 1 (Monday) to 7', example: [1, 2, 3, 4, 5] }),
    }),
    rule: ({ resources, actions, zone, from, until, days }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: {
        '!': {
          and: [
            { in: [{ weekday: zone }, days] },
            { '>=': [{ time_of_day: zone }, from] },
            { '<': [{ time_of_day: zone }, until] },
          ],
        },
      },
    }),
  }),
  'change-freeze': template({
    name: 'Change freeze',
    description: 'Nothing is changed from one day to another, both included.',
    parameters: z.object({
      ...about(['*'], ['write']),
      zone,
      from: day('2026-12-20', 'The first day'),
      until: day('2027-01-06', 'The last day'),
    }),
    rule: ({ resources, actions, zone, from, until }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: { '<=': [from, { date: zone }, until] },
    }),
  }),
  'own-network': template({
    name: 'Own network',
    description: 'Only from certain networks; not where the address is unknown.',
    parameters: z.object({ ...about(['*'], ['write']), networks }),
    rule: ({ resources, actions, networks }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: not(inAddress(networks)),
    }),
  }),
  'blocked-networks': template({
    name: 'Blocked networks',
    description: 'Not from certain networks.',
    parameters: z.object({ ...about(['*'], ['*']), networks }),
    rule: ({ resources, actions, networks }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: inAddress(networks),
    }),
  }),
  'mfa-for-administration': template({
    name: 'Second factor for administration',
    description:
      'People touch what is not their own only after a sign-in with a second factor. Their API keys have none, and are refused.',
    parameters: z.object({
      ...about(
        ['*'],
        ['write', 'assign', 'administer', 'deactivate', 'close', 'end', 'reset', 'rotate', 'revoke', 'export'],
      ),
      levels: names(
        ['urn:countersign:acr:multi-factor', 'urn:countersign:acr:phishing-resistant'],
        'Authentication context classes (`acr`) that do',
      ),
    }),
    rule: ({ resources, actions, levels }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: {
        and: [
          { '===': [{ var: 'subject.type' }, 'user'] },
          not(is('resource.owner', 'subject.id')),
          not({ in: [{ var: 'context.acr' }, levels] }),
        ],
      },
    }),
  }),
  'no-risky-sign-ins': template({
    name: 'No risky sign-ins',
    description: 'Nothing with a session whose sign-in was risky (docs/risk.md), although it was let in.',
    parameters: z.object({
      ...about(['*'], ['write']),
      score: z.int().min(1).max(100).default(50).meta({ description: 'From this score on', example: 50 }),
    }),
    rule: ({ resources, actions, score }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: { '>=': [{ var: 'context.risk' }, score] },
    }),
  }),
  'owner-only': template({
    name: 'Owner only',
    description: 'Nobody but the owner, whatever else they hold.',
    parameters: z.object(about(['documents'], ['*'])),
    rule: ({ resources, actions }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: not(is('resource.owner', 'subject.id')),
    }),
  }),
  'owner-may': template({
    name: 'Owner may',
    description: 'Owners need no permission for what is theirs.',
    parameters: z.object(about(['documents'], ['read', 'write'])),
    rule: ({ resources, actions }) => ({
      effect: 'allow',
      resources,
      actions,
      condition: { and: [{ var: 'resource.owner' }, is('resource.owner', 'subject.id')] },
    }),
  }),
  'same-organization': template({
    name: 'Same organization',
    description: 'Nobody who does not belong to the organization that it lies in, or to one above.',
    parameters: z.object(about(['documents'], ['*'])),
    rule: ({ resources, actions }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: not({ overlaps: [{ var: 'subject.organizations' }, { var: 'resource.organizations' }] }),
    }),
  }),
  'four-eyes': template({
    name: 'Four eyes',
    description: 'Nobody approves what they have made themselves, or what nobody is known to have made.',
    parameters: z.object({
      ...about(['documents'], ['approve']),
      property: z
        .string()
        .regex(/^[A-Za-z][\w]{0,39}$/)
        .default('createdBy')
        .meta({ description: 'The property of the resource that tells who has made it', example: 'createdBy' }),
    }),
    rule: ({ resources, actions, property }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: {
        or: [not({ var: `resource.properties.${property}` }), is(`resource.properties.${property}`, 'subject.id')],
      },
    }),
  }),
  'role-required': template({
    name: 'Role required',
    description: 'Nobody without one of certain roles, whatever was given to them directly.',
    parameters: z.object({ ...about(['*'], ['write']), roles: names(['admin'], 'Names of roles that do') }),
    rule: ({ resources, actions, roles }) => ({
      effect: 'deny',
      resources,
      actions,
      condition: not({ overlaps: [{ var: 'subject.roles' }, roles] }),
    }),
  }),
  'team-may': template({
    name: 'Team may',
    description: 'Members of certain teams need no permission.',
    parameters: z.object({
      ...about(['documents'], ['read']),
      teams: names(['0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f'], 'Ids of teams'),
    }),
    rule: ({ resources, actions, teams }) => ({
      effect: 'allow',
      resources,
      actions,
      condition: { overlaps: [{ var: 'subject.teams' }, teams] },
    }),
  }),
};

/** What a template makes of its defaults, and what it leaves open. */
export const describeTemplates = () =>
  Object.entries(templates).map(([id, { name, description, parameters, rule }]) => ({
    id,
    name,
    description,
    parameters: Object.entries(parameters.shape).map(([parameter, schema]) => {
      const { description: told = '' } = (schema as z.ZodType).meta() ?? {};
      return { name: parameter, description: String(told), default: (schema as z.ZodType).parse(undefined) };
    }),
    policy: rule(parameters.parse({})),
  }));
