/**
 * Who belongs to organizations, and who owns them. Nobody acts on whom ranks higher there, only owners make and unmake owners, and
 * an organization that has an owner keeps one. People are locked before organizations, and those in the order of their ids.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { AppError, conflict, forbidden, invalid, notFound } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { lockUser } from '../users/users.queries.ts';
import { assertRules, type PassingOn } from './authority.ts';
import { type GivenRole, giftOf, type RoleDeps } from './invitations.commands.ts';
import {
  deleteMember,
  findEndingDenials,
  findGivenRank,
  findMember,
  insertMember,
  isOtherOwner,
  listCompaniesOf,
  lockOwnedAlone,
  type Member,
  updateOwner,
  wouldLiftDenial,
} from './members.queries.ts';
import { lockThis } from './organizations.commands.ts';
import type { Organization, OrganizationKind } from './organizations.queries.ts';
import { findPaths } from './paths.queries.ts';

export interface MemberDeps extends PassingOn, Pick<RoleDeps, 'findRoles' | 'giveRoles'> {
  db: Db;
}

/** A place in an organization. `kind`: what it must be; without it either does. */
export interface Place {
  organizationId: string;
  kind?: OrganizationKind | undefined;
  userId: string;
}

/**
 * Somebody who is to become a member, whose account nobody closes until the transaction ends. Whoever makes people members gives
 * the organization's administrators power over them, so it takes that power: otherwise anybody could pull strangers into an
 * organization of their own, and then change their accounts.
 * @throws AppError 403 missing_permission, also for nobody's id; 403 rank_too_low; 404 user_not_found
 */
const lockNewcomer = async (deps: MemberDeps, db: Db, caller: Caller, userId: string): Promise<void> => {
  const status = await lockUser(db, userId);
  await deps.assertMayChangeAccount(db, caller, userId);
  if (status === undefined || status === 'closed') throw notFound('user');
};

const requireMember = async (db: Db, organizationId: string, userId: string): Promise<Member> => {
  const member = await findMember(db, organizationId, userId);
  if (!member) throw notFound('member');
  return member;
};

const lastOwner = (organizations: readonly { id: string; name: string }[]) =>
  new AppError(409, 'last_owner', 'Nobody else owns the organization: make somebody else an owner first', {
    members: { organizations: organizations.map(({ id, name }) => ({ id, name })) },
  });

/** @throws AppError 409 last_owner when nobody else owns it whose account is active. Lock the organization before. */
const assertNotLastOwner = async (
  db: Db,
  { id, name }: Pick<Organization, 'id' | 'name'>,
  member: Pick<Member, 'userId' | 'isOwner'>,
): Promise<void> => {
  if (member.isOwner && !(await isOtherOwner(db, id, member.userId))) throw lastOwner([{ id, name }]);
};

/** For whoever is about to go altogether. @throws AppError 409 last_owner, with what nobody else owns in `organizations` */
export const assertOwnsNothingAlone = async (db: Db, userId: string): Promise<void> => {
  const alone = await lockOwnedAlone(db, userId);
  if (alone.length) throw lastOwner(alone);
};

/** What an owner holds by being one is given and taken like a role. */
const assertMayMakeOwner = async (deps: MemberDeps, db: Db, caller: Caller, organizationId: string): Promise<void> => {
  await assertRules(db, caller, organizationId);
  await deps.assertMayGive(db, caller, { ...(await deps.whatOwnersHold(db)), organizationId });
};

/** @throws AppError 400 invalid_request for a name of no role */
const requireRoles = async (deps: MemberDeps, db: Db, names: readonly string[]): Promise<GivenRole[]> => {
  const roles = names.length ? await deps.findRoles(db, { names }) : [];
  const unknown = names.flatMap((name, at) => (roles.some((role) => role.name === name) ? [] : [at]));
  if (!unknown.length) return roles;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: unknown.map((at) => ({ field: `roles.${at}`, code: 'role_not_found', message: 'is no role' })),
  });
};

