/** Who sees and changes which groups. What somebody does not see is to them as if it were not there. */
import type { Db } from '../../db/connect.ts';
import { forbidden, notFound } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { reachOf } from '../http/reach.ts';
import { findPaths } from '../organizations/paths.queries.ts';
import type { Permission } from '../roles/permissions.ts';
import { type Group, isGroupMember, type Sight } from './groups.queries.ts';

const read: Permission = 'groups:read:own';
const write: Permission = 'groups:write:any';

/** What a list of groups is to show to the caller. */
export const sightOf = (caller: Caller): Sight => ({
  reach: reachOf(caller, read),
  userId: caller.kind === 'user' ? caller.id : undefined,
  organizations: (caller.organizations ?? []).map(({ id }) => id),
});

export const missing = (permission: Permission) =>
  forbidden('missing_permission', `This needs the permission ${permission}`, { permission });

/** How the caller stands to a group. */
export interface Standing {
  group: Group;
  isMember: boolean;
  /** They see it, and who is in it with their addresses. */
  reads: boolean;
  /** They see it at all: it is one that they are in, or a team that is open to them. */
  sees: boolean;
  writes: boolean;
}

export const standingOf = async (db: Db, caller: Caller, group: Group): Promise<Standing> => {
  const organizations = group.organizationId === null ? [] : await findPaths(db, 'group', group.id);
  const { id, kind, organizationId, isActive } = group;
  const properties = { kind, name: group.name, isActive };
  const may = (permission: Permission, target: { owner?: string; every?: boolean } = {}) =>
    decideFor(caller, permission, { id, organizations, properties, ...target }).allowed;
  const isMember = caller.kind === 'user' && (await isGroupMember(db, id, caller.id));
  const isOpen =
    kind === 'team' && (organizationId === null || caller.organizations?.some((one) => one.id === organizationId));
  const reads = may('groups:read:any');
  const owner = caller.kind === 'user' && isActive && (isMember || isOpen) ? { owner: caller.id } : undefined;
  return {
    group,
    isMember,
    reads,
    sees: reads || (owner !== undefined && may(read, owner)),
    writes: may(write, { every: true }),
  };
};

/** @throws AppError 404 group_not_found for no group, and for one that the caller does not see */
export const requireSeen = async (db: Db, caller: Caller, group: Group | undefined): Promise<Standing> => {
  const standing = group && (await standingOf(db, caller, group));
  if (!standing?.sees) throw notFound('group');
  return standing;
};

/** @throws AppError 404 group_not_found likewise, 403 missing_permission for one that the caller sees and may not change */
export const requireWritten = async (db: Db, caller: Caller, group: Group | undefined): Promise<Group> => {
  const standing = group && (await standingOf(db, caller, group));
  if (standing?.writes) return standing.group;
  if (!standing?.sees) throw notFound('group');
  throw missing(write);
};

/**
 * For making a group in an organization, or in none.
 * @throws AppError 404 organization_not_found for none, and for one that the caller does not see; 403 missing_permission
 */
export const assertMayMakeIn = async (db: Db, caller: Caller, organizationId: string | null): Promise<void> => {
  const [path] = organizationId ? await findPaths(db, 'organization', organizationId) : [];
  const organizations = path ? [path] : [];
  const may = (permission: Permission) => decideFor(caller, permission, { organizations, every: true }).allowed;
  const sees = caller.organizations?.some(({ id }) => id === organizationId) || may('organizations:read:any');
  if (organizationId && (!path || !(sees || may(write)))) throw notFound('organization');
  if (!may(write)) throw missing(write);
};
