/** Which second factors somebody has set up. */
import type { Db } from '../../db/connect.ts';

export interface Factors {
  /** Whether an authenticator app has been confirmed. */
  totp: boolean;
  /** How many passkeys. */
  passkeys: number;
  /** How many backup codes are left. They are no factor of their own: they stand in for a lost one. */
  backupCodes: number;
}

export const findFactors = async (db: Db, userId: string): Promise<Factors> => {
  const { rows } = (await db.raw(
    `select exists (select from totp_devices where user_id = :userId and confirmed_at is not null) as totp,
       (select count(*)::int from passkeys where user_id = :userId) as passkeys,
       (select count(*)::int from backup_codes where user_id = :userId and consumed_at is null) as "backupCodes"`,
    { userId },
  )) as { rows: [Factors] };
  return rows[0];
};

/** Whether a factor was set up that whoever holds the mailbox does not have too. */
export const hasStrongFactor = ({ totp, passkeys }: Pick<Factors, 'totp' | 'passkeys'>): boolean =>
  totp || passkeys > 0;
