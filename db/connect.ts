/**
 * One Knex over two backends: PostgreSQL when a URL is given, else PGlite in a folder. SQL is snake_case, code is
 * camelCase; the mapping is made here and nowhere else.
 */
import type { PGliteOptions } from '@electric-sql/pglite';
import knex, { type Knex } from 'knex';
import { queries } from '../src/observing.ts';
import { createListening, type Listening } from './listening.ts';
import { camelCase, snakeCase } from './names.ts';
import { prepareStatements } from './preparing.ts';
import { prepareEmbedded } from './preparing-embedded.ts';
import { watchReachability } from './reachability.ts';
import { countWrites } from './writes.ts';

/** A pool or a transaction: every query takes one as its first argument, so that it cannot escape its transaction. */
export type Db = Knex;

export interface Database {
  db: Db;
  /**
   * Calls back for each notification on the channel, and with an empty payload after some may have been missed; resolves to a
   * function that stops listening.
   */
  listen: Listening['listen'];
  /** Whether whoever listens has been told of everything that was committed before this was called; false if that takes longer. */
  catchUp: Listening['catchUp'];
  /** How often this process has written something that whoever listens may have to know. */
  writes(): number;
  close(): Promise<void>;
}

const snakeNames = new Map<string, string>();
const camelNames = new Map<string, string>();

const remember = (names: Map<string, string>, name: string, convert: (name: string) => string): string => {
  let converted = names.get(name);
  if (converted === undefined) {
    converted = convert(name);
    names.set(name, converted);
  }
  return converted;
};

const toSnake = (name: string) => remember(snakeNames, name, snakeCase);
const toCamel = (name: string) => remember(camelNames, name, camelCase);

const camelRow = (row: unknown): unknown => {
  if (row === null || typeof row !== 'object' || Array.isArray(row)) return row;
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(row)) result[toCamel(name)] = value;
  return result;
};

/** Whoever runs a query handles its failure; Knex would print each one to the console besides. */
const silent = { warn: () => {}, error: () => {}, deprecate: () => {}, debug: () => {} };

const mapping: Pick<Knex.Config, 'wrapIdentifier' | 'postProcessResponse' | 'log' | 'compileSqlOnError'> = {
  log: silent,
  // Errors must not quote values, which may be personal.
  compileSqlOnError: false,
  wrapIdentifier: (name, wrap) => wrap(name === '*' ? name : toSnake(name)),
  postProcessResponse: (result: unknown) => {
    if (Array.isArray(result)) return result.map(camelRow);
    if (result !== null && typeof result === 'object' && 'rows' in result && Array.isArray(result.rows)) {
      return { ...result, rows: result.rows.map(camelRow) };
    }
    return camelRow(result);
  },
};

interface PostgresOptions {
  url: string;
  /** For what is listened to, where `url` leads to a pooler. */
  listenUrl?: string | undefined;
  poolMax: number;
  statementSeconds: number;
  tell?: ((isAway: boolean) => void) | undefined;
}

/** A connection of its own, opened, asked and closed within that time. */
const probePostgres = (url: string) => async (withinMs: number) => {
  const { default: pg } = await import('pg');
  const client = new pg.Client({
    connectionString: url,
    application_name: 'countersign probe',
    connectionTimeoutMillis: withinMs,
    query_timeout: withinMs,
  });
  client.on('error', () => {});
  const timer = setTimeout(() => client.end().catch(() => {}), 2 * withinMs);
  try {
    await client.connect();
    await client.query('select 1');
  } finally {
    clearTimeout(timer);
    void client.end().catch(() => {});
  }
};

const connectPostgres = ({ url, listenUrl = url, poolMax, statementSeconds, tell }: PostgresOptions): Database => {
  // One without a connection, for its class, which is not exported.
  const prepared = prepareStatements(knex({ client: 'pg', ...mapping }).client.constructor);
  const watched = watchReachability(prepared.Client, {
    probe: probePostgres(url),
    statementSeconds,
    tell,
  });
  const counted = countWrites(watched.Client);
  const db = knex({
    client: counted.Client,
    connection: {
      connectionString: url,
      application_name: 'countersign',
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: 3000,
    },
    pool: {
      min: 0,
      max: poolMax,
      // Not parameters of the connection, which some poolers refuse. Zero means for ever. What is asked here is answered by
      // indexes in milliseconds, while the compiler, which the estimates of recursive queries call for, takes half a second.
      afterCreate: (connection: DriverConnection, done: (error: unknown, connection: unknown) => void) => {
        const begin = `set statement_timeout = '${statementSeconds}s'; set jit = off; select pg_backend_pid() as pid`;
        (connection.query(begin) as Promise<unknown> as Promise<{ rows: { pid: number }[] }[]>).then(
          (answers) => {
            prepared.trust(connection, answers.at(-1)?.rows[0]?.pid as number);
            done(undefined, connection);
          },
          (error: unknown) => done(error, connection),
        );
      },
    },
    acquireConnectionTimeout: 5000,
    ...mapping,
  });
  return {
    db,
    ...createListening(listenUrl),
    writes: counted.writes,
    close: async () => {
      watched.stop();
      await db.destroy();
    },
  };
};

