/** Where a sign-in's code can be sent to somebody who has set up no second factor. */
import type { Db } from '../../db/connect.ts';
import type { Secrets } from '../secrets.ts';
import { openPii } from '../users/pii.ts';
import { findUser } from '../users/users.queries.ts';

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

export const listFallbacks = async (
  { db, secrets, queueSms, mayText }: FallbackDeps,
  userId: string,
): Promise<Fallback[]> => {
  const user = await findUser(db, userId);
  if (!user) return [];
  const { phone_number: phone, phone_number_verified: verified } = openPii(secrets, user);
  const texts = queueSms !== undefined && phone !== undefined && verified === true && mayText(phone);
  return [
    { kind: 'email', hint: maskAddress(user.email) },
    ...(texts ? [{ kind: 'sms' as const, hint: `…${phone.slice(-3)}` }] : []),
  ];
};
