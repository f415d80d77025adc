/** What `src/roles/access-cache.ts` promises, whatever it remembers things in: memory alone, or Redis besides. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createRedisStore } from '../../adapters/access-redis.ts';
import { connectRedis } from '../../adapters/redis.ts';
import { createLog } from '../../src/log.ts';
import { type AccessCache, createAccessCache, type SharedStore, type Shelf } from '../../src/roles/access-cache.ts';
import { createSecrets } from '../../src/secrets.ts';
import { openRelay, type Relay } from '../support/relay.ts';
import { eventually } from '../support/requests.ts';
import { defaultSettings } from '../support/server.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const redisUrl = process.env.TEST_REDIS_URL;
const log = createLog('silent');
const secrets = createSecrets(defaultSettings.ENCRYPTION_MASTER_KEY);

interface Thing {
  value: number;
  lastsMs?: number;
}

/** A replica with a cache of its own; `world` is the database. */
interface Replica {
  cache: AccessCache;
  shelf: Shelf<Thing>;
  now: number;
  isProven: boolean;
  /** What it asked the database for, and what its answers wait for. */
  loads: string[];
  gate: Promise<void>;
  counts: Record<string, number>;
  get(id?: string): Promise<number | undefined>;
  peek(id?: string): number | undefined;
}

const world = new Map<string, Thing>();

const createReplica = (shared?: SharedStore): Replica => {
  const counts: Record<string, number> = {};
  const cache = createAccessCache({
    channel: { isProven: () => replica.isProven, prove: async () => replica.isProven },
    shared,
    clock: () => replica.now,
    count: (_shelf, layer, outcome) => {
      counts[`${layer} ${outcome}`] = (counts[`${layer} ${outcome}`] ?? 0) + 1;
    },
  });
  const shelf = cache.shelf<Thing>({
    name: 'thing',
    max: 100,
    shared: true,
    changesInMs: ({ lastsMs }) => lastsMs,
  });
  const load = async (id: string): Promise<Thing | undefined> => {
    replica.loads.push(id);
    // The answer is of now, however long it takes.
    const answer = world.get(id);
    await replica.gate;
    return answer && { ...answer };
  };
  const replica: Replica = {
    ...{ cache, shelf, now: 1, isProven: true, loads: [], gate: Promise.resolve(), counts },
    get: async (id = 'one') => (await shelf.get(id, () => load(id)))?.value,
    peek: (id = 'one') => shelf.peek(id)?.value,
  };
  return replica;
};

const hold = (replica: Replica) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  replica.gate = promise;
  return () => {
    replica.gate = Promise.resolve();
    resolve();
  };
};
const settle = (ms = 30) => new Promise((resolve) => setTimeout(resolve, ms));

const backends: [string, ((prefix: string) => SharedStore & { close(): void }) | undefined][] = [
  ['memory', undefined],
  ...(redisUrl
    ? ([
        ['Redis', (keyPrefix: string) => createRedisStore({ url: testRedisUrl as string, keyPrefix, secrets, log })],
      ] as [string, (prefix: string) => SharedStore & { close(): void }][])
    : []),
];

