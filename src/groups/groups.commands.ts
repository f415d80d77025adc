/**
 * Makes, changes and deletes groups. A group passes down what it was given, so whoever hangs one beneath another, or lets one count
 * again, gives that to everybody in it, and whoever does the opposite takes it away.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { assertNoChildren, assertParent, lockTree, unknownParent } from '../trees.ts';
import { assertSuperAdminRemains } from '../users/users.commands.ts';
import {
  findGroup,
  findGroupEffects,
  type Group,
  type GroupKind,
  listAllMembers,
  lockGroup,
} from './groups.queries.ts';
import { assertMayMakeIn, requireWritten, standingOf } from './sight.ts';

/** What roles and permissions have to say, which are for other domains to know. */
export interface GroupDeps {
  db: Db;
  /** For giving somebody what a group has, with what those above pass down. @throws AppError 403 */
  assertMayGiveGroup(db: Db, caller: Caller, groupId: string): Promise<void>;
  /** @throws AppError 403 */
  assertMayGive(
    db: Db,
    caller: Caller,
    gift: { permissions: readonly string[]; rank: number; organizationId: string | null },
  ): Promise<void>;
  /** For taking something away, or denying it. @throws AppError 403 */
  assertMayTake(db: Db, caller: Caller, what: { rank: number; organizationId: string | null }): Promise<void>;
  /** Nobody changes what somebody has who ranks higher. @throws AppError 403 rank_too_low */
  assertMayActOn(db: Db, caller: Caller, userId: string, organizationId: string | null): Promise<void>;
  /** Ends the sessions of somebody whose new rank asks for more than they signed in with. */
  endSessions(db: Db, actor: Actor, userId: string, rank: number): Promise<void>;
}

/** @throws AppError 403 unless the caller may give somebody all that being in the group does to them */
export const assertMayLetIn = async (deps: GroupDeps, db: Db, caller: Caller, groupId: string): Promise<void> => {
  await deps.assertMayGiveGroup(db, caller, groupId);
  for (const { organizationId, denied } of await findGroupEffects(db, groupId))
    if (denied.length) await deps.assertMayTake(db, caller, { rank: -1, organizationId });
};

/** @throws AppError 403 unless the caller may end all that being in the group does: what it denies would be allowed again */
export const assertMayLetOut = async (deps: GroupDeps, db: Db, caller: Caller, groupId: string): Promise<void> => {
  for (const { organizationId, rank, denied } of await findGroupEffects(db, groupId)) {
    await deps.assertMayTake(db, caller, { rank, organizationId });
    if (denied.length) await deps.assertMayGive(db, caller, { permissions: denied, rank: -1, organizationId });
  }
};

/** The highest rank that the group gives everywhere, which decides on second factors. */
export const rankGiven = async (db: Db, groupId: string): Promise<number> =>
  Math.max(-1, ...(await findGroupEffects(db, groupId)).flatMap((one) => (one.organizationId ? [] : one.rank)));

const endSessionsOf = async (deps: GroupDeps, db: Db, actor: Actor, groupId: string): Promise<void> => {
  const rank = await rankGiven(db, groupId);
  if (rank < 0) return;
  for (const userId of await listAllMembers(db, groupId)) await deps.endSessions(db, actor, userId, rank);
};

const target = (id: string) => ({ type: 'group', id });

const otherOrganization = () => conflict('other_organization', 'A group lies in the organization of the one above it');

export interface NewGroup {
  kind: GroupKind;
  name: string;
  description: string;
  parentId: string | null;
  /** Undefined: that of the parent, or none. */
  organizationId?: string | null | undefined;
  externalRef: string | null;
  isActive: boolean;
}

/** The organization of what is hung beneath a parent that the caller may change. @throws AppError 400, 403, 409 */
const assertMayHang = async (db: Db, caller: Caller, id: string | undefined, parentId: string): Promise<Group> => {
  const parent = await findGroup(db, parentId);
  const standing = parent && (await standingOf(db, caller, parent));
  if (!parent || !(standing?.sees || standing?.writes)) throw unknownParent();
  await requireWritten(db, caller, parent);
  await assertParent(db, 'groups', id, parentId);
  return parent;
};

/**
 * @throws AppError 400 invalid_request for an unknown parent; 403 missing_permission; 404 organization_not_found; 409
 *   tree_too_deep or other_organization
 */
