/**
 * Counters, gauges and histograms as prom-client's registry takes them. Its own make an object of labels, sort it and turn it into a
 * string for each observation, which on the way of a token costs as much as all the rest of the middleware; here a series is looked up
 * by its labels' values, and whoever has it keeps it.
 */
import type { MetricObjectWithValues, MetricValueWithName, Registry } from 'prom-client';
import { type CounterName, declared, type GaugeName, type HistogramName, type MetricName } from './catalogue.ts';

/** No metric has more series, whatever goes wrong: what would be one more is counted with every label `other`. */
const seriesMax = 3000;

export interface Counter {
  inc(by?: number): void;
}
export interface Gauge {
  set(value: number): void;
  inc(by?: number): void;
}
export interface Histogram {
  observe(value: number): void;
}

type Labels = Record<string, string>;

/** The series of a metric, by the values of its labels in the order in which they are declared. */
const seriesOf = <Series>(name: MetricName, make: (labels: Labels) => Series) => {
  const names = declared(name).labels ?? [];
  const known = new Map<string, Series>();
  const find = (values: readonly string[]): Series => {
    const key = values.join('\n');
    const series = known.get(key);
    if (series) return series;
    if (values.length !== names.length) throw new Error(`${name} has the labels ${names.join(', ')}`);
    if (known.size >= seriesMax && values.some((value) => value !== 'other')) return find(names.map(() => 'other'));
    const made = make(Object.fromEntries(names.map((label, index) => [label, values[index] as string])));
    known.set(key, made);
    return made;
  };
  return { find, all: () => known.values(), clear: () => known.clear(), names };
};

/** Something that the registry asks for its values; `collect` is called first. */
const register = (
  registry: Registry,
  name: MetricName,
  values: () => MetricValueWithName<string>[],
  collect?: () => void | Promise<void>,
) => {
  const { type, help, aggregator = 'sum' } = declared(name);
  const get = async (): Promise<MetricObjectWithValues<MetricValueWithName<string>>> => {
    await collect?.();
    return { name, help, type, aggregator, values: values() } as unknown as MetricObjectWithValues<
      MetricValueWithName<string>
    >;
  };
  registry.registerMetric({ name, get } as unknown as Parameters<Registry['registerMetric']>[0]);
};

interface Numbered {
  labels: Labels;
  value: number;
}

const numbered = (registry: Registry, name: CounterName | GaugeName, collect?: () => void | Promise<void>) => {
  const series = seriesOf(name, (labels): Numbered & Counter & Gauge => {
    const one = {
      labels,
      value: 0,
      inc: (by = 1) => {
        one.value += by;
      },
      set: (value: number) => {
        one.value = value;
      },
    };
    return one;
  });
  // One without labels is there from the start: what has not happened yet is 0.
  if (!series.names.length) series.find([]);
  const values = () => [...series.all()].map(({ labels, value }) => ({ labels, value, metricName: name }));
  register(registry, name, values, collect);
  return series;
};

export const createCounter = (registry: Registry, name: CounterName): ((...labels: string[]) => Counter) => {
  const { find } = numbered(registry, name);
  return (...labels) => find(labels);
};

export interface Gauges {
  (...labels: string[]): Gauge;
  /** Forgets all series: what is not set anew is not there any more. */
  clear(): void;
}

/** @param collect called whenever somebody reads it */
export const createGauge = (registry: Registry, name: GaugeName, collect?: () => void | Promise<void>): Gauges => {
  const { find, clear } = numbered(registry, name, collect);
  return Object.assign((...labels: string[]) => find(labels), { clear });
};

export interface Histograms {
  (...labels: string[]): Histogram;
  /** How often each series was observed. */
  counts(): { labels: Labels; value: number }[];
}

export const createHistogram = (registry: Registry, name: HistogramName): Histograms => {
  const bounds = declared(name).buckets ?? [];
  const series = seriesOf(name, (labels) => {
    const one = {
      labels,
      sum: 0,
      count: 0,
      /** By the first bound that is not below the value; those beyond the last are in `count` alone. */
      buckets: new Array<number>(bounds.length).fill(0),
      observe: (value: number) => {
        one.sum += value;
        one.count++;
        let at = 0;
        while (at < bounds.length && value > (bounds[at] as number)) at++;
        if (at < bounds.length) (one.buckets[at] as number)++;
      },
    };
    return one;
  });
  if (!series.names.length) series.find([]);
  register(registry, name, () =>
    [...series.all()].flatMap(({ labels, buckets, sum, count }) => {
      let below = 0;
      const cumulative = buckets.map((inside, index) => {
        below += inside;
        return { labels: { le: String(bounds[index]), ...labels }, value: below, metricName: `${name}_bucket` };
      });
      return [
        ...cumulative,
        { labels: { le: '+Inf', ...labels }, value: count, metricName: `${name}_bucket` },
        { labels, value: sum, metricName: `${name}_sum` },
        { labels, value: count, metricName: `${name}_count` },
      ];
    }),
  );
  return Object.assign((...labels: string[]) => series.find(labels), {
    counts: () => [...series.all()].map(({ labels, count }) => ({ labels, value: count })),
  });
};

/** A counter that is read off a histogram, which has counted already. */
export const createCountOf = (registry: Registry, name: CounterName, { counts }: Pick<Histograms, 'counts'>): void =>
  register(registry, name, () => counts().map((one) => ({ ...one, metricName: name })));
