/** What metrics are told of the database: by each process what is small, and what one replica has counted for all. */
import type { Db } from '../../db/connect.ts';

export interface Counted {
  at: Date;
  sessions: number;
  queues: { queue: string; waiting: number; oldestSeconds: number }[];
}

export interface Samples {
  /** Undefined until some replica has counted. */
  counted: Counted | undefined;
  keys: { alg: string; state: 'next' | 'signing' | 'retired'; since: Date }[];
  migrationsPending: number;
}

interface Rows<Row> {
  rows: Row[];
}

/** What was counted last. */
export const findCounted = async (db: Db): Promise<Counted | undefined> => {
  const row = (await db('samples').where({ name: 'counted' }).first('at', 'value')) as
    | { at: Date; value: Omit<Counted, 'at'> }
    | undefined;
  return row && { at: row.at, ...row.value };
};

/** Of the keys in the database; those in a file are not dated. */
export const listKeyStates = async (db: Db): Promise<Samples['keys']> => {
  const { rows } = (await db.raw(
    `select alg, signs_from as since, case
       when signs_from > now() then 'next'
       when retired_at is null and signs_from = max(signs_from) filter (where signs_from <= now()) over (partition by alg)
         then 'signing'
       else 'retired' end as state
     from jwks_keys`,
  )) as Rows<Samples['keys'][number]>;
  return rows;
};

/** Sessions that somebody is signed in with. It reads an index, and takes a fraction of a second at a million. */
export const countSessions = async (db: Db): Promise<number> => {
  const { rows } = (await db.raw(
    `select count(*)::int as count from sessions where user_id is not null and expires_at > now()`,
  )) as Rows<{ count: number }>;
  return rows[0]?.count ?? 0;
};

/** Jobs that are due, by queue; those of the service's own clockwork are left out. */
export const listWaitingJobs = async (db: Db): Promise<Counted['queues']> => {
  const { rows: found } = (await db.raw(`select to_regclass('pgboss.queue') is not null as there`)) as Rows<{
    there: boolean;
  }>;
  if (!found[0]?.there) return [];
  const { rows } = (await db.raw(
    `select queue.name as queue, count(job.id)::int as waiting,
       coalesce(extract(epoch from now() - min(job.start_after)), 0)::float8 as oldest_seconds
     from pgboss.queue left join pgboss.job on job.name = queue.name and job.state < 'active' and job.start_after <= now()
     where queue.name not like 'every-%' and queue.name not like '\\_\\_pgboss\\_\\_%'
     group by queue.name`,
  )) as Rows<Counted['queues'][number]>;
  return rows;
};
