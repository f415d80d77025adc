/** Everything that a database holds, as text. */
import type { Db } from '../../db/connect.ts';

/** Every row of every table, by `schema.table`, sorted; each row as PostgreSQL writes it. */
export const dumpTables = async (db: Db, schemas?: readonly string[]): Promise<Record<string, string[]>> => {
  const { rows: tables } = (await db.raw(
    `select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition
       and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%' order by 1, 2`,
  )) as { rows: { schema: string; name: string }[] };
  const dump: Record<string, string[]> = {};
  for (const { schema, name } of tables) {
    if (schemas && !schemas.includes(schema)) continue;
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
 * to by refusals as well; so are the queue's own tables and what is `incidental`.
 */
export const digestTables = async (db: Db): Promise<Record<string, string>> => {
  const { rows: tables } = (await db.raw(
    `select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition and n.nspname = 'public'
       and c.relname not like 'audit\\_logs%' and c.relname not like 'knex%' order by 1`,
  )) as { rows: { name: string }[] };
  const digest = (row: string) => `md5(coalesce(string_agg(${row}, ',' order by ${row}), ''))`;
  const selects = tables.map(({ name }) => {
    const left = (incidental[name] ?? []).map((column) => ` - '${column}'`).join('');
    return `select '${name}' as name, ${digest(left ? `(to_jsonb(t)${left})::text` : 't::text')} as digest from "${name}" t`;
  });
  selects.push(
    `select 'jobs', ${digest('t.id::text')} from pgboss.job t where name in ('mail', 'sms', 'mail-request', 'code-request', 'backchannel-logout')`,
  );
  const { rows } = (await db.raw(selects.join(' union all '))) as { rows: { name: string; digest: string }[] };
  return Object.fromEntries(rows.map(({ name, digest }) => [name, digest]));
};

/** Waits until no job is under way that a request gave rise to. */
export const settleJobs = async (db: Db): Promise<void> => {
  for (let attempt = 0; attempt < 400; attempt++) {
    const { rows } = (await db.raw(
      `select 1 from pgboss.job where name in ('mail', 'sms', 'mail-request', 'code-request', 'backchannel-logout')
         and state in ('created', 'active') limit 1`,
    )) as { rows: unknown[] };
    if (!rows.length) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('jobs that do not end');
};
