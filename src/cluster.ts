/**
 * All processors by node:cluster. This is the primary process, which has neither an app nor a database: it holds the port, hands
 * connections to its workers in turn, starts those again that die, adds up what they measure, and passes on signals. SIGTERM
 * and SIGINT end all at once, SIGHUP puts a new worker in the place of each, one after the other.
 */
import cluster, { type Worker } from 'node:cluster';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ending, ToPrimary, ToWorker } from './cluster-messages.ts';
import type { Log } from './log.ts';
import { createJoinedMetrics } from './metrics/joined-metrics.ts';

/** How long a worker may take to say what it has measured; then what it said last stands. */
const measureMs = 1000;
/** A worker that lived for this long has not failed to start. */
const soundMs = 60_000;
const backOffMsMin = 100;
const backOffMsMax = 30_000;
/** What an ending may take beyond the time that it lets proxies find out: requests in flight, then jobs, then the database. */
const endingMs = 45_000;

interface Outcome {
  /** Where it listens, if it is ready. */
  port?: number;
  /** Why it is not. */
  message?: string;
}

interface Started {
  worker: Worker;
  /** When it is ready, or why it is not going to be. */
  started: Promise<Outcome>;
  began: number;
}

export interface ClusterOptions {
  workers: number;
  /** DRAIN_DELAY */
  drainSeconds: number;
  log: Log;
  /** Called once, when workers serve. @returns what is to be done before they end */
  onListening(port: number): Promise<() => Promise<void>>;
  /** Has one of the workers print the banner. */
  showBanner: boolean;
}

/** Sends, unless the worker is gone. */
const tell = (worker: Worker, message: ToWorker): void => {
  if (worker.isConnected()) worker.send(message, () => {});
};

const hasEnded = (worker: Worker): boolean => worker.process.exitCode !== null || worker.process.signalCode !== null;

/** Asks all workers what they have measured, for whoever of them was asked for it. */
const answerMetrics = () => {
  const joined = createJoinedMetrics();
  let asked = 0;
  /** Who has not answered yet, and will. */
  let missing = new Set<Worker>();
  let gathering: Promise<string> | undefined;

  const gather = async (workers: readonly Worker[]): Promise<string> => {
    const id = ++asked;
    missing = new Set(workers.filter((worker) => worker.isConnected()));
    for (const worker of missing) tell(worker, { kind: 'measure', id });
    for (const until = performance.now() + measureMs; missing.size && performance.now() < until; ) await sleep(5);
    return joined.expose();
  };

  return {
    take: (worker: Worker, { id, snapshot }: Extract<ToPrimary, { kind: 'measured' }>) => {
      if (snapshot.length) joined.take(worker.id, snapshot);
      if (id === asked) missing.delete(worker);
    },
    end: (worker: Worker) => {
      joined.end(worker.id);
      missing.delete(worker);
    },
    expose: (workers: readonly Worker[]): Promise<string> => {
      gathering ??= gather(workers).finally(() => {
        gathering = undefined;
      });
      return gathering;
    },
  };
};

const start = (answer: (worker: Worker, message: ToPrimary) => void): Omit<Started, 'began'> => {
  const worker = cluster.fork();
  const started = new Promise<Outcome>((resolve) => {
    worker.on('message', (message: ToPrimary) => {
      if (message.kind === 'ready') resolve({ port: message.port });
      else if (message.kind === 'failed') resolve({ message: message.message });
      else answer(worker, message);
    });
    worker.once('exit', (code, signal) =>
      resolve({ message: `A process ended before it was ready (${signal ?? `exit code ${code}`}).` }),
    );
  });
  return { worker, started };
};

/**
 * Serves with several processes until a signal ends them; then this one exits.
 * @throws Error when none of them starts, with what they say, each thing once
 */
