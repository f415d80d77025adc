/** Which second factors somebody has set up. */
import { type Db, queryDirectly } from '../../db/connect.ts';

export interface Factors {
  /** Whether an authenticator app has been confirmed. */
  totp: boolean;
  /** How many passkeys. */
  passkeys: number;
  /** How many backup codes are left. They are no factor of their own: they stand in for a lost one. */
  backupCodes: number;
}

/** SQL of the columns of `Factors`. @param id SQL of the user's id */
export const factorColumns = (id: string): string =>
  `exists (select from totp_devices where user_id = ${id} and confirmed_at is not null) as totp,
   (select count(*)::int from passkeys where user_id = ${id}) as passkeys,
   (select count(*)::int from backup_codes where user_id = ${id} and consumed_at is null) as "backupCodes"`;

export const findFactors = async (db: Db, userId: string): Promise<Factors> => {
  const [row] = await queryDirectly<Factors>(db, `select ${factorColumns('$1::uuid')}`, [userId]);
  return row as Factors;
};

/** Whether a factor was set up that whoever holds the mailbox does not have too. */
export const hasStrongFactor = ({ totp, passkeys }: Pick<Factors, 'totp' | 'passkeys'>): boolean =>
  totp || passkeys > 0;

export type FactorKind = 'totp' | 'passkey';

/** A factor that somebody has set up. */
export interface Factor {
  id: string;
  kind: FactorKind;
  name: string;
  createdAt: Date;
  lastUsedAt: Date | null;
}

/** Somebody's authenticator apps and passkeys, the oldest first; there are few. */
export const listFactors = async (db: Db, userId: string): Promise<Factor[]> => {
  const { rows } = (await db.raw(
    `select id, 'totp' as kind, name, created_at as "createdAt", last_used_at as "lastUsedAt"
       from totp_devices where user_id = :userId and confirmed_at is not null
     union all
     select id, 'passkey', name, created_at, last_used_at from passkeys where user_id = :userId
     order by "createdAt", id`,
    { userId },
  )) as { rows: Factor[] };
  return rows;
};

/** Whether somebody has let an application in, or is signed in to one, that wants a second factor (`require_mfa`). */
export const usesStrictClient = async (db: Db, userId: string): Promise<boolean> =>
  (await db('grants')
    .join('clients', 'clients.clientId', 'grants.clientId')
    .where({ 'grants.userId': userId, 'clients.requireMfa': true })
    .where('grants.expiresAt', '>', db.fn.now())
    .first('grants.id')) !== undefined;
