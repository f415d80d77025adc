/**
 * Where a password is asked for: at sign-in, and of somebody who has come further (a session, a mailed link) and is to show
 * that they know it. Every try is counted before it is made.
 */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import { step } from '../observing.ts';
import type { User } from '../users/users.queries.ts';
import type { Attempt, Device, Guess, Guesses } from './guesses.ts';
import type { Passwords } from './passwords.ts';

export interface ProofDeps {
  db: Db;
  passwords: Passwords;
  guesses: Guesses;
}

/**
 * Checks a password, counted as a guess before it is tried. The hash is computed however the guess is answered.
 * @param opens asked when the password is right: false when even that lets nobody in, so that it must not be forgiven either:
 * what the counters say would tell it from a wrong one
 * @throws AppError 429, or 503 when too many hashes wait
 */
export const guessPassword = async (
  deps: Pick<ProofDeps, 'passwords' | 'guesses'>,
  guess: Guess,
  password: string,
  stored: string | null | undefined,
  opens: () => Promise<boolean> = () => Promise.resolve(true),
): Promise<{ ok: boolean; opened: boolean; upgrade?: string } & Pick<Attempt, 'held' | 'locks'>> => {
  const attempt = await step('sign-in limit', () => deps.guesses.begin(guess));
  const { ok: right, ...result } = await step('sign-in verify factor', () =>
    deps.passwords.verify(password, stored ?? undefined),
  ).catch(async (error: unknown) => {
    await attempt.undo();
    throw error;
  });
  const { held, locks } = attempt;
  const ok = right && !held;
  const opened = ok && (await opens());
  if (opened) await attempt.forgive();
  return { ...result, ok, opened, held, locks };
};

/** What the password is asked for, and where tries at it are counted. */
export interface PasswordProof {
  operation: 'change_password' | 'change_factors' | 'close_account' | 'verify_email';
  password: string;
  device: Device;
}

/**
 * Has somebody show that they know the account's password. A wrong one is written down: whoever tries has a session or a
 * mailed link, and the owner would like to know.
 * @param user undefined for nobody, whose password is as wrong as any
 * @returns the user
 * @throws AppError 400 with the field that the password came in, 429, or 503 when too many hashes wait
 */
export const provePassword = async (
  deps: ProofDeps,
  actor: Actor,
  user: User | undefined,
  { operation, password, device }: PasswordProof,
): Promise<User> => {
  const guess = { email: user?.email ?? '', address: actor.address, device };
  const { ok, locks } = await guessPassword(deps, guess, password, user?.passwordHash);
  if (user && ok) return user;
  const target = user ? { target: { type: 'user', id: user.id } } : {};
  await deps.db.transaction(async (db) => {
    await recordEvent(db, actor, { action: 'password.guess_failed', ...target, meta: { operation } });
    // Nobody in particular did it: the attempts came from many places.
    if (locks) await recordEvent(db, system, { action: 'account.lock', ...target, meta: {} });
  });
  if (operation === 'change_password') {
    throw invalid('invalid_request', 'The current password is wrong', {
      fields: [{ field: 'currentPassword', code: 'wrong_current_password', message: 'is wrong' }],
    });
  }
  throw invalid('invalid_request', 'The password is wrong', {
    fields: [{ field: 'password', code: 'password_wrong', message: 'is wrong' }],
  });
};
