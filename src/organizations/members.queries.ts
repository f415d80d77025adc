/** Reads and single-statement writes of `organization_members`. */
import type { Db } from '../../db/connect.ts';
import { heldBy, inForce } from '../users/held-roles.queries.ts';
import type { OrganizationKind } from './organizations.queries.ts';

/** Somebody’s place in an organization, as those see it who look after it. */
export interface Member {
  userId: string;
  name: string;
  email: string;
  isOwner: boolean;
  /** Names of the roles that were given to them there, the highest first. */
  roles: string[];
  createdAt: Date;
}

/** The roles that a member was given in the organization. Correlated with `organization_members`. */
const given = `coalesce((select array_agg(name order by rank desc, name) from (
    select distinct roles.name, roles.rank from role_grants join roles on roles.id = role_id
    where role_grants.user_id = organization_members.user_id
      and role_grants.organization_id = organization_members.organization_id and ${inForce()}) given), '{}') as roles`;

const members = (db: Db, organizationId: string) =>
  db('organizationMembers')
    .join('users', 'users.id', 'organizationMembers.userId')
    .where({ organizationId })
    .select('userId', 'users.name', 'users.email', 'isOwner', 'organizationMembers.createdAt', db.raw(given));

export const findMember = (db: Db, organizationId: string, userId: string): Promise<Member | undefined> =>
  members(db, organizationId).where({ userId }).first();

/** By the ids of the users, after the one with the id `after`. */
export const listMembers = (
  db: Db,
  organizationId: string,
  { isOwner }: { isOwner?: boolean | undefined },
  { limit, after }: { limit: number; after: string | undefined },
): Promise<Member[]> =>
  members(db, organizationId)
    .modify((query) => {
      if (after) query.where('organizationMembers.userId', '>', after);
      // In words of the index that has owners alone.
      if (isOwner !== undefined) query.whereRaw(isOwner ? 'is_owner' : 'not is_owner');
    })
    .orderBy('organizationMembers.userId')
    .limit(limit);

/** @returns false when they are one already */
export const insertMember = async (
  db: Db,
  member: { organizationId: string; userId: string; isOwner: boolean },
): Promise<boolean> => {
  const rows = await db('organizationMembers')
    .insert(member)
    .onConflict(['organizationId', 'userId'])
    .ignore()
    .returning('userId');
  return rows.length === 1;
};

export const updateOwner = async (db: Db, organizationId: string, userId: string, isOwner: boolean): Promise<void> => {
  await db('organizationMembers').where({ organizationId, userId }).update({ isOwner });
};

/**
 * Takes somebody out of an organization, with all that they had by being in it: roles and permissions there, those of their API
 * keys too, and their places in its groups.
 */
export const deleteMember = async (db: Db, organizationId: string, userId: string): Promise<void> => {
  for (const table of ['roleGrants', 'permissionGrants'])
    await db(table)
      .where({ organizationId })
      .where((subject) => subject.where({ userId }).orWhereIn('apiKeyId', db('apiKeys').where({ userId }).select('id')))
      .delete();
  await db('groupMembers')
    .where({ userId })
    .whereIn('groupId', db('groups').where({ organizationId }).select('id'))
    .delete();
  await db('organizationMembers').where({ organizationId, userId }).delete();
};

/** CTEs: `ending` (permission_id, organization_id), what is denied to a person for as long as they are in the organization. */
const endingDenials = `gone as (
       select groups.id, parent_id from group_members join groups on groups.id = group_id
       where user_id = :userId and organization_id = :organizationId
       union select groups.id, groups.parent_id from gone join groups on groups.id = gone.parent_id
     ), ending as (
       select permission_id, organization_id from permission_grants
       where effect = 'deny' and ${inForce(true)} and (group_id in (select id from gone) or (organization_id = :organizationId
         and (user_id = :userId or api_key_id in (select id from api_keys where user_id = :userId))))
     )`;

/** What is denied to somebody, and where, that would be denied no more once they are out of the organization. */
export const findEndingDenials = async (
  db: Db,
  organizationId: string,
  userId: string,
): Promise<{ organizationId: string | null; permissions: string[] }[]> => {
  const { rows } = (await db.raw(
    `with recursive ${endingDenials}
     select organization_id, array_agg(distinct name) as permissions
     from ending join permissions on permissions.id = permission_id group by organization_id`,
    { organizationId, userId },
  )) as { rows: { organizationId: string | null; permissions: string[] }[] };
  return rows;
};

/**
 * Whether leaving would lift a denial that somebody needs: it counts everywhere by a group of the organization, or they would still be
 * reached where it counts, by what they hold everywhere or as members of what lies above.
 */
