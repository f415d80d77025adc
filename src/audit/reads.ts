/**
 * Reads of the audit log may have to look at all of it. Only a few run at a time, each for a while, so that whoever may
 * read it cannot take all connections of the service.
 */
import type { Db } from '../../db/connect.ts';
import { overloaded } from '../errors.ts';

/** How long a statement may take, and after which time it makes sense to ask again. */
const timeoutMs = 10_000;
const retryAfterSeconds = 10;

/** Ended by `statement_timeout` (SQLSTATE query_canceled). */
const isTimeout = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === '57014';

export interface ReadLimits {
  /** How many reads run at a time. */
  running: number;
  /** How many wait for their turn; any more are refused. */
  waiting: number;
}

/**
 * @param ms how long a statement may take
 * @returns a function that runs reads in transactions of their own, first come first served. It throws AppError 503
 * overloaded when too many wait, and for a read that takes too long
 */
export const createReads = ({ db, ms = timeoutMs }: { db: Db; ms?: number }, { running, waiting }: ReadLimits) => {
  let busy = 0;
  const queue: (() => void)[] = [];

  /** Whoever is done passes the turn on. */
  const turn = async (): Promise<void> => {
    if (busy < running) {
      busy++;
      return;
    }
    if (queue.length >= waiting) throw overloaded(retryAfterSeconds);
    await new Promise<void>((resolve) => {
      queue.push(resolve);
    });
  };
  const done = (): void => {
    const next = queue.shift();
    if (next) next();
    else busy--;
  };

  return async <T>(work: (db: Db) => Promise<T>): Promise<T> => {
    await turn();
    try {
      return await db.transaction(async (db) => {
        await db.raw(`set local statement_timeout = ${ms}`);
        return work(db);
      });
    } catch (error) {
      throw isTimeout(error) ? overloaded(retryAfterSeconds) : error;
    } finally {
      done();
    }
  };
};

export type Reads = ReturnType<typeof createReads>;
