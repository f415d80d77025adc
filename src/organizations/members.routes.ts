/** Who belongs to organizations and companies, and who owns them, over REST. */
import { z } from 'zod';
import { notFound } from '../errors.ts';
import { idKeyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, RoleName, Time } from '../http/schemas.ts';
import {
  addMember,
  leaveOrganization,
  type MemberDeps,
  removeMember,
  setCompany,
  setOwner,
} from './members.commands.ts';
import { listMembers, type Member as MemberRow } from './members.queries.ts';
import { findOrganization } from './organizations.queries.ts';
import {
  asMember,
  type Face,
  faces,
  inOrganization,
  Organization,
  organizationParams,
  toOrganization,
} from './organizations.routes.ts';

const Member = z
  .object({
    userId: Id,
    name: z.string().meta({ example: 'Ada Lovelace' }),
    email: z.string().meta({ example: 'ada@example.com' }),
    isOwner: z.boolean().meta({ description: 'Owners hold the role `manager` there', example: false }),
    roles: z
      .array(z.string())
      .meta({ description: 'Those that were given to them there themselves, the highest first', example: ['manager'] }),
    createdAt: Time.meta({ description: 'Since when they belong to it', example: '2027-01-31T09:26:53.589Z' }),
  })
  .meta({ id: 'OrganizationMember' });

const Owner = z
  .object({ userId: Id, name: z.string().meta({ example: 'Ada Lovelace' }) })
  .meta({ id: 'OrganizationOwner' });

const AddMember = z
  .object({
    userId: Id,
    roles: z
      .array(RoleName)
      .max(20)
      .default([])
      .meta({ description: 'Roles that they get there', example: ['manager'] }),
    isOwner: z.boolean().default(false).meta({ description: 'Takes an owner', example: false }),
  })
  .meta({ id: 'AddOrganizationMember' });

const ChangeMember = z
  .object({ isOwner: z.boolean().meta({ description: 'Takes an owner', example: true }) })
  .meta({ id: 'ChangeOrganizationMember' });

const AddOwner = z.object({ userId: Id }).meta({ id: 'AddOrganizationOwner' });

const SetCompany = z
  .object({
    companyId: Id.nullable().meta({
      description: 'null takes them out of all companies',
      example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f',
    }),
  })
  .meta({ id: 'SetUserCompany' });

const UserCompany = z
  .object({ userId: Id, companyId: Id.nullable(), company: Organization.nullable() })
  .meta({ id: 'UserCompany' });

const Search = ListQuery.extend({
  isOwner: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .meta({ example: 'true' }),
});

const memberParams = z.object({ id: Id, userId: Id });

const toMember = ({ createdAt, ...member }: MemberRow) => ({ ...member, createdAt: createdAt.toISOString() });

const list = async (
  { db }: MemberDeps,
  face: Face,
  id: string,
  { limit, cursor, isOwner }: z.output<typeof Search>,
) => {
  if (!(await findOrganization(db, id, face.kind))) throw notFound('organization');
  const rows = await listMembers(db, id, { isOwner }, { limit: limit + 1, after: idKeyOf(cursor) });
  return pageOf(rows.map(toMember), limit, ({ userId }) => userId);
};

/** Where an organization's people are: companies have users. */
const pathOf = ({ path, kind }: Face) => `${path}/:id/${kind ? 'users' : 'members'}`;
const wordOf = ({ kind }: Face) => (kind ? 'User' : 'Member');

