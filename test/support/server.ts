/** A whole service on a port of its own, over a database of its own, for black-box tests. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { v7 as uuid } from 'uuid';
import { type App, createApp } from '../../src/app.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { createClient, operatorPowers } from '../../src/clients/clients.commands.ts';
import { loadConfig } from '../../src/config.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog, type Log } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

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

/** A port that is free now. */
export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** Limits are off unless a test sets them; nothing is logged. */
export const defaultSettings = {
  NODE_ENV: 'test',
  ENCRYPTION_MASTER_KEY: 'bXkgdGVzdHMgYXJlIG5vdCBzZWNyZXQgYXQgYWxsISE=',
  RATE_LIMIT_FACTOR: '1000',
  LOG_LEVEL: 'silent',
  OUTBOUND_ALLOW: '127.0.0.1,localhost',
  HASH_QUEUE: '1000',
};

export const startServer = async (
  settings: Record<string, string> = {},
  /** `host`: to a browser `127.0.0.1` is another site than `localhost`, with cookies of its own. */
  options: { poolMax?: number; log?: Log; host?: 'localhost' | '127.0.0.1' } = {},
): Promise<TestServer> => {
  const database = await createTestDatabase(options.poolMax);
  const wanted = await freePort();
  const origin = `http://${options.host ?? 'localhost'}:${wanted}`;
  const config = loadConfig({
    ...defaultSettings,
    JWT_ISSUER: origin,
    ...(process.env.TEST_REDIS_URL
      ? { REDIS_URL: process.env.TEST_REDIS_URL, REDIS_KEY_PREFIX: `test:${uuid()}:` }
      : {}),
    ...settings,
  });
  const app = await createApp({ config, database, log: options.log ?? createLog(config.LOG_LEVEL) });
  const { server } = await listen(app.koa.callback(), wanted, '127.0.0.1');
  await app.jobs.start();

  return {
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
      for (let attempt = 0; attempt < 100; attempt++) {
        const found = app.mailbox?.messages().find((message) => message.to === to && subject.test(message.subject));
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error(`no mail to ${to} with a subject like ${subject}`);
    },
    stop: async () => {
      app.drain();
      await close(server);
      await app.stop();
      await database.close();
      await database.drop();
    },
  };
};
