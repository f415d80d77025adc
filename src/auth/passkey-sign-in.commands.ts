/** Signing in with a passkey alone. What comes then is `proceed`'s. */
import type { Actor } from '../audit/logs.commands.ts';
import { AppError } from '../errors.ts';
import type { AuthenticationResponse } from '../mfa/passkey-responses.ts';
import { verifyPasskey } from '../mfa/passkeys.commands.ts';
import { findUser } from '../users/users.queries.ts';
import { proceed, type SignInContext, type SignInDeps, type SignInOutcome } from './proceed.commands.ts';
import { recordFailure } from './record-sign-in.commands.ts';

export interface PasskeySignInDeps extends SignInDeps {
  /** Counts a try for the address that it comes from. @throws AppError 429 */
  limitPasskeys(address: string): Promise<void>;
  /** Gives the try back: it was right. */
  returnPasskeyTry(address: string): Promise<void>;
}

export interface PasskeySignInInput extends Pick<SignInContext, 'clientId' | 'deviceCookie' | 'acr'> {
  /** Where it was asked for: the interaction, or `restSignIn`. */
  at: string;
  response: AuthenticationResponse;
}

/**
 * Checks a passkey that somebody shows who has not said who they are. One that is unknown, a wrong signature, an address that
 * waits for confirmation and an account that is not active look alike.
 * @throws AppError 429
 */
export const signInWithPasskey = async (
  deps: PasskeySignInDeps,
  actor: Actor,
  { at, response, ...context }: PasskeySignInInput,
): Promise<SignInOutcome> => {
  const { db } = deps;
  const address = actor.address ?? '';
  await deps.limitPasskeys(address);
  const proof = await verifyPasskey(deps.mfa, actor, { kind: 'sign-in', at }, response);
  const user = proof && (await findUser(db, proof.userId));
  const unverified = deps.requireVerifiedEmail && !user?.emailVerifiedAt;
  const refuse = async (reason: 'wrong_passkey' | 'email_not_verified'): Promise<SignInOutcome> => {
    await recordFailure(deps, actor, { user, clientId: context.clientId, reason });
    deps.countSignIn(reason, { amr: ['pop'], clientId: context.clientId });
    return { kind: 'refused' };
  };
  if (!proof || user?.status !== 'active') return refuse('wrong_passkey');
  if (unverified) return refuse('email_not_verified');
  const { amr, effect: settle } = proof;
  const shown = { user, amr, ts: Math.floor(Date.now() / 1000) };
  const deviceHash = deps.hashDevice(user.id, actor, context.deviceCookie);
  try {
    const outcome = await proceed(deps, actor, shown, { ...context, deviceHash, settle });
    await deps.returnPasskeyTry(address);
    return outcome;
  } catch (error) {
    // Of two that bring the same answer at the same time one is too late.
    if (error instanceof AppError && error.code === 'invalid_passkey') return refuse('wrong_passkey');
    throw error;
  }
};
