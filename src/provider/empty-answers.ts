/** Answers without a body, such as that to a revocation (RFC 7009 section 2.2). */
import type Koa from 'koa';

/** An empty body is of no type. Koa calls it text/plain, and oidc-client-ts takes whatever is not JSON for a failure. */
export const untypeEmptyAnswers: Koa.Middleware = async (ctx, next) => {
  await next();
  if (ctx.body === '') ctx.remove('Content-Type');
};
