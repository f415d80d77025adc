/** Once per run: makes the migrated database that each test file gets a copy of. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { connect } from '../../db/connect.ts';
import { migrate } from '../../db/migrate.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A folder (embedded) or the name of a template database (PostgreSQL). */
    template: string;
  }
}

const makeTemplate = async (options: Parameters<typeof connect>[0]): Promise<void> => {
  const database = await connect(options);
  await migrate(database.db);
  await database.close();
};

export const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  const server = process.env.TEST_DATABASE_URL;
  if (!server) {
    const directory = await mkdtemp(join(tmpdir(), 'countersign-template-'));
    await makeTemplate({ directory });
    project.provide('template', directory);
    return () => rm(directory, { recursive: true, force: true });
  }
  const name = `countersign_template_${process.pid}`;
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  await client.query(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  await makeTemplate({ url: url.href });
  project.provide('template', name);
  return async () => {
    await client.query(`drop database if exists ${name} with (force)`);
    await client.end();
  };
};
