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
