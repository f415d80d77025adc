/** Puts together what requests ask who may do what: caches, and how they hear of changes. */
import { createAccessChannel, createClock } from '../adapters/access-channel.ts';
import type { Database } from '../db/connect.ts';
import { type ClientAccess, createClientAccess } from './clients/client-access.ts';
import type { Config } from './config.ts';
import type { Log } from './log.ts';
import { cacheStates } from './observing.ts';
import { createAccess } from './roles/access.ts';
import { type CacheCount, createAccessCache } from './roles/access-cache.ts';
import type { Secrets } from './secrets.ts';

interface CachedAccessParts {
  config: Pick<Config, 'REDIS_URL' | 'REDIS_KEY_PREFIX'>;
  database: Database;
  secrets: Secrets;
  log: Log;
  count: CacheCount;
}

/** @throws when the database cannot be listened to */
export const createCachedAccess = async ({
  config,
  database,
  secrets,
  log,
  count,
}: CachedAccessParts): Promise<ClientAccess & { close(): Promise<void> }> => {
  const clock = createClock();
  const { REDIS_URL: url, REDIS_KEY_PREFIX: keyPrefix } = config;
  const shared = url
    ? (await import('../adapters/access-redis.ts')).createRedisStore({ url, keyPrefix, secrets, log })
    : undefined;
  const channel = createAccessChannel(database, clock, (isLost) => {
    cacheStates.tell?.(!isLost);
    if (isLost) log.warn('changes of access are not heard of in time: each request asks the database until they are');
    else log.info('changes of access are heard of again');
  });
  const cache = createAccessCache({ channel, shared, clock, count });
  const stopListening = await database.listen('access', cache.drop);
  return {
    ...createClientAccess(createAccess(cache, database.db), database.db),
    close: async () => {
      shared?.close();
      await stopListening();
    },
  };
};
