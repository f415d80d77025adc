/** What a person may do: the roles and permissions that they hold everywhere and inside organizations, in one query. */
import { type Db, queryDirectly } from '../../db/connect.ts';
import { heldBy, inForce, type When } from '../users/held-roles.queries.ts';
import { denied, narrowed } from './permissions.ts';

/** Whether it is an id as the database writes them. */
export const isId = (text: string): boolean => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text);

/** One permission that is given or denied, and by what. */
export interface Grant {
  permission: string;
  effect: 'allow' | 'deny';
  /** Counts in this organization and those beneath it; without it everywhere. */
  organizationId?: string;
  /** The role that has it; without it the permission was given directly. */
  role?: string;
  /** The group that it was given to. */
  groupId?: string;
}

/** What is held in one place. */
export interface Held {
  /** Names of roles, those that others include too, the highest first. */
  roles: string[];
  /** Of the highest role; -1 without any. */
  rank: number;
  /** A permission that is denied stands behind a `!`. */
  permissions: string[];
}

/** What a member holds in an organization, and so in those beneath it, beside what they hold everywhere. */
export interface Membership extends Held {
  id: string;
  kind: 'organization' | 'company';
  name: string;
  isOwner: boolean;
}

/** What a user holds: `roles`, `rank` and `permissions` are those that count everywhere. */
export interface UserAccess extends Held {
  /** The active organizations that they are a member of, by name. */
  organizations: Membership[];
  /** The active groups and teams that they are in themselves, by name. */
  groups: { id: string; kind: 'group' | 'team'; name: string; organizationId?: string | null }[];
  /** Keys of the active business domains that they are assigned to. */
  domains: string[];
  /** All that gives or denies them something. */
  grants: Grant[];
  /** In how many milliseconds a grant begins or ends; undefined when none does. */
  changesInMs: number | undefined;
}

/** What `accessOf` selects, as the driver gives it and as JSON. */
export interface AccessRow {
  held_roles: { name: string; rank: number; organizationId: string | null }[];
  held_grants: [
    permission: string,
    effect: Grant['effect'],
    organizationId: string | null,
    role: string | null,
    groupId: string | null,
  ][];
  held_organizations: Pick<Membership, 'id' | 'kind' | 'name' | 'isOwner'>[] | null;
  held_groups: UserAccess['groups'] | null;
  held_domains: string[] | null;
  changes_in_ms: number | null;
}

/**
 * SQL of an active user's access, of no row for anybody else.
 * @param id SQL of the user's id
 * @param when whether only what lasts until a moment counts; what is denied now is denied even so
 */
export const accessOf = (id: string, when: When = false): string => `with recursive ${heldBy(id, when)}, granted as (
       select permissions.name, 'allow' as effect, organization_id, roles.name as role, group_id
       from held join roles on roles.id = held.role_id
         join role_permissions on role_permissions.role_id = held.role_id
         join permissions on permissions.id = role_permissions.permission_id
       union
       select permissions.name, effect, organization_id, null, group_id
       from permission_grants join permissions on permissions.id = permission_id
       where (user_id = ${id} or group_id = any(array(select id from circles))) and ${when ? `(${inForce(when)} or (effect = 'deny' and ${inForce()}))` : inForce()}
         and (organization_id is null or organization_id in (select organization_id from belongs))
     ), boundaries as (
       select unnest(array[starts_at, expires_at]) as at from role_grants
       where user_id = ${id} or group_id = any(array(select id from circles))
       union all
       select unnest(array[starts_at, expires_at]) from permission_grants
       where user_id = ${id} or group_id = any(array(select id from circles))
     )
     select
       (select jsonb_agg(distinct jsonb_build_object('name', name, 'rank', rank, 'organizationId', organization_id))
         from held join roles on roles.id = held.role_id) as held_roles,
       (select jsonb_agg(jsonb_build_array(name, effect, organization_id, role, group_id)
         order by name, effect, organization_id, role, group_id) from granted) as held_grants,
       (select jsonb_agg(jsonb_build_object('id', id, 'kind', kind, 'name', name, 'isOwner', is_owner) order by name, id)
         from belongs join organizations on organizations.id = organization_id) as held_organizations,
       (select jsonb_agg(jsonb_build_object('id', groups.id, 'kind', kind, 'name', name, 'organizationId', groups.organization_id)
           order by name, groups.id)
         from circles join groups on groups.id = circles.id
           join group_members on group_id = groups.id and user_id = ${id}) as held_groups,
       (select jsonb_agg(key order by key) from domain_members join domains on domains.id = domain_id
         where user_id = ${id} and is_active) as held_domains,
       (select extract(epoch from min(at) - now()) * 1000 from boundaries where at > now())::float8 as changes_in_ms
     from users where users.id = ${id} and status = 'active'`;

