/**
 * The life of a signing key: published (in JWKS, before `signs_from`), signing (the newest of its algorithm whose
 * `signs_from` has come), retired (an older one), deleted. The states follow from the clock, so that no replica has to
 * be told when one begins.
 */
import { createHash, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { type Db, notify } from '../../db/connect.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { conflict } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import { listKeys, type SigningAlg, type StoredKey } from './keys.queries.ts';

/** For how long relying parties may cache JWKS (its `Cache-Control: max-age`). */
export const jwksMaxAgeSeconds = 300;
/** For how long a new key is published before it signs: every cached JWKS without it has expired by then. */
export const publishSeconds = 2 * jwksMaxAgeSeconds;
/** PostgreSQL channel on which replicas learn that the keys have changed. */
export const keysChannel = 'countersign_keys';

/** What keys are made for. Every relying party knows RS256, so it comes first. */
export const algorithms: readonly SigningAlg[] = ['RS256', 'ES256', 'EdDSA'];
/** How many keys of an algorithm there may be: all of them are in the JWKS that every relying party fetches. */
const keysMax = 10;
/** Any constant that no other advisory lock of ours uses. */
const keysLock = 7_262_002;

const generate = promisify(generateKeyPair) as unknown as (
  type: string,
  options: object,
) => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>;

const generateFor = (alg: SigningAlg) => {
  if (alg === 'RS256') return generate('rsa', { modulusLength: 2048 });
  if (alg === 'ES256') return generate('ec', { namedCurve: 'P-256' });
  return generate('ed25519', {});
};

/** What binds a private key's ciphertext to its row. */
export const keyRow = (kid: string) => `jwks_keys:${kid}`;

/** JWK thumbprint (RFC 7638) of a public key, base64url. */
export const thumbprint = (publicKey: KeyObject): string => {
  const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const members = { EC: ['crv', 'kty', 'x', 'y'], RSA: ['e', 'kty', 'n'], OKP: ['crv', 'kty', 'x'] }[
    jwk.kty as 'EC' | 'RSA' | 'OKP'
  ];
  return createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]]))))
    .digest('base64url');
};

interface NewKey {
  kid: string;
  alg: SigningAlg;
  publicJwk: string;
  privateEncrypted: Buffer;
}

/** Keys of these algorithms. Made before a transaction: it takes long, and the embedded database has one connection. */
const makeKeys = (secrets: Secrets, algs: readonly SigningAlg[]): Promise<NewKey[]> =>
  Promise.all(
    algs.map(async (alg) => {
      const { publicKey, privateKey } = await generateFor(alg);
      const kid = thumbprint(publicKey);
      return {
        kid,
        alg,
        publicJwk: JSON.stringify(publicKey.export({ format: 'jwk' })),
        privateEncrypted: secrets.seal(
          'signing-key',
          keyRow(kid),
          JSON.stringify(privateKey.export({ format: 'jwk' })),
        ),
      };
    }),
  );

/** The algorithms that no key is there for. */
const missingAlgorithms = (keys: readonly Pick<StoredKey, 'alg'>[]): SigningAlg[] =>
  algorithms.filter((alg) => !keys.some((key) => key.alg === alg));

/** Makes the first key of each algorithm that has none; of two replicas that start together one does. */
export const ensureKeys = async (db: Db, secrets: Secrets): Promise<void> => {
  const made = await makeKeys(secrets, missingAlgorithms(await listKeys(db)));
  if (!made.length) return;
  await db.transaction(async (db) => {
    await db.raw('select pg_advisory_xact_lock(?)', [keysLock]);
    const missing = missingAlgorithms(await listKeys(db));
    for (const key of made.filter(({ alg }) => missing.includes(alg))) {
      await db('jwksKeys').insert({ ...key, signsFrom: new Date() });
      const { kid, alg } = key;
      await recordEvent(db, system, { action: 'key.create', target: { type: 'key', id: kid }, meta: { alg } });
    }
  });
};

