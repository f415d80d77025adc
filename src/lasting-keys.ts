/**
 * The secrets of an app: the master keys that are set, with the lasting keys of the database. A lasting key is random, and no
 * master key leads to it; in a database that is older than they are it is what the master key had led to, so that nothing
 * which was derived by then changes.
 */
import { randomBytes } from 'node:crypto';
import type { Db } from '../db/connect.ts';
import type { Config } from './config.ts';
import { openKey } from './keys/keys.commands.ts';
import { listKeys } from './keys/keys.queries.ts';
import { createSecrets, derivedKey, lastingPurposes, type Purpose, type Secrets } from './secrets.ts';

export const lastingKeyRow = (purpose: string) => `lasting_keys:${purpose}`;

const refuse = (cause: unknown): never => {
  const { name, message } = cause as Error;
  const detail = name === 'UnknownMasterKey' ? `: it was ${message}` : '';
  throw new Error(`ENCRYPTION_MASTER_KEY does not open this database${detail}`, { cause });
};

const openLasting = async (db: Db, secrets: Secrets): Promise<Map<Purpose, Buffer>> => {
  const rows: { purpose: Purpose; keyEncrypted: Uint8Array }[] = await db('lastingKeys').select(
    'purpose',
    'keyEncrypted',
  );
  try {
    return new Map(
      rows.map(({ purpose, keyEncrypted }) => [
        purpose,
        secrets.open('lasting-key', lastingKeyRow(purpose), keyEncrypted),
      ]),
    );
  } catch (cause) {
    return refuse(cause);
  }
};

/** Whether anything may have been derived in this database: all of it is of people, here or in another system. */
const isUsed = async (db: Db): Promise<boolean> => {
  const { rows } = (await db.raw(
    'select exists (select from users) or exists (select from external_references) as used',
  )) as { rows: [{ used: boolean }] };
  return rows[0].used;
};

/** Stores the keys of these purposes, unless they are there. */
export const storeLasting = async (
  db: Db,
  secrets: Pick<Secrets, 'seal'>,
  purposes: readonly Purpose[],
  keyOf: (purpose: Purpose) => Uint8Array,
): Promise<void> => {
  const rows = purposes.map((purpose) => ({
    purpose,
    keyEncrypted: secrets.seal('lasting-key', lastingKeyRow(purpose), keyOf(purpose)),
  }));
  await db('lastingKeys').insert(rows).onConflict('purpose').ignore();
};

/** Makes those that are not there yet. Of replicas that start together the first decides. */
const makeLasting = async (
  db: Db,
  secrets: Secrets,
  { ENCRYPTION_MASTER_KEY: masterKey }: Pick<Config, 'ENCRYPTION_MASTER_KEY'>,
  present: ReadonlyMap<Purpose, Buffer>,
): Promise<void> => {
  const derives = !present.size && (await isUsed(db));
  // Else a mistyped key would be what everything hangs on from now on.
  const [key] = derives ? await listKeys(db) : [];
  try {
    if (key) openKey(secrets, key);
  } catch (cause) {
    refuse(cause);
  }
  if (derives && secrets.acceptedKeyId)
    throw new Error(
      'Start once with ENCRYPTION_MASTER_KEY as it has been, and without ENCRYPTION_MASTER_KEY_ACCEPTED, before the key is rotated',
    );
  const missing = lastingPurposes.filter((purpose) => !present.has(purpose));
  await storeLasting(db, secrets, missing, (purpose) => (derives ? derivedKey(masterKey, purpose) : randomBytes(32)));
};

/** @throws Error that names the setting when the master keys do not open the database */
export const openSecrets = async (
  db: Db,
  config: Pick<Config, 'ENCRYPTION_MASTER_KEY' | 'ENCRYPTION_MASTER_KEY_ACCEPTED'>,
): Promise<Secrets> => {
  const { ENCRYPTION_MASTER_KEY: masterKey, ENCRYPTION_MASTER_KEY_ACCEPTED: accepted } = config;
  const wrapping = createSecrets(masterKey, accepted);
  let lasting = await openLasting(db, wrapping);
  if (lastingPurposes.some((purpose) => !lasting.has(purpose))) {
    await makeLasting(db, wrapping, config, lasting);
    lasting = await openLasting(db, wrapping);
  }
  return createSecrets(masterKey, accepted, lasting);
};
