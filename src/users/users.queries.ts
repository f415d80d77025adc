/** Reads and single-statement writes of `users`. */
import type { Db } from '../../db/connect.ts';

export interface User {
  id: string;
  email: string;
  emailVerifiedAt: Date | null;
  name: string;
  passwordHash: string | null;
  passwordChangedAt: Date | null;
  status: 'active' | 'deactivated' | 'closed';
  locale: string | null;
  piiKey: Uint8Array | null;
  piiEncrypted: Uint8Array | null;
  updatedAt: Date;
}

const columns = [
  'id',
  'email',
  'emailVerifiedAt',
  'name',
  'passwordHash',
  'passwordChangedAt',
  'status',
  'locale',
  'piiKey',
  'piiEncrypted',
  'updatedAt',
] as const;

/** The one form in which an address is stored and compared. */
export const normalizeEmail = (email: string): string => email.trim().normalize('NFKC').toLowerCase();

export const findUser = (db: Db, id: string): Promise<User | undefined> =>
  db('users')
    .where({ id })
    .first(...columns);

/** The account that holds an address; a closed account has given its address up. */
export const findUserByEmail = (db: Db, email: string): Promise<User | undefined> =>
  db('users')
    .where({ email: normalizeEmail(email) })
    .whereNot({ status: 'closed' })
    .first(...columns);

/** Whether the user may have live tokens. */
export const isActiveUser = async (db: Db, id: string): Promise<boolean> =>
  (await db('users').where({ id, status: 'active' }).first('id')) !== undefined;

export interface NewUser {
  id: string;
  email: string;
  name: string;
  passwordHash: string | null;
  role: string;
  emailVerifiedAt: Date | null;
  locale?: string | null;
}

/** Inserts a user. @returns false when another account holds the address. */
export const insertUser = async (db: Db, { role, ...user }: NewUser): Promise<boolean> => {
  const rows = await db('users')
    .insert({
      ...user,
      passwordChangedAt: user.passwordHash ? db.fn.now() : null,
      roleId: db('roles').where({ name: role }).select('id'),
    })
    .onConflict(db.raw("(email) where status <> 'closed'"))
    .ignore()
    .returning('id');
  return rows.length === 1;
};

export const updateUser = async (
  db: Db,
  id: string,
  changes: Partial<Pick<User, 'name' | 'passwordHash' | 'emailVerifiedAt' | 'locale'>> &
    Partial<{ piiKey: Buffer; piiEncrypted: Buffer; phoneIndex: string | null }>,
): Promise<void> => {
  await db('users')
    .where({ id })
    .update({
      ...changes,
      ...('passwordHash' in changes ? { passwordChangedAt: db.fn.now() } : {}),
      updatedAt: db.fn.now(),
    });
};

/** Whether anybody holds the role. */
export const roleIsHeld = async (db: Db, role: string): Promise<boolean> =>
  (await db('users')
    .join('roles', 'roles.id', 'users.roleId')
    .where({ 'roles.name': role })
    .whereNot({ 'users.status': 'closed' })
    .first('users.id')) !== undefined;

/** Sets a new hash if the old one is still in place. @returns whether it was */
export const replacePasswordHash = async (db: Db, id: string, from: string | null, to: string): Promise<boolean> =>
  (await db('users')
    .where({ id, passwordHash: from })
    .update({ passwordHash: to, passwordChangedAt: db.fn.now(), updatedAt: db.fn.now() })) === 1;
