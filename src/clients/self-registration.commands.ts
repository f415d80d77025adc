/**
 * Clients that register, change and delete themselves (RFC 7591, RFC 7592), and the end of those that nobody uses. They rank
 * lowest, and answer to whoever made the initial access token that they came with, or to nobody.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { foreignError, invalid, unauthenticated } from '../errors.ts';
import { findUserAccess } from '../roles/access.queries.ts';
import { mayPassOn, permissionsOf } from '../roles/permissions.ts';
import { equalInConstantTime, hashToken, randomToken } from '../secrets.ts';
import {
  assertValid,
  isAnother,
  type RevokeGrantsOfClient,
  recordUpdate,
  replaceRow,
  type ValidateClient,
  withSecret,
} from './client-changes.ts';
import { type RegisteredClient, toRow, usesSecret } from './client-metadata.ts';
import { newClientId } from './clients.commands.ts';
import { type Client, findClient, lockClient } from './clients.queries.ts';
import { anybody, refusedStatement, selfMetadata } from './self-registration.ts';
import { findInitialToken, findPolicy, type InitialAccessToken } from './software-policies.queries.ts';

export interface SelfRegistered extends RegisteredClient {
  /** Shown this once; the client keeps it to manage its registration with. */
  registration_access_token: string;
}

export interface SelfRegistrationDeps {
  validate: ValidateClient;
  /** The scopes of resource servers that are open to every client. */
  listOpenScopes(db: Db): Promise<string[]>;
}

const badToken = () => unauthenticated('invalid_token', 'The token is not valid, has expired or was used up');

/** @throws AppError 400 with a code of RFC 7591 section 3.2.2 */
const assertNoStatement = (input: Record<string, unknown>): void => {
  const code = refusedStatement(input);
  if (code) throw foreignError(400, code, 'software_statement: no issuer of statements is trusted here');
};

const findRules = async (db: Db, softwarePolicy: string | null) =>
  (softwarePolicy === null ? undefined : await findPolicy(db, softwarePolicy)) ?? anybody;

const exceeds = (held: readonly string[], scope = ''): boolean =>
  permissionsOf(scope.split(' ')).some((name) => !mayPassOn(held, name));

/**
 * Whether whoever let a client register holds what it names today; the operator does. Pass a transaction, before it locks the
 * client: a person's row is locked in it.
 */
const isVouchedFor = async (db: Db, registrar: string | null, scope: string | undefined): Promise<boolean> => {
  if (!registrar) return true;
  await db('users').where({ id: registrar }).forKeyShare().first('id');
  const access = await findUserAccess(db, registrar);
  return access !== undefined && !exceeds(access.permissions, scope);
};

/**
 * Takes one use of the token. Of many clients at the same time no more get through than it has uses.
 * @throws AppError 401 invalid_token, also for one whose maker is no longer active
 */
const useToken = async (db: Db, { id, createdBy }: InitialAccessToken, scope: string | undefined): Promise<void> => {
  if (!(await isVouchedFor(db, createdBy, scope))) throw badToken();
  const used = await db('initialAccessTokens')
    .where({ id })
    .where('expiresAt', '>', db.fn.now())
    .where((left) => left.whereNull('usesLeft').orWhere('usesLeft', '>', 0))
    .update({ usesLeft: db.raw('uses_left - 1') });
  if (!used) throw badToken();
};

/**
 * @param token the initial access token that came with the request
 * @throws AppError 401 invalid_token, 400 with a code of RFC 7591 section 3.2.2, 403 scope_exceeds_yours
 */
export const registerClient = async (
  db: Db,
  actor: Actor,
  { token, input }: { token: string | undefined; input: Record<string, unknown> },
  { validate, listOpenScopes }: SelfRegistrationDeps,
): Promise<SelfRegistered> => {
  const initial = token === undefined ? undefined : await findInitialToken(db, { tokenHash: hashToken(token) });
  if (token !== undefined && (!initial || initial.usesLeft === 0)) throw badToken();
  assertNoStatement(input);
  const metadata = selfMetadata(input, await findRules(db, initial?.softwarePolicy ?? null), {
    openScopes: await listOpenScopes(db),
  });
  const secret = usesSecret(metadata) ? randomToken() : undefined;
  const clientId = newClientId();
  const registrationToken = randomToken();
  // Not in the transaction: the engine may have to fetch what the client points at.
  await assertValid(validate, clientId, metadata, secret);
  return db.transaction(async (db) => {
    if (initial) await useToken(db, initial, metadata.scope);
    await db('clients').insert({
      ...toRow(metadata),
      clientId,
      kind: 'dynamic',
      clientSecretHash: secret ? hashToken(secret) : null,
      registrationTokenHash: hashToken(registrationToken),
      softwarePolicy: initial?.softwarePolicy ?? null,
      createdBy: initial?.createdBy ?? null,
      vouchedFor: initial !== undefined,
      rank: db('roles').min('rank'),
    });
    await recordEvent(db, actor, {
      action: 'client.register',
      target: { type: 'client', id: clientId },
      meta: initial
        ? {
            initialAccessToken: initial.id,
            ...(initial.softwarePolicy ? { softwarePolicy: initial.softwarePolicy } : {}),
          }
        : {},
    });
    return {
      ...withSecret((await findClient(db, clientId)) as Client, secret),
      registration_access_token: registrationToken,
    };
  });
};

const holdsToken = (client: Client | undefined, token: string): client is Client =>
  equalInConstantTime(hashToken(token), client?.registrationTokenHash ?? hashToken('')) &&
  Boolean(client?.registrationTokenHash);

