/**
 * What every fault script is made of: a workplace of its own that is cleared away whatever happens, and a ledger of what was lost.
 * A script takes a part of the system away under load, gives it back, and prints what clients lost by that: nothing, or
 * it exits with 1.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a script is given. */
export interface Trial {
  /** Fewer rounds and shorter faults, as `.ci/run` asks for. */
  short: boolean;
  /** A folder that any user may enter, and that is gone afterwards. */
  directory: string;
  /** Something that must not have happened. The script goes on, and fails in the end. */
  lost(what: string): void;
  /** The same unless it holds. */
  check(holds: boolean, what: string): void;
  /** A line about what was done or measured. */
  note(text: string): void;
  /** Has something done at the end, whatever happens; the last one comes first. */
  later(undo: () => unknown): void;
}

/** A scenario that this machine has no means for. It says so, and is no failure. */
export class Skipped extends Error {}

const lossesShown = 20;

/** Runs a script's scenario. @param file `import.meta.filename` */
export const trial = async (file: string, run: (t: Trial) => Promise<void>): Promise<void> => {
  const name = basename(file, '.ts');
  // Not below TMPDIR: PostgreSQL runs as another user, and the path of a socket must be short.
  const directory = mkdtempSync('/tmp/countersign-fault.');
  chmodSync(directory, 0o711);
  const losses: string[] = [];
  /** One line for what differs in figures alone. */
  const summary = (): Map<string, number> => {
    const lines = new Map<string, [text: string, times: number]>();
    for (const loss of losses) {
      const key = loss.replace(/[0-9a-f-]{16,}|\d+ ms/g, '…');
      const [text, times] = lines.get(key) ?? [loss, 0];
      lines.set(key, [text, times + 1]);
    }
    return new Map(lines.values());
  };
  const undo: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true })];
  const began = performance.now();
  let skipped: string | undefined;
  const clear = async () => {
    for (let last = undo.pop(); last; last = undo.pop()) await Promise.resolve(last()).catch(() => {});
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void clear().then(() => process.exit(130)));
  try {
    await run({
      short: process.argv.includes('--short'),
      directory,
      lost: (what) => losses.push(what),
      check: (holds, what) => {
        if (!holds) losses.push(what);
      },
      note: (text) => console.log(`  ${text}`),
      later: (work) => undo.push(work),
    });
  } catch (error) {
    if (error instanceof Skipped) skipped = error.message;
    else losses.push(`the script failed: ${(error as Error).stack ?? error}`);
  }
  // What the services said is of use when something was lost.
  if (losses.length && process.env.FAULTS_KEEP) {
    undo.shift();
    console.log(`  kept: ${directory}`);
  }
  await clear();
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  for (const [loss, times] of [...summary()].slice(0, lossesShown))
    console.log(`  LOST ${loss}${times > 1 ? ` (${times} times)` : ''}`);
  if (skipped) console.log(`${name}: skipped: ${skipped}`);
  else console.log(`${name}: ${losses.length ? `${losses.length} lost` : 'lost nothing'} (${seconds} s)`);
  process.exit(losses.length ? 1 : 0);
};

/** A folder in the workplace. */
export const folder = ({ directory }: Trial, name: string): string => {
  const path = join(directory, name);
  mkdirSync(path, { recursive: true });
  return path;
};

/**
 * Waits until something holds, asking again and again.
 * @throws Error when it does not within that many seconds
 */
export const until = async (
  what: string,
  seconds: number,
  holds: () => Promise<boolean> | boolean,
): Promise<number> => {
  const began = performance.now();
  for (;;) {
    if (await holds()) return performance.now() - began;
    if (performance.now() - began > seconds * 1000) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(50);
  }
};

export { sleep };