const connectEmbedded = async (directory: string | undefined, files: PGliteOptions['fs']): Promise<Database> => {
  const [{ PGlite, protocol }, { default: ClientPgLite }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('knex-pglite'),
  ]);
  const pglite = await PGlite.create(directory, files ? { fs: files } : {});
  const counted = countWrites(prepareEmbedded(ClientPgLite, protocol.serialize));
  const db = knex({
    client: counted.Client,
    // The package takes an instance through a function; its types do not know it.
    connection: (() => ({ pglite })) as unknown as Knex.StaticConnectionConfig,
    ...mapping,
    // Nor does it count what a deletion deleted: Knex waits for the command `DELETE` and is told `DEL`.
    postProcessResponse: (result, context) => {
      const { command, rowCount } = (result ?? {}) as { command?: unknown; rowCount?: number };
      return command === 'DEL' ? rowCount : mapping.postProcessResponse?.(result, context);
    },
  });
  return {
    db,
    listen: (channel, callback) => pglite.listen(channel, callback),
    // What a commit tells is told within the process, before whoever committed goes on.
    catchUp: () => new Promise((resolve) => setImmediate(resolve, true)),
    writes: counted.writes,
    close: async () => {
      await db.destroy();
      if (!pglite.closed) await pglite.close();
    },
  };
};

/**
 * Opens the database. Nothing is migrated here.
 * @param url PostgreSQL; without it, PGlite in `directory` (in memory without that, for tests)
 * @param files what the embedded database keeps its files in instead
 * @param statementSeconds how long a statement of PostgreSQL may take, its waiting for locks included
 * @param tell called when PostgreSQL stops to answer without a word, and when it answers again
 */
export const connect = ({
  url,
  listenUrl,
  directory,
  files,
  poolMax = 10,
  statementSeconds = 30,
  tell,
}: Partial<PostgresOptions> & { directory?: string; files?: PGliteOptions['fs'] }): Promise<Database> =>
  url
    ? Promise.resolve(connectPostgres({ url, listenUrl, poolMax, statementSeconds, tell }))
    : connectEmbedded(directory, files);

/** Sends a notification; inside a transaction it leaves when that commits. */
export const notify = async (db: Db, channel: string, payload: string): Promise<void> => {
  await db.raw('select pg_notify(?, ?)', [channel, payload]);
};

interface DriverConnection {
  query(sql: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/**
 * Runs driver-style SQL (`$1`, several statements when there are no values) on this handle's own connection, so that
 * a library which brings its SQL can take part in our transactions. Rows come as the driver gives them.
 */
export const executeSql = async (
  db: Db,
  text: string,
  values?: unknown[],
): Promise<{ rows: Record<string, unknown>[] }> => {
  const connection = (await db.client.acquireConnection()) as DriverConnection & {
    exec?: (sql: string) => Promise<{ rows: Record<string, unknown>[] }[]>;
  };
  const end = queries.tell?.(text);
  try {
    const result =
      connection.exec && !values?.length
        ? ((await connection.exec(text)).at(-1) ?? { rows: [] })
        : await connection.query(text, values);
    end?.();
    return result;
  } catch (error) {
    end?.(error);
    throw error;
  } finally {
    await db.client.releaseConnection(connection);
  }
};

interface DirectClient {
  acquireConnection(): Promise<object>;
  query(connection: object, query: DirectQuery): Promise<unknown>;
  releaseConnection(connection: object): Promise<void>;
}

interface DirectQuery {
  sql: string;
  bindings: unknown[];
  response?: { rows: unknown[] };
}

/**
 * Runs a statement as it stands (`$1`) on a connection of the pool, watched over and counted like any other. Nothing is put
 * together and no row is mapped, which for what is asked all the time costs more than the asking.
 */
export const queryDirectly = async <Row>(db: Db, sql: string, bindings: unknown[]): Promise<Row[]> => {
  const client = db.client as DirectClient;
  const connection = await client.acquireConnection();
  try {
    const query: DirectQuery = { sql, bindings };
    await client.query(connection, query);
    return (query.response as { rows: Row[] }).rows;
  } finally {
    await client.releaseConnection(connection);
  }
};
