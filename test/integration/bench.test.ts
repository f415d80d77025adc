/** The benches run: on next to nothing, so that they can be relied upon when numbers are needed. Whether those are good is not asked. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toHtml } from '../../bench/load-report.ts';
import { replacing } from '../../bench/seed-rows.ts';
import { administer, onPostgres } from '../support/database.ts';

let directory: string;
const seeded = `countersign_bench_test_${process.pid}`;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-bench-test-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
  if (onPostgres)
    await administer(process.env.TEST_DATABASE_URL as string, `drop database if exists ${seeded} with (force)`);
});

/** @returns what it printed @throws when it ends with another code than 0 */
const run = async (script: string, ...args: string[]): Promise<string> => {
  const { TEST_DATABASE_URL, TEST_REDIS_URL, PATH, HOME } = process.env;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', `bench/${script}.ts`, ...args],
    {
      env: {
        PATH,
        HOME,
        ...(TEST_DATABASE_URL ? { DATABASE_URL: TEST_DATABASE_URL } : {}),
        ...(TEST_REDIS_URL ? { REDIS_URL: TEST_REDIS_URL } : {}),
      },
    },
  );
  return stdout;
};

const timeout = 180_000;

describe('bench', () => {
  // Embedded and on PostgreSQL other tools are tried: each takes seconds to start a service.
  it.runIf(!onPostgres)('compares with both references', { timeout }, async () => {
    const json = join(directory, 'bench.json');
    const short = ['--seconds', '0.1', '--rounds', '1', '--connections', '2'];
    await run('run', ...short, '--items', 'client_credentials,refresh,discovery', '--json', json);
    const rows = JSON.parse(await readFile(json, 'utf8')) as Record<string, unknown>[];
    expect(rows.map(({ item, reference }) => `${item} ${reference}`)).toEqual(
      ['client_credentials', 'refresh', 'discovery'].flatMap((item) => [`${item} engine`, `${item} floor`]),
    );
    for (const { ratio, requestsPerSecond, cpuMsPerRequest } of rows) {
      expect(ratio).toBeGreaterThan(0);
      expect(requestsPerSecond).toBeGreaterThan(0);
      expect(cpuMsPerRequest).toBeGreaterThanOrEqual(0);
    }
  });

  it.runIf(onPostgres)('fills a database whose rows are of use', { timeout }, async () => {
    expect(await run('seed', '--name', seeded, '--factor', '0.0001')).toContain('they work');
  });

  it.runIf(onPostgres)('asks a list as everybody, and finds indexes for it', { timeout }, async () => {
    const asked = await run('lists', '--share=0.0005', '--runs=1', '--only=listGroups').catch(
      // It ends with another code where something was slow, as it may be beside other tests.
      ({ stdout }: { stdout: string }) => stdout,
    );
    for (const who of ['super_admin', 'large', 'small', 'user']) expect(asked).toContain(`${who}: /groups`);
    expect(asked).not.toContain('SCANS');
  });

  it.runIf(onPostgres)('mixes a load, cleans meanwhile, and no answer is wrong', { timeout }, async () => {
    const settings = { minutes: 3, seconds: 1, rate: 5, people: 2, backlog: 100 };
    const soaked = await run(
      'soak',
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    );
    expect(soaked).toMatch(/MB heap a minute/);
  });
});

describe('the report of a load', () => {
  it('shows failures, and nothing that is not text', () => {
    const html = toHtml({
      rate: 1,
      seconds: 2,
      mix: { jwks: 1, sign_in: 1 },
      samples: [
        { operation: 'jwks', scheduled: 0, latency: 3 },
        { operation: 'jwks', scheduled: 1000, latency: 30, error: '<script>500</script>' },
      ],
    });
    expect(html).toContain('1 × jwks: &#60;script&#62;');
    expect(html).not.toContain('<script>');
    expect(html).not.toMatch(/NaN|undefined|https?:/);
  });
});

describe('templates of rows', () => {
  it('puts in what differs, whatever is a part of what', () => {
    const make = replacing('{"a":"user","b":"user-2"}', { user: (n) => `u${n}`, 'user-2': (n) => `v${n}` });
    expect(make(7)).toBe('{"a":"u7","b":"v7"}');
  });
});
