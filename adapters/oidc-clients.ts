/**
 * Clients as the engine is to see them, remembered until they change: every request of an application asks for its client.
 */
import { type AdapterPayload, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { clientMetadata } from '../src/clients/client-metadata.ts';
import { type Client, findClient as findStoredClient } from '../src/clients/clients.queries.ts';
import { identityScopes } from '../src/clients/identity-scopes.ts';
import type { AccessCache } from '../src/roles/access-cache.ts';

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

/** The secret before this one, while it is still taken. */
const previousUntil = ({ previousSecretHash, previousSecretExpiresAt }: Client): Date | undefined =>
  previousSecretHash && previousSecretExpiresAt && previousSecretExpiresAt > new Date()
    ? previousSecretExpiresAt
    : undefined;

/** The stored hashes stand in for the secrets: see `compareClientSecret` in provider/provider.ts. */
const engineClient = (client: Client): AdapterPayload => ({
  ...engineMetadata(clientMetadata(client)),
  rank: client.rank,
  token_generation: client.tokenGeneration,
  vouched_for: client.vouchedFor,
  ...(client.clientSecretHash ? { client_secret: client.clientSecretHash } : {}),
  ...(previousUntil(client) ? { previous_secret_hash: client.previousSecretHash } : {}),
  ...(client.clientSecretExpiresAt
    ? { client_secret_expires_at: Math.floor(client.clientSecretExpiresAt.getTime() / 1000) }
    : {}),
});

/** How many are remembered. */
const clientsMax = 5000;

/** What is remembered of a client; one and the same until it changes. */
interface KnownClient {
  metadata: AdapterPayload;
  /** In milliseconds since the epoch: when the secret before this one ends. */
  changesAt: number | undefined;
}

/**
 * The engine's metadata of a client, in its current request; undefined for nobody's id. Frozen, and one and the same object for as
 * long as the client is remembered.
 */
export type FindClientMetadata = (clientId: string) => Promise<AdapterPayload | undefined>;

interface KnownClientParts {
  db: Db;
  shelf: AccessCache['shelf'];
  /** Any client by its id, which may be the URL of the document that describes it. @param address of whoever asks for it */
  findClient(clientId: string, address?: string): Promise<Client | undefined>;
  /** Whether every client but our own must push its authorization requests. */
  requirePushedRequests: boolean;
}

/** What may be the URL of a document: that is read again when its time has come, and is not remembered here. */
export const mayBeDocument = (clientId: string): boolean => /^https?:/.test(clientId);

/** To be made once: it is a shelf of its own. */
export const createKnownClients = ({
  db,
  shelf,
  findClient,
  requirePushedRequests,
}: KnownClientParts): FindClientMetadata => {
  const known = shelf<KnownClient>({
    name: 'application',
    max: clientsMax,
    changesInMs: ({ changesAt }) => changesAt && changesAt - Date.now(),
  });

  const toMetadata = (client: Client | undefined): AdapterPayload | undefined => {
    if (!client || client.blockedAt) return undefined;
    const metadata = engineClient(client);
    // Our own sign in on the same origin, with nothing in the request that could be changed on the way.
    return requirePushedRequests && !client.builtIn
      ? { ...metadata, require_pushed_authorization_requests: true }
      : metadata;
  };
  const load = async (clientId: string): Promise<KnownClient | undefined> => {
    const client = await findStoredClient(db, clientId);
    const metadata = toMetadata(client);
    return client && metadata && { metadata, changesAt: previousUntil(client)?.getTime() };
  };
  const read = (clientId: string): Promise<Client | undefined> => {
    const { ctx } = Provider;
    // On the way out, and where nobody asks, a client is who it was: its document's server must not hold up a sign-out.
    const asItWas = !ctx || ctx.oidc?.route?.startsWith('end_session');
    return asItWas ? findStoredClient(db, clientId) : findClient(clientId, ctx.ip);
  };

  return async (clientId) =>
    mayBeDocument(clientId)
      ? toMetadata(await read(clientId))
      : (await known.get(clientId, () => load(clientId)))?.metadata;
};
