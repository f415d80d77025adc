/** Serves the REST routes: authenticates, authorizes, limits, parses, calls the handler, and strips what it returns. */
import { bodyParser } from '@koa/bodyparser';
import cors from '@koa/cors';
import Router from '@koa/router';
import type Koa from 'koa';
import compose from 'koa-compose';
import type { Actor } from '../audit/logs.commands.ts';
import { AppError, forbidden, invalid, unauthenticated } from '../errors.ts';
import { actorOf } from './actor.ts';
import { aliases, canonicalPath } from './aliases.ts';
import { type Caller, callerActor, may } from './caller.ts';
import { parseInput, sendProblem } from './problem.ts';
import type { Route, Stream } from './route.ts';

export interface RouterDeps {
  /** Whom a token or an API key speaks for; undefined when it is not valid. */
  identify(token: string): Promise<Caller | undefined>;
  /** Checks what a token is bound to against what was sent along with it. @throws AppError 401 */
  assertPossession(
    ctx: Koa.Context,
    presented: { scheme: 'Bearer' | 'DPoP'; token: string; caller: Caller },
  ): Promise<void>;
  /** Whom the headers of development name (AUTH_ALLOW_DEV_HEADERS). */
  identifyByHeaders?(ctx: Koa.Context): Promise<Caller | undefined>;
  /** Counts a request against the limit of the caller's role and tells it in headers. @throws AppError 429 */
  limit(ctx: Koa.Context, caller: Caller | undefined): Promise<void>;
  /** Counts a token that was not valid, where nothing else is counted. @throws AppError 429 */
  limitFailures(address: string): Promise<void>;
  /** The client under which the API itself signs people in. */
  ownClientId: string;
  /** Writes down that a caller was refused for want of a permission. */
  recordRefusal(actor: Actor, route: Route, permission: string): Promise<void>;
  /** Where the API's metadata as a protected resource is (RFC 9728). */
  resourceMetadata: string;
  /** Makes an AppError of whatever was thrown, and logs it if it is a bug. */
  toError(ctx: Koa.Context, error: unknown): AppError;
  /** AUTH_API_CORS_ORIGINS: whose scripts may call the routes; they send no cookies. */
  corsOrigins: readonly string[];
}

/** The largest body that a route takes. */
const bodyLimit = '100kb';

/** The request's languages, best first. */
const localesOf = (ctx: Koa.Context) => ctx.acceptsLanguages().filter((locale) => locale !== '*');

