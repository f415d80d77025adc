/**
 * Registers, changes and deletes identity providers over REST. Who writes one could sign in as whoever it knows, so it signs in
 * nobody who ranks higher or may do more than they do, and gives no role above theirs.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { findPresentPowers, type PresentPowers } from '../clients/clients.commands.ts';
import { conflict, invalid, notFound } from '../errors.ts';
import { assertRank, type Caller, isSignedInHere } from '../http/caller.ts';
import { assertHolds } from '../roles/passing-on.ts';
import { mayPassOn } from '../roles/permissions.ts';
import { findRanks, findRolePermissions, listRoles } from '../roles/roles.queries.ts';
import type { Secrets } from '../secrets.ts';
import {
  findProviderRow,
  lockProviderRow,
  openProviderSecrets,
  type ProviderRow,
  type Providers,
  providersMax,
  sealProviderSecrets,
} from './identity-providers.queries.ts';
import type { ProviderMetadata, ProviderSecrets } from './identity-providers.ts';
import { providerMistakes } from './identity-providers.ts';

export interface ProviderDeps {
  db: Db;
  secrets: Secrets;
  providers: Pick<Providers, 'isReserved'>;
  /** Why a URL could never be fetched; undefined when it might be. */
  refusalOf(url: string): string | undefined;
}

export interface ProviderInput {
  metadata: ProviderMetadata;
  secrets: ProviderSecrets;
}

const target = (id: string) => ({ type: 'identity_provider', id });

/** Members that this service fetches from, and could not. The browser alone goes to `authorization_endpoint`. */
const unreachable = (metadata: ProviderMetadata, refusalOf: ProviderDeps['refusalOf']) =>
  (['issuer', 'token_endpoint', 'userinfo_endpoint', 'emails_endpoint', 'jwks_uri'] as const).flatMap((field) => {
    const why = metadata[field] === undefined ? undefined : refusalOf(metadata[field]);
    return why === undefined
      ? []
      : [
          {
            field,
            message: `can never be reached: ${why}; OUTBOUND_ALLOW (development) or the operator’s file allows it`,
          },
        ];
  });

/** @throws AppError 400 invalid_request */
const assertFits = (
  { refusalOf }: Pick<ProviderDeps, 'refusalOf'>,
  metadata: ProviderMetadata,
  secrets: ProviderSecrets,
): void => {
  const mistakes = [...providerMistakes(metadata, secrets), ...unreachable(metadata, refusalOf)];
  if (!mistakes.length) return;
  throw invalid('invalid_request', 'The request is not valid', {
    fields: mistakes.map(({ field, message }) => ({ field, code: 'custom', message })),
  });
};

/**
 * How high those may rank whom a provider of the caller signs in: whoever has signed in here is judged by their own rank, and
 * anything else (an API key, an application) goes as far up as it could pass on all that the roles permit.
 */
const rankFor = async (db: Db, caller: Caller, { rank }: { rank: number }): Promise<number> => {
  if (isSignedInHere(caller)) return rank;
  const roles = (await listRoles(db)).reverse();
  const tooMuch = roles.find(({ effectivePermissions }) =>
    effectivePermissions.some((name) => !name.endsWith(':own') && !mayPassOn(caller.permissions, name)),
  );
  return Math.min(rank, tooMuch ? tooMuch.rank - 1 : rank);
};

/** Who the caller is now, and how high they reach with it. */
const findPowers = async (db: Db, caller: Caller): Promise<PresentPowers> => {
  const present = await findPresentPowers(db, caller);
  assertRank(present, 0);
  return { ...present, rank: await rankFor(db, caller, present) };
};

/**
 * Whoever writes a rule gives its role to everybody whom it fits, and so gives no more than they hold.
 * @throws AppError 400 for a role that is not there, 403 rank_too_low for one above the rank, or as `assertHolds`
 */
const assertRoles = async (
  db: Db,
  caller: Caller,
  { roles }: ProviderMetadata,
  present: { rank: number },
): Promise<void> => {
  const names = roles.map(({ role }) => role);
  const ranks = await findRanks(db, names);
  for (const name of names) {
    const rank = ranks[name];
    if (rank === undefined)
      throw invalid('invalid_request', 'The request is not valid', {
        fields: [{ field: 'roles', code: 'role_not_found', message: `${name} is no role` }],
      });
    assertRank(present, rank);
    await assertHolds(db, caller, { permissions: await findRolePermissions(db, name), rank });
  }
};

const taken = () => conflict('identity_provider_exists', 'There is an identity provider of that id');

/**
 * @throws AppError 400 invalid_request, 403 rank_too_low, 409 identity_provider_exists, also for one that the
 *   operator's file has, or too_many_identity_providers
 */
