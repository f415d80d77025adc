/** Creates and revokes API keys. A key is shown once and stored as its SHA-256. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, recordEvents } from '../audit/logs.commands.ts';
import { conflict, forbidden, notFound, unauthenticated } from '../errors.ts';
import { mayPassOn } from '../roles/permissions.ts';
import { hashToken } from '../secrets.ts';
import { lockUser } from '../users/users.queries.ts';
import { createKey, displayPrefix } from './api-key-format.ts';
import { type ApiKey, countLiveApiKeys, findApiKey } from './api-keys.queries.ts';

/** How many keys of one user may work at a time. */
const liveKeysMax = 50;

export interface CreationDeps {
  db: Db;
  /** Whether a user's session is there; in a transaction it stays until that ends. */
  isSessionLive(db: Db, userId: string, sessionUid: string): Promise<boolean>;
  /** Mails the owner that a key was made, of which `prefix` is the beginning. */
  tellOwner(db: Db, actor: Actor, key: { userId: string; prefix: string }): Promise<void>;
}

export interface NewApiKey {
  userId: string;
  /** The session that the owner asks in: a key outlives it, so it must not have ended by the time that the key is made. */
  sessionUid: string;
  name: string;
  scopes: readonly string[];
  /** Seconds from now. */
  expiresIn?: number | undefined;
}

/**
 * Gives a user an API key, and tells them by mail.
 * @param held what the creator may do with the token that they came with, everywhere or in some organization: the key gets no
 *   more, and wherever it is used it does what its owner may do there
 * @returns the key, once, and what is kept of it
 * @throws AppError 401 invalid_token when the session has ended, 403 scope_exceeds_yours, 409 api_key_limit_reached
 */
export const createApiKey = (
  { db, isSessionLive, tellOwner }: CreationDeps,
  actor: Actor,
  held: readonly string[],
  { userId, sessionUid, name, scopes, expiresIn }: NewApiKey,
): Promise<ApiKey & { key: string }> =>
  db.transaction(async (db) => {
    const missing = scopes.filter((scope) => !mayPassOn(held, scope));
    if (missing.length)
      throw forbidden('scope_exceeds_yours', `You do not hold, or may not pass on: ${missing.join(' ')}`);
    // The lock makes creations at the same time count one another, and has a reset of the password come before or after:
    // then its revocation finds this key, or the session is found to have ended.
    if ((await lockUser(db, userId)) !== 'active') throw notFound('user');
    if (!(await isSessionLive(db, userId, sessionUid))) throw unauthenticated('invalid_token', 'The session has ended');
    if ((await countLiveApiKeys(db, userId)) >= liveKeysMax)
      throw conflict('api_key_limit_reached', `There are ${liveKeysMax} keys already; revoke one first`);
    const key = createKey();
    const id = uuid();
    const expiresAt = expiresIn === undefined ? null : new Date(Date.now() + expiresIn * 1000);
    await db('apiKeys').insert({
      id,
      userId,
      name,
      scopes: [...new Set(scopes)],
      prefix: displayPrefix(key),
      keyHash: hashToken(key),
      expiresAt,
    });
    await recordEvent(db, actor, {
      action: 'api_key.create',
      target: { type: 'api_key', id },
      meta: { userId, scopes: [...new Set(scopes)], expiresAt },
    });
    await tellOwner(db, actor, { userId, prefix: displayPrefix(key) });
    return { ...((await findApiKey(db, id)) as ApiKey), key };
  });

/** Drops the grants of the tokens that a key was exchanged for, and those tokens. */
export type RevokeGrantsOfKey = (db: Db, of: { apiKeyId: string }) => Promise<void>;

/**
 * Ends a key, and the tokens that it was exchanged for.
 * @returns false when it had been revoked before
 */
export const revokeApiKey = (db: Db, actor: Actor, id: string, revokeGrants: RevokeGrantsOfKey): Promise<boolean> =>
  transact(db, async (db) => {
    // First: an exchange that is under way holds this row, and what follows sees what it saved.
    const revoked = await db('apiKeys').where({ id, revokedAt: null }).update({ revokedAt: db.fn.now() });
    if (!revoked) return false;
    await revokeGrants(db, { apiKeyId: id });
    await recordEvent(db, actor, { action: 'api_key.revoke', target: { type: 'api_key', id } });
    return true;
  });

/**
 * Ends all keys of a user. The tokens that they were exchanged for end with the user's sessions and grants, which whoever
 * calls this ends afterwards: an exchange that is under way holds its key's row, and what follows sees what it saved.
 * @returns how many there were
 */
export const revokeApiKeysOf = (db: Db, actor: Actor, userId: string, reason: string): Promise<number> =>
  db.transaction(async (db) => {
    const revoked: { id: string }[] = await db('apiKeys')
      .where({ userId, revokedAt: null })
      .update({ revokedAt: db.fn.now() })
      .returning('id');
    const events = revoked.map(({ id }) => ({
      action: 'api_key.revoke' as const,
      target: { type: 'api_key', id },
      meta: { reason },
    }));
    await recordEvents(db, actor, events);
    return revoked.length;
  });
