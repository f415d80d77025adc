/**
 * Proof that this process hears of changes: it sends itself a notification and waits until it has heard it. Notifications come in the
 * order of commits, so that all that was committed before has been heard by then. It is asked for when something relies on
 * it, and costs nothing while nobody does. A proxy that breaks LISTEN, and a connection that is dead without a word, show that way.
 */
import type { Database } from '../db/connect.ts';
import type { Channel } from '../src/roles/access-cache.ts';

/** For how long what was proven is relied on, in milliseconds: what another replica changes shows within a second. */
const proofMs = 900;

/** How long a proof may take: a request does not wait longer, and the following ones do not wait at all until one succeeds. */
const patienceMs = 250;

/** Milliseconds that only go forward, those included in which the machine slept or somebody set its clock forward. */
export const createClock = (): (() => number) => {
  let now = 1;
  let steady = performance.now();
  let date = Date.now();
  return () => {
    const nextSteady = performance.now();
    const nextDate = Date.now();
    // One of them stands still while the machine sleeps, the other may be set.
    now += Math.max(nextSteady - steady, nextDate - date);
    steady = nextSteady;
    date = nextDate;
    return now;
  };
};

interface Proof {
  /** When it was asked for. */
  begun: number;
  /** How often this process had written something by then: it has heard of that much. */
  writes: number;
}

/** @param tell called once when the channel is lost, and once when it is there again */
export const createAccessChannel = (
  { catchUp, writes }: Pick<Database, 'catchUp' | 'writes'>,
  clock: () => number,
  tell: (isLost: boolean) => void = () => {},
): Channel => {
  let proof: Proof = { begun: Number.NEGATIVE_INFINITY, writes: -1 };
  let running: (Proof & { done: Promise<boolean> }) | undefined;
  let next: Promise<boolean> | undefined;
  let isLost = false;

  const begin = (): Promise<boolean> => {
    const asked = { begun: clock(), writes: writes() };
    const done = catchUp(patienceMs)
      .catch(() => false)
      .then((heard) => {
        if (isLost === heard) tell(!heard);
        isLost = !heard;
        if (heard) proof = asked;
        running = undefined;
        return heard;
      });
    running = { ...asked, done };
    return done;
  };

  return {
    isProven: (now = clock()) => proof.writes === writes() && now - proof.begun < proofMs,
    prove: async () => {
      // The one that runs will do if it began after all that was written here; else one for all who ask follows it.
      let attempt: Promise<boolean>;
      if (!running) attempt = begin();
      else if (running.writes === writes()) attempt = running.done;
      else {
        next ??= running.done.then(() => {
          next = undefined;
          return begin();
        });
        attempt = next;
      }
      return isLost ? false : attempt;
    },
  };
};
