/**
 * Nobody gives what they do not hold. Whatever gives somebody roles or permissions asks here: the grants of `/rbac`, the primary
 * role, what a role comes to have, groups that gain members, and invitations.
 *
 * Giving something in a place takes (1) `roles:assign:any`, or `roles:assign:organization` there, (2) a rank there at least as
 * high as the role's, and (3) holding there all that it permits, for as long as it is given. It is judged by what the
 * giver holds as the transaction runs and has for that long, and by what their token passes on of it.
 */
import type { Db } from '../../db/connect.ts';
import { forbidden, notFound } from '../errors.ts';
import { assertRank, type Caller, decideFor, isSignedInHere } from '../http/caller.ts';
import { findPaths } from '../organizations/paths.queries.ts';
import { heldBy, inForce } from '../users/held-roles.queries.ts';
import { findUserAccess } from './access.queries.ts';
import { intersect, mayPassOn, narrowed } from './permissions.ts';

/** What is given, and where. */
export interface Gift {
  /** All that it permits, with what roles include. */
  permissions: readonly string[];
  /** Of the highest role; -1 for none. */
  rank: number;
  /** Where it counts; everywhere without it. */
  organizationId?: string | null | undefined;
  /** When it ends; without it never. */
  expiresAt?: Date | null | undefined;
}

/** Somebody at the machine itself. */
export const operatorCaller: Caller = { kind: 'client', id: '', roles: [], rank: 100, permissions: ['*:*:*'] };

/** An organization and those above it; undefined stands for everywhere. */
type Place = readonly string[] | undefined;

const placeOf = async (db: Db, organizationId: string | null | undefined): Promise<Place> => {
  if (!organizationId) return undefined;
  const [path] = await findPaths(db, 'organization', organizationId);
  if (!path) throw notFound('organization');
  return path;
};

const nothing = { roles: [], rank: -1, permissions: [], organizations: [] };

/**
 * The caller with what they hold now, or will hold still then, as far as their token goes.
 * An application is taken as its request was let in: it holds nothing by a grant that lapses.
 */
export const callerAsOf = async (db: Db, caller: Caller, until?: Date | null): Promise<Caller> => {
  if (caller.kind === 'external') return { ...caller, ...nothing };
  if (caller.kind === 'client') return caller;
  const access = await findUserAccess(db, caller.id, until);
  if (!access) return { ...caller, ...nothing };
  const passedOn = (held: readonly string[], limit: readonly string[]) => [
    ...intersect(held, limit),
    ...limit.filter((name) => name.startsWith('!')),
  ];
  const organizations = access.organizations.flatMap((one) => {
    const limit = caller.organizations?.find(({ id }) => id === one.id);
    if (!limit) return [];
    const rank = Math.min(one.rank, limit.rank);
    return [{ ...limit, ...one, rank, permissions: passedOn(one.permissions, limit.permissions) }];
  });
  return {
    ...caller,
    roles: access.roles,
    rank: Math.min(access.rank, caller.rank),
    permissions: passedOn(access.permissions, caller.permissions),
    organizations,
  };
};

const membershipsIn = ({ organizations = [] }: Caller, place: readonly string[]) =>
  organizations.filter(({ id }) => place.includes(id));

/** The rank that the caller has in the place: the higher one of that held everywhere and those held on the way up. */
export const rankIn = (caller: Caller, place: Place): number =>
  place ? Math.max(caller.rank, ...membershipsIn(caller, place).map(({ rank }) => rank)) : caller.rank;

/** The rank that the caller has now, everywhere or there. */
export const rankOf = async (db: Db, caller: Caller, organizationId?: string | null): Promise<number> =>
  rankIn(await callerAsOf(db, caller), await placeOf(db, organizationId));

/** What the caller holds in the place, with what is denied to them there. */
const heldIn = (caller: Caller, place: Place): string[] => {
  if (!place) return [...caller.permissions];
  const memberships = membershipsIn(caller, place);
  // What is for the organizations that one belongs to is for no others.
  const everywhere = caller.permissions.filter(
    (name) => memberships.length > 0 || name.startsWith('!') || !name.endsWith(':organization'),
  );
  return [...everywhere, ...memberships.flatMap(({ permissions }) => permissions)];
};

