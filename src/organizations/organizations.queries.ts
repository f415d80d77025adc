/** Reads and single-statement writes of `organizations`. A company is an organization of that kind. */

import type { Knex } from 'knex';
import type { Db } from '../../db/connect.ts';
import { literally } from '../../db/patterns.ts';
import type { Reach } from '../http/reach.ts';
import { idsBeneath } from '../trees.ts';
import { inForce } from '../users/held-roles.queries.ts';
import type { SignInMethod } from './sign-in-rules.queries.ts';

export type OrganizationKind = 'organization' | 'company';

export interface Organization {
  id: string;
  parentId: string | null;
  kind: OrganizationKind;
  name: string;
  description: string;
  isActive: boolean;
  requireMfa: boolean;
  /** The ways in that its people may use; null for all. */
  signInMethods: SignInMethod[] | null;
  createdAt: Date;
  updatedAt: Date;
}

/** What is given for a new one, or changed. */
export type OrganizationFields = Omit<Organization, 'id' | 'createdAt' | 'updatedAt'>;

const columns = [
  'id',
  'parentId',
  'kind',
  'name',
  'description',
  'isActive',
  'requireMfa',
  'signInMethods',
  'createdAt',
  'updatedAt',
] as const;

/** @param kind what it must be; without it either does */
export const findOrganization = (db: Db, id: string, kind?: OrganizationKind): Promise<Organization | undefined> =>
  db('organizations')
    .where({ id, ...(kind ? { kind } : {}) })
    .first(...columns);

/** Likewise; until the transaction ends nobody else changes it, or who belongs to it. */
export const lockOrganization = (db: Db, id: string, kind?: OrganizationKind): Promise<Organization | undefined> =>
  db('organizations')
    .where({ id, ...(kind ? { kind } : {}) })
    .forNoKeyUpdate()
    .first(...columns);

export const insertOrganization = async (db: Db, fields: OrganizationFields): Promise<Organization> => {
  const [row] = await db('organizations')
    .insert(fields)
    .returning([...columns]);
  return row;
};

export const updateOrganization = async (
  db: Db,
  id: string,
  changes: Partial<OrganizationFields>,
): Promise<Organization> => {
  const [row] = await db('organizations')
    .where({ id })
    .update({ ...changes, updatedAt: db.fn.now() })
    .returning([...columns]);
  return row;
};

/** Whether groups of the organization deny their members something elsewhere: that would be lifted with them. */
export const deniesElsewhere = async (db: Db, id: string): Promise<boolean> =>
  (await db('permissionGrants')
    .join('groups', 'groups.id', 'permissionGrants.groupId')
    .where({ 'groups.organizationId': id, effect: 'deny' })
    .whereRaw(`permission_grants.organization_id is distinct from groups.organization_id and ${inForce(true)}`)
    .first('permissionGrants.id')) !== undefined;

export const deleteOrganization = async (db: Db, id: string): Promise<void> => {
  await db('organizations').where({ id }).delete();
};

/** What depends on an organization and goes with it: its people but for one of them, and its groups. */
export const countDependents = async (
  db: Db,
  id: string,
  except: string | undefined,
): Promise<{ members: number; groups: number }> => {
  const count = async (rows: Knex.QueryBuilder): Promise<number> =>
    ((await rows.count('* as count').first()) as { count: string | number }).count as number;
  return {
    members: Number(
      await count(
        db('organizationMembers')
          .where({ organizationId: id })
          .modify((query) => {
            if (except) query.whereNot({ userId: except });
          }),
      ),
    ),
    groups: Number(await count(db('groups').where({ organizationId: id }))),
  };
};

export interface OrganizationFilter {
  /** The beginning of the name, in whatever case. */
  q?: string | undefined;
  kind?: OrganizationKind | undefined;
  isActive?: boolean | undefined;
  /** What lies directly beneath this one. */
  parentId?: string | undefined;
  /** What lies anywhere beneath this one. */
  ancestorId?: string | undefined;
}

/** What somebody may see: how far their permission goes, and the organizations that they belong to. */
export interface Sight extends Pick<Reach, 'everywhere' | 'organizations' | 'except'> {
  memberships: readonly string[];
}

/** Limits a query to what somebody may see, so that no page has to be filtered after. */
const inSight =
  (db: Db, { everywhere, organizations, except, memberships }: Sight) =>
  (query: Knex.QueryBuilder): void => {
    if (everywhere && !except.length) return;
    // Whoever has a say in none sees their own, which are few: that is found by their ids.
    if (!everywhere && !organizations.length) {
      query.whereIn('id', [...memberships]);
      return;
    }
    query.where((either) => {
      either.where((reached) => {
        if (!everywhere) reached.whereIn('id', idsBeneath(db, 'organizations', organizations));
        if (except.length) reached.whereNotIn('id', idsBeneath(db, 'organizations', except));
      });
      if (memberships.length) either.orWhereIn('id', [...memberships]);
    });
  };

/** The place of a row in the order of names. */
export interface NameKey {
  name: string;
  id: string;
}

/** In the order of their names, as `organizations_name_idx` has them; of what is beneath one, `organizations_parent_id_name_idx`. */
export const listOrganizations = (
  db: Db,
  sight: Sight,
  { q, kind, isActive, parentId, ancestorId }: OrganizationFilter,
  { limit, after }: { limit: number; after: NameKey | undefined },
): Promise<Organization[]> =>
  db('organizations')
    .modify(inSight(db, sight))
    .modify((query) => {
      if (after) query.whereRaw(`(lower(name) collate "C", id) > (lower(?) collate "C", ?)`, [after.name, after.id]);
      if (q) query.whereRaw(`lower(name) collate "C" like lower(?)`, [`${literally(q)}%`]);
      if (kind) query.where({ kind });
      // In words of the index that has those alone.
      if (isActive !== undefined) query.whereRaw(isActive ? 'is_active' : 'not is_active');
      if (parentId) query.where({ parentId });
      if (ancestorId)
        // Asked of each row in the order of names, until the page is full: joined, all of the tree would be sorted.
        query
          .whereRaw('(id in (?)) is true', [idsBeneath(db, 'organizations', [ancestorId])])
          .whereNot({ id: ancestorId });
    })
    .orderByRaw('lower(name) collate "C", id')
    .limit(limit)
    .select(...columns);