export const wouldLiftDenial = async (db: Db, organizationId: string, userId: string): Promise<boolean> => {
  const { rows } = (await db.raw(
    `with recursive ${heldBy(':userId', true)}, ${endingDenials}, way (start, id, parent_id) as (
       select id, id, parent_id from organizations where id in (select organization_id from ending)
       union select start, parents.id, parents.parent_id from way join organizations parents on parents.id = way.parent_id
     ), everywhere as (
       select permission_id from held join role_permissions on role_permissions.role_id = held.role_id
       where held.organization_id is null
       union select permission_id from permission_grants
       where effect = 'allow' and organization_id is null and ${inForce(true)}
         and (user_id = :userId or group_id in (select id from circles))
     )
     select from ending where organization_id is null
       or exists (select from everywhere join permissions on permissions.id = permission_id where name not like '%:own')
       or exists (select from way join organization_members on organization_members.organization_id = way.id
         where way.start = ending.organization_id and user_id = :userId and way.id <> :organizationId)
     limit 1`,
    { organizationId, userId },
  )) as { rows: unknown[] };
  return rows.length > 0;
};

/** The highest rank among the roles that somebody was given in an organization; undefined when nothing was given to them there. */
export const findGivenRank = async (db: Db, organizationId: string, userId: string): Promise<number | undefined> => {
  const { rows } = (await db.raw(
    `select max(rank) as rank from (
       select rank from role_grants join roles on roles.id = role_id where user_id = :userId and organization_id = :organizationId
       union all
       select -1 from permission_grants where user_id = :userId and organization_id = :organizationId
     ) given`,
    { userId, organizationId },
  )) as { rows: { rank: number | null }[] };
  return rows[0]?.rank ?? undefined;
};

/** Whether somebody else owns the organization whose account is active. Lock the organization before. */
export const isOtherOwner = async (db: Db, organizationId: string, userId: string): Promise<boolean> =>
  (await db('organizationMembers')
    .join('users', 'users.id', 'organizationMembers.userId')
    .where({ organizationId, status: 'active' })
    .whereRaw('is_owner')
    .whereNot({ userId })
    .first('userId')) !== undefined;

/** Whether somebody owns the organization or one above it, which must be active for that. */
export const ownsOnTheWay = async (db: Db, organizationId: string, userId: string): Promise<boolean> => {
  const { rows } = (await db.raw(
    `with recursive way as (
       select id, parent_id, is_active from organizations where id = :organizationId
       union select parents.id, parents.parent_id, parents.is_active
       from way join organizations parents on parents.id = way.parent_id
     )
     select 1 from way join organization_members on organization_id = way.id
     where user_id = :userId and is_owner and is_active limit 1`,
    { organizationId, userId },
  )) as { rows: unknown[] };
  return rows.length > 0;
};

/** The organizations that nobody else owns whose account is active, locked until the transaction ends, by name. */
export const lockOwnedAlone = async (db: Db, userId: string): Promise<{ id: string; name: string }[]> => {
  const owned: { id: string; name: string }[] = await db('organizations')
    .whereIn('id', db('organizationMembers').where({ userId, isOwner: true }).select('organizationId'))
    .orderBy('id')
    .forNoKeyUpdate()
    .select('id', 'name');
  const alone = [];
  // Asked again of each, now that nobody else changes who owns it.
  for (const one of owned) {
    const owns = await db('organizationMembers')
      .where({ organizationId: one.id, userId, isOwner: true })
      .first('userId');
    if (owns && !(await isOtherOwner(db, one.id, userId))) alone.push(one);
  }
  return alone.toSorted((a, b) => (a.name < b.name ? -1 : 1));
};

/** An organization that somebody belongs to. */
export interface OwnMembership {
  id: string;
  name: string;
  kind: OrganizationKind;
  isActive: boolean;
  isOwner: boolean;
  /** Nobody else owns it whose account is active. */
  isOnlyOwner: boolean;
  createdAt: Date;
}

/** By name; those that are not active too. */
export const listOwnMemberships = (db: Db, userId: string): Promise<OwnMembership[]> =>
  db('organizationMembers')
    .join('organizations', 'organizations.id', 'organizationId')
    .where({ userId })
    .orderBy(['name', 'id'])
    .select('id', 'name', 'kind', 'isActive', 'isOwner', 'organizationMembers.createdAt')
    .select(
      db.raw(
        `is_owner and not exists (
           select from organization_members others join users on users.id = others.user_id
           where others.organization_id = organizations.id and others.is_owner and others.user_id <> ? and users.status = 'active'
         ) as is_only_owner`,
        [userId],
      ),
    );

/** The companies that somebody belongs to, in the order of their ids. */
export const listCompaniesOf = async (db: Db, userId: string): Promise<string[]> => {
  const rows = await db('organizationMembers')
    .join('organizations', 'organizations.id', 'organizationId')
    .where({ userId, kind: 'company' })
    .orderBy('id')
    .select('id');
  return rows.map(({ id }) => id);
};
