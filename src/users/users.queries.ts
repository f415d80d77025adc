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

/** Likewise; until the transaction ends the account keeps the address, so that what is mailed to it is its holder's. */
export const lockUserByEmail = (db: Db, email: string): Promise<User | undefined> =>
  db('users')
    .where({ email: normalizeEmail(email) })
    .whereNot({ status: 'closed' })
    .forShare()
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
  changes: Partial<Pick<User, 'email' | 'name' | 'passwordHash' | 'emailVerifiedAt' | 'locale' | 'status'>> &
    Partial<{
      piiKey: Buffer | null;
      piiEncrypted: Buffer | null;
      phoneIndex: string | null;
      lastSignInAt: null;
      roleId: string;
    }>,
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

/** The roles that a user holds: the primary one, and those that were granted for now. Correlated with `users`. */
const held = `select held.name, held.rank from roles held where held.id = users.role_id or held.id in (
  select role_id from role_grants where user_id = users.id and organization_id is null
    and starts_at <= now() and (expires_at is null or expires_at > now()))`;

/** An account as those see it who look after accounts. */
export interface Account {
  id: string;
  email: string;
  emailVerified: boolean;
  name: string;
  locale: string | null;
  status: User['status'];
  /** The primary role. */
  role: string;
  /** All roles, the highest first. */
  roles: string[];
  /** Of the highest role. */
  rank: number;
  createdAt: Date;
  updatedAt: Date;
  lastSignInAt: Date | null;
}

const accounts = (db: Db) =>
  db('users')
    .join('roles', 'roles.id', 'users.roleId')
    .select(
      ...['id', 'email', 'name', 'locale', 'status', 'createdAt', 'updatedAt', 'lastSignInAt'].map(
        (column) => `users.${column}`,
      ),
      'roles.name as role',
      db.raw('email_verified_at is not null as email_verified'),
      db.raw(`(select array_agg(name order by rank desc, name) from (${held}) held) as roles`),
      db.raw(`(select max(rank) from (${held}) held) as rank`),
    );

export const findAccount = (db: Db, id: string): Promise<Account | undefined> =>
  accounts(db).where('users.id', id).first();

/**
 * Until the transaction ends nobody else changes the user, or ends what they have; what only refers to them may still be saved.
 * Locked first and read then: a statement that has waited for a lock sees joined rows as they were before.
 * @returns the user's status; undefined when there is none
 */
export const lockUser = async (db: Db, id: string): Promise<User['status'] | undefined> =>
  (await db('users').where({ id }).forNoKeyUpdate().first('status'))?.status;

/** The account, which nobody else changes until the transaction ends. A closed one is gone. */
export const lockAccount = async (db: Db, id: string): Promise<Account | undefined> => {
  await lockUser(db, id);
  return accounts(db).where('users.id', id).whereNot('users.status', 'closed').first();
};

export interface AccountFilter {
  /** The beginning of an address or a name, in whatever case. */
  q?: string | undefined;
  status?: User['status'] | undefined;
  /** The primary role. */
  role?: string | undefined;
  emailVerified?: boolean | undefined;
  createdFrom?: string | undefined;
  createdTo?: string | undefined;
}

const prefix = (text: string) => `${text.replace(/[\\%_]/g, '\\$&')}%`;

/** Accounts after the one with the id `after`, in the order in which they were made. Closed ones only when asked for. */
export const listAccounts = (
  db: Db,
  { q, status, role, emailVerified, createdFrom, createdTo }: AccountFilter,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<Account[]> =>
  accounts(db)
    .modify((query) => {
      if (after) query.where('users.id', '>', after);
      if (status) query.where('users.status', status);
      else query.whereNot('users.status', 'closed');
      if (role) query.where('roles.name', role);
      if (emailVerified !== undefined) query.whereRaw(`email_verified_at is ${emailVerified ? 'not ' : ''}null`);
      if (createdFrom) query.where('users.createdAt', '>=', createdFrom);
      if (createdTo) query.where('users.createdAt', '<', createdTo);
      if (q)
        query.where((either) =>
          either
            .whereRaw('users.email like ?', [prefix(normalizeEmail(q))])
            .orWhereRaw('lower(users.name) like lower(?)', [prefix(q)]),
        );
    })
    .orderBy('users.id')
    .limit(limit);

/** Any constant that no other advisory lock of ours uses. */
const superAdminLock = 7_262_003;

/**
 * Whether somebody else than this user is an active super_admin for good. Until the transaction ends nobody else asks:
 * of two who demote each other one must wait, and is told no.
 */
export const isOtherSuperAdmin = async (db: Db, userId: string): Promise<boolean> => {
  await db.raw('select pg_advisory_xact_lock(?)', [superAdminLock]);
  const other = await db('users')
    .join('roles', 'roles.id', 'users.roleId')
    .where({ 'roles.name': 'super_admin', 'users.status': 'active' })
    .whereNot('users.id', userId)
    .first('users.id');
  return other !== undefined;
};
