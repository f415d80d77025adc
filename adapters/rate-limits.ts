/**
 * How often somebody may try something. Counted in Redis when there is one, for all replicas together, else in memory;
 * when Redis is away each replica counts for itself and nobody notices.
 */
import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { Redis } from 'ioredis';
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { tooMany } from '../src/errors.ts';
import type { Log } from '../src/log.ts';

const minute = 60;
const hour = 3600;

/** Every limit: `points` within `seconds` of the first one. An "address" is an IP address. */
const limits = {
  /** Wrong passwords per account and address. */
  guessAccount: { points: 5, seconds: 15 * minute },
  /** Wrong passwords per address, whatever the account. */
  guessAddress: { points: 50, seconds: 15 * minute },
  /** Registrations per address. */
  register: { points: 20, seconds: hour },
  /** Mails per recipient that one address asks for. */
  mailPair: { points: 5, seconds: hour },
  /** Mails of a kind per recipient, whoever asks. */
  mailRecipient: { points: 20, seconds: hour },
  /** Mails that one address has sent to anybody. */
  mailClient: { points: 30, seconds: hour },
  /** Failed client authentications per client and address. */
  clientAuthentication: { points: 50, seconds: 15 * minute },
} as const;

export type LimitName = keyof typeof limits;

export interface RateLimits {
  /**
   * Takes points. Where failures are counted, take one before the attempt and `reward` or `reset` when it succeeds:
   * of many attempts at the same time no more than the limit get through.
   * @throws AppError 429 with the seconds to wait when there are not enough left.
   */
  consume(limit: LimitName, key: string, points?: number): Promise<void>;
  /** Gives points back. */
  reward(limit: LimitName, key: string, points?: number): Promise<void>;
  /** Forgets all that was counted for the key. */
  reset(limit: LimitName, key: string): Promise<void>;
  close(): Promise<void>;
}

const quietMs = 60_000;

const connectRedis = (url: string, log: Log): Redis => {
  const redis = new Redis(url, {
    connectionName: 'countersign',
    connectTimeout: 2000,
    commandTimeout: 250,
    // A command fails at once while there is no connection, so that memory takes over.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 200, 5000),
  });
  let quietUntil = 0;
  redis.on('error', ({ message }: Error) => {
    if (Date.now() < quietUntil) return;
    quietUntil = Date.now() + quietMs;
    log.warn({ message }, 'Redis is away: rate limits are counted in memory');
  });
  return redis;
};

/**
 * What an address is counted by: of IPv6 the first 64 bits, since whoever has one such address has them all; IPv4 that
 * came in as IPv6 is taken for what it is.
 */
export const addressKey = (address: string): string => {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const left = head.split(':').filter(Boolean);
  const right = (tail ?? '').split(':').filter(Boolean);
  const gap = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0');
  const groups = [...left, ...gap, ...right].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${groups.join(':')}::/64`;
};

/** Redis holds no address and no name. */
const hashKey = (key: string): string => createHash('sha256').update(key).digest('base64url');

/**
 * @param factor RATE_LIMIT_FACTOR: multiplies the points of every limit
 * @param keyPrefix REDIS_KEY_PREFIX
 */
export const createRateLimits = ({
  redisUrl,
  keyPrefix = 'countersign:',
  factor,
  log,
}: {
  redisUrl?: string;
  keyPrefix?: string;
  factor: number;
  log: Log;
}): RateLimits => {
  const redis = redisUrl ? connectRedis(redisUrl, log) : undefined;
  const limiters = new Map<LimitName, RateLimiterAbstract>();
  for (const [name, { points, seconds }] of Object.entries(limits)) {
    const options = {
      keyPrefix: `${keyPrefix}limit:${name}`,
      points: Math.max(1, Math.round(points * factor)),
      duration: seconds,
    };
    const memory = new RateLimiterMemory(options);
    limiters.set(
      name as LimitName,
      redis
        ? new RateLimiterRedis({
            ...options,
            storeClient: redis,
            rejectIfRedisNotReady: true,
            insuranceLimiter: memory,
          })
        : memory,
    );
  }
  const limiter = (name: LimitName): RateLimiterAbstract => limiters.get(name) as RateLimiterAbstract;

  return {
    consume: async (limit, key, points = 1) => {
      try {
        await limiter(limit).consume(hashKey(key), points);
      } catch (refusal) {
        if (!(refusal instanceof RateLimiterRes)) throw refusal;
        throw tooMany(Math.max(1, Math.ceil(refusal.msBeforeNext / 1000)));
      }
    },
    reward: async (limit, key, points = 1) => {
      await limiter(limit).reward(hashKey(key), points);
    },
    reset: async (limit, key) => {
      await limiter(limit).delete(hashKey(key));
    },
    close: async () => redis?.disconnect(),
  };
};
