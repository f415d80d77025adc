/**
 * `npm run faults [-- --short] [name…]`: runs the fault scripts and prints a table of what each lost. The exit code is 1 if anything
 * was.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { prepareTemplate } from './machinery.ts';

const directory = import.meta.dirname;
const short = process.argv.includes('--short');
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'));

/** Files that run something, rather than being a part of it. */
const scripts = readdirSync(directory)
  .filter((file) => file.endsWith('.ts') && /^await trial\(/m.test(readFileSync(join(directory, file), 'utf8')))
  .map((file) => file.slice(0, -3))
  .filter((name) => !wanted.length || wanted.includes(name))
  .sort();
const unknown = wanted.filter((name) => !scripts.includes(name));
if (unknown.length) {
  console.error(`There is no such script: ${unknown.join(', ')}`);
  process.exit(2);
}

interface Outcome {
  name: string;
  result: string;
  seconds: number;
  failed: boolean;
}

const runScript = (name: string, template: string): Promise<Outcome> =>
  new Promise((resolve) => {
    const began = performance.now();
    const file = join(directory, `${name}.ts`);
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', file, ...(short ? ['--short'] : [])],
      { env: { ...process.env, FAULTS_TEMPLATE: template }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    child.on('exit', (code) => {
      console.log(`\n${name}\n${output.trimEnd()}`);
      const [, result = 'ended without a result'] = new RegExp(`^${name}: (.*?)( \\(.*)?$`, 'm').exec(output) ?? [];
      resolve({ name, result, seconds: (performance.now() - began) / 1000, failed: code !== 0 });
    });
  });

/** One migrated database folder, which the scripts copy. */
const withTemplate = async <T>(work: (template: string) => Promise<T>): Promise<T> => {
  const parent = mkdtempSync('/tmp/countersign-fault.');
  chmodSync(parent, 0o711);
  const undo: (() => unknown)[] = [];
  const fail = (what: string) => {
    throw new Error(what);
  };
  try {
    const template = await prepareTemplate({
      short,
      directory: parent,
      lost: fail,
      check: (holds, what) => holds || fail(what),
      note: () => {},
      later: (one) => undo.push(one),
    });
    for (const one of undo.reverse()) await one();
    return await work(template);
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
};

const outcomes = await withTemplate(async (template) => {
  const left = [...scripts];
  const done: Outcome[] = [];
  // In the short mode two at a time: most of their time is waiting.
  const lane = async () => {
    for (let name = left.shift(); name; name = left.shift()) done.push(await runScript(name, template));
  };
  await Promise.all(Array.from({ length: short ? 2 : 1 }, lane));
  return done.sort((a, b) => a.name.localeCompare(b.name));
});

console.log('');
const width = Math.max(...outcomes.map(({ name }) => name.length));
for (const { name, result, seconds } of outcomes)
  console.log(`${name.padEnd(width)}  ${seconds.toFixed(0).padStart(4)} s  ${result}`);
process.exit(outcomes.some(({ failed }) => failed) ? 1 : 0);
