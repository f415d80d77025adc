/**
 * The storage that oidc-provider asks for: one adapter per model. Values that a bearer could use are stored as their
 * SHA-256; a document that must be read back whole and holds such values is sealed. Absent is undefined, broken is
 * thrown: an outage must never look like `invalid_client` or `invalid_grant`.
 */
import { type Adapter, type AdapterFactory, type AdapterPayload, errors, Provider } from 'oidc-provider';
import { clientMetadata } from '../src/clients/client-metadata.ts';
import { type Client, findClient as findStoredClient } from '../src/clients/clients.queries.ts';
import { identityScopes } from '../src/clients/identity-scopes.ts';
import { isOutage } from '../src/errors.ts';
import { createGrantAdapter } from './oidc-grants.ts';
import { createPayloadAdapter } from './oidc-payloads.ts';
import { createRefreshTokenAdapter } from './oidc-refresh-tokens.ts';
import { createSessionAdapter } from './oidc-sessions.ts';
import { type OidcStorage, unused } from './oidc-storage.ts';

/**
 * Client metadata as the engine is to see it. Of `scope` it gets the identity scopes: those of the API are the
 * resource's, and reach `getResourceServerInfo` as `api_scope`. An empty `default_acr_values` would make it insist on
 * the scope `openid`.
 */
export const engineMetadata = ({
  scope,
  theme: _theme,
  default_acr_values: acrValues,
  ...rest
}: Record<string, unknown>): AdapterPayload => {
  const metadata = Array.isArray(acrValues) && acrValues.length ? { ...rest, default_acr_values: acrValues } : rest;
  if (typeof scope !== 'string') return metadata;
  const scopes = scope.split(' ');
  const identity = scopes.filter((name) => identityScopes.includes(name)).join(' ');
  const api = scopes.filter((name) => !identityScopes.includes(name)).join(' ');
  return { ...metadata, scope: identity || 'openid', api_scope: api };
};

/** The stored hashes stand in for the secrets: see `compareClientSecret` in provider/provider.ts. */
const engineClient = (client: Client): AdapterPayload => ({
  ...engineMetadata(clientMetadata(client)),
  rank: client.rank,
  vouched_for: client.vouchedFor,
  ...(client.clientSecretHash ? { client_secret: client.clientSecretHash } : {}),
  ...(client.previousSecretHash && client.previousSecretExpiresAt && client.previousSecretExpiresAt > new Date()
    ? { previous_secret_hash: client.previousSecretHash }
    : {}),
  ...(client.clientSecretExpiresAt
    ? { client_secret_expires_at: Math.floor(client.clientSecretExpiresAt.getTime() / 1000) }
    : {}),
});

const createClientAdapter = ({ db, findClient, requirePushedRequests }: OidcStorage): Adapter => ({
  ...unused('Client'),
  find: async (id) => {
    const { ctx } = Provider;
    // On the way out, and where nobody asks, a client is who it was: its document's server must not hold up a sign-out.
    const known = !ctx || ctx.oidc?.route?.startsWith('end_session');
    const client = await (known ? findStoredClient(db, id) : findClient(id, ctx.ip));
    if (!client || client.blockedAt) return undefined;
    const metadata = engineClient(client);
    // Our own sign in on the same origin, with nothing in the request that could be changed on the way.
    return requirePushedRequests && !client.builtIn
      ? { ...metadata, require_pushed_authorization_requests: true }
      : metadata;
  },
});

/** RFC 6749 section 4.1.2.1 knows the code; the status says that trying again helps. */
const unavailable = () =>
  Object.assign(
    new errors.CustomOIDCProviderError('temporarily_unavailable', 'a database is out of reach; try again shortly'),
    {
      status: 503,
      statusCode: 503,
    },
  );

/** A foreign key: what the row would belong to was deleted while the request was under way. */
const isOrphan = (error: unknown) => (error as { code?: unknown }).code === '23503';

const guarded = (adapter: Adapter): Adapter =>
  Object.fromEntries(
    Object.entries(adapter).map(([name, method]) => [
      name,
      async (...args: unknown[]) => {
        try {
          return await (method as (...args: unknown[]) => Promise<unknown>)(...args);
        } catch (error) {
          if (isOutage(error)) throw Object.assign(unavailable(), { cause: error });
          if (isOrphan(error)) throw new errors.InvalidGrant('the client or the account is gone');
          throw error;
        }
      },
    ]),
  ) as unknown as Adapter;

/** The `adapter` of the engine's configuration. */
export const createOidcAdapter =
  (storage: OidcStorage): AdapterFactory =>
  (model) => {
    switch (model) {
      case 'Client':
        return guarded(createClientAdapter(storage));
      case 'Grant':
        return guarded(createGrantAdapter(storage.db));
      case 'Session':
        return guarded(createSessionAdapter(storage));
      case 'RefreshToken':
        return guarded(createRefreshTokenAdapter(storage));
      default:
        return guarded(createPayloadAdapter(storage, model));
    }
  };
