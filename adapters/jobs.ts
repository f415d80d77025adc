/**
 * Durable jobs, kept by pg-boss in the schema `pgboss` of our own database and run through our own pool: a job that is
 * sent inside a transaction exists exactly when that commits, and it survives a crash.
 */
import type { Job, PgBoss, QueueOptions } from 'pg-boss';
import { type Database, type Db, executeSql } from '../db/connect.ts';
import type { MailRequest } from '../src/auth/accounts.commands.ts';
import type { CodeRequest } from '../src/auth/otp.commands.ts';
import { overloaded } from '../src/errors.ts';
import type { Log } from '../src/log.ts';
import { jobRuns, runJob, traceOrigin } from '../src/observing.ts';
import type { Secrets } from '../src/secrets.ts';
import type { Mail } from './mailer.ts';
import type { Sms } from './sms.ts';

const day = 86_400;

/** Every queue. Delays double from `retryDelay` up to `retryDelayMax`; an ended job is kept for `deleteAfterSeconds`. */
const queues = {
  mail: { retryLimit: 10, retryDelay: 5, retryDelayMax: 3600, expireInSeconds: 120, deleteAfterSeconds: 3 * day },
  'mail-request': { retryLimit: 5, retryDelay: 5, retryDelayMax: 300, expireInSeconds: 60, deleteAfterSeconds: day },
  'code-request': { retryLimit: 5, retryDelay: 2, retryDelayMax: 60, expireInSeconds: 60, deleteAfterSeconds: day },
  // Somebody waits for it, and after ten minutes what it says is void.
  sms: { retryLimit: 8, retryDelay: 2, retryDelayMax: 120, expireInSeconds: 30, deleteAfterSeconds: day },
  'backchannel-logout': {
    retryLimit: 5,
    retryDelay: 5,
    retryDelayMax: 900,
    expireInSeconds: 60,
    deleteAfterSeconds: day,
  },
  // A client that hears of nothing asks when its request expires.
  'ciba-ping': { retryLimit: 6, retryDelay: 2, retryDelayMax: 120, expireInSeconds: 30, deleteAfterSeconds: day },
} as const satisfies Record<string, QueueOptions>;

/** What each queue carries. */
export interface JobData {
  mail: Mail;
  'mail-request': MailRequest;
  'code-request': CodeRequest;
  sms: Sms;
  'backchannel-logout': { clientId: string; sub: string; sid?: string };
  'ciba-ping': { clientId: string; authReqId: string };
}

export type QueueName = keyof typeof queues;

export interface Jobs {
  /**
   * Queues a job; with a transaction as `db` it exists when that commits. Of a group one job is taken
   * while none runs, on all replicas: one receiver that hangs holds up no other. Two that are taken in the same instant both run.
   * @throws AppError 503 until `start` has resolved.
   */
  send<Q extends QueueName>(db: Db, queue: Q, data: JobData[Q], group?: string): Promise<void>;
  /** Registers the worker of a queue, before or after `start`. A job whose handler throws is retried, unless the error is `permanent`. */
  work<Q extends QueueName>(queue: Q, handler: (data: JobData[Q]) => Promise<void>): Promise<void>;
  /** Runs the handler once per interval on one of all replicas, and never twice at a time. */
  every(name: string, intervalSeconds: number, handler: () => Promise<void>): Promise<void>;
  /** Makes the tables if need be, and begins to work. Replicas may start together. After a failure it may be repeated. */
  start(): Promise<void>;
  /** Whether `start` has resolved and `stop` was not asked for: before, whatever sends a job is answered 503. */
  isReady(): boolean;
  /** Takes no more jobs and waits for those that run; what has not ended after 10 s is left to be retried. */
  stop(): Promise<void>;
}

/** Queues whose jobs go to servers of others. */
const grouped = new Set<string>(['backchannel-logout', 'ciba-ping'] satisfies QueueName[]);

/** How many jobs of a queue a process runs at a time. */
const concurrency = 3;
const stopSeconds = 10;
/** Trouble repeats with every poll; one line in this time is enough. */
const quietSeconds = 60;

type Options = Pick<Database, 'db'> &
  Partial<Pick<Database, 'listen'>> & { secrets: Secrets; log: Log; pollSeconds?: number };

