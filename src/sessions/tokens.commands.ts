/** Revokes tokens in an emergency: all of a person, of an application, or of one grant. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { revokeApiKeysOf } from '../api-keys/api-keys.commands.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { notFound } from '../errors.ts';
import { findAccount, lockUser } from '../users/users.queries.ts';
import { endSessionsAndGrants, type QueueLogout, type Revoked, revokeGrants } from './sessions.commands.ts';

/** Whose tokens. */
export type Revocation =
  | { kind: 'user'; userId: string }
  | { kind: 'client'; clientId: string }
  | { kind: 'grant'; grantId: string };

type Ended = Revoked & { sessions: number; apiKeys: number };

/** Sessions and API keys end as well, so that nothing gives new tokens without a sign-in. */
const ofUser = async (db: Db, actor: Actor, userId: string, queueLogout: QueueLogout): Promise<Ended> => {
  if (!(await findAccount(db, userId))) throw notFound('user');
  await lockUser(db, userId);
  const apiKeys = await revokeApiKeysOf(db, actor, userId, 'tokens_revoked');
  const ended = await endSessionsAndGrants(db, actor, { userId, reason: 'tokens_revoked' }, queueLogout);
  // Of grants that were gone already.
  const stray = await db('refreshTokens').delete().where({ userId });
  return { ...ended, apiKeys, refreshTokens: ended.refreshTokens + stray };
};

const ofClient = async (db: Db, clientId: string): Promise<Ended> => {
  // Tokens that it got for itself have no grant: JWTs carry the generation, and the opaque ones are here.
  const known = await db('clients').where({ clientId }).increment('tokenGeneration', 1);
  if (!known) throw notFound('client');
  const ended = await revokeGrants(db, { clientId });
  const machine = await db('oidcPayloads')
    .delete()
    .where({ model: 'ClientCredentials' })
    .whereRaw(`payload->>'clientId' = ?`, [clientId]);
  const stray = await db('refreshTokens').delete().where({ clientId });
  return {
    sessions: 0,
    apiKeys: 0,
    grants: ended.grants,
    refreshTokens: ended.refreshTokens + stray,
    opaqueTokens: ended.opaqueTokens + machine,
  };
};

const ofGrant = async (db: Db, grantId: string): Promise<Ended> => {
  const ended = { sessions: 0, apiKeys: 0, ...(await revokeGrants(db, [grantId])) };
  if (!ended.grants) throw notFound('grant');
  return ended;
};

const endTokens = (db: Db, actor: Actor, of: Revocation, queueLogout: QueueLogout): Promise<Ended> => {
  if (of.kind === 'user') return ofUser(db, actor, of.userId, queueLogout);
  return of.kind === 'client' ? ofClient(db, of.clientId) : ofGrant(db, of.grantId);
};

const targetOf = (of: Revocation) => {
  const { kind: type } = of;
  if (of.kind === 'user') return { type, id: of.userId.toLowerCase() };
  return { type, id: of.kind === 'client' ? of.clientId : of.grantId };
};

/**
 * Revokes tokens. Nobody's rank is asked: whoever is on call must be able to stop a stolen token of anybody, and taking
 * tokens away gives nobody anything. The audit log says who did.
 * @param reason a word or the number of a ticket
 * @throws AppError 404 user_not_found, client_not_found or grant_not_found
 */
export const revokeTokens = (
  db: Db,
  actor: Actor,
  of: Revocation,
  reason: string | undefined,
  queueLogout: QueueLogout,
): Promise<Ended> =>
  transact(db, async (db) => {
    const revoked = await endTokens(db, actor, of, queueLogout);
    const meta = { ...revoked, ...(reason ? { reason } : {}) };
    await recordEvent(db, actor, { action: 'token.revoke', target: targetOf(of), meta });
    return revoked;
  });
