/** Devices on which an account has signed in before, stored as a keyed hash of the account and what the device shows. */
import type { Db } from '../../db/connect.ts';

export const deviceDays = 180;
/** Per account; beyond them the one that was not seen for longest is forgotten. */
const devicesMax = 20;

export const isKnownDevice = async (db: Db, userId: string, deviceHash: string): Promise<boolean> =>
  (await db('knownDevices').where({ userId, deviceHash }).where('expiresAt', '>', db.fn.now()).first('lastSeenAt')) !==
  undefined;

/**
 * Pass the transaction of the sign-in.
 * @param mfaDays for how long the device is not asked for a second factor; unless given, that stays as it is
 */
export const rememberDevice = async (db: Db, userId: string, deviceHash: string, mfaDays?: number): Promise<void> => {
  const expiresAt = db.raw(`now() + interval '${deviceDays} days'`);
  const mfaUntil = mfaDays ? { mfaUntil: db.raw("now() + ? * interval '1 day'", [mfaDays]) } : {};
  await db('knownDevices')
    .insert({ userId, deviceHash, expiresAt, ...mfaUntil })
    .onConflict(['userId', 'deviceHash'])
    .merge({ lastSeenAt: db.fn.now(), expiresAt, ...mfaUntil });
  await db('knownDevices')
    .where({ userId })
    .whereNotIn(
      'deviceHash',
      db('knownDevices').where({ userId }).orderBy('lastSeenAt', 'desc').limit(devicesMax).select('deviceHash'),
    )
    .delete();
};

/** Whether a second factor was shown on this browser, and its owner said that it need not be asked for again for a while. */
export const isRememberedBrowser = async (db: Db, userId: string, deviceHash: string): Promise<boolean> =>
  (await db('knownDevices').where({ userId, deviceHash }).where('mfaUntil', '>', db.fn.now()).first('lastSeenAt')) !==
  undefined;

/** How many browsers somebody has that are not asked for a second factor. */
export const countRememberedBrowsers = async (db: Db, userId: string): Promise<number> => {
  const rows = await db('knownDevices').where({ userId }).where('mfaUntil', '>', db.fn.now()).select('deviceHash');
  return rows.length;
};

/** Has every browser asked for the second factor again: factors have changed, or their owner wants it. Pass the transaction. */
export const forgetRememberedBrowsers = async (db: Db, userId: string): Promise<void> => {
  await db('knownDevices').where({ userId }).whereNotNull('mfaUntil').update({ mfaUntil: null });
};

/** Nobody who knew the account before counts as its owner any more. */
export const forgetDevices = async (db: Db, userId: string): Promise<void> => {
  await db('knownDevices').where({ userId }).delete();
};
