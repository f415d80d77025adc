/** Lists of accounts: which ones a caller may see is part of the query, so that pages are full and nothing is filtered after. */
import type { Knex } from 'knex';
import type { Db } from '../../db/connect.ts';
import { literally } from '../../db/patterns.ts';
import type { TimedKey } from '../http/lists.ts';
import type { Reach } from '../http/reach.ts';
import { idsBeneath } from '../trees.ts';
import { accounts, type ListedAccount, normalizeEmail, rolesHeld, type User } from './users.queries.ts';

export interface AccountFilter {
  /** The beginning of an address or a name, in whatever case. */
  q?: string | undefined;
  status?: User['status'] | undefined;
  /** The primary role. */
  role?: string | undefined;
  organizationId?: string | undefined;
  groupId?: string | undefined;
  emailVerified?: boolean | undefined;
  createdFrom?: string | undefined;
  createdTo?: string | undefined;
}

/** What a caller may see: accounts by their organizations, and groups that they may ask about. */
export interface AccountLists {
  reach: Reach;
  groups: Reach;
}

const prefix = (text: string) => `${literally(text)}%`;

/** Where the caller reaches, as ids: with how many there are PostgreSQL knows from which side to begin. */
interface Places {
  everywhere: boolean;
  organizations: string[];
  except: string[];
}

const placesOf = async (db: Db, { everywhere, organizations, except }: Reach): Promise<Places> => {
  const beneath = async (ids: readonly string[]) =>
    ids.length ? (await idsBeneath(db, 'organizations', ids)).map(({ id }) => id) : [];
  return {
    everywhere,
    organizations: everywhere ? [] : await beneath(organizations),
    except: await beneath(except),
  };
};

/** Users who are members of what the caller reaches. */
const reachable =
  (
    db: Db,
    { everywhere, organizations, except }: Places,
    organizationId: string | undefined,
    after: string | undefined,
  ) =>
  (query: Knex.QueryBuilder): void => {
    // Said of both sides, or one of them would be read from its beginning for each page.
    const members = () =>
      db('organizationMembers')
        .select('userId')
        .modify((page) => {
          if (after) page.where('userId', '>', after);
        });
    if (organizationId) {
      const isReached = everywhere || organizations.includes(organizationId.toLowerCase());
      query.whereIn('users.id', isReached ? members().where({ organizationId }) : []);
    } else if (!everywhere)
      query.whereIn('users.id', members().whereRaw('organization_id = any(?::uuid[])', [organizations]));
    if (except.length)
      query.whereNotExists(members().whereRaw('user_id = users.id and organization_id = any(?::uuid[])', [except]));
  };

/** Users who are in a group that the caller may see. */
const inGroup =
  (db: Db, { everywhere, organizations, except }: Places, groupId: string) =>
  (query: Knex.QueryBuilder): void => {
    const group = db('groups').where({ id: groupId }).select('id');
    if (!everywhere) group.whereRaw('organization_id = any(?::uuid[])', [organizations]);
    if (except.length) group.whereRaw('(organization_id is null or organization_id <> all(?::uuid[]))', [except]);
    query.whereIn('users.id', db('groupMembers').whereIn('groupId', group).select('userId'));
  };

/** Which page: of a list by ids, or of one by when accounts were made. */
export type AccountPage = { limit: number } & (
  | { order: 'id'; after: string | undefined }
  | { order: 'made'; after: TimedKey | undefined }
);

/** Has the page begin after its key. Ids are made in order, but for those of accounts that came from elsewhere. */
const inOrder = (db: Db, page: AccountPage) => (query: Knex.QueryBuilder) => {
  if (page.order === 'id') {
    if (page.after) query.where('users.id', '>', page.after);
    query.orderBy('users.id');
    return;
  }
  const { after } = page;
  if (after) query.whereRaw('(users.created_at, users.id) > (?::timestamptz, ?::uuid)', [after.at, after.id]);
  query
    .select(db.raw(`to_char(users.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as made_at`))
    .orderBy(['users.createdAt', 'users.id']);
};

/**
 * How a list with this filter is ordered. What asks for a period is ordered by when accounts were made, which has an index, so
 * that accounts of other periods are not looked at.
 */
export const orderOf = ({ createdFrom, createdTo }: AccountFilter): AccountPage['order'] =>
  createdFrom || createdTo ? 'made' : 'id';

/** An account, in a list by when accounts were made with the exact moment. */
export type ListedRow = ListedAccount & { madeAt?: string };

/** A page of the accounts that the caller may see. Closed ones only when asked for. */
export const listAccounts = async (
  db: Db,
  { q, status, role, organizationId, groupId, emailVerified, createdFrom, createdTo }: AccountFilter,
  { reach, groups }: AccountLists,
  page: AccountPage,
): Promise<ListedRow[]> => {
  const places = await placesOf(db, reach);
  const groupPlaces = groupId ? await placesOf(db, groups) : undefined;
  // Asked first: PostgreSQL knows how many have this role, not how many have one that it has yet to find.
  const held = role === undefined ? undefined : await db('roles').where({ name: role }).first('id');
  if (role !== undefined && !held) return [];
  return accounts(db)
    .modify(reachable(db, places, organizationId, page.order === 'id' ? page.after : undefined))
    .modify((query) => {
      if (groupId && groupPlaces) query.modify(inGroup(db, groupPlaces, groupId));
      if (status) query.where('users.status', status);
      else query.whereNot('users.status', 'closed');
      if (held) query.where('users.roleId', held.id);
      if (emailVerified !== undefined) query.whereRaw(`email_verified_at is ${emailVerified ? 'not ' : ''}null`);
      if (createdFrom) query.where('users.createdAt', '>=', createdFrom);
      if (createdTo) query.where('users.createdAt', '<', createdTo);
      if (q)
        query.where((either) =>
          either
            .whereRaw('users.email like ?', [prefix(normalizeEmail(q))])
            .orWhereRaw('lower(users.name) like lower(?)', [prefix(q)]),
        );
    })
    .modify(inOrder(db, page))
    .limit(page.limit);
};

/** All roles that each of these people holds everywhere, the highest first. */
export const findRolesHeld = async (db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, string[]>> => {
  const rows: { id: string; roles: string[] }[] = await db('users').whereIn('id', ids).select('id', db.raw(rolesHeld));
  return new Map(rows.map(({ id, roles }) => [id, roles]));
};
