/** The permissions that there are by name. */
import type { Db } from '../../db/connect.ts';

const namesMax = 10_000;

/** Names of permissions, wildcards included, in their order. */
export const listPermissionNames = (db: Db): Promise<string[]> =>
  db('permissions').orderBy('name').limit(namesMax).pluck('name');
