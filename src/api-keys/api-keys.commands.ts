/** Creates and revokes API keys. A key is shown once and stored as its SHA-256. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { conflict, forbidden, notFound } from '../errors.ts';
import { mayPassOn } from '../roles/permissions.ts';
import { hashToken } from '../secrets.ts';
import { createKey, displayPrefix } from './api-key-format.ts';
import { type ApiKey, countLiveApiKeys, findApiKey } from './api-keys.queries.ts';

/** How many keys of one user may work at a time. */
const liveKeysMax = 50;

export interface NewApiKey {
  userId: string;
  name: string;
  scopes: readonly string[];
  /** Seconds from now. */
  expiresIn?: number | undefined;
}

/**
 * Gives a user an API key.
 * @param held what the creator may do with the token that they came with: the key gets no more
 * @returns the key, once, and what is kept of it
 * @throws AppError 403 scope_exceeds_yours, 409 api_key_limit_reached
 */
export const createApiKey = (
  db: Db,
  actor: Actor,
  held: readonly string[],
  { userId, name, scopes, expiresIn }: NewApiKey,
): Promise<ApiKey & { key: string }> =>
  db.transaction(async (db) => {
    const missing = scopes.filter((scope) => !mayPassOn(held, scope));
    if (missing.length)
      throw forbidden('scope_exceeds_yours', `You do not hold, or may not pass on: ${missing.join(' ')}`);
    // The lock makes creations at the same time count one another.
    const owner = await db('users').where({ id: userId, status: 'active' }).forUpdate().first('id');
    if (!owner) throw notFound('user');
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
    return { ...((await findApiKey(db, id)) as ApiKey), key };
  });

/** Drops the grants of the tokens that a key was exchanged for, and those tokens. */
export type RevokeGrantsOfKey = (db: Db, of: { apiKeyId: string }) => Promise<void>;

/**
 * Ends a key, and the tokens that it was exchanged for.
 * @returns false when it had been revoked before
 */
export const revokeApiKey = (db: Db, actor: Actor, id: string, revokeGrants: RevokeGrantsOfKey): Promise<boolean> =>
  db.transaction(async (db) => {
    // First: an exchange that is under way holds this row, and what follows sees what it saved.
    const revoked = await db('apiKeys').where({ id, revokedAt: null }).update({ revokedAt: db.fn.now() });
    if (!revoked) return false;
    await revokeGrants(db, { apiKeyId: id });
    await recordEvent(db, actor, { action: 'api_key.revoke', target: { type: 'api_key', id } });
    return true;
  });
