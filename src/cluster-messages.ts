/** What the primary process and its workers tell each other. Nothing of it is sent per request. */
import type { Snapshot } from './metrics/joined-metrics.ts';

/**
 * How a process ends: `drain` lets proxies find out first, `replaced` does so in favour of another process on the same port, which is
 * why readiness stays as it is; `now` waits for requests in flight alone.
 */
export type Ending = 'drain' | 'replaced' | 'now';

export type ToWorker =
  | { kind: 'banner' }
  | { kind: 'measure'; id: number }
  | { kind: 'exposition'; id: number; text: string }
  | { kind: 'stop'; ending: Ending };

export type ToPrimary =
  | { kind: 'ready'; port: number }
  | { kind: 'failed'; message: string }
  | { kind: 'measured'; id: number; snapshot: Snapshot }
  | { kind: 'expose'; id: number };
