/** What of the protocol may be kept by caches. */
import type Koa from 'koa';

/** Nothing, unless it says so itself. */
export const cacheProtocol: Koa.Middleware = (ctx, next) => {
  ctx.set('Cache-Control', 'no-store');
  return next();
};
