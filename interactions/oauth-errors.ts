/** Errors thrown in front of the engine: a page where people are, JSON as in RFC 6749 section 5.2 everywhere else. */
import type Koa from 'koa';
import { AppError, databaseAway } from '../src/errors.ts';
import { sendProblem } from '../src/http/problem.ts';
import type { Log } from '../src/log.ts';
import { toAppError } from './app-error.ts';
import type { Pages } from './pages.ts';

const isPagePath = (path: string) => /^\/(oauth\/(authorize|logout)|device)(\/|$)/.test(path);

export const oauthErrors =
  (pages: Pages, log: Log): Koa.Middleware =>
  async (ctx, next) => {
    try {
      await next();
      // The engine answers its own errors, and knows none that says when to come back.
      if (ctx.status === 503 && !ctx.response.get('Retry-After'))
        ctx.set('Retry-After', String(databaseAway().details.retryAfterSeconds));
      if (ctx.status === 404 && ctx.body == null)
        throw new AppError(404, 'not_found', 'There is nothing at this address with this method');
    } catch (error) {
      if (isPagePath(ctx.path)) pages.error(ctx, error);
      else sendOauthError(ctx, toAppError(ctx, error, log));
    }
  };

const sendOauthError = (ctx: Koa.Context, { status, code, message, details }: AppError): void => {
  ctx.status = status;
  if (details.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(details.retryAfterSeconds));
  ctx.set('Cache-Control', 'no-store');
  ctx.body = { error: oauthCode(status, code), error_description: message };
};

/** Answers a request that is not even looked at, in the form that is understood there. */
export const refuseUnseen =
  (pages: Pages, isProtocol: (path: string) => boolean) =>
  (ctx: Koa.Context, error: AppError): void => {
    if (isProtocol(ctx.path) ? isPagePath(ctx.path) : ctx.accepts('json', 'html') === 'html') pages.error(ctx, error);
    else if (isProtocol(ctx.path)) sendOauthError(ctx, error);
    else sendProblem(ctx, error);
  };

const oauthCode = (status: number, code: string): string => {
  // RFC 6749 section 5.2 has no code for too many requests (RFC 6585 section 4); this one of section 4.1.2.1 says what to do.
  if (status === 503 || status === 429) return 'temporarily_unavailable';
  if (status >= 500) return 'server_error';
  // RFC 8707 section 2: too many resources are refused in front of the engine.
  return status === 404 || code === 'invalid_target' ? code : 'invalid_request';
};
