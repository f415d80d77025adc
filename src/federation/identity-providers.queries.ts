/** Reads of identity providers. They are asked whenever somebody uses one, so that a change is in force at once and everywhere. */
import { type Db, queryDirectly } from '../../db/connect.ts';
import type { Secrets } from '../secrets.ts';
import {
  type IdentityProvider,
  ProviderId,
  type ProviderMetadata,
  type ProviderSecrets,
} from './identity-providers.ts';
import { resolveProvider, withPreset } from './presets.ts';

export interface ProviderRow {
  id: string;
  metadata: ProviderMetadata;
  secretsEncrypted: Uint8Array | null;
  rank: number;
  /** What whoever wrote it could pass on; null for one that was written before that was kept. */
  permissions: readonly string[] | null;
  createdBy: string | null;
  createdAt: Date;
  updatedAt: Date;
}

const columns = [
  ...(['id', 'metadata', 'secretsEncrypted', 'rank', 'permissions', 'createdBy', 'createdAt', 'updatedAt'] as const),
];

export const findProviderRow = (db: Db, id: string): Promise<ProviderRow | undefined> =>
  db('identityProviders')
    .where({ id })
    .first(...columns);

/** The row, which nobody else changes until the transaction ends. */
export const lockProviderRow = (db: Db, id: string): Promise<ProviderRow | undefined> =>
  db('identityProviders')
    .where({ id })
    .forUpdate()
    .first(...columns);

/** Rows by id, after the one with the id `after`. */
export const listProviderRows = (
  db: Db,
  { limit, after }: { limit: number; after?: string | undefined },
): Promise<ProviderRow[]> =>
  db('identityProviders')
    .modify((query) => {
      if (after !== undefined) query.where('id', '>', after);
    })
    .orderBy('id')
    .limit(limit)
    .select(...columns);

const offeredRows = 'select id, metadata from identity_providers order by id limit $1';

/** What a row's secrets are sealed for. */
export const providerRow = (id: string) => `identity_providers:${id}`;

export const sealProviderSecrets = (secrets: Secrets, id: string, values: ProviderSecrets): Buffer | null =>
  Object.keys(values).length ? secrets.seal('identity-provider', providerRow(id), JSON.stringify(values)) : null;

export const openProviderSecrets = (
  secrets: Secrets,
  { id, secretsEncrypted }: Pick<ProviderRow, 'id' | 'secretsEncrypted'>,
): ProviderSecrets =>
  secretsEncrypted
    ? (JSON.parse(secrets.open('identity-provider', providerRow(id), secretsEncrypted).toString()) as ProviderSecrets)
    : {};

/** As many buttons as there can be of rows. */
export const providersMax = 100;

/** A provider as it is offered. */
export type OfferedProvider = Pick<IdentityProvider, 'id' | 'metadata'>;

/** All providers, those of the operator's file and those of the table. */
export interface Providers {
  /** One that people can sign in with now. */
  find(id: string): Promise<IdentityProvider | undefined>;
  /** Those that people can sign in with now: the file's first, in its order. Nobody's secrets are opened for a page of buttons. */
  list(): Promise<OfferedProvider[]>;
  /** Whether the file has it, so that no row can. */
  isReserved(id: string): boolean;
}

export const createProviders = (db: Db, secrets: Secrets, file: readonly IdentityProvider[]): Providers => {
  const isReserved = (id: string) => file.some((provider) => provider.id === id);
  const toProvider = (row: ProviderRow): IdentityProvider =>
    resolveProvider(row.id, row.metadata, openProviderSecrets(secrets, row), {
      rank: row.rank,
      permissions: row.permissions,
      source: 'row',
    });
  return {
    isReserved,
    find: async (id) => {
      // It comes from paths and forms of anybody's, and a database takes no NUL.
      if (!ProviderId.safeParse(id).success) return undefined;
      const row = isReserved(id) ? undefined : await findProviderRow(db, id);
      const provider = row ? toProvider(row) : file.find((provider) => provider.id === id);
      return provider?.metadata.enabled ? provider : undefined;
    },
    list: async () => {
      const rows = await queryDirectly<Pick<ProviderRow, 'id' | 'metadata'>>(db, offeredRows, [providersMax]);
      const offered = rows.map(({ id, metadata }) => ({ id, metadata: withPreset(metadata) }));
      return [...file, ...offered.filter(({ id }) => !isReserved(id))].filter(({ metadata }) => metadata.enabled);
    },
  };
};
