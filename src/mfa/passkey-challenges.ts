/**
 * Challenges of WebAuthn ceremonies. A challenge is a sealed value that says itself what it was made for, so nothing is
 * kept until it comes back, signed: 16 random bytes (WebAuthn Level 3 section 13.4.3), the ceremony, and when it ends.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { hashToken, type Secrets } from '../secrets.ts';
import type { Standing } from './factor-changes.ts';

/** What somebody is asked to do with a passkey, and what the answer is good for: nothing else, and nobody else. */
export type Ceremony =
  /** `passwordless`: it must be able to sign in alone. */
  | { kind: 'register'; userId: string; standing: Standing; passwordless?: boolean }
  /** First factor, at an interaction of the pages (`at` is its uid) or over REST (`restSignIn`); of anybody, or of `userId`. */
  | { kind: 'sign-in'; at: string; userId?: string | undefined }
  /** Second factor of the sign-in that `mfaToken` carries. */
  | { kind: 'second-factor'; mfaToken: string; userId: string };

export type Registering = Extract<Ceremony, { kind: 'register' }>;
/** A sign-in that a passkey is to be the first, or the second, factor of. */
export type SigningIn = Exclude<Ceremony, Registering>;

/** `at` of a sign-in over REST, which is at no interaction. */
export const restSignIn = 'rest';

const Challenge = z.object({
  id: z.string(),
  kind: z.enum(['register', 'sign-in', 'second-factor']),
  bound: z.string(),
  userId: z.string().optional(),
  passwordless: z.boolean(),
  /** In milliseconds since the epoch. */
  expiresAt: z.number(),
});
export type Challenge = z.output<typeof Challenge>;

export const challengeMs = 300_000;

/** What the sealed value is bound to; it is nobody's row. */
const row = 'passkey-challenge';

const boundTo = (ceremony: Ceremony): string => {
  if (ceremony.kind === 'register') return JSON.stringify(ceremony.standing);
  return ceremony.kind === 'sign-in' ? ceremony.at : hashToken(ceremony.mfaToken);
};

/** @returns the challenge's bytes */
export const createChallenge = (secrets: Secrets, ceremony: Ceremony): Buffer =>
  secrets.seal(
    'passkey',
    row,
    JSON.stringify({
      id: randomBytes(16).toString('base64url'),
      kind: ceremony.kind,
      bound: boundTo(ceremony),
      userId: ceremony.userId,
      // Alone it must be two factors: the device, and what the device knows its owner by.
      passwordless: ceremony.kind === 'sign-in' || (ceremony.kind === 'register' && ceremony.passwordless === true),
      expiresAt: Date.now() + challengeMs,
    } satisfies Challenge),
  );

/** @returns undefined when the challenge is not ours, not for this ceremony, or too old */
export const openChallenge = (secrets: Secrets, ceremony: Ceremony, challenge: string): Challenge | undefined => {
  let opened: Challenge;
  try {
    opened = Challenge.parse(JSON.parse(secrets.open('passkey', row, Buffer.from(challenge, 'base64url')).toString()));
  } catch {
    return undefined;
  }
  const { kind, bound, userId, expiresAt } = opened;
  const same = kind === ceremony.kind && bound === boundTo(ceremony);
  // What begins a sign-in names nobody; whom it was asked of is in the challenge.
  if (ceremony.kind !== 'sign-in' && userId !== ceremony.userId) return undefined;
  return same && expiresAt > Date.now() ? opened : undefined;
};