describe.each(backends)('what is remembered in %s', (_name, createStore) => {
  let stores: (SharedStore & { close(): void })[] = [];
  let a: Replica;
  let b: Replica;
  let count = 0;
  beforeEach(async () => {
    for (const store of stores) store.close();
    const prefix = `test:${process.pid}:${Date.now()}:${count++}:`;
    stores = createStore ? [createStore(prefix), createStore(prefix)] : [];
    [a, b] = [createReplica(stores[0]), createReplica(stores[1])];
    world.clear();
    world.set('one', { value: 1 });
    world.set('two', { value: 2 });
    for (const store of stores)
      await eventually(async () => (await store.take('ready')) !== undefined, 'Redis has been told to forget');
  });
  afterAll(() => {
    for (const store of stores) store.close();
  });

  it('is asked once for what many ask at the same time, and not again', async () => {
    expect(await Promise.all([a.get(), a.get(), a.get()])).toEqual([1, 1, 1]);
    expect(await a.get()).toBe(1);
    expect(a.loads).toEqual(['one']);
    expect(a.peek()).toBe(1);
    expect(a.counts).toMatchObject({ 'memory hit': 2, 'memory miss': 3 });
  });

  it('comes for many by one question, what is known aside', async () => {
    await a.get('two');
    const asked: string[][] = [];
    const found = await a.shelf.getMany(['one', 'two', 'one', 'nobody'], async (ids) => {
      asked.push(ids);
      return ids.flatMap((id) => (world.has(id) ? [[id, world.get(id) as Thing] as const] : []));
    });
    expect([...found].sort()).toEqual([
      ['one', { value: 1 }],
      ['two', { value: 2 }],
    ]);
    expect(asked).toEqual([['one', 'nobody']]);
    expect(a.peek('one')).toBe(1);
  });

  it('cannot be changed by whoever was given it', async () => {
    const thing = await a.shelf.get('one', async () => ({ value: 1 }));
    expect(() => Object.assign(thing as Thing, { value: 2 })).toThrow(TypeError);
  });

  it('is no more than what there is: what is not there is asked for each time, and what fails too', async () => {
    expect(await a.get('nobody')).toBeUndefined();
    expect(await a.get('nobody')).toBeUndefined();
    expect(a.loads).toEqual(['nobody', 'nobody']);
    a.gate = Promise.reject(new Error('away'));
    a.gate.catch(() => {});
    await expect(Promise.all([a.get(), a.get()])).rejects.toThrow('away');
    a.gate = Promise.resolve();
    expect(await a.get()).toBe(1);
  });

  it('is forgotten after a minute, and when it changes by itself', async () => {
    await a.get();
    a.now += 60_001;
    expect(a.peek()).toBeUndefined();
    world.set('one', { value: 3, lastsMs: 50 });
    a.cache.drop('thing:one');
    expect(await a.get()).toBe(3);
    a.now += 49;
    expect(a.peek()).toBe(3);
    a.now += 1;
    expect(a.peek()).toBeUndefined();
    world.set('one', { value: 4 });
    // What is shared lasts as long by another clock.
    await eventually(async () => {
      a.now += 50;
      return (await a.get()) === 4;
    }, 'the new one');
  });

  it.each([
    ['by its name', 'thing:one', [5, 2]],
    ['with others', 'user:x thing:one thing:three', [5, 2]],
    ['with all of its kind', 'thing:*', [5, 6]],
    ['with everything', '*', [5, 6]],
    ['when something may have been missed', '', [5, 6]],
    ['unless it is of another kind', 'user:one user:*', [1, 2]],
  ])('is dropped %s', async (_how, names, expected) => {
    await Promise.all([a.get('one'), a.get('two')]);
    await settle();
    world.set('one', { value: 5 });
    world.set('two', { value: 6 });
    a.cache.drop(names);
    await settle();
    expect([await a.get('one'), await a.get('two')]).toEqual(expected);
  });

  it('is not asked while it is not certain that changes are heard of, nor is anything kept then', async () => {
    await a.get();
    a.isProven = false;
    world.set('one', { value: 7 });
    expect(a.peek()).toBeUndefined();
    expect(await a.get()).toBe(7);
    expect(await a.get()).toBe(7);
    expect(a.loads).toHaveLength(3);
    expect(a.counts['memory bypassed']).toBe(2);
    expect([...(await a.shelf.getMany(['one'], async () => [['one', { value: 7 }]]))]).toEqual([['one', { value: 7 }]]);
    // Whatever was changed has been heard of by the time that it is certain again.
    a.cache.drop('thing:one');
    a.isProven = true;
    expect(await a.get()).toBe(7);
  });

  it('is not what was read before a change and came after it', async () => {
    const release = hold(a);
    const slow = a.get();
    await settle();
    world.set('one', { value: 8 });
    a.cache.drop('thing:one');
    // Whoever asks now does not wait for the old answer.
    a.gate = Promise.resolve();
    expect(await a.get()).toBe(8);
    release();
    expect(await slow).toBe(1);
    expect(a.peek()).toBe(8);
    await settle();
    a.now += 60_001;
    expect(await a.get()).toBe(8);
  });

  it('is dropped by everything while it is being read', async () => {
    const release = hold(a);
    const slow = a.get();
    await settle();
    a.cache.drop('*');
    release();
    await slow;
    expect(a.peek()).toBeUndefined();
  });

  describe.runIf(createStore)('and shared', () => {
    it('is read from the database by one replica, and from there by the other', async () => {
      await a.get();
      await settle();
      expect(await b.get()).toBe(1);
      expect(b.loads).toEqual([]);
      expect(b.counts).toMatchObject({ 'shared hit': 1 });
      expect(a.counts).toMatchObject({ 'shared miss': 1 });
    });

    it('lasts in memory no longer than there', async () => {
      world.set('one', { value: 1, lastsMs: 30_000 });
      await a.get();
      await settle();
      await b.get();
      b.now += 29_999;
      expect(b.peek()).toBeUndefined();
    });

    it('is not put back by a replica that read it before the change and has not heard of that', async () => {
      const release = hold(a);
      const slow = a.get();
      await settle();
      world.set('one', { value: 9 });
      b.cache.drop('thing:one');
      release();
      expect(await slow).toBe(1);
      await settle();
      expect(await b.get()).toBe(9);
      expect(b.loads).toEqual(['one']);
    });

    it('nor after Redis was emptied, or everything was dropped', async () => {
      for (const forget of ['flush', 'epoch'] as const) {
        const release = hold(a);
        a.cache.drop('thing:one');
        const slow = a.get();
        await settle();
        world.set('one', { value: 10 });
        if (forget === 'flush') {
          const redis = connectRedis(testRedisUrl as string, log, 'access', '');
          await eventually(async () => redis.status === 'ready', 'connected');
          const keys = await redis.keys(`test:${process.pid}:*`);
          await redis.del(...keys);
          redis.disconnect();
        } else b.cache.drop('*');
        await eventually(async () => (await stores[1]?.take('ready')) !== undefined, 'it has been told');
        release();
        await slow;
        await settle();
        b.now += 60_001;
        expect(await b.get()).toBe(10);
        world.set('one', { value: 1 });
        a.cache.drop('*');
        b.cache.drop('*');
        for (const store of stores)
          await eventually(async () => (await store.take('ready')) !== undefined, 'it has been told');
      }
    });

    it('is sealed: what somebody else writes there, or moves to another name, counts for nothing', async () => {
      await a.get();
      await settle();
      const redis = connectRedis(testRedisUrl as string, log, 'access', '');
      await eventually(async () => redis.status === 'ready', 'connected');
      const keys = await redis.keys(`test:${process.pid}:*:thing:one`);
      const values = await Promise.all(keys.map((key) => redis.get(key)));
      expect(values.join()).not.toContain('value');
      for (const [index, key] of keys.entries()) {
        const [epoch, sealed = ''] = (values[index] as string).split(' ');
        if (epoch === 'lease') continue;
        await redis.set(key.replace(/one$/, 'two'), `${epoch} ${sealed}`);
        await redis.set(key, `${epoch} ${Buffer.from('{"at":0,"value":{"value":99}}').toString('base64')}`);
      }
      redis.disconnect();
      expect([await b.get('one'), await b.get('two')]).toEqual([1, 2]);
    });
  });
});

