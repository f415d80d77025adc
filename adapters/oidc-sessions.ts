/**
 * Sign-in sessions, with what the account page shows of a device. The engine saves every session that it has read, at
 * the end of the request: one that was ended meanwhile must stay ended, so a session that was read is only ever updated.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type Koa from 'koa';
import { type Adapter, type AdapterPayload, errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { type Actor, system } from '../src/audit/logs.commands.ts';
import { bindSignIn } from '../src/auth/sign-ins.commands.ts';
import { hashToken } from '../src/secrets.ts';
import { type BoundDevice, isSameBrowser } from '../src/sessions/device-binding.ts';
import { endExcessSessions, endSessions } from '../src/sessions/sessions.commands.ts';
import { lockUser } from '../src/users/users.queries.ts';
import { beginsSession, saveBegun } from './begun-sessions.ts';
import {
  assertFreshSignIn,
  directSignIn,
  freshLogin,
  type OidcStorage,
  requestState,
  type SessionRules,
  unused,
} from './oidc-storage.ts';
import { cameWithToken, forgetRead, touchSeconds } from './token-reads.ts';

/** Notes that a session is used. Pass no transaction: whatever else it holds would be locked in another order. */
export const touchSession = async (db: Db, uid: string): Promise<void> => {
  await db('sessions')
    .where({ uid })
    .whereRaw('last_seen_at < now() - make_interval(secs => ?)', [touchSeconds])
    .update({ lastSeenAt: db.fn.now() });
};

export const createSessionAdapter = ({ db, sessions: rules }: Pick<OidcStorage, 'db' | 'sessions'>): Adapter => ({
  ...unused('Session'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
    forgetRead();
    const { ctx } = Provider;
    const direct = directSignIn();
    const state = requestState();
    const row = {
      idHash: hashToken(id),
      uid: payload.uid,
      userId: payload.accountId ?? null,
      payload: JSON.stringify(payload),
      lastSeenAt: db.fn.now(),
      expiresAt: new Date(Date.now() + expiresIn * 1000),
      // A session begins with its sign-in.
      ...(payload.loginTs ? { startedAt: new Date(payload.loginTs * 1000) } : {}),
      ...(direct
        ? { userAgent: direct.userAgent, address: direct.address }
        : ctx
          ? { userAgent: ctx.get('user-agent').slice(0, 500), address: ctx.ip }
          : {}),
    };
    const { begun } = state;
    delete state.begun;
    if (payload.accountId && beginsSession(rules)) {
      const { uid = '', accountId: userId } = payload;
      if (await saveBegun(db, { ...row, uid, userId, ...shownDevice(userId, rules) }, begun)) {
        state.sessionFrom = row.idHash;
        return;
      }
    }
    await begun?.saveGrant();
    await db.transaction(async (db) => {
      const { accountId: userId, uid = '' } = payload;
      const fresh = freshLogin().credential !== undefined;
      const limit = fresh ? (rules?.perUser ?? 0) : 0;
      // The person first and alone: two sign-ins that share them could not both go on to end what is too much.
      if (userId && limit) await lockUser(db, userId);
      if (userId) await assertFreshSignIn(db, userId);
      const begun = userId && fresh ? { ...row, ...(await beginning(db, userId, uid, rules)) } : row;
      // A new identifier moves the row in this one statement.
      if (!state.sessionFrom) await db('sessions').insert(begun).onConflict('idHash').merge();
      else if (!(await db('sessions').where({ idHash: state.sessionFrom }).update(begun)))
        await yieldToOther(db, payload);
      if (userId && limit && rules)
        await endExcessSessions(db, system, { userId, begun: uid, limit }, rules.queueLogout);
    });
    // By now it is there: should what follows fail, the engine saves it once more.
    state.sessionFrom = row.idHash;
    if (begun?.code) await db('oidcPayloads').insert(begun.code);
  },

  find: async (id) => {
    const idHash = hashToken(id);
    const found = await live(db, { idHash });
    if (!found || !(await admits(db, rules, found))) return undefined;
    requestState().sessionFrom = idHash;
    return { ...found.payload, jti: id };
  },

  // Without `jti`, which only the cookie knows: the engine reads such a session and never saves it.
  findByUid: async (uid) => {
    const known = cameWithToken('sessions', uid);
    return known ? known.found : (await live(db, { uid }))?.payload;
  },

  destroy: async (id) => {
    forgetRead();
    // The engine destroys an identifier that it is about to replace; the save that follows moves the row.
    const session = Provider.ctx?.oidc.session as { oldId?: string; uid?: string } | undefined;
    if (session?.oldId === id && requestState().sessionFrom === hashToken(id)) return;
    // By uid, since another request may be moving the row to a new identifier.
    await db('sessions')
      .delete()
      .where(session?.uid ? { uid: session.uid } : { idHash: hashToken(id) });
  },
});

