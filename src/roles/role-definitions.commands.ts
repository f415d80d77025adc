/**
 * Makes, changes and deletes roles. What a role gains, everybody gains who holds it: nobody adds to a role what they do not hold
 * themselves, or touches one that ranks above them.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, invalid, notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertHolds, rankOf } from './passing-on.ts';
import { ensurePermissions } from './permissions.queries.ts';
import { findRoleDetails, findRolePermissions, lockRole, type RoleDetails } from './roles.queries.ts';

export interface NewRole {
  name: string;
  description: string;
  /** That of `user`, or the caller's own if that is lower. */
  rank?: number | undefined;
  permissions: readonly string[];
  /** Names of the roles that it includes. */
  inherits: readonly string[];
}

/** How many roles a role may reach through, itself included. */
const levelsMax = 10;

/** The rank of those who merely sign in. */
const plainRank = 10;

const target = (id: string) => ({ type: 'role', id });

/**
 * Nobody else makes, changes or deletes a role until the transaction ends: two inheritances that are fine one by one can make a
 * cycle together.
 */
const lockRoles = (db: Db): Promise<unknown> =>
  db.raw("select pg_advisory_xact_lock(hashtextextended('tree roles', 0))");

const taken = () => conflict('role_exists', 'There is a role of that name');
const builtIn = (what: string) => conflict('role_built_in', `${what} of a role that is part of the service stays`);

/** @throws AppError 409 role_exists; names that differ in their case alone would be taken for one another */
const assertFree = async (db: Db, name: string, id?: string): Promise<void> => {
  const other = await db('roles').whereRaw('lower(name) = lower(?)', [name]).first('id');
  if (other && other.id !== id) throw taken();
};

/** The roles that are to be included. @throws AppError 400 invalid_request for a name of none */
const parentsOf = async (db: Db, names: readonly string[]): Promise<{ id: string; name: string; rank: number }[]> => {
  const rows = await db('roles').whereIn('name', names).select('id', 'name', 'rank');
  const missing = names.find((name) => !rows.some((row) => row.name === name));
  if (missing === undefined) return rows;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'inherits', code: 'role_not_found', message: `${missing} is no role` }],
  });
};

/**
 * Includes these roles and no others, in a transaction that has locked the roles.
 * @throws AppError 409 role_cycle, role_too_deep or role_ranks
 */
const setParents = async (
  db: Db,
  role: { id: string; rank: number },
  parents: readonly { id: string; rank: number }[],
): Promise<void> => {
  if (parents.some(({ id }) => id === role.id)) throw conflict('role_cycle', 'A role does not include itself');
  await db('roleInheritance').where({ roleId: role.id }).delete();
  if (parents.length) await db('roleInheritance').insert(parents.map(({ id }) => ({ roleId: role.id, parentId: id })));
  // Ways that go round never end, so that they get too long; what is included by it is as long as what it includes.
  const { rows } = (await db.raw(
    `with recursive included (id, level) as (
       select cast(:id as uuid), 1
       union
       select parent_id, level + 1 from included join role_inheritance on role_id = included.id where level <= ${levelsMax}
     ), including (id, level) as (
       select cast(:id as uuid), 0
       union
       select role_id, level + 1 from including join role_inheritance on parent_id = including.id where level <= ${levelsMax}
     )
     select (select max(level) from included) + (select max(level) from including) as levels,
       exists (select from included where id = cast(:id as uuid) and level > 1) as is_cycle`,
    { id: role.id },
  )) as { rows: [{ levels: number; isCycle: boolean }] };
  if (rows[0].isCycle) throw conflict('role_cycle', 'The role would include itself');
  if (rows[0].levels > levelsMax)
    throw conflict('role_too_deep', `A role includes others through at most ${levelsMax} roles`);
  await assertRankOrder(db, role.id);
};

/** @throws AppError 409 role_ranks */
const assertRankOrder = async (db: Db, id: string): Promise<void> => {
  const wrong = await db('roleInheritance')
    .join('roles as child', 'child.id', 'roleInheritance.roleId')
    .join('roles as parent', 'parent.id', 'roleInheritance.parentId')
    .where((either) => either.where('child.id', id).orWhere('parent.id', id))
    .whereRaw('child.rank < parent.rank')
    .first('child.name as name', 'parent.name as parent');
  if (wrong) throw conflict('role_ranks', `${wrong.name} would rank below ${wrong.parent}, which it includes`);
};

const setPermissions = async (db: Db, roleId: string, names: readonly string[]): Promise<void> => {
  const ids = await ensurePermissions(db, names);
  await db('rolePermissions').where({ roleId }).whereNotIn('permissionId', ids).delete();
  if (!ids.length) return;
  await db('rolePermissions')
    .insert(ids.map((permissionId) => ({ roleId, permissionId })))
    .onConflict(['roleId', 'permissionId'])
    .ignore();
};