export interface Rotation {
  keys: { kid: string; alg: SigningAlg; signsFrom: Date }[];
}

/** By algorithm the first of the keys that wait for their time. */
const waitingKeys = (keys: readonly StoredKey[]): StoredKey[] =>
  algorithms.flatMap((alg) => keys.find((key) => key.alg === alg && key.signsFrom > new Date()) ?? []);

/**
 * A new key of each algorithm. It is published at once and signs after `publishSeconds`; where one waits for that already,
 * it is the new one.
 * - `now`: it signs at once, and keys that wait for their time are dropped (relying parties that cache JWKS and do not
 *   refetch on an unknown `kid` fail until theirs expires).
 * - `revoke`: for a key that has leaked. As `now`, and every older key is gone, with every token that it signed.
 * @throws AppError 409 too_many_keys while as many as may be published are, those that are retired included
 */
export const rotateKeys = async (
  db: Db,
  secrets: Secrets,
  actor: Actor,
  { now = false, revoke = false }: { now?: boolean; revoke?: boolean } = {},
): Promise<Rotation> => {
  const atOnce = now || revoke;
  // Looked at before the work of making any, and again when nobody else changes them.
  const wanted = async (db: Db) => {
    const stored = revoke ? [] : (await listKeys(db)).filter(({ signsFrom }) => !atOnce || signsFrom <= new Date());
    const waiting = waitingKeys(stored);
    const algs = missingAlgorithms(waiting);
    if (algs.some((alg) => stored.filter((key) => key.alg === alg).length >= keysMax))
      throw conflict(
        'too_many_keys',
        `There are ${keysMax} keys already; wait until what the oldest signed has expired`,
      );
    return { waiting, algs };
  };
  const made = await makeKeys(secrets, (await wanted(db)).algs);
  const rotation = await db.transaction(async (db) => {
    await db.raw('select pg_advisory_xact_lock(?)', [keysLock]);
    const { waiting, algs } = await wanted(db);
    const used = made.filter(({ alg }) => algs.includes(alg));
    if (used.length < algs.length) return undefined;
    if (revoke) await db('jwksKeys').delete();
    else if (now) await db('jwksKeys').delete().where('signsFrom', '>', new Date());
    const signsFrom = new Date(Date.now() + (atOnce ? 0 : publishSeconds * 1000));
    const keys = waiting.map(({ kid, alg, signsFrom }) => ({ kid, alg, signsFrom }));
    for (const key of used) {
      const { kid, alg } = key;
      await db('jwksKeys').insert({ ...key, signsFrom });
      keys.push({ kid, alg, signsFrom });
      await recordEvent(db, actor, {
        action: 'key.rotate',
        target: { type: 'key', id: kid },
        meta: { alg, now: atOnce, revoke },
      });
    }
    if (used.length) await notify(db, keysChannel, '');
    return { keys: keys.sort((a, b) => algorithms.indexOf(a.alg) - algorithms.indexOf(b.alg)) };
  });
  // What waited at first no longer does.
  return rotation ?? rotateKeys(db, secrets, actor, { now, revoke });
};

/**
 * Deletes keys that have been retired for `retentionSeconds`: pass the lifetime of the longest-lived thing that a key
 * signs and that must still verify.
 */
export const deleteRetiredKeys = (db: Db, retentionSeconds: number): Promise<number> =>
  db.transaction(async (db) => {
    const { rows } = (await db.raw(
      `delete from jwks_keys old where exists (
         select from jwks_keys newer
         where newer.alg = old.alg and newer.signs_from > old.signs_from
           and newer.signs_from < now() - make_interval(secs => ?))
       returning kid, alg`,
      [retentionSeconds],
    )) as { rows: { kid: string; alg: string }[] };
    for (const { kid, alg } of rows)
      await recordEvent(db, system, { action: 'key.delete', target: { type: 'key', id: kid }, meta: { alg } });
    if (rows.length) await notify(db, keysChannel, '');
    return rows.length;
  });
