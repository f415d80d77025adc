import { defineConfig } from 'vitest/config';

const project = (
  name: string,
  include: string[],
  options: { testTimeout?: number; fileParallelism?: boolean } = {},
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
      project('integration', ['test/{integration,contract,conformance}/**/*.test.ts']),
      project('e2e', ['test/e2e/**/*.test.ts'], { testTimeout: 60_000, fileParallelism: false }),
    ],
  },
});
