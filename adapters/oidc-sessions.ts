/**
 * Sign-in sessions, with what the account page shows of a device. The engine saves every session that it has read, at
 * the end of the request: one that was ended meanwhile must stay ended, so a session that was read is only ever updated.
 */
import { type Adapter, type AdapterPayload, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { hashToken } from '../src/secrets.ts';
import { assertFreshSignIn, directSignIn, requestState, unused } from './oidc-storage.ts';

/** How exactly `last_seen_at` is kept where a session is used by refreshing tokens alone: not a row written per refresh. */
const touchSeconds = 60;

/** Notes that a session is used. Pass no transaction: whatever else it holds would be locked in another order. */
export const touchSession = async (db: Db, uid: string): Promise<void> => {
  await db('sessions')
    .where({ uid })
    .whereRaw('last_seen_at < now() - make_interval(secs => ?)', [touchSeconds])
    .update({ lastSeenAt: db.fn.now() });
};

export const createSessionAdapter = (db: Db): Adapter => ({
  ...unused('Session'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
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
    await db.transaction(async (db) => {
      if (payload.accountId) await assertFreshSignIn(db, payload.accountId);
      // A new identifier moves the row in this one statement.
      if (!state.sessionFrom) await db('sessions').insert(row).onConflict('idHash').merge();
      else if (!(await db('sessions').where({ idHash: state.sessionFrom }).update(row)))
        await yieldToOther(db, payload);
    });
    state.sessionFrom = row.idHash;
  },

  find: async (id) => {
    const idHash = hashToken(id);
    const payload = await live(db, { idHash });
    if (payload) requestState().sessionFrom = idHash;
    return payload && { ...payload, jti: id };
  },

  // Without `jti`, which only the cookie knows: the engine reads such a session and never saves it.
  findByUid: (uid) => live(db, { uid }),

  destroy: async (id) => {
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

const live = async (db: Db, where: { idHash: string } | { uid: string }): Promise<AdapterPayload | undefined> =>
  (
    await db('sessions')
      .where(where)
      .where('expiresAt', '>', db.fn.now())
      .orderBy('lastSeenAt', 'desc')
      .first('payload')
  )?.payload;
