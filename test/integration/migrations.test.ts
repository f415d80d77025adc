/** The schema: it comes, goes and comes again, and says the same of every table; and what has expired leaves it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import type { Db } from '../../db/connect.ts';
import { migrate, pendingMigrations, rollback } from '../../db/migrate.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let db: Db;
beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db;
});
afterAll(async () => {
  await database.close();
  await database.drop();
});

const read = async <T>(sql: string): Promise<T[]> => ((await db.raw(sql)) as { rows: T[] }).rows;

/** Tables, columns, constraints, indexes, triggers and functions, as PostgreSQL describes them. */
const describeSchema = async () => ({
  columns: await read(`select table_name, column_name, data_type, is_nullable, column_default
    from information_schema.columns where table_schema = 'public' order by 1, 2`),
  constraints:
    await read(`select conrelid::regclass::text as table_name, conname, pg_get_constraintdef(oid) as definition
    from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2`),
  indexes: await read(`select indexdef from pg_indexes where schemaname = 'public' order by 1`),
  triggers: await read(`select tgname, pg_get_triggerdef(oid) as definition from pg_trigger
    where not tgisinternal order by 1, 2`),
  functions: await read(`select proname from pg_proc where pronamespace = 'public'::regnamespace order by 1`),
});

describe('migrations', () => {
  it('go up, down and up again to the same schema', async () => {
    expect(await pendingMigrations(db)).toEqual([]);
    expect(await migrate(db)).toEqual([]);
    const before = await describeSchema();
    expect(before.columns.length).toBeGreaterThan(100);

    const gone = await rollback(db);
    expect(gone).toEqual([...gone].sort().reverse());
    expect(await read(`select tablename from pg_tables where schemaname = 'public'`)).toEqual([
      { tablename: 'schema_migrations' },
    ]);
    expect((await describeSchema()).functions).toEqual([]);
    expect(await pendingMigrations(db)).toEqual([...gone].reverse());
    expect(await rollback(db)).toEqual([]);

    // Whichever of the two comes first.
    const made = await Promise.all([migrate(db), migrate(db)]);
    expect(made.toSorted((one, other) => other.length - one.length)).toEqual([[...gone].reverse(), []]);
    expect(await describeSchema()).toEqual(before);
  });

  it('are all pending in an empty database', async () => {
    await rollback(db);
    await db.raw('drop table schema_migrations');
    const names = await pendingMigrations(db);
    expect(names.length).toBeGreaterThan(0);
    expect(await migrate(db)).toEqual(names);
  });

  it('leave nothing behind when one fails', async () => {
    await rollback(db);
    await db.raw('create table jwks_keys (in_the_way int)');
    await expect(migrate(db)).rejects.toThrow(/jwks_keys/);
    expect(await read(`select tablename from pg_tables where schemaname = 'public' order by 1`)).toEqual([
      { tablename: 'jwks_keys' },
      { tablename: 'schema_migrations' },
    ]);
    await db.raw('drop table jwks_keys');
    await migrate(db);
  });
});

describe('the schema', () => {
  it('has an index for every foreign key', async () => {
    const bare = await read(`select conname from pg_constraint c
      where contype = 'f' and connamespace = 'public'::regnamespace and not exists (
        select from pg_index i where i.indrelid = c.conrelid and i.indpred is null
          and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)`);
    expect(bare).toEqual([]);
  });

  it('names constraints and indexes after their table and what they do', async () => {
    const constraints = await read<{ table: string; name: string; kind: string }>(
      `select conrelid::regclass::text as table, conname as name, contype as kind from pg_constraint
       where connamespace = 'public'::regnamespace and contype in ('p', 'f', 'u', 'c')`,
    );
    const endings: Record<string, string> = { p: 'pkey', f: '[a-z_]+_fkey', u: '[a-z_]+_key', c: '[a-z_]+_check' };
    const wrong = constraints.filter(({ table, name, kind }) => !new RegExp(`^${table}_${endings[kind]}$`).test(name));
    expect(wrong).toEqual([]);
    const indexes = await read<{ table: string; name: string }>(
      `select tablename as table, indexname as name from pg_indexes where schemaname = 'public'`,
    );
    expect(indexes.filter(({ table, name }) => !new RegExp(`^${table}_([a-z_]+_)?(idx|key|pkey)$`).test(name))).toEqual(
      [],
    );
    expect(
      await read(`select tablename from pg_tables t where schemaname = 'public' and not exists (
      select from pg_constraint where contype = 'p' and conrelid = format('%I', t.tablename)::regclass)`),
    ).toEqual([]);
  });

  it('takes jsonb, timestamptz and text, never json, timestamp or varchar', async () => {
    const types = await read<{ type: string }>(
      `select distinct data_type as type from information_schema.columns where table_schema = 'public' order by 1`,
    );
    expect(types.map(({ type }) => type)).toEqual([
      'ARRAY',
      // A passkey's counter has 32 bits without a sign.
      'bigint',
      'boolean',
      'bytea',
      // Degrees on the globe.
      'double precision',
      'integer',
      'jsonb',
      'text',
      'timestamp with time zone',
      'uuid',
    ]);
  });

  it('keeps phone, birthdate and address out of every column', async () => {
    const columns = await read<{ name: string }>(
      `select column_name as name from information_schema.columns where table_schema = 'public' and table_name = 'users'`,
    );
    const personal = columns.filter(({ name }) => /phone|birth|address|street|given|family/.test(name));
    expect(personal).toEqual([{ name: 'phone_index' }]);
  });
});

