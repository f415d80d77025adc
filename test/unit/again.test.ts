/** What `test/again.ts` makes of two runs: `npm` is a script here that leaves what the second run would have left. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'again-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Outcome = 'passed' | 'failed' | 'skipped';
/** The tests of a file; `outside`: something besides them failed. */
type Run = Record<string, { tests: [name: string, outcome: Outcome][]; outside?: string }>;

const reportOf = (run: Run): string =>
  JSON.stringify({
    success: false,
    testResults: Object.entries(run).map(([name, { tests, outside }]) => ({
      name: join(process.cwd(), name),
      status: outside !== undefined || tests.some(([, outcome]) => outcome === 'failed') ? 'failed' : 'passed',
      message: outside ?? '',
      assertionResults: tests.map(([fullName, status]) => ({ fullName, status, failureMessages: [] })),
    })),
  });

/** @param stray files in which something went wrong outside of tests; '' where that is not known */
interface Case {
  first: Run;
  stray?: string[];
  second?: Run;
  secondStray?: string[];
  secondExit?: number;
}

let cases = 0;
const again = ({ first, stray = [], second, secondStray = [], secondExit = 0 }: Case) => {
  const place = join(folder, String(++cases));
  mkdirSync(join(place, 'results'), { recursive: true });
  const report = join(place, 'results', 'it.json');
  const strayErrors = join(place, 'stray');
  const lines = (files: string[]) =>
    files.map(
      (file) => `${JSON.stringify(file ? { file: join(process.cwd(), file), message: 'm' } : { message: 'm' })}\n`,
    );
  writeFileSync(report, reportOf(first));
  writeFileSync(strayErrors, lines(stray).join(''));
  if (second) writeFileSync(join(place, 'second'), reportOf(second));
  writeFileSync(join(place, 'second-stray'), lines(secondStray).join(''));
  const npm = `#!/bin/sh
touch ${place}/asked
for word; do case $word in --outputFile.json=*) cp ${place}/second "\${word#*=}";; esac; done
cp ${place}/second-stray "$STRAY_ERRORS"
exit ${secondExit}
`;
  writeFileSync(join(place, 'npm'), npm, { mode: 0o755 });
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', 'test/again.ts', 'test', report],
    { encoding: 'utf8', env: { ...process.env, PATH: `${place}:${process.env.PATH}`, STRAY_ERRORS: strayErrors } },
  );
  const { numFailedTests, unstable } = JSON.parse(readFileSync(report, 'utf8'));
  return { status, stdout, asked: existsSync(join(place, 'asked')), failed: numFailedTests, unstable };
};

const flaky: Run = {
  'a.test.ts': {
    tests: [
      ['one', 'passed'],
      ['two', 'failed'],
    ],
  },
};
const well: Run = {
  'a.test.ts': {
    tests: [
      ['one', 'passed'],
      ['two', 'passed'],
    ],
  },
};
const files = (count: number): Run =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`${at}.test.ts`, { tests: [['one', 'failed']] }]));

it('what fails once and passes then is unstable, and does not fail the run', () => {
  expect(again({ first: flaky, second: well })).toMatchObject({ status: 0, failed: 0, unstable: ['a.test.ts: two'] });
  const loads = { 'a.test.ts': { tests: [], outside: 'it does not load' } };
  expect(again({ first: loads, second: well })).toMatchObject({
    status: 0,
    failed: 0,
    unstable: ['a.test.ts: outside of its tests'],
  });
  const other: Run = {
    'a.test.ts': {
      tests: [
        ['one', 'failed'],
        ['two', 'passed'],
      ],
    },
  };
  expect(again({ first: flaky, second: other, secondExit: 1 })).toMatchObject({ status: 0, failed: 0 });
  expect(again({ first: flaky, stray: ['a.test.ts'], second: well })).toMatchObject({ status: 0 });
});

it.each<[string, Case]>([
  ['twice', { first: flaky, second: flaky, secondExit: 1 }],
  [
    'twice, beside one of the same name that passes',
    {
      first: {
        'a.test.ts': {
          tests: [
            ['two', 'failed'],
            ['two', 'passed'],
          ],
        },
      },
      second: {
        'a.test.ts': {
          tests: [
            ['two', 'failed'],
            ['two', 'passed'],
          ],
        },
      },
      secondExit: 1,
    },
  ],
  [
    'and is skipped then',
    {
      first: flaky,
      second: {
        'a.test.ts': {
          tests: [
            ['one', 'passed'],
            ['two', 'skipped'],
          ],
        },
      },
    },
  ],
  ['and is not there any more', { first: flaky, second: { 'a.test.ts': { tests: [['one', 'passed']] } } }],
  ['in a file that is not run then', { first: flaky, second: { 'b.test.ts': { tests: [['one', 'passed']] } } }],
  [
    'in a file that does not load then',
    {
      first: flaky,
      second: { 'a.test.ts': { tests: [], outside: 'it does not load' } },
      secondExit: 1,
    },
  ],
  [
    'after all tests, and then beside another test',
    {
      first: { 'a.test.ts': { tests: [['one', 'passed']], outside: 'the hook fails' } },
      second: { 'a.test.ts': { tests: [['one', 'failed']], outside: 'the hook fails' } },
      secondExit: 1,
    },
  ],
  ['in a run that leaves no report then', { first: flaky, secondExit: 1 }],
  ['and then nothing but the run', { first: flaky, second: well, secondExit: 1 }],
  ['and then something outside of tests', { first: flaky, second: well, secondStray: ['a.test.ts'] }],
])('what fails %s fails the run', (_, runs) => {
  const { status, asked } = again(runs);
  expect([status, asked]).toEqual([1, true]);
});

it.each<[string, Case]>([
  ['nothing in particular failed', { first: well, second: well }],
  ['more than five files failed', { first: files(6), second: well }],
  [
    'something went wrong in a file that passed',
    {
      first: { ...flaky, 'b.test.ts': { tests: [['one', 'passed']] } },
      stray: ['b.test.ts'],
      second: well,
    },
  ],
  ['something went wrong, nobody knows where', { first: flaky, stray: [''], second: well }],
])('nothing is run again where %s', (_, runs) => {
  const { status, asked } = again(runs);
  expect([status, asked]).toEqual([1, false]);
});
