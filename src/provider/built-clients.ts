/** Has the engine build a client once for as long as what it is made of is remembered, where it would do so, or look, each time. */
import type { Client, Provider } from 'oidc-provider';
import { type FindClientMetadata, mayBeDocument } from '../../adapters/oidc-clients.ts';

/** The engine's class of clients; its published types leave the constructor out. */
interface ClientClass {
  new (metadata: Record<string, unknown>): Client;
  find(id: string): Promise<Client | undefined>;
}

/**
 * The engine keeps 100 clients by the hash of their metadata, which it would work out for each request. What is remembered is one
 * and the same object until it changes, so that object is what they are known by here, any number of them.
 * @param find throws what the engine is to hear when the database is away
 */
export const keepBuiltClients = (provider: Provider, find: FindClientMetadata): void => {
  const Client = provider.Client as unknown as ClientClass;
  const engineFind = Client.find.bind(Client);
  const built = new WeakMap<object, Client>();
  Client.find = async (id) => {
    if (typeof id !== 'string' || !id.length) return undefined;
    // A document's client is put together anew each time, which the engine notices is the same.
    if (mayBeDocument(id)) return engineFind(id);
    const metadata = await find(id);
    if (!metadata) return undefined;
    const known = built.get(metadata);
    if (known) return known;
    // The engine fetches what lies at the URI, and checks it.
    if (metadata.sector_identifier_uri !== undefined) return engineFind(id);
    const client = new Client(structuredClone(metadata));
    built.set(metadata, client);
    return client;
  };
};
