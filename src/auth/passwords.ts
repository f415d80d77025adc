/**
 * Passwords: how they are hashed, verified and judged. Hashing runs on libuv's threads, which token signing uses as well,
 * so a bounded number run at once and a bounded number wait; past that callers are told to come back.
 */
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import * as nodeRsArgon2 from '@node-rs/argon2';
import { invalid, overloaded } from '../errors.ts';
import { hashes, hashRefusals, hashWaits } from '../observing.ts';
import { lowerHashThreads } from './hash-threads.ts';
import { readHash } from './password-hashes.ts';
import {
  createPasswordRules,
  isTooLong,
  normalisePassword,
  type PasswordProblem,
  type PasswordRuleOptions,
} from './password-rules.ts';

export interface PasswordOptions extends PasswordRuleOptions {
  /** How many hashes are computed at the same time. */
  concurrency: number;
  /** How many may wait. */
  queue: number;
  argon2?: Pick<typeof nodeRsArgon2, 'hash' | 'verify'>;
}

export interface Passwords {
  /**
   * An argon2id PHC string.
   * @throws AppError 503 `overloaded` when the queue is full, 400 `password_too_long` past 1024 bytes.
   */
  hash(password: string): Promise<string>;
  /**
   * Costs at least one argon2id computation whatever `stored` is, also when it is undefined (unknown user), malformed or
   * absurd, so that an unknown user and a wrong password take the same time. (A user imported with a slower foreign
   * hash takes longer until the first sign-in replaces it.) `upgrade` is a new hash to store, given when the password was
   * right and the stored hash is of another kind or weaker.
   * @throws AppError 503 `overloaded` when the queue is full.
   */
  verify(password: string, stored: string | undefined): Promise<{ ok: boolean; upgrade?: string }>;
  /** To be asked before anything else is done for a sign-in. @throws AppError 503 `overloaded` when the queue is full. */
  assertRoom(): void;
  /**
   * The same where a refusal would be a page that says more: @throws AppError 503 `overloaded` when the queue is full and more were
   * refused in the same second than such pages are made for.
   */
  assertNoFlood(): void;
  /** Why a new password is refused; empty when it is acceptable. */
  check(password: string, context: { email: string; name: string }): Promise<PasswordProblem[]>;
}

/** OWASP's first recommendation for argon2id (the library's default algorithm and version): 19 MiB, two passes. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 };

/** Whether a well-formed hash is as strong as the ones that we make. */
const isCurrent = (stored: string): boolean => {
  if (!stored.startsWith('$argon2id$v=19$')) return false;
  const { memoryCost, timeCost, saltLen, outputLen } = nodeRsArgon2.parseOptions(stored);
  return (
    memoryCost >= parameters.memoryCost &&
    timeCost >= parameters.timeCost &&
    saltLen >= 16 &&
    outputLen >= parameters.outputLen
  );
};

/** Past so many refusals in a second it is no longer people who are refused. */
const kindRefusalsMax = 10;

/** Runs jobs, `concurrency` at a time and first come first served; with `queue` waiting it refuses. */
const createQueue = (concurrency: number, queue: number) => {
  const waiting: (() => void)[] = [];
  let running = 0;
  let lowered = false;
  let refused = { since: 0, count: 0 };
  const isFull = () => running >= concurrency && waiting.length >= queue;
  const refusedLately = () => (performance.now() - refused.since < 1000 ? refused.count : 0);
  const assertRoom = () => {
    if (!isFull()) return;
    const count = refusedLately() + 1;
    refused = { since: count === 1 ? performance.now() : refused.since, count };
    hashRefusals.tell?.();
    // At about 100 ms a hash on a busy machine, this is when the queue will have been worked off.
    throw overloaded(Math.max(1, Math.ceil(queue / concurrency / 10)));
  };
  const assertNoFlood = () => {
    if (refusedLately() >= kindRefusalsMax) assertRoom();
  };
  const enqueue = async <T>(job: () => Promise<T>): Promise<T> => {
    if (running < concurrency) running += 1;
    else {
      assertRoom();
      const begun = hashWaits.tell?.();
      await new Promise<void>((start) => waiting.push(start));
      begun?.();
    }
    const done = hashes.tell?.();
    try {
      return await job();
    } finally {
      done?.();
      // They have begun with the first job, all of them.
      if (!lowered) lowerHashThreads();
      lowered = true;
      const next = waiting.shift();
      // The place passes to the next one, so `running` stays; otherwise a newcomer could take it in between.
      if (next) next();
      else running -= 1;
    }
  };
  return { enqueue, assertRoom, assertNoFlood };
};

/**
 * How many hashes are computed at once in each of the processes. Unless it is set, as many as leave each process a processor for all
 * else that it does; never so many that none of libuv's threads is left for files, names and signatures.
 * @param threads of libuv's, in each process
 */
export const hashConcurrency = (wanted: number | undefined, workers: number, threads: number): number =>
  Math.max(1, Math.min(wanted ?? Math.floor(availableParallelism() / workers) - 1, threads - 1));

export const createPasswords = (options: PasswordOptions): Passwords => {
  const argon2 = options.argon2 ?? nodeRsArgon2;
  const { enqueue, assertRoom, assertNoFlood } = createQueue(options.concurrency, options.queue);
  const base64 = (bytes: number) => randomBytes(bytes).toString('base64').replaceAll('=', '');
  /** No password is known for it: its digest is random and was never computed. */
  const decoy = `$argon2id$v=19$m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}$${base64(16)}$${base64(parameters.outputLen)}`;

  const verify = async (password: string, stored: string | undefined): Promise<{ ok: boolean; upgrade?: string }> => {
    if (isTooLong(password)) {
      await argon2.verify(decoy, '');
      return { ok: false };
    }
    const known = stored === undefined ? undefined : readHash(stored);
    const current = known !== undefined && isCurrent(stored as string);
    const isRight = async (spelling: Buffer): Promise<boolean> => {
      if (current) return argon2.verify(stored as string, spelling);
      if (await known?.verify(spelling)) return true; // the upgrade pays for argon2id
      await argon2.verify(decoy, spelling);
      return false;
    };
    // Systems that we import from hashed what was typed, so that is tried too where NFKC changes it.
    const normal = normalisePassword(password);
    for (const spelling of new Set([normal, password])) {
      if (!(await isRight(Buffer.from(spelling)))) continue;
      if (current && spelling === normal) return { ok: true };
      return { ok: true, upgrade: await argon2.hash(Buffer.from(normal), parameters) };
    }
    return { ok: false };
  };

  return {
    hash: async (password) => {
      if (isTooLong(password)) throw invalid('password_too_long', 'The password is too long');
      return enqueue(() => argon2.hash(Buffer.from(normalisePassword(password)), parameters));
    },
    verify: (password, stored) => enqueue(() => verify(password, stored)),
    assertRoom,
    assertNoFlood,
    check: createPasswordRules(options),
  };
};
