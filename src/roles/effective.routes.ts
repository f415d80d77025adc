/** What somebody may do, and why, over REST. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { findAccount } from '../users/users.queries.ts';
import { findUserAccess } from './access.queries.ts';
import { inOrganization } from './claimable.ts';

const held = {
  roles: z
    .array(z.string())
    .meta({ description: 'With those that others include, the highest first', example: ['manager', 'user'] }),
  rank: z.int().meta({ description: 'Of the highest of these roles; -1 without any', example: 50 }),
  permissions: z
    .array(z.string())
    .meta({ description: 'What is denied stands behind a `!`', example: ['users:read:own', '!users:write:own'] }),
};

const Reason = z.object({
  permission: z.string().meta({ example: 'users:read:organization' }),
  effect: z.enum(['allow', 'deny']).meta({ example: 'allow' }),
  role: z
    .string()
    .optional()
    .meta({ description: 'The role that has it; absent for what was given directly', example: 'manager' }),
  groupId: Id.optional().meta({ description: 'The group that it was given to' }),
  organizationId: Id.optional().meta({ description: 'Where it counts; absent: everywhere' }),
});

const EffectiveAccess = z
  .object({
    ...held,
    organizations: z.array(
      z.object({
        id: Id,
        kind: z.enum(['organization', 'company']).meta({ example: 'company' }),
        name: z.string().meta({ example: 'Acme' }),
        isOwner: z.boolean().meta({ example: false }),
        ...held,
      }),
    ),
    groups: z.array(
      z.object({
        id: Id,
        kind: z.enum(['group', 'team']).meta({ example: 'team' }),
        name: z.string().meta({ example: 'Engineering' }),
      }),
    ),
    domains: z.array(z.string()).meta({ description: 'Keys of business domains', example: ['sales'] }),
    grants: z.array(Reason).meta({ description: 'What gives or denies each permission' }),
    changesAt: Time.nullable().meta({ description: 'When the next grant begins or ends', example: null }),
  })
  .meta({ id: 'EffectiveAccess' });

const nothing = { roles: [], rank: -1, permissions: [], organizations: [], groups: [], domains: [], grants: [] };

export const effectiveRoutes = ({ db }: { db: Db }): Route[] => [
  route({
    id: 'getEffectiveAccess',
    method: 'get',
    path: '/rbac/users/:id/effective',
    tag: 'Roles',
    summary: 'See what somebody may do, everywhere and inside organizations, and why',
    description: 'Of an account that is not active: nothing.',
    access: 'authz:check:own',
    owner: ({ id }) => id,
    params: z.object({ id: Id }),
    returns: EffectiveAccess,
    status: 200,
    problems: { 404: ['user_not_found'] },
    handle: async ({ params, caller }) => {
      const account = await findAccount(db, params.id);
      if (!account) throw notFound('user');
      const all = await findUserAccess(db, params.id);
      // A token for one organization tells nothing of its person's others.
      const access = caller.id === params.id ? inOrganization(all, caller.organizationId) : all;
      if (!access) return { ...nothing, changesAt: null };
      const { changesInMs, ...rest } = access;
      const changesAt = changesInMs === undefined ? null : new Date(Date.now() + changesInMs).toISOString();
      return { ...rest, changesAt };
    },
  }),
];
