/** Sends operations when their time has come, whatever has become of earlier ones (an open model). */
import type { createOperations } from './load-operations.ts';
import { createRandom } from './numbers.ts';
import type { Sample } from './samples.ts';

type Operations = ReturnType<typeof createOperations>;

/** When what is to leave: as independent callers would, that is with exponential gaps. */
const createSchedule = (rate: number, seconds: number, mix: Record<string, number>, seed: number) => {
  const random = createRandom(seed);
  const total = Object.values(mix).reduce((sum, weight) => sum + weight, 0);
  const choose = (): string => {
    let left = random() * total;
    for (const [name, weight] of Object.entries(mix)) {
      left -= weight;
      if (left < 0) return name;
    }
    return Object.keys(mix)[0] as string;
  };
  const schedule: { at: number; operation: string }[] = [];
  for (let at = 0; at < seconds * 1000; at += (-Math.log(1 - random()) / rate) * 1000)
    schedule.push({ at, operation: choose() });
  return schedule;
};

const firstLine = (error: unknown): string => ((error as Error).message ?? String(error)).split('\n')[0] ?? '';

/** Sends everything at its time, and waits for the last answer. */
export const drive = async (
  operations: Pick<Operations, 'call'>,
  rate: number,
  seconds: number,
  mix: Record<string, number>,
  seed = 7,
): Promise<Sample[]> => {
  const samples: Sample[] = [];
  const running = new Set<Promise<void>>();
  const begun = performance.now();
  const send = async ({ at, operation }: { at: number; operation: string }): Promise<void> => {
    const error = await operations.call(operation).then(() => undefined, firstLine);
    const latency = performance.now() - begun - at;
    samples.push({ operation, scheduled: at, latency, ...(error === undefined ? {} : { error }) });
  };
  for (const next of createSchedule(rate, seconds, mix, seed)) {
    const early = next.at - (performance.now() - begun);
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    const one = send(next).finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
  return samples;
};
