/**
 * `npm run freeze-release [-- test files | --schema]`: keeps the schema and the queries of this version under test/upgrade/<version>, so
 * that later versions are tried against them. The queries are those that the service asks while the integration tests run (all of
 * them, or those that are named), on the PostgreSQL of TEST_DATABASE_URL; with `--schema` those that were kept stay.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadMigrations } from '../../db/migrate.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = fileURLToPath(new URL('.', import.meta.url));

/** The statements of every migration, in order: what makes an empty database one of this release. */
const schemaSql = async (): Promise<string> => {
  const parts = [
    'create table schema_migrations (name text constraint schema_migrations_pkey primary key, applied_at timestamptz not null default now());',
  ];
  for (const { name, up } of await loadMigrations())
    parts.push(
      `-- ${name}`,
      ...up.map((statement) => `${statement.trim()};`),
      `insert into schema_migrations (name) values ('${name}');`,
    );
  return `${parts.join('\n')}\n`;
};

const recordedQueries = (files: string[]): string[] => {
  const recorded = mkdtempSync(join(tmpdir(), 'countersign-queries-'));
  try {
    const { status } = spawnSync('vitest', ['run', '--project', 'integration', ...files], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, RECORD_QUERIES: recorded },
    });
    if (status !== 0) process.stderr.write('Some tests failed; what they asked is kept all the same.\n');
    const shapes = readdirSync(recorded).flatMap(
      (name) => JSON.parse(readFileSync(join(recorded, name), 'utf8')) as string[],
    );
    return [...new Set(shapes)].sort();
  } finally {
    rmSync(recorded, { recursive: true });
  }
};

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
if (process.argv[2] !== '--schema' && !process.env.TEST_DATABASE_URL)
  throw new Error('TEST_DATABASE_URL must name a PostgreSQL server');
const release = join(folder, version);
const files = process.argv.slice(2);
const schemaOnly = files[0] === '--schema';
const kept = join(release, 'queries.json');
const queries = schemaOnly ? (JSON.parse(readFileSync(kept, 'utf8')) as string[]) : recordedQueries(files);
mkdirSync(release, { recursive: true });
writeFileSync(join(release, 'schema.sql'), await schemaSql());
writeFileSync(kept, `${JSON.stringify(queries, null, 2)}\n`);
if (!existsSync(join(release, 'rows.sql'))) {
  const [previous] = readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'rows.sql')))
    .sort()
    .reverse();
  if (previous) writeFileSync(join(release, 'rows.sql'), readFileSync(join(folder, previous, 'rows.sql')));
}
process.stdout.write(`${release}: ${queries.length} queries\n`);
