/** Redis is gone for a minute. */
import { sleep, trial } from './frame.ts';
import { withoutRedis } from './redis-scene.ts';

await trial(import.meta.filename, (t) =>
  withoutRedis(t, async (redis) => {
    await redis.stop('SIGKILL');
    await sleep(t.short ? 4000 : 60_000);
    await redis.start();
    // A connection is tried again every five seconds at the least.
    await sleep(5500);
  }),
);
