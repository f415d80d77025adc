/** Devices on which an account has signed in before, stored as a keyed hash of the account and what the device shows. */
import type { Db } from '../../db/connect.ts';

export const deviceDays = 180;
/** Per account; beyond them the one that was not seen for longest is forgotten. */
const devicesMax = 20;

export const isKnownDevice = async (db: Db, userId: string, deviceHash: string): Promise<boolean> =>
  (await db('knownDevices').where({ userId, deviceHash }).where('expiresAt', '>', db.fn.now()).first('lastSeenAt')) !==
  undefined;

/** Pass the transaction of the sign-in. */
export const rememberDevice = async (db: Db, userId: string, deviceHash: string): Promise<void> => {
  const expiresAt = db.raw(`now() + interval '${deviceDays} days'`);
  await db('knownDevices')
    .insert({ userId, deviceHash, expiresAt })
    .onConflict(['userId', 'deviceHash'])
    .merge({ lastSeenAt: db.fn.now(), expiresAt });
  await db('knownDevices')
    .where({ userId })
    .whereNotIn(
      'deviceHash',
      db('knownDevices').where({ userId }).orderBy('lastSeenAt', 'desc').limit(devicesMax).select('deviceHash'),
    )
    .delete();
};

/** Nobody who knew the account before counts as its owner any more. */
export const forgetDevices = async (db: Db, userId: string): Promise<void> => {
  await db('knownDevices').where({ userId }).delete();
};
