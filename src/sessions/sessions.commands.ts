/** Ends sessions, and with them the grants and tokens that they gave; consents to applications, and takes consent back. */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { AppError } from '../errors.ts';
import { hashToken } from '../secrets.ts';
import { lockUser } from '../users/users.queries.ts';
import { findConsent, listSessions, type Session } from './sessions.queries.ts';

/** Queues a back-channel logout (OpenID Connect Back-Channel Logout 1.0) in the transaction that ends the session. */
export type QueueLogout = (
  db: Db,
  /** `vouchedFor`: whether anybody answers for the client. */
  logout: { clientId: string; sub: string; sid: string; vouchedFor: boolean },
) => Promise<void>;

/** Which grants: those with these ids, or all of somebody or something. */
export type GrantsOf =
  | readonly string[]
  | { userId: string }
  | { clientId: string; exchanged?: true }
  | { apiKeyId: string };

const isList = (of: GrantsOf): of is readonly string[] => Array.isArray(of);

/** What ended. JWT access tokens are stored nowhere, so nobody can count them: they are dead with their grant. */
export interface Revoked {
  grants: number;
  refreshTokens: number;
  /** Codes and opaque access tokens, used ones included. */
  opaqueTokens: number;
}

/** So many end soon enough, whoever else is at work. */
const fewGrants = 1000;

/** The ids of grants, of those that came of them by token exchange, of those that came of these, and so on. */
const family = (db: Db, of: GrantsOf) =>
  db
    .withRecursive('family', ['id'], (named) => {
      named.from('grants').select('id');
      if (isList(of)) named.whereRaw('id = any(?)', [[...of]]);
      else if ('exchanged' in of) named.where({ clientId: of.clientId }).whereNotNull('sourceGrantId');
      else named.where(of);
      named.union((exchanged) =>
        exchanged.from('grants').join('family', 'family.id', 'grants.sourceGrantId').select('grants.id'),
      );
    })
    .from('family')
    .select('id');

/**
 * Drops grants and every token and code given under them, in four statements however many there are: a list is one value, since
 * of those a statement takes 65,535, and whoever has stolen an account could see to it that there are more. This is the one place
 * that does, and the one order: the grants are taken first, by their ids, so that of two who end the same ones the second
 * waits and no two wait for each other. The lock lets tokens be saved that only refer to a grant.
 */
export const revokeGrants = async (db: Db, of: GrantsOf): Promise<Revoked> => {
  if (isList(of) && !of.length) return { grants: 0, refreshTokens: 0, opaqueTokens: 0 };
  // An application may have given millions; to end them is worth the time.
  if (!isList(of) || of.length > fewGrants) await db.raw('set local statement_timeout = 0');
  const grants = () => db('grants').whereIn('id', family(db, of));
  const ids = () => grants().select('id');
  await db.with('taken', ids().orderBy('id').forNoKeyUpdate()).from('taken').count();
  const refreshTokens = await db('refreshTokens').delete().whereIn('grantId', ids());
  const opaqueTokens = await db('oidcPayloads').delete().whereIn('grantId', ids());
  return { refreshTokens, opaqueTokens, grants: await grants().delete() };
};

/** Until little is left of an application, some at a time. Its consents go with the grants of whoever gave them. */
const revokeMost = async (db: Db, clientId: string): Promise<void> => {
  for (;;) {
    const ids: string[] = await db('grants').where({ clientId }).limit(fewGrants).pluck('id');
    if (ids.length < fewGrants) return;
    await transact(db, async (db) => {
      const userIds = db('grants').whereRaw('id = any(?)', [ids]).select('userId');
      await db('consents').delete().where({ clientId }).whereIn('userId', userIds);
      await revokeGrants(db, ids);
    });
  }
};

/**
 * Drops all grants of an application, or of an API key, and what was given under them, however many they are; of an
 * application the consents too: it is about to be deleted, or is not what people agreed to any more. Consents first, as
 * whoever makes a Grant of one takes them.
 *
 * Pass a transaction, in which the application is held: nobody can sign in there until it ends. To be short, it is preceded by the same
 * without one, which ends most of what an application has.
 */
export const revokeGrantsOf = async (
  db: Db,
  of: { clientId: string; exchanged?: true } | { apiKeyId: string },
): Promise<void> => {
  if ('clientId' in of && !db.isTransaction) return revokeMost(db, of.clientId);
  if ('clientId' in of && !of.exchanged) await db('consents').delete().where(of);
  await revokeGrants(db, of);
};

/** Which sessions: the one with `uid`, or all but `except`, or all. */
export interface SessionsOf {
  userId: string;
  uid?: string;
  except?: string;
  /** A word for the audit log. */
  reason: string;
}

/**
 * Ends a user's sessions. Unlike a sign-out at an application, which keeps grants with `offline_access` (Back-Channel
 * Logout 1.0 section 2.7), this revokes every grant of the session.
 * @returns how many sessions ended
 */
export const endSessions = (db: Db, actor: Actor, of: SessionsOf, queueLogout: QueueLogout): Promise<number> =>
  transact(db, async (db) => (await endSessionsAndGrants(db, actor, of, queueLogout)).sessions);

