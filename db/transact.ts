/** Transactions that are worth another try. */
import type { Db } from './connect.ts';

/** How often a transaction is begun altogether. */
const attempts = 3;

/** PostgreSQL ended it so that another one, or the order of all, could stand: serialization_failure, deadlock_detected. */
export const isClash = (error: unknown): boolean =>
  error instanceof Error && ['40001', '40P01'].includes(String((error as { code?: unknown }).code));

/**
 * A transaction for commands that end things, which must not fail because somebody else is busy with the same rows: if
 * PostgreSQL chooses it as the victim of a deadlock, it is done again from the start. Within a transaction it is a savepoint
 * as ever, and the outermost one is done again.
 * @param work may run several times, so it has no effect outside the database
 */
export const transact = async <T>(db: Db, work: (db: Db) => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction(work);
    } catch (error) {
      if (db.isTransaction || attempt === attempts || !isClash(error)) throw error;
    }
  }
};
