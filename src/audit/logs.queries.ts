/**
 * Reads of `audit_logs`, the newest first: by `at`, and by `id` (in order of time as well) where a transaction recorded
 * several events at one moment.
 */
import type { Knex } from 'knex';
import type { Db } from '../../db/connect.ts';

export interface Log {
  id: string;
  at: Date;
  actorType: 'user' | 'client' | 'operator' | 'system' | 'anonymous';
  actorId: string | null;
  action: string;
  targetType: string | null;
  targetId: string | null;
  meta: Record<string, unknown>;
  requestId: string | null;
  address: string | null;
  userAgent: string | null;
  /** Where the row stands in the order: what `before` of the next page is. */
  key: string;
}

/** Members that are left out match everything. */
export interface LogFilter {
  actorType?: Log['actorType'] | undefined;
  actorId?: string | undefined;
  /** Whole names, or a prefix with `.*`; any of them. */
  action?: readonly string[] | undefined;
  targetType?: string | undefined;
  targetId?: string | undefined;
  requestId?: string | undefined;
  address?: string | undefined;
  from?: Date | undefined;
  /** Exclusive. */
  to?: Date | undefined;
}

const columns = [
  'id',
  'at',
  'actorType',
  'actorId',
  'action',
  'targetType',
  'targetId',
  'meta',
  'requestId',
  'address',
  'userAgent',
] as const;

const exactly = ['actorType', 'actorId', 'targetType', 'targetId', 'requestId', 'address'] as const;

/** SQL of a row's key: microseconds since the epoch (JavaScript's dates are too coarse) and the id. */
export const keySql = `(extract(epoch from at) * 1000000)::bigint::text || '.' || id`;

/** SQL that holds for rows that come after the key in the list, with its two parameters. */
export const olderSql = `(at, id) < ('epoch'::timestamptz + ?::bigint * interval '1 microsecond', ?::uuid)`;

const keyPattern = /^(\d{1,16})\.([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})$/;

/** The parameters of `olderSql`; undefined for what cannot be a key. */
export const splitKey = (key: string): [microseconds: string, id: string] | undefined => {
  const [, microseconds, id] = keyPattern.exec(key) ?? [];
  return microseconds && id ? [microseconds, id] : undefined;
};

const like = (prefix: string) => `${prefix.slice(0, -1).replaceAll('_', '\\_')}%`;

const isAny = (query: Knex.QueryBuilder, actions: readonly string[]): void => {
  const names = actions.filter((action) => !action.endsWith('*'));
  query.where((either) => {
    if (names.length) either.whereIn('action', names);
    for (const prefix of actions.filter((action) => action.endsWith('*'))) either.orWhereLike('action', like(prefix));
  });
};

/** @param page `before` is the key of the last row of the page before */
export const listLogs = (
  db: Db,
  { action, from, to, ...filter }: LogFilter,
  page: { limit: number; before?: string | undefined },
): Promise<Log[]> => {
  const query = db('auditLogs')
    .orderBy([
      { column: 'at', order: 'desc' },
      { column: 'id', order: 'desc' },
    ])
    .limit(page.limit)
    .select(...columns, db.raw(`${keySql} as key`));
  for (const name of exactly) if (filter[name] !== undefined) query.where(name, filter[name]);
  if (action?.length) isAny(query, action);
  if (from) query.where('at', '>=', from);
  if (to) query.where('at', '<', to);
  const before = page.before === undefined ? undefined : splitKey(page.before);
  if (before) query.whereRaw(olderSql, before);
  return query as unknown as Promise<Log[]>;
};
