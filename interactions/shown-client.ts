/** What a page shows of the application that it is for: every page on the way to one asks for it. */
import { mayBeDocument } from '../adapters/oidc-clients.ts';
import type { Db } from '../db/connect.ts';
import { type Client, findClient } from '../src/clients/clients.queries.ts';
import type { AccessCache } from '../src/roles/access-cache.ts';

export type ShownClient = Pick<Client, 'clientId' | 'clientName' | 'theme'>;

/** How many are remembered. */
const shownMax = 1000;

/** Remembers them until they change. To be made once. */
export const createShownClients = (db: Db, shelf: AccessCache['shelf']) => {
  const known = shelf<ShownClient>({ name: 'shown-application', follows: 'application', max: shownMax });
  const load = async (clientId: string): Promise<ShownClient | undefined> => {
    const client = await findClient(db, clientId);
    return client && { clientId, clientName: client.clientName, theme: client.theme };
  };
  return async (clientId: string | undefined): Promise<ShownClient | undefined> => {
    if (!clientId) return undefined;
    // Of one that is described by a document, changes are not told.
    return mayBeDocument(clientId) ? load(clientId) : known.get(clientId, () => load(clientId));
  };
};
