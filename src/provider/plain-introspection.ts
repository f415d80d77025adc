/** The plainest of introspections (RFC 7662): a client asks about a token that is bound to nothing, see `plain-clients.ts`. */
import type Koa from 'koa';
import type { Client, Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import { jwtName } from '../../adapters/oidc-payloads.ts';
import { inTokenRead } from '../../adapters/token-reads.ts';
import { toJwtName } from './access-tokens.ts';
import { routes } from './configuration.ts';
import {
  answerPlainly,
  findPlainClient,
  type PlainClient,
  type PlainRequest,
  readPlainRequest,
} from './plain-clients.ts';
import { isJwt } from './requests.ts';

type Introspection = NonNullable<NonNullable<Configuration['features']>['introspection']>;

/** What the engine's tokens have in common; its published types leave some of it out. */
interface Token {
  kind: string;
  isValid: boolean;
  clientId: string;
  accountId?: string;
  grantId?: string;
  tokenType?: string;
  jti: string;
  exp: number;
  iat: number;
  sid?: string;
  aud?: string | string[];
  scope?: string;
  rar?: unknown;
  extra?: object;
  isSenderConstrained(): boolean;
}

interface Asked {
  request: PlainRequest;
  /** The name that the engine knows it by. */
  token: string;
}

const readAsked = (ctx: Koa.Context): Asked | undefined => {
  const request = readPlainRequest(ctx, routes.introspection);
  // RFC 9701: who wants a JWT says so.
  if (!request || /introspection/i.test(ctx.req.headers.accept ?? '')) return undefined;
  const { token, token_type_hint: hint = '', ...others } = request.parameters;
  if (typeof token !== 'string' || !token || typeof hint !== 'string' || Object.keys(others).length) return undefined;
  if (token.startsWith(jwtName)) return undefined;
  return { request, token: isJwt(token) ? toJwtName(token) : token };
};

const notActive = { active: false };

interface Model {
  find(name: string): Promise<unknown>;
}

/** To be attached before all else that comes in front of the engine's routes. */
export const answerPlainIntrospection = (provider: Provider, { allowedPolicy }: Introspection): void => {
  const models: readonly Model[] = [provider.AccessToken, provider.ClientCredentials, provider.RefreshToken];

  /** Whether the person has another name with the client that the token was given to (OpenID Connect Core section 8.1). */
  const hasPairwiseSubject = async (clientId: string, asking: Client): Promise<boolean> => {
    const client = clientId === asking.clientId ? asking : await provider.Client.find(clientId);
    return client?.subjectType === 'pairwise';
  };

  /** @returns undefined where the engine has more to look at */
  const describe = async (ctx: Koa.Context, client: PlainClient, name: string): Promise<object | undefined> => {
    const found = await Promise.all(models.map((model) => model.find(name)));
    const token = found.find((one) => one !== undefined) as Token | undefined;
    if (!token?.isValid) return notActive;
    if (token.isSenderConstrained() || token.rar !== undefined) return undefined;
    if (token.accountId && (await hasPairwiseSubject(token.clientId, client))) return undefined;
    if (token.grantId) {
      const grant = await provider.Grant.find(token.grantId);
      if (grant?.clientId !== token.clientId || grant.accountId !== token.accountId) return notActive;
    }
    if (!(await allowedPolicy?.(ctx as KoaContextWithOIDC, client, token as never))) return notActive;
    return {
      ...(token.accountId ? { sub: token.accountId } : {}),
      ...token.extra,
      active: true,
      client_id: token.clientId,
      exp: token.exp,
      iat: token.iat,
      sid: token.sid,
      iss: provider.issuer,
      jti: token.jti === name ? undefined : token.jti,
      aud: token.aud,
      scope: token.scope || undefined,
      token_type: token.kind === 'RefreshToken' ? undefined : token.tokenType,
    };
  };

  const introspect = async (ctx: Koa.Context, { request, token }: Asked): Promise<object | undefined> => {
    const client = await findPlainClient(provider, request);
    if (!client || client.introspectionEncryptedResponseAlg) return undefined;
    return inTokenRead(undefined, () => describe(ctx, client, token));
  };

  answerPlainly(provider, (ctx) => {
    const asked = readAsked(ctx);
    return asked && introspect(ctx, asked);
  });
};
