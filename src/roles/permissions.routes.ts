/** The names of permissions over REST. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { deletePermission, describePermission } from './permissions.commands.ts';
import { listPermissions } from './permissions.queries.ts';
import { PermissionName } from './permissions.ts';

const OwnName = PermissionName.refine((name) => !name.includes('*'), 'must not be a wildcard').meta({
  example: 'invoices:read:any',
  description: 'resource:action:scope',
});

const description = z
  .string()
  .trim()
  .max(500)
  .regex(/^\P{C}*$/u, 'must not contain control characters')
  .meta({ description: 'What it allows', example: 'See every invoice' });

const NamedPermission = z
  .object({
    name: z.string().meta({ example: 'invoices:read:any' }),
    description,
    builtIn: z.boolean().meta({ description: 'This service’s own', example: false }),
  })
  .meta({ id: 'NamedPermission' });

const DescribePermission = z
  .object({ name: OwnName, description: description.default('') })
  .meta({ id: 'DescribePermission' });

const Filter = ListQuery.extend({
  q: z
    .string()
    .max(120)
    .regex(/^[a-z0-9_:-]*$/, 'expected the beginning of a permission')
    .optional()
    .meta({ description: 'The beginning of the name', example: 'invoices:' }),
});

export const permissionRoutes = ({ db }: { db: Db }): Route[] => [
  route({
    id: 'listPermissions',
    method: 'get',
    path: '/rbac/permissions',
    tag: 'Roles',
    summary: 'List the permissions that there are: this service’s own, and those of applications',
    access: 'roles:read:any',
    reach: true,
    query: Filter,
    returns: listOf(NamedPermission),
    status: 200,
    handle: async ({ query: { limit, cursor, q } }) => {
      const rows = await listPermissions(db, { q, limit: limit + 1, after: keyOf(cursor) });
      return pageOf(rows, limit, ({ name }) => name);
    },
  }),
  route({
    id: 'describePermission',
    method: 'post',
    path: '/rbac/permissions',
    tag: 'Roles',
    summary: 'Name a permission of an application, or describe it again',
    description: 'It permits nothing to anybody until a role has it, or somebody is given it.',
    access: 'roles:write:any',
    body: DescribePermission,
    returns: NamedPermission,
    status: 201,
    problems: { 409: ['permission_built_in'] },
    handle: ({ body, actor }) => describePermission(db, actor, body),
  }),
  route({
    id: 'deletePermission',
    method: 'delete',
    path: '/rbac/permissions/:name',
    tag: 'Roles',
    summary: 'Delete a permission of an application that nothing and nobody has',
    access: 'roles:write:any',
    params: z.object({ name: OwnName }),
    status: 204,
    problems: { 404: ['permission_not_found'], 409: ['permission_built_in', 'permission_in_use'] },
    handle: ({ params, actor }) => deletePermission(db, actor, params.name),
  }),
];
