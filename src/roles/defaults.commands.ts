/** Puts back what a new installation has, for whoever has deleted something of it by mistake. */
import type { Db } from '../../db/connect.ts';
import { type Seeded, seedDefaults } from '../../db/seeds.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';

/** @returns what was missing; the second time nothing is */
export const restoreDefaults = (db: Db, actor: Actor): Promise<Seeded> =>
  db.transaction(async (db) => {
    const seeded = await seedDefaults(db);
    if (Object.values(seeded).some(({ length }) => length))
      await recordEvent(db, actor, { action: 'defaults.restore', meta: { ...seeded } });
    return seeded;
  });
