/** Moves the metrics by what `src/observing.ts` tells. Nothing here may throw, or wait. */
import type { Registry } from 'prom-client';
import {
  auditEvents,
  cacheStates,
  cleanedRows,
  fetches,
  hashes,
  hashRefusals,
  hashWaits,
  jobRuns,
  limitCounts,
  listenStates,
  mails,
  queries,
  redisCommands,
  redisConnections,
  tokenGrants,
} from '../observing.ts';
import { createCounter, createGauge, createHistogram, type Histogram } from './instruments.ts';
import { errorClass, readStatement } from './statements.ts';

/** What a pool of connections tells of itself. */
export interface Pool {
  numUsed(): number;
  numFree(): number;
  numPendingAcquires(): number;
  max: number;
}

const since = (started: number): number => (performance.now() - started) / 1000;

/** How many texts of SQL are remembered with what they are. */
const textsMax = 2000;

const watchDatabase = (registry: Registry, pool: () => Pool | undefined): (() => void)[] => {
  const duration = createHistogram(registry, 'db_query_duration_seconds');
  const errors = createCounter(registry, 'db_query_errors_total');
  const known = new Map<string, Histogram>();
  const find = (sql: string): Histogram => {
    const found = known.get(sql);
    if (found) return found;
    const { operation, table } = readStatement(sql);
    const made = duration(operation, table);
    if (known.size >= textsMax) known.clear();
    known.set(sql, made);
    return made;
  };
  const connections = createGauge(registry, 'db_pool_connections', () => {
    connections('used').set(pool()?.numUsed() ?? 0);
    connections('free').set(pool()?.numFree() ?? 0);
  });
  const size = createGauge(registry, 'db_pool_size', () => size().set(pool()?.max ?? 0));
  const waiting = createGauge(registry, 'db_pool_waiting', () => waiting().set(pool()?.numPendingAcquires() ?? 0));
  const listening = createGauge(registry, 'db_listening')();
  // Until the contrary is told: who cannot listen does not start.
  listening.set(1);
  const trusted = createGauge(registry, 'cache_trusted')();
  trusted.set(1);
  const cleaned = createCounter(registry, 'db_rows_cleaned_total');
  return [
    queries.watch((sql) => {
      const started = performance.now();
      return (error) => {
        find(sql).observe(since(started));
        if (error !== undefined) errors(errorClass(error)).inc();
      };
    }),
    listenStates.watch((isUp) => listening.set(isUp ? 1 : 0)),
    cacheStates.watch((isProven) => trusted.set(isProven ? 1 : 0)),
    cleanedRows.watch((table, count) => cleaned(table).inc(count)),
  ];
};

const redisNames = new Set([
  'get',
  'set',
  'del',
  'eval',
  'evalsha',
  'multi',
  'exec',
  'incrby',
  'decrby',
  'pttl',
  'info',
]);

const watchOthers = (registry: Registry): (() => void)[] => {
  const redis = createHistogram(registry, 'redis_command_duration_seconds');
  const redisErrors = createCounter(registry, 'redis_errors_total');
  const redisUp = createGauge(registry, 'redis_up');
  const outbound = createHistogram(registry, 'outbound_request_duration_seconds');
  const counts = createCounter(registry, 'rate_limit_counts_total');
  const sent = createCounter(registry, 'mails_total');
  return [
    redisCommands.watch((command, purpose) => {
      const started = performance.now();
      return (error) => {
        redis(purpose, redisNames.has(command) ? command : 'other').observe(since(started));
        if (error !== undefined) redisErrors(purpose).inc();
      };
    }),
    redisConnections.watch((purpose, isUp) => redisUp(purpose).set(isUp ? 1 : 0)),
    fetches.watch((purpose, _method, _url, answered) => {
      const started = performance.now();
      return (error) => {
        const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
        const failure = code === 'outbound_refused' ? 'refused' : name === 'TimeoutError' ? 'timeout' : 'failed';
        const { status } = answered;
        const outcome = error !== undefined ? failure : `${Math.floor((status ?? 0) / 100)}xx`;
        outbound(purpose, outcome).observe(since(started));
      };
    }),
    limitCounts.watch((store) => counts(store).inc()),
    mails.watch((outcome) => sent(outcome).inc()),
  ];
};

/** Grant types by the name that they are known by; an extension's is a URN. */
const grantTypes: Record<string, string> = {
  authorization_code: 'authorization_code',
  refresh_token: 'refresh_token',
  client_credentials: 'client_credentials',
  password: 'password',
  rest: 'rest',
  'urn:ietf:params:oauth:grant-type:device_code': 'device_code',
  'urn:openid:params:grant-type:ciba': 'ciba',
  'urn:ietf:params:oauth:grant-type:token-exchange': 'token_exchange',
  'urn:ietf:params:oauth:grant-type:jwt-bearer': 'jwt_bearer',
};

const watchWork = (registry: Registry): (() => void)[] => {
  const hashDuration = createHistogram(registry, 'password_hash_duration_seconds')();
  const hashWait = createHistogram(registry, 'password_hash_wait_seconds')();
  const running = createGauge(registry, 'password_hashes_running')();
  const waiting = createGauge(registry, 'password_hashes_waiting')();
  const refused = createCounter(registry, 'password_hashes_refused_total')();
  const jobs = createCounter(registry, 'jobs_total');
  const jobDuration = createHistogram(registry, 'job_duration_seconds');
  const tokens = createCounter(registry, 'tokens_issued_total');
  const audit = createCounter(registry, 'audit_events_total');
  return [
    hashWaits.watch(() => {
      const started = performance.now();
      waiting.inc();
      return () => {
        waiting.inc(-1);
        hashWait.observe(since(started));
      };
    }),
    hashes.watch(() => {
      const started = performance.now();
      running.inc();
      return () => {
        running.inc(-1);
        hashDuration.observe(since(started));
      };
    }),
    hashRefusals.watch(() => refused.inc()),
    jobRuns.watch((queue) => {
      const started = performance.now();
      return (error) => {
        jobs(queue, error === undefined ? 'done' : 'failed').inc();
        jobDuration(queue).observe(since(started));
      };
    }),
    tokenGrants.watch((grantType) => tokens(grantTypes[grantType] ?? 'other').inc()),
    auditEvents.watch((action) => audit(action.slice(0, action.indexOf('.'))).inc()),
  ];
};

/**
 * Makes these metrics, and has them move from now on.
 * @param pool of the database, asked when metrics are read
 * @returns a function after which they stand still
 */
export const watchProcess = (registry: Registry, pool: () => Pool | undefined): (() => void) => {
  const ends = [...watchDatabase(registry, pool), ...watchOthers(registry), ...watchWork(registry)];
  return () => {
    for (const end of ends) end();
  };
};
