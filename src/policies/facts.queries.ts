/** Facts that decisions about many questions rest on: one query for each kind of thing, however many are asked about. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { canonicalType, catalogue } from '../roles/permissions.ts';

export const isUuid = (id: string): boolean => z.uuid().safeParse(id).success;
const uuids = (ids: Iterable<string>): string[] => [...new Set(ids)].filter(isUuid);

/** What is known of a thing: whose it is, and the ways up from the organizations that it lies in. */
export interface ResourceFacts {
  owner?: string;
  organizations: string[][];
}

/** SQL of things with an organization that they lie in, of those whose ids are in `:ids`. */
const placed = {
  users: 'select user_id as thing, organization_id from organization_members where user_id = any(cast(:ids as uuid[]))',
  organizations: 'select id as thing, id as organization_id from organizations where id = any(cast(:ids as uuid[]))',
  groups:
    'select id as thing, organization_id from groups where id = any(cast(:ids as uuid[])) and organization_id is not null',
} as const;

/** SQL of things with the user whose they are. */
const owned = {
  sessions: 'select uid as thing, user_id from sessions where uid = any(:ids) and expires_at > now()',
  api_keys: 'select id::text as thing, user_id from api_keys where id = any(cast(:ids as uuid[]))',
} as const;

const findPlaced = async (db: Db, type: keyof typeof placed, ids: readonly string[]) => {
  const { rows } = (await db.raw(
    `with recursive placed as (${placed[type]}), way as (
       select thing, organizations.id as start, organizations.id, parent_id, 0 as height
       from placed join organizations on organizations.id = organization_id
       union
       select thing, start, parents.id, parents.parent_id, height + 1
       from way join organizations parents on parents.id = way.parent_id where height < 100
     )
     select thing, array_agg(id::text order by height) as path from way group by thing, start order by thing, start`,
    { ids },
  )) as { rows: { thing: string; path: string[] }[] };
  const found = new Map<string, ResourceFacts>();
  for (const { thing, path } of rows)
    found.set(thing, { organizations: [...(found.get(thing)?.organizations ?? []), path] });
  return found;
};

const findOwned = async (db: Db, type: keyof typeof owned, ids: readonly string[]) => {
  const { rows } = (await db.raw(owned[type], { ids })) as { rows: { thing: string; userId: string | null }[] };
  return new Map(
    rows.map(({ thing, userId }): [string, ResourceFacts] => [
      thing,
      { ...(userId === null ? {} : { owner: userId }), organizations: [] },
    ]),
  );
};

const ownTypes = new Set(Object.keys(catalogue).map((name) => name.split(':')[0]));

/** Whether things of the type are this service's own, so that nobody is believed about them. */
export const isOwnType = (type: string): boolean => ownTypes.has(canonicalType(type));

/** What is known of things of this service, by id; nothing of those that are not there. */
export const findResources = async (
  db: Db,
  type: string,
  ids: Iterable<string>,
): Promise<Map<string, ResourceFacts>> => {
  const asked = type === 'sessions' ? [...new Set(ids)].filter((id) => /^[\w-]{1,100}$/.test(id)) : uuids(ids);
  if (!asked.length) return new Map();
  if (Object.hasOwn(owned, type)) return findOwned(db, type as keyof typeof owned, asked);
  if (!Object.hasOwn(placed, type)) return new Map();
  const found = await findPlaced(db, type as keyof typeof placed, asked);
  // An account is its person's own.
  if (type === 'users') for (const id of asked) found.set(id, { organizations: [], ...found.get(id), owner: id });
  return found;
};