/** @throws AppError 409 role_exists, 400 invalid_request for a role in `inherits` that is not there, 403 as `assertHolds` */
export const createRole = (db: Db, actor: Actor, caller: Caller, input: NewRole): Promise<RoleDetails> =>
  transact(db, async (db) => {
    await lockRoles(db);
    await assertFree(db, input.name);
    const parents = await parentsOf(db, input.inherits);
    const highest = Math.max(-1, ...parents.map(({ rank }) => rank));
    const rank = input.rank ?? Math.max(highest, Math.min(plainRank, await rankOf(db, caller)));
    const [{ id }] = await db('roles')
      .insert({ name: input.name, description: input.description, rank })
      .returning('id');
    await setParents(db, { id, rank }, parents);
    await setPermissions(db, id, input.permissions);
    await assertHolds(db, caller, { permissions: await findRolePermissions(db, input.name), rank });
    const { permissions, inherits } = input;
    await recordEvent(db, actor, {
      action: 'role.create',
      target: target(id),
      meta: { role: input.name, rank, permissions, inherits },
    });
    return (await findRoleDetails(db, id)) as RoleDetails;
  });

/** The highest rank of the role and of those that include it, by however many others: what becomes of it becomes of them. */
const findReachingRank = async (db: Db, id: string): Promise<number> => {
  const { rows } = (await db.raw(
    `with recursive including (id) as (
       select cast(:id as uuid)
       union select role_id from including join role_inheritance on parent_id = including.id
     ) select max(rank) as rank from including join roles on roles.id = including.id`,
    { id },
  )) as { rows: [{ rank: number }] };
  return rows[0].rank;
};

/** @throws AppError 404 role_not_found, 403 rank_too_low for one that ranks higher, or that such a one includes */
const takeRole = async (db: Db, caller: Caller, idOrName: string) => {
  await lockRoles(db);
  const role = await lockRole(db, idOrName);
  if (!role) throw notFound('role');
  await assertHolds(db, caller, { permissions: [], rank: await findReachingRank(db, role.id) });
  return role;
};

/** Whether anybody has the role: people, groups or keys; those who have it by another role do not count. */
const isHeld = async (db: Db, roleId: string): Promise<boolean> =>
  Boolean((await db('users').where({ roleId }).first('id')) ?? (await db('roleGrants').where({ roleId }).first('id')));

/**
 * Changes a role; lists replace what was there. Of one that is part of the service name and rank stay, and `super_admin` stays as
 * it is. A role that somebody holds keeps its rank, which decides who may act on them and whether they need a second factor.
 * @throws AppError 404, 409 role_exists, role_built_in, role_in_use, role_cycle, role_too_deep or role_ranks,
 *   400 invalid_request, 403 as `assertHolds`
 */
export const updateRole = (
  db: Db,
  actor: Actor,
  caller: Caller,
  idOrName: string,
  changes: Partial<NewRole>,
): Promise<RoleDetails> =>
  transact(db, async (db) => {
    const role = await takeRole(db, caller, idOrName);
    const { name = role.name, description = role.description, rank = role.rank, permissions, inherits } = changes;
    if (role.name === 'super_admin') throw builtIn('Everything');
    if (role.builtIn && (name !== role.name || rank !== role.rank)) throw builtIn('Name and rank');
    if (name !== role.name) await assertFree(db, name, role.id);
    if (rank !== role.rank && (await isHeld(db, role.id)))
      throw conflict('role_in_use', 'Somebody holds the role: its rank stays');
    const before = await findRolePermissions(db, role.name);
    await db('roles').where({ id: role.id }).update({ name, description, rank, updatedAt: db.fn.now() });
    await assertRankOrder(db, role.id);
    if (inherits) await setParents(db, { id: role.id, rank }, await parentsOf(db, inherits));
    if (permissions) await setPermissions(db, role.id, permissions);
    const gained = (await findRolePermissions(db, name)).filter((one) => !before.includes(one));
    await assertHolds(db, caller, { permissions: gained, rank });
    await recordEvent(db, actor, {
      action: 'role.update',
      target: target(role.id),
      meta: { role: name, ...Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) },
    });
    return (await findRoleDetails(db, role.id)) as RoleDetails;
  });

/**
 * Deletes a role, with every grant of it.
 * @throws AppError 404, 409 role_built_in, or role_in_use for the primary role of somebody, 403 rank_too_low
 */
export const deleteRole = (db: Db, actor: Actor, caller: Caller, idOrName: string): Promise<void> =>
  transact(db, async (db) => {
    const { id, ...role } = await takeRole(db, caller, idOrName);
    if (role.builtIn) throw builtIn('The existence');
    // Nobody signs in to a closed account any more.
    const plain = db('roles').where({ name: 'user' }).select('id');
    await db('users').where({ roleId: id, status: 'closed' }).update({ roleId: plain });
    if (await db('users').where({ roleId: id }).first('id'))
      throw conflict('role_in_use', 'It is the primary role of somebody: give them another one first');
    const grants = await db('roleGrants').where({ roleId: id }).delete();
    await db('roles').where({ id }).delete();
    await recordEvent(db, actor, { action: 'role.delete', target: target(id), meta: { role: role.name, grants } });
  });
