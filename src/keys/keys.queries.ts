/** Reads of `jwks_keys`. */
import type { JWK } from 'jose';
import type { Db } from '../../db/connect.ts';

export type SigningAlg = 'RS256' | 'ES256' | 'EdDSA';

export interface StoredKey {
  kid: string;
  alg: SigningAlg;
  publicJwk: JWK;
  privateEncrypted: Uint8Array;
  signsFrom: Date;
  createdAt: Date;
}

const columns = ['kid', 'alg', 'publicJwk', 'privateEncrypted', 'signsFrom', 'createdAt'] as const;

/** All keys, newest first. */
export const listKeys = (db: Db): Promise<StoredKey[]> =>
  db('jwksKeys')
    .select(...columns)
    .orderBy([{ column: 'signsFrom', order: 'desc' }, 'kid']);
