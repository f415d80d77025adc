/**
 * What is remembered of who may do what: in memory, and in a store that replicas share. Nothing here knows what is remembered.
 *
 * Three rules keep it from ever telling what is no longer true:
 * - It is asked only while the channel is proven: everything that was committed up to less than a second ago, and all that this
 *   process wrote itself, has been heard, and what it made void is gone. Else the database is asked, and nothing is kept.
 * - What began to be read before something was dropped is not kept after it, neither here nor in the shared store.
 * - Nothing outlives the moment at which it changes by itself.
 */
import { LRUCache } from 'lru-cache';

/** How changes are heard of. */
export interface Channel {
  /** Whether all that was committed up to a moment ago has been heard, and all that this process wrote. @param now by the clock */
  isProven(now?: number): boolean;
  /** Has it proven if need be; false when that cannot be done, or not soon. */
  prove(): Promise<boolean>;
}

/** What a shared store has of a thing: its value, with how long it may be kept; else the right to put one there. */
export type Taken =
  | { value: unknown; lastsMs: number }
  /** `put` does nothing once the thing has been dropped, by whichever replica. It does not fail. */
  | { put(value: unknown, lastsMs: number): Promise<void> };

/** A store that replicas share. It may lose everything at any time. */
export interface SharedStore {
  /** Undefined while it is away. */
  take(key: string): Promise<Taken | undefined>;
  /** In force for every `take` of this process from now on. */
  drop(keys: readonly string[]): void;
  dropAll(): void;
}

/** `bypassed`: the channel was not proven. */
export type CacheCount = (shelf: string, layer: 'memory' | 'shared', outcome: 'hit' | 'miss' | 'bypassed') => void;

export interface CacheDeps {
  channel: Channel;
  shared?: SharedStore | undefined;
  /** Milliseconds that only go forward. */
  clock(): number;
  count?: CacheCount;
}

/** How long things are kept in memory, in milliseconds. */
const memoryMs = 60_000;
/** How long they are kept in the shared store. */
const sharedMs = 300_000;

export interface ShelfOptions<T extends object> {
  /** Of its things, as notifications name them. */
  name: string;
  /** Another shelf's name: what notifications name there is dropped here as well. */
  follows?: string;
  /** How many things are kept in memory. */
  max: number;
  /** … and how large they may be together, where they are not all alike. */
  size?: { max: number; of(value: T): number };
  /** Whether other replicas may have the value; it is kept as JSON. */
  shared?: boolean;
  /** What is kept in place of a value that has been read, and means the same. */
  prepare?(value: T): T;
  /** In how many milliseconds the value changes by itself; undefined when it does not. */
  changesInMs?(value: T): number | undefined;
}

/** Reads things of one kind, those that there are. */
export type Load<T> = (ids: string[]) => Promise<Iterable<readonly [id: string, value: T]>>;

/** Things of one kind. */
export interface Shelf<T extends object> {
  /**
   * The thing as it is now, from memory, the shared store or `load`, which are asked in that order. Those who ask at the same time
   * share one answer; nobody may change it. Undefined is not kept.
   * Not for transactions: they must see what they have written, and the embedded database has one connection.
   */
  get(id: string, load: () => Promise<T | undefined>): Promise<T | undefined>;
  /** As `get`, of many: what is not remembered comes by one `load`. Those of whom nothing is known are left out. */
  getMany(ids: Iterable<string>, load: Load<T>): Promise<ReadonlyMap<string, T>>;
  /** What is in memory and certain now, else undefined. */
  peek(id: string): T | undefined;
}

export interface AccessCache {
  shelf<T extends object>(options: ShelfOptions<T>): Shelf<T>;
  /**
   * Forgets what a notification names: `SHELF:ID`, `SHELF:*` or `*`, any number of them with a blank between. Nothing at all means
   * that some may have been missed, and drops everything.
   */
  drop(names: string): void;
}

/** A read that is under way. */
interface Loading<T> {
  /** What it was read for was dropped meanwhile. */
  void: boolean;
  value: Promise<T | undefined>;
}

interface Memory {
  name: string;
  follows: string | undefined;
  drop(id: string): void;
  dropAll(): void;
  isShared: boolean;
}

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    for (const member of Object.values(value)) freeze(member);
    Object.freeze(value);
  }
  return value;
};

