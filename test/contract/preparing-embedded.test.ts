/** The embedded database answers what it has prepared as it answers what it has not. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, onPostgres, type TestDatabase } from '../support/database.ts';

describe.skipIf(onPostgres)('statements that the embedded database has prepared', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    await database.db.raw(
      'create table things (id int primary key, facts jsonb, bytes bytea, at timestamptz, names text[], share numeric, big bigint)',
    );
  });
  afterAll(() => database.close());

  /** The first is not prepared, the second is, and all that follow use that. */
  const each = async (times: number, work: (time: number) => Promise<void>): Promise<void> => {
    for (let time = 0; time < times; time++) await work(time);
  };

  it('take and give values of every kind', () =>
    each(6, async (id) => {
      const thing = { facts: { id }, at: new Date(id), names: ['x', 'y"', ''], share: '1.5', big: 12 };
      const bytes = new Uint8Array([id, 0, 255]);
      const [row] = await database
        .db('things')
        .insert({ id, ...thing, facts: JSON.stringify(thing.facts), bytes: Buffer.from(bytes) })
        .returning('*');
      expect({ ...row, bytes: new Uint8Array(row.bytes) }).toEqual({ id, ...thing, bytes });
      expect(
        await database
          .db('things')
          .where({ id })
          .first('share', database.db.raw('?::text as nothing', [null])),
      ).toEqual({ share: '1.5', nothing: null });
      expect(
        await database
          .db('things')
          .where({ id: -id - 1 })
          .select(),
      ).toEqual([]);
    }));

  it('count what they change', async () => {
    await each(4, async (id) => expect(await database.db('things').where({ id }).update({ share: '2' })).toBe(1));
    await each(2, async () => expect(await database.db('things').where({ id: -1 }).update({ share: '2' })).toBe(0));
    await each(3, async (id) => expect(await database.db('things').where({ id }).delete()).toBe(1));
  });

  it('fail by code and name, and go on', () =>
    each(4, async () => {
      await expect(database.db('things').insert({ id: 5 })).rejects.toMatchObject({
        code: '23505',
        constraint: 'things_pkey',
      });
      expect(await database.db('things').where({ id: 5 }).first('id')).toEqual({ id: 5 });
    }));

  it('do not outlive the columns of their answer', async () => {
    const keys = async () => Object.keys((await database.db('things').where({ id: 5 }).first()) ?? {});
    await each(3, async () => expect(await keys()).not.toContain('extra'));
    await database.db.raw('alter table things add column extra int');
    await each(3, async () => expect(await keys()).toContain('extra'));
  });

  it('are part of the transaction that they are in', () =>
    each(4, async () => {
      const undone = database.db.transaction(async (db) => {
        await db('things').where({ id: 5 }).update({ big: 99 });
        expect(await db('things').where({ id: 5 }).first('big')).toEqual({ big: 99 });
        throw new Error('undone');
      });
      await expect(undone).rejects.toThrow('undone');
      expect(await database.db('things').where({ id: 5 }).first('big')).toEqual({ big: 12 });
    }));
});
