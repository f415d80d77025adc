/** Where a sign-in's code can be sent to somebody who has set up no second factor. */
import type { Db } from '../../db/connect.ts';
import type { Secrets } from '../secrets.ts';
import { openPii } from '../users/pii.ts';
import { findUser, type User } from '../users/users.queries.ts';

export interface Fallback {
  kind: 'email' | 'sms';
  /** Enough of the address or number for its owner to know it by. */
  hint: string;
}

export interface FallbackDeps {
  db: Db;
  secrets: Secrets;
  queueSms: unknown;
  mayText(phoneNumber: string): boolean;
}

const maskAddress = (email: string): string => email.replace(/^(.)[^@]*/, '$1…');

/** The number that codes go to: verified, and one that this service still sends to. */
export const verifiedPhone = (
  { secrets, mayText, queueSms }: Omit<FallbackDeps, 'db'>,
  user: User,
): string | undefined => {
  if (!queueSms) return undefined;
  const { phone_number, phone_number_verified } = openPii(secrets, user);
  return phone_number && phone_number_verified && mayText(phone_number) ? phone_number : undefined;
};

export const listFallbacks = async (deps: FallbackDeps, userId: string): Promise<Fallback[]> => {
  const user = await findUser(deps.db, userId);
  if (!user) return [];
  const phone = verifiedPhone(deps, user);
  return [
    { kind: 'email', hint: maskAddress(user.email) },
    ...(phone ? [{ kind: 'sms' as const, hint: `…${phone.slice(-3)}` }] : []),
  ];
};
