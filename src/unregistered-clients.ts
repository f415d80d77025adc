/** Clients that no administrator has registered, put together: those that register themselves, and those that are documents. */
import { type ClientKeys, createClientKeys } from '../adapters/client-keys.ts';
import { createMetadataDocuments } from '../adapters/metadata-documents.ts';
import { isListed } from '../adapters/outbound.ts';
import { addressKey, type RateLimits } from '../adapters/rate-limits.ts';
import type { Db } from '../db/connect.ts';
import { system } from './audit/logs.commands.ts';
import type { ValidateClient } from './clients/client-changes.ts';
import type { NewClient } from './clients/client-metadata.ts';
import { isNamedAfter, isNamedAs } from './clients/client-names.ts';
import { listBuiltInNames } from './clients/clients.queries.ts';
import { saveDocument } from './clients/metadata-documents.commands.ts';
import type { SelfRegistrationDeps } from './clients/self-registration.commands.ts';
import type { Config } from './config.ts';
import { invalid } from './errors.ts';
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

/** The keys of all clients; what strangers' clients point at is limited apart from the rest. */
const createKeysOfClients = ({ limits, fetch, log }: Pick<Parts, 'limits' | 'fetch' | 'log'>): ClientKeys =>
  createClientKeys({
    fetch,
    limit: async ({ host, registered, address }) => {
      if (address !== undefined) await limits.consume('keysAddress', address);
      await limits.consume(registered ? 'registeredKeysHost' : 'keysHost', host);
    },
    log,
  });

/**
 * What anybody may say of themselves, short of being us: a name by which people would take them for a part of this service, and
 * a place on it to which their codes would go.
 * @throws AppError 400 invalid_client_metadata or invalid_redirect_uri
 */
const assertNotOurs = async ({ config, db }: Pick<Parts, 'config' | 'db'>, client: NewClient): Promise<void> => {
  const builtIn = await listBuiltInNames(db);
  if (isNamedAfter(config.BRAND_NAME, client) || builtIn.some((name) => isNamedAs(name, client)))
    throw invalid('invalid_client_metadata', 'client_name must not be that of this service, or begin with it');
  const { origin } = new URL(config.JWT_ISSUER);
  if (client.redirect_uris?.some((uri) => URL.parse(uri)?.origin === origin))
    throw invalid('invalid_redirect_uri', 'redirect_uris: not on this service');
};

export const createUnregisteredClients = ({ config, db, limits, fetch, validate, log }: Parts) => {
  const deps: SelfRegistrationDeps & { revokeGrants: typeof revokeGrantsOf } = {
    validate: async (metadata) => {
      await assertNotOurs({ config, db }, metadata);
      await validate(metadata);
    },
    revokeGrants: revokeGrantsOf,
    listOpenScopes,
  };
  return {
    /** What the engine looks up. */
    lookup: {
      /** Any client by its id, which may be the URL of the document that describes it. */
      findClient: createMetadataDocuments({
        db,
        fetch,
        hosts: config.CLIENT_ID_METADATA_DOCUMENTS,
        allowsHttp: isListed(config.OUTBOUND_ALLOW),
        save: (read) => saveDocument(db, system, read, deps),
        limit: async (host, address) => {
          if (address !== undefined) await limits.consume('documentAddress', address);
          await limits.consume('documentHost', host);
        },
        log,
      }),
      /** The keys of clients that publish them somewhere, an administrator's clients among them. */
      clientKeys: createKeysOfClients({ limits, fetch, log }),
    },
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
