/**
 * What requests cost: `npm run bench -- [--items client_credentials,jwks] [--seconds 1] [--rounds 5] [--workers 1]
 * [--connections 16] [--seeded NAME] [--json FILE]`. The service as its operator runs it, in a process of its own, on a database of its
 * own next to that of DATABASE_URL (embedded without that). Beside it are references in processes of their own:
 * `references/floor.ts` does the cryptography that is unavoidable and nothing else, `references/engine.ts` is oidc-provider alone,
 * in memory. With several workers there is also the service with one; with `--seeded` the service on what `seed.ts` has made is
 * compared with the service on an empty database. They are measured in turns, in rounds of changing order, and of each number the
 * median of the rounds is told. Every answer is looked at; one wrong one ends the run with an error.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { items } from './items.ts';
import { measure, type Result, type Side } from './measure.ts';
import { ask, divideCores, memoryMbOf, messageOf, processTree, startNode, stopChild } from './processes.ts';
import { print, toRows } from './results.ts';
import { type BenchDatabase, createDatabase, openSeeded, type Service, startService } from './service.ts';
import type { Target } from './targets.ts';

const { values: options } = parseArgs({
  options: {
    items: { type: 'string', default: Object.keys(items).join(',') },
    seconds: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    workers: { type: 'string', default: '1' },
    connections: { type: 'string', default: '16' },
    seeded: { type: 'string' },
    json: { type: 'string' },
  },
});
const workers = Number(options.workers);
const connections = Number(options.connections);
const chosen = options.items.split(',');
for (const name of chosen)
  if (!items[name]) throw new Error(`there is no item ${name}; there are ${Object.keys(items).join(', ')}`);

const cores = divideCores(workers);
/** What has to be undone at the end, the newest first. */
const undo: (() => Promise<unknown>)[] = [];

const start = (script: string, on: readonly number[]) => {
  const child = startNode(script, { cores: on });
  undo.unshift(() => stopChild(child));
  return child;
};

/** The memory of each of the service's processes. */
const memoryOf = ({ child }: Service): string =>
  processTree(child.pid as number)
    .map((pid) => `${memoryMbOf(pid).toFixed(0)} MB`)
    .join(' + ');

const serve = async (name: string, workers: number, database: BenchDatabase): Promise<Side & { service: Service }> => {
  undo.unshift(database.drop);
  const service = await startService({ database, workers, cores: cores.server, connections });
  undo.unshift(service.stop);
  console.log(
    `${name}: ready after ${service.readyMs.toFixed(0)} ms, then ${service.idleMb} MB; after ${connections} sign-ins ${memoryOf(service)}`,
  );
  return { name, child: service.child, target: service.target, service, databaseUrl: database.url };
};

/** What is compared: the first side is the one that the others are references for. */
const startSides = async (): Promise<(Side & { service?: Service })[]> => {
  if (options.seeded !== undefined)
    return [
      await serve('seeded', workers, await openSeeded(options.seeded)),
      await serve('empty', workers, await createDatabase()),
    ];
  const floor = start('references/floor.ts', cores.server);
  const engine = start('references/engine.ts', cores.server);
  const [floorPlace, engineTarget] = await Promise.all([
    messageOf<{ address: string }>(floor),
    messageOf<Target>(engine),
  ]);
  const service = await serve('service', workers, await createDatabase());
  return [
    service,
    ...(workers > 1 ? [await serve('one_worker', 1, await createDatabase())] : []),
    { name: 'engine', child: engine, target: engineTarget, renew: (count) => ask(engine, { refresh: count }) },
    {
      name: 'floor',
      child: floor,
      target: { ...service.target, ...floorPlace },
      costOf: async (cost) => (await ask<{ cost: number }>(floor, { cost })).cost,
    },
  ];
};

const run = async (): Promise<void> => {
  console.log(`Node ${process.version}, ${cores.text}; ${connections} connections`);
  const load = start('load-process.ts', cores.load);
  await messageOf(load);
  const sides = await startSides();
  const measured: Result[] = [];
  for (const item of chosen) {
    const result = await measure(item, sides, {
      load,
      rounds: Number(options.rounds),
      milliseconds: Number(options.seconds) * 1000,
      connections,
    });
    measured.push(result);
    print(result);
  }
  for (const { name, service } of sides) if (service) console.log(`${name}: under load ${memoryOf(service)}`);
  if (options.json) await writeFile(options.json, `${JSON.stringify(measured.flatMap(toRows), null, 2)}\n`);
};

const cleanUp = async (): Promise<void> => {
  for (const step of undo.splice(0)) await step();
};

// Whoever interrupts it leaves no database behind.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void cleanUp().finally(() => process.exit(130)));

try {
  await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