export const createIdentityProvider = async (
  { db, secrets, providers, refusalOf }: ProviderDeps,
  actor: Actor,
  caller: Caller,
  id: string,
  input: ProviderInput,
): Promise<ProviderRow> => {
  assertFits({ refusalOf }, input.metadata, input.secrets);
  if (providers.isReserved(id)) throw taken();
  return transact(db, async (db) => {
    const present = await findPowers(db, caller);
    await assertRoles(db, caller, input.metadata, present);
    const [count] = (await db('identityProviders').count('* as rows')) as { rows: string }[];
    if (Number(count?.rows) >= providersMax)
      throw conflict('too_many_identity_providers', `There are ${providersMax} identity providers already`);
    const [row] = await db('identityProviders')
      .insert({
        id,
        metadata: JSON.stringify(input.metadata),
        secretsEncrypted: sealProviderSecrets(secrets, id, input.secrets),
        rank: present.rank,
        permissions: JSON.stringify(present.permissions),
        createdBy: present.registrar,
      })
      .onConflict('id')
      .ignore()
      .returning('id');
    if (!row) throw taken();
    const { preset } = input.metadata;
    await recordEvent(db, actor, { action: 'identity_provider.create', target: target(id), meta: { preset } });
    return (await findProviderRow(db, id)) as ProviderRow;
  });
};

/** @throws AppError 404, 403 rank_too_low */
const take = async (db: Db, caller: Caller, id: string) => {
  const present = await findPowers(db, caller);
  const before = await lockProviderRow(db, id);
  if (!before) throw notFound('identity_provider');
  assertRank(present, before.rank);
  return { present, before };
};

/** Names of the members that differ; of secrets, which. */
const changed = (before: ProviderInput, after: ProviderInput): string[] => {
  const [from, to] = [
    { ...before.metadata, ...before.secrets },
    { ...after.metadata, ...after.secrets },
  ] as Record<string, unknown>[];
  const names = new Set([...Object.keys(from ?? {}), ...Object.keys(to ?? {})]);
  return [...names].filter((name) => !isDeepStrictEqual(from?.[name], to?.[name])).sort();
};

/**
 * Replaces what describes a provider. A secret that is left out stays, unless the preset or where it is sent becomes another
 * one: somebody else's secret must not be sent to an address of one's own. Roles that its rules no longer give are taken away.
 * @throws AppError 404 identity_provider_not_found, 400 invalid_request, 403 rank_too_low
 */
export const updateIdentityProvider = async (
  { db, secrets, refusalOf }: ProviderDeps,
  actor: Actor,
  caller: Caller,
  id: string,
  input: ProviderInput,
): Promise<ProviderRow> => {
  return transact(db, async (db) => {
    const { present, before } = await take(db, caller, id);
    const kept = { metadata: before.metadata, secrets: openProviderSecrets(secrets, before) };
    const places = ['preset', 'issuer', 'tenant', 'token_endpoint', 'userinfo_endpoint'] as const;
    const isElsewhere = places.some((name) => input.metadata[name] !== before.metadata[name]);
    const next = { metadata: input.metadata, secrets: { ...(isElsewhere ? {} : kept.secrets), ...input.secrets } };
    assertFits({ refusalOf }, next.metadata, next.secrets);
    await assertRoles(db, caller, next.metadata, present);
    await db('identityProviders')
      .where({ id })
      .update({
        metadata: JSON.stringify(next.metadata),
        secretsEncrypted: sealProviderSecrets(secrets, id, next.secrets),
        rank: present.rank,
        permissions: JSON.stringify(present.permissions),
        updatedAt: db.fn.now(),
      });
    const roles = db('roles')
      .whereIn(
        'name',
        next.metadata.roles.map(({ role }) => role),
      )
      .select('id');
    await db('roleGrants').where({ identityProviderId: id }).whereNotIn('roleId', roles).delete();
    await recordEvent(db, actor, {
      action: 'identity_provider.update',
      target: target(id),
      meta: { members: changed(kept, next) },
    });
    return (await findProviderRow(db, id)) as ProviderRow;
  });
};

/**
 * Deletes a provider, with all that it has connected: whoever had no other way in sets a password by mail.
 * @throws AppError 404 identity_provider_not_found, 403 rank_too_low
 */
export const deleteIdentityProvider = (
  { db }: Pick<ProviderDeps, 'db'>,
  actor: Actor,
  caller: Caller,
  id: string,
): Promise<void> =>
  transact(db, async (db) => {
    await take(db, caller, id);
    await db('identityProviders').where({ id }).delete();
    await db('roleGrants').where({ identityProviderId: id }).delete();
    const identities = await db('identities').where({ providerId: id }).delete();
    await recordEvent(db, actor, { action: 'identity_provider.delete', target: target(id), meta: { identities } });
  });