/** `endSessions` as it is passed on, with its queue. */
export type EndSession = (db: Db, actor: Actor, of: SessionsOf) => Promise<number>;

/** The same, and says what else ended. Pass a transaction. */
export const endSessionsAndGrants = async (
  db: Db,
  actor: Actor,
  { userId, uid, except, reason }: SessionsOf,
  queueLogout: QueueLogout,
): Promise<Revoked & { sessions: number }> => {
  // Whoever ends what a person has begins here, so that two of them take everything else one after the other.
  await lockUser(db, userId);
  const sessions = (await listSessions(db, userId)).filter(
    (session) => (uid === undefined || session.uid === uid) && session.uid !== except,
  );
  const uids = sessions.map((session) => session.uid);
  // Sessions first: the deletion waits for requests that are adding a Grant to one, and what follows sees it.
  await db('sessions').delete().where({ userId }).whereRaw('uid = any(?)', [uids]);
  // Neither does a sign-in that is finished, and held back until this is over, become one (see `bindSignIn`).
  if (uid === undefined)
    await db('signIns').where({ userId, sessionUid: null, voidedAt: null }).update({ voidedAt: db.fn.now() });
  const revoked = await revokeGrants(db, await grantsToEnd(db, userId, uid, except));
  if (!sessions.length && !revoked.grants) return { ...revoked, sessions: 0 };
  await queueLogouts(db, userId, sessions, queueLogout);
  await recordEvent(db, actor, {
    action: 'session.end',
    target: { type: 'user', id: userId },
    meta: { sessions: uids, reason },
  });
  return { ...revoked, sessions: sessions.length };
};

/**
 * Ends the oldest sessions of somebody who has begun one too many. Pass the transaction that begins it, in which the person
 * is locked: of two that begin at once the second sees the first.
 * @param limit how many may stay
 */
export const endExcessSessions = async (
  db: Db,
  actor: Actor,
  { userId, begun, limit }: { userId: string; begun: string; limit: number },
  queueLogout: QueueLogout,
): Promise<void> => {
  const excess: string[] = await db('sessions')
    .where({ userId })
    .whereNot({ uid: begun })
    .where('expiresAt', '>', db.fn.now())
    .orderBy([
      { column: 'startedAt', order: 'desc' },
      { column: 'uid', order: 'desc' },
    ])
    .offset(limit - 1)
    .pluck('uid');
  for (const uid of excess) await endSessionsAndGrants(db, actor, { userId, uid, reason: 'too_many' }, queueLogout);
};

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
  sessions: readonly Session[],
  queueLogout: QueueLogout,
): Promise<void> => {
  const clientIds = [...new Set(sessions.flatMap(({ authorizations }) => Object.keys(authorizations)))];
  const clients = await db('clients')
    .whereRaw('client_id = any(?)', [clientIds])
    .whereNotNull('backchannelLogoutUri')
    .select('clientId', 'vouchedFor');
  for (const { authorizations } of sessions)
    for (const { clientId, vouchedFor } of clients) {
      const sid = authorizations[clientId]?.sid;
      if (sid) await queueLogout(db, { clientId, sub, sid, vouchedFor });
    }
};

export interface Agreement {
  scopes: readonly string[];
  claims: readonly string[];
  resources: Readonly<Record<string, readonly string[]>>;
}

const union = (left: readonly string[] = [], right: readonly string[] = []) => [...new Set([...left, ...right])];

/** Of how many other APIs a consent is kept: all are read at each authorization. For the rest one is asked again. */
const resourcesKept = 40;

/**
 * Remembers what a person agreed to, on top of what they agreed to before.
 * @param shownAt when they were asked, in seconds since 1970
 * @throws AppError 400 session_not_found for a client that has changed since then
 */
export const grantConsent = (
  db: Db,
  actor: Actor,
  userId: string,
  clientId: string,
  agreement: Agreement,
  shownAt: number,
): Promise<void> =>
  db.transaction(async (db) => {
    // The lock makes two consents at once add up instead of one overwriting the other.
    await lockUser(db, userId);
    // A change of the client ends the consents to it; one that comes while it is made waits, and is for another client.
    const client = await db('clients').where({ clientId }).forShare().first('updatedAt');
    if (client && Math.floor(client.updatedAt.getTime() / 1000) > shownAt)
      throw new AppError(400, 'session_not_found', 'the client has changed since the person was asked');
    const before = await findConsent(db, userId, clientId);
    const earlier = Object.entries(before?.resources ?? {}).filter(
      ([indicator]) => !(indicator in agreement.resources),
    );
    const resources = Object.fromEntries([
      ...Object.entries(agreement.resources).map(([indicator, scopes]) => [
        indicator,
        union(before?.resources[indicator], scopes),
      ]),
      ...earlier.slice(0, resourcesKept),
    ]);
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
  transact(db, async (db) => {
    await lockUser(db, userId);
    const deleted = await db('consents').delete().where({ userId, clientId });
    const grants: string[] = await db('grants').where({ userId, clientId }).pluck('id');
    // The operator's own applications have grants without a consent.
    if (!deleted && !grants.length) return false;
    await revokeGrants(db, grants);
    await recordEvent(db, actor, { action: 'consent.withdraw', target: { type: 'client', id: clientId } });
    return true;
  });
