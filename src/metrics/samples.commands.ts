/** Counts for all replicas what is too much for each of them to count. */
import type { Db } from '../../db/connect.ts';
import { countSessions, listWaitingJobs } from './samples.queries.ts';

/** Counts, and keeps the numbers where every process finds them. What is kept is one row. */
export const takeSamples = async (db: Db): Promise<void> => {
  const [sessions, queues] = [await countSessions(db), await listWaitingJobs(db)];
  await db('samples')
    .insert({ name: 'counted', value: JSON.stringify({ sessions, queues }), at: db.fn.now() })
    .onConflict('name')
    .merge();
};
