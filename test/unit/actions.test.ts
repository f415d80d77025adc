/** The catalogue of the audit log's actions. That nothing else is recorded, the compiler sees to. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { actions } from '../../src/audit/actions.ts';

const source = fileURLToPath(new URL('../../src/', import.meta.url));
const code = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && file !== join('audit', 'actions.ts'))
  .map((file) => readFileSync(join(source, file), 'utf8'))
  .join('\n');

it('is in order, and says what each means', () => {
  const names = Object.keys(actions);
  expect(names).toEqual([...names].sort());
  for (const [name, meaning] of Object.entries(actions)) {
    expect(name).toMatch(/^[a-z_]+\.[a-z_]+$/);
    expect(meaning).toMatch(/^[A-Z].{8,}[^.]$/);
  }
});

it('names nothing that is not recorded', () => {
  expect(Object.keys(actions).filter((name) => !code.includes(`'${name}'`))).toEqual([]);
});