/** What is denied to the caller in parts of the place: what is given there reaches them as well. */
const deniedBeneath = async (db: Db, { kind, id, organizations = [] }: Caller, place: Place): Promise<string[]> => {
  const denials = (permissions: readonly string[]) => permissions.filter((name) => name.startsWith('!'));
  const denying = organizations.filter(({ permissions }) => denials(permissions).length);
  if (kind !== 'user' || !denying.length) return [];
  const paths = place ? await findPaths(db, 'user', id) : [];
  const beneath = (organizationId: string) =>
    paths.some((path) => path[0] === organizationId && path.includes(place?.[0] ?? ''));
  return denying.flatMap((one) => (!place || beneath(one.id) ? denials(one.permissions) : []));
};

const assigning = (place: Place) => (place ? 'roles:assign:organization' : 'roles:assign:any');

const assigns = (caller: Caller, place: Place): boolean =>
  decideFor(caller, assigning(place), place ? { organizations: [place] } : {}).allowed;

/** (1) @throws AppError 403 missing_permission, 404 organization_not_found for one that the caller may not see */
const assertAssigns = (caller: Caller, place: Place): void => {
  if (assigns(caller, place)) return;
  const sees =
    caller.organizations?.some(({ id }) => id === place?.[0]) ||
    (['organizations:read:organization', 'organizations:write:organization'] as const).some(
      (name) => decideFor(caller, name, place ? { organizations: [place] } : {}).allowed,
    );
  if (place && !sees) throw notFound('organization');
  const permission = assigning(place);
  throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

/** (1), asked without consequences: whether the caller gives anything to anybody there, or everywhere. */
export const mayAssign = async (db: Db, caller: Caller, organizationId?: string | null): Promise<boolean> =>
  assigns(await callerAsOf(db, caller), await placeOf(db, organizationId));

/** What is to be held for it: an own thing is everybody's own, and inside an organization nothing reaches further. */
const neededFor = (permissions: readonly string[], place: Place): string[] =>
  permissions
    .filter((name) => !name.endsWith(':own') && !name.startsWith('!'))
    .map((name) => (place ? narrowed(name) : name));

/** Whether all that the gifts permit is held everywhere. */
export const mayHoldAll = (held: readonly string[], gifts: readonly Gift[]): boolean =>
  gifts.every(({ permissions, organizationId }) =>
    neededFor(permissions, organizationId ? [organizationId] : undefined).every((name) => mayPassOn(held, name)),
  );

/** (2) and (3). */
const assertHeld = async (db: Db, caller: Caller, { permissions, rank, expiresAt }: Gift, place: Place) => {
  const lasting = await callerAsOf(db, caller, expiresAt ?? null);
  assertRank({ rank: rankIn(lasting, place) }, rank);
  const held = [...heldIn(lasting, place), ...(await deniedBeneath(db, lasting, place))];
  const missing = neededFor(permissions, place).filter((name) => !mayPassOn(held, name));
  if (!missing.length) return;
  const full = { ...caller, permissions: ['*:*:*'], organizations: await allOf(db, caller) };
  const own = heldIn(await callerAsOf(db, full, expiresAt ?? null), place);
  // It is the token alone that does not go so far.
  if (!isSignedInHere(caller) && (caller.kind !== 'user' || missing.every((name) => mayPassOn(own, name))))
    throw forbidden('session_needed', 'This gives more than the token may do: it needs that of a sign-in here');
  throw forbidden('exceeds_yours', `You do not hold, or not for as long: ${missing.join(' ')}`);
};

/** The caller's organizations as no token limits them. */
const allOf = async (db: Db, { kind, id }: Caller): Promise<NonNullable<Caller['organizations']>> => {
  const access = kind === 'user' ? await findUserAccess(db, id) : undefined;
  return (access?.organizations ?? []).map((one) => ({ ...one, permissions: ['*:*:*'] }));
};

/**
 * For giving somebody this. What permits nothing and has no rank is anybody's to give. Pass the transaction that gives it.
 * @throws AppError 403 missing_permission, rank_too_low, exceeds_yours or session_needed; 404 organization_not_found
 */
export const assertMayGive = async (db: Db, caller: Caller, gift: Gift): Promise<void> => {
  if (gift.rank < 0 && !neededFor(gift.permissions, undefined).length) return;
  const place = await placeOf(db, gift.organizationId);
  assertAssigns(await callerAsOf(db, caller), place);
  await assertHeld(db, caller, gift, place);
};

/**
 * As `assertMayGive`, where another permission than `roles:assign` lets the caller do what gives this: make a role, or an account
 * that has one.
 * @throws AppError 403 rank_too_low, exceeds_yours or session_needed; 404 organization_not_found
 */
export const assertHolds = async (db: Db, caller: Caller, gift: Gift): Promise<void> =>
  assertHeld(db, caller, gift, await placeOf(db, gift.organizationId));

/**
 * For taking something away, or denying it. @param rank of the role that is taken away; -1 for none
 * @throws AppError 403 missing_permission or rank_too_low, 404 organization_not_found
 */
export const assertMayTake = async (
  db: Db,
  caller: Caller,
  { rank, organizationId }: Pick<Gift, 'rank' | 'organizationId'>,
): Promise<void> => {
  const place = await placeOf(db, organizationId);
  const present = await callerAsOf(db, caller);
  assertAssigns(present, place);
  assertRank({ rank: rankIn(present, place) }, rank);
};

/**
 * Nobody changes what somebody has who ranks higher, there or everywhere; their own they may.
 * @throws AppError 403 rank_too_low
 */
export const assertMayActOn = async (
  db: Db,
  caller: Caller,
  userId: string,
  organizationId?: string | null,
): Promise<void> => {
  if (caller.kind === 'user' && caller.id === userId) return;
  const place = await placeOf(db, organizationId);
  const { rows } = (await db.raw(
    `with recursive ${heldBy(':userId')}
     select coalesce(max(rank), -1) as rank from held join roles on roles.id = role_id
     where organization_id is null or organization_id = any(:place)`,
    { userId, place: [...(place ?? [])] },
  )) as { rows: { rank: number }[] };
  assertRank({ rank: rankIn(await callerAsOf(db, caller), place) }, rows[0]?.rank ?? -1);
};

/** What a group gives its members in one place, with what the groups above pass down, also what begins later. */
const giftsOfGroup = async (db: Db, groupId: string): Promise<Gift[]> => {
  const { rows } = (await db.raw(
    `with recursive above as (
       select id, parent_id from groups where id = :groupId
       union select groups.id, groups.parent_id from above join groups on groups.id = above.parent_id
     ), held (role_id, organization_id) as (
       select role_id, organization_id from role_grants where group_id = any(array(select id from above)) and ${inForce(true)}
       union
       select role_inheritance.parent_id, organization_id
       from held join role_inheritance on role_inheritance.role_id = held.role_id
     ), given as (
       select organization_id, rank, permission as name from held join roles on roles.id = role_id
         left join lateral (select permissions.name as permission from role_permissions
           join permissions on permissions.id = permission_id where role_permissions.role_id = held.role_id) of on true
       union all
       select organization_id, -1, permissions.name from permission_grants join permissions on permissions.id = permission_id
       where group_id = any(array(select id from above)) and effect = 'allow' and ${inForce(true)}
     )
     select organization_id, max(rank) as rank,
       coalesce(array_agg(distinct name) filter (where name is not null), '{}') as permissions
     from given group by organization_id`,
    { groupId },
  )) as { rows: { organizationId: string | null; rank: number; permissions: string[] }[] };
  return rows;
};

/**
 * For making somebody a member of a group: it gives them what the group has. Pass the transaction that adds them.
 * @throws AppError as `assertMayGive`
 */
export const assertMayGiveGroup = async (db: Db, caller: Caller, groupId: string): Promise<void> => {
  for (const gift of await giftsOfGroup(db, groupId)) await assertMayGive(db, caller, gift);
};
