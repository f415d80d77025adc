/** Serves the REST routes: authenticates, authorizes, limits, parses, calls the handler, and strips what it returns. */
import { bodyParser } from '@koa/bodyparser';
import cors from '@koa/cors';
import createRouter, { type HTTPMethod } from 'find-my-way';
import type Koa from 'koa';
import compose from 'koa-compose';
import type { Actor } from '../audit/logs.commands.ts';
import { AppError, forbidden, invalid, notFound, unauthenticated } from '../errors.ts';
import type { Placed } from '../organizations/paths.queries.ts';
import type { Decision, Question } from '../policies/decide.ts';
import type { Permission } from '../roles/permissions.ts';
import { actorOf } from './actor.ts';
import { aliases, canonicalPath } from './aliases.ts';
import { type Caller, callerActor, decideFor, questionOf, type Target } from './caller.ts';
import { parseInput, sendProblem } from './problem.ts';
import { reachesAnything } from './reach.ts';
import type { Route, Stream } from './route.ts';

export interface RouterDeps {
  /** Whom a token or an API key speaks for; undefined when it is not valid. */
  identify(token: string, told: boolean): Promise<Caller | undefined>;
  /** Checks what a token is bound to against what was sent along with it. @throws AppError 401 */
  assertPossession(
    ctx: Koa.Context,
    presented: { scheme: 'Bearer' | 'DPoP'; token: string; caller: Caller },
  ): Promise<void>;
  /** The caller with the policies in force, and with what these may ask about the request. */
  inRequest(ctx: Koa.Context, caller: Caller): Promise<Caller>;
  /** Keeps what was decided, perhaps, for policies to be tried on. */
  recordDecision(question: Question, decision: Decision): void;
  /** Whom the headers of development name (AUTH_ALLOW_DEV_HEADERS). */
  identifyByHeaders?(ctx: Koa.Context): Promise<Caller | undefined>;
  /** The ways up from the organizations that a thing lies in. */
  findPaths(type: Placed, id: string): Promise<readonly (readonly string[])[]>;
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

const createBodyParser = (limit: string) =>
  bodyParser({
    enableTypes: ['json', 'form'],
    jsonLimit: limit,
    formLimit: limit,
    parsedMethods: ['POST', 'PUT', 'PATCH', 'DELETE'],
    onError: (error) => {
      throw (error as { status?: number }).status === 413
        ? new AppError(413, 'request_too_large', 'The request is too large')
        : invalid('invalid_json', 'The body is not valid JSON');
    },
  });
const parseBody = createBodyParser(bodyLimit);
const parseLargeBody = createBodyParser('1mb');

const readBody = async (ctx: Koa.Context, route: Route): Promise<unknown> => {
  if (!route.body) return undefined;
  const isEmpty = !ctx.get('transfer-encoding') && Number(ctx.get('content-length')) === 0;
  if (isEmpty && route.body.safeParse(undefined).success) return undefined;
  const type = route.consumes ?? 'application/json';
  if (!ctx.is(type)) throw new AppError(415, 'unsupported_media_type', `Send ${type}`);
  await (route.bodyLimit ? parseLargeBody : parseBody)(ctx, () => Promise.resolve());
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
  const caller = token ? await deps.identify(token, external === true) : await deps.identifyByHeaders?.(ctx);
  if (caller && (caller.kind !== 'external' || external)) {
    if (token) await deps.assertPossession(ctx, { scheme, token, caller });
    return { caller: await deps.inRequest(ctx, caller), ...(token ? { token } : {}) };
  }
  if (token && scheme === 'DPoP')
    throw new AppError(401, 'invalid_token', 'The token is not valid', { challenge: 'DPoP error="invalid_token"' });
  if (token) throw unauthenticated('invalid_token', 'The token is not valid');
  if (ctx.get('authorization')) throw unauthenticated('invalid_token', 'Send the token as Authorization: Bearer …');
  if (access === 'optional') return {};
  throw unauthenticated('unauthenticated', 'A token is needed: Authorization: Bearer …');
};

/**
 * Whether it is not even told to the caller that there is such an organization: whoever has the permission for some organizations
 * and not for this one would learn by asking which ids there are.
 */
const isHidden = (caller: Caller, { access, within }: Route, target: Target, params: unknown): boolean => {
  if (within?.(params).type !== 'organization' || !reachesAnything(caller, access as Permission)) return false;
  const { organizations: paths = [] } = target;
  const isMember = caller.organizations?.some(({ id }) => paths.some(([self]) => self === id));
  return !isMember && !decideFor(caller, 'organizations:read:any', { organizations: paths }).allowed;
};

/** @throws AppError 403 missing_permission, 404 organization_not_found */
const authorize = async (
  deps: RouterDeps,
  actor: Actor,
  caller: Caller | undefined,
  route: Route,
  params: unknown,
): Promise<void> => {
  const { access, method } = route;
  if (access === 'public' || access === 'optional' || access === 'signed-in' || !caller) return;
  if (route.reach && reachesAnything(caller, access)) return;
  const owner = route.owner?.(params, caller);
  const [type = '', action = ''] = access.split(':');
  // Whoever is of no organization stands to none; but policies ask where a thing lies, whoever comes.
  const looksThere = caller.organizations?.length || caller.policiesFor?.(type, action).length;
  const within = looksThere ? route.within?.(params) : undefined;
  // Where nothing is named, it is for the caller's own things.
  const target: Target = {
    ...(route.owner || route.within ? { owner } : {}),
    ...(within && type === `${within.type}s` ? { id: within.id } : {}),
    ...(within ? { organizations: await deps.findPaths(within.type, within.id), every: method !== 'get' } : {}),
  };
  const decision = decideFor(caller, access, target);
  deps.recordDecision(questionOf(caller, access, target), decision);
  if (decision.allowed) return;
  const permission = !('owner' in target) || owner === caller.id ? access : access.replace(/own$/, 'any');
  await deps.recordRefusal(actor, route, permission);
  if (isHidden(caller, route, target, params)) throw notFound('organization');
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
    route.assertRoom?.();
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

const methods = ['HEAD', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

const decode = (text = ''): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

interface Found {
  params: Record<string, string | undefined>;
  serve(ctx: Koa.Context): Promise<void>;
}

/** What serves a path: a tree, since to try one route after the other took a seventh of a short request. */
const createIndex = (
  deps: RouterDeps,
  routes: readonly Route[],
): ((method: string, path: string) => Found | undefined) => {
  // Longer parameters than the default 100 are the schemas' to refuse.
  const router = createRouter({ ignoreTrailingSlash: true, maxParamLength: 10_000 });
  for (const route of routes) {
    const method = route.method.toUpperCase() as HTTPMethod;
    const served = serve(deps, route);
    router.on(method === 'GET' ? ['GET', 'HEAD'] : method, route.path, () => {}, served);
  }
  return (method, path) => {
    // What is encoded stands for a part of a parameter alone, and one that cannot be decoded is the schema's to refuse.
    const isEncoded = path.includes('%');
    const found = router.find(method as HTTPMethod, isEncoded ? path.replaceAll('%', '%25') : path);
    if (!found || Object.values(found.params).includes('')) return undefined;
    const params = isEncoded
      ? Object.fromEntries(Object.entries(found.params).map(([name, text]) => [name, decode(text)]))
      : found.params;
    return { params, serve: found.store };
  };
};

/** Serves the routes under their own paths and their aliases (`aliases.ts`). */
export const mountRoutes = (routes: readonly Route[], deps: RouterDeps): Koa.Middleware => {
  const find = createIndex(deps, routes);
  const isRest = isRestPath(routes);

  const problems: Koa.Middleware = async (ctx, next) => {
    ctx.set('Cache-Control', 'no-store');
    try {
      await next();
    } catch (error) {
      sendProblem(ctx, deps.toError(ctx, error), deps.resourceMetadata);
    }
  };
  const dispatch: Koa.Middleware = (ctx) => {
    const asked = ctx.path;
    ctx.state.path = asked;
    ctx.path = canonicalPath(asked);
    const found = find(ctx.method, ctx.path);
    if (found) {
      ctx.params = found.params;
      return found.serve(ctx);
    }
    const allowed = methods.filter((method) => find(method, ctx.path));
    if (!allowed.length) throw new AppError(404, 'not_found', 'There is nothing at this address');
    ctx.set('Allow', allowed.join(', '));
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
  const rest = compose([allowed, problems, dispatch]);
  return (ctx, next) => (isRest(ctx.path) ? rest(ctx, next) : next());
};
