import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { createJoinedMetrics, type Snapshot } from '../../src/metrics/joined-metrics.ts';

const measured = async (requests: number, memory: number): Promise<Snapshot> => {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: 'requests_total', help: 'h', labelNames: ['route'], registers }).inc(
    { route: 'token' },
    requests,
  );
  new Gauge({ name: 'memory_bytes', help: 'h', registers }).set(memory);
  new Gauge({ name: 'age_seconds', help: 'h', registers, aggregator: 'max' }).set(memory);
  new Histogram({ name: 'seconds', help: 'h', buckets: [1, 2], registers }).observe(1.5);
  return (await registry.getMetricsAsJSON()) as unknown as Snapshot;
};

it('counters and histograms are summed and outlive their process; gauges are as they are declared, and end with it', async () => {
  const joined = createJoinedMetrics();
  joined.take(1, await measured(3, 100));
  joined.take(2, await measured(4, 50));
  const both = await joined.expose();
  for (const line of ['requests_total{route="token"} 7', 'memory_bytes 150', 'age_seconds 100', 'seconds_count 2'])
    expect(both.split('\n')).toContain(line);
  joined.end(1);
  joined.end(1);
  const one = await joined.expose();
  for (const line of [
    'requests_total{route="token"} 7',
    'memory_bytes 50',
    'age_seconds 50',
    'seconds_bucket{le="2"} 2',
  ])
    expect(one.split('\n')).toContain(line);
  joined.take(3, await measured(1, 10));
  expect((await joined.expose()).split('\n')).toContain('requests_total{route="token"} 8');
});
