/** What a load test has seen. */

/** One operation, as it went. Times are milliseconds since the load began. */
export interface Sample {
  operation: string;
  scheduled: number;
  /** From when it should have left to its answer. */
  latency: number;
  error?: string;
}

export interface LoadResult {
  /** Operations a second. */
  rate: number;
  seconds: number;
  /** The weight of each operation. */
  mix: Record<string, number>;
  samples: Sample[];
}

/** How long those took that were answered as they should be, the quickest first. */
export const latenciesOf = (samples: readonly Sample[]): number[] =>
  samples.flatMap(({ latency, error }) => (error === undefined ? [latency] : [])).sort((a, b) => a - b);

/** How often each operation failed in which way. */
export const countErrors = (samples: readonly Sample[]): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const { operation, error } of samples)
    if (error !== undefined) counts.set(`${operation}: ${error}`, (counts.get(`${operation}: ${error}`) ?? 0) + 1);
  return counts;
};
