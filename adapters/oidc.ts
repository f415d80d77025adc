/**
 * The storage that oidc-provider asks for: one adapter per model. Values that a bearer could use are stored as their
 * SHA-256; a document that must be read back whole and holds such values is sealed. Absent is undefined, broken is
 * thrown: an outage must never look like `invalid_client` or `invalid_grant`.
 */
import { type Adapter, type AdapterFactory, errors } from 'oidc-provider';
import { isOutage } from '../src/errors.ts';
import { createGrantAdapter } from './oidc-grants.ts';
import { createPayloadAdapter } from './oidc-payloads.ts';
import { createRefreshTokenAdapter } from './oidc-refresh-tokens.ts';
import { createSessionAdapter } from './oidc-sessions.ts';
import { type OidcStorage, unused } from './oidc-storage.ts';
import { temporarilyUnavailable } from './temporarily-unavailable.ts';

/** The engine may change what it is given, and what is remembered is others' as well. */
const createClientAdapter = (storage: OidcStorage): Adapter => ({
  ...unused('Client'),
  find: async (id) => structuredClone(await storage.findClientMetadata(id)),
});

const unavailable = () => temporarilyUnavailable('a database is out of reach; try again shortly');

/** What the database is asked, as the engine is to hear of its failures. */
export const orUnavailable = async <T>(work: Promise<T>): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    if (isOutage(error)) throw Object.assign(unavailable(), { cause: error });
    throw error;
  }
};

/** A foreign key: what the row would belong to was deleted while the request was under way. */
const isOrphan = (error: unknown) => (error as { code?: unknown }).code === '23503';

/** Likewise of what it is told to save. */
export const orOrphaned = async <T>(work: Promise<T>): Promise<T> => {
  try {
    return await orUnavailable(work);
  } catch (error) {
    if (isOrphan(error)) throw new errors.InvalidGrant('the client or the account is gone');
    throw error;
  }
};

const guarded = (adapter: Adapter): Adapter =>
  Object.fromEntries(
    Object.entries(adapter).map(([name, method]) => [
      name,
      async (...args: unknown[]) => orOrphaned((method as (...args: unknown[]) => Promise<unknown>)(...args)),
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
        return guarded(createGrantAdapter(storage));
      case 'Session':
        return guarded(createSessionAdapter(storage));
      case 'RefreshToken':
        return guarded(createRefreshTokenAdapter(storage));
      default:
        return guarded(createPayloadAdapter(storage, model));
    }
  };
