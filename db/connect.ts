/**
 * One Knex over two backends: PostgreSQL when a URL is given, else PGlite in a folder. SQL is snake_case, code is
 * camelCase; the mapping is made here and nowhere else.
 */
import knex, { type Knex } from 'knex';

/** A pool or a transaction: every query takes one as its first argument, so that it cannot escape its transaction. */
export type Db = Knex;

export interface Database {
  db: Db;
  /** Calls back for each notification on the channel; resolves to a function that stops listening. */
  listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>>;
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

const toSnake = (name: string) =>
  remember(snakeNames, name, (text) => text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
const toCamel = (name: string) =>
  remember(camelNames, name, (text) => text.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));

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

const connectPostgres = (url: string, poolMax: number, statementSeconds: number): Database => {
  const db = knex({
    client: 'pg',
    connection: {
      connectionString: url,
      application_name: 'countersign',
      keepAlive: true,
      connectionTimeoutMillis: 3000,
    },
    pool: {
      min: 0,
      max: poolMax,
      // Not a parameter of the connection, which some poolers refuse. Zero means for ever.
      afterCreate: (connection: DriverConnection, done: (error: unknown, connection: unknown) => void) => {
        connection.query(`set statement_timeout = '${statementSeconds}s'`).then(
          () => done(undefined, connection),
          (error: unknown) => done(error, connection),
        );
      },
    },
    acquireConnectionTimeout: 5000,
    ...mapping,
  });
  return { db, listen: listenPostgres(url), close: () => db.destroy() };
};

/** LISTEN on a connection of its own; reconnects by itself, and tells listeners (with an empty payload) that it did. */
const listenPostgres =
  (url: string): Database['listen'] =>
  async (channel, callback) => {
    const { default: pg } = await import('pg');
    let stopped = false;
    let client: InstanceType<typeof pg.Client> | undefined;
    let retry: NodeJS.Timeout | undefined;
    const start = async (): Promise<void> => {
      const next = new pg.Client({ connectionString: url, application_name: 'countersign listen', keepAlive: true });
      client = next;
      next.on('notification', (message) => callback(message.payload ?? ''));
      next.on('error', () => {
        void next.end().catch(() => {});
        if (stopped || client !== next) return;
        client = undefined;
        retry = setTimeout(() => start().then(() => callback(''), again), 1000);
      });
      await next.connect();
      await next.query(`listen ${next.escapeIdentifier(channel)}`);
    };
    const again = () => {
      if (!stopped) retry = setTimeout(() => start().then(() => callback(''), again), 1000);
    };
    await start();
    return async () => {
      stopped = true;
      clearTimeout(retry);
      await client?.end();
    };
  };

const connectEmbedded = async (directory: string | undefined): Promise<Database> => {
  const [{ PGlite }, { default: ClientPgLite }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('knex-pglite'),
  ]);
  const pglite = await PGlite.create(directory);
  const db = knex({
    client: ClientPgLite,
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
    close: async () => {
      await db.destroy();
      if (!pglite.closed) await pglite.close();
    },
  };
};

/**
 * Opens the database. Nothing is migrated here.
 * @param url PostgreSQL; without it, PGlite in `directory` (in memory without that, for tests)
 * @param statementSeconds how long a statement of PostgreSQL may take, its waiting for locks included
 */
export const connect = ({
  url,
  directory,
  poolMax = 10,
  statementSeconds = 30,
}: {
  url?: string;
  directory?: string;
  poolMax?: number;
  statementSeconds?: number;
}): Promise<Database> =>
  url ? Promise.resolve(connectPostgres(url, poolMax, statementSeconds)) : connectEmbedded(directory);

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
  try {
    if (connection.exec && !values?.length) return (await connection.exec(text)).at(-1) ?? { rows: [] };
    return await connection.query(text, values);
  } finally {
    await db.client.releaseConnection(connection);
  }
};
