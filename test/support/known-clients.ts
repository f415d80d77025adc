/** Clients for adapters that are tested by themselves: nothing is remembered of them. */
import { createKnownClients } from '../../adapters/oidc-clients.ts';
import type { Db } from '../../db/connect.ts';
import { findClient } from '../../src/clients/clients.queries.ts';
import { createAccessCache } from '../../src/roles/access-cache.ts';

/** Remembers nothing. */
export const { shelf: unremembered } = createAccessCache({
  channel: { isProven: () => false, prove: () => Promise.resolve(false) },
  clock: () => performance.now(),
});

export const knownClients = (db: Db) =>
  createKnownClients({
    db,
    shelf: unremembered,
    findClient: (id) => findClient(db, id),
    requirePushedRequests: false,
  });