export interface NewMember extends Place {
  isOwner: boolean;
  /** Names of roles that they get there. */
  roles: readonly string[];
}

/**
 * Makes somebody who has an account a member. It takes power over that account, and whatever giving the roles takes; others are
 * invited.
 * @throws AppError 400 for a role that is not there; 403 missing_permission, owner_needed, rank_too_low, exceeds_yours or
 *   session_needed; 404 organization_not_found or user_not_found; 409 already_member
 */
export const addMember = (
  deps: MemberDeps,
  actor: Actor,
  caller: Caller,
  { userId, organizationId, kind, isOwner, roles }: NewMember,
): Promise<Member> =>
  transact(deps.db, async (db) => {
    await lockNewcomer(deps, db, caller, userId);
    const { id } = await lockThis(db, organizationId, kind);
    if (isOwner) await assertMayMakeOwner(deps, db, caller, id);
    const given = await requireRoles(deps, db, roles);
    if (given.length) await deps.assertMayGive(db, caller, giftOf(given, id));
    if (!(await insertMember(db, { organizationId: id, userId, isOwner })))
      throw conflict('already_member', 'They are a member already');
    const roleIds = given.map((role) => role.id);
    if (given.length)
      await deps.giveRoles(db, { organizationId: id, userIds: [userId], roleIds, grantedBy: caller.id });
    await recordEvent(db, actor, {
      action: 'organization.add_member',
      target: userTarget(userId),
      meta: { organizationId: id, isOwner, roles: given.map(({ name }) => name) },
    });
    return requireMember(db, id, userId);
  });

/**
 * Makes a member an owner, or an owner a mere member.
 * @throws AppError 403 owner_needed, rank_too_low, exceeds_yours or session_needed; 404 organization_not_found or member_not_found;
 *   409 last_owner
 */
export const setOwner = (
  deps: MemberDeps,
  actor: Actor,
  caller: Caller,
  { userId, organizationId, kind }: Place,
  isOwner: boolean,
): Promise<Member> =>
  transact(deps.db, async (db) => {
    await lockUser(db, userId);
    const organization = await lockThis(db, organizationId, kind);
    const { id } = organization;
    const member = await requireMember(db, id, userId);
    if (isOwner) await assertMayMakeOwner(deps, db, caller, id);
    else await assertRules(db, caller, id);
    await deps.assertMayActOn(db, caller, userId, id);
    if (member.isOwner === isOwner) return member;
    if (!isOwner) {
      await deps.assertMayTake(db, caller, { rank: (await deps.whatOwnersHold(db)).rank, organizationId: id });
      await assertNotLastOwner(db, organization, member);
    }
    await updateOwner(db, id, userId, isOwner);
    await recordEvent(db, actor, {
      action: isOwner ? 'organization.add_owner' : 'organization.remove_owner',
      target: userTarget(userId),
      meta: { organizationId: id },
    });
    return { ...member, isOwner };
  });

/** Takes somebody else out of an organization that is locked. @throws AppError as `removeMember` */
const takeOut = async (
  deps: MemberDeps,
  db: Db,
  actor: Actor,
  caller: Caller,
  organization: Organization,
  userId: string,
): Promise<void> => {
  const { id } = organization;
  const member = await requireMember(db, id, userId);
  if (member.isOwner) await assertRules(db, caller, id);
  await deps.assertMayActOn(db, caller, userId, id);
  // What goes with the place is taken from them, as if it were taken by itself.
  const rank = Math.max(
    (await findGivenRank(db, id, userId)) ?? -Infinity,
    member.isOwner ? (await deps.whatOwnersHold(db)).rank : -Infinity,
  );
  if (rank > -Infinity) await deps.assertMayTake(db, caller, { rank, organizationId: id });
  // What is denied to them by being in it is lifted, which they could be put back without, or need no longer be in it for.
  for (const { organizationId, permissions } of await findEndingDenials(db, id, userId)) {
    await deps.assertMayTake(db, caller, { rank: -1, organizationId });
    await deps.assertMayGive(db, caller, { permissions, rank: -1, organizationId });
  }
  await assertNotLastOwner(db, organization, member);
  await deleteMember(db, id, userId);
  await recordEvent(db, actor, {
    action: 'organization.remove_member',
    target: userTarget(userId),
    meta: { organizationId: id },
  });
};

