/** The key set that the provider signs with, loaded from the database or from a PEM file. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { JWK } from 'jose';
import type { Db } from '../../db/connect.ts';
import type { Config } from '../config.ts';
import type { Secrets } from '../secrets.ts';
import { defaultSigningAlgorithms, isDecryption, type KeyAlg, publicJwk, type SigningAlg } from './key-algorithms.ts';
import { openKey, thumbprint } from './keys.commands.ts';
import { listKeys, type StoredKey } from './keys.queries.ts';

export interface KeySet {
  /** Private JWKs; of each algorithm the signing key comes first, which is the one that the engine picks. */
  jwks: { keys: JWK[] };
  /** The algorithms that something can be signed by; the first is what clients get that ask for none. */
  algs: SigningAlg[];
  /** Ids of keys that still decrypt, or do not yet take anybody's place: nobody is to encrypt to them. */
  unpublished: string[];
  /** When a published key starts to sign, in milliseconds since the epoch: the set must be loaded anew then. */
  changesAt?: number;
  /**
   * The ids in their order. A set with the same ids counts as the same: under JWKS_KEY_ID a file whose blocks have moved
   * waits for the restart that brings their ids, so that no id ever comes to name another key.
   */
  version: string;
}

/** The public halves of the keys that signatures are verified with. */
export const verificationKeys = ({ jwks }: KeySet): JWK[] =>
  jwks.keys.filter(({ use }) => use === 'sig').map(publicJwk);

const state = (signsFrom: Date, now: number) => (signsFrom.getTime() <= now ? 0 : 1);

/** @throws Error that names the setting: the commonest cause is a master key that is not the one of this database. */
const opened = (secrets: Secrets, key: StoredKey): JWK => {
  try {
    return openKey(secrets, key);
  } catch (cause) {
    throw new Error('ENCRYPTION_MASTER_KEY does not open the signing keys in this database', { cause });
  }
};

/** As the engine takes it. A key that decrypts serves a family of algorithms, so it names none. */
const toJwk = (jwk: JWK, kid: string, alg: KeyAlg): JWK => {
  const { alg: _alg, ...bare } = jwk;
  return isDecryption(alg) ? { ...bare, kid, use: 'enc' } : { ...bare, kid, alg, use: 'sig' };
};

/** All keys that decrypt but the first of each algorithm. */
const unpublished = (keys: readonly { kid: string; alg: KeyAlg }[]): string[] =>
  keys
    .filter(({ alg }, index) => isDecryption(alg) && keys.findIndex((other) => other.alg === alg) < index)
    .map(({ kid }) => kid);

const fromDatabase = async (db: Db, secrets: Secrets, signing: readonly SigningAlg[]): Promise<KeySet> => {
  const now = Date.now();
  const stored = await listKeys(db);
  // Newest first, as the query returns them, but those that may not sign yet come last.
  const ordered = stored.toSorted((a, b) => state(a.signsFrom, now) - state(b.signsFrom, now));
  const keys = ordered.map((key) => toJwk(opened(secrets, key), key.kid, key.alg));
  const future = stored.map(({ signsFrom }) => signsFrom.getTime()).filter((time) => time > now);
  return {
    jwks: { keys },
    algs: signing.filter((alg) => stored.some((key) => key.alg === alg && key.retiredAt === null)),
    unpublished: unpublished(ordered),
    ...(future.length ? { changesAt: Math.min(...future) } : {}),
    version: keys.map(({ kid }) => kid).join(' '),
  };
};

/** Where an element of DER begins and ends, without its header (X.690 section 8.1). */
const derElement = (der: Buffer, at: number): { start: number; end: number } => {
  const first = der.readUInt8(at + 1);
  const lengthBytes = first & 0x80 ? first & 0x7f : 0;
  const start = at + 2 + lengthBytes;
  return { start, end: start + (lengthBytes ? der.readUIntBE(at + 2, lengthBytes) : first) };
};

/** An RSA key that is marked for RSASSA-PSS (RFC 4055 section 1.2), without its mark: there is no JWK of the marked one. */
const unmarked = (key: KeyObject): KeyObject => {
  const der = key.export({ format: 'der', type: 'pkcs8' });
  // RFC 5208 section 5: version, algorithm, private key.
  const version = derElement(der, derElement(der, 0).start);
  const algorithm = derElement(der, version.end);
  const { start, end } = derElement(der, algorithm.end);
  return createPrivateKey({ key: der.subarray(start, end), format: 'der', type: 'pkcs1' });
};

