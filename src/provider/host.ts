/**
 * Holds the engine's instance that serves, and puts another in its place when the keys change; requests in flight
 * finish on the old one.
 */
import type Koa from 'koa';
import mount from 'koa-mount';
import { errors, type Provider } from 'oidc-provider';
import { createKnownClients, engineMetadata } from '../../adapters/oidc-clients.ts';
import type { Database } from '../../db/connect.ts';
import type { ValidateClient } from '../clients/client-changes.ts';
import { isNamedAs } from '../clients/client-names.ts';
import { type Client, findClient, isClientAudience } from '../clients/clients.queries.ts';
import { type KeySet, loadKeySet } from '../keys/key-set.ts';
import { keysChannel } from '../keys/keys.commands.ts';
import { createMeetings } from '../resource-servers/meetings.ts';
import { isResourceServer } from '../resource-servers/resource-servers.queries.ts';
import { createProvider, type Instance, type ProviderDeps } from './provider.ts';
import { isAudience } from './resources.ts';

export interface ProviderHost {
  /** The instance that serves now. Ask each time; do not keep it. */
  provider(): Provider;
  deliverLogout: Instance['deliverLogout'];
  deliverPing: Instance['deliverPing'];
  /** The algorithms that there are keys for. */
  signingAlgs(): readonly string[];
  /** Throws what the engine has against a client's metadata. */
  validateClient: ValidateClient;
  middleware: Koa.Middleware;
  /** Loads the keys again and swaps the instance if they differ. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** The parts of the engine's Client that are used; its published types leave them out. */
interface EngineClient {
  new (metadata: Record<string, unknown>): { sectorIdentifier: string | undefined };
  validate(metadata: Record<string, unknown>): Promise<void>;
}

/** Whether access tokens may have this audience, which must then be nobody's client_id, as that is an id_token's. */
const isForTokens = async ({ JWT_AUD }: ProviderDeps['config'], db: ProviderDeps['db'], id: string): Promise<boolean> =>
  id === JWT_AUD || (await isResourceServer(db, id)) || (await isClientAudience(db, id));

/** Besides notifications: how often the keys are looked at, in milliseconds. */
const pollMs = 30_000;

/** What outlives the instances is put together with what they are given. */
type HostDeps = Omit<ProviderDeps, 'findClientMetadata' | 'meetings'> & {
  /** A client by its id, which may be the URL of the document that describes it. */
  findClient(clientId: string, address?: string): Promise<Client | undefined>;
};

export const createProviderHost = async (parts: HostDeps, listen: Database['listen']): Promise<ProviderHost> => {
  const { config, db, secrets, log } = parts;
  const { shelf } = parts.access;
  const requirePushedRequests = config.REQUIRE_PUSHED_AUTHORIZATION_REQUESTS;
  const deps: ProviderDeps = {
    ...parts,
    findClientMetadata: createKnownClients({ db, shelf, findClient: parts.findClient, requirePushedRequests }),
    meetings: createMeetings(shelf, db),
  };
  let keySet: KeySet = await loadKeySet(config, db, secrets);
  let instance = createProvider(deps, keySet);
  let serve = mount(instance.provider);
  let timer: NodeJS.Timeout | undefined;

  const load = async (): Promise<void> => {
    const next = await loadKeySet(config, db, secrets);
    if (next.version !== keySet.version) {
      instance = createProvider(deps, next);
      serve = mount(instance.provider);
      log.info({ kids: next.jwks.keys.map(({ kid }) => kid) }, 'the signing keys have changed');
    }
    keySet = next;
  };
  // One after the other: a look at the keys that began earlier must not end later, and bring older keys back.
  let loading: Promise<void> = Promise.resolve();
  const reload = (): Promise<void> => {
    loading = loading.then(load, load);
    return loading;
  };

  const schedule = () => {
    clearTimeout(timer);
    const untilChange = keySet.changesAt === undefined ? pollMs : keySet.changesAt - Date.now();
    timer = setTimeout(refresh, Math.max(100, Math.min(pollMs, untilChange))).unref();
  };
  const refresh = () => {
    reload()
      .catch((error: unknown) => log.warn({ err: error }, 'the signing keys could not be looked at'))
      .finally(schedule);
  };
  schedule();
  const stopListening = await listen(keysChannel, refresh);

  return {
    provider: () => instance.provider,
    deliverLogout: (logout) => instance.deliverLogout(logout),
    signingAlgs: () => keySet.algs,
    deliverPing: (ping) => instance.deliverPing(ping),
    validateClient: async (metadata) => {
      if (typeof metadata.audience === 'string' && !isAudience(config, metadata.audience))
        throw new errors.InvalidClientMetadata('audience must be that of this API, or the absolute URI of another one');
      if (typeof metadata.audience === 'string' && (await isResourceServer(db, metadata.audience)))
        throw new errors.InvalidClientMetadata('audience is a resource server: clients ask for it with `resource`');
      if (typeof metadata.audience === 'string' && (await findClient(db, metadata.audience)))
        throw new errors.InvalidClientMetadata('audience is a client_id: its tokens could be taken for id_tokens');
      if (await isForTokens(config, db, String(metadata.client_id)))
        throw new errors.InvalidClientMetadata('client_id is the audience of access tokens');
      if (metadata.first_party !== true && isNamedAs(config.BRAND_NAME, metadata))
        throw new errors.InvalidClientMetadata('client_name must not be that of this service');
      const { Client } = instance.provider as unknown as { Client: EngineClient };
      await Client.validate(engineMetadata(metadata));
      // The engine would find only at the first token that there is no host to tell the sector by.
      if (metadata.subject_type === 'pairwise') new Client(engineMetadata(metadata)).sectorIdentifier;
    },
    middleware: (ctx, next) => serve(ctx, next),
    reload,
    stop: async () => {
      clearTimeout(timer);
      await stopListening();
    },
  };
};
