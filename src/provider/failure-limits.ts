/**
 * Limits of failures where clients authenticate and hand in grants. Successes are never counted. What a client is counted by
 * is the `client_id` that was sent *and* the address it came from: the name alone is anybody's to send, and must not let
 * somebody elsewhere turn the client off.
 */
import { decodeJwt } from 'jose';
import type Koa from 'koa';
import { jwtBearer, tokenExchange } from '../clients/grant-types.ts';
import { routes } from './configuration.ts';
import { impliedClient } from './jwt-bearer.ts';

export interface FailureLimits {
  /** @throws AppError 429 when this process knows that too much has failed; counts nothing, and asks nobody */
  assertUnspent(limit: 'clientFailures' | 'addressFailures', key: () => string): void;
  count(limit: 'clientFailures' | 'addressFailures', key: string): Promise<unknown>;
  /** What a network address is counted by. */
  addressKey(address: string): string;
}

const limited = new Set<string>([
  routes.token,
  routes.introspection,
  routes.revocation,
  routes.pushed_authorization_request,
  routes.device_authorization,
  routes.backchannel_authentication,
]);

const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 500) : '');

/** RFC 6749 section 2.3.1: both halves are form-urlencoded. */
const basicUser = (authorization: string): string => {
  const [, encoded = ''] = /^basic +(\S+)$/i.exec(authorization) ?? [];
  const [user = ''] = Buffer.from(encoded, 'base64').toString().split(':', 1);
  try {
    return decodeURIComponent(user.replaceAll('+', ' '));
  } catch {
    return user;
  }
};

/** The `sub` of a client assertion (RFC 7523 section 3), which nobody has verified yet. */
const assertionSubject = (assertion: string): string => {
  try {
    return text(decodeJwt(assertion).sub);
  } catch {
    return '';
  }
};

/** The client that a request says it comes from, as the engine would read it; nothing about it is proven. */
export const claimedClient = (authorization: string, parameters: Readonly<Record<string, unknown>>): string =>
  text(basicUser(authorization)) ||
  text(parameters.client_id) ||
  (typeof parameters.client_assertion === 'string' ? assertionSubject(parameters.client_assertion) : '') ||
  (impliedClient(authorization, parameters) ?? '');

interface EngineContext extends Koa.Context {
  oidc?: { client?: { clientAuthMethod?: string } };
}

/**
 * Whether an answer is one that guessing would get. A grant that is refused counts only for a client that has proven
 * nothing: else whoever sends made-up codes to an application would have its server refused for everybody.
 */
const isFailure = (ctx: EngineContext, error: string | undefined): boolean => {
  if (error === 'invalid_client') return true;
  const grantType = ctx.state.parameters?.grant_type;
  // Whoever hands in a bad assertion has proven nothing by it, whatever the client is registered with.
  if (error === 'invalid_grant' && grantType === jwtBearer) return true;
  // RFC 8693 section 2.2.2 has another code for a subject_token that somebody made up.
  if (error !== (grantType === tokenExchange ? 'invalid_request' : 'invalid_grant')) return false;
  const method = ctx.oidc?.client?.clientAuthMethod;
  return method === undefined || method === 'none';
};

const errorOf = ({ body }: Koa.Context): string | undefined =>
  typeof body === 'object' && body !== null ? (body as { error?: string }).error : undefined;

/** What the request says of whose it is; nothing about it is proven. */
const claimantOf = (ctx: Koa.Context): string =>
  claimedClient(ctx.get('authorization'), ctx.state.parameters ?? {}) ||
  assertionSubject(ctx.get('oauth-client-attestation'));

/** Comes after `prepareRequest`, which has read the parameters, and before the engine, which then need not work. */
export const limitFailures =
  ({ assertUnspent, count, addressKey }: FailureLimits): Koa.Middleware =>
  async (ctx, next) => {
    if (!limited.has(ctx.path) || ctx.method !== 'POST') return next();
    // Now, as whoever hangs up has none later.
    const { ip } = ctx;
    const from = () => addressKey(ip);
    const client = () => `${claimantOf(ctx)} ${from()}`;
    assertUnspent('addressFailures', from);
    assertUnspent('clientFailures', client);
    await next();
    if (!isFailure(ctx, errorOf(ctx))) return;
    await count('addressFailures', from());
    await count('clientFailures', client());
  };
