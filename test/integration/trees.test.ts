/** Trees stay trees, whoever moves things in them at the same time. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Db } from '../../db/connect.ts';
import { assertNoChildren, assertParent, idsBeneath, type Tree } from '../../src/trees.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let db: Db;

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db;
});
afterAll(async () => {
  await database.close();
  await database.drop();
});

let made = 0;

const add = async (tree: Tree, parentId: string | null = null): Promise<string> => {
  made += 1;
  const names = { name: `Node ${made}`, ...(tree === 'domains' ? { key: `node-${made}` } : {}) };
  const [row] = await db(tree)
    .insert({ ...names, parentId })
    .returning('id');
  return row.id;
};

/** A chain of so many, the root first. */
const chain = async (tree: Tree, length: number): Promise<string[]> => {
  const ids: string[] = [];
  for (let level = 0; level < length; level++) ids.push(await add(tree, ids.at(-1) ?? null));
  return ids;
};

const move = (tree: Tree, id: string, parentId: string): Promise<void> =>
  db.transaction(async (db) => {
    await assertParent(db, tree, id, parentId);
    await db(tree).where({ id }).update({ parentId });
  });

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    ({ code }: { code: string }) => code,
  );

describe.each(['organizations', 'groups', 'domains'] as const)('The tree of %s', (tree) => {
  it('takes what is new and what is moved', async () => {
    const [root, other] = [await add(tree), await add(tree)];
    expect(await codeOf(assertParent(db, tree, undefined, root))).toBe('done');
    await move(tree, other, root);
    expect(await db(tree).where({ id: other }).first('parentId')).toEqual({ parentId: root });
  });

  it('refuses cycles of every length, and parents that are not there', async () => {
    const [root, middle, leaf] = (await chain(tree, 3)) as [string, string, string];
    for (const parentId of [root, middle, leaf]) expect(await codeOf(move(tree, root, parentId))).toBe('tree_cycle');
    expect(await codeOf(move(tree, leaf, '00000000-0000-4000-8000-000000000000'))).toBe('invalid_request');
  });

  it('is ten levels deep at most, with what is moved along', async () => {
    const deep = await chain(tree, 9);
    const pair = (await chain(tree, 2)) as [string, string];
    expect(await codeOf(move(tree, pair[0], deep[8] as string))).toBe('tree_too_deep');
    await move(tree, pair[0], deep[7] as string);
    expect(await codeOf(assertParent(db, tree, undefined, pair[1]))).toBe('tree_too_deep');
    expect(await codeOf(assertParent(db, tree, undefined, pair[0]))).toBe('done');
  });

  it('lets exactly one of two moves win that would make a cycle together', async () => {
    for (let round = 0; round < 5; round++) {
      const [left, right] = [await add(tree), await add(tree)];
      const codes = await Promise.all([codeOf(move(tree, left, right)), codeOf(move(tree, right, left))]);
      expect(codes.toSorted()).toEqual(['done', 'tree_cycle']);
    }
  });

  it('lets exactly one of many moves of a ring lose', async () => {
    const ring = await Promise.all(Array.from({ length: 6 }, () => add(tree)));
    const codes = await Promise.all(ring.map((id, at) => codeOf(move(tree, id, ring[(at + 1) % 6] as string))));
    expect(codes.filter((code) => code === 'tree_cycle')).toHaveLength(1);
  });

  it('leaves no orphan when a parent is deleted while something is hung beneath it', async () => {
    for (let round = 0; round < 5; round++) {
      const [parent, child] = [await add(tree), await add(tree)];
      const remove = db.transaction(async (db) => {
        await assertNoChildren(db, tree, parent);
        await db(tree).where({ id: parent }).delete();
      });
      const codes = await Promise.all([codeOf(move(tree, child, parent)), codeOf(remove)]);
      expect(['done has_children', 'invalid_request done']).toContain(codes.join(' '));
    }
  });

  it('knows what is beneath', async () => {
    const [, middle, leaf] = (await chain(tree, 3)) as [string, string, string];
    const other = await add(tree);
    const ids = await db(tree)
      .whereIn('id', idsBeneath(db, tree, [middle, other]))
      .select('id');
    expect(ids.map(({ id }) => id).toSorted()).toEqual([middle, leaf, other].toSorted());
    expect(
      await db(tree)
        .whereIn('id', idsBeneath(db, tree, []))
        .select('id'),
    ).toEqual([]);
  });
});