/**
 * Another request of the same browser has given the session a new identifier, or ended it. Its cookie is the one that
 * counts, so ours is not sent; the applications that were signed in to here are added to the session, if it lives.
 */
const yieldToOther = async (db: Db, { uid, authorizations = {} }: AdapterPayload): Promise<void> => {
  await db.raw(
    `update sessions set payload = jsonb_set(payload, '{authorizations}', coalesce(payload->'authorizations', '{}') || ?::jsonb)
     where uid = ?`,
    [JSON.stringify(authorizations), uid ?? ''],
  );
  const { ctx } = Provider;
  if (!ctx) return;
  const name = ctx.oidc.provider.cookieName('session');
  const kept = [ctx.response.get('set-cookie') ?? []]
    .flat()
    .filter((line) => !line.startsWith(`${name}=`) && !line.startsWith(`${name}.sig=`));
  if (kept.length) ctx.set('Set-Cookie', kept);
  else ctx.remove('Set-Cookie');
};

interface LiveSession extends BoundDevice {
  uid: string;
  userId: string | null;
  payload: AdapterPayload;
}

const live = (db: Db, where: { idHash: string } | { uid: string }): Promise<LiveSession | undefined> =>
  db('sessions')
    .where(where)
    .where('expiresAt', '>', db.fn.now())
    .orderBy('lastSeenAt', 'desc')
    .first('uid', 'userId', 'payload', 'deviceHash', 'deviceUserAgent');

/**
 * What a session remembers of the sign-in that begins it, or goes on with it. Pass the transaction that saves it.
 * @throws the engine's AccessDenied when the owner has said meanwhile that the sign-in was not theirs
 */
const beginning = async (db: Db, userId: string, uid: string, rules: SessionRules | undefined) => {
  const { signInId } = freshLogin();
  const place = signInId ? await bindSignIn(db, signInId, uid) : {};
  if (!place) throw new errors.AccessDenied('the sign-in was taken back by the owner of the account');
  return { ...place, ...shownDevice(userId, rules) };
};

/** No browser has the cookie of a session that REST began. */
const shownDevice = (userId: string, rules: SessionRules | undefined) => {
  const { ctx } = Provider;
  if (directSignIn() || !ctx || !rules) return {};
  const { deviceHash, userAgent } = rules.shown(ctx, userId);
  return { deviceHash: deviceHash ?? null, deviceUserAgent: deviceHash ? userAgent : null };
};

/** A request for a page of ours, which the engine does not see, and what was found out about it. */
interface PageRequest {
  ctx: Koa.Context;
  otherDevice: boolean;
}

const pageRequests = new AsyncLocalStorage<PageRequest>();

/**
 * Reads a session for a page of ours.
 * @returns undefined when its cookie comes from another device, so that nobody is signed in here
 */
export const inPageRequest = async <T>(ctx: Koa.Context, read: () => Promise<T>): Promise<T | undefined> => {
  const request = { ctx, otherDevice: false };
  const found = await pageRequests.run(request, read);
  return request.otherDevice ? undefined : found;
};

/** Whether the browser may have the session of its cookie. It may not where DEVICE_BINDING ends the session instead. */
const admits = async (db: Db, rules: SessionRules | undefined, session: LiveSession): Promise<boolean> => {
  const { uid, userId } = session;
  const page = pageRequests.getStore();
  const ctx = page?.ctx ?? Provider.ctx;
  if (!ctx || !userId || !rules || rules.binding === 'off') return true;
  const shown = rules.shown(ctx as KoaContextWithOIDC, userId);
  if (isSameBrowser(session, shown)) return true;
  if (rules.binding === 'challenge') {
    requestState().otherDevice = true;
    if (page) page.otherDevice = true;
    return true;
  }
  const actor: Actor = { type: 'anonymous', address: ctx.ip, userAgent: shown.userAgent };
  await db.transaction(async (db) => {
    const of = { userId, uid, reason: 'other_device' };
    // Of two requests at once one ends it, and one mail is enough.
    if (await endSessions(db, actor, of, rules.queueLogout)) await rules.tellOwner(db, actor, userId);
  });
  return false;
};
