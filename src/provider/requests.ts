/** What happens to a request before the engine sees it. */
import { parse, stringify } from 'node:querystring';
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

/** By its events: an iterator over them costs more than all that is done with the body. What is too large ends the connection. */
const readBody = (ctx: Koa.Context): Promise<string> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    ctx.req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= bodyLimitBytes) chunks.push(chunk);
      else {
        ctx.set('Connection', 'close');
        reject(new AppError(413, 'request_too_large', 'The request is too large'));
      }
    });
    ctx.req.on('end', () => resolve((chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString()));
    // Not all who end a request do so with an error, and one that waits on would be in flight for ever.
    const endEarly = () => reject(invalid('invalid_request', 'the request ended before its body did'));
    ctx.req.on('error', endEarly);
    ctx.req.on('close', () => {
      if (!ctx.req.complete) endEarly();
    });
    if (ctx.req.destroyed) endEarly();
  });

/** Lets the engine read the body (again), perhaps another one. */
const replaceBody = ({ req }: Koa.Context, body: string): void => {
  const bytes = Buffer.from(body);
  if (req.headers['content-length'] !== String(bytes.length)) req.headers['content-length'] = String(bytes.length);
  if (req.headers['transfer-encoding']) delete req.headers['transfer-encoding'];
  Object.defineProperty(req, 'readable', { value: true });
  Object.defineProperty(req, 'iterator', { value: () => [bytes] });
};

/**
 * Whatever the engine could take for a JWT, one without a signature included: introspection must say that it is not active. Opaque
 * tokens have no dot.
 */
export const isJwt = (token: unknown): token is string => typeof token === 'string' && token.includes('.');

const formType = 'application/x-www-form-urlencoded';
const isForm = (ctx: Koa.Context) =>
  ctx.method === 'POST' && (ctx.req.headers['content-type'] === formType || Boolean(ctx.is(formType)));

const checkStorable = (parameters: Record<string, unknown>): void => {
  for (const value of Object.values(parameters))
    if (
      typeof value === 'string'
        ? !isStorable(value)
        : [value].flat().some((one) => typeof one === 'string' && !isStorable(one))
    )
      throw invalid('invalid_request', 'a parameter contains a character that is not allowed');
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
    const count = Array.isArray(value) ? value.length : 1;
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
    if (ctx.querystring) {
      checkStorable(ctx.query);
      checkRepeated(ctx.query);
    }
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
