/**
 * Dynamic client registration (RFC 7591, OpenID Connect Dynamic Client Registration 1.0) and its management (RFC 7592).
 *
 * The engine's own endpoints stay off: they answer and save again what they hold of a client, which is the hash of its secret,
 * and write without a transaction. What is valid is the engine's to say all the same (`validateClient`).
 */
import { bodyParser } from '@koa/bodyparser';
import type Koa from 'koa';
import type { Db } from '../../db/connect.ts';
import type { RevokeGrantsOfClient } from '../clients/client-changes.ts';
import { standardMembers } from '../clients/client-members.ts';
import type { RegisteredClient } from '../clients/client-metadata.ts';
import { clientMetadata } from '../clients/client-metadata.ts';
import {
  deleteSelf,
  findSelf,
  registerClient,
  replaceSelf,
  type SelfRegistrationDeps,
} from '../clients/self-registration.commands.ts';
import type { Config } from '../config.ts';
import { AppError, invalid, unauthenticated } from '../errors.ts';
import { actorOf } from '../http/actor.ts';
import { registrationMode } from '../registration-settings.ts';
import { defaultResource } from './resources.ts';

/** The registration endpoint; a client's own is below it, by its id. */
export const registrationPath = '/oauth/register';
const ownPath = /^\/oauth\/register\/([^/]+)$/;

export interface RegistrationParts extends SelfRegistrationDeps {
  db: Db;
  issuer: string;
  mode: 'off' | 'token' | 'open';
  revokeGrants: RevokeGrantsOfClient;
  /** Counts a registration that nobody vouches for. @throws AppError 429 */
  limit(address: string): Promise<void>;
  /** @throws AppError 429 where too many tokens were wrong */
  assertLeft(address: string): Promise<void>;
  countFailure(address: string): Promise<unknown>;
}

/** Metadata is text for the most part; a client's keys and 50 redirect URIs fit. */
const parseBody = bodyParser({
  enableTypes: ['json'],
  jsonLimit: '64kb',
  parsedMethods: ['POST', 'PUT'],
  onError: (error) => {
    throw (error as { status?: number }).status === 413
      ? new AppError(413, 'request_too_large', 'The request is too large')
      : invalid('invalid_request', 'the body is not valid JSON');
  },
});

/** RFC 7591 section 3.1: a JSON object, sent as such. */
const readInput = async (ctx: Koa.Context): Promise<Record<string, unknown>> => {
  if (!ctx.is('application/json')) throw new AppError(415, 'unsupported_media_type', 'Send application/json');
  await parseBody(ctx, () => Promise.resolve());
  const input = ctx.request.body as unknown;
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw invalid('invalid_request', 'the body is not a JSON object');
  return input as Record<string, unknown>;
};

/** RFC 6750 section 2.1; any other way of sending a token would end in logs. */
const bearerOf = (ctx: Koa.Context): string | undefined => {
  const header = ctx.get('authorization');
  const [, token] = /^Bearer +([\w.~+/-]{1,200}=*)$/i.exec(header) ?? [];
  if (header && token === undefined) throw unauthenticated('invalid_token', 'The token is not valid');
  return token;
};

const needToken = (ctx: Koa.Context): string => {
  const token = bearerOf(ctx);
  if (token === undefined) throw unauthenticated('unauthenticated', 'A token is needed: Authorization: Bearer …');
  return token;
};

/** What discovery says of clients that nobody registers, and of the resource that is our own (RFC 9728 section 4). */
export const registrationMetadata = (config: Config): Record<string, unknown> => ({
  ...(registrationMode(config) === 'off' ? {} : { registration_endpoint: `${config.JWT_ISSUER}${registrationPath}` }),
  ...(config.CLIENT_ID_METADATA_DOCUMENTS[0] === 'off' ? {} : { client_id_metadata_document_supported: true }),
  protected_resources: [defaultResource(config.JWT_ISSUER)],
});

const shownNames = new Set([
  ...Object.keys(standardMembers),
  ...['client_id', 'client_id_issued_at', 'client_secret', 'client_secret_expires_at', 'profile'],
]);

