/** Reads of `domains`, the areas of a business, and of who is assigned to them. They have nothing to do with those of mail. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';

export interface Domain {
  id: string;
  /** What programs call it; it never changes. */
  key: string;
  name: string;
  description: string;
  parentId: string | null;
  isActive: boolean;
  createdAt: Date;
  updatedAt: Date;
}

const columns = ['id', 'key', 'name', 'description', 'parentId', 'isActive', 'createdAt', 'updatedAt'].map(
  (column) => `domains.${column}`,
);

/** By id or key; no key looks like an id. */
const named = (reference: string) => {
  const name = reference.toLowerCase();
  return z.uuid().safeParse(name).success ? { id: name } : { key: name };
};

export const findDomain = (db: Db, reference: string): Promise<Domain | undefined> =>
  db('domains')
    .where(named(reference))
    .first(...columns);

/** Likewise; until the transaction ends nobody else changes it. */
export const lockDomain = (db: Db, reference: string): Promise<Domain | undefined> =>
  db('domains')
    .where(named(reference))
    .forNoKeyUpdate()
    .first(...columns);

/** Those of these ids and keys that there are. */
export const findDomains = (db: Db, references: readonly string[]): Promise<Domain[]> => {
  const names = references.map(named);
  return db('domains')
    .whereIn(
      'id',
      names.flatMap(({ id }) => id ?? []),
    )
    .orWhereIn(
      'key',
      names.flatMap(({ key }) => key ?? []),
    )
    .forShare()
    .orderBy('id')
    .select(...columns);
};

export interface DomainFilter {
  /** Undefined: those that are not active too. */
  isActive?: boolean | undefined;
  parentId?: string | undefined;
}

/** Domains after the one with the key `after`, in the order of their keys. */
export const listDomains = (
  db: Db,
  filter: DomainFilter,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<Domain[]> =>
  db('domains')
    .modify((query) => {
      for (const [column, value] of Object.entries(filter)) if (value !== undefined) query.where(column, value);
      if (after !== undefined) query.where('key', '>', after);
    })
    .orderBy('key')
    .limit(limit)
    .select(...columns);

/** These domains and the active ones that they pass through to, in the order of their keys. */
export const listActiveTrees = async (db: Db, roots: readonly string[]): Promise<Domain[]> => {
  const { rows } = (await db.raw(
    `with recursive beneath as (
       select id from domains where id = any(:roots)
       union select domains.id from beneath join domains on domains.parent_id = beneath.id and is_active
     )
     select ${['id', 'key', 'name', 'description', 'parent_id', 'is_active', 'created_at', 'updated_at'].join(', ')}
     from domains where id in (select id from beneath) order by key`,
    { roots: [...roots] },
  )) as { rows: Domain[] };
  return rows;
};

/** Active domains that lie beneath no other, after the one with the key `after`. */
export const listRoots = (
  db: Db,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<{ id: string; key: string }[]> =>
  db('domains')
    .whereNull('parentId')
    .where('isActive', true)
    .modify((query) => {
      if (after !== undefined) query.where('key', '>', after);
    })
    .orderBy('key')
    .limit(limit)
    .select('id', 'key');

/** Those that a user is assigned to, in the order of their keys. */
export const listDomainsOf = (
  db: Db,
  userId: string,
  { activeOnly, limit, after }: { activeOnly: boolean; limit: number; after: string | undefined },
): Promise<Domain[]> =>
  db('domainMembers')
    .join('domains', 'domains.id', 'domainMembers.domainId')
    .where({ userId })
    .modify((query) => {
      if (activeOnly) query.where('domains.isActive', true);
      if (after !== undefined) query.where('domains.key', '>', after);
    })
    .orderBy('domains.key')
    .limit(limit)
    .select(...columns);

/** Who is assigned to a domain, after the one with the id `after`. */
export const listDomainUsers = (
  db: Db,
  domainId: string,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<{ id: string; name: string; email: string }[]> =>
  db('domainMembers')
    .join('users', 'users.id', 'domainMembers.userId')
    .where({ domainId })
    .modify((query) => {
      if (after) query.where('domainMembers.userId', '>', after);
    })
    .orderBy('domainMembers.userId')
    .limit(limit)
    .select('users.id', 'users.name', 'users.email');
