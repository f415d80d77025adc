/** The names of permissions: those of this service, which the code knows, and those of applications, which are rows. */
import type { Db } from '../../db/connect.ts';
import { catalogue } from './permissions.ts';

export interface NamedPermission {
  name: string;
  description: string;
  /** One that a route of this service asks for. */
  builtIn: boolean;
}

const ofService = new Map<string, string>(Object.entries(catalogue));

export const isOfService = (name: string): boolean => ofService.has(name);

/** The ids of these permissions; what has no row yet gets one. Pass the command's transaction. */
export const ensurePermissions = async (db: Db, names: readonly string[]): Promise<string[]> => {
  if (!names.length) return [];
  const distinct = [...new Set(names)].sort();
  await db('permissions')
    .insert(distinct.map((name) => ({ name })))
    .onConflict('name')
    .ignore();
  // So that nobody deletes one in the moment before it is used.
  const rows = await db('permissions').whereIn('name', distinct).orderBy('name').forKeyShare().select('id');
  return rows.map(({ id }: { id: string }) => id);
};

const toNamed = ({ name, description }: { name: string; description: string }): NamedPermission => ({
  name,
  description: ofService.get(name) ?? description,
  builtIn: isOfService(name),
});

export const findPermission = async (db: Db, name: string): Promise<NamedPermission | undefined> => {
  const row = await db('permissions').where({ name }).first('name', 'description');
  return row || isOfService(name) ? toNamed(row ?? { name, description: '' }) : undefined;
};

/** In the order of their bytes, after the name `after`; wildcards, which stand for others, are left out. */
export const listPermissions = async (
  db: Db,
  { q = '', limit, after = '' }: { q?: string | undefined; limit: number; after: string | undefined },
): Promise<NamedPermission[]> => {
  // Served by permissions_name_c_idx.
  const rows: { name: string; description: string }[] = await db('permissions')
    .whereRaw('name collate "C" > ?', [after])
    .whereRaw('name collate "C" >= ?', [q])
    .whereRaw('starts_with(name, ?)', [q])
    .whereRaw("position('*' in name) = 0")
    .whereNotIn('name', [...ofService.keys()])
    .orderByRaw('name collate "C"')
    .limit(limit)
    .select('name', 'description');
  const own = [...ofService].flatMap(([name, description]) =>
    name > after && name.startsWith(q) ? [{ name, description }] : [],
  );
  return [...rows, ...own]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .slice(0, limit)
    .map(toNamed);
};
