/** Reads of `jwks_keys` and `jwks_decryption_keys`. */
import type { JWK } from 'jose';
import type { Db } from '../../db/connect.ts';
import type { KeyAlg } from './key-algorithms.ts';

export interface StoredKey {
  kid: string;
  alg: KeyAlg;
  publicJwk: JWK;
  privateEncrypted: Uint8Array;
  /** Of a key that decrypts: when it takes the place of the one before it in the JWKS. */
  signsFrom: Date;
  /** When its algorithm was taken out of SIGNING_ALGS. */
  retiredAt: Date | null;
  createdAt: Date;
}

const columns = ['kid', 'alg', 'publicJwk', 'privateEncrypted', 'signsFrom', 'retiredAt', 'createdAt'] as const;

/** All keys: those that sign, the newest first, then those that decrypt, likewise. */
export const listKeys = async (db: Db): Promise<StoredKey[]> => {
  const signing: StoredKey[] = await db('jwksKeys')
    .select(...columns)
    .orderBy([{ column: 'signsFrom', order: 'desc' }, 'kid']);
  const decrypting: StoredKey[] = await db('jwksDecryptionKeys')
    .select('kid', 'alg', 'publicJwk', 'privateEncrypted', 'createdAt', db.ref('publishedFrom').as('signsFrom'))
    .select(db.raw('null::timestamptz as retired_at'))
    .orderBy([{ column: 'publishedFrom', order: 'desc' }, 'kid']);
  return [...signing, ...decrypting];
};
