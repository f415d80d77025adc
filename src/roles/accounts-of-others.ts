/**
 * Who may make and change accounts of others, judged as the transaction runs. Everywhere it takes `users:write:any`. An organization's
 * administrators change accounts that belong to their organizations and to no other, and that hold no higher rank than they do
 * there: neither everywhere, nor in any of those organizations, now or one day.
 */
import type { Db } from '../../db/connect.ts';
import { forbidden, notFound } from '../errors.ts';
import { assertRank, assertSignedInHere, type Caller, decideFor } from '../http/caller.ts';
import { findPaths } from '../organizations/paths.queries.ts';
import { heldBy, inForce } from '../users/held-roles.queries.ts';
import { assertHolds, callerAsOf, type Gift, rankIn } from './passing-on.ts';

const refuse = (permission: string): never => {
  throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

/** The highest rank that an account has in each organization, and everywhere (null), also of what begins later. */
const findRanksOf = async (db: Db, userId: string): Promise<{ organizationId: string | null; rank: number }[]> => {
  const { rows } = (await db.raw(
    `with recursive ${heldBy(':userId', true)}
     select organization_id, max(rank) as rank from held join roles on roles.id = role_id group by organization_id`,
    { userId },
  )) as { rows: { organizationId: string | null; rank: number }[] };
  return rows;
};

/**
 * For changing an account that is not the caller's own. Pass the transaction that has locked it.
 * @throws AppError 403 missing_permission or rank_too_low
 */
export const assertMayChangeAccount = async (db: Db, caller: Caller, userId: string): Promise<void> => {
  const present = await callerAsOf(db, caller);
  const paths = await findPaths(db, 'user', userId);
  const target = { owner: userId, organizations: paths, every: true };
  if (!decideFor(present, 'users:write:any', target).allowed) refuse('users:write:any');
  // Whoever may change every account is judged by what they are everywhere; others by what they are in the account's organizations.
  const isLimited = paths.length > 0 && !decideFor(present, 'users:write:any', { owner: userId }).allowed;
  const everywhere = isLimited ? Math.min(...paths.map((path) => rankIn(present, path))) : present.rank;
  for (const { organizationId, rank } of await findRanksOf(db, userId)) {
    const path = paths.find(([id]) => id === organizationId);
    assertRank({ rank: path ? Math.max(everywhere, rankIn(present, path)) : everywhere }, rank);
  }
};

/**
 * Everything that an account gives whoever takes it over, place by place, whatever its state is now and whatever is denied to it for
 * now: what all of its roles permit and what it was granted besides, also what begins later.
 */
export const findGiftsOfAccount = async (db: Db, userId: string): Promise<Gift[]> => {
  const { rows } = (await db.raw(
    `with recursive ${heldBy(':userId', true)}, given as (
       select organization_id, rank, permission as name from held join roles on roles.id = held.role_id
         left join lateral (select permissions.name as permission from role_permissions
           join permissions on permissions.id = permission_id where role_permissions.role_id = held.role_id) of on true
       union all
       select organization_id, -1, permissions.name from permission_grants join permissions on permissions.id = permission_id
       where (user_id = :userId or group_id = any(array(select id from circles))) and effect = 'allow' and ${inForce(true)}
         and (organization_id is null or organization_id in (select organization_id from belongs))
     )
     select organization_id, max(rank) as rank,
       coalesce(array_agg(distinct name) filter (where name is not null), '{}') as permissions
     from given group by organization_id`,
    { userId },
  )) as { rows: Gift[] };
  return rows;
};

/**
 * For what lets somebody take over an account that is not theirs (its address, its second factors): it takes all that the account may
 * do, as if that were given to them. One's own takes a sign-in here. Pass the transaction that has locked the account.
 * @throws AppError 403 rank_too_low, exceeds_yours or session_needed
 */
export const assertMayTakeOver = async (db: Db, caller: Caller, userId: string): Promise<void> => {
  if (caller.kind === 'user' && caller.id === userId) return assertSignedInHere(caller);
  for (const gift of await findGiftsOfAccount(db, userId)) await assertHolds(db, caller, gift);
};

/**
 * For making an account: anywhere, or as a member of an organization. Pass the transaction that makes it.
 * @throws AppError 403 missing_permission, 404 organization_not_found for one that is not there or not the caller's to see
 */
export const assertMayMakeAccount = async (
  db: Db,
  caller: Caller,
  organizationId: string | undefined,
): Promise<void> => {
  const present = await callerAsOf(db, caller);
  if (organizationId === undefined) {
    if (!decideFor(present, 'users:write:any').allowed) refuse('users:write:any');
    return;
  }
  // Nobody deletes it until the account belongs to it.
  await db('organizations').where({ id: organizationId }).forShare().first('id');
  const [path] = await findPaths(db, 'organization', organizationId);
  if (path && decideFor(present, 'users:write:any', { organizations: [path], every: true }).allowed) return;
  const sees =
    path &&
    (present.organizations?.some(({ id }) => id === organizationId) ||
      decideFor(present, 'organizations:read:any', { organizations: [path] }).allowed);
  if (!sees) throw notFound('organization');
  refuse('users:write:organization');
};