/** The one thing that a key in a file is for: under one `kid` there must not be several algorithms. */
const algorithmOf = (type: string | undefined, jwk: JWK): KeyAlg => {
  if (type === 'rsa-pss') return 'PS256';
  if (jwk.kty === 'RSA') return 'RS256';
  if (jwk.kty === 'EC' && jwk.crv === 'P-256') return 'ES256';
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') return 'EdDSA';
  if (jwk.kty === 'OKP' && jwk.crv === 'X25519') return 'ECDH-ES';
  if (jwk.kty === 'AKP') return jwk.alg as SigningAlg;
  throw new Error(
    `JWKS_PRIVATE_KEY_PATH: a ${jwk.crv ?? jwk.kty} key cannot be used; take RSA or RSA-PSS (2048 bits or more), P-256, Ed25519, ML-DSA or X25519`,
  );
};

const readPrivateKey = (pem: string, index: number): KeyObject => {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new Error(
      `JWKS_PRIVATE_KEY_PATH: key ${index + 1} cannot be read (${(error as Error).message}); it must be PEM without a passphrase`,
      { cause: error },
    );
  }
};

const fromFile = async (path: string, kids: readonly string[] = []): Promise<KeySet> => {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new Error(`JWKS_PRIVATE_KEY_PATH: ${error.message}`, { cause: error });
  });
  const blocks = text.match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----/g) ?? [];
  if (!blocks.length) throw new Error(`JWKS_PRIVATE_KEY_PATH: no private key in ${path}`);
  const keys = blocks.map((pem, index) => {
    const given = readPrivateKey(pem, index);
    const bits = given.asymmetricKeyDetails?.modulusLength;
    if (bits !== undefined && bits < 2048) throw new Error('JWKS_PRIVATE_KEY_PATH: an RSA key needs 2048 bits or more');
    const key = given.asymmetricKeyType === 'rsa-pss' ? unmarked(given) : given;
    const jwk = key.export({ format: 'jwk' }) as JWK;
    const alg = algorithmOf(given.asymmetricKeyType, jwk);
    const kid = kids[index] ?? thumbprint(createPublicKey(key));
    return { kid, alg, jwk: toJwk(jwk, kid, alg) };
  });
  const algs = [...new Set(keys.map(({ alg }) => alg))].filter((alg) => !isDecryption(alg));
  if (!algs.length) throw new Error(`JWKS_PRIVATE_KEY_PATH: no key that can sign in ${path}`);
  return {
    jwks: { keys: keys.map(({ jwk }) => jwk) },
    algs,
    unpublished: unpublished(keys),
    version: keys.map(({ kid }) => kid).join(' '),
  };
};

/** Loads the key set that is in force now. @throws Error when a key cannot be opened or read. */
export const loadKeySet = (
  config: Pick<Config, 'JWKS_PRIVATE_KEY_PATH' | 'JWKS_KEY_ID'> & Partial<Pick<Config, 'SIGNING_ALGS'>>,
  db: Db,
  secrets: Secrets,
): Promise<KeySet> =>
  config.JWKS_PRIVATE_KEY_PATH
    ? fromFile(config.JWKS_PRIVATE_KEY_PATH, config.JWKS_KEY_ID)
    : fromDatabase(db, secrets, config.SIGNING_ALGS ?? defaultSigningAlgorithms);

/** How keys in a file are rotated; `rotate-keys` says this when JWKS_PRIVATE_KEY_PATH is set. */
export const fileRotation = `The signing keys come from the file in JWKS_PRIVATE_KEY_PATH, so rotate them there:
  1. Append the new key's PEM block to the file (and its kid to JWKS_KEY_ID, if set): it is published at once.
  2. Wait ten minutes, until no relying party has an older JWKS in its cache.
  3. Move the new block to the top of the file (and its kid to the front): it signs from now on.
  4. Remove the old block once the tokens that it signed have expired.
An X25519 block is what request objects are encrypted to; the first is published, further ones still decrypt.
The file is read again every half minute; only a change of JWKS_KEY_ID needs a restart.
`;
