/** What of the protocol may be kept by caches. */
import type Koa from 'koa';
import { jwksMaxAgeSeconds } from '../keys/keys.commands.ts';
import { routes } from './configuration.ts';

/** Discovery and JWKS may be cached; nothing else under these paths may. */
export const cacheProtocol: Koa.Middleware = async (ctx, next) => {
  await next();
  if (ctx.status === 200 && (ctx.path === routes.jwks || ctx.path.startsWith('/.well-known/o')))
    ctx.set('Cache-Control', `public, max-age=${jwksMaxAgeSeconds}`);
  else if (!ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'no-store');
};
