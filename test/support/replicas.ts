/** Further replicas of a test server: apps of their own in front of the same database. */
import { connect, type Database } from '../../db/connect.ts';
import { createListening } from '../../db/listening.ts';
import { type App, createApp } from '../../src/app.ts';
import { loadConfig } from '../../src/config.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { defaultSettings, type TestServer } from './server.ts';
import { countingInRedis } from './test-redis.ts';

export interface Replica {
  app: App;
  database: Database;
  /** Where it listens; what it issues is in the name of the server that it is a replica of. */
  address: string;
  stop(): Promise<void>;
}

/**
 * Starts a replica without jobs, on PostgreSQL. It shares the server's Redis, if that has one.
 * @param listenUrl what it listens to the database by, such as a relay's address; the database's own unless told otherwise
 */
export const startReplica = async (
  { issuer, database: { url }, app: original }: TestServer,
  { listenUrl, ...settings }: { listenUrl?: string } & Record<string, string> = {},
): Promise<Replica> => {
  if (!url) throw new Error('replicas need PostgreSQL');
  const database = { ...(await connect({ url, poolMax: 5 })), ...(listenUrl ? createListening(listenUrl) : {}) };
  const { REDIS_URL, REDIS_KEY_PREFIX } = original.config;
  const config = loadConfig({
    ...defaultSettings,
    JWT_ISSUER: issuer,
    ...(REDIS_URL ? { REDIS_URL, REDIS_KEY_PREFIX } : {}),
    ...settings,
  });
  const app = await countingInRedis(config.REDIS_URL, () => createApp({ config, database, log: createLog('silent') }));
  const { server, port } = await listen(app.handler, 0, '127.0.0.1');
  // A test may be busy with something else for longer than a connection may be idle.
  server.keepAliveTimeout = 60_000;
  return {
    app,
    database,
    address: `http://127.0.0.1:${port}`,
    stop: async () => {
      app.drain();
      await close(server);
      await app.stop();
      await database.close();
    },
  };
};
