/**
 * The life of a key. One that signs: published (in JWKS, before `signs_from`), signing (the newest of its algorithm whose
 * `signs_from` has come), retired (an older one), deleted. The states follow from the clock, so that no replica has to
 * be told when one begins.
 */
import { createHash, generateKeyPair, type KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { JWK } from 'jose';
import { type Db, notify } from '../../db/connect.ts';
import { type Actor, type AuditEvent, recordEvents, system } from '../audit/logs.commands.ts';
import { conflict } from '../errors.ts';
import type { Secrets } from '../secrets.ts';
import {
  decryptionAlgorithms,
  defaultSigningAlgorithms,
  generation,
  isDecryption,
  type KeyAlg,
  namingMembers,
  type SigningAlg,
} from './key-algorithms.ts';
import { listKeys, type StoredKey } from './keys.queries.ts';

/** For how long relying parties may cache JWKS (its `Cache-Control: max-age`). */
export const jwksMaxAgeSeconds = 300;
/** For how long a new key is published before it signs: every cached JWKS without it has expired by then. */
export const publishSeconds = 2 * jwksMaxAgeSeconds;
/** The same for a key that is to sign at once: every replica publishes it by then, or it could be unknown where somebody asks. */
export const settleSeconds = 1;
/** PostgreSQL channel on which replicas learn that the keys have changed. */
export const keysChannel = 'countersign_keys';

/** How many keys of an algorithm there may be: all of them are in the JWKS that every relying party fetches. */
const keysMax = 10;
/** Any constant that no other advisory lock of ours uses. */
const keysLock = 7_262_002;

const generate = promisify(generateKeyPair) as unknown as (
  type: string,
  options: object,
) => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>;

/** What binds a private key's ciphertext to its row. */
export const keyRow = (kid: string) => `jwks_keys:${kid}`;
export const decryptionKeyRow = (kid: string) => `jwks_decryption_keys:${kid}`;

const seal = (secrets: Secrets, { kid, alg }: Pick<StoredKey, 'kid' | 'alg'>, jwk: string): Buffer =>
  isDecryption(alg)
    ? secrets.seal('decryption-key', decryptionKeyRow(kid), jwk)
    : secrets.seal('signing-key', keyRow(kid), jwk);

/** The private JWK of a row. @throws Error when the row or the master key is not the one that it was sealed with */
export const openKey = (
  secrets: Secrets,
  { kid, alg, privateEncrypted }: Pick<StoredKey, 'kid' | 'alg' | 'privateEncrypted'>,
): JWK => {
  const opened = isDecryption(alg)
    ? secrets.open('decryption-key', decryptionKeyRow(kid), privateEncrypted)
    : secrets.open('signing-key', keyRow(kid), privateEncrypted);
  return JSON.parse(opened.toString()) as JWK;
};

/** JWK thumbprint (RFC 7638) of a public key, base64url. */
export const thumbprint = (publicKey: KeyObject): string => {
  const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const members = (namingMembers[jwk.kty as string] ?? []).map((name) => [name, jwk[name]]);
  return createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(members)))
    .digest('base64url');
};

interface NewKey {
  kid: string;
  alg: KeyAlg;
  publicJwk: string;
  privateEncrypted: Buffer;
}

/** Keys of these algorithms. Made before a transaction: it takes long, and the embedded database has one connection. */
const makeKeys = (secrets: Secrets, algs: readonly KeyAlg[]): Promise<NewKey[]> =>
  Promise.all(
    algs.map(async (alg) => {
      const { publicKey, privateKey } = await generate(...generation(alg));
      const kid = thumbprint(publicKey);
      return {
        kid,
        alg,
        publicJwk: JSON.stringify(publicKey.export({ format: 'jwk' })),
        privateEncrypted: seal(secrets, { kid, alg }, JSON.stringify(privateKey.export({ format: 'jwk' }))),
      };
    }),
  );

const insertKey = async (db: Db, key: NewKey, from: Date): Promise<void> => {
  if (isDecryption(key.alg)) await db('jwksDecryptionKeys').insert({ ...key, publishedFrom: from });
  else await db('jwksKeys').insert({ ...key, signsFrom: from });
};