interface Worker {
  queue: string;
  options: QueueOptions & { policy?: string };
  workers: number;
  /** Notifications wake a worker at once; it polls as well, for retries that fall due and for notifications lost. */
  pollSeconds: number;
  run: (job: Job) => Promise<void>;
  everySeconds?: number;
}

interface Rows {
  rows: Record<string, unknown>[];
}

/**
 * pg-boss sends some scripts as `BEGIN; …; COMMIT;`. They run in a transaction of ours instead: an error inside such a
 * script would leave an aborted transaction on a connection that goes back to the pool.
 */
const databaseOf = (db: Db) => ({
  executeSql: async (text: string, values?: unknown[]): Promise<Rows> => {
    if (values?.length) return executeSql(db, text, values);
    const script = /^\s*BEGIN;([\s\S]*)COMMIT;\s*$/.exec(text)?.[1];
    const result: Rows | Rows[] = await (script === undefined
      ? executeSql(db, text)
      : db.transaction((db) => executeSql(db, script)));
    // For several statements the driver of PostgreSQL returns a list of results.
    return Array.isArray(result) ? { rows: result.flatMap(({ rows }) => rows) } : result;
  },
});

/** A name or code, and never the message: it ends in the log and, in clear, in the job's row. */
const reasonOf = (error: unknown): string => {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return String(code ?? name ?? 'unknown');
};

const within = async (seconds: number, work: Promise<void>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(Object.assign(new Error('the job took too long'), { code: 'timed_out' })),
      seconds * 1000,
    );
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
};

const createReport = (log: Log): ((error: unknown) => void) => {
  let quietUntil = 0;
  let unreported = 0;
  return (error) => {
    unreported++;
    if (Date.now() < quietUntil) return;
    quietUntil = Date.now() + quietSeconds * 1000;
    const { message } = error as { message?: unknown };
    log.error(
      { reason: reasonOf(error), message, times: unreported },
      'jobs: the database does not answer as it should',
    );
    unreported = 0;
  };
};

/**
 * @param listen lets a job start the moment it is committed, on any replica (one connection beside the pool); without
 * it each worker polls every second.
 * @param pollSeconds how often a worker looks for jobs although nothing was told
 */
