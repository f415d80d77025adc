/**
 * Notices when PostgreSQL does not answer any more without a word: a machine that froze, a network that loses packets. A statement
 * may take as long as its limit says; but when one has not been answered for a few seconds, a new connection is tried beside it,
 * and if that is not answered either, every connection is given up and whoever asks is told at once, until a
 * connection is answered again. Requests then cost neither seconds of waiting nor the memory for it.
 */
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Knex } from 'knex';
import type { KnexClientClass, Statement } from './knex-client.ts';

/** For how long a statement is waited for before the server is asked whether it is there, in milliseconds. */
const patienceMs = 3000;

/** How long the server may take to answer that. */
const probeMs = 2000;

/** How often it is asked while it does not. */
const retryMs = 500;

/** How often statements are looked at. */
const watchMs = 500;

/** A clock that shows whether this process itself is late. */
const tickMs = 100;

/** Beyond the limit of the server's own, after which a connection is taken for lost. */
const graceMs = 5000;

interface Connection extends EventEmitter {
  connection?: { stream?: Socket };
}

export interface Reachability {
  Client: typeof Knex.Client;
  /** Whether it is known that the server does not answer. */
  isAway(): boolean;
  stop(): void;
}

export interface ReachabilityOptions {
  /** Connects, asks something, and closes; rejects when that fails. It has to end by itself. */
  probe(withinMs: number): Promise<void>;
  /** How long a statement may take on the server, in seconds; 0: for ever. */
  statementSeconds: number;
  /** Called when the server stops to answer, and when it answers again. */
  tell?: ((isAway: boolean) => void) | undefined;
}

/** SQLSTATE class 08: whoever asks is to come back. */
const silence = () => Object.assign(new Error('the database does not answer'), { code: '08006' });

/** An error that the server itself sent: it is there, and has no room for a probe, say. One that starts or stops is not. */
const isAnswer = (error: unknown): boolean => {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !/^(57P0|08)/.test(code) && !code.startsWith('E');
};

const giveUp = (connection: Connection | object): void => {
  (connection as Partial<Connection>).connection?.stream?.destroy();
};

/** A client of Knex for PostgreSQL that watches over its statements. */
export const watchReachability = (
  Base: unknown,
  { probe, statementSeconds, tell = () => {} }: ReachabilityOptions,
): Reachability => {
  const connections = new Set<Connection>();
  /** Since when a connection's statement is waited for, or somebody waits for a connection. */
  const asked = new Map<Connection | object, number>();
  /** Connections whose transaction has set the server's own limit aside, as migrations do. */
  const unlimited = new WeakSet<object>();
  const statementMsMax = statementSeconds ? statementSeconds * 1000 + graceMs : Number.POSITIVE_INFINITY;
  let isAway = false;
  let isProbing = false;
  let answeredAt = 0;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  const probed = async (): Promise<boolean> => {
    try {
      await probe(probeMs);
      return true;
    } catch (error) {
      return isAnswer(error);
    }
  };
  const comeBack = (): void => {
    setTimeout(async () => {
      if (isStopped) return;
      if (!(await probed())) return comeBack();
      isAway = false;
      tell(false);
    }, retryMs).unref();
  };
  const check = async (): Promise<void> => {
    isProbing = true;
    const began = performance.now();
    let ticks = 0;
    const clock = setInterval(() => ticks++, tickMs);
    const isAnswered = await probed();
    clearInterval(clock);
    isProbing = false;
    // To connect takes several turns of the event loop: where those are late, the answer may be there and nobody has looked.
    const passed = performance.now() - began;
    const isThere = isAnswered || (passed >= probeMs && ticks < (0.75 * passed) / tickMs);
    answeredAt = performance.now();
    if (isThere || isAway || isStopped) return;
    isAway = true;
    tell(true);
    for (const connection of connections) giveUp(connection);
    comeBack();
  };
  const watch = (): void => {
    const now = performance.now();
    let oldest = now;
    for (const [connection, since] of asked) {
      if (now - since > statementMsMax && !unlimited.has(connection)) giveUp(connection);
      if (since < oldest) oldest = since;
    }
    if (!isAway && !isProbing && now - Math.max(oldest, answeredAt) > patienceMs) void check();
  };

  class WatchingClient extends (Base as KnexClientClass) {
    override async acquireConnection(): Promise<unknown> {
      if (isAway) throw silence();
      timer ??= setInterval(watch, watchMs).unref();
      const waiting = {};
      asked.set(waiting, performance.now());
      try {
        return await super.acquireConnection();
      } finally {
        asked.delete(waiting);
      }
    }

    override async acquireRawConnection(): Promise<Connection> {
      if (isAway) throw silence();
      const connection = (await super.acquireRawConnection()) as Connection;
      connections.add(connection);
      connection.once('end', () => connections.delete(connection));
      return connection;
    }

    override async _query(connection: Connection, statement: Statement): Promise<unknown> {
      const { sql } = statement;
      if (sql.includes('statement_timeout = 0')) unlimited.add(connection);
      asked.set(connection, performance.now());
      try {
        return await super._query(connection, statement);
      } finally {
        asked.delete(connection);
        if (sql === 'COMMIT;' || sql === 'ROLLBACK') unlimited.delete(connection);
      }
    }
  }

  return {
    Client: WatchingClient as unknown as typeof Knex.Client,
    isAway: () => isAway,
    stop: () => {
      isStopped = true;
      clearInterval(timer);
    },
  };
};
