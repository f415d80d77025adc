/**
 * Registers, changes and deletes clients. Secrets are 256 random bits in URL-safe characters and are stored as their
 * SHA-256 alone. Nobody gives a client more than they hold themselves, or writes one that holds more.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { conflict, forbidden, invalid, notFound } from '../errors.ts';
import { assertRank, type Caller } from '../http/caller.ts';
import { findUserAccess } from '../roles/access.queries.ts';
import { intersect, mayPassOn, permissionsOf } from '../roles/permissions.ts';
import { equalInConstantTime, hashToken, randomToken } from '../secrets.ts';
import {
  assertValid,
  isAnother,
  type RevokeGrantsOfClient,
  readMetadata,
  recordUpdate,
  replaceRow,
  scopesOf,
  type ValidateClient,
  withSecret,
} from './client-changes.ts';
import { type NewClient, type RegisteredClient, toRow, usesSecret, withDefaults } from './client-metadata.ts';
import { type Client, findClient, lockClient } from './clients.queries.ts';
import { assertSubjectClients } from './exchange-policy.ts';
import { findStanding } from './standing.queries.ts';

/** What whoever writes a client may do themselves. */
export interface Powers {
  kind: Caller['kind'] | 'operator';
  id: string;
  rank: number;
  permissions: readonly string[];
}
/** Of whoever works at the machine itself. */
export const operatorPowers: Powers = { kind: 'operator', id: '', rank: 100, permissions: ['*:*:*'] };

/** What somebody may do now: it may have become less since the request was let in. */
export interface PresentPowers extends Pick<Powers, 'rank' | 'permissions'> {
  /** The person who answers for what they register; null for the operator. */
  registrar: string | null;
}

const none: PresentPowers = { rank: -1, permissions: [], registrar: null };

/**
 * Pass a transaction, before it locks anything else: a person's row is locked in it. It is what a client's `created_by`
 * refers to, and whoever consents to the client takes the same rows in the same order.
 */
export const findPresentPowers = async (db: Db, { kind, id, rank, permissions }: Powers): Promise<PresentPowers> => {
  if (kind === 'operator') return { rank, permissions, registrar: null };
  if (kind === 'user') {
    await db('users').where({ id }).forKeyShare().first('id');
    const access = await findUserAccess(db, id);
    if (!access) return none;
    return {
      rank: Math.min(rank, access.rank),
      permissions: intersect(access.permissions, permissions),
      registrar: id,
    };
  }
  // A client's clients are those of whoever answers for it; somebody without an account here answers for none.
  const standing = kind === 'client' ? await findStanding(db, id) : undefined;
  if (!standing?.isBacked) return none;
  const { registrar } = standing;
  if (registrar) await db('users').where({ id: registrar }).forKeyShare().first('id');
  return {
    rank: Math.min(rank, standing.rank),
    permissions: intersect(standing.permissions, permissions),
    registrar,
  };
};

/** @throws AppError 403 scope_exceeds_yours */
export const assertHeld = ({ permissions }: Pick<Powers, 'permissions'>, scope: string | null | undefined): void => {
  const missing = permissionsOf(scopesOf(scope)).filter((name) => !mayPassOn(permissions, name));
  if (missing.length)
    throw forbidden('scope_exceeds_yours', `The scope has permissions that you do not hold: ${missing.join(' ')}`);
};

/** @throws AppError 403 rank_too_low for somebody who is nobody any more */
export const assertRegistrar = (present: PresentPowers): void => assertRank(present, 0);

/** 120 random bits, in characters that no form and no URL changes. */
export const newClientId = (): string => randomBytes(15).toString('base64url').replace(/[-_]/g, 'x');

/**
 * Registers a client.
 * @returns the metadata as registered, with `client_id` and, for methods that use one, `client_secret`: shown this once
 * @throws AppError 400 invalid_client_metadata or invalid_redirect_uri (RFC 7591 section 3.2.2), 403 scope_exceeds_yours
 *   or rank_too_low
 */