export const createJobs = ({ db, listen, secrets, log, pollSeconds = 5 }: Options): Jobs => {
  const report = createReport(log);
  const registered: Worker[] = [];
  const timers: NodeJS.Timeout[] = [];
  let boss: PgBoss | undefined;
  let starting: Promise<void> | undefined;
  let ready = false;

  const seal = (queue: string, data: unknown) => {
    const trace = traceOrigin();
    const sealed = secrets.seal('job', queue, JSON.stringify(data)).toString('base64');
    return { sealed, ...(trace === undefined ? {} : { trace }) };
  };
  const open = (queue: string, data: unknown): unknown =>
    JSON.parse(secrets.open('job', queue, Buffer.from((data as { sealed: string }).sealed, 'base64')).toString());

  const attempt = async ({ queue, options, run }: Worker, job: Job): Promise<void> => {
    const { retryLimit = 0, expireInSeconds = 0 } = options;
    const { trace } = (job.data ?? {}) as { trace?: string };
    const end = jobRuns.tell?.(queue);
    try {
      await within(
        expireInSeconds - 5,
        runJob(queue, trace, () => run(job)),
      );
      end?.();
    } catch (error) {
      end?.(error);
      const reason = reasonOf(error);
      const { permanent = false } = error as { permanent?: boolean };
      const last = permanent || job.retryCount >= retryLimit;
      // What is permanent lies in what somebody asked for; it is no alarm.
      log[last && !permanent ? 'error' : 'warn'](
        { queue, job: job.id, attempt: job.retryCount + 1, reason },
        last ? 'job given up' : 'job failed',
      );
      if (!permanent) throw new Error(reason);
    }
  };

  /** Makes the queue, and has pg-boss remember it: a look-up at the first send could wait for its own transaction. */
  const prepare = async (boss: PgBoss, name: string, options: QueueOptions & { policy?: string }): Promise<void> => {
    const settings = {
      retryBackoff: (options.retryLimit ?? 0) > 0,
      retentionSeconds: 14 * day,
      notify: true,
      ...options,
    };
    const existing = await boss.getQueue(name);
    const { policy: _, ...changeable } = settings;
    if (!existing) await boss.createQueue(name, settings);
    else if (Object.entries(changeable).some(([key, value]) => existing[key as keyof typeof existing] !== value)) {
      await boss.updateQueue(name, changeable);
    }
    await boss.findJobs(name, { id: '00000000-0000-0000-0000-000000000000' });
  };

  const begin = async (boss: PgBoss, worker: Worker): Promise<void> => {
    const { queue, workers, pollSeconds, everySeconds } = worker;
    if (everySeconds !== undefined) await prepare(boss, queue, worker.options);
    for (let count = 0; count < workers; count++) {
      const polling = {
        pollingIntervalSeconds: Math.min(pollSeconds, 1),
        notifyPollingIntervalSeconds: pollSeconds,
        ...(grouped.has(queue) ? { groupConcurrency: 1 } : {}),
      };
      const id: string = await boss.work(queue, polling, async ([job]: Job[]) => {
        // Look for the next job at once instead of after a pause.
        if (job) await attempt(worker, job).finally(() => boss.notifyWorker(id));
      });
    }
    if (everySeconds === undefined) return;
    // Of all replicas' jobs for one stretch of the interval the database keeps the first.
    const tick = () => boss.send(queue, {}, { singletonSeconds: everySeconds }).then(undefined, report);
    timers.push(setInterval(tick, everySeconds * 1000));
    await tick();
  };

  const register = async (worker: Worker): Promise<void> => {
    registered.push(worker);
    if (ready && boss) await begin(boss, worker);
  };

  const launch = async (): Promise<void> => {
    const { PgBoss } = await import('pg-boss');
    const instance = new PgBoss({
      db: {
        ...databaseOf(db),
        ...(listen && {
          listen: async (channel: string, onNotification: (payload: string) => void, onReconnect: () => void) => ({
            close: await listen(channel, (payload) => (payload ? onNotification(payload) : onReconnect())),
          }),
        }),
      },
      useListenNotify: listen !== undefined,
      schedule: false,
      // Once a minute: jobs of a process that died are put back, ended ones are deleted once an hour.
      supervise: true,
      maintenanceIntervalSeconds: 3600,
      reindex: false,
      monitorVacuum: false,
      // Features we do not use poll for themselves.
      flowIntervalSeconds: 3600,
      bamIntervalSeconds: 600,
    });
    boss = instance;
    instance.on('error', report);
    instance.on('warning', ({ message }) => log.warn({ message }, 'jobs: pg-boss warns'));
    // Of two replicas that make the tables together one may fail on a name that the other has just taken.
    await instance.start().catch((error: unknown) => {
      if ((error as { code?: unknown }).code !== '23505') throw error;
      return instance.start();
    });
    // All at the same time: each waits for the database a few times, and requests wait for them all.
    await Promise.all(Object.entries(queues).map(([name, options]) => prepare(instance, name, options)));
    await Promise.all(registered.map((worker) => begin(instance, worker)));
    ready = true;
  };

  return {
    send: async (db, queue, data, group) => {
      if (!ready || !boss) throw overloaded(1);
      await boss.send(queue, seal(queue, data), { db: databaseOf(db), ...(group ? { group: { id: group } } : {}) });
    },

    work: (queue, handler) =>
      register({
        queue,
        options: queues[queue],
        workers: concurrency,
        pollSeconds,
        run: (job) => handler(open(queue, job.data) as Parameters<typeof handler>[0]),
      }),

    every: (name, intervalSeconds, handler) =>
      register({
        queue: `every-${name}`,
        options: {
          policy: 'exclusive',
          retryLimit: 0,
          expireInSeconds: Math.max(300, intervalSeconds),
          deleteAfterSeconds: Math.max(3600, 2 * intervalSeconds),
        },
        workers: 1,
        pollSeconds: 60,
        run: handler,
        everySeconds: intervalSeconds,
      }),

    start: () => {
      starting ??= launch().catch(async (error: unknown) => {
        starting = undefined;
        await boss?.stop({ graceful: false });
        throw error;
      });
      return starting;
    },

    isReady: () => ready,

    stop: async () => {
      await starting?.catch(() => {});
      ready = false;
      for (const timer of timers) clearInterval(timer);
      await boss?.stop({ graceful: true, timeout: stopSeconds * 1000 });
    },
  };
};
