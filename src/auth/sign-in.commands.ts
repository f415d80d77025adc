/**
 * The one way to sign in: identify, limit, verify, decide, record. The pages, the REST API and every grant that takes a
 * password go through here, and nobody checks a password anywhere else.
 */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { findUserByEmail, normalizeEmail, type User } from '../users/users.queries.ts';
import type { AccountDeps } from './accounts.commands.ts';
import type { Device } from './guesses.ts';
import { isKnownDevice, rememberDevice } from './known-devices.queries.ts';
import {
  createMfaToken,
  invalidMfaToken,
  isMfaRequired,
  type MfaDeps,
  type MfaMethod,
  mfaMethods,
  openMfaToken,
  useMfaCode,
} from './mfa.commands.ts';
import { guessPassword } from './password-proofs.commands.ts';

/** What became of a sign-in, for `sign_ins_total`. */
export type SignInMetric =
  | 'signed_in'
  | 'unknown'
  | 'wrong_password'
  | 'email_not_verified'
  | 'deactivated'
  | 'locked'
  | 'delayed'
  | 'mfa_required'
  | 'wrong_code';

export interface SignInDeps extends Pick<AccountDeps, 'db' | 'passwords' | 'guesses' | 'hashDevice'> {
  requireVerifiedEmail: boolean;
  mfa: MfaDeps;
  countSignIn(outcome: SignInMetric): void;
}

