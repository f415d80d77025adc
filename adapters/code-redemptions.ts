/**
 * The exchange of a code (RFC 6749 section 4.1.3): the code is used and what it gives is saved in one statement. A process that dies on
 * the way has either done nothing, or both; of racing exchanges the database lets one through (section 4.1.2).
 */
import { errors } from 'oidc-provider';
import { createBindings } from '../db/bindings.ts';
import { type Db, queryDirectly } from '../db/connect.ts';
import { isClash, transact } from '../db/transact.ts';
import { endFamily, requestState, type TokenRow } from './oidc-storage.ts';

/** A refresh token that is nobody's successor. */
export interface FirstRefreshToken {
  tokenHash: string;
  userId: string | undefined;
  clientId: string | undefined;
  grantId: string | undefined;
  payload: string;
  expiresAt: Date;
}

/** A code that is exchanged, and what it gives so far. */
export interface Redemption {
  accessToken?: TokenRow;
  /**
   * Uses the code, and saves what it gives. Until it is called nothing is written.
   * @throws InvalidGrant when the code was used before
   */
  use?(refreshToken?: FirstRefreshToken): Promise<void>;
}

/** Values of the statement have no type of their own in a list that is selected. */
const types = { payload: 'jsonb', expires_at: 'timestamptz', user_id: 'uuid' } as const;

const consumeStored = `update oidc_payloads set consumed_at = now()
  where model = $1 and id_hash = $2 and consumed_at is null returning 1 as one`;

/** @returns false when the code was used before; nothing was done then */
const redeemAtOnce = async (
  db: Db,
  codeHash: string,
  accessToken: TokenRow | undefined,
  refreshToken: FirstRefreshToken | undefined,
): Promise<boolean> => {
  const { values, bind } = createBindings();
  const insertion = (table: string, row: Readonly<Record<string, unknown>>) => {
    const selected = Object.entries(row).map(
      ([name, value]) => `${bind(value)}::${types[name as 'payload'] ?? 'text'}`,
    );
    return `insert into ${table} (${Object.keys(row).join(', ')}) select ${selected.join(', ')} from used`;
  };
  const parts = [
    `used as (update oidc_payloads set consumed_at = now()
       where model = 'AuthorizationCode' and id_hash = ${bind(codeHash)} and consumed_at is null returning 1 as one)`,
  ];
  if (accessToken) {
    const { model, idHash: id_hash, payload, grantId: grant_id, expiresAt: expires_at } = accessToken;
    parts.push(`access as (${insertion('oidc_payloads', { model, id_hash, payload, grant_id, expires_at })})`);
  }
  if (refreshToken) {
    const { tokenHash: token_hash, payload, expiresAt: expires_at } = refreshToken;
    const { userId: user_id, clientId: client_id, grantId: grant_id } = refreshToken;
    const row = { token_hash, user_id, client_id, grant_id, payload, expires_at };
    parts.push(`refresh as (${insertion('refresh_tokens', row)})`);
  }
  return (await queryDirectly(db, `with ${parts.join(', ')} select one from used`, values)).length > 0;
};

const insertFirst = `insert into refresh_tokens (token_hash, user_id, client_id, grant_id, payload, expires_at)
  values ($1, $2, $3, $4, $5, $6)`;

/** Saves a refresh token that no code gives. */
export const saveFirst = async (db: Db, row: FirstRefreshToken): Promise<void> => {
  const { tokenHash, userId, clientId, grantId, payload, expiresAt } = row;
  await queryDirectly(db, insertFirst, [tokenHash, userId, clientId, grantId, payload, expiresAt]);
};

/**
 * Single use is the database's decision (RFC 6749 section 4.1.2): of racing requests exactly one updates the row, and
 * the others revoke what the value gave.
 */
export const consumeOnce = async (db: Db, model: string, idHash: string): Promise<void> => {
  if (!(await queryDirectly(db, consumeStored, [model, idHash])).length) await refuseReplay(db, model, idHash);
};

const refuseReplay = async (db: Db, model: string, idHash: string): Promise<never> => {
  const row = await db('oidcPayloads').where({ model, idHash }).first('grantId');
  if (row?.grantId) await endFamily(db, row.grantId);
  throw model === 'PushedAuthorizationRequest'
    ? new errors.InvalidRequestUri('already used')
    : new errors.InvalidGrant('already used');
};

const redeem = async (
  db: Db,
  codeHash: string,
  accessToken: TokenRow | undefined,
  refreshToken: FirstRefreshToken | undefined,
): Promise<void> => {
  const attempt = (db: Db) => redeemAtOnce(db, codeHash, accessToken, refreshToken);
  const isRedeemed = await attempt(db).catch((error: unknown) => {
    if (!isClash(error)) throw error;
    // Whoever ends the grant has these rows in another order. Nothing was done.
    return transact(db, attempt);
  });
  if (!isRedeemed) await refuseReplay(db, 'AuthorizationCode', codeHash);
};

/** Puts off the use of a code until what it gives is saved. @returns false where nobody exchanges one */
export const putOffUse = (db: Db, codeHash: string): boolean => {
  const state = requestState();
  const { redemption } = state;
  if (!redemption) return false;
  redemption.use = async (refreshToken) => {
    delete state.redemption;
    await redeem(db, codeHash, redemption.accessToken, refreshToken);
  };
  return true;
};
