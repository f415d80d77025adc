/** `docs/data-model.md`: the tables and how they hang together, read from a migrated database. */
import type { Db } from './connect.ts';
import { tablePurposes } from './data-model-texts.ts';

interface Column {
  table: string;
  name: string;
  type: string;
  nullable: boolean;
}
interface Constraint {
  table: string;
  kind: 'p' | 'u' | 'f';
  columns: string[];
  target: string | null;
}

// `format_type` calls types as SQL does; partitions and the job queue's schema are not ours to describe.
const columnsSql = `
  select c.relname as "table", a.attname as name, format_type(a.atttypid, a.atttypmod) as type, not a.attnotnull as nullable
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped
  order by c.relname, a.attnum`;

const constraintsSql = `
  select c.relname as "table", k.contype as kind, t.relname as target,
    array(select a.attname::text from unnest(k.conkey) with ordinality as u(attnum, position)
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum order by position) as columns
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_class t on t.oid = k.confrelid
  where n.nspname = 'public' and k.contype in ('p', 'u', 'f') and not c.relispartition
  order by c.relname, k.conname`;

const shortTypes: Readonly<Record<string, string>> = {
  'timestamp with time zone': 'timestamptz',
  'character varying': 'varchar',
  'double precision': 'float8',
};
/** Mermaid takes no spaces in a type. */
const typeName = (type: string): string => (shortTypes[type] ?? type).replaceAll(' ', '_');

const keysOf = ({ table, name }: Column, constraints: readonly Constraint[]): string => {
  const of = constraints.filter((constraint) => constraint.table === table && constraint.columns.includes(name));
  const keys = [
    ...(of.some(({ kind }) => kind === 'p') ? ['PK'] : []),
    ...(of.some(({ kind }) => kind === 'f') ? ['FK'] : []),
    ...(of.some(({ kind, columns }) => kind === 'u' && columns.length === 1) ? ['UK'] : []),
  ];
  return keys.length ? ` ${keys.join(', ')}` : '';
};

/** One or none of the parent to many of the child, unless the key of the child is the reference itself. */
const relation = (constraint: Constraint, columns: readonly Column[], constraints: readonly Constraint[]): string => {
  const { table, target } = constraint;
  const own = columns.filter((column) => column.table === table && constraint.columns.includes(column.name));
  const single = constraints.some(
    (other) =>
      other.table === table &&
      other.kind !== 'f' &&
      String([...other.columns].sort()) === String([...constraint.columns].sort()),
  );
  const parent = own.some(({ nullable }) => nullable) ? '|o' : '||';
  return `    ${target} ${parent}--${single ? 'o|' : 'o{'} ${table} : "${constraint.columns.join(', ')}"`;
};

/** @throws Error for a table of which nothing is said, or something that is not there */
export const dataModelMarkdown = async (db: Db): Promise<string> => {
  const { rows: columns } = (await db.raw(columnsSql)) as { rows: Column[] };
  const { rows: constraints } = (await db.raw(constraintsSql)) as { rows: Constraint[] };
  const tables = [...new Set(columns.map(({ table }) => table))];
  const purposes: Readonly<Record<string, string>> = tablePurposes;
  const unknown = tables
    .filter((table) => !purposes[table])
    .concat(Object.keys(purposes).filter((name) => !tables.includes(name)));
  if (unknown.length) throw new Error(`db/data-model-texts.ts does not match the schema: ${unknown.join(', ')}`);
  const entities = tables.map((table) => [
    `    ${table} {`,
    ...columns
      .filter((column) => column.table === table)
      .map(
        (column) =>
          `        ${typeName(column.type)} ${column.name}${keysOf(column, constraints)}${column.nullable ? ' "optional"' : ''}`,
      ),
    '    }',
  ]);
  return [
    '# The data model',
    '',
    'Read from the migrated schema by `npm run docs`. The tables of the job queue (schema `pgboss`) are pg-boss’s own.',
    'What is hashed and what is sealed is in [ARCHITECTURE.md](../ARCHITECTURE.md#what-is-stored-where).',
    '',
    '| Table | What a row is |',
    '|---|---|',
    ...tables.map((table) => `| \`${table}\` | ${purposes[table]} |`),
    '',
    '```mermaid',
    'erDiagram',
    ...constraints.filter(({ kind }) => kind === 'f').map((constraint) => relation(constraint, columns, constraints)),
    ...entities.flat(),
    '```',
    '',
  ].join('\n');
};