/** All algorithms that keys are kept for: those that sign, by setting, and those that decrypt. */
const wantedAlgorithms = (signing: readonly SigningAlg[]): KeyAlg[] => [...signing, ...decryptionAlgorithms];

/** The algorithms that no key is there for. One that was retired is not taken back: an algorithm begins anew. */
const missingAlgorithms = (algs: readonly KeyAlg[], keys: readonly Pick<StoredKey, 'alg' | 'retiredAt'>[]): KeyAlg[] =>
  algs.filter((alg) => !keys.some((key) => key.alg === alg && key.retiredAt === null));

const keyEvent = (
  action: AuditEvent['action'],
  { kid, alg }: { kid: string; alg: string },
  meta: object = {},
): AuditEvent => ({ action, target: { type: 'key', id: kid }, meta: { alg, ...meta } });

/** Keys of algorithms that are not wanted any more sign no longer, and are deleted once what they signed has expired. */
const retireUnwanted = async (db: Db, signing: readonly SigningAlg[]): Promise<void> => {
  const retired: { kid: string; alg: KeyAlg }[] = await db('jwksKeys')
    .whereNotIn('alg', [...signing])
    .where({ retiredAt: null })
    .update({ retiredAt: db.fn.now() })
    .returning(['kid', 'alg']);
  await recordEvents(
    db,
    system,
    retired.map((key) => keyEvent('key.retire', key)),
  );
};

/**
 * Makes the first key of each algorithm that has none, and retires those of algorithms that are not wanted any more; of two
 * replicas that start together one does.
 * @param signing the algorithms that signing keys are kept for (SIGNING_ALGS)
 */
export const ensureKeys = async (
  db: Db,
  secrets: Secrets,
  signing: readonly SigningAlg[] = defaultSigningAlgorithms,
): Promise<void> => {
  const algs = wantedAlgorithms(signing);
  const stored = await listKeys(db);
  const made = await makeKeys(secrets, missingAlgorithms(algs, stored));
  const settled = stored.every(({ alg, retiredAt }) => algs.includes(alg) || retiredAt !== null);
  if (!made.length && settled) return;
  await db.transaction(async (db) => {
    await db.raw('select pg_advisory_xact_lock(?)', [keysLock]);
    const missing = missingAlgorithms(algs, await listKeys(db));
    const used = made.filter(({ alg }) => missing.includes(alg));
    for (const key of used) await insertKey(db, key, new Date());
    await recordEvents(
      db,
      system,
      used.map((key) => keyEvent('key.create', key)),
    );
    await retireUnwanted(db, signing);
    await notify(db, keysChannel, '');
  });
};

export interface Rotation {
  keys: { kid: string; alg: KeyAlg; signsFrom: Date }[];
}

/** By algorithm the first of the keys that wait for their time. */
const waitingKeys = (algs: readonly KeyAlg[], keys: readonly StoredKey[]): StoredKey[] =>
  algs.flatMap(
    (alg) => keys.find((key) => key.alg === alg && key.retiredAt === null && key.signsFrom > new Date()) ?? [],
  );

/** A timer may be a millisecond early, and by the clock a key would not sign yet. */
const clockToReach = async (time: number): Promise<void> => {
  for (let left = time - Date.now(); left > 0; left = time - Date.now()) await sleep(left);
};

/**
 * A new key of each algorithm. It is published at once and signs after `publishSeconds`; where one waits for that already,
 * it is the new one. A key that decrypts waits likewise, until every replica has it, before it is the one in the JWKS.
 * - `now`: it signs by the time that this resolves, a second later, and keys that wait for their time are dropped (relying parties
 *   that cache JWKS and do not refetch on an unknown `kid` fail until theirs expires).
 * - `revoke`: for a key that has leaked. It signs at once, and every older key is gone, with every token that it signed.
 * @throws AppError 409 too_many_keys while as many as may be published are, those that are retired included
 */
