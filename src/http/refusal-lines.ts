/**
 * Lines in the log about what is refused because there is too much of it (429, 503). A flood must not cost a line for each
 * request, nor bury all other lines: past some in a second the rest is told in one, by status and route. `/metrics` counts each.
 */
import type { Log } from '../log.ts';

/** How many of each kind have a line of their own in a second. */
const ownLinesMax = 20;
const windowMs = 1000;

const refusals = new Set([429, 503]);

/** @returns whether a request that ended so is to have a line of its own; else it is told with others when the second is over */
export const createRefusalLines = (log: Log): ((status: number, route: string) => boolean) => {
  const counts = new Map<string, { status: number; route: string; count: number }>();
  const tell = () => {
    for (const { status, route, count } of counts.values())
      if (count > ownLinesMax) log.info({ status, route, count: count - ownLinesMax }, 'requests refused');
    counts.clear();
  };
  return (status, route) => {
    if (!refusals.has(status)) return true;
    if (!counts.size) setTimeout(tell, windowMs).unref();
    const key = `${status} ${route}`;
    const kind = counts.get(key) ?? { status, route, count: 0 };
    counts.set(key, kind);
    kind.count++;
    return kind.count <= ownLinesMax;
  };
};
