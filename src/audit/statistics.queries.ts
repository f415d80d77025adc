/** Figures of the audit log, counted by the database in one statement, so that they agree with each other. */
import type { Db } from '../../db/connect.ts';

export interface Statistics {
  total: number;
  /** The most frequent first. */
  byAction: { action: string; count: number }[];
  /** Every day of the period (UTC), those without events too. */
  byDay: { day: string; count: number }[];
  signIns: { succeeded: number; failed: number };
  /** People who did something. */
  activeUsers: number;
  /** What was refused most often, and why. */
  refusals: { action: string; operation: string | null; reason: string | null; count: number }[];
}

/** @param period `to` is exclusive */
export const findStatistics = async (db: Db, period: { from: Date; to: Date }): Promise<Statistics> => {
  const { rows } = (await db.raw(
    `with counted as materialized (
       select action, (at at time zone 'UTC')::date as day, count(*) as count
       from audit_logs where at >= :from and at < :to group by 1, 2
     ), actions as (
       select action, sum(count) as count from counted group by action
     ), days as (
       select start::date as day, coalesce(sum(count), 0) as count
       from generate_series(
         date_trunc('day', cast(:from as timestamptz) at time zone 'UTC'),
         (cast(:to as timestamptz) - interval '1 microsecond') at time zone 'UTC', '1 day') as series (start)
       left join counted on day = start::date group by 1
     ), refused as (
       select action, meta->>'operation' as operation,
         coalesce(meta->>'permission', meta->>'error', meta->>'reason') as reason, count(*) as count
       from audit_logs where at >= :from and at < :to
         and action in (select action from actions where action like '%.refuse' or action = 'session.sign_in_failed')
       group by 1, 2, 3 order by 4 desc, 1, 2, 3 limit 10
     )
     select json_build_object(
       'total', (select coalesce(sum(count), 0) from actions),
       'byAction', (select coalesce(json_agg(actions order by count desc, action), '[]') from actions),
       'byDay', (select json_agg(days order by day) from days),
       'signIns', json_build_object(
         'succeeded', (select coalesce(sum(count), 0) from actions where action = 'session.sign_in'),
         'failed', (select coalesce(sum(count), 0) from actions where action = 'session.sign_in_failed')),
       -- Half the time of count(distinct), which sorts.
       'activeUsers', (select count(*) from (select distinct actor_id from audit_logs
         where at >= :from and at < :to and actor_type = 'user' and actor_id is not null) as people),
       'refusals', (select coalesce(json_agg(refused order by count desc, action, operation, reason), '[]') from refused)
     ) as statistics`,
    period,
  )) as { rows: [{ statistics: Statistics }] };
  return rows[0].statistics;
};
