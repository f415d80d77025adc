/**
 * Runs the files of `db/migrations` in order of their names; each exports `up` and `down`, lists of SQL statements.
 * Knex's own migrator takes several transactions and a lock that outlives a crash; this needs one transaction.
 */
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Db } from './connect.ts';

export interface Migration {
  name: string;
  up: readonly string[];
  down: readonly string[];
  /**
   * Its statements run one by one outside any transaction, for `create index concurrently` on a large table. They may have run
   * in part before, so each begins by dropping what it makes.
   */
  concurrently?: true;
}

const ours = new URL('./migrations/', import.meta.url);

/** Any constants that no other advisory lock of ours uses. */
const migrationLock = 7_262_001;
const outsideLock = 7_262_010;

/** How long a change of a table waits for whoever uses it. Everybody else waits behind it meanwhile. */
const lockSeconds = 2;
/** How often a migration is tried that somebody's lock stood in the way of. */
const attempts = 30;
const pauseMs = 1000;

/** The names of all migrations, in their order. */
const listMigrations = async (directory: URL): Promise<string[]> =>
  (await readdir(directory)).flatMap((file) => (file.endsWith('.ts') ? file.slice(0, -3) : [])).sort();

/** All migrations, in their order. */
export const loadMigrations = async (directory: URL = ours): Promise<Migration[]> =>
  Promise.all(
    (await listMigrations(directory)).map(async (name) => {
      const file = new URL(`${name}.ts`, directory);
      const { up, down, concurrently } = (await import(file.href)) as Omit<Migration, 'name'>;
      return { name, up, down, ...(concurrently ? { concurrently } : {}) };
    }),
  );

/**
 * One transaction behind an advisory lock that it holds: of two replicas that start together one migrates and the
 * other waits, then finds nothing to do; a crash leaves neither lock nor half a schema.
 */
const locked = <T>(db: Db, work: (db: Db, applied: Set<string>) => Promise<T>): Promise<T> =>
  db.transaction(async (db) => {
    // A change of a large table, and the wait for another replica's, take as long as they take.
    await db.raw('set local statement_timeout = 0');
    await db.raw('select pg_advisory_xact_lock(?)', [migrationLock]);
    // After that lock, which has to be waited for.
    await db.raw(`set local lock_timeout = '${lockSeconds}s'`);
    await db.raw(`create table if not exists schema_migrations (
      name text constraint schema_migrations_pkey primary key,
      applied_at timestamptz not null default now()
    )`);
    return work(db, new Set(await db('schemaMigrations').pluck('name')));
  });

const run = async (db: Db, statements: readonly string[]): Promise<void> => {
  for (const statement of statements) await db.raw(statement);
};

/**
 * One by one on one connection, for as long as each takes, and by one replica at a time: the others ask again now and then, since
 * `create index concurrently` waits for all statements that run, one that waits for a lock included.
 * @returns whether it ran here
 */
const runOutside = async (db: Db, { name, up }: Migration): Promise<boolean> => {
  const connection = await db.client.acquireConnection();
  const ask = async (sql: string) =>
    ((await db.raw(sql).connection(connection)) as { rows: [{ answer: unknown }] }).rows;
  const applied = () => db('schemaMigrations').connection(connection);
  try {
    while (!(await ask(`select pg_try_advisory_lock(${outsideLock}) as answer`))[0].answer) await sleep(pauseMs);
    const [limit] = await ask(`select current_setting('statement_timeout') as answer`);
    try {
      await ask('set statement_timeout = 0');
      if (await applied().where({ name }).first('name')) return false;
      for (const statement of up) await ask(statement);
      await applied().insert({ name });
      return true;
    } finally {
      await ask(`set statement_timeout = '${limit.answer}'`);
      await ask(`select pg_advisory_unlock(${outsideLock})`);
    }
  } finally {
    await db.client.releaseConnection(connection);
  }
};

/** Tries again what failed because somebody had locked a table (55P03): the service of the release before still runs. */
const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: string }).code !== '55P03' || attempt === attempts) throw error;
      await sleep(pauseMs);
    }
  }
};

/** Runs what is pending up to a migration that must run outside. @returns what ran, and that one */
const runPending = (db: Db, directory: URL): Promise<{ ran: string[]; next?: Migration | undefined }> =>
  locked(db, async (db, applied) => {
    const pending = (await loadMigrations(directory)).filter(({ name }) => !applied.has(name));
    const outside = pending.findIndex(({ concurrently }) => concurrently);
    const inside = outside === -1 ? pending : pending.slice(0, outside);
    for (const { name, up } of inside) {
      await run(db, up);
      await db('schemaMigrations').insert({ name });
    }
    return { ran: inside.map(({ name }) => name), next: outside === -1 ? undefined : pending[outside] };
  });

/**
 * Brings the schema up to date. What the service of the release before does meanwhile goes on.
 * @returns the names of the migrations that ran
 */
export const migrate = async (db: Db, directory: URL = ours): Promise<string[]> => {
  const done: string[] = [];
  for (;;) {
    const { ran, next } = await patiently(() => runPending(db, directory));
    done.push(...ran);
    if (!next) return done;
    if (await runOutside(db, next)) done.push(next.name);
  }
};

/** Takes every migration back, newest first. @returns their names. */
export const rollback = (db: Db): Promise<string[]> =>
  locked(db, async (db, applied) => {
    const done = (await loadMigrations()).filter(({ name }) => applied.has(name)).reverse();
    for (const { name, down } of done) {
      await run(db, down);
      await db('schemaMigrations').delete().where({ name });
    }
    return done.map(({ name }) => name);
  });

/** Migrations that have not run yet, and those that ran and that only a newer version has; none when the schema is up to date. */
export const compareMigrations = async (db: Db): Promise<{ pending: string[]; ahead: string[] }> => {
  const names = await listMigrations(ours);
  const isThere = await db.schema.hasTable('schema_migrations');
  const applied: string[] = isThere ? await db('schemaMigrations').pluck('name') : [];
  return {
    pending: names.filter((name) => !applied.includes(name)),
    ahead: applied.filter((name) => !names.includes(name)),
  };
};

/** The migrations that have not run yet. */
export const pendingMigrations = async (db: Db): Promise<string[]> => (await compareMigrations(db)).pending;
