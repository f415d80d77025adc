/**
 * Refresh tokens and their rotation. A token is used once; for a short grace the same client may repeat a refresh whose
 * successor is unused (its answer was lost), and gets a new successor in place of the old one.
 */
import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { hashToken } from '../src/secrets.ts';
import { touchSession } from './oidc-sessions.ts';
import { endFamily, type OidcStorage, unused } from './oidc-storage.ts';

/**
 * True in SQL while the consumed token `used` may be presented again. Without a grace never: the clock alone would not
 * say so, since `now()` is when a statement's transaction began, and a statement that waited for the winner of a race
 * may have begun before it.
 */
const repeatable = `cast(:grace as float8) > 0 and not used.superseded and used.consumed_at > now() - make_interval(secs => :grace) and not exists (
  select from refresh_tokens successor where successor.parent_hash = used.token_hash and successor.consumed_at is not null and not successor.superseded)`;

export const createRefreshTokenAdapter = ({ db, refreshTokenGraceSeconds }: OidcStorage): Adapter => ({
  ...unused('RefreshToken'),

  upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
    const row = {
      tokenHash: hashToken(id),
      userId: payload.accountId,
      clientId: payload.clientId,
      grantId: payload.grantId,
      parentHash: null as string | null,
      payload: JSON.stringify(payload),
      expiresAt: new Date(Date.now() + expiresIn * 1000),
    };
    // The engine does not say which token a new one replaces; the request's context does.
    const rotated = (Provider.ctx?.oidc.entities as { RotatedRefreshToken?: { jti: string } } | undefined)
      ?.RotatedRefreshToken;
    if (!rotated) await db('refreshTokens').insert(row);
    else {
      const parentHash = hashToken(rotated.jti);
      if (!(await db.transaction((db) => insertSuccessor(db, { ...row, parentHash }))))
        await refuseReplay(db, row.grantId as string);
      // The person is there, unless the application works without them (`offline_access`). The answer does not wait for this,
      // and does not fail with it.
      if (payload.expiresWithSession && payload.sessionUid)
        touchSession(db, payload.sessionUid as string).catch(() => {});
    }
  },

  find: async (id) => {
    const tokenHash = hashToken(id);
    const { rows } = (await db.raw(
      `select payload, consumed_at, coalesce(${repeatable}, false) as repeatable
       from refresh_tokens used where token_hash = :tokenHash and not revoked and expires_at > now()`,
      { grace: refreshTokenGraceSeconds, tokenHash },
    )) as { rows: { payload: AdapterPayload; consumedAt: Date | null; repeatable: boolean }[] };
    const [row] = rows;
    if (!row) return undefined;
    const consumed = row.consumedAt && !row.repeatable ? { consumed: Math.floor(row.consumedAt.getTime() / 1000) } : {};
    return { ...row.payload, ...consumed, jti: id };
  },

  consume: async (id) => {
    const tokenHash = hashToken(id);
    const { rows } = (await db.raw(
      `update refresh_tokens used set consumed_at = coalesce(consumed_at, now())
       where token_hash = :tokenHash and not revoked and (consumed_at is null or (${repeatable})) returning grant_id`,
      { grace: refreshTokenGraceSeconds, tokenHash },
    )) as { rows: { grantId: string }[] };
    if (rows.length) return;
    const row = await db('refreshTokens').where({ tokenHash }).first('grantId');
    await refuseReplay(db, row?.grantId);
  },

  destroy: async (id) => {
    await db('refreshTokens')
      .delete()
      .where({ tokenHash: hashToken(id) });
  },

  revokeByGrantId: async (grantId) => {
    await db('refreshTokens').delete().where({ grantId });
  },
});

/** Somebody else was first: one of the two is a thief, so the family ends (RFC 9700 section 4.14.2). */
const refuseReplay = async (db: Db, grantId: string | undefined): Promise<never> => {
  if (grantId) await endFamily(db, grantId);
  throw new errors.InvalidGrant('refresh token already used');
};

/**
 * No token has two successors that work: an unused one from an answer that was lost makes way. It stays known, as used:
 * if it turns up after all, two parties hold tokens of this family, and the family ends.
 * @returns false when a successor was used meanwhile
 */
const insertSuccessor = async (db: Db, row: { parentHash: string }): Promise<boolean> => {
  const { parentHash } = row;
  await db('refreshTokens').where({ tokenHash: parentHash }).forUpdate().first('tokenHash');
  // Superseded first and looked for then: the update waits for a request that is using the successor, and spares it.
  await db('refreshTokens')
    .where({ parentHash, consumedAt: null })
    .update({ superseded: true, consumedAt: db.fn.now() });
  if (await db('refreshTokens').where({ parentHash, superseded: false }).first('tokenHash')) return false;
  await db('refreshTokens').insert(row);
  return true;
};