export const createGroup = (
  { db }: Pick<GroupDeps, 'db'>,
  actor: Actor,
  caller: Caller,
  { parentId, organizationId, ...group }: NewGroup,
): Promise<Group> =>
  transact(db, async (db) => {
    if (parentId) await lockTree(db, 'groups');
    const parent = parentId ? await assertMayHang(db, caller, undefined, parentId) : undefined;
    if (parent && organizationId !== undefined && organizationId !== parent.organizationId) throw otherOrganization();
    const place = parent ? parent.organizationId : (organizationId ?? null);
    if (!parent) await assertMayMakeIn(db, caller, place);
    const id = uuid();
    await db('groups').insert({ ...group, id, parentId, organizationId: place });
    await recordEvent(db, actor, {
      action: 'group.create',
      target: target(id),
      meta: { kind: group.kind, parentId, organizationId: place },
    });
    return (await findGroup(db, id)) as Group;
  });

export interface GroupChanges {
  name?: string | undefined;
  description?: string | undefined;
  externalRef?: string | null | undefined;
  parentId?: string | null | undefined;
  isActive?: boolean | undefined;
}

const move = async (deps: GroupDeps, db: Db, caller: Caller, group: Group, parentId: string | null): Promise<void> => {
  if (parentId) {
    const parent = await assertMayHang(db, caller, group.id, parentId);
    if (parent.organizationId !== group.organizationId) throw otherOrganization();
    await assertMayLetIn(deps, db, caller, parentId);
  }
  if (group.parentId) await assertMayLetOut(deps, db, caller, group.parentId);
};

/**
 * Changes a group: names it, moves it with all that is beneath it, shuts it or lets it count again.
 * @param kind of which it must be; undefined for any
 * @throws AppError 404 group_not_found; 400 invalid_request for an unknown parent; 403 missing_permission, or as giving and
 *   taking what it has; 409 tree_cycle, tree_too_deep, other_organization or last_super_admin
 */
export const updateGroup = (
  deps: GroupDeps,
  actor: Actor,
  caller: Caller,
  { id, kind }: { id: string; kind: GroupKind | undefined },
  changes: GroupChanges,
): Promise<Group> =>
  transact(deps.db, async (db) => {
    if (changes.parentId !== undefined) await lockTree(db, 'groups');
    const group = await requireWritten(db, caller, await lockGroup(db, id, kind));
    const changed = Object.entries(changes).filter(
      ([member, value]) => value !== undefined && value !== group[member as keyof GroupChanges],
    );
    if (!changed.length) return group;
    const { parentId, isActive } = Object.fromEntries(changed) as GroupChanges;
    if (parentId !== undefined) await move(deps, db, caller, group, parentId);
    if (isActive === true) await assertMayLetIn(deps, db, caller, id);
    if (isActive === false) await assertMayLetOut(deps, db, caller, id);
    await db('groups')
      .where({ id })
      .update({ ...Object.fromEntries(changed), updatedAt: db.fn.now() });
    if (parentId || isActive) await assertSuperAdminRemains(db);
    // What it had itself was given when it was; what is new is what comes from above.
    if (isActive || parentId) await endSessionsOf(deps, db, actor, id);
    await recordEvent(db, actor, {
      action: 'group.update',
      target: target(id),
      meta: {
        members: changed.map(([member]) => member),
        ...(parentId === undefined ? {} : { parentId }),
        ...(isActive === undefined ? {} : { isActive }),
      },
    });
    return (await findGroup(db, id)) as Group;
  });

/**
 * Deletes a group: whoever is in it loses what it gave them.
 * @throws AppError 404 group_not_found; 403 missing_permission, or as taking away what it has; 409 has_children
 */
export const deleteGroup = (
  deps: GroupDeps,
  actor: Actor,
  caller: Caller,
  { id, kind }: { id: string; kind: GroupKind | undefined },
): Promise<void> =>
  transact(deps.db, async (db) => {
    await lockTree(db, 'groups');
    await requireWritten(db, caller, await lockGroup(db, id, kind));
    await assertNoChildren(db, 'groups', id);
    await assertMayLetOut(deps, db, caller, id);
    await db('groups').where({ id }).delete();
    await recordEvent(db, actor, { action: 'group.delete', target: target(id) });
  });
