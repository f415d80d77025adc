/** The usual scene with Redis, which is taken away in some way: nobody but limits and caches may notice. */
import { ask, fine, newPerson, type Reply } from './clients.ts';
import { sleep, type Trial, until } from './frame.ts';
import { type RedisMachine, startRedis } from './machinery.ts';
import { type Scene, startScene } from './scene.ts';

/** How much longer the slowest answer may take without Redis than what a busy machine takes anyway, in milliseconds. */
const longerMs = 3000;

/** @param away takes Redis away and gives it back; runs under load, in which no request may fail */
export const withoutRedis = async (
  t: Trial,
  away: (redis: RedisMachine, scene: Scene) => Promise<void>,
  ...settings: string[]
): Promise<void> => {
  const redis = await startRedis(t, ...settings);
  // Counts in limits, reads and writes what is cached of people, and is what takes longest.
  const register = async (address: string): Promise<Reply> => {
    const { email, password } = await newPerson(address);
    return ask(`${address}/auth/login`, { json: { email, password } });
  };
  const scene = await startScene(t, {
    settings: { REDIS_URL: redis.url },
    others: { register },
    otherPauseMs: 300,
  });
  const usual: number[] = [];
  for (let count = 0; count < 5; count++) usual.push((await register(scene.service.address)).ms);
  const withinMs = Math.max(...usual) + longerMs;
  scene.traffic.phase('without Redis', fine, withinMs);
  await away(redis, scene);
  scene.traffic.phase('after', fine, withinMs);
  await sleep(t.short ? 1500 : 5000);
  t.check((await redis.command('ping')).trim() === 'PONG', 'Redis is not back');
  await until('Redis is used again', 30, async () => /^countersign:/m.test(await redis.command('--scan')));
  await scene.finish();
};
