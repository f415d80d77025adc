/** Reads of `api_keys`, and the note of when one was last used. */
import type { Db } from '../../db/connect.ts';
import { type KeyPower, powersOf } from '../roles/key-powers.ts';
import { hashToken } from '../secrets.ts';
import { isKey } from './api-key-format.ts';

export interface ApiKey {
  id: string;
  userId: string;
  name: string;
  /** The beginning of the key. */
  prefix: string;
  /** Permissions; the key passes on those that its owner holds. */
  scopes: string[];
  expiresAt: Date | null;
  lastUsedAt: Date | null;
  revokedAt: Date | null;
  createdAt: Date;
}

const columns = [
  'id',
  'userId',
  'name',
  'prefix',
  'scopes',
  'expiresAt',
  'lastUsedAt',
  'revokedAt',
  'createdAt',
] as const;

/** Keys that work. */
const live = (db: Db) =>
  db('apiKeys')
    .whereNull('revokedAt')
    .where((key) => key.whereNull('expiresAt').orWhere('expiresAt', '>', db.fn.now()));

export const findApiKey = (db: Db, id: string): Promise<ApiKey | undefined> =>
  db('apiKeys')
    .where({ id })
    .first(...columns);

export interface LiveApiKey extends ApiKey {
  /** What was given or denied to the key itself. */
  powers: KeyPower[];
}

/**
 * The key that is written so, with what was given and denied to it now; undefined when there is none that works. One query, and none
 * for a text that cannot be a key.
 */
export const findLiveApiKey = async (db: Db, value: string): Promise<LiveApiKey | undefined> =>
  isKey(value)
    ? live(db)
        .where({ keyHash: hashToken(value) })
        .first(...columns, db.raw(`${powersOf('api_keys.id')} as powers`))
    : undefined;

/** Whether the key works; in a transaction it does so until that ends. */
export const lockLiveApiKey = async (db: Db, id: string): Promise<boolean> =>
  (await live(db).where({ id }).forShare().first('id')) !== undefined;

export const countLiveApiKeys = async (db: Db, userId: string): Promise<number> =>
  Number((await live(db).where({ userId }).count().first())?.count);

/** A user's keys, those that ended lately included, the oldest first. */
export const listApiKeys = (
  db: Db,
  userId: string,
  { after, limit }: { after: string | undefined; limit: number },
): Promise<ApiKey[]> =>
  db('apiKeys')
    .where({ userId })
    .modify((query) => {
      if (after !== undefined) query.where('id', '>', after);
    })
    .orderBy('id')
    .limit(limit)
    .select(...columns);

/** How exactly `last_used_at` is kept, in milliseconds: a key in steady use is not a row written per request. */
const touchMs = 60_000;

/** Notes that a key is used. Of requests at the same time one writes. */
export const touchApiKey = async (db: Db, { id, lastUsedAt }: Pick<ApiKey, 'id' | 'lastUsedAt'>): Promise<void> => {
  const before = new Date(Date.now() - touchMs);
  if (lastUsedAt && lastUsedAt > before) return;
  await db('apiKeys')
    .where({ id })
    .where((key) => key.whereNull('lastUsedAt').orWhere('lastUsedAt', '<', before))
    .update({ lastUsedAt: db.fn.now() });
};
