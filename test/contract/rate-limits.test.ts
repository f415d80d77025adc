import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { addressKey, createRateLimits, type RateLimits } from '../../adapters/rate-limits.ts';
import { createGuesses, delaySeconds } from '../../src/auth/guesses.ts';
import { createLog } from '../../src/log.ts';
import { limitCounts } from '../../src/observing.ts';
import { eventually } from '../support/requests.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const log = createLog('silent');
/** A Redis that these tests may write to; without it only memory is tested. */
const redisUrl = process.env.TEST_REDIS_URL;

const open: (RateLimits | { close(): void })[] = [];
afterEach(async () => {
  for (const item of open.splice(0)) await item.close();
});

const create = async (url: string | undefined, factor = 1): Promise<RateLimits> => {
  const limits = await createRateLimits({ redisUrl: url, factor, log });
  open.push(limits);
  return limits;
};

/** As `create`, and waits until Redis counts: a connection takes a moment, and memory counts until then. */
const createReady = async (url: string | undefined, factor?: number): Promise<RateLimits> => {
  const limits = await create(url, factor);
  const { tell } = limitCounts;
  let counts = url ? '' : 'memory';
  limitCounts.tell = (where) => {
    counts = where;
  };
  await eventually(async () => {
    if (url) await limits.isHeld('accountDelay', 'nobody');
    return counts === (url ? 'redis' : 'memory');
  }, 'Redis counts').finally(() => {
    limitCounts.tell = tell;
  });
  return limits;
};

const spend = async (limits: RateLimits, times: number, key: string): Promise<number> => {
  let taken = 0;
  for (let count = 0; count < times; count++) {
    await limits.consume('guessAccount', key).then(
      () => taken++,
      () => {},
    );
  }
  return taken;
};

for (const { name, url } of [
  { name: 'memory', url: undefined },
  ...(redisUrl ? [{ name: 'Redis', url: testRedisUrl }] : []),
]) {
  describe(`rate limits in ${name}`, () => {
    it('let five through and refuse the sixth, with the time to wait', async () => {
      const limits = await createReady(url);
      const key = randomUUID();
      expect(await spend(limits, 5, key)).toBe(5);
      const refusal = await limits.consume('guessAccount', key).catch((error) => error);
      expect(refusal).toMatchObject({ status: 429, code: 'too_many_requests' });
      expect(refusal.details.retryAfterSeconds).toBeGreaterThan(890);
      expect(refusal.details.retryAfterSeconds).toBeLessThanOrEqual(900);
    });

    it('count each limit and each key by itself', async () => {
      const limits = await createReady(url);
      const key = randomUUID();
      await spend(limits, 5, key);
      await limits.consume('guessAddress', key);
      await limits.consume('guessAccount', `${key} other`);
    });

    it('let exactly the limit through of many attempts at once', async () => {
      const limits = await createReady(url);
      const key = randomUUID();
      const results = await Promise.allSettled(Array.from({ length: 20 }, () => limits.consume('guessAccount', key)));
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    });

    it('take several points, give points back, and forget', async () => {
      const limits = await createReady(url);
      const key = randomUUID();
      await limits.consume('guessAccount', key, 5);
      await limits.reward('guessAccount', key);
      expect(await spend(limits, 2, key)).toBe(1);
      await limits.reset('guessAccount', key);
      expect(await spend(limits, 6, key)).toBe(5);
    });

    it('say what is left, and take nothing to look', async () => {
      const limits = await createReady(url);
      const key = randomUUID();
      expect(await limits.take('guessAccount', key)).toMatchObject({ limit: 5, remaining: 4, exceeded: false });
      await limits.assertLeft('guessAccount', key);
      await limits.assertLeft('guessAccount', key);
      expect(await limits.take('guessAccount', key)).toMatchObject({ remaining: 3 });
      await spend(limits, 3, key);
      await expect(limits.assertLeft('guessAccount', key)).rejects.toMatchObject({ status: 429 });
      const { exceeded, remaining, resetSeconds } = await limits.take('guessAccount', key);
      expect([exceeded, remaining, resetSeconds > 890]).toEqual([true, 0, true]);
    });

    it('count past the limit', async () => {
      const limits = await createReady(url);
      const key = randomUUID();
      const counts = [];
      for (let count = 0; count < 7; count++) counts.push(await limits.count('guessAccount', key));
      expect(counts).toEqual([-4, -3, -2, -1, 0, 1, 2]);
    });

    it('are held by one of many, whatever the factor, until the time has passed or it is released', async () => {
      const limits = await createReady(url, 1000);
      const key = randomUUID();
      const taken = await Promise.all(Array.from({ length: 20 }, () => limits.hold('accountDelay', key, 4)));
      expect(taken.filter(Boolean)).toHaveLength(1);
      expect(await limits.isHeld('accountDelay', key)).toBe(true);
      expect(await limits.hold('accountDelay', key, 60)).toBe(false);
      await eventually(async () => !(await limits.isHeld('accountDelay', key)), 'the time has passed');
      expect(await limits.hold('accountDelay', key, 60)).toBe(true);
      await limits.release('accountDelay', key);
      expect(await limits.hold('accountDelay', key, 60)).toBe(true);
    });

    it('try eleven of a hundred guesses that come from everywhere at the same time, and lock once', async () => {
      const guesses = createGuesses(await createReady(url), addressKey);
      const email = `${randomUUID()}@example.com`;
      const guess = (n: number) => ({ email, address: `198.18.0.${n}`, device: { kind: 'unknown' as const } });
      const begun = performance.now();
      const attempts = await Promise.all(Array.from({ length: 100 }, (_, n) => guesses.begin(guess(n))));
      const seconds = (performance.now() - begun) / 1000;
      // On a machine that takes longer than the first wait for them all, as many more as waits are over by then.
      const late = [1, 3, 7, 15].filter((ends) => seconds >= ends).length;
      const tried = attempts.filter(({ held }) => !held).length;
      expect(tried).toBeGreaterThanOrEqual(11);
      expect(tried).toBeLessThanOrEqual(11 + late);
      expect(attempts.filter(({ held }) => held === 'delayed')).toHaveLength(100 - tried);
      expect(attempts.filter(({ locks }) => locks)).toHaveLength(1);
      expect((await guesses.begin(guess(101))).held).toBe('locked');
      expect((await guesses.begin({ ...guess(102), device: { kind: 'known' } })).held).toBeUndefined();
      await guesses.release(email);
      expect((await guesses.begin(guess(103))).held).toBeUndefined();
    });

    it('give back what was not tried', async () => {
      const guesses = createGuesses(await createReady(url), addressKey);
      const email = `${randomUUID()}@example.com`;
      for (let n = 0; n < 30; n++) {
        const attempt = await guesses.begin({ email, address: '198.18.1.1', device: { kind: 'unknown' } });
        expect(attempt.held).toBeUndefined();
        await attempt.undo();
      }
    });

    it('are multiplied by the factor, and never zero', async () => {
      expect(await spend(await createReady(url, 2), 20, randomUUID())).toBe(10);
      expect(await spend(await createReady(url, 0.01), 20, randomUUID())).toBe(1);
    });
  });
}

