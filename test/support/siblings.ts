/** A further app in front of a test server's database, whichever it is: a replica, or the service with other settings. */
import { connect } from '../../db/connect.ts';
import { type App, createApp } from '../../src/app.ts';
import { loadConfig } from '../../src/config.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { defaultSettings } from './default-settings.ts';
import type { TestServer } from './server.ts';
import { countingInRedis } from './test-redis.ts';

export interface Sibling {
  app: App;
  /** Where it listens; what it issues is in the name of the server that it stands beside. */
  address: string;
  stop(): Promise<void>;
}

/** On the embedded database, which one process alone can open, it shares the server's connection. */
export const startSibling = async (
  { issuer, database: shared, app: original }: TestServer,
  settings: Record<string, string> = {},
): Promise<Sibling> => {
  const own = shared.url ? await connect({ url: shared.url, poolMax: 5 }) : undefined;
  const { REDIS_URL, REDIS_KEY_PREFIX } = original.config;
  const config = loadConfig({
    ...defaultSettings,
    JWT_ISSUER: issuer,
    ...(REDIS_URL ? { REDIS_URL, REDIS_KEY_PREFIX } : {}),
    ...settings,
  });
  try {
    const database = own ?? shared;
    const app = await countingInRedis(config.REDIS_URL, () =>
      createApp({ config, database, log: createLog('silent') }),
    );
    const { server, port } = await listen(app.handler, 0, '127.0.0.1');
    // A test may be busy with something else for longer than a connection may be idle.
    server.keepAliveTimeout = 60_000;
    await app.jobs.start();
    const stop = async () => {
      app.drain();
      await close(server);
      await app.stop();
      await own?.close();
    };
    return { app, address: `http://127.0.0.1:${port}`, stop };
  } catch (error) {
    await own?.close();
    throw error;
  }
};
