/**
 * Every metric of our own, declared once: what it is called, what it says, and by which labels. docs/observability.md's table is
 * generated from here, dashboards and alert rules are checked against it, and `metrics.ts` makes the instruments.
 *
 * Each label has few values, none of which a caller can choose. `aggregator` says how the workers of one process group are made
 * one number of: added up unless it says otherwise.
 */

export interface Declared {
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels?: readonly string[];
  buckets?: readonly number[];
  /** What all workers of a machine see alike is not added up. */
  aggregator?: 'sum' | 'max' | 'min' | 'first';
}

const requestBuckets = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
const queryBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30] as const;

export const catalogue = {
  http_request_duration_seconds: {
    type: 'histogram',
    help: 'Time to answer',
    labels: ['method', 'route', 'status'],
    buckets: requestBuckets,
  },
  http_requests_total: { type: 'counter', help: 'Requests answered', labels: ['method', 'route', 'status'] },
  http_requests_in_flight: { type: 'gauge', help: 'Requests that are being answered' },
  requests_shed_total: {
    type: 'counter',
    help: 'Requests that were turned away with 503 so that the others could be answered',
    labels: ['reason'],
  },
  rate_limited_total: { type: 'counter', help: 'Requests that a limit refused, by limit', labels: ['limit'] },
  rate_limit_counts_total: {
    type: 'counter',
    help: 'What limits counted, by where: with Redis configured, memory means that it is away and each process counts for itself',
    labels: ['store'],
  },

  sign_ins_total: {
    type: 'counter',
    help: 'Sign-ins by what became of them, by what the first factor was and where it was shown: on a page (page), over REST (rest), or at the token endpoint (token)',
    labels: ['method', 'surface', 'outcome'],
  },
  federated_sign_ins_total: {
    type: 'counter',
    help: 'Sign-ins with an identity provider, by what the provider’s answer came to',
    labels: ['outcome'],
  },
  sessions_active: {
    type: 'gauge',
    help: 'Sessions that somebody is signed in with, on all replicas; counted once a minute by one of them',
    aggregator: 'max',
  },
  password_hashes_running: { type: 'gauge', help: 'Password hashes that are being computed' },
  password_hashes_waiting: { type: 'gauge', help: 'Password hashes that wait for their turn' },
  password_hash_wait_seconds: {
    type: 'histogram',
    help: 'How long password hashes waited for their turn',
    buckets: [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  password_hash_duration_seconds: {
    type: 'histogram',
    help: 'How long password hashes took to compute',
    buckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2],
  },
  password_hashes_refused_total: {
    type: 'counter',
    help: 'Password hashes refused because too many waited (HASH_QUEUE)',
  },

  tokens_issued_total: {
    type: 'counter',
    help: 'Answers of the token endpoint that had tokens in them, by grant type',
    labels: ['grant_type'],
  },
  cache_requests_total: {
    type: 'counter',
    help: 'What was asked of caches, by cache, and by memory or the store that replicas share (bypassed: changes could not be heard of, so the database was asked)',
    labels: ['cache', 'layer', 'outcome'],
  },
  cache_trusted: {
    type: 'gauge',
    help: '1 while changes are heard of, so that what is cached can be relied on; 0 while every request asks the database',
    aggregator: 'min',
  },

  db_query_duration_seconds: {
    type: 'histogram',
    help: 'How long the database took to answer, by kind of statement and table',
    labels: ['operation', 'table'],
    buckets: queryBuckets,
  },
  db_query_errors_total: {
    type: 'counter',
    help: 'Statements that failed, by class of the SQL state (08 and connection: the database is away, 57: it was told to stop, 40: a clash)',
    labels: ['class'],
  },
  db_pool_connections: { type: 'gauge', help: 'Connections of the pool, by what they do', labels: ['state'] },
  db_pool_size: { type: 'gauge', help: 'How many connections the pool may open (DATABASE_POOL_MAX)' },
  db_pool_waiting: { type: 'gauge', help: 'Queries that wait for a connection of the pool' },
  db_listening: {
    type: 'gauge',
    help: '1 while the connection is there on which changes and jobs are heard of (LISTEN)',
    aggregator: 'min',
  },
  db_migrations_pending: {
    type: 'gauge',
    help: 'Migrations of this version that the database has not had',
    aggregator: 'max',
  },
  db_rows_cleaned_total: { type: 'counter', help: 'Expired rows that were deleted, by table', labels: ['table'] },

  redis_command_duration_seconds: {
    type: 'histogram',
    help: 'How long Redis took to answer, by what it was asked for',
    labels: ['purpose', 'command'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25],
  },
  redis_errors_total: {
    type: 'counter',
    help: 'Commands that Redis did not answer in time, or at all',
    labels: ['purpose'],
  },
  redis_up: {
    type: 'gauge',
    help: '1 while the connection to Redis is there; no series without REDIS_URL',
    labels: ['purpose'],
    aggregator: 'min',
  },
  outbound_request_duration_seconds: {
    type: 'histogram',
    help: 'How long others took to answer, by what they were asked for and what became of it',
    labels: ['purpose', 'outcome'],
    buckets: requestBuckets,
  },

  signing_key_age_seconds: {
    type: 'gauge',
    help: 'For how long the key has signed that signs now, by algorithm',
    labels: ['alg'],
    aggregator: 'max',
  },
  signing_key_next_change_seconds: {
    type: 'gauge',
    help: 'Until a key that is published already begins to sign; no series while none waits',
    labels: ['alg'],
    aggregator: 'max',
  },
  jwks_keys: {
    type: 'gauge',
    help: 'Keys in the JWKS by state: next, signing, or retired and there to verify',
    labels: ['state'],
    aggregator: 'max',
  },

  jobs_total: {
    type: 'counter',
    help: 'Jobs that ran, by queue and what became of them',
    labels: ['queue', 'outcome'],
  },
  job_duration_seconds: {
    type: 'histogram',
    help: 'How long jobs ran, by queue',
    labels: ['queue'],
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300],
  },
  jobs_waiting: { type: 'gauge', help: 'Jobs that are due and wait, by queue', labels: ['queue'], aggregator: 'max' },
  jobs_oldest_seconds: {
    type: 'gauge',
    help: 'For how long the oldest job has waited that is due, by queue',
    labels: ['queue'],
    aggregator: 'max',
  },
  samples_age_seconds: {
    type: 'gauge',
    help: 'How old the last count of sessions and jobs is: more than a few minutes mean that no replica works on jobs',
    aggregator: 'max',
  },
  mails_total: { type: 'counter', help: 'Mails, by what became of the attempt to deliver them', labels: ['outcome'] },
  sms_total: {
    type: 'counter',
    help: 'SMS by what became of them: as our provider answered, and as it told us later',
    labels: ['outcome'],
  },

  audit_events_total: {
    type: 'counter',
    help: 'Events of the audit log, by the thing they are about',
    labels: ['thing'],
  },
  build_info: {
    type: 'gauge',
    help: 'Always 1; its labels say what runs',
    labels: ['version', 'node'],
    aggregator: 'first',
  },
} as const satisfies Record<string, Declared>;

export type MetricName = keyof typeof catalogue;
type OfType<Type extends Declared['type']> = {
  [Name in MetricName]: (typeof catalogue)[Name]['type'] extends Type ? Name : never;
}[MetricName];
export type CounterName = OfType<'counter'>;
export type GaugeName = OfType<'gauge'>;
export type HistogramName = OfType<'histogram'>;

/** The declaration of a metric with all its optional members. */
export const declared = (name: MetricName): Declared => catalogue[name];
