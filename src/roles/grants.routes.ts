/** What people, groups and API keys were given, over REST: the same for each of them. */
import { z } from 'zod';
import { notFound } from '../errors.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { reachOf } from '../http/reach.ts';
import { type Route, route } from '../http/route.ts';
import { Id, RoleName, Time } from '../http/schemas.ts';
import type { ProblemCode } from '../problem-codes.ts';
import { type GrantDeps, grantPermission, grantRole, revokePermission, revokeRole } from './grants.commands.ts';
import { type GrantRow, isInSight, listHeldPermissions, listHeldRoles, type Subject } from './grants.queries.ts';
import { PermissionName } from './permissions.ts';

const organizationId = Id.nullable().meta({
  description: 'Counts in this organization and those beneath it; null: everywhere',
  example: null,
});
const period = {
  startsAt: Time.nullable(),
  expiresAt: Time.nullable().meta({ description: 'Null: never', example: null }),
};
const Effect = z.enum(['allow', 'deny']).meta({ description: 'A denial beats whatever allows', example: 'allow' });

const holding = {
  id: Id.nullable().meta({ description: 'Of the grant; null for what no grant gives' }),
  source: z.enum(['primary', 'grant', 'group', 'owner', 'identity_provider']).meta({
    description:
      'Where it comes from: the primary role, a grant, a group or one above it, what owners of an organization have there, or the rules of an identity provider',
    example: 'grant',
  }),
  group: z.object({ id: Id, name: z.string().meta({ example: 'Engineering' }) }).nullable(),
  organizationId,
  ...period,
  state: z.enum(['active', 'later', 'inactive', 'lapsed']).meta({
    description: '`inactive`: the person is not a member of the organization, or that is not active',
    example: 'active',
  }),
};

const HeldRole = z
  .object({
    role: z.string().meta({ example: 'moderator' }),
    rank: z.int().meta({ example: 60 }),
    includes: z.array(z.string()).meta({ description: 'The roles that it includes', example: ['user'] }),
    ...holding,
  })
  .meta({ id: 'HeldRole' });

const HeldPermission = z
  .object({ permission: z.string().meta({ example: 'audit:read:any' }), effect: Effect, ...holding })
  .meta({ id: 'HeldPermission' });

const given = { id: Id, organizationId, ...period, startsAt: Time, createdAt: Time };
const RoleGrant = z.object({ role: z.string().meta({ example: 'moderator' }), ...given }).meta({ id: 'RoleGrant' });
const PermissionGrant = z
  .object({ permission: z.string().meta({ example: 'audit:read:any' }), effect: Effect, ...given })
  .meta({ id: 'PermissionGrant' });

const terms = {
  organizationId: Id.nullish().meta({
    description: 'In this organization and those beneath it; without it everywhere',
    example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f',
  }),
  startsAt: Time.nullish().meta({ description: 'Without it at once', example: '2027-01-01T00:00:00Z' }),
  expiresAt: Time.nullish().meta({ description: 'Without it never', example: '2027-02-01T00:00:00Z' }),
};
const GrantRole = z
  .object({ role: RoleName.meta({ description: 'The name or the id of a role', example: 'moderator' }), ...terms })
  .meta({ id: 'GrantRole' });
const GrantPermission = z
  .object({ permission: PermissionName, effect: Effect.default('allow'), ...terms })
  // It would count for nothing there, and a denial that does not is worse than none.
  .refine(
    ({ permission, effect, organizationId }) => !(organizationId && effect === 'deny' && permission.endsWith(':own')),
    {
      message: 'what is one’s own is denied everywhere',
      path: ['organizationId'],
    },
  )
  .meta({ id: 'GrantPermission' });

const Filter = ListQuery.extend({
  state: z
    .enum(['active', 'later', 'inactive', 'lapsed'])
    .optional()
    .meta({ description: 'Without it all but what has lapsed, which is kept for 30 days', example: 'later' }),
});

const readTerms = (body: z.output<z.ZodObject<typeof terms>>) => ({
  organizationId: body.organizationId ?? undefined,
  startsAt: body.startsAt ? new Date(body.startsAt) : undefined,
  expiresAt: body.expiresAt ? new Date(body.expiresAt) : undefined,
});

const timeOf = (time: Date | null) => time?.toISOString() ?? null;
const withTimes = <T extends { startsAt: Date | null; expiresAt: Date | null }>(held: T) => ({
  ...held,
  startsAt: timeOf(held.startsAt),
  expiresAt: timeOf(held.expiresAt),
});
const toGrant = <T extends GrantRow>({ startsAt, createdAt, expiresAt, ...grant }: T) => ({
  ...grant,
  startsAt: startsAt.toISOString(),
  createdAt: createdAt.toISOString(),
  expiresAt: timeOf(expiresAt),
});

interface Kind {
  type: Subject['type'];
  /** Of the path. */
  folder: string;
  /** Of operation ids and of summaries. */
  noun: string;
  whom: string;
  missing: ProblemCode;
}

const kinds: readonly Kind[] = [
  { type: 'user', folder: 'users', noun: 'User', whom: 'an account', missing: 'user_not_found' },
  { type: 'group', folder: 'groups', noun: 'Group', whom: 'a group', missing: 'group_not_found' },
  { type: 'api_key', folder: 'api-keys', noun: 'ApiKey', whom: 'an API key', missing: 'api_key_not_found' },
];

