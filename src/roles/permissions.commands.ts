/** The permissions of applications: their names with what they mean. Those of this service are in the code. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, notFound } from '../errors.ts';
import { findPermission, isOfService, type NamedPermission } from './permissions.queries.ts';

const target = (id: string) => ({ type: 'permission', id });

/**
 * Names a permission, or describes one again. It permits nothing to anybody until it is given.
 * @throws AppError 409 permission_built_in
 */
export const describePermission = (
  db: Db,
  actor: Actor,
  { name, description }: { name: string; description: string },
): Promise<NamedPermission> =>
  transact(db, async (db) => {
    if (isOfService(name)) throw conflict('permission_built_in', 'The permission is one of this service’s own');
    await db('permissions').insert({ name, description }).onConflict('name').merge();
    await recordEvent(db, actor, { action: 'permission.describe', target: target(name) });
    return (await findPermission(db, name)) as NamedPermission;
  });

/** @throws AppError 404 permission_not_found, 409 permission_built_in, or permission_in_use as long as anybody has it */
export const deletePermission = (db: Db, actor: Actor, name: string): Promise<void> =>
  transact(db, async (db) => {
    if (isOfService(name)) throw conflict('permission_built_in', 'The permission is one of this service’s own');
    // Whoever gives it meanwhile waits, and makes it anew.
    const row = await db('permissions').where({ name }).forUpdate().first('id');
    if (!row) throw notFound('permission');
    const used =
      (await db('rolePermissions').where({ permissionId: row.id }).first('roleId')) ??
      (await db('permissionGrants').where({ permissionId: row.id }).first('id'));
    if (used) throw conflict('permission_in_use', 'A role, a person, a group or a key has it');
    await db('permissions').where({ id: row.id }).delete();
    await recordEvent(db, actor, { action: 'permission.delete', target: target(name) });
  });
