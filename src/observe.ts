/** Metrics and traces of an app, as `app.ts` puts them together. */
import { readFileSync } from 'node:fs';
import type Koa from 'koa';
import type { Jobs } from '../adapters/jobs.ts';
import type { Database } from '../db/connect.ts';
import { pendingMigrations } from '../db/migrate.ts';
import type { SignInDeps } from './auth/proceed.commands.ts';
import type { Config } from './config.ts';
import type { Log } from './log.ts';
import { exposeMetrics } from './metrics/expose.ts';
import { createMetrics, type JoinMetrics, type Metrics } from './metrics/metrics.ts';
import { takeSamples } from './metrics/samples.commands.ts';
import { findCounted, listKeyStates } from './metrics/samples.queries.ts';
import { type Pool, watchProcess } from './metrics/watch.ts';
import { signInMethodOf } from './organizations/sign-in-rules.queries.ts';
import { restClientId } from './provider/issue-tokens.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** How often sessions and waiting jobs are counted, by one replica for all. */
const sampleSeconds = 60;

export interface Observed {
  metrics: Metrics;
  countSignIn: SignInDeps['countSignIn'];
  /** … where a password is shown at the token endpoint. */
  countTokenSignIn: SignInDeps['countSignIn'];
  /** Traces a request; undefined where there are no traces. */
  trace: Koa.Middleware | undefined;
  /** Serves `/metrics`. */
  expose: Koa.Middleware;
  /** Begins to count what one replica counts for all. */
  work(jobs: Jobs): Promise<void>;
  /** What is left to send is sent, for a short while. */
  stop(): Promise<void>;
}

/** @param joinMetrics of whose measures `/metrics` tells */
export const observe = async ({
  config,
  database: { db },
  log,
  joinMetrics = (own) => own,
}: {
  config: Config;
  database: Pick<Database, 'db'>;
  log: Log;
  joinMetrics?: JoinMetrics | undefined;
}): Promise<Observed> => {
  const metrics = createMetrics(version);
  const pool = () => (db.client as { pool?: Pool }).pool;
  const endWatch = config.PROMETHEUS_ENABLED ? watchProcess(metrics.registry, pool) : undefined;
  metrics.readSamples(async () => ({
    counted: await findCounted(db),
    keys: config.JWKS_PRIVATE_KEY_PATH ? [] : await listKeyStates(db),
    migrationsPending: (await pendingMigrations(db)).length,
  }));
  // Its packages are loaded where it is wanted, and nowhere else.
  const tracing = config.OTEL_EXPORTER_OTLP_ENDPOINT
    ? (await import('../adapters/tracing.ts')).startTracing(config, version, log)
    : undefined;

  const countSignIn = (outcome: string, amr: readonly string[], surface: 'page' | 'rest' | 'token'): void =>
    metrics.countSignIn(signInMethodOf(amr).replace('-', '_'), surface, outcome);

  return {
    metrics,
    countSignIn: (outcome, { amr, clientId }) => countSignIn(outcome, amr, clientId === restClientId ? 'rest' : 'page'),
    countTokenSignIn: (outcome, { amr }) => countSignIn(outcome, amr, 'token'),
    trace: tracing?.middleware,
    expose: exposeMetrics({
      enabled: config.PROMETHEUS_ENABLED,
      port: config.METRICS_PORT,
      token: config.METRICS_TOKEN,
      expose: joinMetrics(metrics).expose,
    }),
    work: (jobs) => jobs.every('samples', sampleSeconds, () => takeSamples(db)),
    stop: async () => {
      endWatch?.();
      await tracing?.stop();
    },
  };
};
