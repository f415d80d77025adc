/** What happens to a request before the engine sees it. */
import { parse, stringify } from 'node:querystring';
import { Readable } from 'node:stream';
import { decodeProtectedHeader } from 'jose';
import type Koa from 'koa';
import { AppError, foreignError, invalid } from '../errors.ts';
import { toJwtName } from './access-tokens.ts';
import { routes } from './configuration.ts';
import { impliedClient } from './jwt-bearer.ts';
import { claimsText, isStorable, isUsableJson } from './parameter-text.ts';
import type { PostedRequests } from './posted-requests.ts';
import { resourcesMax } from './resources.ts';

/**
 * Makes an app see the issuer's scheme and host, whatever Host or X-Forwarded-* say: the engine derives its endpoints'
 * URLs and its cookies' `Secure` from them.
 * @param other the one other origin that there is, where clients show certificates: what is asked there was addressed to it
 */
export const pinOrigin = (app: Koa, issuer: string, other: string = issuer): void => {
  const [own, alias] = [new URL(issuer), new URL(other)];
  const seen = (request: Koa.Request) => (request.req.headers.host === alias.host ? alias : own);
  Object.defineProperties(app.request, {
    protocol: {
      get(this: Koa.Request) {
        return seen(this).protocol.slice(0, -1);
      },
    },
    host: {
      get(this: Koa.Request) {
        return seen(this).host;
      },
    },
    hostname: {
      get(this: Koa.Request) {
        return seen(this).hostname;
      },
    },
  });
};

/** The engine's own limit for bodies, in bytes. */
const bodyLimitBytes = 56 * 1024;

const readBody = async (ctx: Koa.Context): Promise<string> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of ctx.req) {
    size += chunk.length;
    if (size > bodyLimitBytes) throw new AppError(413, 'request_too_large', 'The request is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
};

/** Lets the engine read the body (again). */
const replaceBody = (ctx: Koa.Context, body: string): void => {
  const bytes = Buffer.from(body);
  ctx.req.headers['content-length'] = String(bytes.length);
  delete ctx.req.headers['transfer-encoding'];
  ctx.req = Object.create(ctx.req, {
    readable: { value: true },
    iterator: { value: () => Readable.from([bytes]).iterator() },
  });
};

/** Whatever the engine takes for a JWT, one without a signature included: introspection must say that it is not active. */
export const isJwt = (token: unknown): token is string => {
  try {
    return typeof token === 'string' && Boolean(decodeProtectedHeader(token));
  } catch {
    return false;
  }
};

const isForm = (ctx: Koa.Context) => ctx.method === 'POST' && Boolean(ctx.is('application/x-www-form-urlencoded'));

const checkStorable = (parameters: Record<string, unknown>): void => {
  for (const value of Object.values(parameters).flat()) {
    if (typeof value === 'string' && !isStorable(value))
      throw invalid('invalid_request', 'a parameter contains a character that is not allowed');
  }
  const { claims, authorization_details, request } = parameters;
  const json = [claims, authorization_details, typeof request === 'string' ? claimsText(request) : undefined];
  if (json.some((text) => typeof text === 'string' && !isUsableJson(text)))
    throw invalid('invalid_request', 'a parameter is nested too deeply, or contains a character that is not allowed');
};

/** How often a request may name one parameter: none is meant to come more often, and each value can cost a query. */
const repeatsMax = 20;

/** @throws AppError 400 invalid_request or, for `resource` (RFC 8707), invalid_target */
const checkRepeated = (parameters: Record<string, unknown>): void => {
  for (const [name, value] of Object.entries(parameters)) {
    const count = [value].flat().length;
    if (name === 'resource' && count > resourcesMax)
      throw foreignError(400, 'invalid_target', `more than ${resourcesMax} resources`);
    if (count > repeatsMax) throw invalid('invalid_request', `a parameter comes more than ${repeatsMax} times`);
  }
};

const takesToken = new Set<string>([routes.introspection, routes.revocation]);
const takesPost = new Set<string>([routes.authorization, routes.end_session]);

/**
 * - Characters that cannot be stored are a 400. A form's parameters are in `ctx.state.parameters` from then on.
 * - A token request whose client is named by its assertion alone gets the `client_id` that the engine looks for.
 * - A JWT at introspection or revocation gets the name under which the engine will look it up.
 * - POST at the authorization and logout endpoints (OpenID Connect Core section 3.1.2.1, RP-Initiated Logout section 2):
 *   with SameSite=Lax the browser sends no cookie along, so the parameters wait on the server under a single-use handle
 *   while the browser is sent to fetch the same page by GET. Nothing of them appears in a URL.
 */
export const prepareRequest =
  ({ keep, take }: PostedRequests, limitPosted: (address: string) => Promise<void>): Koa.Middleware =>
  async (ctx, next) => {
    checkStorable(ctx.query);
    checkRepeated(ctx.query);
    if (isForm(ctx)) {
      const body = await readBody(ctx);
      const parameters = parse(body);
      checkStorable(parameters);
      checkRepeated(parameters);
      const clientId = ctx.path === routes.token ? impliedClient(ctx.get('authorization'), parameters) : undefined;
      if (clientId) parameters.client_id = clientId;
      ctx.state.parameters = parameters;
      if (takesPost.has(ctx.path)) {
        await limitPosted(ctx.ip);
        ctx.status = 303;
        ctx.redirect(`${ctx.path}?posted=${await keep(stringify(parameters))}`);
        return;
      }
      const rename = takesToken.has(ctx.path) && isJwt(parameters.token);
      if (rename) replaceBody(ctx, stringify({ ...parameters, token: toJwtName(parameters.token as string) }));
      else replaceBody(ctx, clientId ? stringify(parameters) : body);
    } else if (ctx.method === 'POST' && takesPost.has(ctx.path)) {
      throw invalid('invalid_request', 'a POST must be sent as application/x-www-form-urlencoded');
    } else if (ctx.method === 'GET' && takesPost.has(ctx.path) && typeof ctx.query.posted === 'string') {
      ctx.url = `${ctx.path}?${await take(ctx.query.posted)}`;
    }
    await next();
  };
