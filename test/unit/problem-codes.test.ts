/** Every code of a problem is declared once, used, and thrown with the status that it is declared for. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { problemCodes } from '../../src/problem-codes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const declaration = 'src/problem-codes.ts';
const sources = globSync('{src,interactions,adapters}/**/*.ts', { cwd: root })
  .filter((file) => file !== declaration)
  .map((file) => ({ file, text: readFileSync(`${root}${file}`, 'utf8') }));
const known = problemCodes as Readonly<Record<string, Readonly<Record<number, string>>>>;

const statusOf = { invalid: 400, unauthenticated: 401, forbidden: 403, conflict: 409 } as const;

/** What is thrown where, as far as it is written out. */
const thrown = sources.flatMap(({ file, text }) => [
  ...[...text.matchAll(/\bnew AppError\(\s*(\d{3}),\s*'(\w+)'/g)].map(([, status, code]) => ({
    file,
    status: Number(status),
    code: code as string,
  })),
  ...[...text.matchAll(/\b(invalid|unauthenticated|forbidden|conflict)\(\s*'(\w+)'/g)].map(([, name, code]) => ({
    file,
    status: statusOf[name as keyof typeof statusOf],
    code: code as string,
  })),
  ...[...text.matchAll(/\bnotFound\('(\w+)'\)/g)].map(([, what]) => ({ file, status: 404, code: `${what}_not_found` })),
]);

describe('codes of problems', () => {
  it('are found where they are thrown', () => expect(thrown.length).toBeGreaterThan(40));
  it('come with the status that they are declared for', () => {
    const wrong = thrown.filter(({ status, code }) => !known[code]?.[status]);
    expect(wrong).toEqual([]);
  });
  it('are used somewhere', () => {
    const everything = sources.map(({ text }) => text).join('\n');
    const names = new Set(thrown.map(({ code }) => code));
    expect(Object.keys(known).filter((code) => !names.has(code) && !everything.includes(`'${code}'`))).toEqual([]);
  });
  it('are in snake_case, and their meanings are sentences', () => {
    for (const [code, meanings] of Object.entries(known)) {
      expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
      for (const meaning of Object.values(meanings)) expect(meaning).toMatch(/^[A-Z].*\.$/);
    }
  });
});
