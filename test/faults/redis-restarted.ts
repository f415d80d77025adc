/** Redis is restarted under load, and comes back empty. */
import { sleep, trial } from './frame.ts';
import { withoutRedis } from './redis-scene.ts';

await trial(import.meta.filename, (t) =>
  withoutRedis(t, async (redis) => {
    for (let round = 0; round < (t.short ? 1 : 5); round++) {
      await redis.stop('SIGTERM');
      await sleep(300);
      await redis.start();
      await sleep(1500);
    }
  }),
);