const notYours = ['rank_too_low', 'exceeds_yours', 'session_needed'] as const;
const params = z.object({ id: Id });
const grantParams = z.object({ id: Id, grantId: Id });

const reading = ({ db }: GrantDeps, { type, folder, noun, whom, missing }: Kind): Route[] => {
  const declared = <T extends z.ZodType>(what: 'Roles' | 'Permissions', returns: T) => ({
    id: `list${what}Of${noun}`,
    method: 'get' as const,
    path: `/rbac/${folder}/:id/${what.toLowerCase()}`,
    tag: 'Roles',
    summary: `List the ${what.toLowerCase()} that ${whom} was given, where from, and for how long`,
    description:
      'What begins later is listed as well. Who may see this only in their organizations sees what was given there.',
    access: 'roles:read:any' as const,
    reach: true as const,
    params,
    query: Filter,
    returns: listOf(returns),
    status: 200,
    problems: { 404: [missing] },
  });
  const inSight = async (caller: Parameters<typeof reachOf>[0], id: string) => {
    const reach = reachOf(caller, 'roles:read:any');
    if (!(await isInSight(db, { type, id }, reach))) throw notFound(type);
    return reach;
  };
  return [
    route({
      ...declared('Roles', HeldRole),
      handle: async ({ params: { id }, query: { limit, cursor, state }, caller }) => {
        const reach = await inSight(caller, id);
        const rows = await listHeldRoles(db, { type, id }, reach, { state, limit: limit + 1, after: keyOf(cursor) });
        return pageOf(rows.map(withTimes), limit, ({ key }) => key);
      },
    }),
    route({
      ...declared('Permissions', HeldPermission),
      handle: async ({ params: { id }, query: { limit, cursor, state }, caller }) => {
        const reach = await inSight(caller, id);
        const page = { state, limit: limit + 1, after: keyOf(cursor) };
        return pageOf(
          (await listHeldPermissions(db, { type, id }, reach, page)).map(withTimes),
          limit,
          ({ key }) => key,
        );
      },
    }),
  ];
};

const giving = (deps: GrantDeps, { type, folder, noun, whom, missing }: Kind): Route[] => {
  const shared = { method: 'post' as const, tag: 'Roles', access: 'roles:assign:any' as const, reach: true as const };
  const taking = { ...shared, method: 'delete' as const, params: grantParams, status: 204 };
  return [
    route({
      ...shared,
      id: `grantRoleTo${noun}`,
      path: `/rbac/${folder}/:id/roles`,
      summary: `Give ${whom} a role, everywhere or in an organization; the same again changes the period`,
      description: 'Nobody gives more than they hold themselves there, or for longer than they hold it.',
      params,
      body: GrantRole,
      returns: RoleGrant,
      status: 201,
      problems: { 403: notYours, 404: [missing, 'organization_not_found'], 409: ['not_a_member', 'too_many_grants'] },
      handle: async ({ params: { id }, body, caller, actor }) =>
        toGrant(await grantRole(deps, actor, caller, { type, id }, { role: body.role, ...readTerms(body) })),
    }),
    route({
      ...taking,
      id: `revokeRoleOf${noun}`,
      path: `/rbac/${folder}/:id/roles/:grantId`,
      summary: `Take a role back from ${whom}`,
      problems: { 403: ['rank_too_low'], 404: [missing, 'grant_not_found'] },
      handle: ({ params: { id, grantId }, caller, actor }) => revokeRole(deps, actor, caller, { type, id }, grantId),
    }),
    route({
      ...shared,
      id: `grantPermissionTo${noun}`,
      path: `/rbac/${folder}/:id/permissions`,
      summary: `Give ${whom} a permission, or deny it; the same again changes effect and period`,
      description:
        'A denial beats whatever allows. It takes a rank as high as that of whom it is for, and lifting it takes what giving the permission takes; nobody lifts what is denied to themselves.',
      params,
      body: GrantPermission,
      returns: PermissionGrant,
      status: 201,
      problems: {
        403: [...notYours, 'own_denial'],
        404: [missing, 'organization_not_found'],
        409: ['not_a_member', 'too_many_grants', 'last_super_admin'],
      },
      handle: async ({ params: { id }, body: { permission, effect, ...body }, caller, actor }) =>
        toGrant(await grantPermission(deps, actor, caller, { type, id }, { permission, effect, ...readTerms(body) })),
    }),
    route({
      ...taking,
      id: `revokePermissionOf${noun}`,
      path: `/rbac/${folder}/:id/permissions/:grantId`,
      summary: `Take a permission back from ${whom}, or lift a denial`,
      problems: { 403: [...notYours, 'own_denial'], 404: [missing, 'grant_not_found'] },
      handle: ({ params: { id, grantId }, caller, actor }) =>
        revokePermission(deps, actor, caller, { type, id }, grantId),
    }),
  ];
};

export const grantRoutes = (deps: GrantDeps): Route[] =>
  kinds.flatMap((kind) => [...reading(deps, kind), ...giving(deps, kind)]);
