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

/** What only the service and applications do, to nobody's account: it stands on no person's activity page. */
const ofNobody = new Set([
  'audit.expire',
  'client.expire',
  'introspection.refuse',
  'key.create',
  'key.delete',
  'key.retire',
  'master_key.complete',
  'master_key.lose',
  'master_key.rotate',
  'organization.lose_domain',
  'revocation.refuse',
  'session.end_all',
  'token.refuse',
]);

for (const locale of ['en', 'de', 'fr', 'es', 'ar'])
  it(`has words for whatever stands on an activity page: ${locale}`, () => {
    const file = new URL(`../../views/locales/${locale}.json`, import.meta.url);
    const { other, ...labels } = JSON.parse(readFileSync(file, 'utf8')).activity.actions;
    const shown = Object.keys(actions).filter((name) => !ofNobody.has(name));
    expect(Object.keys(labels).sort()).toEqual(shown.map((name) => name.replace('.', '-')).sort());
    expect(other).toEqual(expect.any(String));
  });

it('names nothing that is not recorded', () => {
  expect(Object.keys(actions).filter((name) => !code.includes(`'${name}'`))).toEqual([]);
});
