/** Clients that no administrator has registered, put together: those that register themselves, and those that are documents. */
import { createMetadataDocuments } from '../adapters/metadata-documents.ts';
import { isListed } from '../adapters/outbound.ts';
import { addressKey, type RateLimits } from '../adapters/rate-limits.ts';
import type { Db } from '../db/connect.ts';
import { system } from './audit/logs.commands.ts';
import type { ValidateClient } from './clients/client-changes.ts';
import { saveDocument } from './clients/metadata-documents.commands.ts';
import type { Config } from './config.ts';
import type { Log } from './log.ts';
import { clientRegistration } from './provider/client-registration.ts';
import { registrationMode } from './registration-settings.ts';
import { listOpenScopes } from './resource-servers/open-resources.queries.ts';
import { revokeGrantsOf } from './sessions/sessions.commands.ts';

interface Parts {
  config: Config;
  db: Db;
  limits: RateLimits;
  /** Fetches what strangers point at. */
  fetch: typeof fetch;
  validate: ValidateClient;
  log: Log;
}

export const createUnregisteredClients = ({ config, db, limits, fetch, validate, log }: Parts) => {
  const deps = { validate, revokeGrants: revokeGrantsOf, listOpenScopes };
  return {
    /** Any client by its id, which may be the URL of the document that describes it. */
    findClient: createMetadataDocuments({
      db,
      fetch,
      hosts: config.CLIENT_ID_METADATA_DOCUMENTS,
      allowsHttp: isListed(config.OUTBOUND_ALLOW),
      save: (read) => saveDocument(db, system, read, deps),
      limit: async (host, address) => {
        if (address !== undefined) await limits.consume('documentAddress', addressKey(address));
        await limits.consume('documentHost', host);
      },
      log,
    }),
    /** The registration endpoint. */
    registration: clientRegistration({
      db,
      issuer: config.JWT_ISSUER,
      mode: registrationMode(config),
      ...deps,
      limit: async (address) => {
        await limits.consume('registerClient', addressKey(address));
        await limits.consume('registerClientTotal', '');
      },
      assertLeft: (address) => limits.assertLeft('addressFailures', addressKey(address)),
      countFailure: (address) => limits.count('addressFailures', addressKey(address)),
    }),
  };
};
