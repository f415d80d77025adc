/** The load, in a process of its own so that it can have a core of its own: goes through an item on several connections for a time. */
import { type HttpConnection, openConnection } from './http-connection.ts';
import { beginFloor, type Item, items, type Visit } from './items.ts';
import type { Target } from './targets.ts';

export interface LoadRequest {
  /** Under this name connections' memories are kept. */
  side: string;
  item: string;
  target: Target;
  connections: number;
  milliseconds: number;
  /** How often each connection goes through it at least; once unless told otherwise. */
  times?: number;
  /** Of the floor: how many bytes it is to answer. */
  floorBytes?: number;
  /** Forgets what connections remember, since the target has new tokens. */
  fresh?: boolean;
}

export type LoadReport =
  | { ready: true }
  | { count: number; milliseconds: number; bytes: number; cpuMs: number }
  | { error: string };

const memories = new Map<string, Visit['memory']>();

const memoryOf = (name: string): Visit['memory'] => {
  const memory = memories.get(name) ?? {};
  memories.set(name, memory);
  return memory;
};

const run = async ({
  side,
  item,
  target,
  connections,
  milliseconds,
  times = 1,
  floorBytes,
  fresh,
}: LoadRequest): Promise<LoadReport> => {
  const open: HttpConnection[] = [];
  try {
    const steps = await Promise.all(
      Array.from({ length: connections }, async (_, number) => {
        const connection = await openConnection(target.address);
        open.push(connection);
        if (fresh) memories.delete(`${side} ${number}`);
        const visit = { connection, target, number, memory: memoryOf(`${side} ${number}`) };
        return floorBytes === undefined ? (items[item] as Item).begin(visit) : beginFloor(item, floorBytes, visit);
      }),
    );
    let count = 0;
    let bytes = 0;
    const cpu = process.cpuUsage();
    const started = performance.now();
    const end = started + milliseconds;
    await Promise.all(
      steps.map(async (step) => {
        for (let done = 0; done < times || performance.now() < end; done++) {
          bytes = await step();
          count++;
        }
      }),
    );
    const { user, system } = process.cpuUsage(cpu);
    return { count, bytes, milliseconds: performance.now() - started, cpuMs: (user + system) / 1000 };
  } finally {
    for (const connection of open) connection.close();
  }
};

const report = (message: LoadReport) => process.send?.(message);

process.on('message', (request: LoadRequest) => {
  run(request).then(report, (error: Error) => report({ error: `${request.side}, ${request.item}: ${error.message}` }));
});
process.on('disconnect', () => process.exit(0));
report({ ready: true });
