/**
 * Runs the files of `db/migrations` in order of their names; each exports `up` and `down`, lists of SQL statements.
 * Knex's own migrator takes several transactions and a lock that outlives a crash; this needs one transaction.
 */
import { readdir } from 'node:fs/promises';
import type { Db } from './connect.ts';

interface Migration {
  name: string;
  up: readonly string[];
  down: readonly string[];
}

const directory = new URL('./migrations/', import.meta.url);

/** Any constant that no other advisory lock of ours uses. */
const migrationLock = 7_262_001;

const load = async (): Promise<Migration[]> => {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.ts')).sort();
  return Promise.all(
    names.map(async (file) => {
      const { up, down } = (await import(new URL(file, directory).href)) as Omit<Migration, 'name'>;
      return { name: file.slice(0, -3), up, down };
    }),
  );
};

/**
 * One transaction behind an advisory lock that it holds: of two replicas that start together one migrates and the
 * other waits, then finds nothing to do; a crash leaves neither lock nor half a schema.
 */
const locked = <T>(db: Db, work: (db: Db, applied: Set<string>) => Promise<T>): Promise<T> =>
  db.transaction(async (db) => {
    // A change of a large table, and the wait for another replica's, take as long as they take.
    await db.raw('set local statement_timeout = 0');
    await db.raw('select pg_advisory_xact_lock(?)', [migrationLock]);
    await db.raw(`create table if not exists schema_migrations (
      name text constraint schema_migrations_pkey primary key,
      applied_at timestamptz not null default now()
    )`);
    return work(db, new Set(await db('schemaMigrations').pluck('name')));
  });

const run = async (db: Db, statements: readonly string[]): Promise<void> => {
  for (const statement of statements) await db.raw(statement);
};

/** Brings the schema up to date. @returns the names of the migrations that ran. */
export const migrate = (db: Db): Promise<string[]> =>
  locked(db, async (db, applied) => {
    const pending = (await load()).filter(({ name }) => !applied.has(name));
    for (const { name, up } of pending) {
      await run(db, up);
      await db('schemaMigrations').insert({ name });
    }
    return pending.map(({ name }) => name);
  });

/** Takes every migration back, newest first. @returns their names. */
export const rollback = (db: Db): Promise<string[]> =>
  locked(db, async (db, applied) => {
    const done = (await load()).filter(({ name }) => applied.has(name)).reverse();
    for (const { name, down } of done) {
      await run(db, down);
      await db('schemaMigrations').delete().where({ name });
    }
    return done.map(({ name }) => name);
  });

/** The migrations that have not run yet; empty when the schema is up to date. */
export const pendingMigrations = async (db: Db): Promise<string[]> => {
  const names = (await load()).map(({ name }) => name);
  if (!(await db.schema.hasTable('schema_migrations'))) return names;
  const applied = new Set(await db('schemaMigrations').pluck('name'));
  return names.filter((name) => !applied.has(name));
};
