import { defineConfig } from 'vitest/config';

const project = (
  name: string,
  include: string[],
  options: { testTimeout?: number; fileParallelism?: boolean; isolate?: boolean } = {},
) => ({
  extends: true as const,
  test: { name, include, ...options },
});

export default defineConfig({
  test: {
    pool: 'forks',
    globalSetup: ['test/support/setup.ts'],
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: [
      project('unit', ['test/unit/**/*.test.ts']),
      // Files share a process: loading the service and the embedded database anew for each takes longer than most tests.
      project('integration', ['test/{integration,contract,conformance}/**/*.test.ts'], { isolate: false }),
      project('e2e', ['test/e2e/**/*.test.ts'], { testTimeout: 60_000, fileParallelism: false }),
    ],
  },
});
