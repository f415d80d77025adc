/** Ends sessions, and with them the grants and tokens that they gave; consents to applications, and takes consent back. */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { hashToken } from '../secrets.ts';
import { findConsent, listSessions, type Session } from './sessions.queries.ts';

/** Queues a back-channel logout (OpenID Connect Back-Channel Logout 1.0) in the transaction that ends the session. */
export type QueueLogout = (db: Db, logout: { clientId: string; sub: string; sid: string }) => Promise<void>;

/** Drops grants and every token and code given under them. */
export const revokeGrants = async (db: Db, grantIds: readonly string[]): Promise<void> => {
  if (!grantIds.length) return;
  await db('refreshTokens')
    .delete()
    .whereIn('grantId', [...grantIds]);
  await db('oidcPayloads')
    .delete()
    .whereIn('grantId', [...grantIds]);
  await db('grants')
    .delete()
    .whereIn('id', [...grantIds]);
};

/**
 * Drops all grants of an application, or of an API key, and what was given under them, however many they are; of an
 * application that is about to be deleted the consents too. Consents first, as whoever makes a Grant of one takes them.
 */
export const revokeGrantsOf = async (db: Db, of: { clientId: string } | { apiKeyId: string }): Promise<void> => {
  const ids = () => db('grants').where(of).select('id');
  if ('clientId' in of) await db('consents').delete().where(of);
  await db('refreshTokens').delete().whereIn('grantId', ids());
  await db('oidcPayloads').delete().whereIn('grantId', ids());
  await db('grants').delete().where(of);
};

/**
 * Ends a user's sessions: the one with `uid`, or all but `except`, or all. Unlike a sign-out at an application, which
 * keeps grants with `offline_access` (Back-Channel Logout 1.0 section 2.7), this revokes every grant of the session.
 * @returns how many sessions ended
 */
export const endSessions = (
  db: Db,
  actor: Actor,
  { userId, uid, except, reason }: { userId: string; uid?: string; except?: string; reason: string },
  queueLogout: QueueLogout,
): Promise<number> =>
  db.transaction(async (db) => {
    const sessions = (await listSessions(db, userId)).filter(
      (session) => (uid === undefined || session.uid === uid) && session.uid !== except,
    );
    const uids = sessions.map((session) => session.uid);
    // Sessions first: the deletion waits for requests that are adding a Grant to one, and what follows sees it.
    await db('sessions').delete().where({ userId }).whereIn('uid', uids);
    const grants = await grantsToEnd(db, userId, uid, except);
    if (!sessions.length && !grants.length) return 0;
    await revokeGrants(db, grants);
    for (const session of sessions) await queueLogouts(db, userId, session, queueLogout);
    await recordEvent(db, actor, {
      action: 'session.end',
      target: { type: 'user', id: userId },
      meta: { sessions: uids, reason },
    });
    return sessions.length;
  });

/** Ends the session that a client's refresh token is of, whether the token could still be used or not. */
export const endSessionOfRefreshToken = async (
  db: Db,
  actor: Actor,
  { clientId, refreshToken }: { clientId: string; refreshToken: string },
  queueLogout: QueueLogout,
): Promise<void> => {
  const token = await db('refreshTokens')
    .join('grants', 'grants.id', 'refreshTokens.grantId')
    .where({ 'refreshTokens.tokenHash': hashToken(refreshToken), 'refreshTokens.clientId': clientId })
    .first('grants.userId', 'grants.sessionUid');
  if (!token?.sessionUid) return;
  const { userId, sessionUid: uid } = token;
  await endSessions(db, { ...actor, type: 'user', id: userId }, { userId, uid, reason: 'sign_out' }, queueLogout);
};

/**
 * Grants outlive their sessions: by expiry, and with `offline_access` by sign-out. Whoever ends all sessions, or all
 * others, means those too.
 */
const grantsToEnd = async (
  db: Db,
  userId: string,
  uid: string | undefined,
  except: string | undefined,
): Promise<string[]> => {
  const grants: { id: string; sessionUid: string | null }[] = await db('grants')
    .where({ userId })
    .select('id', 'sessionUid');
  return grants
    .filter(({ sessionUid }) =>
      uid === undefined ? except === undefined || sessionUid !== except : sessionUid === uid,
    )
    .map(({ id }) => id);
};

const queueLogouts = async (
  db: Db,
  sub: string,
  { authorizations }: Session,
  queueLogout: QueueLogout,
): Promise<void> => {
  const clients = await db('clients')
    .whereIn('clientId', Object.keys(authorizations))
    .whereNotNull('backchannelLogoutUri')
    .select('clientId');
  for (const { clientId } of clients) {
    const sid = authorizations[clientId]?.sid;
    if (sid) await queueLogout(db, { clientId, sub, sid });
  }
};

export interface Agreement {
  scopes: readonly string[];
  claims: readonly string[];
  resources: Readonly<Record<string, readonly string[]>>;
}

const union = (left: readonly string[] = [], right: readonly string[] = []) => [...new Set([...left, ...right])];

/** Remembers what a person agreed to, on top of what they agreed to before. */
export const grantConsent = (
  db: Db,
  actor: Actor,
  userId: string,
  clientId: string,
  agreement: Agreement,
): Promise<void> =>
  db.transaction(async (db) => {
    // The lock makes two consents at once add up instead of one overwriting the other.
    await db('users').where({ id: userId }).forUpdate().first('id');
    const before = await findConsent(db, userId, clientId);
    const resources = { ...before?.resources };
    for (const [indicator, scopes] of Object.entries(agreement.resources))
      resources[indicator] = union(resources[indicator], scopes);
    await db('consents')
      .insert({
        userId,
        clientId,
        scopes: union(before?.scopes, agreement.scopes),
        claims: union(before?.claims, agreement.claims),
        resources: JSON.stringify(resources),
      })
      .onConflict(['userId', 'clientId'])
      .merge({
        scopes: db.raw('excluded.scopes'),
        claims: db.raw('excluded.claims'),
        resources: db.raw('excluded.resources'),
        updatedAt: db.fn.now(),
      });
    await recordEvent(db, actor, {
      action: 'consent.grant',
      target: { type: 'client', id: clientId },
      meta: { scopes: agreement.scopes, claims: agreement.claims, resources: agreement.resources },
    });
  });

/** Takes consent back: the application's grants and tokens for this person end, and it must ask again. */
export const withdrawConsent = (db: Db, actor: Actor, userId: string, clientId: string): Promise<boolean> =>
  db.transaction(async (db) => {
    const deleted = await db('consents').delete().where({ userId, clientId });
    const grants: string[] = await db('grants').where({ userId, clientId }).pluck('id');
    // The operator's own applications have grants without a consent.
    if (!deleted && !grants.length) return false;
    await revokeGrants(db, grants);
    await recordEvent(db, actor, { action: 'consent.withdraw', target: { type: 'client', id: clientId } });
    return true;
  });