const heldIn = (row: AccessRow, place: string | null): Held => {
  const roles = row.held_roles
    .filter(({ organizationId }) => organizationId === place)
    .sort((a, b) => b.rank - a.rank || (a.name < b.name ? -1 : 1));
  const grants = row.held_grants.filter(([, , organizationId]) => organizationId === place);
  return {
    roles: roles.map(({ name }) => name),
    rank: roles[0]?.rank ?? -1,
    permissions: [
      ...new Set(
        grants.map(([name, effect]) => {
          const here = place === null ? name : narrowed(name);
          return effect === 'deny' ? denied(here) : here;
        }),
      ),
    ],
  };
};

/** A row of `accessOf`. */
export const toAccess = (row: AccessRow): UserAccess => {
  const held = { ...row, held_grants: row.held_grants ?? [] };
  return {
    ...heldIn(held, null),
    organizations: (row.held_organizations ?? []).map((one) => ({ ...one, ...heldIn(held, one.id) })),
    groups: row.held_groups ?? [],
    domains: row.held_domains ?? [],
    grants: held.held_grants.map(([permission, effect, organizationId, role, groupId]) => ({
      permission,
      effect,
      ...(organizationId ? { organizationId } : {}),
      ...(role ? { role } : {}),
      ...(groupId ? { groupId } : {}),
    })),
    changesInMs: row.changes_in_ms ?? undefined,
  };
};

/** What is held everywhere or in some organization: what a token may have in its scope. */
export const heldAnywhere = ({
  permissions,
  organizations,
}: {
  permissions: readonly string[];
  organizations: readonly { permissions: readonly string[] }[];
}): string[] => [
  ...new Set([
    ...permissions,
    ...organizations.flatMap((one) => one.permissions.filter((name) => !name.startsWith('!'))),
  ]),
];

const own = accessOf('$1');
const ownUntil = accessOf('$1', { until: 'cast($2 as timestamptz)' });

/**
 * An active user's access as the database has it now; undefined for anybody else.
 * @param until only what they will still have then counts; null: what they have for good
 */
export const findUserAccess = async (db: Db, userId: string, until?: Date | null): Promise<UserAccess | undefined> => {
  const [row] = await (until === undefined
    ? queryDirectly<AccessRow>(db, own, [userId])
    : queryDirectly<AccessRow>(db, ownUntil, [userId, until]));
  return row && toAccess(row);
};

const ofMany = `select asked.id as asked_id, access.* from unnest(cast($1 as uuid[])) as asked (id)
  cross join lateral (${accessOf('asked.id')}) access`;

/** The access of active users by id, by one query. Names that are no ids are nobody's. */
export const findAccessOfMany = async (db: Db, ids: Iterable<string>): Promise<Map<string, UserAccess>> => {
  const asked = [...new Set(ids)].filter(isId);
  if (!asked.length) return new Map();
  const rows = await queryDirectly<AccessRow & { asked_id: string }>(db, ofMany, [asked]);
  return new Map(rows.map((row) => [row.asked_id, toAccess(row)]));
};