export const createClient = async (
  db: Db,
  actor: Actor,
  powers: Powers,
  input: unknown,
  validate: ValidateClient,
): Promise<RegisteredClient> => {
  const metadata = withDefaults(readMetadata(input));
  assertHeld(powers, metadata.scope);
  const secret = usesSecret(metadata) ? randomToken() : undefined;
  const clientId = newClientId();
  await assertValid(validate, clientId, metadata, secret);
  return db.transaction(async (db) => {
    const present = await findPresentPowers(db, powers);
    assertRegistrar(present);
    assertHeld(present, metadata.scope);
    await assertSubjectClients(db, present, metadata);
    await db('clients').insert({
      ...toRow(metadata),
      clientId,
      clientSecretHash: secret ? hashToken(secret) : null,
      rank: present.rank,
      createdBy: present.registrar,
    });
    await recordEvent(db, actor, { action: 'client.create', target: { type: 'client', id: clientId } });
    return withSecret((await findClient(db, clientId)) as Client, secret);
  });
};

/**
 * The client, locked, for somebody who is about to change it.
 * @throws AppError 404 client_not_found, 409 client_built_in, 403 rank_too_low or scope_exceeds_yours
 */
const takeClient = async (
  db: Db,
  powers: Powers,
  clientId: string,
): Promise<{ client: Client; present: PresentPowers }> => {
  const present = await findPresentPowers(db, powers);
  const client = await lockClient(db, clientId);
  if (!client) throw notFound('client');
  if (client.builtIn) throw conflict('client_built_in', 'This client follows the configuration of the service');
  assertRank(present, client.rank);
  assertHeld(present, client.scope);
  return { client, present };
};

/**
 * What a client says of itself beside its metadata (RFC 7592 section 2.2): it must be the client's own. `client_secret`
 * may be sent, but never to choose one.
 */
const assertIdentity = (client: Client, input: object): void => {
  const { client_id: id, client_secret: secret } = input as Record<string, unknown>;
  if (id !== undefined && id !== client.clientId)
    throw invalid('invalid_client_metadata', 'client_id: not the client of this address');
  if (secret !== undefined && !equalInConstantTime(hashToken(String(secret)), client.clientSecretHash ?? ''))
    throw invalid('invalid_client_metadata', 'client_secret: it is rotated, and cannot be chosen');
};

const sameScope = (left: string | null | undefined, right: string | null | undefined) =>
  scopesOf(left).sort().join(' ') === scopesOf(right).sort().join(' ');

const samePolicy = ({ tokenExchange }: Client, { token_exchange: policy }: NewClient) =>
  isDeepStrictEqual(tokenExchange ?? undefined, policy);

/**
 * Replaces a client's metadata as a whole: what is not named goes back to its default (RFC 7592 section 2.2). What people
 * agreed to ends where it would be for something else. Whoever changes the scope or what may be exchanged, or takes on a client
 * that is no longer backed, answers for it from then on.
 * @returns the metadata as it is now, with a secret if the client has begun to use one
 * @throws AppError as createClient and `takeClient` do
 */
export const updateClient = async (
  db: Db,
  actor: Actor,
  powers: Powers,
  clientId: string,
  input: object,
  { validate, revokeGrants }: { validate: ValidateClient; revokeGrants: RevokeGrantsOfClient },
): Promise<RegisteredClient> => {
  const metadata = withDefaults(readMetadata(input));
  // Not in the transaction: the engine may have to fetch what the client points at.
  await assertValid(validate, clientId, metadata, usesSecret(metadata) ? randomToken() : undefined);
  return transact(db, async (db) => {
    const { client: before, present } = await takeClient(db, powers, clientId);
    if (before.kind === 'metadata-document')
      throw conflict('client_describes_itself', 'This client is what the document at its id says');
    assertIdentity(before, input);
    assertHeld(present, metadata.scope);
    await assertSubjectClients(db, present, metadata);
    const exchangesOther = !samePolicy(before, metadata);
    const adopts =
      exchangesOther || !sameScope(before.scope, metadata.scope) || !(await findStanding(db, clientId))?.isBacked;
    const secret = await replaceRow(
      db,
      before,
      metadata,
      adopts ? { rank: present.rank, createdBy: present.registrar } : {},
    );
    const after = (await findClient(db, clientId)) as Client;
    const grantsEnded = isAnother(before, after);
    if (grantsEnded) await revokeGrants(db, { clientId });
    // What it got by the policy before this one.
    else if (exchangesOther) await revokeGrants(db, { clientId, exchanged: true });
    await recordUpdate(db, actor, before, after, grantsEnded);
    return withSecret(after, secret);
  });
};

