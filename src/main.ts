/** Serves: database, app, listen, stop. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Database } from '../db/connect.ts';
import { migrate, pendingMigrations } from '../db/migrate.ts';
import { type App, createApp } from './app.ts';
import type { Ending } from './cluster-messages.ts';
import { type Config, isDevelopment } from './config.ts';
import { close, endKeepAlive, listen } from './http/server.ts';
import type { Log } from './log.ts';
import type { JoinMetrics } from './metrics/metrics.ts';
import { drainSecondsOf } from './process-settings.ts';

/** PostgreSQL, or the embedded database, which one process alone can open. */
export const openDatabase = (config: Config, log?: Log): Promise<Database> => {
  const { DATABASE_URL: url, DATABASE_POOL_MAX: poolMax, DATABASE_STATEMENT_TIMEOUT: statementSeconds } = config;
  const { DATABASE_LISTEN_URL: listenUrl } = config;
  const tell = (isAway: boolean) =>
    isAway ? log?.error('PostgreSQL does not answer: requests are refused') : log?.warn('PostgreSQL answers again');
  return url
    ? connect({ url, ...(listenUrl ? { listenUrl } : {}), poolMax, statementSeconds, tell })
    : connect({ directory: `${config.DATA_DIR}/database` });
};

/**
 * As `openDatabase`, and asks it something.
 * @throws Error that names the setting and says what to do, since what drivers say is as short as "connect ECONNREFUSED"
 */
export const reachDatabase = async (config: Config, log?: Log): Promise<Database> => {
  let database: Database | undefined;
  try {
    database = await openDatabase(config, log);
    await database.db.raw('select 1');
    return database;
  } catch (error) {
    await database?.close().catch(() => {});
    const { databaseAdvice, databaseFailure } = await import('./doctor/database-failure.ts');
    const message = `The database cannot be used. ${databaseFailure(config, error)}\n  ${databaseAdvice(config, error)}.`;
    throw new Error(message, { cause: error });
  }
};

/** Development brings the schema up to date by itself; elsewhere that is a step of its own. */
export const prepareSchema = async (config: Config, { db }: Database): Promise<void> => {
  if (isDevelopment(config)) await migrate(db);
  else if ((await pendingMigrations(db)).length)
    throw new Error('The database schema is not up to date: run `npm run migrate-db`.');
};

/** How TLS is spoken here; undefined where that is a proxy's work. */
const tlsOptions = ({ TLS_CERT_PATH, TLS_KEY_PATH }: Config, log: Log, asksCertificate: boolean) =>
  TLS_CERT_PATH && TLS_KEY_PATH ? { certPath: TLS_CERT_PATH, keyPath: TLS_KEY_PATH, asksCertificate, log } : undefined;

/** A wait that can be cut short. */
const createPause = () => {
  const cut = new AbortController();
  return {
    cut: () => cut.abort(),
    wait: (seconds: number) => sleep(seconds * 1000, undefined, { signal: cut.signal }).catch(() => {}),
  };
};

export interface Running {
  app: App;
  port: number;
  /** Requests in flight finish first. May be asked again, with `now`, which cuts the time for proxies short. */
  stop(ending?: Ending): Promise<void>;
}

/** Starts the service. @param joinMetrics of whose measures `/metrics` tells; this process's own unless given */
export const serve = async (config: Config, log: Log, joinMetrics?: JoinMetrics): Promise<Running> => {
  const database = await reachDatabase(config, log);
  const servers: Awaited<ReturnType<typeof listen>>[] = [];
  try {
    await prepareSchema(config, database);
    const app = await createApp({ config, database, log, joinMetrics });
    const host = config.HOST ?? (isDevelopment(config) ? '127.0.0.1' : undefined);
    servers.push(await listen(app.handler, config.PORT, host, tlsOptions(config, log, false), config));
    const port = servers[0]?.port as number;
    if (config.MTLS_PORT)
      servers.push(await listen(app.handler, config.MTLS_PORT, host, tlsOptions(config, log, true), config));
    if (config.METRICS_PORT) servers.push(await listen(app.handler, config.METRICS_PORT, host, undefined, config));
    await app.jobs.start();
    const pause = createPause();
    const end = async (ending: Ending) => {
      if (ending !== 'replaced') app.drain();
      for (const { server } of servers) endKeepAlive(server);
      if (ending !== 'now') await pause.wait(drainSecondsOf(config));
      await Promise.all(servers.map(({ server }) => close(server)));
      await app.stop();
      await database.close();
    };
    let ended: Promise<void> | undefined;
    const stop = (ending: Ending = 'now'): Promise<void> => {
      if (ending === 'now') pause.cut();
      ended ??= end(ending);
      return ended;
    };
    return { app, port, stop };
  } catch (error) {
    for (const { server } of servers) server.close();
    await database.close();
    throw error;
  }
};
