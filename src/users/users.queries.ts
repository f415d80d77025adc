/** Reads and single-statement writes of `users`. */
import { type Db, queryDirectly } from '../../db/connect.ts';
import { snakeCase } from '../../db/names.ts';
import { heldBy, inForce } from './held-roles.queries.ts';

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

export const userColumns = [
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

/** In place of an account's id where there is none, so that whatever follows costs the same. */
export const nobody = '00000000-0000-0000-0000-000000000000';

/** The one form in which an address is stored and compared. */
export const normalizeEmail = (email: string): string => email.trim().normalize('NFKC').toLowerCase();

/** SQL of the columns of a `User`. */
export const userSelection = userColumns.map((column) => `users.${snakeCase(column)} as "${column}"`).join(', ');
const selectUser = `select ${userSelection} from users`;
const userById = `${selectUser} where id = $1`;
const userByEmail = `${selectUser} where email = $1 and status <> 'closed'`;

export const findUser = async (db: Db, id: string): Promise<User | undefined> =>
  (await queryDirectly<User>(db, userById, [id]))[0];

/** The account that holds an address; a closed account has given its address up. */
export const findUserByEmail = async (db: Db, email: string): Promise<User | undefined> =>
  (await queryDirectly<User>(db, userByEmail, [normalizeEmail(email)]))[0];

/** Likewise; until the transaction ends the account keeps the address, so that what is mailed to it is its holder's. */
export const lockUserByEmail = (db: Db, email: string): Promise<User | undefined> =>
  db('users')
    .where({ email: normalizeEmail(email) })
    .whereNot({ status: 'closed' })
    .forShare()
    .first(...userColumns);

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

/** The roles that a user holds everywhere. Correlated with `users`. */
const held = `with recursive ${heldBy('users.id')}
  select distinct roles.name, roles.rank from held join roles on roles.id = held.role_id where organization_id is null`;

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

/** As a list has it: what each holds by grants and groups is a question for each. */
export type ListedAccount = Omit<Account, 'roles' | 'rank'>;

/** Accounts, for a query that says which. */
export const accounts = (db: Db) =>
  db('users')
    .join('roles', 'roles.id', 'users.roleId')
    .select(
      ...['id', 'email', 'name', 'locale', 'status', 'createdAt', 'updatedAt', 'lastSignInAt'].map(
        (column) => `users.${column}`,
      ),
      'roles.name as role',
      db.raw('email_verified_at is not null as email_verified'),
    );

/** All roles that people hold everywhere, the highest first, for a query that says whose. */
export const rolesHeld = `(select array_agg(name order by rank desc, name) from (${held}) held) as roles`;

const withRoles = (db: Db) =>
  accounts(db).select(db.raw(rolesHeld), db.raw(`(select max(rank) from (${held}) held) as rank`));

/** The highest rank that somebody has now, everywhere or inside an organization; -1 for nobody. */
export const findHighestRank = async (db: Db, id: string): Promise<number> => {
  const { rows } = (await db.raw(
    `with recursive ${heldBy(':id')} select max(rank) as rank from held join roles on roles.id = held.role_id`,
    { id },
  )) as { rows: { rank: number | null }[] };
  return rows[0]?.rank ?? -1;
};

export const findAccount = (db: Db, id: string): Promise<Account | undefined> =>
  withRoles(db).where('users.id', id).first();

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
  return withRoles(db).where('users.id', id).whereNot('users.status', 'closed').first();
};

/** Any constant that no other advisory lock of ours uses. */
const superAdminLock = 7_262_003;

/** Active super_admins for good to whom nothing is denied, now or later. */
const superAdmins = (db: Db) =>
  db('users')
    .join('roles', 'roles.id', 'users.roleId')
    .where({ 'roles.name': 'super_admin', 'users.status': 'active' })
    .whereRaw(
      `not exists (with recursive ${heldBy('users.id', true)} select from permission_grants
         where effect = 'deny' and ${inForce(true)} and (user_id = users.id or group_id = any(array(select id from circles))))`,
    );

/**
 * Whether somebody else than this user is such a super_admin. Until the transaction ends nobody else asks: of two who demote
 * each other one must wait, and is told no.
 */
export const isOtherSuperAdmin = async (db: Db, userId: string): Promise<boolean> => {
  await db.raw('select pg_advisory_xact_lock(?)', [superAdminLock]);
  return (await superAdmins(db).whereNot('users.id', userId).first('users.id')) !== undefined;
};

/** Whether nobody may do everything any more although there are active super_admins. Until the transaction ends nobody else asks. */
export const areSuperAdminsDenied = async (db: Db): Promise<boolean> => {
  await db.raw('select pg_advisory_xact_lock(?)', [superAdminLock]);
  if (await superAdmins(db).first('users.id')) return false;
  return (
    (await db('users')
      .join('roles', 'roles.id', 'users.roleId')
      .where({ 'roles.name': 'super_admin', 'users.status': 'active' })
      .first('users.id')) !== undefined
  );
};
