/** Reads of `groups`: a tree of groups, of which some are teams. */

import type { Knex } from 'knex';
import type { Db } from '../../db/connect.ts';
import { literally } from '../../db/patterns.ts';
import type { Reach } from '../http/reach.ts';
import { idsBeneath } from '../trees.ts';
import { inForce } from '../users/held-roles.queries.ts';

export type GroupKind = 'group' | 'team';

export interface Group {
  id: string;
  kind: GroupKind;
  name: string;
  description: string;
  parentId: string | null;
  /** Its members are of this organization; null: of any, and of none. */
  organizationId: string | null;
  externalRef: string | null;
  isActive: boolean;
  createdAt: Date;
  updatedAt: Date;
}

const columns = [
  ...(['id', 'kind', 'name', 'description', 'parentId', 'organizationId', 'externalRef', 'isActive'] as const),
  ...(['createdAt', 'updatedAt'] as const),
].map((column) => `groups.${column}`);

/** @param kind of which it must be; undefined for any */
export const findGroup = (db: Db, id: string, kind?: GroupKind): Promise<Group | undefined> =>
  db('groups')
    .where({ id, ...(kind ? { kind } : {}) })
    .first(...columns);

/** Likewise; until the transaction ends nobody deletes or moves it, or makes it inactive. */
export const lockGroup = (db: Db, id: string, kind?: GroupKind): Promise<Group | undefined> =>
  db('groups')
    .where({ id, ...(kind ? { kind } : {}) })
    .forNoKeyUpdate()
    .first(...columns);

/** Likewise; others may do so as well, of whom each adds somebody. */
export const keepGroup = (db: Db, id: string, kind?: GroupKind): Promise<Group | undefined> =>
  db('groups')
    .where({ id, ...(kind ? { kind } : {}) })
    .forShare()
    .first(...columns);

/** Whose eyes a list is for. */
export interface Sight {
  reach: Reach;
  /** Undefined for an application. */
  userId: string | undefined;
  /** The organizations that the person is a member of. */
  organizations: readonly string[];
}

export interface GroupFilter {
  kind?: GroupKind | undefined;
  /** The beginning of the name, in whatever case. */
  q?: string | undefined;
  parentId?: string | undefined;
  /** Which they lie beneath, at whatever depth. */
  ancestorId?: string | undefined;
  organizationId?: string | undefined;
  isActive?: boolean | undefined;
  externalRef?: string | undefined;
}

const prefix = (text: string) => `${literally(text)}%`;

type Query = Knex.QueryBuilder;

/** Beneath how many groups the ones above each candidate are looked at, instead of all those beneath the ancestor. */
const beneathMax = 5000;

/** What `ancestorId` comes to: the ids beneath it, or, where there are too many, the ancestor alone. */
type Beneath = { ids: string[] } | { ancestorId: string } | undefined;

const findBeneath = async (db: Db, ancestorId: string | undefined): Promise<Beneath> => {
  if (!ancestorId) return undefined;
  const { rows } = (await db.raw(
    `with recursive beneath as (
       select id from groups where parent_id = :ancestorId
       union select groups.id from beneath join groups on groups.parent_id = beneath.id
     ) select id from beneath limit :limit`,
    { ancestorId, limit: beneathMax + 1 },
  )) as { rows: { id: string }[] };
  return rows.length > beneathMax ? { ancestorId } : { ids: rows.map(({ id }) => id) };
};

const hasAbove = `exists (
  with recursive above as (
    select groups.parent_id as id
    union select parents.parent_id from above join groups parents on parents.id = above.id
  ) select from above where id = ?)`;

type Page = { limit: number; after: string | undefined };
type Filter = Omit<GroupFilter, 'ancestorId'> & { beneath?: Beneath };

/**
 * The groups that fit the filter, after the one with the id `after`; the first `limit` of them by id.
 * @param byName whether the index of names may find them: else they are few already
 */
const matching = (db: Db, { q, beneath, ...filter }: Filter, { limit, after }: Page, byName: boolean): Query => {
  const query = db('groups').orderBy('groups.id').limit(limit);
  for (const [column, value] of Object.entries(filter)) if (value !== undefined) query.where(`groups.${column}`, value);
  if (after) query.where('groups.id', '>', after);
  if (q) query.whereRaw(`lower(groups.name)${byName ? '' : " || ''"} like lower(?)`, [prefix(q)]);
  if (beneath && 'ids' in beneath) query.whereRaw('groups.id = any(cast(? as uuid[]))', [beneath.ids]);
  else if (beneath) query.whereRaw(hasAbove, [beneath.ancestorId]);
  return query;
};

/** Leaves out what lies in organizations, or beneath them, where it is denied. */
const leaveOut = (db: Db, query: Query, except: readonly string[]): Query => {
  if (!except.length) return query;
  return query.where((either: Query) =>
    either
      .whereNull('groups.organizationId')
      .orWhereNotIn('groups.organizationId', idsBeneath(db, 'organizations', except) as never),
  );
};

/**
 * What somebody sees who does not see everything, as queries of ids, each in the order of the page and no longer than it: what lies in
 * the organizations that they reach; the groups that they are in; and the teams that are open to them.
 */
