/** Where groups lie in their trees, and what tells one from another by name alone. */
import type { Db } from '../../db/connect.ts';

interface Segment {
  kind: 'group' | 'team';
  name: string;
}

export interface GroupPath {
  id: string;
  /** Null for a group that belongs to no organization. */
  organizationId: string | null;
  /** From the root of its tree to itself. */
  path: Segment[];
}

/** Of the groups that there are. */
export const findGroupPaths = async (db: Db, ids: readonly string[]): Promise<GroupPath[]> => {
  if (!ids.length) return [];
  const { rows } = (await db.raw(
    `with recursive way as (
       select groups.id as start, organization_id, parent_id, kind, name, 0 as height
       from groups where id = any(cast(:ids as uuid[]))
       union
       select start, way.organization_id, parents.parent_id, parents.kind, parents.name, height + 1
       from way join groups parents on parents.id = way.parent_id where height < 100
     )
     select start as id, organization_id,
       jsonb_agg(jsonb_build_object('kind', kind, 'name', name) order by height desc) as path
     from way group by start, organization_id order by start`,
    { ids },
  )) as { rows: GroupPath[] };
  return rows;
};

/** As JSON Pointer writes names (RFC 6901 section 3), and one more: no name looks like a path, or like a team's. */
const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1').replace(/^@/, '~2');

/**
 * A group's name for whoever compares texts: `/Engineering/Backend`, teams with an @ as `/@Design`. Those of an organization
 * begin with its id, `0192…/Sales`, so that nobody who names the groups of one can mean another's, or one of the operator's.
 */
export const groupText = ({ organizationId, path }: GroupPath): string =>
  `${organizationId ?? ''}${path.map(({ kind, name }) => `/${kind === 'team' ? '@' : ''}${escaped(name)}`).join('')}`;
