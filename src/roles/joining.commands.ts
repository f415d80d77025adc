/** People become members of the organization whose mail domain their address is at, as soon as both are verified. */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { insertJoiners, lockDomainsOf } from '../organizations/mail-domains.queries.ts';
import { giveMemberRoles } from './member-roles.queries.ts';

const join = async (db: Db, actor: Actor, who: Parameters<typeof insertJoiners>[1]): Promise<void> => {
  for (const { organizationId, domainId, roleId, userIds } of await insertJoiners(db, who)) {
    if (roleId) await giveMemberRoles(db, { organizationId, userIds, roleIds: [roleId], grantedBy: null });
    const people = userIds.length === 1 ? { user: userIds[0] } : {};
    await recordEvent(db, actor, {
      action: 'organization.join',
      target: { type: 'organization', id: organizationId },
      meta: { domain: domainId, count: userIds.length, ...people },
    });
  }
};

/**
 * For whoever has just proven their address, or is said to have: whatever verifies one ends here. It may be called for addresses that
 * are not verified, which join nothing. Pass the transaction that verifies it, once that is written.
 */
export const joinByAddress = async (db: Db, actor: Actor, userIds: readonly string[]): Promise<void> => {
  if (!userIds.length) return;
  await lockDomainsOf(db, userIds);
  await join(db, actor, { userIds });
};

/**
 * As `joinByAddress`, for an address that nobody has proven and somebody says is verified: they must be able to make anybody a member
 * of anything, with any role, or who looks after accounts would get into every organization by them.
 */
export const joinByWord = async (db: Db, actor: Actor, by: Caller, userId: string): Promise<void> => {
  const mayPlace = ['organizations:write:any', 'roles:assign:any'].every((name) => decideFor(by, name).allowed);
  if (mayPlace) await joinByAddress(db, actor, [userId]);
};

/** For a domain that people have begun to join by: those who have verified their addresses there before. Lock the domain first. */
export const joinByDomain = (db: Db, actor: Actor, domainId: string): Promise<void> => join(db, actor, { domainId });
