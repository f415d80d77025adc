/** Serves: database, app, listen, stop. */
import { hostname } from 'node:os';
import { registerWithConsul } from '../adapters/consul.ts';
import { connect, type Database } from '../db/connect.ts';
import { migrate, pendingMigrations } from '../db/migrate.ts';
import { type App, createApp } from './app.ts';
import { type Config, isDevelopment } from './config.ts';
import { close, listen } from './http/server.ts';
import type { Log } from './log.ts';

/** PostgreSQL, or the embedded database, which one process alone can open. */
export const openDatabase = (config: Config): Promise<Database> => {
  const { DATABASE_URL: url, DATABASE_POOL_MAX: poolMax, DATABASE_STATEMENT_TIMEOUT: statementSeconds } = config;
  return url ? connect({ url, poolMax, statementSeconds }) : connect({ directory: `${config.DATA_DIR}/database` });
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

/** Tells Consul where this instance is: by the name that the machine has, unless HOST says otherwise. */
const register = (address: string, { HOST, TLS_CERT_PATH, JWT_ISSUER }: Config, port: number, log: Log) => {
  const host = HOST ?? hostname();
  return registerWithConsul({
    address,
    name: 'countersign',
    id: `countersign-${host}-${port}`,
    host,
    port,
    healthPath: '/health/ready',
    ...(TLS_CERT_PATH ? { tlsName: new URL(JWT_ISSUER).hostname } : {}),
    log,
  });
};

/** Starts the service. @returns the app, its port, and how to stop it: requests in flight finish first */
export const serve = async (config: Config, log: Log): Promise<{ app: App; port: number; stop(): Promise<void> }> => {
  const database = await openDatabase(config);
  const servers: Awaited<ReturnType<typeof listen>>[] = [];
  try {
    await prepareSchema(config, database);
    const app = await createApp({ config, database, log });
    const host = config.HOST ?? (isDevelopment(config) ? '127.0.0.1' : undefined);
    servers.push(await listen(app.koa.callback(), config.PORT, host, tlsOptions(config, log, false)));
    const port = servers[0]?.port as number;
    if (config.MTLS_PORT)
      servers.push(await listen(app.koa.callback(), config.MTLS_PORT, host, tlsOptions(config, log, true)));
    await app.jobs.start();
    const deregister = config.CONSUL_ADDR ? await register(config.CONSUL_ADDR, config, port, log) : undefined;
    const stop = async () => {
      app.drain();
      await deregister?.();
      await Promise.all(servers.map(({ server }) => close(server)));
      await app.stop();
      await database.close();
    };
    return { app, port, stop };
  } catch (error) {
    for (const { server } of servers) server.close();
    await database.close();
    throw error;
  }
};
