/** What a run of the bench says: a table for people, rows for programs. */
import type { Result } from './measure.ts';

export interface Row {
  item: string;
  /** What it is compared with. */
  reference: string;
  /** Our requests per second by the reference's. */
  ratio: number;
  /** Ours. */
  requestsPerSecond: number;
  cpuMsPerRequest: number;
  /** Our processor time per request by the reference's. */
  cpuRatio: number;
  referenceRequestsPerSecond: number;
  referenceCpuMsPerRequest: number;
  /** PostgreSQL's processor time per request of ours; null where it cannot be seen. */
  databaseMsPerRequest: number | null;
  /** Processor time of the one signature or hash that the request takes; null where it takes none. */
  cryptographyMs: number | null;
}

const round = (value: number): number => Number(value.toPrecision(4));

/** A row for each reference. */
export const toRows = ({ item, sides, cryptographyMs }: Result): Row[] => {
  const [ours, ...references] = Object.entries(sides);
  if (!ours) return [];
  const [, { requestsPerSecond, cpuMsPerRequest, databaseMsPerRequest }] = ours;
  return references.map(([reference, other]) => ({
    item,
    reference,
    ratio: round(requestsPerSecond / other.requestsPerSecond),
    requestsPerSecond: round(requestsPerSecond),
    cpuMsPerRequest: round(cpuMsPerRequest),
    cpuRatio: round(cpuMsPerRequest / other.cpuMsPerRequest),
    referenceRequestsPerSecond: round(other.requestsPerSecond),
    referenceCpuMsPerRequest: round(other.cpuMsPerRequest),
    databaseMsPerRequest: Number.isNaN(databaseMsPerRequest) ? null : round(databaseMsPerRequest),
    cryptographyMs: cryptographyMs === undefined ? null : round(cryptographyMs),
  }));
};

const column = (value: number, width: number, digits: number): string =>
  (Number.isNaN(value) ? '-' : value.toFixed(digits)).padStart(width);

let isHeadPrinted = false;

/** Prints an item: a line for each side. Ratios are the service's by the reference's. */
export const print = ({ item, sides, cryptographyMs }: Result): void => {
  if (!isHeadPrinted)
    console.log(
      `${'item'.padEnd(20)}${'side'.padEnd(12)}   req/s   ratio  CPU ms   ratio  PostgreSQL ms  busy  load busy`,
    );
  isHeadPrinted = true;
  const [ours] = Object.values(sides);
  if (!ours) return;
  for (const [name, one] of Object.entries(sides)) {
    const ratio = (ratio: number) => (one === ours ? '        ' : column(ratio, 8, 2));
    console.log(
      item.padEnd(20) +
        name.padEnd(12) +
        column(one.requestsPerSecond, 8, one.requestsPerSecond < 100 ? 1 : 0) +
        ratio(ours.requestsPerSecond / one.requestsPerSecond) +
        column(one.cpuMsPerRequest, 8, 3) +
        ratio(ours.cpuMsPerRequest / one.cpuMsPerRequest) +
        column(one.databaseMsPerRequest, 15, 3) +
        column(one.busy, 6, 2) +
        column(one.loadBusy, 11, 2),
    );
  }
  if (cryptographyMs !== undefined)
    console.log(
      `${item.padEnd(20)}${cryptographyMs.toFixed(3)} ms is the cryptography by itself: ` +
        `${((100 * cryptographyMs) / ours.cpuMsPerRequest).toFixed(0)} % of the processor time, which is ` +
        `${(ours.cpuMsPerRequest / cryptographyMs).toFixed(1)} times it`,
    );
};