export const rotateKeys = async (
  db: Db,
  secrets: Secrets,
  actor: Actor,
  {
    now = false,
    revoke = false,
    signing = defaultSigningAlgorithms,
  }: { now?: boolean; revoke?: boolean; signing?: readonly SigningAlg[] } = {},
): Promise<Rotation> => {
  const atOnce = now || revoke;
  const all = wantedAlgorithms(signing);
  // Looked at before the work of making any, and again when nobody else changes them.
  const wanted = async (db: Db) => {
    // Those that another rotation of the same second has made are the new ones.
    const settled = new Date(Date.now() + settleSeconds * 1000);
    const stored = revoke ? [] : (await listKeys(db)).filter(({ signsFrom }) => !atOnce || signsFrom <= settled);
    const waiting = waitingKeys(all, stored);
    const algs = missingAlgorithms(all, waiting);
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
    if (revoke) {
      await db('jwksKeys').delete();
      await db('jwksDecryptionKeys').delete();
    } else if (now) {
      const settled = new Date(Date.now() + settleSeconds * 1000);
      await db('jwksKeys').delete().where('signsFrom', '>', settled);
      await db('jwksDecryptionKeys').delete().where('publishedFrom', '>', settled);
    }
    const waitSeconds = revoke ? 0 : now ? settleSeconds : publishSeconds;
    const signsFrom = new Date(Date.now() + waitSeconds * 1000);
    const keys = waiting.map(({ kid, alg, signsFrom }) => ({ kid, alg, signsFrom }));
    for (const key of used) {
      await insertKey(db, key, signsFrom);
      keys.push({ kid: key.kid, alg: key.alg, signsFrom });
    }
    const events = used.map((key) => keyEvent('key.rotate', key, { now: atOnce, revoke }));
    await recordEvents(db, actor, events);
    if (used.length) await notify(db, keysChannel, '');
    return { keys: keys.sort((a, b) => all.indexOf(a.alg) - all.indexOf(b.alg)) };
  });
  // What waited at first no longer does.
  if (!rotation) return rotateKeys(db, secrets, actor, { now, revoke, signing });
  if (atOnce) await clockToReach(Math.max(...rotation.keys.map(({ signsFrom }) => signsFrom.getTime())));
  return rotation;
};

/**
 * Makes new keys, as `rotateKeys` does without options, once those that sign have done so for that long.
 * @returns the new keys; undefined when none were due
 */
export const rotateDueKeys = async (
  db: Db,
  secrets: Secrets,
  ageSeconds: number,
  signing: readonly SigningAlg[] = defaultSigningAlgorithms,
): Promise<Rotation | undefined> => {
  const keys = (await listKeys(db)).filter(
    ({ alg, retiredAt }) => retiredAt === null && signing.some((one) => one === alg),
  );
  const newest = signing.map((alg) =>
    Math.max(...keys.filter((key) => key.alg === alg).map(({ signsFrom }) => +signsFrom)),
  );
  if (Math.min(...newest) > Date.now() - ageSeconds * 1000) return undefined;
  return rotateKeys(db, secrets, system, { signing });
};

/**
 * Deletes keys that have been retired for `retentionSeconds`: pass the lifetime of the longest-lived thing that a key
 * signs and that must still verify. What was encrypted to a key is on its way for minutes, so those are kept long enough.
 */
export const deleteRetiredKeys = (db: Db, retentionSeconds: number): Promise<number> =>
  db.transaction(async (db) => {
    const { rows } = (await db.raw(
      `with signing as (
         delete from jwks_keys old
         where retired_at < now() - make_interval(secs => :seconds) or exists (
           select from jwks_keys newer
           where newer.alg = old.alg and newer.signs_from > old.signs_from
             and newer.signs_from < now() - make_interval(secs => :seconds))
         returning kid, alg
       ), decrypting as (
         delete from jwks_decryption_keys old where exists (
           select from jwks_decryption_keys newer
           where newer.alg = old.alg and newer.published_from > old.published_from
             and newer.published_from < now() - make_interval(secs => :seconds))
         returning kid, alg
       )
       select kid, alg from signing union all select kid, alg from decrypting`,
      { seconds: retentionSeconds },
    )) as { rows: { kid: string; alg: string }[] };
    await recordEvents(
      db,
      system,
      rows.map((key) => keyEvent('key.delete', key)),
    );
    if (rows.length) await notify(db, keysChannel, '');
    return rows.length;
  });
