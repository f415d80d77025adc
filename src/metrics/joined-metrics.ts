/**
 * The metrics of several processes as one exposition. Counters and histograms are summed; gauges as each one's `aggregator` says, of
 * which prom-client's own have sensible ones (memory is summed, the event loop's lag averaged). What a process that has ended
 * counted stays in the sums: a counter that went backwards would look like a restart to `rate()`, and count everything twice.
 */
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from 'prom-client';

/** What one process has measured, as JSON. */
export type Snapshot = (MetricObjectWithValues<MetricValue<string>> & { aggregator?: string })[];

export interface JoinedMetrics {
  /** What a process has measured by now. */
  take(id: number, snapshot: Snapshot): void;
  /** The process has ended: of its last snapshot stays what only ever grows. */
  end(id: number): void;
  expose(): Promise<string>;
}

/** Types of metrics that only ever grow. prom-client's published enumeration is another thing than what it writes. */
const growing: ReadonlySet<string> = new Set(['counter', 'histogram']);

export const createJoinedMetrics = (): JoinedMetrics => {
  const running = new Map<number, Snapshot>();
  let ended: Promise<Snapshot> = Promise.resolve([]);

  const join = (snapshots: Snapshot[]) => AggregatorRegistry.aggregate(snapshots);

  return {
    take: (id, snapshot) => {
      running.set(id, snapshot);
    },
    end: (id) => {
      const last = running.get(id)?.filter(({ type }) => growing.has(String(type)));
      running.delete(id);
      if (last?.length)
        ended = ended.then(async (sums) => (await join([sums, last]).getMetricsAsJSON()) as unknown as Snapshot);
    },
    expose: async () => join([...running.values(), await ended]).metrics(),
  };
};
