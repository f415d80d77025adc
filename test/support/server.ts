/** A whole service on a port of its own, over a database of its own, for black-box tests. */
import { v7 as uuid } from 'uuid';
import { type App, createApp } from '../../src/app.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { createClient, operatorPowers } from '../../src/clients/clients.commands.ts';
import { loadConfig } from '../../src/config.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog, type Log } from '../../src/log.ts';
import { createTestDatabase, onPostgres, type TestDatabase } from './database.ts';
import { defaultSettings } from './default-settings.ts';
import { freePort } from './ports.ts';
import { recordQueries } from './query-shapes.ts';
import { countingInRedis, testRedisUrl } from './test-redis.ts';

export interface TestServer {
  app: App;
  database: TestDatabase;
  issuer: string;
  /** Where it listens: the issuer's own origin, unless a test gave JWT_ISSUER. */
  address: string;
  /** Registers a client; the answer is RFC 7591 metadata with the secret. */
  client(metadata: Record<string, unknown>): Promise<RegisteredClient>;
  /** Mails delivered so far to the address, the newest first; waits until there is one. */
  mail(to: string, subject?: RegExp): Promise<{ subject: string; text: string; html: string; links: string[] }>;
  stop(): Promise<void>;
}

export interface RegisteredClient {
  client_id: string;
  client_secret?: string;
  redirect_uris: string[];
  [member: string]: unknown;
}

export { defaultSettings, freePort };

export const startServer = async (
  settings: Record<string, string> = {},
  /**
   * `host`: to a browser `127.0.0.1` is another site than `localhost`, with cookies of its own.
   * `replicas`: so many apps behind a proxy that gives each request to the next one, on PostgreSQL.
   */
  options: { poolMax?: number; log?: Log; host?: 'localhost' | '127.0.0.1'; replicas?: number } = {},
): Promise<TestServer> => {
  const database = await createTestDatabase(options.poolMax);
  const wanted = await freePort();
  const origin = `http://${options.host ?? 'localhost'}:${wanted}`;
  const config = loadConfig({
    ...defaultSettings,
    JWT_ISSUER: origin,
    ...(testRedisUrl ? { REDIS_URL: testRedisUrl, REDIS_KEY_PREFIX: `test:${uuid()}:` } : {}),
    ...settings,
  });
  const log = options.log ?? createLog(config.LOG_LEVEL);
  const recorded = await recordQueries(database);
  const app = await countingInRedis(config.REDIS_URL, () => createApp({ config, database: recorded, log }));
  const replicas = onPostgres ? (options.replicas ?? Number(process.env.TEST_REPLICAS ?? 1)) : 1;
  const { server, port } = await listen(app.handler, replicas > 1 ? 0 : wanted, '127.0.0.1');
  // A test may be busy with something else for longer than a connection may be idle.
  server.keepAliveTimeout = 60_000;
  await app.jobs.start();
  let stopReplicas = async (): Promise<void> => {};

  const started: TestServer = {
    app,
    database,
    issuer: config.JWT_ISSUER,
    address: origin,
    client: async (metadata) =>
      (await createClient(
        database.db,
        operator,
        operatorPowers,
        metadata,
        app.provider.validateClient,
      )) as RegisteredClient,
    mail: async (to, subject = /./) => {
      for (let attempt = 0; attempt < 400; attempt++) {
        const found = app.mailbox?.messages().find((message) => message.to === to && subject.test(message.subject));
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error(`no mail to ${to} with a subject like ${subject}`);
    },
    stop: async () => {
      await stopReplicas();
      app.drain();
      await close(server);
      await app.stop();
      await database.close();
      await database.drop();
    },
  };
  if (replicas > 1) {
    const { startReplicas } = await import('./replicated.ts');
    stopReplicas = await startReplicas(started, `http://127.0.0.1:${port}`, wanted, replicas - 1, settings);
  }
  return started;
};
