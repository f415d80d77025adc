/** The plainest of token requests: a client asks for a JWT for itself (RFC 6749 section 4.4), see `plain-clients.ts`. */
import type Koa from 'koa';
import type { Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { ClientAccess } from '../clients/client-access.ts';
import type { Config } from '../config.ts';
import { routes } from './configuration.ts';
import { machineScope } from './issue-tokens.ts';
import {
  answerPlainly,
  describeRequest,
  findPlainClient,
  type PlainRequest,
  readPlainRequest,
} from './plain-clients.ts';
import { defaultResource } from './resources.ts';

export interface PlainTokenParts {
  access: ClientAccess;
  config: Pick<Config, 'JWT_ISSUER'>;
  /** `features.resourceIndicators` of the engine's configuration. */
  resourceIndicators: NonNullable<NonNullable<Configuration['features']>['resourceIndicators']>;
}

/** RFC 6749 section 3.3. Scopes of OpenID Connect, for which the engine has rules of its own, have no colon. */
const plainScope = /^[\w.*-]+:[\w:.*-]*(?: [\w.*-]+:[\w:.*-]*)*$/;

interface Asked {
  request: PlainRequest;
  scope: string | undefined;
}

const readAsked = (ctx: Koa.Context): Asked | undefined => {
  if (ctx.state.parameters?.grant_type !== 'client_credentials') return undefined;
  const request = readPlainRequest(ctx, routes.token);
  const { grant_type: _grantType, scope, ...others } = request?.parameters ?? {};
  if (!request || Object.keys(others).length) return undefined;
  if (scope === undefined) return { request, scope };
  return typeof scope === 'string' && plainScope.test(scope) ? { request, scope } : undefined;
};

/** To be attached before all else that comes in front of the engine's routes. */
export const answerPlainTokenRequests = (provider: Provider, parts: PlainTokenParts): void => {
  const { access, config, resourceIndicators } = parts;
  const resource = defaultResource(config.JWT_ISSUER);

  const issue = async (ctx: Koa.Context, { request, scope }: Asked): Promise<object | undefined> => {
    const client = await findPlainClient(provider, request);
    if (!client?.grantTypeAllowed('client_credentials')) return undefined;
    if (client.dpopBoundAccessTokens || client.tlsClientCertificateBoundAccessTokens) return undefined;
    const oidc = describeRequest(provider, ctx, client, { params: { grant_type: 'client_credentials', scope } });
    const info = await resourceIndicators.getResourceServerInfo?.(ctx as KoaContextWithOIDC, resource, client);
    if (info?.accessTokenFormat !== 'jwt') return undefined;
    const names = [...new Set(scope?.split(' '))];
    const allowed = new Set(info.scope.split(' '));
    if (!names.every((name) => allowed.has(name))) return undefined;
    const whole = names.join(' ') || undefined;
    if (whole && !(await machineScope(access, whole, client.clientId))) return undefined;

    const token = new provider.ClientCredentials({ client, scope: whole } as never);
    Object.assign(token, { resourceServer: new provider.ResourceServer(resource, info) });
    oidc.entity('ClientCredentials', token);
    const access_token = await token.save();
    // What the client may do has changed just now.
    if (whole && !token.scope) return undefined;
    provider.emit('grant.success', ctx as KoaContextWithOIDC);
    return {
      access_token,
      expires_in: token.expiration,
      ...(token.scope ? { scope: token.scope } : {}),
      token_type: 'Bearer',
    };
  };

  answerPlainly(provider, (ctx) => {
    const asked = readAsked(ctx);
    return asked && issue(ctx, asked);
  });
};
