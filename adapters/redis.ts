/** A connection to Redis, which may vanish at any time: whoever uses it does without meanwhile. */
import type { Redis } from 'ioredis';
import type { Log } from '../src/log.ts';
import { type RedisPurpose, redisCommands, redisConnections } from '../src/observing.ts';
import { PatientRedis } from './patient-redis.ts';

const quietMs = 60_000;

/** Tells how long Redis takes to answer. What is sent as part of a pipeline is told like everything else. */
const observe = (redis: Redis, purpose: RedisPurpose): void => {
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    const end = redisCommands.tell?.(command.name, purpose);
    const answer = send(command, stream);
    if (end) command.promise.then(() => end(), end);
    return answer;
  };
  redis.on('ready', () => redisConnections.tell?.(purpose, true));
  redis.on('close', () => redisConnections.tell?.(purpose, false));
};

/** @param without what is done without Redis, for the log */
export const connectRedis = (
  url: string,
  log: Log,
  purpose: RedisPurpose,
  without: string,
  commandTimeoutMs = 250,
): Redis => {
  const redis = new PatientRedis(url, {
    connectionName: 'countersign',
    connectTimeout: 2000,
    commandTimeout: commandTimeoutMs,
    // A command fails at once while there is no connection, so that memory takes over.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 200, 5000),
  });
  observe(redis, purpose);
  let quietUntil = 0;
  /** Whether the log says that it is away, and not yet that it is back. */
  let saidAway = false;
  redis.on('error', ({ message }: Error) => {
    if (Date.now() < quietUntil) return;
    quietUntil = Date.now() + quietMs;
    saidAway = true;
    log.warn({ message, purpose }, `Redis is away: ${without}`);
  });
  redis.on('ready', () => {
    if (saidAway) log.warn({ purpose }, 'Redis answers again');
    saidAway = false;
  });
  return redis;
};
