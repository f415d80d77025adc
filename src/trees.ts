/** Organizations, groups and business domains are trees. Whoever hangs something into one keeps it one, at any number of changes at once. */
import type { Knex } from 'knex';
import type { Db } from '../db/connect.ts';
import { conflict, invalid } from './errors.ts';

/** A table whose `parent_id` is of the same table. */
export type Tree = 'organizations' | 'groups' | 'domains';

/** Levels, the root's included: what is passed down a tree is asked for at every request. */
const levelsMax = 10;

/**
 * Nobody else hangs something into the tree, moves in it or deletes from it until the transaction ends: two moves that are fine
 * one by one can make a cycle together.
 */
export const lockTree = async (db: Db, tree: Tree): Promise<void> => {
  await db.raw('select pg_advisory_xact_lock(hashtextextended(?, 0))', [`tree ${tree}`]);
};

/** For a parent that is not there, and for one that the caller may not see. */
export const unknownParent = () =>
  invalid('invalid_request', 'The request is not valid', {
    fields: [{ field: 'parentId', code: 'unknown', message: 'there is none of this id' }],
  });

/**
 * Locks the tree and checks that something may hang beneath a parent. Pass the transaction that hangs it there.
 * @param id what is moved, with all that is beneath it; undefined for something new
 * @throws AppError 400 invalid_request for an unknown parent, 409 tree_cycle or tree_too_deep
 */
export const assertParent = async (db: Db, tree: Tree, id: string | undefined, parentId: string): Promise<void> => {
  await lockTree(db, tree);
  // What is damaged already ends at some height as well.
  const { rows } = (await db.raw(
    `with recursive above as (
       select id, parent_id, 1 as level from :tree: where id = :parentId
       union all
       select parents.id, parents.parent_id, level + 1
       from above join :tree: parents on parents.id = above.parent_id where level < 100
     ), beneath as (
       select id, 1 as level from :tree: where id = :id
       union all
       select children.id, level + 1 from beneath join :tree: children on children.parent_id = beneath.id where level < 100
     )
     select (select count(*) from above)::int as above, coalesce((select max(level) from beneath), 1) as beneath,
       exists (select from above where id = :id) as is_cycle`,
    { tree, id: id ?? null, parentId },
  )) as { rows: { above: number; beneath: number; isCycle: boolean }[] };
  const [{ above, beneath, isCycle } = { above: 0, beneath: 0, isCycle: false }] = rows;
  if (!above) throw unknownParent();
  if (isCycle) throw conflict('tree_cycle', 'It would lie beneath itself');
  if (above + beneath > levelsMax) throw conflict('tree_too_deep', `It would lie more than ${levelsMax} levels deep`);
};

/**
 * Nothing is left hanging in the air. Locks the tree; pass the transaction that deletes.
 * @throws AppError 409 has_children
 */
export const assertNoChildren = async (db: Db, tree: Tree, id: string): Promise<void> => {
  await lockTree(db, tree);
  if (await db(tree).where({ parentId: id }).first('id'))
    throw conflict('has_children', 'Move or delete what is beneath it first');
};

/** These ids and those of all that is beneath them, for `whereIn`: what a list may show to whoever is limited to a part of a tree. */
export const idsBeneath = (db: Db, tree: Tree, ids: readonly string[]): Knex.QueryBuilder<object, { id: string }[]> =>
  db.select('id').from(
    db.raw(
      `(with recursive beneath as (
         select id from :tree: where id = any(:ids)
         union
         select children.id from beneath join :tree: children on children.parent_id = beneath.id
       )
       select id from beneath) as places`,
      { tree, ids: ids as string[] },
    ),
  );
