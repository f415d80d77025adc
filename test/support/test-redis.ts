/** The Redis of a run on services, which a busy machine must not be taken for a dead one. */
import { redisConnections } from '../../src/observing.ts';

/**
 * Without a time limit for commands, past which each process counts and remembers for itself: to ioredis what is no number is none,
 * and what the URL says counts.
 */
export const testRedisUrl = process.env.TEST_REDIS_URL && `${process.env.TEST_REDIS_URL}?commandTimeout=none`;

const waiting: (() => void)[] = [];
let watched = false;

/**
 * Makes an app, and waits until its limits are counted in Redis, if it has that one: a connection takes a moment, and memory counts
 * until then.
 */
export const countingInRedis = async <App>(url: string | undefined, make: () => Promise<App>): Promise<App> => {
  if (!url || url !== testRedisUrl) return make();
  if (!watched) redisConnections.watch((purpose, isUp) => purpose === 'limits' && isUp && waiting.shift()?.());
  watched = true;
  const { promise, resolve } = Promise.withResolvers<void>();
  waiting.push(resolve);
  try {
    const app = await make();
    await promise;
    return app;
  } finally {
    if (waiting.includes(resolve)) waiting.splice(waiting.indexOf(resolve), 1);
  }
};
