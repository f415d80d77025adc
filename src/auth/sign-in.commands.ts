/**
 * The one way to sign in: identify, limit, verify, decide, record. The pages, the REST API and every grant that takes a
 * password go through here, and nobody checks a password anywhere else.
 */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { findUserByEmail, normalizeEmail, type User } from '../users/users.queries.ts';
import { type AccountDeps, guessPassword } from './accounts.commands.ts';

export interface SignInDeps
  extends Pick<AccountDeps, 'db' | 'passwords' | 'limitGuesses' | 'forgiveGuess' | 'returnGuess'> {
  requireVerifiedEmail: boolean;
}

export interface SignInInput {
  email: string;
  password: string;
  /** The second factor's code, where it is known already. */
  mfaCode?: string;
  clientId?: string;
}

/** A sign-in as the engine is to remember it. */
export interface SignIn {
  userId: string;
  /** Authentication methods (RFC 8176). */
  amr: string[];
  /** When the password was checked, in seconds since the epoch: `auth_time`. */
  ts: number;
  /** When the password that was given had been set, in milliseconds; 0: never. A change since then undoes the sign-in. */
  credential: number;
}

export type SignInOutcome =
  | ({ kind: 'signed-in' } & SignIn)
  | { kind: 'refused'; code: 'wrong_credentials' | 'email_not_verified' };

/**
 * Checks an address and a password. An unknown address, a wrong password and an account that is not active look alike
 * and cost the same; that an address waits for verification is told only to somebody who knows the password.
 * @throws AppError 429, or 503 when too many hashes wait
 */
export const signIn = async (
  deps: SignInDeps,
  actor: Actor,
  { email: given, password, clientId }: SignInInput,
): Promise<SignInOutcome> => {
  const { db } = deps;
  const email = normalizeEmail(given);
  const user = await findUserByEmail(db, email);
  const guess = { email, address: actor.address };
  const { ok, upgrade } = await guessPassword(deps, guess, password, user?.passwordHash);
  const target = user ? { type: 'user', id: user.id } : undefined;
  const meta = clientId ? { clientId } : {};

  if (!user || !ok || user.status !== 'active') {
    const reason = !user ? 'unknown' : !ok ? 'wrong_password' : user.status;
    await recordEvent(db, actor, {
      action: 'session.sign_in_failed',
      ...(target ? { target } : {}),
      meta: { ...meta, reason },
    });
    return { kind: 'refused', code: 'wrong_credentials' };
  }
  if (deps.requireVerifiedEmail && !user.emailVerifiedAt) {
    await recordEvent(db, actor, {
      action: 'session.sign_in_failed',
      target: { type: 'user', id: user.id },
      meta: { ...meta, reason: 'email_not_verified' },
    });
    return { kind: 'refused', code: 'email_not_verified' };
  }
  const upgraded = upgrade ? { from: user.passwordHash, to: upgrade } : undefined;
  return { kind: 'signed-in', ...(await recordSignIn(db, actor, user, clientId, upgraded)) };
};

/** The pipeline's last step: writes down that somebody has signed in, and replaces a hash of an older kind. */
export const recordSignIn = async (
  db: Db,
  actor: Actor,
  { id: userId, passwordChangedAt }: Pick<User, 'id' | 'passwordChangedAt'>,
  clientId: string | undefined,
  upgrade?: { from: string | null; to: string },
): Promise<SignIn> => {
  const amr = ['pwd'];
  await db.transaction(async (db) => {
    await db('users').where({ id: userId }).update({ lastSignInAt: db.fn.now() });
    // Only while the hash is still the one that was checked: a password changed meanwhile must stay changed.
    if (upgrade)
      await db('users').where({ id: userId, passwordHash: upgrade.from }).update({ passwordHash: upgrade.to });
    const meta = { ...(clientId ? { clientId } : {}), amr };
    await recordEvent(
      db,
      { ...actor, type: 'user', id: userId },
      { action: 'session.sign_in', target: { type: 'user', id: userId }, meta },
    );
  });
  return { userId, amr, ts: Math.floor(Date.now() / 1000), credential: Number(passwordChangedAt ?? 0) };
};
