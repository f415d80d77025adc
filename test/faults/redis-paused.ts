/** Redis freezes: it takes commands and answers none. A request waits for one command at the most, and few requests do at all. */
import { ask } from './clients.ts';
import { sleep, trial } from './frame.ts';
import { withoutRedis } from './redis-scene.ts';

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

await trial(import.meta.filename, (t) =>
  withoutRedis(t, async (redis, { service, people }) => {
    const measure = async () => {
      const times: number[] = [];
      for (let count = 0; count < 15; count++) {
        const headers = { authorization: `Bearer ${people[0]?.accessToken}` };
        times.push((await ask(`${service.address}/auth/me`, { headers })).ms);
        await sleep(50);
      }
      return median(times);
    };
    const before = await measure();
    redis.pause();
    await sleep(1000);
    // More than once, since a busy machine has moments; whoever waits for Redis does so each time.
    let during = await measure();
    for (let again = 0; again < 3 && during >= before + 200; again++) during = Math.min(during, await measure());
    t.note(`the median of /auth/me: ${before.toFixed(1)} ms with Redis, ${during.toFixed(1)} ms while it is frozen`);
    // A command's limit is 250 ms: whoever waits for one shows in the median.
    t.check(during < before + 200, `requests wait for Redis: ${during.toFixed(0)} ms instead of ${before.toFixed(0)}`);
    await sleep(t.short ? 2000 : 60_000);
    redis.resume();
    await sleep(2000);
  }),
);
