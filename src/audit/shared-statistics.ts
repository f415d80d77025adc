/** Figures that several ask for are counted once: for a minute everybody gets the same answer for a period. */
import type { Reads } from './reads.ts';
import { findStatistics, type Statistics } from './statistics.queries.ts';

const freshMs = 60_000;
/** How many periods are remembered. */
const periodsMax = 100;

/** @param read runs what is not remembered, and refuses when there is too much of it */
export const createSharedStatistics = (read: Reads): ((period: { from: Date; to: Date }) => Promise<Statistics>) => {
  const answers = new Map<string, { until: number; statistics: Promise<Statistics> }>();
  return (period) => {
    const now = Date.now();
    for (const [key, { until }] of answers) if (until <= now || answers.size > periodsMax) answers.delete(key);
    const key = `${period.from.getTime()} ${period.to.getTime()}`;
    const known = answers.get(key);
    if (known) return known.statistics;
    const statistics = read((db) => findStatistics(db, period));
    answers.set(key, { until: now + freshMs, statistics });
    statistics.catch(() => answers.delete(key));
    return statistics;
  };
};