/** The client information response (RFC 7591 section 3.2.1, RFC 7592 section 3): what a client is to know of itself. */
const informationOf = (client: RegisteredClient, token: string, issuer: string) => ({
  ...Object.fromEntries(Object.entries(client).filter(([name]) => shownNames.has(name))),
  registration_client_uri: `${issuer}${registrationPath}/${client.client_id}`,
  registration_access_token: token,
});

const ownCodes = new Set([
  'invalid_redirect_uri',
  'invalid_client_metadata',
  'invalid_software_statement',
  'unapproved_software_statement',
  'invalid_token',
]);

/** RFC 7591 section 3.2.2, and RFC 6750 section 3 for the tokens; what is neither is for whoever answers such errors everywhere. */
const sendError = (ctx: Koa.Context, { status, code, message }: AppError): void => {
  // The engine has one code for all metadata.
  const error = code === 'invalid_client_metadata' && /^redirect_uris\b/.test(message) ? 'invalid_redirect_uri' : code;
  ctx.status = status;
  if (status === 401) {
    ctx.set('WWW-Authenticate', code === 'unauthenticated' ? 'Bearer' : 'Bearer error="invalid_token"');
  }
  ctx.body = { error: ownCodes.has(error) ? error : 'invalid_request', error_description: message };
};

/** Any site's script may come here, as clients that run in a browser do: nothing is known of it but what it sends. */
const openToScripts = (ctx: Koa.Context, methods: string): void => {
  ctx.set({ 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'WWW-Authenticate, Retry-After' });
  if (ctx.method !== 'OPTIONS') return;
  ctx.set({
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': 'Authorization, Content-Type, MCP-Protocol-Version',
    'Access-Control-Max-Age': '3600',
  });
};

const notAllowed = (ctx: Koa.Context, methods: string): void => {
  ctx.set('Allow', methods);
  if (ctx.method === 'OPTIONS') ctx.status = 204;
  else sendError(ctx, new AppError(405, 'method_not_allowed', 'Not with this method; see Allow'));
};

const register = async (parts: RegistrationParts, ctx: Koa.Context): Promise<void> => {
  const token = parts.mode === 'token' ? needToken(ctx) : bearerOf(ctx);
  const input = await readInput(ctx);
  if (token === undefined) await parts.limit(ctx.ip);
  const client = await registerClient(parts.db, actorOf(ctx), { token, input }, parts);
  ctx.status = 201;
  ctx.body = informationOf(client, client.registration_access_token, parts.issuer);
};

const manage = async (parts: RegistrationParts, ctx: Koa.Context, clientId: string): Promise<void> => {
  const { db, issuer } = parts;
  const token = needToken(ctx);
  const actor = { ...actorOf(ctx), type: 'client', id: clientId } as const;
  switch (ctx.method) {
    case 'PUT': {
      await findSelf(db, clientId, token);
      const input = await readInput(ctx);
      ctx.body = informationOf(await replaceSelf(db, actor, { clientId, token, input }, parts), token, issuer);
      return;
    }
    case 'DELETE':
      await deleteSelf(db, actor, { clientId, token }, parts.revokeGrants);
      ctx.status = 204;
      return;
    default:
      ctx.body = informationOf(clientMetadata(await findSelf(db, clientId, token)), token, issuer);
  }
};

const methodsOf = (clientId: string | undefined) => (clientId === undefined ? 'POST' : 'GET, PUT, DELETE');

export const clientRegistration =
  (parts: RegistrationParts): Koa.Middleware =>
  async (ctx, next) => {
    const [, clientId] = ownPath.exec(ctx.path) ?? [];
    if (parts.mode === 'off' || (ctx.path !== registrationPath && clientId === undefined)) return next();
    const methods = methodsOf(clientId);
    openToScripts(ctx, methods);
    if (!methods.split(', ').includes(ctx.method)) return notAllowed(ctx, methods);
    ctx.set({ 'Cache-Control': 'no-store', Pragma: 'no-cache' });
    await parts.assertLeft(ctx.ip);
    try {
      await (clientId === undefined ? register(parts, ctx) : manage(parts, ctx, clientId));
    } catch (error) {
      if (!(error instanceof AppError) || error.status === 429 || error.status >= 500) throw error;
      if (error.status === 401 && error.code === 'invalid_token') await parts.countFailure(ctx.ip);
      sendError(ctx, error);
    }
  };