export const runCluster = async ({ workers: wanted, drainSeconds, log, ...options }: ClusterOptions): Promise<void> => {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  const metrics = answerMetrics();
  const workers = new Set<Worker>();
  /** Those that are meant to end. */
  const leaving = new Set<Worker>();
  let failures = 0;
  /** Whether the first of them have started: before, one that does not is not tried again. */
  let isServing = false;
  let ending = false;
  let before = async (): Promise<void> => {};

  const answer = (worker: Worker, message: ToPrimary): void => {
    if (message.kind === 'measured') metrics.take(worker, message);
    else if (message.kind === 'expose')
      metrics.expose([...workers]).then(
        (text) => tell(worker, { kind: 'exposition', id: message.id, text }),
        // Whoever asked hears nothing, and says so; no measurement is worth the process that holds the port.
        (error: unknown) => log.error({ err: error }, 'the measures of the processes cannot be added up'),
      );
  };

  /** One more worker; whenever it dies unasked another takes its place, later and later if that does not help. */
  const add = (): Started => {
    const added = { ...start(answer), began: performance.now() };
    const { worker } = added;
    workers.add(worker);
    // What a process tells before it ends arrives before its channel is closed, but perhaps not before it is seen to have ended.
    worker.once('disconnect', () => metrics.end(worker));
    worker.once('exit', () => {
      workers.delete(worker);
      if (isServing && !ending && !leaving.delete(worker)) void replaceLater(added);
    });
    return added;
  };

  const replaceLater = async ({ worker, started, began }: Started): Promise<void> => {
    failures = performance.now() - began > soundMs ? 0 : failures + 1;
    const delayMs = failures ? Math.min(backOffMsMax, backOffMsMin * 2 ** (failures - 1)) : 0;
    const { exitCode, signalCode } = worker.process;
    const { message } = await started;
    log.error(
      { worker: worker.id, exitCode, signalCode, reason: message, againInMs: delayMs },
      'a process ended unasked; another takes its place',
    );
    await sleep(delayMs);
    if (ending) return;
    const next = add();
    const { port } = await next.started;
    if (port !== undefined) log.info({ worker: next.worker.id }, 'a process took the place of one that had ended');
  };

  /** Asks a worker to end, and kills it if it does not. */
  const end = async (worker: Worker, how: Ending): Promise<void> => {
    if (hasEnded(worker)) return;
    leaving.add(worker);
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const timer = setTimeout(
      () => {
        log.error({ worker: worker.id }, 'a process did not end in time and is killed');
        worker.process.kill('SIGKILL');
      },
      drainSeconds * 1000 + endingMs,
    );
    tell(worker, { kind: 'stop', ending: how });
    await exited;
    clearTimeout(timer);
  };

  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    // Whoever asks a second time does not want to wait.
    const how = signal === 'SIGINT' || ending ? 'now' : 'drain';
    const isFirst = !ending;
    ending = true;
    if (isFirst) {
      log.info({ signal }, 'stopping');
      await before();
    }
    const ended = [...workers];
    await Promise.all(ended.map((worker) => end(worker, how)));
    process.exit(ended.every(({ process: { exitCode } }) => exitCode === 0) ? 0 : 1);
  };

  const roll = async (): Promise<void> => {
    log.info({ workers: workers.size }, 'processes are replaced, one after the other');
    for (const old of [...workers]) {
      if (ending) return;
      if (hasEnded(old)) continue;
      const { worker, started } = add();
      // One that cannot start must not be tried for ever while the old one does well.
      leaving.add(worker);
      const { port, message } = await started;
      if (port === undefined) {
        log.error({ reason: message }, 'a new process did not start, so the others stay');
        return;
      }
      leaving.delete(worker);
      await end(old, 'replaced');
    }
    log.info({ workers: workers.size }, 'all processes have been replaced');
  };
  let rolling: Promise<void> = Promise.resolve();

  const first = Array.from({ length: wanted }, add);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));
  process.on('SIGHUP', () => {
    if (isServing) rolling = rolling.then(roll);
  });
  const outcomes = await Promise.all(first.map(({ started }) => started));
  const port = outcomes.find(({ port }) => port !== undefined)?.port;
  if (port === undefined) throw new Error([...new Set(outcomes.map(({ message }) => message))].join('\n'));
  isServing = true;
  // Whoever was told to stop meanwhile is not to be found anywhere any more.
  if (ending) return;
  for (const one of first) if (hasEnded(one.worker)) void replaceLater(one);
  const announced = options.onListening(port);
  // Also while that is under way: what it has done by then has to be undone.
  before = async () => (await announced)();
  await announced;
  const [shown] = workers;
  if (options.showBanner && shown) tell(shown, { kind: 'banner' });
};
