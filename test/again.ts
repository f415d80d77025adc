/**
 * Runs the test files that failed in a run once more, alone: `node test/again.ts <npm script> <report>`, with the JSON report of
 * the run that failed. A test that passes then is unstable, which is said and does not fail the run; one that fails twice does. So
 * does a run with many failed files, one that failed without a failed file, and one in which something went wrong outside of tests
 * elsewhere (`STRAY_ERRORS`: see vitest.config.ts). The report tells the outcome of both afterwards.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

interface Test {
  fullName: string;
  status: string;
  failureMessages?: string[];
}

interface File {
  name: string;
  status: string;
  message?: string;
  assertionResults: Test[];
}

interface Report {
  success: boolean;
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  testResults: File[];
  /** Ours: what passed the second time alone. */
  unstable?: string[];
}

/** What vitest.config.ts writes down. */
interface Stray {
  file?: string;
  message: string;
}

/** More than these are no accident. */
const filesMax = 5;
/** What a test says of its failure can be long. */
const messageLinesMax = 20;

const [script = '', reportPath = ''] = process.argv.slice(2);
const read = (path: string): Report => JSON.parse(readFileSync(path, 'utf8'));
const straysIn = (path: string): Stray[] =>
  existsSync(path) ? Array.from(readFileSync(path, 'utf8').matchAll(/.+/g), ([line]) => JSON.parse(line)) : [];
const report = read(reportPath);
const failed = report.testResults.filter(({ status }) => status === 'failed');
if (!failed.length || failed.length > filesMax) {
  console.log(`${failed.length} files failed: nothing is run again (that is for one to ${filesMax})`);
  process.exit(1);
}
// A process that broke off may have left out files that nobody knows of, and what passes in spite of an error is not to be forgiven it.
const strayPath = process.env.STRAY_ERRORS ?? `${reportPath}.stray`;
const elsewhere = straysIn(strayPath).find(({ file }) => !failed.some(({ name }) => name === file));
if (elsewhere) {
  console.log(`outside of the tests that failed: ${elsewhere.message}; nothing is run again`);
  process.exit(1);
}

const failuresOf = ({ assertionResults }: File): Test[] => assertionResults.filter(({ status }) => status === 'failed');
const nameOf = (file: File): string => relative(process.cwd(), file.name);
const shorten = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !/^\s+at .*(?:node_modules|<anonymous>\))/.test(line))
    .slice(0, messageLinesMax)
    .join('\n');

console.log(`\nonce more, alone: ${failed.map(nameOf).join(', ')}`);
const againPath = join(dirname(reportPath), '..', `again-${basename(reportPath)}`);
const againStrayPath = `${strayPath}-again`;
for (const path of [againPath, againStrayPath]) rmSync(path, { force: true });
// What is random in the requests that are made up must not be other ones, or every failure of theirs would be an accident.
const seed = /FUZZ_SEED=(\d+)/.exec(
  failed
    .flatMap(failuresOf)
    .map(({ fullName }) => fullName)
    .join('\n'),
)?.[1];
const { status: exitCode } = spawnSync(
  'npm',
  [
    ...['run', script, '--', ...failed.map(nameOf), '--maxWorkers=1'],
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${againPath}`],
  ],
  { stdio: 'inherit', env: { ...process.env, STRAY_ERRORS: againStrayPath, ...(seed ? { FUZZ_SEED: seed } : {}) } },
);
const again = read(againPath);

/** Tests by name, and those of one name by their order. */
const byName = (tests: readonly Test[]): [key: string, test: Test][] => {
  const times = new Map<string, number>();
  return tests.map((test) => {
    const time = (times.get(test.fullName) ?? 0) + 1;
    times.set(test.fullName, time);
    return [`${time} ${test.fullName}`, test];
  });
};

/** Of both runs: a test is as good as the better one, a file as the second, but for what failed in one of the runs alone. */
const merge = (first: File): { file: File; unstable: string[] } => {
  const second = again.testResults.find(({ name }) => name === first.name);
  if (!second?.assertionResults.length) return { file: first, unstable: [] };
  const unstable: string[] = [];
  const told = (what: string, message: string): void => {
    unstable.push(`${nameOf(first)}: ${what}`);
    console.log(`\nUNSTABLE ${unstable.at(-1)}\n${shorten(message)}`);
  };
  const before = new Map(byName(first.assertionResults));
  const assertionResults = byName(second.assertionResults).map(([key, test]): Test => {
    const earlier = before.get(key);
    before.delete(key);
    const failure = [earlier, test].find((one) => one?.status === 'failed');
    const success = [earlier, test].find((one) => one?.status === 'passed');
    // One that is skipped the second time has not passed.
    if (!failure || !success) return failure ?? test;
    told(test.fullName, failure.failureMessages?.join('\n') ?? '');
    return success;
  });
  // A test that is not there any more says nothing about its failure.
  const gone = [...before.values()].filter(({ status }) => status === 'failed');
  const tests = [...assertionResults, ...gone];
  // A file can fail without a test: it does not load, or something before or after all of its tests fails.
  const outside = (file: File): boolean =>
    file.status === 'failed' && (!failuresOf(file).length || Boolean(file.message));
  if (outside(first) && second.status === 'passed') told('outside of its tests', first.message ?? '');
  const isFailed = outside(second) || tests.some(({ status }) => status === 'failed');
  return { file: { ...second, status: isFailed ? 'failed' : 'passed', assertionResults: tests }, unstable };
};

const merged = new Map(failed.map((file) => [file.name, merge(file)]));
const testResults = report.testResults.map((file) => merged.get(file.name)?.file ?? file);
const count = (...wanted: string[]): number =>
  testResults.flatMap((file) => file.assertionResults).filter(({ status }) => wanted.includes(status)).length;
const isFailed = testResults.some(({ status }) => status === 'failed');
// Something that no test awaited went wrong in the second run.
const isOdd =
  straysIn(againStrayPath).length > 0 ||
  (exitCode !== 0 && again.testResults.every(({ status }) => status === 'passed'));
const outcome: Report = {
  ...report,
  success: !isFailed,
  numPassedTests: count('passed'),
  numFailedTests: count('failed'),
  numPendingTests: count('pending', 'skipped', 'disabled'),
  testResults,
  unstable: [...merged.values()].flatMap(({ unstable }) => unstable),
};
writeFileSync(reportPath, JSON.stringify(outcome));
process.exitCode = isFailed || isOdd ? 1 : 0;
