/** Sign-in sessions, with what the account page shows of a device. */
import { type Adapter, type AdapterPayload, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { hashToken } from '../src/secrets.ts';
import { unused } from './oidc-storage.ts';

export const createSessionAdapter = (db: Db): Adapter => ({
  ...unused('Session'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
    const { ctx } = Provider;
    const row = {
      idHash: hashToken(id),
      uid: payload.uid,
      userId: payload.accountId ?? null,
      payload: JSON.stringify(payload),
      lastSeenAt: db.fn.now(),
      expiresAt: new Date(Date.now() + expiresIn * 1000),
      // The engine saves a session anew under each new identifier, so its beginning is taken from the sign-in.
      ...(payload.loginTs ? { startedAt: new Date(payload.loginTs * 1000) } : {}),
      ...(ctx ? { userAgent: ctx.get('user-agent').slice(0, 500), address: ctx.ip } : {}),
    };
    const { idHash: _idHash, ...changes } = row;
    await db('sessions').insert(row).onConflict('idHash').merge(changes);
  },

  find: async (id) => {
    const payload = await live(db, { idHash: hashToken(id) });
    return payload && { ...payload, jti: id };
  },

  // Without `jti`, which only the cookie knows: the engine reads such a session and never saves it.
  findByUid: (uid) => live(db, { uid }),

  destroy: async (id) => {
    await db('sessions')
      .delete()
      .where({ idHash: hashToken(id) });
  },
});

const live = async (db: Db, where: { idHash: string } | { uid: string }): Promise<AdapterPayload | undefined> =>
  (
    await db('sessions')
      .where(where)
      .where('expiresAt', '>', db.fn.now())
      .orderBy('lastSeenAt', 'desc')
      .first('payload')
  )?.payload;
