/**
 * Mixed traffic at a chosen rate: `npm run bench:load -- --rate 100 --seconds 20 [--mix refresh=30,sign_in=5] [--html FILE]
 * [--json FILE] [--workers 1] [--people 100]` starts a service of its own as `run.ts` does. With `--url https://id.example.com --web ID:SECRET
 * --machine ID:SECRET --accounts FILE` it asks one that runs already: `web` is a first-party application with the redirect URI
 * https://app.example.com/callback, `machine` one that acts for itself with the scope users:read:any, and the file has an address
 * and a password on each line, with a space between. Limits (RATE_LIMIT_FACTOR) apply there as to anybody.
 *
 * Requests leave when their time has come, whether or not earlier ones were answered, and an answer's time counts from then: a
 * server that stands still for a second is shown with all who would have waited, not with the few who happened to have asked.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { drive } from './drive.ts';
import { createOperations, readMix, usualMix } from './load-operations.ts';
import { toHtml } from './load-report.ts';
import { percentile } from './numbers.ts';
import { divideCores, pinSelf } from './processes.ts';
import { countErrors, type LoadResult, latenciesOf, type Sample } from './samples.ts';
import { createDatabase, signInAll, startService } from './service.ts';
import type { Credentials, Target } from './targets.ts';

const { values: options } = parseArgs({
  options: {
    rate: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '20' },
    mix: { type: 'string' },
    workers: { type: 'string', default: '1' },
    people: { type: 'string', default: '100' },
    url: { type: 'string' },
    web: { type: 'string' },
    machine: { type: 'string' },
    accounts: { type: 'string' },
    html: { type: 'string' },
    json: { type: 'string' },
  },
});

const milliseconds = (value: number) => (Number.isNaN(value) ? '-' : value.toFixed(value < 10 ? 1 : 0)).padStart(9);

/** Prints a line for each operation, and one for all. */
const print = ({ samples, seconds, mix }: LoadResult): void => {
  console.log(`${'operation'.padEnd(20)}     count    each s      p50      p95      p99      max   errors  (ms)`);
  const line = (name: string, some: readonly Sample[]) => {
    const sorted = latenciesOf(some);
    console.log(
      name.padEnd(20) +
        String(some.length).padStart(10) +
        (sorted.length / seconds).toFixed(1).padStart(10) +
        [50, 95, 99, 100].map((percent) => milliseconds(percentile(sorted, percent))).join('') +
        String(some.length - sorted.length).padStart(9),
    );
  };
  for (const name of Object.keys(mix))
    line(
      name,
      samples.filter(({ operation }) => operation === name),
    );
  line('all', samples);
  for (const [error, count] of countErrors(samples)) console.log(`${count} x ${error}`);
};

const credentials = (text: string | undefined, name: string): Credentials => {
  const [, id, secret] = /^([^:]+):(.+)$/.exec(text ?? '') ?? [];
  if (!id || !secret) throw new Error(`--${name} ID:SECRET is needed with --url`);
  return { id, secret };
};

/** A service that runs already. */
const openTarget = async (url: string): Promise<Target> => {
  const lines = (await readFile(options.accounts ?? '', 'utf8')).split('\n').filter(Boolean);
  const people = lines.map((line) => {
    const [email = '', ...password] = line.split(' ');
    return { email, password: password.join(' ') };
  });
  const { origin } = new URL(url);
  const target = {
    address: origin,
    origin,
    web: credentials(options.web, 'web'),
    machine: credentials(options.machine, 'machine'),
    people,
  };
  return { ...target, ...(await signInAll(target)) };
};

const run = async (): Promise<void> => {
  const rate = Number(options.rate);
  const seconds = Number(options.seconds);
  const mix = options.mix ? readMix(options.mix) : usualMix;
  const load = async (target: Target) => {
    const operations = createOperations(target);
    const result = { rate, seconds, mix, samples: await drive(operations, rate, seconds, mix) };
    operations.close();
    print(result);
    if (options.json) await writeFile(options.json, JSON.stringify(result));
    if (options.html) await writeFile(options.html, toHtml(result));
    if (result.samples.some(({ error }) => error !== undefined)) process.exitCode = 2;
  };
  if (options.url) return load(await openTarget(options.url));
  const workers = Number(options.workers);
  const cores = divideCores(workers);
  pinSelf(cores.load);
  const database = await createDatabase();
  try {
    const service = await startService({
      database,
      workers,
      cores: cores.server,
      connections: Number(options.people),
    });
    console.log(`${rate} operations a second for ${seconds} s; ${cores.text}`);
    await load(service.target).finally(() => service.stop());
  } finally {
    await database.drop();
  }
};

try {
  await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