describe.runIf(redisUrl)('Redis that', () => {
  let relay: Relay;
  let store: SharedStore & { close(): void };
  let direct: SharedStore & { close(): void };
  let a: Replica;
  let b: Replica;
  const ready = (one: SharedStore) => eventually(async () => (await one.take('ready')) !== undefined, 'Redis is there');
  beforeAll(async () => {
    const { hostname, port } = new URL(redisUrl as string);
    relay = await openRelay(hostname, Number(port));
  });
  beforeEach(async () => {
    const keyPrefix = `test:${process.pid}:${Date.now()}:`;
    store = createRedisStore({ url: `redis://127.0.0.1:${relay.port}`, keyPrefix, secrets, log });
    direct = createRedisStore({ url: testRedisUrl as string, keyPrefix, secrets, log });
    [a, b] = [createReplica(store), createReplica(direct)];
    world.set('one', { value: 1 });
    await Promise.all([ready(store), ready(direct)]);
  });
  const close = () => {
    store.close();
    direct.close();
  };
  afterAll(() => relay.cut());

  it('is gone is done without, and what was dropped meanwhile is not there when it is back', async () => {
    await a.get();
    await settle();
    await relay.cut();
    world.set('one', { value: 2 });
    a.cache.drop('thing:one');
    expect(await a.get()).toBe(2);
    // A replica that still has it has dropped the value as well; here nobody told it, so that this one has to.
    await relay.restore();
    await ready(store);
    a.now += 60_001;
    expect(await a.get()).toBe(2);
    expect(await b.get()).toBe(2);
    close();
  });

  it('answers no more is asked once, and then left alone', async () => {
    await a.get();
    relay.silence();
    world.set('one', { value: 3 });
    a.cache.drop('thing:one');
    const begun = performance.now();
    expect(await a.get()).toBe(3);
    // It would be waited for for twenty seconds if each asked.
    for (let id = 0; id < 200; id++) await a.get(`x${id}`);
    expect(performance.now() - begun).toBeLessThan(10_000);
    await relay.cut();
    await relay.restore();
    await ready(store);
    a.now += 60_001;
    expect(await a.get()).toBe(3);
    close();
  });
});
