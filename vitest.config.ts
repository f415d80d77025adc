import { appendFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

interface Options {
  isolate?: boolean;
  maxWorkers?: number;
  testTimeout?: number;
  sequence?: { groupOrder: number };
}

const project = (name: string, include: string[], options: Options = {}) => ({
  extends: true as const,
  test: { name, include, ...options },
});

/** A file in which `.ci/run` wants to find what went wrong outside of tests, and in which file: reports are of tests alone. */
const strayErrors = process.env.STRAY_ERRORS;

export default defineConfig({
  test: {
    onUnhandledError: ({ message, VITEST_TEST_PATH: file }: { message: string; VITEST_TEST_PATH?: string }) => {
      if (strayErrors) appendFileSync(strayErrors, `${JSON.stringify({ file, message })}\n`);
    },
    pool: 'forks',
    globalSetup: ['test/support/setup.ts'],
    // One more than there are processors: a test that waits for a job, a timer or PostgreSQL leaves its own to another.
    maxWorkers: availableParallelism() + 1,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    projects: [
      project('unit', ['test/unit/**/*.test.ts']),
      // Files share a process: loading the service and the embedded database anew for each takes longer than most tests.
      project('integration', ['test/{integration,contract,conformance}/**/*.test.ts'], { isolate: false }),
      // Files that others read: Kubernetes, compose, proxies. What is not on the machine is skipped (.ci/run has it all).
      project('deployment', ['test/deployment/**/*.test.ts']),
      // Each file has a browser besides, which keeps a processor busy. Another number of processes needs another group.
      project('e2e', ['test/e2e/**/*.test.ts'], {
        isolate: false,
        maxWorkers: availableParallelism(),
        // A journey takes a minute on a busy machine. What hangs is noticed by the limits of single steps.
        testTimeout: 180_000,
        sequence: { groupOrder: 1 },
      }),
    ],
  },
});
