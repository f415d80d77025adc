/** Roles that people are given because they join an organization. */
import type { Db } from '../../db/connect.ts';

/** By names or by ids, with what they include; what is not there is left out. */
export const findGivenRoles = async (
  db: Db,
  by: { names: readonly string[] } | { ids: readonly string[] },
): Promise<{ id: string; name: string; rank: number; permissions: string[] }[]> => {
  const [column, values] = 'names' in by ? ['name', by.names] : ['id', by.ids];
  if (!values.length) return [];
  const { rows } = (await db.raw(
    `with recursive held (given, role_id) as (
       select id, id from roles where ${column} = any(:values)
       union select given, parent_id from held join role_inheritance on role_inheritance.role_id = held.role_id
     )
     select roles.id, roles.name, roles.rank, coalesce((
         select array_agg(distinct permissions.name) from held join role_permissions on role_permissions.role_id = held.role_id
           join permissions on permissions.id = permission_id where given = roles.id), '{}') as permissions
     from roles where ${column} = any(:values) order by rank desc, name`,
    { values: [...values] },
  )) as { rows: { id: string; name: string; rank: number; permissions: string[] }[] };
  return rows;
};

/** Gives people roles in an organization, for good. Who has one of them for a time has it for good then. */
export const giveMemberRoles = async (
  db: Db,
  {
    organizationId,
    userIds,
    roleIds,
    grantedBy,
  }: { organizationId: string; userIds: readonly string[]; roleIds: readonly string[]; grantedBy: string | null },
): Promise<void> => {
  await db.raw(
    `insert into role_grants (user_id, role_id, organization_id, granted_by)
     select people.id, roles.id, :organizationId, :grantedBy
     from unnest(cast(:userIds as uuid[])) as people (id), roles where roles.id = any(:roleIds)
     on conflict (user_id, group_id, api_key_id, role_id, organization_id, identity_provider_id)
       do update set starts_at = least(role_grants.starts_at, now()), expires_at = null`,
    { organizationId, userIds: [...userIds], roleIds: [...roleIds], grantedBy },
  );
};
