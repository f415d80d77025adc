/** Roles over REST. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { assertPassesOn } from '../http/caller.ts';
import { listOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { RoleName } from '../http/schemas.ts';
import { toUser, User, userParams } from '../users/users.routes.ts';
import { assignRole, type EndSessions } from './roles.commands.ts';
import { findRolePermissions, listRoles } from './roles.queries.ts';

const Role = z
  .object({
    name: z.string().meta({ example: 'moderator' }),
    description: z.string().meta({ example: 'Looks after users and content' }),
    rank: z.int().meta({ description: 'Nobody acts on whom, or gives what, ranks higher', example: 60 }),
    permissions: z.array(z.string()).meta({ example: ['users:read:any', 'sessions:end:any'] }),
  })
  .meta({ id: 'Role' });

const AssignRole = z.object({ role: RoleName }).meta({ id: 'AssignRole' });

export const roleRoutes = ({ db, endSessions }: { db: Db; endSessions: EndSessions }): Route[] => [
  route({
    id: 'listRoles',
    method: 'get',
    path: '/roles',
    tag: 'Users',
    summary: 'List the roles with what they permit, the highest first',
    access: 'roles:read:any',
    returns: listOf(Role),
    status: 200,
    handle: async () => ({ data: await listRoles(db), nextCursor: null }),
  }),
  route({
    id: 'assignRole',
    method: 'put',
    path: '/users/:id/role',
    tag: 'Users',
    summary: 'Give an account another primary role',
    description: 'Nobody gives a role above their own, or takes one from somebody who ranks higher.',
    access: 'roles:assign:any',
    params: userParams,
    body: AssignRole,
    returns: User,
    status: 200,
    problems: { 403: ['rank_too_low', 'session_needed'], 404: ['user_not_found'], 409: ['last_super_admin'] },
    handle: async ({ params, body, caller, actor }) => {
      assertPassesOn(caller, await findRolePermissions(db, body.role));
      return toUser(await assignRole(db, actor, caller, { userId: params.id, role: body.role }, endSessions));
    },
  }),
];
