/** Processes that a bench starts: on which cores they run, what they have cost, how they end. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The cores that this process may use, as Linux lists them (`0-3,8`); empty where that is not told. */
const allowedCores = (): number[] => {
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    return list.split(',').flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    });
  } catch {
    return [];
  }
};

export interface Cores {
  server: readonly number[];
  load: readonly number[];
  /** How they are divided, for people. */
  text: string;
}

/** Gives servers as many cores as they have workers, and the load others, as far as there are any. */
export const divideCores = (workers: number): Cores => {
  const cores = allowedCores();
  if (cores.length < 2 || spawnSync('taskset', ['-V']).status !== 0)
    return { server: [], load: [], text: 'not separated: fewer than two cores, or no taskset' };
  const server = cores.slice(0, workers);
  const load = cores.slice(workers);
  return load.length
    ? { server, load, text: `servers on ${server.join(',')}, load on ${load.join(',')}` }
    : {
        server,
        load: [],
        text: `servers on ${server.join(',')}, which the load shares: compare the processor time, not the rate`,
      };
};

/** Moves this process, all its threads included, to certain cores; nothing happens where that cannot be done. */
export const pinSelf = (cores: readonly number[]): void => {
  if (cores.length) spawnSync('taskset', ['-cap', cores.join(','), String(process.pid)]);
};

/** Starts Node with a script on certain cores. What it prints is shown, or dropped; its errors are shown. */
export const startNode = (
  script: string,
  options: {
    args?: readonly string[];
    cores?: readonly number[];
    cwd?: string;
    env?: NodeJS.ProcessEnv;
    output?: 'shown' | 'dropped';
  } = {},
): ChildProcess => {
  const { args = [], cores = [], cwd, env, output = 'shown' } = options;
  const file = fileURLToPath(new URL(script, import.meta.url));
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', file, ...args];
  const [command = '', ...rest] = cores.length ? ['taskset', '-c', cores.join(','), ...node] : node;
  return spawn(command, rest, {
    cwd,
    env: env ?? { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', output === 'shown' ? 'inherit' : 'ignore', 'inherit', 'ipc'],
  });
};

/** The next message of a child. @throws when it ends instead, or takes two minutes */
export const messageOf = <T>(child: ChildProcess): Promise<T> =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      child.off('message', taken);
      child.off('exit', ended);
    };
    const taken = (message: unknown) => {
      stop();
      resolve(message as T);
    };
    const ended = (code: number | null) => {
      stop();
      reject(new Error(`${child.spawnargs.at(-1)} ended with ${code}`));
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`${child.spawnargs.at(-1)} does not answer`));
    }, 120_000);
    child.once('message', taken);
    child.once('exit', ended);
  });

/** Sends a message, and waits for the next one. */
export const ask = <T>(child: ChildProcess, question: object): Promise<T> => {
  const answer = messageOf<T>(child);
  child.send(question);
  return answer;
};

/** Ends a child and waits until it has; one that does not end by itself within ten seconds is killed. */
export const stopChild = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(timer);
};

/** A process and all that it started. */
export const processTree = (pid: number): number[] => {
  const children = (): number[] => {
    try {
      return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
        readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
      );
    } catch {
      return [];
    }
  };
  return [pid, ...children().flatMap(processTree)];
};

/** `sysconf(_SC_CLK_TCK)` of every Linux that Node runs on. */
const msPerTick = 10;

/** Milliseconds of the processor that processes have used, all their threads and both user and system; NaN where /proc is not. */
export const cpuMsOf = (pids: readonly number[]): number => {
  let ticks = 0;
  for (const pid of pids)
    try {
      // proc(5): the name in parentheses may hold anything; after it, utime and stime are the 12th and 13th.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      return Number.NaN;
    }
  return ticks * msPerTick;
};

/** Resident memory of a process in MB. */
export const memoryMbOf = (pid: number): number => {
  try {
    return Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
};
