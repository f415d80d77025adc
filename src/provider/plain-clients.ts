/**
 * Clients that prove themselves by a secret in `Authorization` and send nothing that asks for more. What they ask thousands of times
 * a second is answered by the engine's own models without its chain of middlewares, most of which find that there is nothing to do:
 * `plain-token-requests.ts`, `plain-refreshes.ts`, `plain-introspection.ts`; so is what `plain-userinfo.ts` is asked, by token alone.
 *
 * Only what succeeds is answered there. Whatever is out of the ordinary, and all that is to be refused, goes on to the engine, which
 * starts from nothing: what is wrong with a request is said in one place. A refresh is all the engine's once its client is known.
 */
import type Koa from 'koa';
import type { Client, Provider } from 'oidc-provider';
import { databaseAway, isOutage } from '../errors.ts';
import { isSecretOf } from './client-authentication.ts';

export interface PlainRequest {
  clientId: string;
  secret: string;
  parameters: Readonly<Record<string, unknown>>;
}

/** The parts of the engine's Client that decide; its published types leave them out. */
export interface PlainClient extends Client {
  clientSecretExpiresAt?: number;
  dpopBoundAccessTokens?: boolean;
  tlsClientCertificateBoundAccessTokens?: boolean;
  profile?: string;
  introspectionEncryptedResponseAlg?: string;
}

/** The engine's context of a request, which those who hear of a token look into. */
interface Described {
  entity(name: string, value: object): void;
}

/** Tells the engine's models what the request is and whose, as its chain would have found out. */
export const describeRequest = (
  provider: Provider,
  ctx: Koa.Context,
  client: Client,
  { route = 'token', params }: { route?: string; params: object },
): Described => {
  const { OIDCContext } = provider as unknown as { OIDCContext: new (ctx: Koa.Context) => Described };
  const oidc = Object.assign(new OIDCContext(ctx), { route, params });
  oidc.entity('Client', client);
  ctx.oidc = oidc;
  return oidc;
};

/** Headers with which there is more to be checked, or to be said. */
const otherHeaders = ['dpop', 'origin', 'oauth-client-attestation', 'oauth-client-attestation-pop'];

/** RFC 6749 section 2.3.1. Whatever would have to be decoded after base64 is not the plainest. */
const plainBasic = /^Basic ([A-Za-z0-9+/]+={0,2})$/;
const plainCredentials = /^([\w.~-]+):([\w.~-]+)$/;

/** @returns undefined for a request of any other kind, or to any other endpoint */
export const readPlainRequest = (ctx: Koa.Context, endpoint: string): PlainRequest | undefined => {
  if (ctx.path !== endpoint || ctx.method !== 'POST' || ctx.querystring) return undefined;
  const { headers } = ctx.req;
  if (otherHeaders.some((name) => headers[name] !== undefined)) return undefined;
  const [, encoded = ''] = plainBasic.exec(headers.authorization ?? '') ?? [];
  if (encoded.length % 4) return undefined;
  const [, clientId, secret] = plainCredentials.exec(Buffer.from(encoded, 'base64').toString('latin1')) ?? [];
  return clientId && secret ? { clientId, secret, parameters: ctx.state.parameters ?? {} } : undefined;
};

/** @returns the client, if it is one of which nothing but its secret is asked, and that is right */
export const findPlainClient = async (
  provider: Provider,
  { clientId, secret }: PlainRequest,
): Promise<PlainClient | undefined> => {
  const client = (await provider.Client.find(clientId)) as PlainClient | undefined;
  if (client?.clientAuthMethod !== 'client_secret_basic' || client.clientSecretExpiresAt || client.profile)
    return undefined;
  return isSecretOf(client, secret) ? client : undefined;
};

/** As the engine does, which says besides what only those need to know who send an `Origin`. */
export const setHeaders = (ctx: Koa.Context): void => {
  ctx.set('Cache-Control', 'no-store');
  ctx.vary('Origin');
};

/** What has failed fails in the engine as well, which tells why. Not while the database is away: that would take as long once more. */
export const leaveToEngine = (error: unknown): undefined => {
  if (isOutage(error) || isOutage((error as Error).cause)) throw databaseAway();
};

/**
 * Has the engine's instance answer requests by what `work` makes of them. To be called before anything else is put in front of the engine's
 * routes.
 * @param work undefined leaves the request to the engine, and so does a failure: nothing was written, and the engine does it again
 */
export const answerPlainly = (
  provider: Provider,
  work: (ctx: Koa.Context) => Promise<object | undefined> | undefined,
): void => {
  provider.use(async (ctx: Koa.Context, next: Koa.Next) => {
    const body = await work(ctx)?.catch(leaveToEngine);
    if (!body) return next();
    setHeaders(ctx);
    ctx.body = body;
  });
};