/**
 * The client that manages itself with this token. Who has none is told the same as who has a wrong one (RFC 7592 section 2).
 * @throws AppError 401 invalid_token
 */
export const findSelf = async (db: Db, clientId: string, token: string): Promise<Client> => {
  const client = await findClient(db, clientId);
  if (!holdsToken(client, token)) throw badToken();
  return client;
};

/** The same, locked: it may have gone, or been given to somebody else, since it was looked up. */
const takeSelf = async (db: Db, clientId: string, token: string): Promise<Client> => {
  const client = await lockClient(db, clientId);
  if (!holdsToken(client, token)) throw badToken();
  return client;
};

/** RFC 7592 section 2.2: members that only the server says, and the client's own id and secret, of which none can be chosen. */
const assertOwn = (client: Client, input: Record<string, unknown>): void => {
  for (const name of [
    'registration_access_token',
    'registration_client_uri',
    'client_secret_expires_at',
    'client_id_issued_at',
  ])
    if (input[name] !== undefined) throw invalid('invalid_request', `the request must not include ${name}`);
  if (input.client_id !== client.clientId) throw invalid('invalid_request', 'client_id must be the client’s own');
  const { client_secret: secret } = input;
  if (secret !== undefined && !equalInConstantTime(hashToken(String(secret)), client.clientSecretHash ?? ''))
    throw invalid('invalid_request', 'client_secret must be the present one: it cannot be chosen');
};

/**
 * Replaces a client's own metadata (RFC 7592 section 2.2), within what its policy allows today.
 * @throws AppError 401 invalid_token, 400 invalid_request or with a code of RFC 7591 section 3.2.2
 */
export const replaceSelf = async (
  db: Db,
  actor: Actor,
  { clientId, token, input }: { clientId: string; token: string; input: Record<string, unknown> },
  { validate, revokeGrants, listOpenScopes }: SelfRegistrationDeps & { revokeGrants: RevokeGrantsOfClient },
): Promise<RegisteredClient> => {
  const client = await findSelf(db, clientId, token);
  assertOwn(client, input);
  assertNoStatement(input);
  const metadata = selfMetadata(input, await findRules(db, client.softwarePolicy), {
    openScopes: await listOpenScopes(db),
  });
  await assertValid(validate, clientId, metadata, usesSecret(metadata) ? randomToken() : undefined);
  return transact(db, async (db) => {
    // A policy may have been given more since the client came, and its registrar less.
    if (!(await isVouchedFor(db, client.createdBy, metadata.scope)))
      throw invalid('invalid_client_metadata', 'scope: whoever let the client register does not hold it any more');
    const before = await takeSelf(db, clientId, token);
    const secret = await replaceRow(db, before, metadata);
    const after = (await findClient(db, clientId)) as Client;
    const grantsEnded = isAnother(before, after);
    if (grantsEnded) await revokeGrants(db, { clientId });
    await recordUpdate(db, actor, before, after, grantsEnded);
    return withSecret(after, secret);
  });
};

/** @throws AppError 401 invalid_token */
export const deleteSelf = async (
  db: Db,
  actor: Actor,
  { clientId, token }: { clientId: string; token: string },
  revokeGrants: RevokeGrantsOfClient,
): Promise<void> => {
  await findSelf(db, clientId, token);
  await revokeGrants(db, { clientId });
  await transact(db, async (db) => {
    await takeSelf(db, clientId, token);
    await revokeGrants(db, { clientId });
    await db('clients').where({ clientId }).delete();
    await recordEvent(db, actor, { action: 'client.delete', target: { type: 'client', id: clientId } });
  });
};

/** Remembers to the day that a client was given tokens; of interest only where nobody registered it. */
export const touchClient = async (db: Db, clientId: string): Promise<void> => {
  await db('clients')
    .where({ clientId })
    .where((row) => row.whereNull('lastUsedAt').orWhere('lastUsedAt', '<', db.raw(`now() - interval '1 day'`)))
    .update({ lastUsedAt: db.fn.now() });
};

/**
 * Clients that nobody registered and nobody uses: never since they came, in 30 days or, as a document can be read again, in
 * one; or not for a year, or 90 days. A refresh token, or a grant, is use. A client that is blocked stays, so that it stays blocked.
 */
const unused = `kind <> 'registered' and blocked_at is null
  and case when last_used_at is null
    then created_at < now() - case kind when 'dynamic' then interval '30 days' else interval '1 day' end
    else last_used_at < now() - case kind when 'dynamic' then interval '365 days' else interval '90 days' end end
  and not exists (select from grants where grants.client_id = clients.client_id and grants.expires_at > now())
  and not exists (select from refresh_tokens where refresh_tokens.client_id = clients.client_id and refresh_tokens.expires_at > now())`;

const batch = 200;

/** Deletes them, a batch at a time, each with its event. @returns how many went */
export const expireClients = async (db: Db): Promise<number> => {
  let total = 0;
  for (;;) {
    const count = await db.transaction(async (db) => {
      const { rows } = (await db.raw(
        `delete from clients where client_id in (select client_id from clients where ${unused} limit ${batch} for update skip locked)
         returning client_id as id`,
      )) as { rows: { id: string }[] };
      for (const { id } of rows)
        await recordEvent(db, system, { action: 'client.expire', target: { type: 'client', id } });
      return rows.length;
    });
    total += count;
    if (count < batch) return total;
  }
};
