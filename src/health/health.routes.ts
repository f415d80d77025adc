/** Whether the process is alive, and whether it can do its work. */
import type Koa from 'koa';
import type { Db } from '../../db/connect.ts';
import { canonicalPath } from '../http/aliases.ts';

/** How long a part may take to answer before it counts as failing. */
const timeoutMs = 2000;

const within = <T>(work: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), timeoutMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
};

const live = new Set(['/health', '/health/live']);
const ready = new Set(['/health/ready', '/ready']);

/**
 * `/health` and `/health/live` answer 200 while the process runs; `/health/ready` and `/ready` answer 503 with the
 * failing part named when the database is away, or the process is shutting down or not all there yet.
 */
export const health = ({ db, available }: { db: Db; available(): boolean }): Koa.Middleware => {
  const checks: Record<string, () => Promise<unknown>> = {
    database: () => db.raw('select 1'),
    server: () => (available() ? Promise.resolve() : Promise.reject(new Error('starting or shutting down'))),
  };
  const look = async (): Promise<Record<string, 'ok' | 'failing'>> =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(checks).map(async ([name, check]) => [
          name,
          await within(check()).then(
            () => 'ok' as const,
            () => 'failing' as const,
          ),
        ]),
      ),
    );
  // Nothing limits who may ask, or how often: however many do at a time, it costs one connection.
  let looking: ReturnType<typeof look> | undefined;
  const probe = () => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
    return looking;
  };
  const answer: Koa.Middleware = async (ctx, next) => {
    const path = canonicalPath(ctx.path);
    if (live.has(path)) {
      ctx.set('Cache-Control', 'no-store');
      ctx.body = { status: 'ok', timestamp: new Date().toISOString() };
    } else if (ready.has(path)) {
      ctx.set('Cache-Control', 'no-store');
      const parts = await probe();
      const failing = Object.keys(parts).filter((name) => parts[name] === 'failing');
      ctx.status = failing.length ? 503 : 200;
      ctx.body = { status: failing.length ? 'failing' : 'ok', timestamp: new Date().toISOString(), failing, parts };
    } else return next();
  };
  return (ctx, next) => (ctx.method === 'GET' || ctx.method === 'HEAD' ? answer(ctx, next) : next());
};
