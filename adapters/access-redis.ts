/**
 * The store of `src/roles/access-cache.ts` that replicas share, in Redis. It may vanish, be emptied, or come back with what it had
 * before; none of that brings back what was dropped:
 * - A value is put only by whoever holds the lease on its key, which the last one to ask has. Dropping the key ends the lease, and
 *   so does losing it. So what was read before a change was heard of is not put after it.
 * - Each value belongs to an epoch, a random name. Dropping all forgets the epoch. Whenever this process could not tell Redis of
 *   something, it does so first thing once it can, and uses Redis for nothing before.
 * - Values are sealed: who can write in Redis cannot make anybody an administrator.
 */
import { randomBytes } from 'node:crypto';
import type { Log } from '../src/log.ts';
import type { SharedStore } from '../src/roles/access-cache.ts';
import type { Secrets } from '../src/secrets.ts';
import { connectRedis } from './redis.ts';

/** Changes whenever what is kept does: replicas of two releases may run at the same time. */
const format = 1;

/** How long a read may take whose value is to be kept, in milliseconds. */
const leaseMs = 10_000;

/** Nothing is kept for longer, whatever Redis says of it, as far as clocks agree. */
const ageMax = 360_000;

/** How long a request waits for Redis, in milliseconds; then it is left alone for a while. */
const patienceMs = 100;
const pauseMs = 1000;

/** Keys: epoch, thing. Arguments: a random name, for how long it leases. Returns the value and its milliseconds, or the epoch. */
const takeScript = `
  local epoch = redis.call('GET', KEYS[1])
  if not epoch then
    epoch = ARGV[1]
    redis.call('SET', KEYS[1], epoch)
  end
  local found = redis.call('GET', KEYS[2])
  if found and string.sub(found, 1, #epoch + 1) == epoch .. ' ' then
    return { string.sub(found, #epoch + 2), redis.call('PTTL', KEYS[2]) }
  end
  redis.call('SET', KEYS[2], 'lease ' .. ARGV[1], 'PX', ARGV[2])
  return { epoch }`;

/** Keys as above. Arguments: the lease, the epoch, the value, its milliseconds. */
const putScript = `
  if redis.call('GET', KEYS[2]) ~= 'lease ' .. ARGV[1] or redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
  redis.call('SET', KEYS[2], ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
  return 1`;

export interface RedisStoreOptions {
  url: string;
  /** REDIS_KEY_PREFIX */
  keyPrefix: string;
  secrets: Secrets;
  log: Log;
}

export const createRedisStore = ({
  url,
  keyPrefix,
  secrets,
  log,
}: RedisStoreOptions): SharedStore & { close(): void } => {
  const redis = connectRedis(url, log, 'access', 'access is remembered in memory alone', patienceMs);
  const epochKey = `${keyPrefix}access:${format}`;
  const keyOf = (name: string) => `${epochKey}:${name}`;
  /** Whether Redis has been told of all that was dropped. */
  let isReady = false;
  let untold = 0;
  let telling: Promise<void> | undefined;
  let triedAt = Number.NEGATIVE_INFINITY;

  const forgetAll = async (): Promise<void> => {
    for (let known = -1; known !== untold; ) {
      known = untold;
      await redis.del(epochKey);
    }
    isReady = true;
  };
  /** Has Redis forget everything before it is asked again; one attempt at a time. */
  const recover = (): void => {
    if (telling || redis.status !== 'ready') return;
    triedAt = performance.now();
    telling = forgetAll()
      .catch(() => {})
      .finally(() => {
        telling = undefined;
      });
  };
  const fail = (): void => {
    isReady = false;
    untold++;
  };
  redis.on('close', fail);
  redis.on('ready', () => {
    fail();
    recover();
  });

  const seal = (key: string, value: unknown): string =>
    secrets.seal('access-cache', key, JSON.stringify({ at: Date.now(), value })).toString('base64');
  /** Undefined for what is not ours, or older than anything that we keep. */
  const open = (key: string, sealed: string): { value: unknown } | undefined => {
    try {
      const found = JSON.parse(secrets.open('access-cache', key, Buffer.from(sealed, 'base64')).toString());
      return Math.abs(Date.now() - found.at) < ageMax ? found : undefined;
    } catch {
      return undefined;
    }
  };

  return {
    take: async (name) => {
      if (!isReady) {
        if (performance.now() - triedAt > pauseMs) recover();
        return undefined;
      }
      const key = keyOf(name);
      const lease = randomBytes(16).toString('base64url');
      let answer: [string, number?];
      try {
        answer = (await redis.eval(takeScript, 2, epochKey, key, lease, leaseMs)) as typeof answer;
      } catch {
        fail();
        return undefined;
      }
      const [text, lastsMs] = answer;
      if (lastsMs !== undefined) {
        const found = open(key, text);
        if (!found) redis.del(key).catch(fail);
        return found && { value: found.value, lastsMs };
      }
      return {
        put: async (value, lastsMs) => {
          if (!isReady) return;
          await redis.eval(putScript, 2, epochKey, key, lease, text, seal(key, value), lastsMs).catch(fail);
        },
      };
    },

    drop: (names) => {
      // What is asked on this connection after this is answered after it.
      if (isReady) redis.del(...names.map(keyOf)).catch(fail);
      else untold++;
    },
    dropAll: () => {
      fail();
      recover();
    },
    close: () => redis.disconnect(),
  };
};