export const createAccessCache = ({ channel, shared, clock, count = () => {} }: CacheDeps): AccessCache => {
  const shelves: Memory[] = [];

  const shelf = <T extends object>(options: ShelfOptions<T>): Shelf<T> => {
    const { name, max, size, prepare = (value) => value, changesInMs = () => undefined } = options;
    /** When something was last asked for: to look at the clock costs as much as all the rest. */
    let now = 0;
    const isProven = (): boolean => {
      now = clock();
      return channel.isProven(now);
    };
    const prove = async (): Promise<boolean> => {
      const isHeard = await channel.prove();
      now = clock();
      return isHeard;
    };
    const memory = new LRUCache<string, T>({
      // With `max` room for all that there may be would be set aside at once: instead nothing is smaller than its share.
      maxSize: size?.max ?? max,
      sizeCalculation: (value) => (size ? Math.max(size.of(value), Math.ceil(size.max / max)) : 1),
      ttl: memoryMs,
      ttlResolution: 0,
      perf: { now: () => now },
    });
    const loading = new Map<string, Loading<T>>();
    shelves.push({
      name,
      follows: options.follows,
      isShared: options.shared === true,
      drop: (id) => {
        memory.delete(id);
        const read = loading.get(id);
        if (read) read.void = true;
        loading.delete(id);
      },
      dropAll: () => {
        memory.clear();
        for (const read of loading.values()) read.void = true;
        loading.clear();
      },
    });

    /** @param start when it was asked for: it may be as old as that */
    const keep = (id: string, read: Loading<T>, value: T, start: number, lastsMs: number) => {
      // Stale is what is older than that, so that at the very moment of a change it is.
      const ttl = Math.ceil(Math.min(memoryMs, lastsMs)) - 1;
      if (!read.void && start + ttl > clock()) memory.set(id, value, { ttl, start });
    };

    /** From the shared store, and all that is not there by one `load`. */
    const fetch = async (reads: ReadonlyMap<string, Loading<T>>, load: Load<T>): Promise<ReadonlyMap<string, T>> => {
      const asked = clock();
      const values = new Map<string, T>();
      const missing = new Map<string, Taken | undefined>();
      const take = async (id: string, read: Loading<T>) => {
        const taken = options.shared ? await shared?.take(`${name}:${id}`) : undefined;
        if (taken) count(name, 'shared', 'value' in taken ? 'hit' : 'miss');
        if (!taken || !('value' in taken)) missing.set(id, taken);
        else {
          const value = freeze(prepare(taken.value as T));
          values.set(id, value);
          keep(id, read, value, asked, taken.lastsMs);
        }
      };
      await Promise.all([...reads].map(([id, read]) => take(id, read)));
      if (!missing.size) return values;
      const begun = clock();
      for (const [id, loaded] of await load([...missing.keys()])) {
        const read = reads.get(id);
        const taken = missing.get(id);
        const value = freeze(prepare(loaded));
        values.set(id, value);
        const changesIn = changesInMs(value) ?? Number.POSITIVE_INFINITY;
        if (read) keep(id, read, value, begun, changesIn);
        const lastsMs = Math.floor(Math.min(sharedMs, changesIn) - (clock() - begun));
        if (read && !read.void && lastsMs > 0 && taken && 'put' in taken) void taken.put(value, lastsMs);
      }
      return values;
    };

    /** Begins to read these, for everybody who asks for them meanwhile. */
    const read = (ids: readonly string[], load: Load<T>): Loading<T>[] => {
      const reads = new Map(
        ids.map((id): [string, Loading<T>] => [id, { void: false, value: Promise.resolve(undefined) }]),
      );
      for (const [id, one] of reads) loading.set(id, one);
      const fetched = fetch(reads, load).finally(() => {
        for (const [id, one] of reads) if (loading.get(id) === one) loading.delete(id);
      });
      return [...reads].map(([id, one]) => {
        one.value = fetched.then((values) => values.get(id));
        return one;
      });
    };

    const find = (id: string): T | undefined => {
      const known = memory.get(id);
      count(name, 'memory', known === undefined ? 'miss' : 'hit');
      return known;
    };

    return {
      get: async (id, load) => {
        if (!isProven() && !(await prove())) {
          count(name, 'memory', 'bypassed');
          const value = await load();
          return value && freeze(value);
        }
        const alone: Load<T> = async () => {
          const value = await load();
          return value === undefined ? [] : [[id, value]];
        };
        return find(id) ?? (loading.get(id) ?? (read([id], alone)[0] as Loading<T>)).value;
      },
      getMany: async (ids, load) => {
        const all = [...new Set(ids)];
        if (!all.length) return new Map();
        if (!isProven() && !(await prove())) {
          count(name, 'memory', 'bypassed');
          return new Map([...(await load(all))].map(([id, value]) => [id, freeze(value)]));
        }
        const values = new Map<string, T>();
        const waiting: [string, Promise<T | undefined>][] = [];
        const unknown: string[] = [];
        for (const id of all) {
          const known = find(id);
          const running = loading.get(id);
          if (known !== undefined) values.set(id, known);
          else if (running) waiting.push([id, running.value]);
          else unknown.push(id);
        }
        if (unknown.length)
          for (const [index, { value }] of read(unknown, load).entries())
            waiting.push([unknown[index] as string, value]);
        // All at once: one that fails must not leave the others unheard.
        const found = await Promise.all(waiting.map(([, value]) => value));
        for (const [index, value] of found.entries())
          if (value !== undefined) values.set((waiting[index] as [string, unknown])[0], value);
        return values;
      },
      peek: (id) => {
        if (!isProven()) return undefined;
        const known = memory.get(id);
        if (known !== undefined) count(name, 'memory', 'hit');
        return known;
      },
    };
  };

  const dropAll = () => {
    for (const memory of shelves) memory.dropAll();
    shared?.dropAll();
  };

  return {
    shelf,
    drop: (names) => {
      const ids: string[] = [];
      for (const name of names.split(' ')) {
        const at = name.indexOf(':');
        const kind = name.slice(0, Math.max(0, at));
        const id = name.slice(at + 1);
        if (name === '' || name === '*') dropAll();
        else
          for (const memory of shelves) {
            if (memory.name !== kind && memory.follows !== kind) continue;
            if (id === '*') {
              memory.dropAll();
              if (memory.isShared) shared?.dropAll();
            } else {
              memory.drop(id);
              if (memory.isShared) ids.push(`${memory.name}:${id}`);
            }
          }
      }
      if (ids.length) shared?.drop(ids);
    },
  };
};
