/**
 * The one way to sign in: identify, limit, verify, decide, record. The pages, the REST API and every grant that takes a
 * password go through here, and nobody checks a password anywhere else.
 */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { findUserByEmail, normalizeEmail } from '../users/users.queries.ts';
import type { Passwords } from './passwords.ts';

export interface SignInDeps {
  db: Db;
  passwords: Passwords;
  requireVerifiedEmail: boolean;
  /** Counts an attempt. @throws AppError 429 when there were too many failed ones for this account from this address, or from this address */
  limitSignIns(email: string, address: string): Promise<void>;
  /** Takes the attempt back, since it did not fail. */
  forgiveSignIn(email: string, address: string): Promise<void>;
}

export interface SignInInput {
  email: string;
  password: string;
  clientId?: string;
}

export type SignInOutcome =
  | { kind: 'signed-in'; userId: string; amr: string[] }
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
  const { db, passwords } = deps;
  const email = normalizeEmail(given);
  const address = actor.address ?? '';
  // Counted before the check, so that attempts made at the same time cannot all slip under the limit.
  await deps.limitSignIns(email, address);
  const user = await findUserByEmail(db, email);
  const { ok, upgrade } = await passwords.verify(password, user?.passwordHash ?? undefined);
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
  await deps.forgiveSignIn(email, address);
  if (deps.requireVerifiedEmail && !user.emailVerifiedAt) {
    await recordEvent(db, actor, {
      action: 'session.sign_in_failed',
      target: { type: 'user', id: user.id },
      meta: { ...meta, reason: 'email_not_verified' },
    });
    return { kind: 'refused', code: 'email_not_verified' };
  }
  const amr = await recordSignIn(
    db,
    actor,
    user.id,
    clientId,
    upgrade ? { from: user.passwordHash, to: upgrade } : undefined,
  );
  return { kind: 'signed-in', userId: user.id, amr };
};

/**
 * The pipeline's last step: writes down that somebody has signed in, and replaces a hash of an older kind.
 * @returns the authentication methods (RFC 8176) for `amr`
 */
export const recordSignIn = async (
  db: Db,
  actor: Actor,
  userId: string,
  clientId: string | undefined,
  upgrade?: { from: string | null; to: string },
): Promise<string[]> => {
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
  return amr;
};
