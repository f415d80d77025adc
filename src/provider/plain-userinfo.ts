/**
 * The plainest of userinfo requests (OpenID Connect Core section 5.3): `GET` with an opaque token that is bound to nothing, by an
 * application that wants JSON, see `plain-clients.ts`. The engine's chain for it makes three errors, with their stacks, in case they
 * should be needed.
 */
import type Koa from 'koa';
import type { Client, Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
// @ts-expect-error: the published types leave this out.
import actions from 'oidc-provider/lib/actions/userinfo.js';
import { inTokenRead } from '../../adapters/token-reads.ts';
import { routes } from './configuration.ts';
import { answerPlainly, describeRequest } from './plain-clients.ts';

/** The parts of the engine's tokens that decide; its published types leave some of it out. */
interface Token {
  isValid: boolean;
  accountId?: string;
  clientId: string;
  grantId?: string;
  aud?: unknown;
  scopes: ReadonlySet<string>;
  isSenderConstrained(): boolean;
}

interface JsonClient extends Client {
  userinfoSignedResponseAlg?: string;
  userinfoEncryptedResponseAlg?: string;
}

/** Tells the claims, once it is known of whom and to whom: the end of the engine's chain. */
const respond = (actions as readonly unknown[]).at(-1) as (ctx: Koa.Context) => Promise<void>;

/** Headers with which there is more to be checked, or to be said. */
const otherHeaders = ['dpop', 'origin', 'content-type', 'content-length', 'transfer-encoding'];
/** RFC 6750 section 2.1. Ours have neither dots, which would be a JWT, nor padding. */
const plainBearer = /^Bearer ([\w-]+)$/;

const readToken = (ctx: Koa.Context): string | undefined => {
  if (ctx.path !== routes.userinfo || ctx.method !== 'GET' || ctx.querystring) return undefined;
  const { headers } = ctx.req;
  if (otherHeaders.some((name) => headers[name] !== undefined)) return undefined;
  return plainBearer.exec(headers.authorization ?? '')?.[1];
};

/** To be attached before all else that comes in front of the engine's routes. */
export const answerPlainUserinfo = (provider: Provider, { findAccount }: Configuration): void => {
  const tell = async (ctx: Koa.Context, name: string): Promise<object | undefined> => {
    const token = (await provider.AccessToken.find(name)) as unknown as Token | undefined;
    if (!token?.isValid || token.aud !== undefined || token.isSenderConstrained()) return undefined;
    const { accountId, clientId, grantId } = token;
    if (!accountId || !grantId || !token.scopes.has('openid')) return undefined;
    const client = (await provider.Client.find(clientId)) as JsonClient | undefined;
    if (!client || client.userinfoSignedResponseAlg || client.userinfoEncryptedResponseAlg) return undefined;
    const oidc = describeRequest(provider, ctx, client, { route: 'userinfo', params: {} });
    oidc.entity('AccessToken', token);
    const account = await findAccount?.(ctx as KoaContextWithOIDC, accountId, token as never);
    const grant = await provider.Grant.find(grantId);
    if (!account || grant?.clientId !== clientId || grant.accountId !== accountId) return undefined;
    oidc.entity('Account', account);
    oidc.entity('Grant', grant);
    await respond(ctx);
    return ctx.body as object;
  };

  answerPlainly(provider, (ctx) => {
    const token = readToken(ctx);
    return token === undefined ? undefined : inTokenRead('user', () => tell(ctx, token));
  });
};
