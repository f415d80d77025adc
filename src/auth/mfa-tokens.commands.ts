/**
 * What stands between the two steps of a sign-in. Nothing is kept on the server: the sealed token that the caller holds says
 * how far they got. It is for one account and one application, lives a quarter of an hour, and finishes one sign-in.
 */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { consumeOnce, isConsumed } from '../consumed-tokens.ts';
import { AppError } from '../errors.ts';
import { randomToken, type Secrets } from '../secrets.ts';
import { findUser, type User } from '../users/users.queries.ts';
import { acrValues } from './authentication-context.ts';

/** A sign-in that is not finished. */
const Pending = z.object({
  id: z.string(),
  /** What is due: a second factor, or that a better one is set up. */
  due: z.enum(['factor', 'enrolment']),
  userId: z.uuid(),
  /** When the password had been set, in milliseconds: one that changes meanwhile undoes this. */
  credential: z.number(),
  /** Methods that were shown so far (RFC 8176). */
  amr: z.array(z.string()),
  /** When the oldest of them was, in seconds since the epoch. */
  ts: z.number(),
  clientId: z.string().optional(),
  deviceHash: z.string().optional(),
  /** The device is a browser that showed a cookie of its own. */
  browser: z.boolean(),
  /** After the second factor a better one must be set up. */
  enrols: z.boolean(),
  /** The class that must be reached, of those that were asked for. */
  needs: z.enum(acrValues).optional(),
  /** In milliseconds since the epoch. */
  expiresAt: z.number(),
});
export type Pending = z.output<typeof Pending>;

/** How long the second step may take. */
export const pendingMs = 15 * 60_000;

/** What the sealed token is bound to; it is nobody's row. */
const row = 'mfa-token';

export const invalidMfaToken = () =>
  new AppError(401, 'invalid_mfa_token', 'The sign-in has expired, or is not valid; begin again');

export const createMfaToken = (
  secrets: Secrets,
  pending: Omit<Pending, 'id' | 'expiresAt' | 'credential' | 'userId'> & {
    user: Pick<User, 'id' | 'passwordChangedAt'>;
  },
): string => {
  const { user, ...rest } = pending;
  const sealed: Pending = {
    ...rest,
    id: randomToken(),
    userId: user.id,
    credential: Number(user.passwordChangedAt ?? 0),
    expiresAt: Date.now() + pendingMs,
  };
  return secrets.seal('mfa-token', row, JSON.stringify(sealed)).toString('base64url');
};

const readMfaToken = (secrets: Secrets, token: string): Pending | undefined => {
  try {
    return Pending.parse(JSON.parse(secrets.open('mfa-token', row, Buffer.from(token, 'base64url')).toString()));
  } catch {
    return undefined;
  }
};

/** @throws AppError 401 invalid_mfa_token when it is not ours, too old, or the account has changed since */
export const openMfaToken = async (
  { db, secrets }: { db: Db; secrets: Secrets },
  token: string,
): Promise<Pending & { user: User }> => {
  const pending = readMfaToken(secrets, token);
  const user = pending && pending.expiresAt > Date.now() ? await findUser(db, pending.userId) : undefined;
  if (!pending || user?.status !== 'active' || Number(user.passwordChangedAt ?? 0) !== pending.credential)
    throw invalidMfaToken();
  return { ...pending, user };
};

/** Uses the token up: of two sign-ins that it would finish, one is. Pass the transaction that records it. @throws AppError 401 */
export const spendMfaToken = async (db: Db, { id, expiresAt }: Pick<Pending, 'id' | 'expiresAt'>): Promise<void> => {
  if (!(await consumeOnce(db, `mfa-token ${id}`, expiresAt))) throw invalidMfaToken();
};

type Token = Pick<Pending, 'id' | 'expiresAt'>;
const enrolment = ({ id }: Pick<Token, 'id'>) => `mfa-enrolment ${id}`;

/** Notes that a factor was set up by the token, which sets up no other. Pass the transaction that adds it. @throws AppError 401 */
export const noteEnrolment = async (db: Db, token: Token): Promise<void> => {
  if (!(await consumeOnce(db, enrolment(token), token.expiresAt))) throw invalidMfaToken();
};

/** Whether the factor that somebody has was set up by this token. */
export const isEnrolledBy = (db: Db, token: Pick<Token, 'id'>): Promise<boolean> => isConsumed(db, enrolment(token));
