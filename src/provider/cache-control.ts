/** What of the protocol may be kept by caches. */
import type Koa from 'koa';

/** Nothing, unless it says so itself. */
export const cacheProtocol: Koa.Middleware = async (ctx, next) => {
  await next();
  if (!ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'no-store');
};
