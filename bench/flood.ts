/**
 * Whether a flood of sign-ins starves the rest: `npm run bench:flood -- [--seconds 4] [--rounds 3] [--times 4] [--door page] [--json FILE]`.
 * They come by the REST API, or by a sign-in page that was opened once, with a wrong password. Tokens and discovery are asked for as fast as they are answered, in turns while it is quiet and while passwords are tried at four times
 * the rate at which the service can hash. Told are the share of the quiet rate that is kept (at least half is the aim), and what
 * became of the sign-ins: those past the queue are answered 503 with Retry-After.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type HttpConnection, headerValues, openConnection, requestText } from './http-connection.ts';
import type { LoadReport } from './load-process.ts';
import { median } from './numbers.ts';
import { ask, divideCores, messageOf, pinSelf, startNode, stopChild } from './processes.ts';
import { createDatabase, startService } from './service.ts';
import { openSignIn } from './sign-in.ts';
import { hostOf, type Target } from './targets.ts';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    times: { type: 'string', default: '4' },
    door: { type: 'string', default: 'rest' },
    workers: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});
const milliseconds = Number(options.seconds) * 1000;
const kept = ['client_credentials', 'discovery'] as const;
/** So many come at once: the service's own queue is to be what fills up. */
const connectionsMax = 400;
/** What a password that was looked at is answered: it was right, or not. */
const tried = new Set([200, 401]);
/** How many wait in the service, so that a short flood fills its queue as a long one would. */
const queue = 20;

/** A sign-in for a person of its own, so that no limit for an account is what refuses it. */
type Door = (number: number) => string;

const doors: Readonly<Record<string, (target: Target) => Promise<Door>>> = {
  rest: async (target) => (number) =>
    requestText(
      'POST',
      '/auth/login',
      { Host: hostOf(target), 'Content-Type': 'application/json', Accept: 'application/json' },
      JSON.stringify(personOf(target, number)),
    ),
  // A right one would be gone on with elsewhere.
  page: async (target) => {
    const connection = await openConnection(target.address);
    const { submit } = await openSignIn(connection, target, new Map());
    connection.close();
    return (number) => submit({ ...personOf(target, number), password: 'wrong' });
  },
};

const personOf = ({ people }: Target, number: number) => people[number % people.length] as Target['people'][number];

const trySignIn = async (connection: HttpConnection, door: Door, number: number) => {
  const answer = await connection.send(door(number));
  return { status: answer.status, retryAfter: headerValues(answer, 'retry-after')[0] };
};

interface Flooded {
  sent: number;
  byStatus: Map<number, number>;
  /** 503 without Retry-After, which nobody could heed. */
  silent: number;
}

/** Keeps trying at a rate, until it is told to stop; what finds no connection free is not sent. */
const flood = async (target: Target, door: Door, perSecond: number) => {
  const free: HttpConnection[] = await Promise.all(
    Array.from({ length: connectionsMax }, () => openConnection(target.address)),
  );
  const all = [...free];
  const outcome: Flooded = { sent: 0, byStatus: new Map(), silent: 0 };
  const running = new Set<Promise<void>>();
  let owed = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    owed = Math.min(owed + ((now - last) / 1000) * perSecond, perSecond);
    last = now;
    for (; owed >= 1 && free.length; owed--) {
      const connection = free.pop() as HttpConnection;
      const attempt = trySignIn(connection, door, outcome.sent++).then(({ status, retryAfter }) => {
        outcome.byStatus.set(status, (outcome.byStatus.get(status) ?? 0) + 1);
        if (status === 503 && !retryAfter) outcome.silent++;
        free.push(connection);
      });
      running.add(attempt);
      attempt.finally(() => running.delete(attempt)).catch(() => {});
    }
  }, 5);
  return async (): Promise<Flooded> => {
    clearInterval(timer);
    await Promise.allSettled(running);
    for (const connection of all) connection.close();
    return outcome;
  };
};

