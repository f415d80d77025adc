/** The plans of the suite, their runs and the page about them belong together. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { modules, type Plan } from './modules.ts';
import { conformanceReport } from './report.ts';
import { type Exception, notRun, runs } from './runs.ts';

const here = new URL('./', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, here), 'utf8');
const others = readdirSync(here).filter((file) => file.endsWith('.ts') && file !== 'runs.ts');

describe('the plans of the conformance suite', () => {
  it.each(Object.keys(modules))('%s is run, and each of its modules in at least one variant', (plan) => {
    const ofPlan = runs.filter((run) => run.plan === plan);
    expect(ofPlan).not.toEqual([]);
    const names: readonly string[] = modules[plan as Plan];
    expect(new Set(names).size).toBe(names.length);
    for (const { exceptions } of ofPlan) expect(names).toEqual(expect.arrayContaining(Object.keys(exceptions)));
    // What is not applicable in any variant says why: the plan has it in a variant that is not run, or for others.
    const reasons = ofPlan.flatMap(({ exceptions }) => Object.values<Exception>(exceptions));
    for (const [, because] of reasons) expect(because.length).toBeGreaterThan(10);
  });

  // The file itself fails when it has no test for a module (module-test.ts).
  it.each(runs)('$plan ($variant) is what $file runs', ({ plan, variant, file }) => {
    expect(existsSync(new URL(file, here)), file).toBe(true);
    expect(read(file)).toContain(`'${plan}'`);
    expect(others.some((other) => read(other).includes(`'${variant}'`))).toBe(true);
  });

  it('are run in each variant, or say why not', () => {
    for (const { plan, variant, because } of notRun) {
      expect(runs.map((run) => `${run.plan} ${run.variant}`)).not.toContain(`${plan} ${variant}`);
      expect(because.length).toBeGreaterThan(10);
    }
  });

  it('are reported in docs/conformance.md (npm run docs)', () => {
    expect(read('../../docs/conformance.md')).toBe(conformanceReport());
  });
});
