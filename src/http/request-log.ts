/** The first thing that happens to a request: it gets an id, a target that can be looked at, and a line in the log. */
import type Koa from 'koa';
import type { Log } from '../log.ts';
import { traceOrigin } from '../observing.ts';
import { createRefusalLines } from './refusal-lines.ts';
import { newRequestId } from './request-id.ts';

/** What is a path whatever follows, as most targets are: those need not be tried. */
const plainTarget = /^\/[\w.]/;

/**
 * @param closing whether connections are not to be kept alive any more
 * @param frequent paths that machines ask for all the time, thousands in a second: what succeeds there is told by metrics, and has a
 *   line of its own at `debug` alone
 */
export const logRequests = (
  issuer: string,
  log: Log,
  closing: () => boolean,
  frequent: ReadonlySet<string> = new Set(),
): Koa.Middleware => {
  const hasOwnLine = createRefusalLines(log);
  return async (ctx, next) => {
    // Of our own making, or trails in the audit log could be forged; what the caller gave goes into the log and the answer.
    ctx.state.requestId = newRequestId();
    ctx.res.setHeader('X-Request-Id', ctx.state.requestId);
    const { headers } = ctx.req;
    const given = headers['x-correlation-id'] || headers['x-request-id'];
    const correlationId = typeof given === 'string' && /^[\w.-]{8,64}$/.test(given) ? given : undefined;
    if (correlationId) ctx.set('X-Correlation-Id', correlationId);
    // RFC 9112 section 3.2.2 lets a whole URL be the target, and one that is none has no path to look at.
    if (!plainTarget.test(ctx.req.url ?? '') && !URL.canParse(ctx.req.url ?? '', issuer)) {
      ctx.status = 400;
      return;
    }
    // Of such a URL only the path is looked at: whose host it names, the engine would take for the one that was asked.
    if (!ctx.req.url?.startsWith('/')) {
      const { pathname, search } = new URL(ctx.req.url ?? '', issuer);
      ctx.req.url = ctx.originalUrl = ctx.request.originalUrl = pathname + search;
    }
    const { method, path } = ctx;
    const started = performance.now();
    await next();
    if (closing()) ctx.set('Connection', 'close');
    const { status } = ctx;
    const level = status < 400 && frequent.has(path) ? 'debug' : 'info';
    if (!log.isLevelEnabled(level) || !hasOwnLine(status, ctx.state.route ?? 'other')) return;
    // Where this service traces, each of its lines names the trace anyway.
    const [, trace_id] = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(ctx.get('traceparent')) ?? [];
    const trace = trace_id && traceOrigin() === undefined ? { trace_id } : {};
    const ms = Math.round(performance.now() - started);
    log[level]({ requestId: ctx.state.requestId, correlationId, ...trace, method, path, status, ms }, 'request');
  };
};
