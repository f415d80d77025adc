/** Mail domains of organizations over REST. */
import { z } from 'zod';
import { notFound } from '../errors.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, RoleName, Time } from '../http/schemas.ts';
import {
  changeMailDomain,
  claimMailDomain,
  type MailDomainDeps,
  releaseMailDomain,
  verifyMailDomain,
} from './mail-domains.commands.ts';
import { type MailDomain as Found, listMailDomains } from './mail-domains.queries.ts';
import { challengeName } from './mail-domains.ts';
import { findOrganization } from './organizations.queries.ts';

const tag = 'Organizations';

const AutoJoin = z.boolean().meta({
  description: 'Whether people with a verified address there become members by themselves, once the domain is verified',
  example: true,
});
const Role = RoleName.nullable().meta({
  description: 'What those who join are given in the organization: none that the caller could not give',
  example: null,
});

const MailDomain = z
  .object({
    id: Id,
    organizationId: Id,
    domain: z.string().meta({ example: 'example.com' }),
    autoJoin: AutoJoin,
    role: Role,
    record: z
      .object({
        type: z.literal('TXT'),
        name: z.string().meta({ example: '_countersign-challenge.example.com' }),
        value: z.string().meta({ example: 'yq0wMEp2mR0…' }),
      })
      .meta({ description: 'What DNS must have for the domain to be verified, and to stay so' }),
    verifiedAt: Time.nullable(),
    verifiedByHand: z.boolean().meta({ example: false }),
    checkedAt: Time.nullable().meta({ description: 'When DNS was asked last' }),
    missingSince: Time.nullable().meta({
      description: 'Since when the record is gone; after three days the domain is not verified any more',
    }),
    createdAt: Time,
  })
  .meta({ id: 'MailDomain' });

const Claim = z
  .object({
    domain: z.string().trim().min(1).max(253).meta({
      description: 'Without those beneath it. In another script it is taken in the form that DNS has',
      example: 'example.com',
    }),
    autoJoin: AutoJoin.default(false),
    role: Role.default(null),
  })
  .meta({ id: 'ClaimMailDomain' });

const Change = z.object({ autoJoin: AutoJoin.optional(), role: Role.optional() }).meta({ id: 'ChangeMailDomain' });

const Verify = z
  .object({
    byHand: z.boolean().default(false).meta({
      description: 'Without asking DNS, now or later; needs organizations:write:any',
      example: false,
    }),
  })
  .default({ byHand: false })
  .meta({ id: 'VerifyMailDomain' });

const timeOf = (time: Date | null) => time?.toISOString() ?? null;

const shown = (found: Found) => ({
  ...found,
  record: { type: 'TXT' as const, name: challengeName(found.domain), value: found.token },
  verifiedAt: timeOf(found.verifiedAt),
  checkedAt: timeOf(found.checkedAt),
  missingSince: timeOf(found.missingSince),
  createdAt: found.createdAt.toISOString(),
});

const params = z.object({ id: Id });
const one = params.extend({ domainId: Id });
const within = ({ id }: { id: string }) => ({ type: 'organization', id }) as const;
const access = 'organizations:write:any';
const hidden = ['organization_not_found', 'mail_domain_not_found'] as const;
const giving = ['rank_too_low', 'exceeds_yours', 'session_needed'] as const;

export const mailDomainRoutes = (deps: MailDomainDeps): Route[] => [
  route({
    id: 'listMailDomains',
    method: 'get',
    path: '/organizations/:id/domains',
    tag,
    summary: 'The mail domains of an organization',
    description: 'By name.',
    access,
    within,
    params,
    query: ListQuery,
    returns: listOf(MailDomain),
    status: 200,
    problems: { 404: ['organization_not_found'] },
    handle: async ({ params: { id }, query: { limit, cursor } }) => {
      if (!(await findOrganization(deps.db, id))) throw notFound('organization');
      const rows = await listMailDomains(deps.db, id, { limit: limit + 1, after: keyOf(cursor) });
      const { data, nextCursor } = pageOf(rows, limit, (row) => row.domain);
      return { data: data.map(shown), nextCursor };
    },
  }),
  route({
    id: 'claimMailDomain',
    method: 'post',
    path: '/organizations/:id/domains',
    tag,
    summary: 'Claim a mail domain',
    description:
      'Nothing comes of it until it is verified: put the `record` into the DNS of the domain, and have it looked for.',
    access,
    within,
    params,
    body: Claim,
    returns: MailDomain,
    status: 201,
    problems: {
      403: giving,
      404: ['organization_not_found'],
      409: ['mail_domain_exists', 'mail_domain_taken', 'mail_domain_limit_reached'],
    },
    handle: async ({ params: { id }, body, caller, actor }) =>
      shown(await claimMailDomain(deps, actor, caller, { ...body, organizationId: id })),
  }),
  route({
    id: 'changeMailDomain',
    method: 'patch',
    path: '/organizations/:id/domains/:domainId',
    tag,
    summary: 'Change who joins by a mail domain',
    description: 'Those who have verified an address there before join at once, if they are to join.',
    access,
    within,
    params: one,
    body: Change,
    returns: MailDomain,
    status: 200,
    problems: { 403: giving, 404: hidden },
    handle: async ({ params: { id, domainId }, body, caller, actor }) =>
      shown(await changeMailDomain(deps, actor, caller, { ...body, organizationId: id, id: domainId })),
  }),
  route({
    id: 'verifyMailDomain',
    method: 'post',
    path: '/organizations/:id/domains/:domainId/verify',
    tag,
    summary: 'Show that a mail domain is the organization’s',
    description:
      'Asks DNS for the `record`. From then on the domain is no other organization’s, and DNS is asked again every day.',
    access,
    within,
    params: one,
    body: Verify,
    returns: MailDomain,
    status: 200,
    problems: { 404: hidden, 409: ['mail_domain_not_verified', 'mail_domain_taken'], 503: ['dns_unavailable'] },
    handle: async ({ params: { id, domainId }, body: { byHand }, caller, actor }) =>
      shown(await verifyMailDomain(deps, actor, caller, { organizationId: id, id: domainId, byHand })),
  }),
  route({
    id: 'releaseMailDomain',
    method: 'delete',
    path: '/organizations/:id/domains/:domainId',
    tag,
    summary: 'Give a mail domain up',
    description: 'Those who have joined by it stay members.',
    access,
    within,
    params: one,
    status: 204,
    problems: { 404: hidden },
    handle: ({ params: { id, domainId }, actor }) =>
      releaseMailDomain(deps, actor, { organizationId: id, id: domainId }),
  }),
];
