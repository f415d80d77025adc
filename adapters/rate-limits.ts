/**
 * How often somebody may try something. Counted in Redis when there is one, for all replicas together, else in memory;
 * when Redis is away each replica counts for itself and nobody notices.
 */
import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { tooMany } from '../src/errors.ts';
import { createGrowingCache } from '../src/growing-cache.ts';
import type { Log } from '../src/log.ts';
import { limitCounts } from '../src/observing.ts';

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** Every limit: `points` within `seconds` of the first one. An "address" is an IP address. */
const limits = {
  /** Wrong passwords per account and address. */
  guessAccount: { points: 5, seconds: 15 * minute },
  /** Wrong passwords that an authenticated application passes on, per account; the people behind it share this. */
  relayedAccount: { points: 20, seconds: 15 * minute },
  /** … and over all accounts. */
  relayedClient: { points: 1000, seconds: 15 * minute },
  /** Wrong passwords per account and device, for what only one device can show. */
  guessDevice: { points: 5, seconds: 15 * minute },
  guessDeviceDaily: { points: 20, seconds: day },
  /** Wrong passwords per account from unknown devices; every further one has to wait (see `src/auth/guesses.ts`). */
  accountFailures: { points: 10, seconds: day },
  /** Attempts per account from unknown devices, those that were made to wait included; then it is locked for them. */
  accountAttempts: { points: 100, seconds: day },
  /** Wrong passwords per address, whatever the account. */
  guessAddress: { points: 50, seconds: 15 * minute },
  /** Requests posted to the authorization endpoint per address: each is kept for a minute. */
  posted: { points: 120, seconds: minute },
  /** Requests of nobody known that leave a row, per address: see `provider/anonymous-limits.ts`. */
  anonymousRequests: { points: 300, seconds: minute },
  /** Registrations per address. */
  register: { points: 20, seconds: hour },
  /** Clients that register themselves without a token: per address, and altogether. */
  registerClient: { points: 20, seconds: hour },
  registerClientTotal: { points: 2000, seconds: day },
  /** Client metadata documents that are fetched: per address that names ones not known yet, and per host that they are on. */
  documentAddress: { points: 30, seconds: 10 * minute },
  documentHost: { points: 60, seconds: minute },
  /** Keys at a `jwks_uri` that are fetched: per address that names strangers' clients whose keys are not known yet, and per host. */
  keysAddress: { points: 30, seconds: 10 * minute },
  keysHost: { points: 60, seconds: minute },
  /** The same per host, for clients that an administrator registered: nothing that strangers do counts here. */
  registeredKeysHost: { points: 600, seconds: minute },
  /** Mails per recipient that one address asks for. */
  mailPair: { points: 5, seconds: hour },
  /** Mails of a kind per recipient, whoever asks. */
  mailRecipient: { points: 20, seconds: hour },
  /** Mails that one address has sent to anybody. */
  mailClient: { points: 30, seconds: hour },
  /** Invitations that one person sends, that one organization does, and that both send to one address; and DNS lookups of an organization’s. */
  invitationsPerson: { points: 100, seconds: hour },
  invitationsOrganization: { points: 1000, seconds: day },
  invitationsPair: { points: 5, seconds: day },
  domainLookups: { points: 60, seconds: hour },
  /** One-time codes that one address tries, and that anybody tries of those that one recipient was sent for a purpose, the right ones aside. */
  codeAddress: { points: 50, seconds: 15 * minute },
  codeRecipient: { points: 25, seconds: day },
  /** Codes of a second factor per account that were wrong, wherever they were tried: five, then a pause; and a day's worth of such. */
  factorTries: { points: 5, seconds: 15 * minute },
  factorTriesDaily: { points: 50, seconds: day },
  /** Passkeys that one address shows in vain: none can be guessed, but each costs a signature and a line in the audit log. */
  passkeyAddress: { points: 50, seconds: 15 * minute },
  /** SMS, which cost money: that one address asks for, that one account does, and that one number gets. */
  smsClient: { points: 20, seconds: hour },
  smsAccount: { points: 5, seconds: hour },
  smsAccountDaily: { points: 10, seconds: day },
  smsNumber: { points: 5, seconds: hour },
  smsNumberDaily: { points: 10, seconds: day },
  /** Failures at the token endpoint and its like per client and address. */
  clientFailures: { points: 50, seconds: 15 * minute },
  /** The same per address, whichever client was named. */
  addressFailures: { points: 200, seconds: 15 * minute },
  /** Tokens per address that turned out not to be valid where one can ask (`/auth/validate`). */
  validations: { points: 200, seconds: 15 * minute },
  /** Device codes that one address asks for: each is kept for a while. */
  deviceRequests: { points: 60, seconds: minute },
  /** User codes that are not right: per address, per account that is signed in, and over everybody (see `protocol-limits.ts`). */
  userCodeAddress: { points: 20, seconds: 15 * minute },
  userCodeAccount: { points: 20, seconds: hour },
  userCodeTotal: { points: 2000, seconds: hour },
  /** Backchannel requests per client and person, and per person; and hints of a client that fit nobody. */
  backchannelPair: { points: 10, seconds: 15 * minute },
  backchannelPerson: { points: 30, seconds: hour },
  backchannelUnknown: { points: 200, seconds: hour },
  /** Refusals per client and address that the audit log takes one by one. */
  recordedRefusals: { points: 50, seconds: 15 * minute },
} as const;

