/** Resource servers (RFC 8707): what tokens are for. The REST API of this service is the only one so far. */
import type { Client } from 'oidc-provider';
import type { Config } from '../config.ts';

/** Identifier of the default resource, the REST API of this service itself. */
export const defaultResource = (issuer: string) => `${issuer}/api`;

/** What the engine is to know of the default resource when it makes a token for this client. */
export const apiResource = (
  { JWT_AUD, JWT_ACCESS_TTL }: Pick<Config, 'JWT_AUD' | 'JWT_ACCESS_TTL'>,
  _client: Client,
  scope: string,
) => ({
  scope,
  audience: JWT_AUD,
  accessTokenTTL: JWT_ACCESS_TTL,
  accessTokenFormat: 'jwt' as const,
});
