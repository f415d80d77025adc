/** Where things lie in the tree of organizations: decisions ask for the way from an organization up to its root. */
import type { Db } from '../../db/connect.ts';

/** What can lie in organizations, with SQL of the ids of those that it lies in itself. */
const places = {
  organization: 'select id from organizations where id = :id',
  user: 'select organization_id as id from organization_members where user_id = :id',
  group: 'select organization_id as id from groups where id = :id and organization_id is not null',
} as const;

/** A kind of thing that lies in organizations. */
export type Placed = keyof typeof places;

/** The ways up from the organizations that a thing lies in, each from there to its root; none for what lies in none, or is not there. */
export const findPaths = async (db: Db, type: Placed, id: string): Promise<string[][]> => {
  const { rows } = (await db.raw(
    `with recursive way as (
       select organizations.id as start, organizations.id, parent_id, 0 as height
       from organizations where id in (${places[type]})
       union
       select start, parents.id, parents.parent_id, height + 1
       from way join organizations parents on parents.id = way.parent_id where height < 100
     )
     select array_agg(id::text order by height) as path from way group by start order by start`,
    { id },
  )) as { rows: { path: string[] }[] };
  return rows.map(({ path }) => path);
};
