/**
 * Hashing a password takes a processor for a tenth of a second, on threads of libuv. Where there are fewer processors than work, those
 * threads and the one that answers requests would share them evenly, and a flood of sign-ins would halve what is left for tokens.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** A third of the weight of the other threads of the process; where a processor is free it makes no difference. */
const niceness = 10;

/** To be called once those threads are there. Linux knows priorities of threads; elsewhere nothing happens. */
export const lowerHashThreads = (): void => {
  if (process.platform !== 'linux') return;
  try {
    for (const thread of readdirSync('/proc/self/task'))
      if (readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim() === 'libuv-worker')
        setPriority(Number(thread), niceness);
  } catch {
    // A sandbox may hide them, or not allow it: then all share evenly.
  }
};
