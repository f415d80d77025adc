/**
 * Migrations after a release run while the service of that release does. What would stop it is refused here; what it asks is
 * tried against today's schema in `test/integration/upgrade.test.ts`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { loadMigrations } from '../../db/migrate.ts';

const folder = fileURLToPath(new URL('../upgrade/', import.meta.url));
const releases = readdirSync(folder).filter((name) => /^\d/.test(name));
const frozen = releases.map((name) => readFileSync(`${folder}${name}/schema.sql`, 'utf8')).join('\n');

/** What a table of a release may not have done to it, and what to do instead. */
const rules: readonly { what: RegExp; except?: RegExp; because: string }[] = [
  { what: /\bdrop (table|column)\b/i, because: 'the release before may read it: drop it one release later' },
  { what: /\brename\b/i, because: 'add the new name, write both, and drop the old one a release later' },
  { what: /\balter column \w+ (set data )?type\b/i, because: 'it rewrites the table under a lock: add a column' },
  {
    what: /\bset not null\b/i,
    because: 'it reads the whole table under a lock: add a check that is not valid, validate it later',
  },
  {
    what: /\badd column (?!.*\bdefault\b).*\bnot null\b/is,
    because: 'the release before inserts rows without it: give it a default',
  },
  {
    what: /\badd constraint\b.*\b(check|foreign key|references)\b/is,
    except: /\bnot valid\b/i,
    because: 'it reads the whole table under a lock: add it not valid, and validate it in a migration of its own',
  },
];
const problemsOf = (statement: string, concurrently = false): string[] => {
  const [, table = ''] =
    /\b(?:alter table|drop table|create (?:unique )?index .*? on)\s+(?:if exists |only )?(\w+)/is.exec(statement) ?? [];
  if (!new RegExp(`create table (if not exists )?${table || '-'}\\b`, 'i').test(frozen)) return [];
  const problems = rules
    .filter(({ what, except }) => what.test(statement) && !except?.test(statement))
    .map(({ because }) => because);
  if (/\bcreate (unique )?index\b/i.test(statement) && !concurrently)
    problems.push('writes wait for it: create it concurrently, in a migration of its own that exports `concurrently`');
  return problems;
};

it('refuses what would stop the release before', () => {
  for (const [statement, part] of [
    ['alter table users drop column name', 'one release later'],
    ['drop table sessions', 'one release later'],
    ['alter table users rename column name to full_name', 'write both'],
    ['alter table users alter column name type varchar', 'add a column'],
    ['alter table users alter column locale set not null', 'not valid'],
    ['alter table users add column age integer not null', 'default'],
    ['alter table users add constraint users_name_check check (true)', 'not valid'],
    ['create index users_name_idx on users (name)', 'concurrently'],
  ] as const)
    expect(problemsOf(statement).join(), statement).toContain(part);
  for (const statement of [
    'create table pets (id uuid)',
    'create index pets_id_idx on pets (id)',
    'alter table users add column age integer',
    'alter table users add column age integer not null default 0',
  ])
    expect(problemsOf(statement), statement).toEqual([]);
});

it('finds nothing of that in the migrations since', async () => {
  const later = (await loadMigrations()).filter(({ name }) => !frozen.includes(`-- ${name}\n`));
  const problems = later.flatMap(({ name, up, concurrently }) =>
    up.flatMap((statement) =>
      problemsOf(statement, concurrently).map((because) => `${name}: ${statement}: ${because}`),
    ),
  );
  expect(problems).toEqual([]);
});

it('finds the migrations of each release as they were', async () => {
  const known = new Map((await loadMigrations()).map(({ name, up }) => [name, up]));
  for (const release of releases) {
    const text = readFileSync(`${folder}${release}/schema.sql`, 'utf8');
    for (const [, name = ''] of text.matchAll(/^-- (\d{14}_\w+)$/gm)) {
      expect(known.has(name), name).toBe(true);
      for (const statement of known.get(name) ?? []) expect(text, name).toContain(`${statement.trim()};`);
    }
  }
});
