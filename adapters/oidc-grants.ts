/** Grants: one per session and client, so that a replay or a sign-out on one device does not end another's. */
import { type Adapter, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { unused } from './oidc-storage.ts';

export const createGrantAdapter = (db: Db): Adapter => ({
  ...unused('Grant'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
    const row = {
      id,
      userId: payload.accountId,
      clientId: payload.clientId,
      sessionUid: Provider.ctx?.oidc.session?.uid ?? null,
      payload: JSON.stringify(payload),
      expiresAt: new Date(Date.now() + expiresIn * 1000),
    };
    await db('grants').insert(row).onConflict('id').merge(['payload', 'expiresAt']);
  },

  find: async (id) => {
    const row = await db('grants').where({ id }).where('expiresAt', '>', db.fn.now()).first('payload');
    return row && { ...row.payload, jti: id };
  },

  destroy: async (id) => {
    await db('grants').delete().where({ id });
  },
});
