/** Gives people their primary roles. Nobody gives more than they hold, or takes a role from somebody who ranks higher. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertNotLastSuperAdmin, lockTarget } from '../users/users.commands.ts';
import { type Account, findAccount, updateUser } from '../users/users.queries.ts';
import { assertMayGive } from './passing-on.ts';
import { findRole, findRolePermissions, type Role } from './roles.queries.ts';

/** @throws AppError 400 invalid_request with the field `role` when there is none of that name */
export const requireRole = async (db: Db, name: string): Promise<Role> => {
  const role = await findRole(db, name);
  if (role) return role;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'role', code: 'role_not_found', message: 'is no role' }],
  });
};

/** Ends the sessions of somebody whose new rank asks for more than they signed in with, in the transaction that gives it. */
export type EndSessions = (db: Db, actor: Actor, userId: string, rank: number) => Promise<void>;

/**
 * Gives an account another primary role. What it takes away is gone with the next request, what it
 * gives comes with the next token: a token passes on what its person held when it was made and holds still.
 * @throws AppError 400 for a role that is not there, 404 user_not_found, 409 last_super_admin, 403 as `assertMayGive`
 */
export const assignRole = (
  db: Db,
  actor: Actor,
  by: Caller,
  { userId, role: name }: { userId: string; role: string },
  endSessions: EndSessions,
): Promise<Account> =>
  transact(db, async (db) => {
    const role = await requireRole(db, name);
    const account = await lockTarget(db, by, userId);
    await assertMayGive(db, by, { permissions: await findRolePermissions(db, role.name), rank: role.rank });
    if (account.role === role.name) return account;
    await assertNotLastSuperAdmin(db, account);
    await updateUser(db, account.id, { roleId: role.id });
    await endSessions(db, actor, account.id, role.rank);
    await recordEvent(db, actor, {
      action: 'user.assign_role',
      target: userTarget(account.id),
      meta: { from: account.role, to: role.name },
    });
    return (await findAccount(db, account.id)) as Account;
  });