/** RFC 6750 section 2.1 and RFC 9449 section 7.1. */
const credentialsOf = (ctx: Koa.Context): { scheme: 'Bearer' | 'DPoP'; token?: string | undefined } => {
  const [, scheme = '', token] = /^(Bearer|DPoP) +(\S+)$/i.exec(ctx.get('authorization')) ?? [];
  return { scheme: scheme.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer', token };
};

const parseBody = bodyParser({
  enableTypes: ['json', 'form'],
  jsonLimit: bodyLimit,
  formLimit: bodyLimit,
  parsedMethods: ['POST', 'PUT', 'PATCH', 'DELETE'],
  onError: (error) => {
    throw (error as { status?: number }).status === 413
      ? new AppError(413, 'request_too_large', 'The request is too large')
      : invalid('invalid_json', 'The body is not valid JSON');
  },
});

const readBody = async (ctx: Koa.Context, route: Route): Promise<unknown> => {
  if (!route.body) return undefined;
  const isEmpty = !ctx.get('transfer-encoding') && Number(ctx.get('content-length')) === 0;
  if (isEmpty && route.body.safeParse(undefined).success) return undefined;
  const type = route.consumes ?? 'application/json';
  if (!ctx.is(type)) throw new AppError(415, 'unsupported_media_type', `Send ${type}`);
  await parseBody(ctx, () => Promise.resolve());
  return ctx.request.body;
};

/** @throws AppError 401 for a token that is not valid, and without one where one is needed */
const authenticate = async (
  deps: RouterDeps,
  ctx: Koa.Context,
  { access, external }: Route,
): Promise<{ caller?: Caller; token?: string }> => {
  if (access === 'public') return {};
  const { scheme, token } = credentialsOf(ctx);
  const caller = token ? await deps.identify(token) : await deps.identifyByHeaders?.(ctx);
  if (caller && (caller.kind !== 'external' || external)) {
    if (token) await deps.assertPossession(ctx, { scheme, token, caller });
    return { caller, ...(token ? { token } : {}) };
  }
  if (token && scheme === 'DPoP')
    throw new AppError(401, 'invalid_token', 'The token is not valid', { challenge: 'DPoP error="invalid_token"' });
  if (token) throw unauthenticated('invalid_token', 'The token is not valid');
  if (ctx.get('authorization')) throw unauthenticated('invalid_token', 'Send the token as Authorization: Bearer …');
  if (access === 'optional') return {};
  throw unauthenticated('unauthenticated', 'A token is needed: Authorization: Bearer …');
};

/** @throws AppError 403 missing_permission */
const authorize = async (
  deps: RouterDeps,
  actor: Actor,
  caller: Caller | undefined,
  route: Route,
  params: unknown,
): Promise<void> => {
  const { access } = route;
  if (access === 'public' || access === 'optional' || access === 'signed-in' || !caller) return;
  const owner = route.owner?.(params);
  if (may(caller, access, owner)) return;
  const permission = owner === undefined || owner === caller.id ? access : access.replace(/own$/, 'any');
  await deps.recordRefusal(actor, route, permission);
  throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

const respond = (ctx: Koa.Context, { status, returns, streams }: Route, result: unknown): void => {
  ctx.status = status;
  if (streams) {
    const { type, filename, content } = result as Stream;
    // An attachment's name would decide its type.
    if (filename) ctx.attachment(filename);
    ctx.type = type;
    ctx.body = content;
    return;
  }
  if (!returns) {
    ctx.body = null;
    return;
  }
  const body = returns.parse(result) as { nextCursor?: string | null };
  if (body.nextCursor) {
    // RFC 8288; the path is the one that was asked for, an alias included.
    const query = new URLSearchParams({ ...(ctx.query as Record<string, string>), cursor: body.nextCursor });
    ctx.set('Link', `<${ctx.state.path ?? ctx.path}?${query}>; rel="next"`);
  }
  ctx.body = body;
};

/**
 * What only the handler can tell is not allowed (a rank, a permission for one member of the body) is written down as well;
 * of nobody in particular it is not, or anybody could fill the log.
 */
const recordForbidden =
  (deps: RouterDeps, actor: Actor, route: Route) =>
  async (error: unknown): Promise<never> => {
    if (error instanceof AppError && error.status === 403 && actor.type !== 'anonymous')
      await deps.recordRefusal(actor, route, error.details.permission ?? error.code);
    throw error;
  };

const serve =
  (deps: RouterDeps, route: Route): Koa.Middleware =>
  async (ctx) => {
    const { caller, token } = await authenticate(deps, ctx, route).catch(async (error: unknown) => {
      // Trying tokens is no way around the limits: what fails counts for the address.
      if (error instanceof AppError && error.status === 401) {
        if (route.limited === 'failures') await deps.limitFailures(ctx.ip);
        else if (route.limited !== false) await deps.limit(ctx, undefined);
      }
      throw error;
    });
    if (route.limited === undefined) await deps.limit(ctx, caller);
    const anybody = actorOf(ctx);
    const actor = caller ? callerActor(anybody, caller, deps.ownClientId) : anybody;
    const [params] = parseInput([[route.params, ctx.params]]);
    await authorize(deps, actor, caller, route, params);
    const [query, body] = parseInput(
      [
        [route.query, ctx.query],
        [route.body, await readBody(ctx, route)],
      ],
      route.invalidInput,
    );
    const headers = Object.fromEntries(route.headers?.map((name) => [name, ctx.get(name)]) ?? []);
    const locales = localesOf(ctx);
    const request = { params, query, body, headers, caller, actor, locales, token };
    respond(ctx, route, await route.handle(request).catch(recordForbidden(deps, actor, route)));
  };

/** Where callers are programs, so that what is missing is told to them and not on a page. */
const isRestPath = (routes: readonly Route[]): ((path: string) => boolean) => {
  const names = [...routes.map(({ path }) => path), ...aliases.map(([from]) => from)];
  const segments = new Set(names.map((path) => path.split('/')[1]));
  return (path) => segments.has(path.split('/')[1]);
};

/** Serves the routes under their own paths and their aliases (`aliases.ts`). */
export const mountRoutes = (routes: readonly Route[], deps: RouterDeps): Koa.Middleware => {
  const router = new Router();
  for (const route of routes) router[route.method](route.path, serve(deps, route));
  const dispatch = router.routes() as unknown as Koa.Middleware;
  const isRest = isRestPath(routes);

  const problems: Koa.Middleware = async (ctx, next) => {
    ctx.set('Cache-Control', 'no-store');
    try {
      await next();
    } catch (error) {
      sendProblem(ctx, deps.toError(ctx, error), deps.resourceMetadata);
    }
  };
  const find: Koa.Middleware = async (ctx) => {
    const asked = ctx.path;
    ctx.state.path = asked;
    ctx.path = canonicalPath(asked);
    const { path, route } = router.match(ctx.path, ctx.method);
    if (route) return dispatch(ctx, () => Promise.resolve());
    if (!path.length) throw new AppError(404, 'not_found', 'There is nothing at this address');
    ctx.set('Allow', [...new Set(path.flatMap(({ methods }) => methods))].join(', '));
    if (ctx.method === 'OPTIONS') ctx.status = 204;
    else throw new AppError(405, 'method_not_allowed', 'Not with this method; see Allow');
  };
  const allowed = cors({
    origin: (ctx) => (deps.corsOrigins.includes(ctx.get('origin')) ? ctx.get('origin') : ''),
    exposeHeaders: [
      'X-Request-Id',
      'X-Correlation-Id',
      'Retry-After',
      'RateLimit',
      'RateLimit-Policy',
      'Link',
      'WWW-Authenticate',
      'DPoP-Nonce',
      'Content-Disposition',
    ],
    maxAge: 3600,
  });
  const rest = compose([allowed, problems, find]);
  return (ctx, next) => (isRest(ctx.path) ? rest(ctx, next) : next());
};