/** What is either taken or free, for a time that whoever takes it says. The factor leaves these alone. */
const holds = ['accountDelay', 'accountLock'] as const;

/** SMS of the whole installation, as SMS_PER_HOUR says; no factor multiplies what they cost. */
const smsTotal = 'smsTotal';

/** Requests per caller of a role, in the window of `RATE_LIMITS`. */
type RoleLimit = `role:${string}`;
export const roleWindowSeconds = 15 * minute;

export type LimitName = keyof typeof limits | RoleLimit | typeof smsTotal;
export type HoldName = (typeof holds)[number];

/** How much of a limit is left. */
export interface Quota {
  limit: number;
  remaining: number;
  /** Until it begins anew. */
  resetSeconds: number;
  exceeded: boolean;
}

export interface RateLimits {
  /**
   * Takes points. Where failures are counted, take one before the attempt and `reward` or `reset` when it succeeds:
   * of many attempts at the same time no more than the limit get through.
   * @throws AppError 429 with the seconds to wait when there are not enough left.
   */
  consume(limit: LimitName, key: string, points?: number): Promise<void>;
  /** Takes a point and says what is left, without throwing. */
  take(limit: LimitName, key: string): Promise<Quota>;
  /** @throws AppError 429 when a limit that counts failures is used up; takes nothing */
  assertLeft(limit: LimitName, key: string): Promise<void>;
  /**
   * As `assertLeft`, by what this process has heard: at its last `count` for the key, and in Redis by all processes until then. What
   * succeeds costs no question to Redis that way, and of what others have counted since then one more try learns here: altogether
   * there are as many as the limit says, one more for each further process, and those in flight when it is reached.
   * @param key is not worked out where nothing is used up
   * @throws AppError 429
   */
  assertUnspent(limit: FailureLimit, key: () => string): void;
  /** Counts one more, however many there are. @returns how many there are beyond the limit; 0: this was the last one within */
  count(limit: LimitName, key: string): Promise<number>;
  /** Takes a hold for some seconds, of many at the same time one only. @returns whether it was free */
  hold(name: HoldName, key: string, seconds: number): Promise<boolean>;
  isHeld(name: HoldName, key: string): Promise<boolean>;
  release(name: HoldName, key: string): Promise<void>;
  /** Gives a point back. */
  reward(limit: LimitName, key: string): Promise<void>;
  /** Forgets all that was counted for the key. */
  reset(limit: LimitName, key: string): Promise<void>;
  close(): Promise<void>;
}

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

const secondsUntil = ({ msBeforeNext }: RateLimiterRes): number => Math.max(1, Math.ceil(msBeforeNext / 1000));

/** What is asked before every request of an application. */
const failureLimits = ['clientFailures', 'addressFailures'] as const;
type FailureLimit = (typeof failureLimits)[number];
const isFailureLimit = (name: string): boolean => (failureLimits as readonly string[]).includes(name);

/** How many keys are known to be used up. */
const spentMax = 10_000;

interface RateLimitOptions {
  redisUrl?: string;
  /** REDIS_KEY_PREFIX */
  keyPrefix?: string;
  /** RATE_LIMIT_FACTOR: multiplies the points of every limit. */
  factor: number;
  /** RATE_LIMITS: requests of a caller of each role in `roleWindowSeconds`. */
  roles?: Readonly<Record<string, number>>;
  /** SMS_PER_HOUR */
  smsPerHour?: number;
  /** Called when a limit refuses. */
  onRefusal?(limit: LimitName): void;
  log: Log;
}