export interface SignInInput {
  email: string;
  password: string;
  /** The second factor's code, where it is known already. */
  mfaCode?: string;
  clientId?: string;
  /** The application asked for a second factor, whoever signs in. */
  twoFactors?: boolean;
  /** The password came through an application that has authenticated: neither its address nor its User-Agent are a person's. */
  relayed?: boolean;
  /** What a browser shows to be known again. Without it a device is known by its network address and User-Agent. */
  deviceCookie?: string;
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
  | { kind: 'refused' }
  /** The password was right; `mfaToken` says so to whoever brings the second factor, for a quarter of an hour. */
  | { kind: 'mfa-required'; mfaToken: string; methods: MfaMethod[] }
  /** The password was right, the second factor was not. */
  | { kind: 'wrong-code' };

/** In place of an account, so that looking for its devices costs the same. */
const nobody = '00000000-0000-0000-0000-000000000000';

const deviceOf = async (db: Db, userId: string, deviceHash: string, cookie: string | undefined): Promise<Device> => {
  if (!(await isKnownDevice(db, userId, deviceHash))) return { kind: 'unknown' };
  return cookie ? { kind: 'proven', key: deviceHash } : { kind: 'known' };
};

/**
 * Checks an address and a password. An unknown address, a wrong password, an address that waits for confirmation and an
 * account that is locked or not active look alike and cost the same, also to somebody who knows the password: else who
 * registers a stranger's address would learn by signing in that it had been free.
 * @throws AppError 429, or 503 when too many hashes wait
 */
export const signIn = async (deps: SignInDeps, actor: Actor, input: SignInInput): Promise<SignInOutcome> => {
  const { db } = deps;
  const { password, clientId, deviceCookie } = input;
  const email = normalizeEmail(input.email);
  const user = await findUserByEmail(db, email);
  const deviceHash = deps.hashDevice(user?.id ?? nobody, actor, deviceCookie);
  const known = await deviceOf(db, user?.id ?? nobody, deviceHash, deviceCookie);
  const device: Device = input.relayed && clientId ? { kind: 'relayed', clientId } : known;
  const unverified = deps.requireVerifiedEmail && !user?.emailVerifiedAt;
  const opens = user?.status === 'active' && !unverified;
  const guess = { email, address: actor.address, device };
  const { ok, upgrade, held, locks } = await guessPassword(deps, guess, password, user?.passwordHash, opens);

  if (!user || !ok || !opens) {
    const wrong = !ok ? 'wrong_password' : user?.status !== 'active' ? 'deactivated' : 'email_not_verified';
    const reason = !user ? 'unknown' : (held ?? wrong);
    await recordFailure(db, actor, { userId: user?.id, clientId, reason, locks });
    deps.countSignIn(reason);
    return { kind: 'refused' };
  }
  const upgraded = upgrade ? { from: user.passwordHash, to: upgrade } : undefined;
  const facts = { clientId, upgrade: upgraded, ...(input.relayed ? {} : { deviceHash }) };
  if (input.twoFactors || (await isMfaRequired(deps.mfa, user.id))) {
    if (input.mfaCode !== undefined) return signInWithCode(deps, actor, user, facts, input.mfaCode);
    deps.countSignIn('mfa_required');
    const mfaToken = createMfaToken(deps.mfa, {
      userId: user.id,
      credential: Number(user.passwordChangedAt ?? 0),
      clientId,
      deviceHash: facts.deviceHash,
    });
    return { kind: 'mfa-required', mfaToken, methods: mfaMethods(deps.mfa, user) };
  }
  const signedIn = await recordSignIn(db, actor, user, facts);
  await deps.guesses.release(email);
  deps.countSignIn('signed_in');
  return { kind: 'signed-in', ...signedIn };
};

/** The second factor of somebody whose password was right. */
const signInWithCode = async (
  deps: SignInDeps,
  actor: Actor,
  user: User,
  facts: SignInFacts,
  code: string,
): Promise<SignInOutcome> => {
  const signedIn = await useMfaCode(deps.mfa, actor, user.id, code, (db, amr) =>
    recordSignIn(db, actor, user, { ...facts, amr }),
  );
  if (!signedIn) {
    await recordFailure(deps.db, actor, {
      userId: user.id,
      clientId: facts.clientId,
      reason: 'wrong_code',
      locks: false,
    });
    deps.countSignIn('wrong_code');
    return { kind: 'wrong-code' };
  }
  await deps.guesses.release(user.email);
  deps.countSignIn('signed_in');
  return { kind: 'signed-in', ...signedIn };
};

/**
 * Finishes a sign-in that asked for a second factor, at the application where it was begun.
 * @throws AppError 401 invalid_mfa_token, 429
 */
export const finishSignIn = async (
  deps: SignInDeps,
  actor: Actor,
  { mfaToken, code, clientId }: { mfaToken: string; code: string; clientId: string },
): Promise<SignInOutcome> => {
  const { user, deviceHash, clientId: begunWith } = await openMfaToken(deps.mfa, mfaToken);
  if (begunWith !== clientId) throw invalidMfaToken();
  return signInWithCode(deps, actor, user, { clientId, deviceHash }, code);
};

const recordFailure = (
  db: Db,
  actor: Actor,
  {
    userId,
    clientId,
    reason,
    locks,
  }: { userId: string | undefined; clientId: string | undefined; reason: SignInMetric; locks: boolean },
): Promise<void> =>
  db.transaction(async (db) => {
    const target = userId ? { target: { type: 'user', id: userId } } : {};
    const meta = { ...(clientId ? { clientId } : {}), reason };
    await recordEvent(db, actor, { action: 'session.sign_in_failed', ...target, meta });
    // Nobody in particular did it: the attempts came from many places.
    if (locks) await recordEvent(db, system, { action: 'account.lock', ...target, meta: {} });
  });

/** What is written down of a sign-in. */
export interface SignInFacts {
  clientId?: string | undefined;
  /** A hash of an older kind, and the one that takes its place. */
  upgrade?: { from: string | null; to: string } | undefined;
  deviceHash?: string | undefined;
  /** Authentication methods (RFC 8176); the password alone unless told otherwise. */
  amr?: string[];
}

/**
 * The pipeline's last step: writes down that somebody has signed in, knows their device from now on, and replaces a hash
 * of an older kind.
 */
export const recordSignIn = async (
  db: Db,
  actor: Actor,
  { id: userId, passwordChangedAt }: Pick<User, 'id' | 'passwordChangedAt'>,
  { clientId, upgrade, deviceHash, amr = ['pwd'] }: SignInFacts = {},
): Promise<SignIn> => {
  await db.transaction(async (db) => {
    await db('users').where({ id: userId }).update({ lastSignInAt: db.fn.now() });
    // Only while the hash is still the one that was checked: a password changed meanwhile must stay changed.
    if (upgrade)
      await db('users').where({ id: userId, passwordHash: upgrade.from }).update({ passwordHash: upgrade.to });
    if (deviceHash) await rememberDevice(db, userId, deviceHash);
    const meta = { ...(clientId ? { clientId } : {}), amr };
    await recordEvent(
      db,
      { ...actor, type: 'user', id: userId },
      { action: 'session.sign_in', target: { type: 'user', id: userId }, meta },
    );
  });
  return { userId, amr, ts: Math.floor(Date.now() / 1000), credential: Number(passwordChangedAt ?? 0) };
};
