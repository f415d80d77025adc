/** Who is in a group. Being in one gives what it has, and what those above it have. */
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { conflict, notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertSuperAdminRemains } from '../users/users.commands.ts';
import { type Account, lockAccount } from '../users/users.queries.ts';
import { assertMayLetIn, assertMayLetOut, type GroupDeps, rankGiven } from './groups.commands.ts';
import { type GroupKind, keepGroup } from './groups.queries.ts';
import { requireWritten } from './sight.ts';

interface Place {
  groupId: string;
  /** Of which the group must be; undefined for any. */
  kind: GroupKind | undefined;
  userId: string;
}

/**
 * Makes somebody a member. In a group of an organization are members of that organization alone: who is none is told apart from
 * nobody at all by whoever may see every account.
 * @throws AppError 404 group_not_found or user_not_found; 403 missing_permission, rank_too_low, or as giving what the group has;
 *   409 not_a_member, already_member, or last_super_admin where the group is denied something
 */
export const addGroupMember = (
  deps: GroupDeps,
  actor: Actor,
  caller: Caller,
  { groupId, kind, userId }: Place,
): Promise<Account> =>
  transact(deps.db, async (db) => {
    const group = await requireWritten(db, caller, await keepGroup(db, groupId, kind));
    const { organizationId } = group;
    // It is kept until the transaction ends, so that nobody is left in a group of an organization that they leave meanwhile.
    if (
      organizationId &&
      !(await db('organizationMembers').where({ organizationId, userId }).forShare().first('userId'))
    )
      throw conflict('not_a_member', 'In a group of an organization are members of that organization alone');
    const account = await lockAccount(db, userId);
    if (!account) throw notFound('user');
    await deps.assertMayActOn(db, caller, account.id, organizationId);
    await assertMayLetIn(deps, db, caller, group.id);
    const row = { groupId: group.id, userId: account.id };
    const [added] = await db('groupMembers').insert(row).onConflict(['groupId', 'userId']).ignore().returning('userId');
    if (!added) throw conflict('already_member', 'They are in the group already');
    await assertSuperAdminRemains(db);
    await deps.endSessions(db, actor, account.id, await rankGiven(db, group.id));
    await recordEvent(db, actor, {
      action: 'group.add_member',
      target: userTarget(account.id),
      meta: { groupId: group.id },
    });
    return account;
  });

/**
 * @throws AppError 404 group_not_found or member_not_found; 403 missing_permission, rank_too_low, or as taking away what the group has
 */
export const removeGroupMember = (
  deps: GroupDeps,
  actor: Actor,
  caller: Caller,
  { groupId, kind, userId }: Place,
): Promise<void> =>
  transact(deps.db, async (db) => {
    const group = await requireWritten(db, caller, await keepGroup(db, groupId, kind));
    await lockAccount(db, userId);
    const member = await db('groupMembers').where({ groupId: group.id, userId }).forUpdate().first('userId');
    if (!member) throw notFound('member');
    await deps.assertMayActOn(db, caller, member.userId, group.organizationId);
    // While they are in it still: nobody takes themselves out of what denies them something.
    await assertMayLetOut(deps, db, caller, group.id);
    await db('groupMembers').where({ groupId: group.id, userId }).delete();
    await recordEvent(db, actor, {
      action: 'group.remove_member',
      target: userTarget(member.userId),
      meta: { groupId: group.id },
    });
  });
