/** Reads of roles, permissions and their grants. A grant counts from `starts_at` until `expires_at`, whether a job runs or not. */
import type { Db } from '../../db/connect.ts';
import { denied } from './permissions.ts';

export interface Role {
  id: string;
  name: string;
  description: string;
  rank: number;
}

/** Of a grant. */
const unexpired = '(expires_at is null or expires_at > now())';

export const findRole = (db: Db, name: string): Promise<Role | undefined> =>
  db('roles').where({ name }).first('id', 'name', 'description', 'rank');

/** The ranks of roles by name; a name without a role is left out. */
export const findRanks = async (db: Db, names: readonly string[]): Promise<Record<string, number>> => {
  const rows: { name: string; rank: number }[] = await db('roles').whereIn('name', names).select('name', 'rank');
  return Object.fromEntries(rows.map(({ name, rank }) => [name, rank]));
};

/** What a role permits; nothing for the name of no role. */
export const findRolePermissions = async (db: Db, role: string): Promise<string[]> => {
  const rows: { name: string }[] = await db('rolePermissions')
    .join('permissions', 'permissions.id', 'rolePermissions.permissionId')
    .join('roles', 'roles.id', 'rolePermissions.roleId')
    .where({ 'roles.name': role })
    .select('permissions.name');
  return rows.map(({ name }) => name);
};

/**
 * Everything that an account gives whoever takes it over, whatever its state is now and whatever is denied to it for now: what all
 * of its roles permit and what it was granted besides, in every organization, also what begins later.
 */
export const findAccountPermissions = async (db: Db, userId: string): Promise<string[]> => {
  const { rows } = (await db.raw(
    `with held as (
       select role_id from users where id = :userId
       union select role_id from role_grants where user_id = :userId and ${unexpired}
     )
     select name from permissions where id in (
       select permission_id from role_permissions where role_id in (select role_id from held)
       union select permission_id from permission_grants where user_id = :userId and effect = 'allow' and ${unexpired}
     )`,
    { userId },
  )) as { rows: { name: string }[] };
  return rows.map(({ name }) => name);
};

/** All roles with their permissions, the highest first. */
export const listRoles = async (db: Db): Promise<(Role & { permissions: string[] })[]> => {
  const { rows } = (await db.raw(
    `select roles.id, roles.name, roles.description, rank,
       coalesce(array_agg(permissions.name order by permissions.name) filter (where permissions.name is not null), '{}') as permissions
     from roles left join role_permissions on role_id = roles.id left join permissions on permissions.id = permission_id
     group by roles.id order by rank desc, roles.name`,
  )) as { rows: (Role & { permissions: string[] })[] };
  return rows;
};

/** What a user may do everywhere. */
export interface UserAccess {
  /** Names of roles, the highest first. */
  roles: string[];
  /** Of the highest role. */
  rank: number;
  /** A permission that is denied stands behind a `!`. */
  permissions: string[];
}

const current = `organization_id is null and starts_at <= now() and ${unexpired}`;

/** What `accessOf` selects. */
export interface AccessRow {
  roles: string[];
  rank: number;
  permissions: string[] | null;
  allowed: string[] | null;
  denied: string[] | null;
}

/** SQL of an active user's access, of no row for anybody else. @param id SQL of the user's id */
export const accessOf = (id: string): string => `with held as (
       select role_id from users where users.id = ${id}
       union select role_id from role_grants where user_id = ${id} and ${current}
     ), granted as (
       select permissions.name, effect from permission_grants join permissions on permissions.id = permission_id
       where user_id = ${id} and ${current}
     )
     select
       (select array_agg(name order by rank desc, name) from roles where id in (select role_id from held)) as roles,
       (select max(rank) from roles where id in (select role_id from held)) as rank,
       (select array_agg(distinct permissions.name) from role_permissions join permissions on permissions.id = permission_id
         where role_id in (select role_id from held)) as permissions,
       (select array_agg(name) from granted where effect = 'allow') as allowed,
       (select array_agg(name) from granted where effect = 'deny') as denied
     from users where users.id = ${id} and status = 'active'`;

/** A row of `accessOf`. */
export const toAccess = ({ roles, rank, permissions, allowed, denied: denials }: AccessRow): UserAccess => ({
  roles,
  rank,
  permissions: [...(permissions ?? []), ...(allowed ?? []), ...(denials ?? []).map(denied)],
});

/** An active user's roles and permissions; undefined for anybody else. One query, since every request asks it. */
export const findUserAccess = async (db: Db, userId: string): Promise<UserAccess | undefined> => {
  const { rows } = (await db.raw(accessOf(':userId'), { userId })) as { rows: AccessRow[] };
  const [row] = rows;
  return row && toAccess(row);
};
