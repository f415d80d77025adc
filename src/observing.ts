/**
 * What happens inside, told to whoever watches: metrics and traces. Like node:diagnostics_channel the points belong to the
 * process, so that a query or a mail need not be handed an observer through every call, and like there it costs one check for
 * undefined where nobody watches. Nothing that is decided rests on them.
 */

/** Told that something that had begun has ended, and how if it failed. */
export type End = (error?: unknown) => void;

/** A place where something is told. */
export interface Point<Told extends unknown[], Result> {
  /** Undefined while nobody watches. */
  tell: ((...told: Told) => Result) | undefined;
  /** @returns a function that stops watching */
  watch(watcher: (...told: Told) => Result): () => void;
}

const point = <Told extends unknown[], Result>(
  join: (watchers: readonly ((...told: Told) => Result)[]) => (...told: Told) => Result,
): Point<Told, Result> => {
  const watchers: ((...told: Told) => Result)[] = [];
  const update = () => {
    made.tell = watchers.length > 1 ? join([...watchers]) : watchers[0];
  };
  const made: Point<Told, Result> = {
    tell: undefined,
    watch: (watcher) => {
      watchers.push(watcher);
      update();
      return () => {
        const at = watchers.indexOf(watcher);
        if (at !== -1) watchers.splice(at, 1);
        update();
      };
    },
  };
  return made;
};

/** Something that takes time: whoever tells of its beginning is given what to call at its end. */
const operation = <Told extends unknown[]>() =>
  point<Told, End>((watchers) => (...told) => {
    const ends = watchers.map((watcher) => watcher(...told));
    return (error) => {
      for (const end of ends) end(error);
    };
  });

/** Something that just is so. */
const fact = <Told extends unknown[]>() =>
  point<Told, void>((watchers) => (...told) => {
    for (const watcher of watchers) watcher(...told);
  });

/** A statement of SQL, without its values. */
export const queries = operation<[sql: string]>();
/** A command of Redis, and what it is for. */
export const redisCommands = operation<[command: string, purpose: RedisPurpose]>();
/** Whether a connection to Redis is there. */
export const redisConnections = fact<[purpose: RedisPurpose, isUp: boolean]>();
/** A request that we send. `carry` puts headers on it that tell an operator's own systems what it belongs to. */
export const fetches = operation<[purpose: FetchPurpose, method: string, url: URL, answered: Answered]>();
/** The computation of a password hash, without its waiting. */
export const hashes = operation<[]>();
/** A place in the queue of hashes: told at once, ended when the computation begins. `refused` instead where the queue was full. */
export const hashWaits = operation<[]>();
export const hashRefusals = fact<[]>();
export const jobRuns = operation<[queue: string]>();
/** What became of a mail that was to be delivered. */
export const mails = fact<[outcome: 'sent' | 'failed']>();
/** Actions of the audit log. They are told when they are written; a transaction that fails later takes them back. */
export const auditEvents = fact<[action: string]>();
/** Where a limit was counted. */
export const limitCounts = fact<[store: 'redis' | 'memory']>();
/** Whether the connection is there on which other processes' changes are heard of. */
export const listenStates = fact<[isUp: boolean]>();
/** Whether what is cached can be relied on: see `adapters/access-channel.ts`. */
export const cacheStates = fact<[isProven: boolean]>();
export const tokenGrants = fact<[grantType: string]>();
export const cleanedRows = fact<[table: string, count: number]>();

export type RedisPurpose = 'limits' | 'access';
export const fetchPurposes = [
  ...['client', 'identity-provider', 'external-issuer', 'breached-passwords', 'sms', 'keycloak', 'consul', 'other'],
] as const;
export type FetchPurpose = (typeof fetchPurposes)[number];
/** Filled in by whoever fetches, before the end is told. */
export interface Answered {
  status?: number;
  /** Headers that watchers want to send along; only to systems that the operator named. */
  headers?: Record<string, string>;
}

/** Does work within a span of a trace. */
type Step = <T>(
  name: string,
  work: () => Promise<T>,
  attributes?: Record<string, string | number | boolean>,
) => Promise<T>;

/** What traces do; undefined while there are none. */
export interface Traces {
  step: Step;
  /** What is being traced now, as W3C Trace Context's `traceparent`. */
  current(): string | undefined;
  /** A trace of its own for a job, which names the one that queued it. */
  job<T>(queue: string, origin: string | undefined, work: () => Promise<T>): Promise<T>;
}
const traces: { now: Traces | undefined } = { now: undefined };

/** Has steps and jobs traced from now on. @returns a function that ends it */
export const traceWith = (made: Traces): (() => void) => {
  traces.now = made;
  return () => {
    if (traces.now === made) traces.now = undefined;
  };
};

/** A step that a trace shows by name, with what is within it. Names and attributes hold nothing secret and nobody's data. */
export const step: Step = (name, work, attributes) => (traces.now ? traces.now.step(name, work, attributes) : work());

/** What a job is to remember of the request that queues it. */
export const traceOrigin = (): string | undefined => traces.now?.current();

/** Runs a job; `origin` is what it remembers. */
export const runJob = <T>(queue: string, origin: string | undefined, work: () => Promise<T>): Promise<T> =>
  traces.now ? traces.now.job(queue, origin, work) : work();
