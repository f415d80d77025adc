/** The key set that the provider signs with, loaded from the database or from a PEM file. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { JWK } from 'jose';
import type { Db } from '../../db/connect.ts';
import type { Config } from '../config.ts';
import type { Secrets } from '../secrets.ts';
import { algorithms, keyRow, thumbprint } from './keys.commands.ts';
import { listKeys, type SigningAlg } from './keys.queries.ts';

export interface KeySet {
  /** Private JWKs; of each algorithm the signing key comes first, which is the one that the engine picks. */
  jwks: { keys: JWK[] };
  /** The algorithms that there are keys for; the first is what clients get that ask for none. */
  algs: SigningAlg[];
  /** When a published key starts to sign, in milliseconds since the epoch: the set must be loaded anew then. */
  changesAt?: number;
  /**
   * The ids in their order. A set with the same ids counts as the same: under JWKS_KEY_ID a file whose blocks have moved
   * waits for the restart that brings their ids, so that no id ever comes to name another key.
   */
  version: string;
}

const state = (signsFrom: Date, now: number) => (signsFrom.getTime() <= now ? 0 : 1);

/** @throws Error that names the setting: the commonest cause is a master key that is not the one of this database. */
const openKey = (secrets: Secrets, kid: string, sealed: Uint8Array): JWK => {
  try {
    return JSON.parse(secrets.open('signing-key', keyRow(kid), sealed).toString()) as JWK;
  } catch (cause) {
    throw new Error('ENCRYPTION_MASTER_KEY does not open the signing keys in this database', { cause });
  }
};

const fromDatabase = async (db: Db, secrets: Secrets): Promise<KeySet> => {
  const now = Date.now();
  const stored = await listKeys(db);
  // Newest first, as the query returns them, but those that may not sign yet come last.
  const ordered = stored.toSorted((a, b) => state(a.signsFrom, now) - state(b.signsFrom, now));
  const keys = ordered.map(({ kid, alg, privateEncrypted }): JWK => {
    return { ...openKey(secrets, kid, privateEncrypted), kid, alg, use: 'sig' };
  });
  const future = stored.map(({ signsFrom }) => signsFrom.getTime()).filter((time) => time > now);
  return {
    jwks: { keys },
    algs: algorithms.filter((alg) => stored.some((key) => key.alg === alg)),
    ...(future.length ? { changesAt: Math.min(...future) } : {}),
    version: keys.map(({ kid }) => kid).join(' '),
  };
};

const algorithmOf = (jwk: JWK): SigningAlg => {
  if (jwk.kty === 'RSA') return 'RS256';
  if (jwk.kty === 'EC' && jwk.crv === 'P-256') return 'ES256';
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') return 'EdDSA';
  throw new Error(
    `JWKS_PRIVATE_KEY_PATH: a ${jwk.crv ?? jwk.kty} key cannot be used; take RSA (2048 bits or more), P-256 or Ed25519`,
  );
};

const fromFile = async (path: string, kids: readonly string[] = []): Promise<KeySet> => {
  const blocks =
    (await readFile(path, 'utf8')).match(
      /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----/g,
    ) ?? [];
  if (!blocks.length) throw new Error(`JWKS_PRIVATE_KEY_PATH: no private key in ${path}`);
  const keys = blocks.map((pem, index): JWK => {
    const key = createPrivateKey(pem);
    const bits = key.asymmetricKeyDetails?.modulusLength;
    if (bits !== undefined && bits < 2048) throw new Error('JWKS_PRIVATE_KEY_PATH: an RSA key needs 2048 bits or more');
    const jwk = key.export({ format: 'jwk' }) as JWK;
    return { ...jwk, kid: kids[index] ?? thumbprint(createPublicKey(key)), alg: algorithmOf(jwk), use: 'sig' };
  });
  return {
    jwks: { keys },
    algs: [...new Set(keys.map(({ alg }) => alg as SigningAlg))],
    version: keys.map(({ kid }) => kid).join(' '),
  };
};

/** Loads the key set that is in force now. @throws Error when a key cannot be opened or read. */
export const loadKeySet = (
  config: Pick<Config, 'JWKS_PRIVATE_KEY_PATH' | 'JWKS_KEY_ID'>,
  db: Db,
  secrets: Secrets,
): Promise<KeySet> =>
  config.JWKS_PRIVATE_KEY_PATH ? fromFile(config.JWKS_PRIVATE_KEY_PATH, config.JWKS_KEY_ID) : fromDatabase(db, secrets);

/** How keys in a file are rotated; `rotate-keys` says this when JWKS_PRIVATE_KEY_PATH is set. */
export const fileRotation = `The signing keys come from the file in JWKS_PRIVATE_KEY_PATH, so rotate them there:
  1. Append the new key's PEM block to the file (and its kid to JWKS_KEY_ID, if set): it is published at once.
  2. Wait ten minutes, until no relying party has an older JWKS in its cache.
  3. Move the new block to the top of the file (and its kid to the front): it signs from now on.
  4. Remove the old block once the tokens that it signed have expired.
The file is read again every half minute; only a change of JWKS_KEY_ID needs a restart.
`;
