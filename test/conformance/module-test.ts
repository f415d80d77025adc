/** One test for each module of a plan, named as the module: none can be forgotten or made up. */
import { describe, it } from 'vitest';
import { type Module, modules, type Plan } from './modules.ts';
import { type Exception, runOf } from './runs.ts';

/** Declares the test of a module. */
export type ModuleTest<P extends Plan> = (module: Module<P>, test: () => unknown, timeoutMs?: number) => void;

/**
 * Declares the tests of a run of runs.ts. `define` must declare every module of the plan once, save those that the run has as
 * not applicable; those not passed it may leave out. The file fails otherwise.
 */
export const planTests = <P extends Plan>(
  plan: P,
  variant: string,
  define: (moduleTest: ModuleTest<P>) => void,
): void => {
  const { exceptions } = runOf(plan, variant) as { exceptions: Record<string, Exception | undefined> };
  const wanted = new Set<string>(modules[plan]);
  for (const [module, exception] of Object.entries(exceptions))
    if (exception?.[0] === 'not applicable') wanted.delete(module);
  describe(`${plan} (${variant})`, () => {
    define((module, test, timeoutMs) => {
      if (!wanted.delete(module)) throw new Error(`${module} is tested twice, not applicable, or no module of ${plan}`);
      it(module, test as () => Promise<void>, timeoutMs);
    });
    const forgotten = [...wanted].filter((module) => exceptions[module]?.[0] !== 'not passed');
    if (forgotten.length) throw new Error(`${plan} (${variant}) has no test for ${forgotten.join(', ')}`);
  });
};
