/** Devices on which an account has signed in before, stored as a keyed hash of the account and what the device shows. */
import { type Bind, createBindings } from '../../db/bindings.ts';
import { type Db, queryDirectly } from '../../db/connect.ts';
import { nobody, normalizeEmail, type User, userSelection } from '../users/users.queries.ts';

export const deviceDays = 180;
/** Per account; beyond them the one that was not seen for longest is forgotten. */
const devicesMax = 20;

export const isKnownDevice = async (db: Db, userId: string, deviceHash: string): Promise<boolean> => {
  const rows = await queryDirectly(
    db,
    'select from known_devices where user_id = $1 and device_hash = $2 and expires_at > now()',
    [userId, deviceHash],
  );
  return rows.length > 0;
};

const userAndDevices = `select ${userSelection}, devices.hashes as "deviceHashes"
  from (select) one left join users on users.email = $1 and users.status <> 'closed'
    cross join lateral (select coalesce(array_agg(device_hash), '{}') as hashes from known_devices
      where user_id = coalesce(users.id, '${nobody}') and expires_at > now()) devices`;

/** The account that holds an address, and the devices on which it has signed in before: in one statement, as every sign-in asks for both. */
export const findUserAndDevices = async (
  db: Db,
  email: string,
): Promise<{ user: User | undefined; deviceHashes: readonly string[] }> => {
  type Row = { [column in keyof User]: User[column] | null } & { deviceHashes: string[] };
  const [row] = await queryDirectly<Row>(db, userAndDevices, [normalizeEmail(email)]);
  const { deviceHashes, ...user } = row as Row;
  return { user: user.id === null ? undefined : (user as User), deviceHashes };
};

/** A device that is known from a sign-in on. */
export interface SeenDevice {
  userId: string;
  deviceHash: string;
  /** For how many days it is not asked for a second factor; unless given, that stays as it is. */
  mfaDays?: number | undefined;
}

/** SQL that keeps a device, and tells as `is_new` whether it was not known: a row that was there says by which transaction it was updated. */
export const deviceInsertion = ({ userId, deviceHash, mfaDays }: SeenDevice, bind: Bind): string => {
  const until = mfaDays ? `now() + ${bind(mfaDays)}::int * interval '1 day'` : 'null';
  return `insert into known_devices (user_id, device_hash, expires_at, mfa_until)
     values (${bind(userId)}, ${bind(deviceHash)}, now() + interval '${deviceDays} days', ${until})
     on conflict (user_id, device_hash) do update
       set last_seen_at = now(), expires_at = excluded.expires_at${mfaDays ? ', mfa_until = excluded.mfa_until' : ''}
     returning (xmax = 0) as is_new`;
};

/** To be called when one was new. */
export const forgetExcessDevices = async (db: Db, userId: string): Promise<void> => {
  await db('knownDevices')
    .where({ userId })
    .whereNotIn(
      'deviceHash',
      db('knownDevices').where({ userId }).orderBy('lastSeenAt', 'desc').limit(devicesMax).select('deviceHash'),
    )
    .delete();
};

export const rememberDevice = async (db: Db, userId: string, deviceHash: string): Promise<void> => {
  const { values, bind } = createBindings();
  const sql = deviceInsertion({ userId, deviceHash }, bind);
  const [device] = await queryDirectly<{ is_new: boolean }>(db, sql, values);
  if (device?.is_new) await forgetExcessDevices(db, userId);
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
