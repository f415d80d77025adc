/**
 * Signing in with a password: identify, limit, verify. What comes then is `proceed`'s. The pages, the REST API and every
 * grant that takes a password go through here, and nobody checks a password at sign-in anywhere else.
 */
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { step } from '../observing.ts';
import { nobody, normalizeEmail, type User } from '../users/users.queries.ts';
import { type Circumstances, findCircumstances } from './circumstances.queries.ts';
import type { Device } from './guesses.ts';
import { findUserAndDevices } from './known-devices.queries.ts';
import { guessPassword } from './password-proofs.commands.ts';
import {
  assess,
  proceed,
  refuse,
  type SignInContext,
  type SignInDeps,
  type SignInOutcome,
} from './proceed.commands.ts';
import { recordFailure } from './record-sign-in.commands.ts';
import type { Assessment } from './risk.ts';

export interface SignInInput
  extends Pick<SignInContext, 'clientId' | 'deviceCookie' | 'acr' | 'mfaCode' | 'relayed' | 'putsOff' | 'effect'> {
  email: string;
  password: string;
}

/** What a password shows (RFC 8176). */
const amr: string[] = ['pwd'];

const deviceOf = (known: readonly string[], deviceHash: string, cookie: string | undefined): Device => {
  if (!known.includes(deviceHash)) return { kind: 'unknown' };
  return cookie ? { kind: 'proven', key: deviceHash } : { kind: 'known' };
};

/** Replaces a hash of an older kind, while it is still the one that was checked: a password changed meanwhile must stay changed. */
const replaceHash =
  ({ id, passwordHash }: User, upgrade: string) =>
  async (db: Db): Promise<void> => {
    await db('users').where({ id, passwordHash }).update({ passwordHash: upgrade });
  };

/**
 * Checks an address and a password. An unknown address, a wrong password, an address that waits for confirmation and an
 * account that is locked or not active look alike and cost the same, also to somebody who knows the password: else who
 * registers a stranger's address would learn by signing in that it had been free.
 * @throws AppError 429, or 503 when too many hashes wait
 */
export const signIn = async (deps: SignInDeps, actor: Actor, input: SignInInput): Promise<SignInOutcome> => {
  const { db } = deps;
  const { email: typed, password, ...context } = input;
  const { clientId, deviceCookie, relayed } = context;
  const email = normalizeEmail(typed);
  deps.passwords.assertRoom();
  const { user, deviceHashes } = await step('sign-in identify', () => findUserAndDevices(db, email));
  const deviceHash = deps.hashDevice(user?.id ?? nobody, actor, deviceCookie);
  const known = deviceOf(deviceHashes, deviceHash, deviceCookie);
  const device: Device = relayed && clientId ? { kind: 'relayed', clientId } : known;
  const unverified = deps.requireVerifiedEmail && !user?.emailVerifiedAt;
  const facts = { ...context, ...(relayed ? {} : { deviceHash, knownDevice: known.kind !== 'unknown' }) };
  const mayEnter = user?.status === 'active' && !unverified;
  let circumstances: Circumstances | undefined;
  let assessment: Assessment | undefined;
  const opens = async () => {
    if (user && mayEnter) {
      circumstances = await findCircumstances(db, user.id, clientId);
      assessment = await assess(deps, actor, user, facts, circumstances);
    }
    return mayEnter && assessment?.outcome !== 'refuse';
  };
  const guess = { email, address: actor.address, device };
  const { ok, opened, upgrade, held, locks } = await guessPassword(deps, guess, password, user?.passwordHash, opens);

  if (user && assessment && !opened) return refuse(deps, actor, { user, amr }, { ...facts, assessment, locks }, 'risk');
  if (!user || !opened) {
    const wrong = !ok ? 'wrong_password' : user?.status !== 'active' ? 'deactivated' : 'email_not_verified';
    const reason = !user ? 'unknown' : (held ?? wrong);
    await recordFailure(deps, actor, { user, clientId, reason, locks });
    deps.countSignIn(reason, { amr, clientId });
    return { kind: 'refused' };
  }
  const proof = { user, amr, ts: Math.floor(Date.now() / 1000) };
  return proceed(deps, actor, proof, {
    ...facts,
    ...{ circumstances, assessment },
    ...(upgrade ? { settle: replaceHash(user, upgrade) } : {}),
  });
};
