/** Roles over REST: what there are, what they permit, and everybody's primary one. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { cursorNotOurs, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { RoleName, Time } from '../http/schemas.ts';
import { toUser, User, userParams } from '../users/users.routes.ts';
import { PermissionName } from './permissions.ts';
import { createRole, deleteRole, updateRole } from './role-definitions.commands.ts';
import { assignRole, type EndSessions } from './roles.commands.ts';
import { findRoleDetails, isRoleId, pageRoles, type RoleDetails } from './roles.queries.ts';

const Role = z
  .object({
    id: z.uuid().meta({ example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' }),
    name: z.string().meta({ example: 'moderator' }),
    description: z.string().meta({ example: 'Looks after users and content' }),
    rank: z.int().meta({ description: 'Nobody acts on whom, or gives what, ranks higher', example: 60 }),
    builtIn: z.boolean().meta({ description: 'It comes with the service and keeps its name and rank', example: true }),
    permissions: z.array(z.string()).meta({ example: ['users:read:any', 'sessions:end:any'] }),
    inherits: z.array(z.string()).meta({ description: 'The roles that it includes', example: ['user'] }),
    effectivePermissions: z
      .array(z.string())
      .meta({ description: 'With those of the roles that it includes', example: ['users:read:any'] }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Role' });

/** A name that no path takes for an id. */
const NewRoleName = RoleName.trim()
  .min(1)
  .refine((name) => !isRoleId(name), 'must not look like an id')
  .meta({ description: 'The name of a role', example: 'auditor' });

const fields = {
  description: z
    .string()
    .trim()
    .max(500)
    .regex(/^\P{C}*$/u, 'must not contain control characters')
    .meta({ example: 'Reads what happened' }),
  rank: z
    .int()
    .min(0)
    .max(100)
    .meta({ description: 'At most one’s own, and at least that of each role that it includes', example: 20 }),
  permissions: z
    .array(PermissionName)
    .max(500)
    .meta({ example: ['audit:read:any'] }),
  inherits: z
    .array(RoleName)
    .max(20)
    .meta({ description: 'Names of the roles that it includes', example: ['user'] }),
};

const CreateRole = z
  .object({
    name: NewRoleName,
    description: fields.description.default(''),
    rank: fields.rank.optional().meta({
      description: 'Without it that of `user` or of the highest role that it includes, and never above one’s own',
      example: 20,
    }),
    permissions: fields.permissions.default([]),
    inherits: fields.inherits.default([]),
  })
  .meta({ id: 'CreateRole' });

const ChangeRole = z
  .object({
    name: NewRoleName.optional(),
    description: fields.description.optional(),
    rank: fields.rank.optional(),
    permissions: fields.permissions.optional().meta({ description: 'All of them', example: ['audit:read:any'] }),
    inherits: fields.inherits.optional().meta({ description: 'All of them', example: ['user'] }),
  })
  .meta({ id: 'ChangeRole' });

const AssignRole = z.object({ role: RoleName }).meta({ id: 'AssignRole' });

const roleParams = z.object({ id: RoleName.meta({ description: 'The id or the name of a role', example: 'auditor' }) });

const toRole = ({ createdAt, updatedAt, ...role }: RoleDetails) => ({
  ...role,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});

const cursorOf = ({ rank, name }: { rank: number; name: string }) => `${rank} ${name}`;

/** @throws AppError 400 invalid_request */
const readCursor = (cursor: string | undefined): { rank: number; name: string } | undefined => {
  const key = keyOf(cursor);
  if (key === undefined) return undefined;
  const [, rank, name = ''] = /^(\d{1,9}) (.+)$/s.exec(key) ?? [];
  if (rank !== undefined) return { rank: Number(rank), name };
  throw cursorNotOurs();
};

const notYours = ['rank_too_low', 'exceeds_yours', 'session_needed'] as const;
const shape = ['role_cycle', 'role_too_deep', 'role_ranks'] as const;

export interface RoleRouteDeps {
  db: Db;
  endSessions: EndSessions;
}

const reading = ({ db }: RoleRouteDeps): Route[] => [
  route({
    id: 'listRoles',
    method: 'get',
    path: '/rbac/roles',
    tag: 'Roles',
    summary: 'List the roles with what they permit, the highest first',
    access: 'roles:read:any',
    reach: true,
    query: ListQuery,
    returns: listOf(Role),
    status: 200,
    handle: async ({ query: { limit, cursor } }) => {
      const rows = await pageRoles(db, { limit: limit + 1, after: readCursor(cursor) });
      return pageOf(rows.map(toRole), limit, cursorOf);
    },
  }),
  route({
    id: 'getRole',
    method: 'get',
    path: '/rbac/roles/:id',
    tag: 'Roles',
    summary: 'See a role',
    access: 'roles:read:any',
    reach: true,
    params: roleParams,
    returns: Role,
    status: 200,
    problems: { 404: ['role_not_found'] },
    handle: async ({ params }) => {
      const role = await findRoleDetails(db, params.id);
      if (!role) throw notFound('role');
      return toRole(role);
    },
  }),
];

const writing = ({ db, endSessions }: RoleRouteDeps): Route[] => [
  route({
    id: 'createRole',
    method: 'post',
    path: '/rbac/roles',
    tag: 'Roles',
    summary: 'Make a role',
    description:
      'It permits no more than the caller holds everywhere and for good. A permission that nobody has named yet is an application’s own, and is made.',
    access: 'roles:write:any',
    body: CreateRole,
    returns: Role,
    status: 201,
    problems: { 403: notYours, 409: ['role_exists', ...shape] },
    handle: async ({ body, caller, actor }) => toRole(await createRole(db, actor, caller, body)),
  }),
  route({
    id: 'updateRole',
    method: 'patch',
    path: '/rbac/roles/:id',
    tag: 'Roles',
    summary: 'Change a role',
    description:
      'What is added, everybody gains who has the role, so that it takes what giving it takes. Roles of the service keep their names and ranks, `super_admin` stays as it is, and a role keeps its rank while anybody has it.',
    access: 'roles:write:any',
    params: roleParams,
    body: ChangeRole,
    returns: Role,
    status: 200,
    problems: {
      403: notYours,
      404: ['role_not_found'],
      409: ['role_exists', 'role_built_in', 'role_in_use', ...shape],
    },
    handle: async ({ params, body, caller, actor }) => toRole(await updateRole(db, actor, caller, params.id, body)),
  }),
  route({
    id: 'deleteRole',
    method: 'delete',
    path: '/rbac/roles/:id',
    tag: 'Roles',
    summary: 'Delete a role, with every grant of it',
    access: 'roles:write:any',
    params: roleParams,
    status: 204,
    problems: { 403: ['rank_too_low'], 404: ['role_not_found'], 409: ['role_built_in', 'role_in_use'] },
    handle: ({ params, caller, actor }) => deleteRole(db, actor, caller, params.id),
  }),
  route({
    id: 'assignRole',
    method: 'put',
    path: '/users/:id/role',
    tag: 'Users',
    summary: 'Give an account another primary role',
    description: 'Nobody gives more than they hold themselves, or takes a role from somebody who ranks higher.',
    access: 'roles:assign:any',
    params: userParams,
    body: AssignRole,
    returns: User,
    status: 200,
    problems: { 403: notYours, 404: ['user_not_found'], 409: ['last_super_admin'] },
    handle: async ({ params, body, caller, actor }) =>
      toUser(await assignRole(db, actor, caller, { userId: params.id, role: body.role }, endSessions)),
  }),
];

export const roleRoutes = (deps: RoleRouteDeps): Route[] => [...reading(deps), ...writing(deps)];
