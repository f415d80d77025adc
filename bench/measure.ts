/** Measures one item on several servers in turns. */
import type { ChildProcess } from 'node:child_process';
import pg from 'pg';
import { items } from './items.ts';
import type { LoadReport, LoadRequest } from './load-process.ts';
import { median } from './numbers.ts';
import { ask, cpuMsOf, processTree } from './processes.ts';
import type { Target } from './targets.ts';

export interface Side {
  name: string;
  child: ChildProcess;
  target: Target;
  /** Makes new refresh tokens: the engine's memory keeps a list of all tokens of a grant, and walks through it. */
  renew?(count: number): Promise<Pick<Target, 'refreshTokens'>>;
  /** What the unavoidable cryptography costs by itself, in milliseconds of the processor. */
  costOf?(cost: 'sign' | 'hash'): Promise<number>;
  /** Of a service: its database, whose processes are looked at as well if they run on this machine. */
  databaseUrl?: string | undefined;
}

export interface Options {
  load: ChildProcess;
  rounds: number;
  milliseconds: number;
  connections: number;
}

export interface Measurement {
  requestsPerSecond: number;
  cpuMsPerRequest: number;
  /** Of PostgreSQL, for the service; NaN where that is not on this machine. */
  databaseMsPerRequest: number;
  /** How much of the time the server and the load were at work, in cores. */
  busy: number;
  loadBusy: number;
}

export interface Result {
  item: string;
  sides: Record<string, Measurement>;
  /** Milliseconds of the processor for one signature or hash; undefined where none is needed. */
  cryptographyMs: number | undefined;
}

/** The processes that PostgreSQL has for a database, where they can be seen. */
const findBackends = async (url: string | undefined): Promise<number[]> => {
  if (!url || !['localhost', '127.0.0.1', '::1', ''].includes(new URL(url).hostname)) return [];
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client
    .query('select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()')
    .finally(() => client.end());
  return (rows as { pid: number }[]).map(({ pid }) => pid);
};

const runLoad = async (load: ChildProcess, request: LoadRequest) => {
  const report = await ask<LoadReport>(load, request);
  if ('error' in report) throw new Error(report.error);
  if ('ready' in report) throw new Error('the load process was started anew');
  return report;
};

/** One side, once. @returns also how many bytes the last answer had */
const measureOnce = async (
  item: string,
  { name, child, target, renew, databaseUrl }: Side,
  { load, milliseconds, connections }: Options,
  floorBytes: number,
  times: number,
): Promise<Measurement & { bytes: number }> => {
  const { engineItem } = items[item] as (typeof items)[string];
  const renewed = item === 'refresh' && renew ? { ...target, ...(await renew(connections)) } : undefined;
  const pids = processTree(child.pid as number);
  const backends = await findBackends(databaseUrl);
  const before = [cpuMsOf(pids), cpuMsOf(backends)] as const;
  const { count, bytes, cpuMs, ...took } = await runLoad(load, {
    side: name,
    item: name === 'engine' ? (engineItem ?? item) : item,
    target: renewed ?? target,
    connections,
    milliseconds,
    times,
    ...(name === 'floor' ? { floorBytes } : {}),
    ...(renewed ? { fresh: true } : {}),
  });
  const used = cpuMsOf(pids) - before[0];
  return {
    requestsPerSecond: (count / took.milliseconds) * 1000,
    cpuMsPerRequest: used / count,
    databaseMsPerRequest: backends.length ? (cpuMsOf(backends) - before[1]) / count : Number.NaN,
    busy: used / took.milliseconds,
    loadBusy: cpuMs / took.milliseconds,
    bytes,
  };
};

/**
 * How often each connection goes through an item in the round that warms up. A second is enough for what is asked thousands of times in
 * it; of the thirty sign-ins of a second most of the code would be measured as it is before it has been compiled.
 */
const warmUpTimes = 20;

/** Measures an item. The first round warms up, and tells how much the floor has to answer. @throws Error at any wrong answer */
export const measure = async (item: string, sides: readonly Side[], options: Options): Promise<Result> => {
  const { engine, unavoidable } = items[item] as (typeof items)[string];
  const taking = sides.filter(({ name }) => name !== 'engine' || engine);
  const all: Record<string, Measurement[]> = Object.fromEntries(taking.map(({ name }) => [name, []]));
  const costs: number[] = [];
  let floorBytes = 0;
  for (let round = -1; round < options.rounds; round++) {
    const turn = Math.max(0, round) % taking.length;
    for (const side of [...taking.slice(turn), ...taking.slice(0, turn)]) {
      const { bytes, ...measured } = await measureOnce(item, side, options, floorBytes, round < 0 ? warmUpTimes : 1);
      if (side.name === sides[0]?.name) floorBytes = bytes;
      if (round >= 0) all[side.name]?.push(measured);
    }
    for (const { costOf } of taking) if (costOf && unavoidable !== 'nothing') costs.push(await costOf(unavoidable));
  }
  const medianOf = (measurements: readonly Measurement[], member: keyof Measurement) =>
    median(measurements.map((one) => one[member]));
  return {
    item,
    cryptographyMs: costs.length ? median(costs) : undefined,
    sides: Object.fromEntries(
      Object.entries(all).map(([name, measurements]) => [
        name,
        {
          requestsPerSecond: medianOf(measurements, 'requestsPerSecond'),
          cpuMsPerRequest: medianOf(measurements, 'cpuMsPerRequest'),
          databaseMsPerRequest: medianOf(measurements, 'databaseMsPerRequest'),
          busy: medianOf(measurements, 'busy'),
          loadBusy: medianOf(measurements, 'loadBusy'),
        },
      ]),
    ),
  };
};
