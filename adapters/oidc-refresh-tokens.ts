/**
 * Refresh tokens and their rotation. A token is used once; for a short grace the same client may repeat a refresh whose
 * successor is unused (its answer was lost), and gets a new successor in place of the old one.
 */
import { type Adapter, errors, Provider } from 'oidc-provider';
import type { Db } from '../db/connect.ts';
import { isClash, transact } from '../db/transact.ts';
import { hashToken } from '../src/secrets.ts';
import { saveFirst } from './code-redemptions.ts';
import { jwtName } from './oidc-payloads.ts';
import { touchSession } from './oidc-sessions.ts';
import { endFamily, type OidcStorage, requestState, type TokenRow, unused } from './oidc-storage.ts';
import { createRotations, type Rotate, type Successor } from './refresh-rotations.ts';
import { forgetRead, isSessionStale, repeatable } from './token-reads.ts';

/**
 * Whether what is consumed now is about to be replaced, in the engine's present request. Both are then one statement, so that a
 * process that dies on the way has either done nothing, or both.
 */
const isRotation = (): boolean => {
  const { ctx } = Provider;
  return ctx?.oidc?.route === 'token' && ctx.oidc.params?.grant_type === 'refresh_token';
};

/** By then a statement that can be sent has been sent: it goes first, and what takes the processor comes after it. */
const untilSent = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const createRefreshTokenAdapter = ({ db, reads, refreshTokenGraceSeconds: grace }: OidcStorage): Adapter => {
  const rotate = createRotations(db);
  return {
    ...unused('RefreshToken'),

    upsert: async (id, { jti: _jti, ...payload }, expiresIn = 0) => {
      const row = {
        tokenHash: hashToken(id),
        userId: payload.accountId,
        clientId: payload.clientId,
        grantId: payload.grantId,
        payload: JSON.stringify(payload),
        expiresAt: new Date(Date.now() + expiresIn * 1000),
      };
      const state = requestState();
      const { rotates: parentHash } = state;
      if (parentHash === undefined) return state.redemption?.use ? state.redemption.use(row) : saveFirst(db, row);
      delete state.rotates;
      const { sessionUid, expiresWithSession } = payload;
      // The person is there, unless the application works without them (`offline_access`).
      const used = expiresWithSession && sessionUid && isSessionStale(sessionUid as string);
      const rotateNow = async (accessToken: TokenRow | undefined): Promise<void> => {
        await replace(db, rotate, { ...row, parentHash }, grace, accessToken);
        forgetRead();
        // The answer does not wait for this, and does not fail with it.
        if (used) touchSession(db, sessionUid as string).catch(() => {});
      };
      // Done as soon as it is known what the access token is: with it, if that is stored.
      state.rotation = async (accessToken) => {
        delete state.rotation;
        const done = rotateNow(accessToken);
        // An id_token is signed while the database is at it, and nothing is handed out before it is done.
        state.rotated = done;
        done.catch(() => {});
        await untilSent();
      };
    },

    find: async (id) => {
      if (id.startsWith(jwtName)) return undefined;
      const row = await reads.read({ model: 'RefreshToken', hash: hashToken(id) });
      if (!row?.payload) return undefined;
      const consumed =
        row.consumedAt && !row.repeatable ? { consumed: Math.floor(row.consumedAt.getTime() / 1000) } : {};
      return { ...row.payload, ...consumed, jti: id };
    },

    consume: async (id) => {
      const tokenHash = hashToken(id);
      if (isRotation()) requestState().rotates = tokenHash;
      else await consume(db, tokenHash, grace);
    },

    destroy: async (id) => {
      forgetRead();
      await db('refreshTokens')
        .delete()
        .where({ tokenHash: hashToken(id) });
    },

    revokeByGrantId: async (grantId) => {
      forgetRead();
      await db('refreshTokens').delete().where({ grantId });
    },
  };
};

/**
 * Uses the one token and saves the other, and the access token that comes with it. Nearly all that are presented are unused, and an
 * unused one has no successor: one statement does it.
 * @throws InvalidGrant when the token was used before, and may not be presented again
 */
const replace = async (db: Db, rotate: Rotate, row: Successor, grace: number, token?: TokenRow): Promise<void> => {
  const isDone = await rotate(row, token).catch((error: unknown) => {
    // Whoever ends the family has these rows in another order. Nothing was done then, and what follows does it again.
    if (isClash(error)) return false;
    throw error;
  });
  if (isDone) return;
  await consume(db, row.parentHash, grace);
  if (!(await transact(db, (db) => insertSuccessor(db, row)))) await refuseReplay(db, row.grantId);
  if (token) await db('oidcPayloads').insert(token);
};

/** @throws InvalidGrant when the token was used before, and may not be presented again */
const consume = async (db: Db, tokenHash: string, grace: number): Promise<void> => {
  const use = (db: Db) =>
    db.raw(
      `update refresh_tokens used set consumed_at = coalesce(consumed_at, now())
       where token_hash = :tokenHash and not revoked and (consumed_at is null or (${repeatable})) returning grant_id`,
      { grace, tokenHash },
    );
  const { rows } = (await transact(db, async (db) => use(db))) as { rows: { grantId: string }[] };
  if (rows.length) return;
  const row = await db('refreshTokens').where({ tokenHash }).first('grantId');
  await refuseReplay(db, row?.grantId);
};

/** Somebody else was first: one of the two is a thief, so the family ends (RFC 9700 section 4.14.2). */
const refuseReplay = async (db: Db, grantId: string | undefined): Promise<never> => {
  if (grantId) await endFamily(db, grantId);
  throw new errors.InvalidGrant('refresh token already used');
};

/**
 * No token has two successors that work: an unused one from an answer that was lost makes way. It stays known, as used:
 * if it turns up after all, two parties hold tokens of this family, and the family ends.
 * @returns false when a successor was used meanwhile
 * @throws InvalidGrant when the family ended meanwhile
 */
const insertSuccessor = async (db: Db, row: Successor): Promise<boolean> => {
  const { parentHash } = row;
  const parent = await db('refreshTokens').where({ tokenHash: parentHash }).forUpdate().first('tokenHash');
  if (!parent) throw new errors.InvalidGrant('refresh token was revoked');
  // Superseded first and looked for then: the update waits for a request that is using the successor, and spares it.
  await db('refreshTokens')
    .where({ parentHash, consumedAt: null })
    .update({ superseded: true, consumedAt: db.fn.now() });
  if (await db('refreshTokens').where({ parentHash, superseded: false }).first('tokenHash')) return false;
  await db('refreshTokens').insert(row);
  return true;
};
