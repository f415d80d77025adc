/** What tokens are for (RFC 8707): the default resource, and which audiences a client may have instead. */
import type { Client } from 'oidc-provider';
import type { Config } from '../config.ts';

/** Identifier of the default resource, the REST API of this service itself. */
export const defaultResource = (issuer: string) => `${issuer}/api`;

/** How many resources one request may name: each is looked up, and a person is shown each. */
export const resourcesMax = 10;

/**
 * Whether a client's tokens may name this audience: this API's, or another API by an absolute URI without a fragment
 * (RFC 8707 section 2). A plain word could be somebody's client_id, and the token be taken for an id_token; and what lies
 * under the issuer is not another API.
 */
export const isAudience = ({ JWT_AUD, JWT_ISSUER }: Pick<Config, 'JWT_AUD' | 'JWT_ISSUER'>, audience: string) => {
  if (audience === JWT_AUD) return true;
  const url = URL.parse(audience);
  return url !== null && !audience.includes('#') && url.origin !== new URL(JWT_ISSUER).origin;
};

/** What the engine is to know of the default resource when it makes a token for this client. */
export const apiResource = (
  { JWT_AUD, JWT_ACCESS_TTL }: Pick<Config, 'JWT_AUD' | 'JWT_ACCESS_TTL'>,
  client: Client,
  scope: string,
) => ({
  scope,
  audience: (client.audience as string | undefined) ?? JWT_AUD,
  accessTokenTTL: JWT_ACCESS_TTL,
  accessTokenFormat: (client.access_token_format as 'jwt' | 'opaque' | undefined) ?? 'jwt',
});
