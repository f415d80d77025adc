/**
 * An upgrade, and the way back: what each release asked of its schema can be asked of today's, today's migrations run on its
 * schema with rows in it, and it starts on a schema that is newer than it knows.
 */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { connect, type Database, type Db, executeSql } from '../../db/connect.ts';
import { loadMigrations, migrate, pendingMigrations } from '../../db/migrate.ts';
import { loadConfig } from '../../src/config.ts';
import { prepareSchema } from '../../src/main.ts';
import { administer, createTestDatabase, onPostgres } from '../support/database.ts';
import { defaultSettings } from '../support/server.ts';

const folder = fileURLToPath(new URL('../upgrade/', import.meta.url));
const releases = readdirSync(folder).filter((name) => /^\d/.test(name));
const read = (release: string, file: string) => readFileSync(join(folder, release, file), 'utf8');

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** An empty database. */
const emptyDatabase = async (): Promise<Database> => {
  const server = process.env.TEST_DATABASE_URL;
  if (!server) {
    const database = await connect({});
    open.push(() => database.close());
    return database;
  }
  const name = `runbooks_upgrade_${randomBytes(6).toString('hex')}`;
  await administer(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const database = await connect({ url: url.href });
  open.push(async () => {
    await database.close();
    await administer(server, `drop database ${name} with (force)`);
  });
  return database;
};

/** A database of a release, with rows in it. */
const databaseOf = async (release: string): Promise<Db> => {
  const { db } = await emptyDatabase();
  await executeSql(db, read(release, 'schema.sql'));
  await executeSql(db, read(release, 'rows.sql'));
  return db;
};

/** The queries that cannot be asked: PostgreSQL parses each against the schema, and works out its types, to prepare it. */
const broken = async (db: Db, queries: readonly string[]): Promise<string[]> => {
  const failures: string[] = [];
  const text = queries.map((query, index) => ({ query, prepare: `prepare frozen_${index} as ${query}` }));
  await db.transaction(async (db) => {
    for (const { query, prepare } of text) {
      try {
        await db.transaction(async (db) => {
          // Where a type cannot be told from a query alone, the service does not ask it either.
          await executeSql(db, prepare);
        });
      } catch (error) {
        failures.push(`${(error as Error).message}: ${query}`);
      }
    }
    await executeSql(db, 'deallocate all');
  });
  return failures;
};

const countRows = async (db: Db): Promise<Record<string, number>> => {
  const tables = ['users', 'clients', 'sessions', 'grants', 'refresh_tokens', 'oidc_payloads', 'consents', 'roles'];
  const counts: Record<string, number> = {};
  for (const table of tables) counts[table] = Number((await db(table).count({ rows: '*' }).first())?.rows);
  return counts;
};

describe.each(releases)('release %s', (release) => {
  const queries = JSON.parse(read(release, 'queries.json')) as string[];

  it('asks nothing that a migration since has broken', { timeout: 120_000 }, async () => {
    const db = await databaseOf(release);
    const rows = await countRows(db);
    expect(queries.length).toBeGreaterThan(100);
    expect(await broken(db, queries)).toEqual([]);
    expect(await broken(db, ['select no_column from users'])).toEqual([expect.stringContaining('"no_column"')]);
    const pending = await pendingMigrations(db);
    for (const { name, up } of (await loadMigrations()).filter(({ name }) => pending.includes(name))) {
      for (const statement of up) await db.raw(statement);
      await db('schemaMigrations').insert({ name });
      expect([name, await broken(db, queries)]).toEqual([name, []]);
    }
    expect(await countRows(db)).toMatchObject(rows);
  });

  it('is brought up to date, back, and up to date again', { timeout: 60_000 }, async () => {
    const db = await databaseOf(release);
    const rows = await countRows(db);
    const pending = await pendingMigrations(db);
    expect(await migrate(db)).toEqual(pending);
    const since = (await loadMigrations()).filter(({ name }) => pending.includes(name)).reverse();
    for (const { name, down } of since) {
      for (const statement of down) await db.raw(statement);
      await db('schemaMigrations').delete().where({ name });
    }
    expect(await migrate(db)).toEqual(pending);
    expect(await countRows(db)).toEqual(rows);
  });
});

it('starts on a schema that is newer than it knows, and leaves it alone', async () => {
  const database = await createTestDatabase();
  open.push(async () => {
    await database.close();
    await database.drop();
  });
  await database.db('schemaMigrations').insert({ name: '99990101000000_come_later' });
  const production = { NODE_ENV: 'production', DATABASE_URL: 'postgres://elsewhere/x', JWT_ISSUER: 'https://id.test' };
  const key = { ENCRYPTION_MASTER_KEY: defaultSettings.ENCRYPTION_MASTER_KEY.replace('test', 'tset') };
  await prepareSchema(
    loadConfig({ ...production, ENCRYPTION_MASTER_KEY: randomBytes(32).toString('base64') }),
    database,
  );
  await prepareSchema(loadConfig({ ...defaultSettings, ...key }), database);
  expect(await migrate(database.db)).toEqual([]);
});

it('builds an index outside a transaction where a migration asks for that, one replica at a time', async () => {
  const { db } = await emptyDatabase();
  const directory = mkdtempSync(join(tmpdir(), 'countersign-migrations-'));
  open.push(async () => rmSync(directory, { recursive: true }));
  const write = (name: string, text: string) => writeFileSync(join(directory, `${name}.ts`), text);
  write(
    '20270101000000_create_pets',
    `export const up = ['create table pets as select n::text as name from generate_series(1, 20000) n']; export const down = [];`,
  );
  const index = (column: string) => `export const concurrently = true; export const down = [];
    export const up = ['drop index concurrently if exists pets_name_idx', 'create index concurrently pets_name_idx on pets (${column})'];`;
  write('20270101000100_index_pets', index('name'));
  write('20270101000200_add_owners', `export const up = ['create table owners (name text)']; export const down = [];`);
  const names = ['20270101000000_create_pets', '20270101000100_index_pets', '20270101000200_add_owners'];
  const ran = await Promise.all([1, 2, 3].map(() => migrate(db, pathToFileURL(`${directory}/`))));
  expect(ran.flat().sort()).toEqual(names);
  expect(await migrate(db, pathToFileURL(`${directory}/`))).toEqual([]);
  const { rows } = (await db.raw(
    `select indisvalid as valid from pg_index where indexrelid = 'pets_name_idx'::regclass`,
  )) as {
    rows: unknown[];
  };
  expect(rows).toEqual([{ valid: true }]);
});

it.runIf(onPostgres)('waits for whoever uses a table, without making everybody else wait for long', async () => {
  const { db } = await emptyDatabase();
  await db.raw('create table busy (id integer)');
  const directory = mkdtempSync(join(tmpdir(), 'countersign-migrations-'));
  open.push(async () => rmSync(directory, { recursive: true }));
  const up = `export const up = ['alter table busy add column name text']; export const down = [];`;
  writeFileSync(join(directory, '20270101000000_change_busy.ts'), up);
  let migrating: Promise<string[]> | undefined;
  await db.transaction(async (using) => {
    await using.raw('select * from busy');
    migrating = migrate(db, pathToFileURL(`${directory}/`));
    // It has given way in between, else this would wait behind it until the transaction ends.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await db.raw(`set statement_timeout = '20s'`);
    expect((await db.raw('select count(*)::int as rows from busy')).rows).toEqual([{ rows: 0 }]);
  });
  expect(await migrating).toEqual(['20270101000000_change_busy']);
});
