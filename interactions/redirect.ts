/** Redirects between pages. */
import type Koa from 'koa';

/** To a page that is asked for anew, whatever led to it (RFC 9110 section 15.4.4). */
export const redirect = (ctx: Pick<Koa.Context, 'status' | 'redirect'>, to: string | URL): void => {
  ctx.status = 303;
  ctx.redirect(String(to));
};
