/** What connects a client's log with ours (FAPI 1.0 Baseline section 6.2.1 item 11, on which FAPI-CIBA builds). */
import type Koa from 'koa';
import { v4, validate } from 'uuid';
import { routes } from './configuration.ts';

const header = 'x-fapi-interaction-id';

/** Answers of userinfo carry the id that came with the request, or one of ours. Anything but a UUID is not repeated. */
export const fapiInteractionId: Koa.Middleware = (ctx, next) => {
  if (ctx.path === routes.userinfo) {
    const given = ctx.get(header);
    ctx.set(header, validate(given) ? given : v4());
  }
  return next();
};