/**
 * Gives a client a new secret at once. The one before it stays valid for `graceSeconds`; one before that ends now.
 * @throws AppError 409 client_without_secret, and as `takeClient` does
 */
export const rotateClientSecret = (
  db: Db,
  actor: Actor,
  powers: Powers,
  clientId: string,
  graceSeconds: number,
): Promise<RegisteredClient> =>
  db.transaction(async (db) => {
    const { client } = await takeClient(db, powers, clientId);
    if (client.clientSecretHash === null)
      throw conflict('client_without_secret', 'This client does not authenticate with a secret');
    const secret = randomToken();
    await db('clients')
      .where({ clientId })
      .update({
        clientSecretHash: hashToken(secret),
        previousSecretHash: graceSeconds ? client.clientSecretHash : null,
        previousSecretExpiresAt: graceSeconds ? new Date(Date.now() + graceSeconds * 1000) : null,
        updatedAt: db.fn.now(),
      });
    await recordEvent(db, actor, {
      action: 'client.rotate_secret',
      target: { type: 'client', id: clientId },
      meta: { graceSeconds },
    });
    return withSecret((await findClient(db, clientId)) as Client, secret);
  });

/**
 * Deletes a client. Its grants, tokens and consents end with it; JWTs that it got for itself are dead because it is gone.
 * One that is a metadata document would be read again at its next use, so it stays, and is blocked until `unblockClient`.
 * @throws AppError as `takeClient` does
 */
export const deleteClient = async (
  db: Db,
  actor: Actor,
  powers: Powers,
  clientId: string,
  revokeGrants: RevokeGrantsOfClient,
): Promise<void> => {
  await transact(db, (db) => takeClient(db, powers, clientId));
  await revokeGrants(db, { clientId });
  await transact(db, async (db) => {
    const { client } = await takeClient(db, powers, clientId);
    if (client.blockedAt) return;
    await revokeGrants(db, { clientId });
    const blocks = client.kind === 'metadata-document';
    // A page that asks for consent is of an older row now (`grantConsent`).
    if (blocks) await db('clients').where({ clientId }).update({ blockedAt: db.fn.now(), updatedAt: db.fn.now() });
    else await db('clients').where({ clientId }).delete();
    await recordEvent(db, actor, {
      action: blocks ? 'client.block' : 'client.delete',
      target: { type: 'client', id: clientId },
    });
  });
};

/**
 * Forgets a metadata document that was blocked: at its next use it is read like one that nobody has seen.
 * @throws AppError 409 client_not_blocked, and as `takeClient` does
 */
export const unblockClient = (
  db: Db,
  actor: Actor,
  powers: Powers,
  clientId: string,
  revokeGrants: RevokeGrantsOfClient,
): Promise<void> =>
  transact(db, async (db) => {
    const { client } = await takeClient(db, powers, clientId);
    if (!client.blockedAt) throw conflict('client_not_blocked', 'This client is not blocked');
    // What was under way while it was blocked.
    await revokeGrants(db, { clientId });
    await db('clients').where({ clientId }).delete();
    await recordEvent(db, actor, { action: 'client.unblock', target: { type: 'client', id: clientId } });
  });

/** The built-in clients' metadata follows the configuration, so it is written anew at each start. */
export const ensureClient = (db: Db, clientId: string, metadata: NewClient): Promise<void> =>
  db.transaction(async (db) => {
    const row = { ...toRow(withDefaults(metadata)), clientId, builtIn: true, rank: operatorPowers.rank };
    const [created] = await db('clients').insert(row).onConflict('clientId').ignore().returning('clientId');
    if (!created) await db('clients').where({ clientId }).update(row);
    else
      await recordEvent(db, system, {
        action: 'client.create',
        target: { type: 'client', id: clientId },
        meta: { builtIn: true },
      });
  });
