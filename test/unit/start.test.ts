/** What a process loads before it can answer: each module takes memory for as long as it runs, and time at each start. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadWithoutIntl } from '../../src/start-memory.ts';

const root = join(import.meta.dirname, '../..');

/** Packages that files load at once, and those of ours that they load, by who asks first. */
const loadedBy = (entry: string): Map<string, string> => {
  const packages = new Map<string, string>();
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file) || !existsSync(file)) return;
    seen.add(file);
    const source = readFileSync(file, 'utf8');
    for (const [, what = '', name = ''] of source.matchAll(/^(?:import|export)\s([^;'"]*?\sfrom\s)?'([^']+)';/gm)) {
      // Types are gone when it runs.
      const names = /^\{([^}]*)\}/s
        .exec(what)?.[1]
        ?.split(',')
        .filter((one) => one.trim());
      if (what.startsWith('type ') || names?.every((one) => /^\s*type /.test(one))) continue;
      if (name.startsWith('.')) visit(join(dirname(file), name));
      else if (!packages.has(name)) packages.set(name, file.slice(root.length + 1));
    }
  };
  visit(join(root, entry));
  return packages;
};

describe('the start', () => {
  it('loads nothing that only some processes or few requests need', () => {
    const packages = loadedBy('src/main.ts');
    expect([...packages.keys()]).toContain('oidc-provider');
    const late =
      /^(@simplewebauthn\/|nodemailer|@opentelemetry\/|pg-boss|knex-pglite|@electric-sql\/|openid-client|@zxcvbn|ioredis|zod-openapi)/;
    expect([...packages].filter(([name]) => late.test(name))).toEqual([]);
  });

  it('makes nothing of Intl, the first of which takes eight megabytes', () => {
    const start = `
      for (const [name, made] of Object.entries(Object.getOwnPropertyDescriptors(Intl)))
        if (typeof made.value === 'function')
          Intl[name] = new Proxy(made.value, { construct: (_, values) => { throw new Error(name + ' of ' + values); } });
      const { loadWithoutIntl } = await import('${root}/src/start-memory.ts');
      await loadWithoutIntl(() => import('${root}/src/main.ts'));
      const { createViews } = await import('${root}/interactions/views.ts');
      createViews({ brand: 'Countersign' });
      process.exit();`;
    const node = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', start];
    expect(() => execFileSync(process.execPath, node, { stdio: 'pipe' })).not.toThrow();
  });

  it('leaves to what was loaded with it how lists are written', async () => {
    const { ListFormat } = Intl;
    const lists = await loadWithoutIntl(async () => {
      expect(Intl.ListFormat).not.toBe(ListFormat);
      return new Intl.ListFormat('en', { type: 'disjunction' });
    });
    expect(Intl.ListFormat).toBe(ListFormat);
    expect(lists.format(['code', 'token', 'none'])).toBe('code, token, or none');
  });
});