const openDoor = doors[options.door];
if (!openDoor) throw new Error(`--door ${Object.keys(doors).join('|')}`);
const cores = divideCores(Number(options.workers));
pinSelf(cores.load);
const database = await createDatabase();
const load = startNode('load-process.ts', { cores: cores.load });
let service: Awaited<ReturnType<typeof startService>> | undefined;
try {
  await messageOf(load);
  service = await startService({
    database,
    workers: Number(options.workers),
    cores: cores.server,
    connections: 8,
    settings: { HASH_QUEUE: String(queue) },
  });
  const { target } = service;
  const door = await openDoor(target);
  const rate = async (item: string): Promise<number> => {
    const report = await ask<LoadReport>(load, { side: 'flood', item, target, connections: 8, milliseconds });
    if (!('count' in report)) throw new Error('error' in report ? report.error : 'no report');
    return (report.count / report.milliseconds) * 1000;
  };
  // The capacity: as many sign-ins at once as keep the hashing busy, and no more.
  const capacity = await (async () => {
    let done = 0;
    const end = performance.now() + milliseconds / 2;
    await Promise.all(
      Array.from({ length: 4 }, async (_, number) => {
        const connection = await openConnection(target.address);
        while (performance.now() < end) if (tried.has((await trySignIn(connection, door, number)).status)) done++;
        connection.close();
      }),
    );
    return (done / milliseconds) * 2000;
  })();
  const perSecond = capacity * Number(options.times);
  console.log(
    `Node ${process.version}, ${cores.text}; ${capacity.toFixed(0)} sign-ins/s are the capacity, ${perSecond.toFixed(0)}/s the flood`,
  );
  const shares = new Map<string, number[]>(kept.map((item) => [item, []]));
  const refused: number[] = [];
  for (const item of kept) await rate(item);
  for (let round = 0; round < Number(options.rounds); round++) {
    const quiet = new Map<string, number>();
    for (const item of kept) quiet.set(item, await rate(item));
    const stop = await flood(target, door, perSecond);
    const flooded = new Map<string, number>();
    for (const item of kept) flooded.set(item, await rate(item));
    const { sent, byStatus, silent } = await stop();
    for (const status of byStatus.keys())
      if (!tried.has(status) && status !== 503) throw new Error(`a sign-in was answered ${status}`);
    if (silent) throw new Error(`${silent} answers of 503 had no Retry-After`);
    refused.push((byStatus.get(503) ?? 0) / sent);
    for (const item of kept) {
      const share = (flooded.get(item) as number) / (quiet.get(item) as number);
      shares.get(item)?.push(share);
      console.log(
        `round ${round + 1}  ${item.padEnd(20)} quiet ${quiet.get(item)?.toFixed(0).padStart(6)}/s  flooded ${flooded.get(item)?.toFixed(0).padStart(6)}/s  kept ${(share * 100).toFixed(0)} %`,
      );
    }
    console.log(
      `round ${round + 1}  sign-ins: ${sent} sent, ${sent - (byStatus.get(503) ?? 0)} tried, ${((refused.at(-1) ?? 0) * 100).toFixed(0)} % answered 503 with Retry-After`,
    );
  }
  const rows = kept.map((item) => ({ item, kept: median(shares.get(item) ?? []) }));
  for (const { item, kept } of rows)
    console.log(
      `${item.padEnd(20)} keeps ${(kept * 100).toFixed(0)} % (aim: 50 %)${kept < 0.5 ? '  NOT REACHED' : ''}`,
    );
  console.log(`${'sign_in'.padEnd(20)} ${(median(refused) * 100).toFixed(0)} % answered 503`);
  if (options.json)
    await writeFile(
      options.json,
      `${JSON.stringify([...rows, { item: 'sign_in', refused: median(refused) }], null, 2)}\n`,
    );
  if (rows.some(({ kept }) => kept < 0.5)) process.exitCode = 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await service?.stop();
  await stopChild(load);
  await database.drop();
}