it('go on in memory when nothing answers at REDIS_URL', async () => {
  const limits = await create('redis://127.0.0.1:1');
  const startedAt = performance.now();
  expect(await spend(limits, 6, 'key')).toBe(5);
  expect(performance.now() - startedAt).toBeLessThan(5000);
});

describe.runIf(redisUrl)('with a Redis that vanishes', () => {
  /** A Redis that can be cut off, or made to hang. */
  const startProxy = async () => {
    const { hostname, port } = new URL(redisUrl ?? '');
    const sockets = new Set<Socket>();
    let hanging = false;
    const server = createServer((client) => {
      const upstream = connectTcp(Number(port || 6379), hostname);
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(from);
        from.on('data', (data) => hanging || to.write(data));
        from.on('close', () => to.destroy());
        from.on('error', () => {});
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const cut = () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    };
    open.push({ close: cut });
    return {
      url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      cut,
      hang: () => {
        hanging = true;
      },
    };
  };

  it('count in memory after the connection breaks', async () => {
    const proxy = await startProxy();
    const limits = await createReady(proxy.url);
    await limits.consume('guessAccount', randomUUID());
    proxy.cut();
    const startedAt = performance.now();
    expect(await spend(limits, 6, randomUUID())).toBe(5);
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it('do not wait for a server that has stopped answering', async () => {
    const proxy = await startProxy();
    const limits = await createReady(proxy.url);
    await limits.consume('guessAccount', randomUUID());
    proxy.hang();
    const startedAt = performance.now();
    await limits.consume('guessAccount', randomUUID());
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it('of failures let each further replica look at one more than the limit says, and none at a second', async () => {
    const replicas = [
      await createReady(testRedisUrl),
      await createReady(testRedisUrl),
      await createReady(testRedisUrl),
    ];
    const key = `client ${randomUUID()}`;
    /** How many wrong secrets in a row a replica looks at, until it refuses to. */
    const guess = async ({ assertUnspent, count }: RateLimits, times: number): Promise<number> => {
      for (let looked = 0; looked < times; looked++) {
        try {
          assertUnspent('clientFailures', () => key);
        } catch (error) {
          expect(error).toMatchObject({ status: 429 });
          return looked;
        }
        await count('clientFailures', key);
      }
      return times;
    };
    const [one, two, three] = replicas as [RateLimits, RateLimits, RateLimits];
    // Whoever has been asked before learns no more by that than whoever has not.
    expect(await guess(three, 1)).toBe(1);
    expect(await guess(one, 100)).toBe(49);
    expect(await guess(two, 100)).toBe(1);
    expect(await guess(three, 100)).toBe(1);
    for (const replica of replicas) expect(await guess(replica, 100)).toBe(0);
  });

  it('share the count among replicas, and store no key in clear', async () => {
    const [one, two] = [await createReady(testRedisUrl), await createReady(testRedisUrl)];
    const key = `${randomUUID()} ada@example.com 192.0.2.7`;
    expect((await spend(one, 3, key)) + (await spend(two, 3, key))).toBe(5);
    const redis = new Redis(redisUrl ?? '');
    const keys = await redis.keys('countersign:limit:*');
    redis.disconnect();
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.join()).not.toMatch(/ada@example|192\.0\.2\.7/);
  });
});

it('make the next guess wait for 1, 2, 4 … seconds, and never for more than 15 minutes', () => {
  expect([1, 2, 3, 10, 11, 50, 5000].map(delaySeconds)).toEqual([1, 2, 4, 512, 900, 900, 900]);
});
