/** What is remembered up to a number: lru-cache alone sets aside room for all of it at once, which an idle process never fills. */
import { LRUCache } from 'lru-cache';

/** An LRU cache for up to `max` values, each for `ttl` milliseconds, that takes memory as they come. */
export const createGrowingCache = <V extends object | number | true>(max: number, ttl = 0): LRUCache<string, V> =>
  new LRUCache({ maxSize: max, sizeCalculation: () => 1, ttl });
