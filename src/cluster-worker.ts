/** The worker's side of `cluster.ts`: what it tells the primary process, and what it is told. */
import type { Registry } from 'prom-client';
import type { Ending, ToPrimary, ToWorker } from './cluster-messages.ts';
import { overloaded } from './errors.ts';
import type { Snapshot } from './metrics/joined-metrics.ts';

/** How long the primary may take to ask all workers what they have measured. */
const exposeMs = 3000;

export interface PrimaryLink {
  tell(message: ToPrimary): Promise<void>;
  /** The metrics of all workers. @throws AppError 503 when the primary does not answer in time */
  expose(): Promise<string>;
  /** Calls back when the primary asks for something. */
  onBanner(work: () => void): void;
  onStop(work: (ending: Ending) => void): void;
  /** Says what this process has measured, whenever it is asked and when it ends. */
  measure(registry: Pick<Registry, 'getMetricsAsJSON'>): void;
  /** The last that the primary hears. */
  leave(): Promise<void>;
}

/** In a process that `cluster.ts` started. */
export const linkToPrimary = (): PrimaryLink => {
  const waiting = new Map<number, (text: string) => void>();
  let asked = 0;
  let banner = (): void => {};
  let stop = (_: Ending): void => process.exit(0);
  let snapshot = (): Promise<Snapshot> => Promise.resolve([]);

  // The channel may be closed: then nobody is there to be told, and this process is about to end.
  const tell = (message: ToPrimary): Promise<void> =>
    new Promise((resolve) => {
      if (process.send) process.send(message, undefined, {}, () => resolve());
      else resolve();
    });
  const tellMeasured = async (id: number): Promise<void> =>
    tell({ kind: 'measured', id, snapshot: await snapshot().catch(() => []) });

  process.on('message', (message: ToWorker) => {
    if (message.kind === 'banner') banner();
    else if (message.kind === 'stop') stop(message.ending);
    else if (message.kind === 'measure') void tellMeasured(message.id);
    else if (message.kind === 'exposition') waiting.get(message.id)?.(message.text);
  });

  return {
    tell,
    expose: async () => {
      const id = ++asked;
      let timer: NodeJS.Timeout | undefined;
      try {
        return await new Promise<string>((resolve, reject) => {
          timer = setTimeout(() => reject(overloaded(1)), exposeMs);
          waiting.set(id, resolve);
          void tell({ kind: 'expose', id });
        });
      } finally {
        clearTimeout(timer);
        waiting.delete(id);
      }
    },
    onBanner: (work) => {
      banner = work;
    },
    onStop: (work) => {
      stop = work;
    },
    measure: (registry) => {
      snapshot = async () => (await registry.getMetricsAsJSON()) as unknown as Snapshot;
    },
    leave: async () => {
      await tellMeasured(0);
      process.disconnect?.();
    },
  };
};
