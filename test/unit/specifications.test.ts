/** docs/specifications.md names tests that exist and settings that are declared. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { members } from '../../src/clients/client-members.ts';
import { settings } from '../../src/settings.ts';

const root = new URL('../../', import.meta.url);
const rows = readFileSync(new URL('docs/specifications.md', root), 'utf8')
  .split('\n')
  .filter((line) => /^\| (?!-|Specification)/.test(line) && !line.startsWith('|---'))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const quoted = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);

describe('docs/specifications.md', () => {
  it('has a test for everything that is supported', () => {
    expect(rows.length).toBeGreaterThan(30);
    for (const [, name, supported, , tests] of rows)
      expect(quoted(tests).length > 0 || supported?.startsWith('Not supported'), name).toBe(true);
  });

  it.each(rows.flatMap(([, name, , , tests]) => quoted(tests).map((test) => [test, name])))(
    '%s is a test',
    (test = '') => {
      const path = test.startsWith('faults/')
        ? `test/${test}.ts`
        : `test/${test.includes('/') ? '' : 'integration/'}${test}.test.ts`;
      expect(existsSync(new URL(path, root)), path).toBe(true);
    },
  );

  it('knows settings and members of clients by their names', () => {
    const names = rows.flatMap(([, , , setting]) => quoted(setting)).map((name) => name.split(/[ :]/)[0] as string);
    const known = (name: string) =>
      name in settings.shape ||
      name in members ||
      name === 'POST' ||
      Object.keys(settings.shape).some((one) => name.endsWith('*') && one.startsWith(name.slice(0, -1)));
    expect(names.filter((name) => !known(name))).toEqual([]);
  });
});
