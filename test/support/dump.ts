/** Everything that a database holds, as text. */
import type { Db } from '../../db/connect.ts';

/** Numbers that are counted once a minute, whatever is done. */
const counted = 'samples';

/** Every row of every table but `counted`, by `schema.table`, sorted; each row as PostgreSQL writes it. */
export const dumpTables = async (db: Db, schemas?: readonly string[]): Promise<Record<string, string[]>> => {
  const { rows: tables } = (await db.raw(
    `select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition
       and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%' order by 1, 2`,
  )) as { rows: { schema: string; name: string }[] };
  const dump: Record<string, string[]> = {};
  for (const { schema, name } of tables) {
    if (name === counted || (schemas && !schemas.includes(schema))) continue;
    const { rows } = (await db.raw('select row_to_json(t)::text as row from ??.?? t', [schema, name])) as {
      rows: { row: string }[];
    };
    dump[`${schema}.${name}`] = rows.map(({ row }) => row).sort();
  }
  return dump;
};

/** Columns and tables that change although nothing was done: when a key was last seen, and how often a code was tried. */
const incidental: Readonly<Record<string, readonly string[]>> = {
  api_keys: ['last_used_at'],
  one_time_codes: ['tries'],
};

/**
 * A digest of every table that a request could change, and of the jobs that wait. The audit log is left out, which is added
 * to by refusals as well; so are the questions that policies are tried on, the queue's own tables and what is `incidental`.
 */
export const digestTables = async (db: Db): Promise<Record<string, string>> => {
  const made = digesting.get(db) ?? makeDigesting(db);
  digesting.set(db, made);
  await made;
  const { rows } = (await db.raw('select * from digests.every_table()')) as {
    rows: { name: string; digest: string }[];
  };
  return Object.fromEntries(rows.map(({ name, digest }) => [name, digest]));
};

const digesting = new WeakMap<Db, Promise<void>>();

/** In a function each connection plans so many selects once, which costs more than to run them. */
const makeDigesting = async (db: Db): Promise<void> => {
  const { rows: tables } = (await db.raw(
    `select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition and n.nspname = 'public'
       and c.relname not like 'audit\\_logs%' and c.relname not like 'knex%' and c.relname not in ('decisions', '${counted}')
     order by 1`,
  )) as { rows: { name: string }[] };
  // Whatever the order of the rows is, which need not be sorted for it.
  const digest = (row: string) => `concat(count(*), ' ', sum(hashtextextended(${row}, 0)::numeric))`;
  const selects = tables.map(({ name }) => {
    const left = (incidental[name] ?? []).map((column) => ` - '${column}'`).join('');
    return `select '${name}'::text as name, ${digest(left ? `(to_jsonb(t)${left})::text` : 't::text')} as digest from "${name}" t`;
  });
  selects.push(
    `select 'jobs'::text, ${digest('t.id::text')} from pgboss.job t where name in ('mail', 'sms', 'mail-request', 'code-request', 'backchannel-logout')`,
  );
  await db.raw('create schema digests');
  await db.raw(`create function digests.every_table() returns table (name text, digest text) language plpgsql as $$
    #variable_conflict use_column
    begin return query ${selects.join(' union all ')}; end $$`);
};

/** Waits until no job is under way that a request gave rise to. */
export const settleJobs = async (db: Db): Promise<void> => {
  for (let attempt = 0; attempt < 1200; attempt++) {
    const { rows } = (await db.raw(
      `select 1 from pgboss.job where name in ('mail', 'sms', 'mail-request', 'code-request', 'backchannel-logout')
         and state in ('created', 'active') limit 1`,
    )) as { rows: unknown[] };
    if (!rows.length) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('jobs that do not end');
};