const sources = (db: Db, sight: Sight, match: (byName?: boolean) => Query): Query[] => {
  const { reach, userId, organizations } = sight;
  const own = () => match().where('groups.isActive', true).select('groups.id');
  return [
    ...(reach.organizations.length
      ? [
          db
            .select('found.id')
            .from(db.raw('(?) as places', [idsBeneath(db, 'organizations', reach.organizations)]))
            .joinRaw('cross join lateral (?) as found', [
              match(false).whereRaw('groups.organization_id = places.id').select('groups.id') as unknown as Knex.Raw,
            ]),
        ]
      : []),
    ...(reach.own && userId
      ? [
          own().whereIn('groups.id', db('groupMembers').where({ userId }).select('groupId')),
          own().where('groups.kind', 'team').whereNull('groups.organizationId'),
        ]
      : []),
    ...(reach.own ? organizations : []).map((organizationId) => own().where({ 'groups.kind': 'team', organizationId })),
  ];
};

/** Groups in the order in which they were made, as far as somebody may see them. */
export const listGroups = async (
  db: Db,
  sight: Sight,
  { ancestorId, ...rest }: GroupFilter,
  page: Page,
): Promise<Group[]> => {
  const { everywhere, except } = sight.reach;
  const filter = { ...rest, beneath: await findBeneath(db, ancestorId) };
  const match = (byName = true) => leaveOut(db, matching(db, filter, page, byName), except);
  if (everywhere) return match().select(...columns);
  const found = sources(db, sight, match);
  if (!found.length) return [];
  // The page is cut from ids before anything else is read.
  const ids = db.select('id').from(db.union(found, true).as('found')).orderBy('id').limit(page.limit);
  return db('groups')
    .whereIn('id', ids)
    .orderBy('id')
    .select(...columns);
};

/**
 * The groups that a user is in themselves, by id.
 * @param reach how far somebody sees who is not the user
 */
export const listGroupsOf = (
  db: Db,
  userId: string,
  {
    kind,
    activeOnly,
    reach,
  }: { kind: GroupKind | undefined; activeOnly: boolean; reach: Omit<Reach, 'own'> | undefined },
  { limit, after }: { limit: number; after: string | undefined },
): Promise<Group[]> =>
  db('groupMembers')
    .join('groups', 'groups.id', 'groupMembers.groupId')
    .where({ userId })
    .modify((query) => {
      if (kind) query.where('groups.kind', kind);
      if (activeOnly) query.where('groups.isActive', true);
      if (after) query.where('groups.id', '>', after);
      if (reach) leaveOut(db, query, reach.except);
      if (reach && !reach.everywhere)
        query.whereIn('groups.organizationId', idsBeneath(db, 'organizations', reach.organizations) as never);
    })
    .orderBy('groups.id')
    .limit(limit)
    .select(...columns);

export const isGroupMember = async (db: Db, groupId: string, userId: string): Promise<boolean> =>
  (await db('groupMembers').where({ groupId, userId }).first('userId')) !== undefined;

/** Somebody in a group, as those see them who look after it. */
export interface GroupMember {
  id: string;
  name: string;
  email: string;
}

/** Members after the one with the id `after`. */
export const listGroupMembers = (
  db: Db,
  groupId: string,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<GroupMember[]> =>
  db('groupMembers')
    .join('users', 'users.id', 'groupMembers.userId')
    .where({ groupId })
    .modify((query) => {
      if (after) query.where('groupMembers.userId', '>', after);
    })
    .orderBy('groupMembers.userId')
    .limit(limit)
    .select('users.id', 'users.name', 'users.email');

/** Everybody who is in a group or in one beneath it. */
export const listAllMembers = async (db: Db, groupId: string): Promise<string[]> => {
  const rows: { userId: string }[] = await db('groupMembers')
    .whereIn('groupId', idsBeneath(db, 'groups', [groupId]))
    .distinct('userId');
  return rows.map(({ userId }) => userId);
};

/** What being in a group does to somebody in one place, everywhere or inside an organization. */
export interface GroupEffect {
  organizationId: string | null;
  /** Of the highest role that it gives; -1 for none. */
  rank: number;
  /** Permissions that it denies. */
  denied: string[];
}

/** What a group and those above it do to members, also what begins later, and what passes through a group that is not active now. */
export const findGroupEffects = async (db: Db, groupId: string): Promise<GroupEffect[]> => {
  const { rows } = (await db.raw(
    `with recursive above as (
       select id, parent_id from groups where id = :groupId
       union select groups.id, groups.parent_id from above join groups on groups.id = above.parent_id
     ), effects as (
       select organization_id, rank, null as denied from role_grants join roles on roles.id = role_id
       where group_id = any(array(select id from above)) and ${inForce(true)}
       union all
       select organization_id, -1, case effect when 'deny' then name end
       from permission_grants join permissions on permissions.id = permission_id
       where group_id = any(array(select id from above)) and ${inForce(true)}
     )
     select organization_id, max(rank) as rank,
       coalesce(array_agg(distinct denied) filter (where denied is not null), '{}') as denied
     from effects group by organization_id`,
    { groupId },
  )) as { rows: GroupEffect[] };
  return rows;
};
