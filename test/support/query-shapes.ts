/**
 * The queries of the service, without their values: each release keeps those that it asks (`test/upgrade`). They are recorded
 * where RECORD_QUERIES names a folder, on PostgreSQL.
 */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type Database } from '../../db/connect.ts';
import type { TestDatabase } from './database.ts';

/** What can be prepared, and is asked of our own tables. */
const kept = /^\s*(select|insert|update|delete|with)\b/i;
const foreign =
  /pg_catalog|pg_class|pg_notify|pg_tables|information_schema|pgboss|schema_migrations|advisory|audit_logs add/i;
const lengthMax = 20_000;

/**
 * A query as every query of its form is: white space, lines of comment, and how many rows or values there are, make no difference.
 * @returns undefined for what no schema could break
 */
export const shapeOf = (sql: string): string | undefined => {
  if (!kept.test(sql) || foreign.test(sql) || sql.length > lengthMax) return undefined;
  const value = '(?:\\$\\d+|default)';
  const row = `\\(${value}(?:, ${value})*\\)`;
  const one = sql
    .replace(/^\s*--.*$/gm, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(new RegExp(`(${row})(?:, ${row})+`, 'gi'), '$1')
    .replace(/\bin \((\$\d+)(?:, \$\d+)+\)/gi, 'in ($1)');
  const numbers = new Map<string, string>();
  return one.replace(/\$(\d+)/g, (_, number: string) => {
    if (!numbers.has(number)) numbers.set(number, `$${numbers.size + 1}`);
    return numbers.get(number) as string;
  });
};

/** Gives the service a connection of its own to a test's database, and keeps what it asks there. */
export const recordQueries = async (database: TestDatabase): Promise<Database> => {
  const folder = process.env.RECORD_QUERIES;
  if (!folder || !database.url) return database;
  const shapes = new Set<string>();
  const own = await connect({ url: database.url });
  own.db.on('query', ({ sql }: { sql: string }) => {
    const shape = shapeOf(sql);
    if (shape) shapes.add(shape);
  });
  const { close } = database;
  database.close = async () => {
    await own.close();
    writeFileSync(join(folder, `${randomUUID()}.json`), JSON.stringify([...shapes]));
    await close();
  };
  return own;
};
