/**
 * The rotation of refresh tokens: one token is used, and another takes its place, in one statement; a process that dies on the way
 * has either done nothing, or both. Those that are asked for at the same time are one statement and one commit to wait for.
 */
import { type Db, queryDirectly } from '../db/connect.ts';
import { isOutage } from '../src/errors.ts';
import { inBatches } from './batches.ts';
import type { TokenRow } from './oidc-storage.ts';

/** A refresh token that takes another's place. */
export interface Successor {
  tokenHash: string;
  parentHash: string;
  userId: string | undefined;
  clientId: string | undefined;
  grantId: string | undefined;
  /** JSON, as is that of an access token. */
  payload: string;
  expiresAt: Date;
}

interface Rotation {
  row: Successor;
  /** The access token that comes with it, if that is stored. */
  token: TokenRow | undefined;
}

/**
 * `$1` are the tokens to be used, so that they are found by their key however small the table is. Of racing statements the first
 * alone gets one that is unused. What somebody else has locked, who ends sessions perhaps, is left out: whoever asked for it waits by
 * themselves, and nobody with them.
 */
const statement = `with asked as (
    select * from json_to_recordset(cast($2 as json)) as asked ("parentHash" text, "tokenHash" text, "userId" uuid,
      "clientId" text, "grantId" text, payload text, "expiresAt" timestamptz, model text, "idHash" text, content text,
      "tokenGrantId" text, "tokenExpiresAt" timestamptz)
  ), used as (
    update refresh_tokens set consumed_at = now() where not revoked and consumed_at is null and token_hash = any(array(
      select token_hash from refresh_tokens where token_hash = any($1) and not revoked and consumed_at is null
      for no key update skip locked)) returning token_hash
  ), successor as (
    insert into refresh_tokens (token_hash, parent_hash, user_id, client_id, grant_id, payload, expires_at)
    select "tokenHash", "parentHash", "userId", "clientId", "grantId", cast(payload as jsonb), "expiresAt"
    from used join asked on "parentHash" = token_hash
  ), saved as (
    insert into oidc_payloads (model, id_hash, payload, grant_id, expires_at)
    select model, "idHash", cast(content as jsonb), "tokenGrantId", "tokenExpiresAt"
    from used join asked on "parentHash" = token_hash where "idHash" is not null
  ) select token_hash from used`;

const toAsked = ({ row, token }: Rotation) => ({
  ...row,
  ...(token
    ? {
        model: token.model,
        idHash: token.idHash,
        content: token.payload,
        tokenGrantId: token.grantId,
        tokenExpiresAt: token.expiresAt,
      }
    : {}),
});

/** More at once than of those that read: a commit waits for the disk, where others can join it. */
const limits = { max: 100, lanes: 4 };

/** The server has ended a statement that took too long: of one that waited for a row, say. */
const isLate = (error: unknown): boolean => (error as { code?: unknown }).code === '57014';

/** @returns true when the token was unused, and is replaced; else nothing was done */
export type Rotate = (row: Successor, token: TokenRow | undefined) => Promise<boolean>;

export const createRotations = (db: Db): Rotate => {
  const rotateAll = async (rotations: readonly Rotation[]): Promise<boolean[]> => {
    // Of two that present one token, the later must find it used.
    const parents = rotations.map(({ row }) => row.parentHash);
    const first = rotations.filter(({ row }, at) => parents.indexOf(row.parentHash) === at);
    const used = await queryDirectly<{ token_hash: string }>(db, statement, [
      first.map(({ row }) => row.parentHash),
      JSON.stringify(first.map(toAsked)),
    ]);
    const hashes = new Set(used.map(({ token_hash }) => token_hash));
    return rotations.map((rotation) => first.includes(rotation) && hashes.has(rotation.row.parentHash));
  };
  const rotate = inBatches(async (rotations: readonly Rotation[]): Promise<(boolean | Promise<boolean>)[]> => {
    try {
      return await rotateAll(rotations);
    } catch (error) {
      if (rotations.length === 1 || (isOutage(error) && !isLate(error))) throw error;
      // One of them fails, whose person is gone perhaps. Nothing was done, and the others are not to fail with it.
      return rotations.map(async (rotation) => (await rotateAll([rotation]))[0] === true);
    }
  }, limits);
  return (row, token) => rotate({ row, token });
};