const members = (deps: MemberDeps, face: Face): Route[] => [
  route({
    id: `list${face.one}${wordOf(face)}s`,
    method: 'get',
    path: pathOf(face),
    tag: 'Organizations',
    summary: `List who belongs to ${face.thing}, by their ids`,
    access: 'organizations:read:any',
    within: inOrganization,
    params: organizationParams,
    query: Search,
    returns: listOf(Member),
    status: 200,
    problems: { 404: ['organization_not_found'] },
    handle: ({ params, query }) => list(deps, face, params.id, query),
  }),
  route({
    id: `add${face.one}${wordOf(face)}`,
    method: 'post',
    path: pathOf(face),
    tag: 'Organizations',
    summary: `Make somebody who has an account belong to ${face.thing}`,
    description:
      'It takes power over their account as well: `users:write:any`, or `users:write:organization` in all of their organizations. Others are invited. Each role takes what giving it takes.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: organizationParams,
    body: AddMember,
    returns: Member,
    status: 201,
    problems: {
      403: ['rank_too_low', 'owner_needed', 'exceeds_yours', 'session_needed'],
      404: ['organization_not_found', 'user_not_found'],
      409: ['already_member'],
    },
    handle: async ({ params, body, caller, actor }) =>
      toMember(await addMember(deps, actor, caller, { organizationId: params.id, kind: face.kind, ...body })),
  }),
  // Before the route with a parameter in its place.
  route({
    id: `leave${face.one}`,
    method: 'delete',
    path: `${pathOf(face)}/me`,
    tag: 'Organizations',
    summary: `Leave ${face.thing}`,
    description: 'What one held in it is gone. The last owner hands it to somebody else first, or deletes it.',
    access: 'organizations:leave:own',
    params: organizationParams,
    status: 204,
    problems: { 403: ['own_denial'], 404: ['organization_not_found'], 409: ['last_owner'] },
    handle: async ({ params, caller, actor }) => {
      // To a token for one organization there is no other.
      if ((caller.organizationId ?? params.id) !== params.id) throw notFound('organization');
      await leaveOrganization(deps.db, actor, { organizationId: params.id, kind: face.kind, userId: caller.id });
    },
  }),
  route({
    id: `change${face.one}${wordOf(face)}`,
    method: 'patch',
    path: `${pathOf(face)}/:userId`,
    tag: 'Organizations',
    summary: `Make one of its people an owner of ${face.thing}, or take that away`,
    description: 'Roles are given and taken at `/rbac/users/:id/roles` with the `organizationId`.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: memberParams,
    body: ChangeMember,
    returns: Member,
    status: 200,
    problems: {
      403: ['owner_needed', 'rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['organization_not_found', 'member_not_found'],
      409: ['last_owner'],
    },
    handle: async ({ params, body, caller, actor }) => {
      const place = { organizationId: params.id, kind: face.kind, userId: params.userId };
      return toMember(await setOwner(deps, actor, caller, place, body.isOwner));
    },
  }),
  route({
    id: `remove${face.one}${wordOf(face)}`,
    method: 'delete',
    path: `${pathOf(face)}/:userId`,
    tag: 'Organizations',
    summary: `Take somebody out of ${face.thing}`,
    description:
      'What they held in it is gone: roles and permissions, those of their API keys, and places in its groups.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: memberParams,
    status: 204,
    problems: {
      403: ['owner_needed', 'rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['organization_not_found', 'member_not_found'],
      409: ['last_owner'],
    },
    handle: ({ params, caller, actor }) =>
      removeMember(deps, actor, caller, { organizationId: params.id, kind: face.kind, userId: params.userId }),
  }),
];

const owners = (deps: MemberDeps, face: Face): Route[] => [
  route({
    id: `list${face.one}Owners`,
    method: 'get',
    path: `${face.path}/:id/owners`,
    tag: 'Organizations',
    summary: `See who owns ${face.thing} that one belongs to, or may see`,
    access: 'organizations:read:own',
    owner: asMember,
    within: inOrganization,
    params: organizationParams,
    query: ListQuery,
    returns: listOf(Owner),
    status: 200,
    problems: { 404: ['organization_not_found'] },
    handle: ({ params, query }) => list(deps, face, params.id, { ...query, isOwner: true }),
  }),
  route({
    id: `add${face.one}Owner`,
    method: 'post',
    path: `${face.path}/:id/owners`,
    tag: 'Organizations',
    summary: `Make one of its people an owner of ${face.thing}`,
    description:
      'To hand it over, make somebody else an owner, then take oneself out: there is an owner at every moment. It is for owners of it or of one above, and for who may change every organization; all of them hold what owners hold.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: organizationParams,
    body: AddOwner,
    returns: Member,
    status: 201,
    problems: {
      403: ['owner_needed', 'rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['organization_not_found', 'member_not_found'],
    },
    handle: async ({ params, body, caller, actor }) => {
      const place = { organizationId: params.id, kind: face.kind, userId: body.userId };
      return toMember(await setOwner(deps, actor, caller, place, true));
    },
  }),
  route({
    id: `remove${face.one}Owner`,
    method: 'delete',
    path: `${face.path}/:id/owners/:userId`,
    tag: 'Organizations',
    summary: `Make an owner of ${face.thing} one of its people like others`,
    access: 'organizations:write:any',
    within: inOrganization,
    params: memberParams,
    status: 204,
    problems: {
      403: ['owner_needed', 'rank_too_low'],
      404: ['organization_not_found', 'member_not_found'],
      409: ['last_owner'],
    },
    handle: ({ params, caller, actor }) =>
      setOwner(deps, actor, caller, { organizationId: params.id, kind: face.kind, userId: params.userId }, false),
  }),
];

const companyOfUser = (deps: MemberDeps): Route =>
  route({
    id: 'setUserCompany',
    method: 'put',
    path: '/users/:id/company',
    tag: 'Organizations',
    summary: 'Make a company the only one that somebody belongs to',
    description:
      'It takes power over their account, and `organizations:write` in every company that they come into or go out of.',
    access: 'users:write:any',
    within: ({ id }) => ({ type: 'user', id }),
    params: z.object({ id: Id }),
    body: SetCompany,
    returns: UserCompany,
    status: 200,
    problems: {
      403: ['owner_needed', 'rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['user_not_found', 'organization_not_found'],
      409: ['last_owner'],
    },
    handle: async ({ params, body, caller, actor }) => {
      const company = await setCompany(deps, actor, caller, { userId: params.id, ...body });
      return {
        userId: params.id,
        companyId: company?.id ?? null,
        company: company && toOrganization(company),
      };
    },
  });

export const memberRoutes = (deps: MemberDeps): Route[] => [
  ...faces.flatMap((face) => [...members(deps, face), ...owners(deps, face)]),
  companyOfUser(deps),
];
