/** Has the engine's clients get their keys from what is kept for all of them (`adapters/client-keys.ts`). */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { KeyObject } from 'node:crypto';
import { type Client, type Configuration, errors, Provider } from 'oidc-provider';
import type { ClientKeys } from '../../adapters/client-keys.ts';

/** A client's keys as the engine keeps them; its published types leave them out. */
interface KeyStore {
  freshUntil?: number;
  stale(): boolean;
  refresh(): Promise<void>;
  selectForVerify(wanted: { alg: unknown; kid?: unknown }): object[];
  getKeyObject(key: object, isPublic: boolean): KeyObject;
}
interface EngineClient {
  jwksUri?: string;
  kind?: string;
  asymmetricKeyStore: KeyStore;
}

export const keyStoreOf = (client: Client): KeyStore => (client as unknown as EngineClient).asymmetricKeyStore;

type Fetch = NonNullable<Configuration['fetch']>;

/** The keys that the engine reads now, which it would fetch. */
const served = new AsyncLocalStorage<string>();

/** The engine's `fetch`: what is known already comes from here, so that the engine's own checks read it all the same. */
export const servingKeys =
  (fetch: Fetch): Fetch =>
  (input, init) => {
    const body = served.getStore();
    return body === undefined ? fetch(input, init) : Promise.resolve(new Response(body));
  };

/** For how long a store that is not fresh counts as fresh to the request that found it so, in seconds. */
const heldSeconds = 2;

const now = () => Math.floor(Date.now() / 1000);

const isFilled = new WeakSet<KeyStore>();

/**
 * Makes a store of the engine one that is fresh as long as what is kept of its URI is, and is filled from that. Of an entry
 * that could not be had the store is empty, or what it was before.
 */
const fillFrom = (keys: ClientKeys, client: EngineClient, uri: string): void => {
  const store = client.asymmetricKeyStore;
  if (isFilled.has(store)) return;
  isFilled.add(store);
  const of = { uri, registered: client.kind === 'registered' };
  const fill = store.refresh.bind(store);
  let filledWith: string | undefined;
  // One after the other: what the store is filled with is what came last.
  let filling: Promise<void> = Promise.resolve();
  // Of each request: the engine tries again until a store is fresh, and what one request could not have is not another's fault.
  const held = new WeakMap<object, number>();
  const asker = (): object => Provider.ctx ?? store;
  Object.defineProperty(store, 'freshUntil', {
    get: () => {
      if (served.getStore() !== undefined) return 0;
      const heldUntil = held.get(asker()) ?? 0;
      const known = keys.known(of);
      return known && known.body === filledWith ? Math.max(heldUntil, Math.ceil(known.until / 1000)) : heldUntil;
    },
    // How long the engine would keep them for is not asked.
    set: () => {},
  });
  store.refresh = async () => {
    try {
      const { body } = await keys.load({ ...of, address: Provider.ctx?.ip });
      if (body === undefined) throw new errors.InvalidClientMetadata('client JSON Web Key Set failed to be refreshed');
      const next = async () => {
        if (body === filledWith) return;
        // The engine empties the store before it reads, and may then refuse what it reads.
        filledWith = undefined;
        await served.run(body, fill);
        filledWith = body;
      };
      filling = filling.then(next, next);
      await filling;
    } finally {
      // Old keys past a limit are no error, and must end the engine's next try all the same.
      if (store.stale()) held.set(asker(), now() + heldSeconds);
    }
  };
};

/**
 * The engine looks at a `jwks_uri` again when no key fits, so that one that has been taken out, because somebody stole it, say,
 * would go on being good. Here it looks again before anything signed is verified, unless it did a minute ago. If the
 * client's server is out of reach, the keys that are known do for as long as it is.
 */
export const keepClientKeysFresh = (provider: Provider, keys: ClientKeys): void => {
  const find = provider.Client.find.bind(provider.Client);
  provider.Client.find = async (id) => {
    const client = (await find(id)) as unknown as EngineClient | undefined;
    if (client?.jwksUri) {
      const store = client.asymmetricKeyStore;
      fillFrom(keys, client, client.jwksUri);
      const { client_assertion, request, assertion } = (Provider.ctx?.oidc?.params ?? {}) as Record<string, unknown>;
      if ((client_assertion || request || assertion) && store.stale()) await store.refresh().catch(() => {});
    }
    return client as unknown as Client | undefined;
  };
};