export const createRateLimits = async ({
  redisUrl,
  keyPrefix = 'countersign:',
  factor,
  roles = {},
  smsPerHour = 500,
  onRefusal = () => {},
  log,
}: RateLimitOptions): Promise<RateLimits> => {
  const redis = redisUrl
    ? (await import('./redis.ts')).connectRedis(redisUrl, log, 'limits', 'rate limits are counted in memory')
    : undefined;
  const limiters = new Map<string, RateLimiterAbstract>();
  const add = (name: string, points: number, duration: number) => {
    const options = { keyPrefix: `${keyPrefix}limit:${name}`, points, duration };
    const memory = new RateLimiterMemory(options);
    limiters.set(
      name,
      redis
        ? new RateLimiterRedis({
            ...options,
            storeClient: redis,
            rejectIfRedisNotReady: true,
            insuranceLimiter: memory,
          })
        : memory,
    );
  };
  const multiplied = (points: number) => Math.max(1, Math.round(points * factor));
  for (const [name, { points, seconds }] of Object.entries(limits)) add(name, multiplied(points), seconds);
  for (const [role, points] of Object.entries(roles)) add(`role:${role}`, multiplied(points), roleWindowSeconds);
  add(smsTotal, smsPerHour, hour);
  for (const name of holds) add(name, 1, 1);
  /** Until when what was counted up to a limit is refused, in milliseconds since the epoch. Filled by failures alone. */
  const spent = createGrowingCache<number>(spentMax);
  const limiter = (name: LimitName | HoldName): RateLimiterAbstract => {
    limitCounts.tell?.(redis?.status === 'ready' ? 'redis' : 'memory');
    return limiters.get(name) as RateLimiterAbstract;
  };

  /** What is left after taking points; a refusal is an answer as well. */
  const attempt = async (
    name: LimitName | HoldName,
    key: string,
    points: number,
    customDuration?: number,
  ): Promise<Quota> => {
    const options = customDuration === undefined ? {} : { customDuration };
    const quota = (state: RateLimiterRes, exceeded: boolean): Quota => ({
      limit: limiter(name).points,
      remaining: exceeded ? 0 : state.remainingPoints,
      resetSeconds: secondsUntil(state),
      exceeded,
    });
    try {
      return quota(await limiter(name).consume(hashKey(key), points, options), false);
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      return quota(refusal, true);
    }
  };
  const take = async (limit: LimitName, key: string, points = 1): Promise<Quota> => {
    const quota = await attempt(limit, key, points);
    if (quota.exceeded) onRefusal(limit);
    return quota;
  };

  return {
    take,
    consume: async (limit, key, points) => {
      const { exceeded, resetSeconds } = await take(limit, key, points);
      if (exceeded) throw tooMany(resetSeconds);
    },
    assertLeft: async (limit, key) => {
      const state = await limiter(limit).get(hashKey(key));
      if (!state || state.msBeforeNext <= 0 || state.consumedPoints < limiter(limit).points) return;
      onRefusal(limit);
      throw tooMany(secondsUntil(state));
    },
    assertUnspent: (limit, key) => {
      if (!spent.size) return;
      const endsAt = spent.get(`${limit} ${key()}`);
      if (endsAt === undefined || endsAt <= Date.now()) return;
      onRefusal(limit);
      throw tooMany(Math.max(1, Math.ceil((endsAt - Date.now()) / 1000)));
    },
    count: async (limit, key) => {
      const { consumedPoints, msBeforeNext } = await limiter(limit).penalty(hashKey(key));
      const beyond = consumedPoints - limiter(limit).points;
      if (isFailureLimit(limit) && beyond >= 0 && msBeforeNext > 0)
        spent.set(`${limit} ${key}`, Date.now() + msBeforeNext, { ttl: msBeforeNext });
      return beyond;
    },
    hold: async (name, key, seconds) => !(await attempt(name, key, 1, seconds)).exceeded,
    isHeld: async (name, key) => {
      const state = await limiter(name).get(hashKey(key));
      return state !== null && state.msBeforeNext > 0;
    },
    release: async (name, key) => {
      await limiter(name).delete(hashKey(key));
    },
    reward: async (limit, key) => {
      await limiter(limit).reward(hashKey(key), 1);
    },
    reset: async (limit, key) => {
      await limiter(limit).delete(hashKey(key));
    },
    close: async () => redis?.disconnect(),
  };
};
