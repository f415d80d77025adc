/** The first thing that happens to a request: it gets an id, a target that can be looked at, and a line in the log. */
import type Koa from 'koa';
import { v7 as uuid } from 'uuid';
import type { Log } from '../log.ts';

/** @param closing whether connections are not to be kept alive any more */
export const logRequests =
  (issuer: string, log: Log, closing: () => boolean): Koa.Middleware =>
  async (ctx, next) => {
    // Of our own making, or trails in the audit log could be forged; what the caller gave goes into the log and the answer.
    ctx.state.requestId = uuid();
    ctx.set('X-Request-Id', ctx.state.requestId);
    const given = ctx.get('x-correlation-id') || ctx.get('x-request-id');
    const correlationId = /^[\w.-]{8,64}$/.test(given) ? given : undefined;
    if (correlationId) ctx.set('X-Correlation-Id', correlationId);
    // RFC 9112 section 3.2.2 lets a whole URL be the target, and one that is none has no path to look at.
    if (!URL.canParse(ctx.req.url ?? '', issuer)) {
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
    const ms = Math.round(performance.now() - started);
    log.info({ requestId: ctx.state.requestId, correlationId, method, path, status: ctx.status, ms }, 'request');
  };
