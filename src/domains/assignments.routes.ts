/** Who works in which business domain, over REST. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { idKeyOf, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id } from '../http/schemas.ts';
import { Domain, DomainReference, domainParams, toDomain } from './domain-fields.ts';
import { addDomainMember, assignDomains, removeDomainMember } from './domains.commands.ts';
import { findDomain, listDomainsOf, listDomainUsers } from './domains.queries.ts';

const DomainUser = z
  .object({
    id: Id,
    name: z.string().meta({ example: 'Ada Lovelace' }),
    email: z.string().meta({ example: 'ada@example.com' }),
  })
  .meta({ id: 'DomainUser' });

const AddDomainUser = z.object({ userId: Id }).meta({ id: 'AddDomainUser' });
const AssignDomains = z
  .object({
    domains: z
      .array(DomainReference)
      .max(200)
      .meta({ example: ['marketing', 'sales'] }),
  })
  .meta({ id: 'AssignDomains' });

const userParams = z.object({ id: Id });

const ofDomains = (db: Db): Route[] => [
  route({
    id: 'listDomainUsers',
    method: 'get',
    path: '/domains/:id/users',
    tag: 'Domains',
    summary: 'List who is assigned to a business domain',
    access: 'domains:read:any',
    params: domainParams,
    query: ListQuery,
    returns: listOf(DomainUser),
    status: 200,
    problems: { 404: ['domain_not_found'] },
    handle: async ({ params, query: { limit, cursor } }) => {
      const domain = await findDomain(db, params.id);
      if (!domain) throw notFound('domain');
      const rows = await listDomainUsers(db, domain.id, { limit: limit + 1, after: idKeyOf(cursor) });
      return pageOf(rows, limit, ({ id }) => id);
    },
  }),
  route({
    id: 'addDomainUser',
    method: 'post',
    path: '/domains/:id/users',
    tag: 'Domains',
    summary: 'Assign somebody to a business domain',
    access: 'domains:write:any',
    params: domainParams,
    body: AddDomainUser,
    returns: DomainUser,
    status: 201,
    problems: { 403: ['rank_too_low'], 404: ['domain_not_found', 'user_not_found'], 409: ['already_member'] },
    handle: ({ params: { id: reference }, body: { userId }, caller, actor }) =>
      addDomainMember(db, actor, caller, { reference, userId }),
  }),
  route({
    id: 'removeDomainUser',
    method: 'delete',
    path: '/domains/:id/users/:userId',
    tag: 'Domains',
    summary: 'Assign somebody to a business domain no longer',
    access: 'domains:write:any',
    params: domainParams.extend({ userId: Id }),
    status: 204,
    problems: { 403: ['rank_too_low'], 404: ['domain_not_found', 'user_not_found', 'member_not_found'] },
    handle: ({ params: { id: reference, userId }, caller, actor }) =>
      removeDomainMember(db, actor, caller, { reference, userId }),
  }),
];

const ofUsers = (db: Db): Route[] => [
  route({
    id: 'listUserDomains',
    method: 'get',
    path: '/users/:id/domains',
    tag: 'Domains',
    summary: 'List the business domains that somebody is assigned to',
    description: 'Of oneself the active ones.',
    access: 'domains:read:own',
    owner: ({ id }) => id,
    params: userParams,
    query: ListQuery,
    returns: listOf(Domain),
    status: 200,
    handle: async ({ params: { id }, query: { limit, cursor }, caller }) => {
      const activeOnly = caller.kind === 'user' && caller.id === id.toLowerCase();
      const rows = await listDomainsOf(db, id, { activeOnly, limit: limit + 1, after: keyOf(cursor) });
      return pageOf(rows.map(toDomain), limit, ({ key }) => key);
    },
  }),
  route({
    id: 'assignDomains',
    method: 'put',
    path: '/users/:id/domains',
    tag: 'Domains',
    summary: 'Set all business domains that somebody is assigned to',
    access: 'domains:write:any',
    params: userParams,
    body: AssignDomains,
    returns: listOf(Domain),
    status: 200,
    problems: { 403: ['rank_too_low'], 404: ['user_not_found'] },
    handle: async ({ params, body, caller, actor }) => {
      const change = { userId: params.id, references: body.domains };
      return { data: (await assignDomains(db, actor, caller, change)).map(toDomain), nextCursor: null };
    },
  }),
];

export const assignmentRoutes = ({ db }: { db: Db }): Route[] => [...ofDomains(db), ...ofUsers(db)];
