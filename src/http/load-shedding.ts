/**
 * Turns requests away before memory or patience runs out: what a process cannot answer in time it answers 503 at once, with
 * Retry-After, so that the rest is answered as ever. Health and metrics stand in front of this, and are always answered.
 *
 * - Too many in flight: a number. A request whose body is still on its way works on nothing; where there are too many, the
 *   slowest senders make way.
 * - The event loop is late, or memory is short: a share of the requests is refused, which grows for as long as that lasts and
 *   shrinks again afterwards. All at once would be answered all at once again.
 * - A request that takes too long is answered, whatever it waits for.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type Koa from 'koa';
import type { z } from 'zod';
import { type AppError, overloaded } from '../errors.ts';
import type { overloadSettings } from '../overload-settings.ts';
import { collectGarbage } from '../start-memory.ts';

type Settings = Pick<
  z.output<z.ZodObject<typeof overloadSettings>>,
  'MAX_IN_FLIGHT' | 'MAX_EVENT_LOOP_DELAY' | 'MAX_MEMORY' | 'REQUEST_TIMEOUT'
>;

/** Labels of `requests_shed_total`. */
export type ShedReason = 'in_flight' | 'event_loop' | 'memory' | 'deadline' | 'slow_sender';

/** How often the process is looked at. */
const windowMs = 500;
const loopResolutionMs = 20;

/** A share of the requests always passes: they show when it is over, and what they allocate has garbage collected. */
const shareMax = 0.9;
const shareUp = 0.3;
const shareDown = 0.1;

/** One long pause is no overload: several windows in a row are. */
const lateWindows = 2;

/** For how long whoever sends a body slowly is left alone, in milliseconds. */
const senderMs = 1000;

/** How many there may be with those whose body is still on its way, in terms of MAX_IN_FLIGHT. */
const sendersFactor = 4;

const retryAfterSeconds = 2;

/** What was measured over the last window. */
export interface Load {
  /** How late the event loop was on average. */
  delayMs: number;
  /** The part of the memory that is in use, from 0 to 1. */
  memory: number;
}

export interface Shedding {
  /** Takes in the load of the window that has ended. */
  measure(load: Load): void;
  /** Why a request is to be refused, if it is. */
  refuses(): 'event_loop' | 'memory' | undefined;
}

/** The decision, without a clock or a process. */
export const createShedding = (
  { MAX_EVENT_LOOP_DELAY, MAX_MEMORY }: Pick<Settings, 'MAX_EVENT_LOOP_DELAY' | 'MAX_MEMORY'>,
  random: () => number = Math.random,
): Shedding => {
  let share = 0;
  let late = 0;
  let reason: 'event_loop' | 'memory' | undefined;
  const memoryMax = MAX_MEMORY / 100;
  return {
    measure: ({ delayMs, memory }) => {
      late = delayMs > MAX_EVENT_LOOP_DELAY ? late + 1 : 0;
      const now = memory > memoryMax ? 'memory' : late >= lateWindows ? 'event_loop' : undefined;
      // Half of what was left is gone as well: there is no time for small steps.
      if (memory > (1 + memoryMax) / 2) share = shareMax;
      else if (now) share = Math.min(shareMax, share + shareUp);
      else share = Math.max(0, share - shareDown);
      // Rounding must not leave a request in a million refused.
      if (share < shareDown / 2) share = 0;
      reason = share ? (now ?? reason) : undefined;
    },
    refuses: () => (share > 0 && random() < share ? reason : undefined),
  };
};

/** The part of the heap's limit that is in use, or of the memory that the system gives the process, whichever is more. */
const memoryInUse = (): number => {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  const constrained = process.constrainedMemory();
  // Unlimited is told as a number beyond all machines.
  const isLimited = constrained > 0 && constrained < Number.MAX_SAFE_INTEGER;
  return Math.max(used / limit, isLimited ? process.memoryUsage.rss() / constrained : 0);
};

/** How often garbage is collected where memory is short, in milliseconds: it takes a tenth of a second, in which nothing else runs. */
const collectMs = 3000;

/**
 * V8 collects when its heap has grown, not when the system's memory is short: what a flood of large bodies leaves behind would have
 * most requests refused long after it. So where there is too much it is collected first, and what is still there then counts.
 */
export const createMemoryLook = (
  max: number,
  { inUse = memoryInUse, collect = collectGarbage, now = () => performance.now() } = {},
): (() => number) => {
  let collectedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const memory = inUse();
    if (memory <= max || now() - collectedAt < collectMs) return memory;
    collect();
    collectedAt = now();
    return inUse();
  };
};

export interface LoadShedding {
  middleware: Koa.Middleware;
  stop(): void;
}

/**
 * @param answer makes the answer to a request that is refused
 * @param count counts it
 */
export const createLoadShedding = (
  settings: Settings,
  { answer, count }: { answer(ctx: Koa.Context, error: AppError): void; count(reason: ShedReason): void },
): LoadShedding => {
  const shedding = createShedding(settings);
  /** Since when, the oldest first. */
  const inFlight = new Map<Koa.Context, number>();
  const memoryNow = createMemoryLook(settings.MAX_MEMORY / 100);
  const loop = monitorEventLoopDelay({ resolution: loopResolutionMs });
  loop.enable();

  const refuse = (ctx: Koa.Context, reason: ShedReason): void => {
    count(reason);
    answer(ctx, overloaded(retryAfterSeconds));
  };

  /** Whether there is room for one more: the slowest sender makes it, or all senders together are not that many yet. */
  const makeRoom = (): boolean => {
    const now = performance.now();
    let working = 0;
    for (const [{ req }, since] of inFlight) {
      if (req.complete || req.destroyed) working++;
      else if (now - since >= senderMs) {
        count('slow_sender');
        req.destroy();
        return true;
      }
    }
    return working < settings.MAX_IN_FLIGHT && inFlight.size < sendersFactor * settings.MAX_IN_FLIGHT;
  };

  const answerLate = (): void => {
    const now = performance.now();
    for (const [ctx, since] of inFlight) {
      if (now - since < settings.REQUEST_TIMEOUT * 1000) return;
      inFlight.delete(ctx);
      if (ctx.res.headersSent || !ctx.req.complete) continue;
      refuse(ctx, 'deadline');
      // Koa answers when the handlers are done; this one is not waited for.
      const { body } = ctx;
      ctx.res.end(typeof body === 'string' ? body : JSON.stringify(body));
    }
  };

  const timer = setInterval(() => {
    shedding.measure({ delayMs: Math.max(0, loop.mean / 1e6 - loopResolutionMs), memory: memoryNow() });
    loop.reset();
    answerLate();
  }, windowMs);
  timer.unref();

  return {
    middleware: async (ctx, next) => {
      const reason = shedding.refuses();
      if (reason) return refuse(ctx, reason);
      if (inFlight.size >= settings.MAX_IN_FLIGHT && !makeRoom()) return refuse(ctx, 'in_flight');
      inFlight.set(ctx, performance.now());
      try {
        await next();
      } finally {
        inFlight.delete(ctx);
      }
    },
    stop: () => {
      clearInterval(timer);
      loop.disable();
    },
  };
};
