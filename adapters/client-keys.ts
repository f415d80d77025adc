/**
 * The keys of clients that publish them at a `jwks_uri`, as they were fetched. Anybody who names a client can make us fetch
 * its keys, with a request that is signed by nobody, and clients may register themselves, so:
 *
 * - one URI is fetched once at a time, kept for a minute, and left alone for a while when it fails;
 * - what strangers' clients point at is limited by the network address of whoever asks and by the host, and so are the
 *   fetches under way; what an administrator's clients point at has limits and memory of its own, which strangers cannot use up;
 * - what is kept is bounded in number and in bytes, whoever it is of.
 *
 * The engine keeps keys at its client objects, and a hundred of those: going round more clients than that made it fetch each time.
 */
import { LRUCache } from 'lru-cache';
import type { Log } from '../src/log.ts';
import { createFetchSlots, isPastLimit } from './fetch-slots.ts';
import { addressKey } from './rate-limits.ts';
import { temporarilyUnavailable } from './temporarily-unavailable.ts';

/** For how long keys are used without asking again, whatever their server says: one that was stolen must not stay good. */
const freshMs = 60_000;
/** Before what failed is asked again. */
const pauseMs = 10_000;
const timeoutMs = 2500;

export interface KeySetEntry {
  /** The JWK Set as it came; undefined when it could not be had. */
  body?: string;
  /** Until when nobody is asked again, in milliseconds. */
  until: number;
}

export interface KeyAsker {
  uri: string;
  /** Whether an administrator registered the client. */
  registered: boolean;
  /** The network address of whoever asks; undefined within the service itself. */
  address: string | undefined;
}

export interface ClientKeys {
  /** What is known, without asking anybody. */
  known(of: Pick<KeyAsker, 'uri' | 'registered'>): KeySetEntry | undefined;
  /**
   * What is known once whoever must be asked has been: what was known before when they could not be.
   * @throws temporarily_unavailable (503) past a limit, when nothing is known
   */
  load(of: KeyAsker): Promise<KeySetEntry>;
}

interface ClientKeyDeps {
  fetch: typeof fetch;
  /**
   * @param address of whoever asks for strangers' keys that are not known yet
   * @throws AppError 429 when the host, or the address, has had its share
   */
  limit(of: { host: string; registered: boolean; address: string | undefined }): Promise<void>;
  log: Log;
}

const createStore = (bytesMax: number) =>
  new LRUCache<string, KeySetEntry>({
    max: 5000,
    maxSize: bytesMax,
    sizeCalculation: ({ body = '' }, uri) => uri.length + body.length,
  });

const megabyte = 1024 * 1024;

/** Strangers and administrators' clients apart, so that the first cannot push the others out, or take their places. */
const createPools = () => ({
  strangers: {
    store: createStore(16 * megabyte),
    slots: createFetchSlots({ total: 16, each: 2 }),
    pending: new Map<string, Promise<KeySetEntry>>(),
  },
  registered: {
    store: createStore(32 * megabyte),
    slots: createFetchSlots({ total: 64, each: 8 }),
    pending: new Map<string, Promise<KeySetEntry>>(),
  },
});

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JWK Set (RFC 7517 section 5); what its keys are is for the engine to see. */
const read = async (fetch: typeof globalThis.fetch, uri: string): Promise<string> => {
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(uri, { headers: { accept: 'application/jwk-set+json, application/json' }, signal });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the answer was ${response.status}`);
  }
  const body = await response.text();
  const set = JSON.parse(body) as { keys?: unknown } | null;
  if (!Array.isArray(set?.keys) || !set.keys.every(isObject)) throw new Error('the answer is no JWK Set');
  return body;
};

export const createClientKeys = ({ fetch, limit, log }: ClientKeyDeps): ClientKeys => {
  const pools = createPools();
  const poolOf = (registered: boolean) => (registered ? pools.registered : pools.strangers);

  const fetchAndKeep = async ({ uri, registered }: KeyAsker): Promise<KeySetEntry> => {
    const { store } = poolOf(registered);
    const entry = await read(fetch, uri).then(
      (body): KeySetEntry => ({ body, until: Date.now() + freshMs }),
      (error: unknown): KeySetEntry => {
        log.info({ err: error, uri }, 'the keys of a client could not be had');
        return { ...store.get(uri), until: Date.now() + pauseMs };
      },
    );
    store.set(uri, entry);
    return entry;
  };

  return {
    known: ({ uri, registered }) => poolOf(registered).store.get(uri),

    load: async (asker) => {
      const { uri, registered } = asker;
      const { store, slots, pending } = poolOf(registered);
      const known = store.get(uri);
      if (known && known.until > Date.now()) return known;
      const { host } = new URL(uri);
      const address = registered || asker.address === undefined ? undefined : addressKey(asker.address);
      const limited =
        !pending.has(uri) && (await isPastLimit(limit({ host, registered, address: known ? undefined : address })));
      // Nothing comes between this and the beginning of the fetch.
      const begun = pending.get(uri);
      if (begun) return begun;
      const release = limited ? undefined : slots.take({ host, address });
      if (!release) {
        if (known) return known;
        throw temporarilyUnavailable('too many clients’ keys are asked for; try again shortly');
      }
      const started = fetchAndKeep(asker).finally(() => {
        pending.delete(uri);
        release();
      });
      pending.set(uri, started);
      return started;
    },
  };
};
