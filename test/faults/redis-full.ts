/** Redis is full, and evicts nothing (`maxmemory-policy noeviction`): every write is refused. */
import { sleep, trial } from './frame.ts';
import { withoutRedis } from './redis-scene.ts';

await trial(import.meta.filename, (t) =>
  withoutRedis(t, async (redis) => {
    await redis.command('config', 'set', 'maxmemory-policy', 'noeviction');
    await redis.command('config', 'set', 'maxmemory', '1');
    const refused = await redis.command('set', 'anything', 'at all').catch(({ message }: Error) => message);
    t.check(/OOM/.test(refused), `Redis took a write: ${refused}`);
    await sleep(t.short ? 4000 : 30_000);
    await redis.command('config', 'set', 'maxmemory', '0');
    await sleep(2000);
  }),
);
