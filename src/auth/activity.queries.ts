/** A person's part of the audit log, with the names of the applications concerned and what was thought of each sign-in. */
import type { Db } from '../../db/connect.ts';
import { keySql, type Log, olderSql, splitKey } from '../audit/logs.queries.ts';
import type { RiskFactor, RiskOutcome } from './risk.ts';

export interface Activity extends Pick<Log, 'id' | 'at' | 'actorType' | 'action' | 'address' | 'userAgent' | 'key'> {
  /** The person acted, rather than being acted on. */
  own: boolean;
  /** The person acted on somebody else's account. */
  onOthers: boolean;
  /** With what whoever acted did so, unless by hand. */
  viaApiKey: boolean;
  viaClient: boolean;
  clientId: string | null;
  clientName: string | null;
  /** Of a sign-in; null for anything else, and for sign-ins that are too long ago. */
  outcome: RiskOutcome | null;
  factors: RiskFactor[] | null;
  country: string | null;
  city: string | null;
}

/** What the person did, and what others did to their account; each half is read from an index of its own. */
export const listActivity = async (
  db: Db,
  userId: string,
  { limit, before }: { limit: number; before?: string | undefined },
): Promise<Activity[]> => {
  const key = before === undefined ? undefined : splitKey(before);
  const half = (where: string) =>
    `(select id, at, actor_type, actor_id, action, target_type, target_id, meta, address, user_agent from audit_logs
      where ${where} ${key ? `and ${olderSql}` : ''} order by at desc, id desc limit ?)`;
  const more = [...(key ?? []), limit];
  const { rows } = (await db.raw(
    `with events as (
       ${half(`actor_type = 'user' and actor_id = ?`)}
       union all
       ${half(`target_type = 'user' and target_id = ? and not (actor_type = 'user' and actor_id is not distinct from ?)`)}
     ), recent as (
       select id, at, actor_type, action, address, user_agent,
         actor_type = 'user' and actor_id is not distinct from ? as own,
         target_type = 'user' and target_id <> ? as on_others,
         meta->'via' as via,
         case when action like 'session.sign\\_in%' then (meta->>'signIn')::uuid end as sign_in,
         coalesce(
           meta->>'clientId',
           case when target_type = 'client' then target_id when actor_type = 'client' then actor_id end) as about
       from events order by at desc, id desc limit ?
     ), told as (
       select *, coalesce(case when own then via->>'clientId' end, about) as client from recent
     )
     select told.id, at, actor_type, action, told.address, told.user_agent, own, coalesce(on_others, false) as on_others,
       via->>'apiKeyId' is not null as via_api_key, via->>'clientId' is not null as via_client,
       client as client_id, client_name, outcome, factors, country, city, ${keySql.replace("'.' || id", "'.' || told.id")} as key
     from told left join clients on clients.client_id = client
       left join sign_ins on sign_ins.user_id = ? and sign_ins.id = sign_in
     order by at desc, told.id desc`,
    [userId, ...more, userId, userId, ...more, userId, userId, limit, userId],
  )) as { rows: Activity[] };
  return rows;
};
