/** Somebody empties Redis, again and again. */
import { sleep, trial } from './frame.ts';
import { withoutRedis } from './redis-scene.ts';

await trial(import.meta.filename, (t) =>
  withoutRedis(t, async (redis) => {
    for (let round = 0; round < (t.short ? 10 : 100); round++) {
      await redis.command('flushall');
      await sleep(200);
    }
    await sleep(500);
  }),
);
