/**
 * A migrated database for each test file: a copy in memory of one that was made at the start of the run, or, with
 * TEST_DATABASE_URL, a PostgreSQL database of its own made from a template. What becomes of an embedded database's files is
 * tested where the service is a process (the command line, the faults, a newcomer's start).
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { connect, type Database } from '../../db/connect.ts';
import { copyToMemory } from './memory-files.ts';

export interface TestDatabase extends Database {
  /** Of the PostgreSQL database, when there is one. */
  url?: string;
  drop(): Promise<void>;
}

export const onPostgres = Boolean(process.env.TEST_DATABASE_URL);

/** Runs statements on the server's maintenance database. */
export const administer = async (server: string, ...statements: string[]): Promise<void> => {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
};

const postgres = async (server: string, poolMax: number): Promise<TestDatabase> => {
  const name = `countersign_test_${randomBytes(6).toString('hex')}`;
  await administer(server, `create database ${name} template ${inject('template')}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const database = await connect({ url: url.href, poolMax });
  return { ...database, url: url.href, drop: () => administer(server, `drop database if exists ${name} with (force)`) };
};

const embedded = async (): Promise<TestDatabase> => {
  const database = await connect({ files: copyToMemory(inject('template')) });
  return { ...database, drop: async () => {} };
};

/** Opens a migrated database that nobody else uses. Close it, then drop it. */
export const createTestDatabase = (poolMax = 10): Promise<TestDatabase> =>
  process.env.TEST_DATABASE_URL ? postgres(process.env.TEST_DATABASE_URL, poolMax) : embedded();