describe('cleanExpired', () => {
  const past = () => new Date(Date.now() - 1000);
  const future = () => new Date(Date.now() + 60_000);
  const longAgo = () => new Date(Date.now() - 2 * 86_400_000);
  let userId: string;
  const clientId = 'acme';
  beforeAll(async () => {
    userId = randomUUID();
    await db('users').insert({
      id: userId,
      email: 'ada@example.com',
      name: 'Ada',
      roleId: db('roles').where({ name: 'user' }).select('id'),
    });
    await db('clients').insert({ clientId });
  });

  /** A row of each table that expires. */
  const rows: Record<string, (expiresAt: Date | null) => Record<string, unknown>> = {
    actionTokens: (expiresAt) => ({ tokenHash: randomUUID(), purpose: 'setup', expiresAt }),
    oneTimeCodes: (expiresAt) => ({
      id: randomUUID(),
      purpose: 'mfa',
      subject: randomUUID(),
      channel: 'sms',
      codeHash: 'x',
      expiresAt,
    }),
    sessions: (expiresAt) => ({ idHash: randomUUID(), uid: randomUUID(), payload: '{}', expiresAt }),
    refreshTokens: (expiresAt) => ({
      tokenHash: randomUUID(),
      userId,
      clientId,
      grantId: 'g',
      payload: '{}',
      expiresAt,
    }),
    oidcPayloads: (expiresAt) => ({ model: 'AccessToken', idHash: randomUUID(), payload: '{}', expiresAt }),
    revokedTokens: (expiresAt) => ({ jtiHash: randomUUID(), expiresAt }),
    grants: (expiresAt) => ({ id: randomUUID(), userId, clientId, payload: '{}', expiresAt }),
  };
  const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

  for (const [table, row] of Object.entries(rows))
    it(`empties ${table} of what has expired, batch by batch, and leaves the rest`, async () => {
      const expired = 1203;
      await db.batchInsert(
        table,
        Array.from({ length: expired }, () => row(past())),
        500,
      );
      await db(table).insert(row(future()));
      expect((await cleanExpired(db))[snake(table)]).toBe(expired);
      expect(await db(table).where('expiresAt', '>', db.fn.now())).toHaveLength(1);
      expect((await cleanExpired(db))[snake(table)]).toBe(0);
      await db(table).delete();
    });

  it('leaves what never expires', async () => {
    await db('oidcPayloads').insert(rows.oidcPayloads?.(null));
    await cleanExpired(db);
    expect(await db('oidcPayloads')).toHaveLength(1);
  });

  it('takes a grant that neither a session nor a refresh token needs any more', async () => {
    const grant = (id: string, extra = {}) => ({ ...rows.grants?.(future()), id, createdAt: longAgo(), ...extra });
    await db('sessions').insert([
      { ...rows.sessions?.(future()), uid: 'live' },
      { ...rows.sessions?.(past()), uid: 'ended' },
    ]);
    await db('refreshTokens').insert([
      { ...rows.refreshTokens?.(future()), grantId: 'refreshed' },
      { ...rows.refreshTokens?.(past()), grantId: 'lapsed' },
    ]);
    await db('grants').insert([
      grant('refreshed', { sessionUid: 'ended' }),
      grant('of a session', { sessionUid: 'live' }),
      grant('lapsed', { sessionUid: 'ended' }),
      grant('young', { createdAt: new Date() }),
    ]);
    await cleanExpired(db);
    expect(await db('grants').pluck('id').orderBy('id')).toEqual(['of a session', 'refreshed', 'young']);
  });
});