/**
 * Takes somebody out of an organization, and from them what they had by being in it.
 * @throws AppError 403 missing_permission, owner_needed, rank_too_low, exceeds_yours or session_needed; 404 organization_not_found or
 *   member_not_found; 409 last_owner
 */
export const removeMember = (
  deps: MemberDeps,
  actor: Actor,
  caller: Caller,
  { userId, organizationId, kind }: Place,
): Promise<void> =>
  transact(deps.db, async (db) => {
    await lockUser(db, userId);
    await takeOut(deps, db, actor, caller, await lockThis(db, organizationId, kind), userId);
  });

/**
 * Somebody goes by themselves. To whoever does not belong to it, there is no such organization. Nobody leaves what denies them
 * something that they would be able to do from outside.
 * @throws AppError 404 organization_not_found, 403 own_denial, 409 last_owner
 */
export const leaveOrganization = (db: Db, actor: Actor, { userId, organizationId, kind }: Place): Promise<void> =>
  transact(db, async (db) => {
    await lockUser(db, userId);
    const organization = await lockThis(db, organizationId, kind);
    const member = await findMember(db, organization.id, userId);
    if (!member) throw notFound('organization');
    await assertNotLastOwner(db, organization, member);
    if (await wouldLiftDenial(db, organization.id, userId))
      throw forbidden('own_denial', 'Nobody lifts what is denied to themselves: have an administrator take you out');
    await deleteMember(db, organization.id, userId);
    await recordEvent(db, actor, {
      action: 'organization.leave',
      target: userTarget(userId),
      meta: { organizationId: organization.id },
    });
  });

/** @throws AppError 403 missing_permission, 404 organization_not_found for one that the caller may not see */
const assertMayWrite = async (db: Db, caller: Caller, id: string): Promise<void> => {
  const permission = 'organizations:write:any';
  const organizations = await findPaths(db, 'organization', id);
  if (decideFor(caller, permission, { organizations }).allowed) return;
  if (!decideFor(caller, 'organizations:read:any', { organizations }).allowed) throw notFound('organization');
  throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

const unknownCompany = () =>
  invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'companyId', code: 'unknown', message: 'there is no company of this id' }],
  });

/**
 * Makes a company the only one that somebody belongs to; null takes them out of those that they belong to. It takes a say in all
 * of these companies. In one that they belong to already they keep what they have.
 * @throws AppError 400 for no company; 403 missing_permission, owner_needed or rank_too_low; 404 user_not_found; 409 last_owner
 */
export const setCompany = (
  deps: MemberDeps,
  actor: Actor,
  caller: Caller,
  { userId, companyId }: { userId: string; companyId: string | null },
): Promise<Organization | null> =>
  transact(deps.db, async (db) => {
    await lockNewcomer(deps, db, caller, userId);
    const present = await listCompaniesOf(db, userId);
    const wanted = companyId?.toLowerCase();
    const all = [...new Set([...present, ...(wanted ? [wanted] : [])])].sort();
    let company: Organization | null = null;
    for (const id of all) {
      const organization = await lockThis(db, id, 'company').catch((error: unknown) => {
        throw error instanceof AppError && id === wanted ? unknownCompany() : error;
      });
      await assertMayWrite(db, caller, id).catch((error: unknown) => {
        throw error instanceof AppError && error.status === 404 && id === wanted ? unknownCompany() : error;
      });
      if (id === wanted) company = organization;
      else await takeOut(deps, db, actor, caller, organization, userId);
    }
    if (!company || present.includes(company.id)) return company;
    await insertMember(db, { organizationId: company.id, userId, isOwner: false });
    await recordEvent(db, actor, {
      action: 'organization.add_member',
      target: userTarget(userId),
      meta: { organizationId: company.id, isOwner: false, roles: [] },
    });
    return company;
  });
