/**
 * A REST route is one declaration: who may call it, what it takes, what it returns, what it does. The object validates
 * the input and strips the output, so that a new column cannot leak.
 */
import { bodyParser } from '@koa/bodyparser';
import cors from '@koa/cors';
import Router from '@koa/router';
import type Koa from 'koa';
import compose from 'koa-compose';
import type { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import { AppError, invalid } from '../errors.ts';
import { actorOf } from './actor.ts';

interface Declaration<Body extends z.ZodType, Returns extends z.ZodType> {
  id: string;
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  path: string;
  summary: string;
  /** Never omitted. */
  access: 'public';
  body: Body;
  returns: Returns;
  status: number;
  handle(request: { body: z.output<Body>; actor: Actor; locales: string[] }): Promise<z.input<Returns>>;
}

export interface Route extends Omit<Declaration<z.ZodType, z.ZodType>, 'handle'> {
  handle(request: { body: unknown; actor: Actor; locales: string[] }): Promise<unknown>;
}

/** Lets TypeScript infer `handle` from the schemas; a wrong return is a compile error. */
export const route = <Body extends z.ZodType, Returns extends z.ZodType>(
  declaration: Declaration<Body, Returns>,
): Route => declaration as unknown as Route;

/** @throws AppError 400 invalid_request with every field that is wrong */
const parse = (schema: z.ZodType, value: unknown): unknown => {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: parsed.error.issues.map(({ path, code, message }) => ({ field: path.join('.'), code, message })),
  });
};

/** RFC 9457, with our stable `code`. Outside AppError nothing is explained: it is a bug, and the log has it. */
const problem = (ctx: Koa.Context, error: AppError): void => {
  const { status, code, message, details } = error;
  ctx.status = status;
  if (details.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(details.retryAfterSeconds));
  ctx.body = JSON.stringify({
    type: 'about:blank',
    title: message,
    status,
    code,
    requestId: ctx.state.requestId,
    ...(details.fields ? { errors: details.fields.map(({ field, code, message }) => ({ field, code, message })) } : {}),
  });
  ctx.type = 'application/problem+json';
};

/** Whether the request's languages, best first: `Accept-Language`. */
const localesOf = (ctx: Koa.Context) => ctx.acceptsLanguages().filter((locale) => locale !== '*');

/** Where callers are programs, so that what is missing is told to them and not on a page. */
const restPaths = /^\/(api\/v1|auth)(\/|$)/;

/** The largest JSON body that a route takes. */
const jsonLimit = '100kb';

/**
 * Serves the routes at `/` and again at `/api/v1`.
 * @param toError makes an AppError of whatever was thrown, and logs it if it is a bug
 * @param corsOrigins AUTH_API_CORS_ORIGINS: whose scripts may call the routes; they send no cookies
 */
export const mountRoutes = (
  routes: readonly Route[],
  toError: (ctx: Koa.Context, error: unknown) => AppError,
  corsOrigins: readonly string[],
): Koa.Middleware => {
  const router = new Router();
  const json = bodyParser({
    enableTypes: ['json'],
    jsonLimit,
    onError: (error) => {
      throw (error as { status?: number }).status === 413
        ? new AppError(413, 'request_too_large', 'The request is too large')
        : invalid('invalid_json', 'The body is not valid JSON');
    },
  });
  const problems: Koa.Middleware = async (ctx, next) => {
    ctx.set('Cache-Control', 'no-store');
    try {
      await next();
    } catch (error) {
      problem(ctx, toError(ctx, error));
    }
  };
  for (const prefix of ['', '/api/v1']) {
    for (const { method, path, body, returns, status, handle } of routes) {
      router[method](`${prefix}${path}`, problems, json, async (ctx) => {
        if (ctx.request.rawBody === undefined)
          throw new AppError(415, 'unsupported_media_type', 'Send application/json');
        const result = await handle({
          body: parse(body, ctx.request.body),
          actor: actorOf(ctx),
          locales: localesOf(ctx),
        });
        ctx.status = status;
        ctx.body = returns.parse(result);
      });
    }
  }
  const nothing: Koa.Middleware = (ctx, next) =>
    restPaths.test(ctx.path)
      ? problems(ctx, () => Promise.reject(new AppError(404, 'not_found', 'There is nothing here with this method')))
      : next();
  const allowed = cors({
    origin: (ctx) => (corsOrigins.includes(ctx.get('origin')) ? ctx.get('origin') : ''),
    exposeHeaders: ['X-Request-Id', 'Retry-After'],
    maxAge: 3600,
  });
  const crossOrigin: Koa.Middleware = (ctx, next) => (restPaths.test(ctx.path) ? allowed(ctx, next) : next());
  return compose([crossOrigin, router.routes() as unknown as Koa.Middleware, nothing]);
};
