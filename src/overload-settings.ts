/** The settings of what one process takes on at a time, and how long it takes over it, which `config.ts` takes in with all others. */
import { duration, integer } from './setting-kinds.ts';

const seconds = (min: number, max: number) =>
  duration.refine((value) => value >= min && value <= max, `expected from ${min}s to ${max}s`);

export const overloadSettings = {
  MAX_IN_FLIGHT: integer(10, 100_000).default(1000).meta({
    description:
      'Requests that a process works on at the same time; further ones are answered 503 with Retry-After (docs/operations/faults.md)',
  }),
  MAX_EVENT_LOOP_DELAY: integer(50, 60_000).default(1000).meta({
    description:
      'Milliseconds that work waits for the processor on average over a second before some of the requests are answered 503',
  }),
  MAX_MEMORY: integer(50, 99).default(90).meta({
    description:
      'Percent of the heap’s limit, or of the container’s memory, beyond which some of the requests are answered 503',
  }),
  MAX_CONNECTIONS: integer(100, 1_000_000).default(20_000).meta({
    description: 'Connections that a process keeps open on each port; further ones are closed at once',
  }),
  REQUEST_TIMEOUT: seconds(5, 3600).default(60).meta({
    description:
      'How long a request may take before it is answered 503; longer than DATABASE_STATEMENT_TIMEOUT, so that a slow statement is told of as one',
  }),
  KEEP_ALIVE_TIMEOUT: seconds(1, 3600).default(65).meta({
    description:
      'How long a connection stays open between two requests: longer than the proxy in front keeps its own, or now and then it sends a request into one that is closing',
  }),
};
