/**
 * Has PostgreSQL remember the plans of statements that come again and again: planning takes several times as long as finding what an index
 * finds, and milliseconds where a statement joins much. A statement is then sent by a name, which each connection learns once.
 */
import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import { LRUCache } from 'lru-cache';
import type { KnexClientClass, Statement } from './knex-client.ts';

/** After how many times a statement gets a name. */
const timesBefore = 2;
/** How many texts are counted, and how many get a name: each costs memory on every connection. */
const countedMax = 1000;
const namedMax = 300;

/** SQLSTATE of what a name cannot be used for any more: it is not known, or the columns of its answer have changed. */
export const outdated: ReadonlySet<unknown> = new Set(['26000', '0A000']);

/** Of the driver's. */
interface Connection {
  processID?: unknown;
  /** `I` outside of transactions. */
  getTransactionStatus?(): string | null;
}

export interface Preparing {
  Client: typeof Knex.Client;
  /**
   * Tells that a connection leads to one server process and no other. Where a pooler hands server processes around, a name may be
   * unknown to the next one, which would end a transaction.
   * @param serverProcess as the server itself tells it in an answer
   */
  trust(connection: object, serverProcess: number): void;
}

/** A client of Knex for PostgreSQL that prepares what it is asked often. */
export const prepareStatements = (Base: unknown): Preparing => {
  const direct = new WeakSet<object>();
  const times = new LRUCache<string, number>({ max: countedMax });
  const names = new Map<string, string>();
  let edition = 0;

  const nameOf = (sql: string): string | undefined => {
    const name = names.get(sql);
    if (name !== undefined || names.size >= namedMax) return name;
    const count = (times.get(sql) ?? 0) + 1;
    times.set(sql, count);
    if (count < timesBefore) return undefined;
    // By what it says, so that no two statements ever share one.
    const named = `${createHash('sha256').update(sql).digest('base64url')}_${edition}`;
    names.set(sql, named);
    times.delete(sql);
    return named;
  };

  class PreparingClient extends (Base as KnexClientClass) {
    override async _query(connection: Connection, statement: Statement): Promise<unknown> {
      const { sql, bindings, options } = statement;
      // What has no values may be several statements.
      const name = bindings?.length && direct.has(connection) ? nameOf(sql) : undefined;
      if (name === undefined) return super._query(connection, statement);
      statement.options = { ...options, name };
      try {
        return await super._query(connection, statement);
      } catch (error) {
        if (!outdated.has((error as { code?: unknown }).code)) throw error;
        edition++;
        names.clear();
        // Nothing was done. A transaction has ended by that, though.
        if (connection.getTransactionStatus?.() !== 'I') throw error;
        statement.options = options;
        return super._query(connection, statement);
      }
    }
  }

  return {
    Client: PreparingClient as unknown as typeof Knex.Client,
    trust: (connection: Connection, serverProcess) => {
      // A pooler makes up the number that it tells when a connection begins (the key for cancelling).
      if (connection.processID === serverProcess) direct.add(connection);
    },
  };
};
