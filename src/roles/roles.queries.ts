/** Reads of roles and of what they permit. */
import type { Db } from '../../db/connect.ts';

export interface Role {
  id: string;
  name: string;
  description: string;
  rank: number;
}

/** A role with what it permits. */
export interface RoleDetails extends Role {
  /** One of those that the service comes with. */
  builtIn: boolean;
  /** Its own permissions. */
  permissions: string[];
  /** Names of the roles that it includes itself. */
  inherits: string[];
  /** What it permits with what it includes. */
  effectivePermissions: string[];
  createdAt: Date;
  updatedAt: Date;
}

export const findRole = (db: Db, name: string): Promise<Role | undefined> =>
  db('roles').where({ name }).first('id', 'name', 'description', 'rank');

const idFormat = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether a text is an id rather than a name; no role has a name like that. */
export const isRoleId = (text: string): boolean => idFormat.test(text);

const named = (db: Db, idOrName: string) =>
  db('roles')
    .where(isRoleId(idOrName) ? { id: idOrName } : { name: idOrName })
    .first('id', 'name', 'description', 'rank', 'builtIn');

/** A role by its id or name. Until the transaction ends nobody else gives, changes or deletes it. */
export const lockRole = (db: Db, idOrName: string): Promise<(Role & { builtIn: boolean }) | undefined> =>
  named(db, idOrName).forUpdate();

/** Likewise for giving it: it stays what it is, rank included, while others may give it as well. */
export const holdRole = (db: Db, idOrName: string): Promise<Role | undefined> => named(db, idOrName).forKeyShare();

const details = `select id, name, description, rank, built_in, created_at, updated_at,
  array(select permissions.name from role_permissions join permissions on permissions.id = permission_id
    where role_id = roles.id order by permissions.name) as permissions,
  array(select parents.name from role_inheritance join roles parents on parents.id = parent_id
    where role_id = roles.id order by parents.name) as inherits,
  array(with recursive held (role_id) as (
      select roles.id
      union select parent_id from held join role_inheritance on role_inheritance.role_id = held.role_id
    ) select distinct permissions.name from held join role_permissions on role_permissions.role_id = held.role_id
      join permissions on permissions.id = permission_id order by permissions.name) as effective_permissions
  from roles`;

/** What `details` selects of the role of that id or name. */
export const findRoleDetails = async (db: Db, idOrName: string): Promise<RoleDetails | undefined> => {
  const { rows } = (await db.raw(`${details} where ${isRoleId(idOrName) ? 'id' : 'name'} = ?`, [idOrName])) as {
    rows: RoleDetails[];
  };
  return rows[0];
};

/** The ranks of roles by name; a name without a role is left out. */
export const findRanks = async (db: Db, names: readonly string[]): Promise<Record<string, number>> => {
  const rows: { name: string; rank: number }[] = await db('roles').whereIn('name', names).select('name', 'rank');
  return Object.fromEntries(rows.map(({ name, rank }) => [name, rank]));
};

/** What a role permits, with what it includes by inheritance; nothing for the name of no role. */
export const findRolePermissions = async (db: Db, role: string): Promise<string[]> => {
  const { rows } = (await db.raw(
    `with recursive held (role_id) as (
       select id from roles where name = :role
       union select parent_id from held join role_inheritance on role_inheritance.role_id = held.role_id
     )
     select distinct name from held join role_permissions on role_permissions.role_id = held.role_id
       join permissions on permissions.id = permission_id`,
    { role },
  )) as { rows: { name: string }[] };
  return rows.map(({ name }) => name);
};

/** All roles with what they permit, the highest first. */
export const listRoles = async (db: Db): Promise<RoleDetails[]> => {
  const { rows } = (await db.raw(`${details} order by -rank, name`)) as { rows: RoleDetails[] };
  return rows;
};

/** A page of them, after one of that rank and name; served by roles_rank_idx. */
export const pageRoles = async (
  db: Db,
  { limit, after }: { limit: number; after: { rank: number; name: string } | undefined },
): Promise<RoleDetails[]> => {
  const { rows } = (await db.raw(
    `${details} ${after ? 'where (-rank, name) > (:rank, :name)' : ''} order by -rank, name limit :limit`,
    { limit, ...(after ? { rank: -after.rank, name: after.name } : {}) },
  )) as { rows: RoleDetails[] };
  return rows;
};
