/**
 * Password hashes that other systems made, so that their users can be imported and sign in with the password they
 * have. Each is verified once: the sign-in that proves the password replaces it by our own (see passwords.ts).
 * To add a format, add an entry to the list of its family.
 *
 * An imported hash is untrusted input. Its cost is bounded before any work is done, and a digest too short to
 * identify a password (an empty one would equal every password's) is refused.
 */
import { argon2Formats } from './argon2-hashes.ts';
import { bcryptFormats } from './bcrypt-hashes.ts';
import type { HashFormat, VerifyPassword } from './hash-formats.ts';
import { pbkdf2Formats } from './pbkdf2-hashes.ts';
import { scryptFormats } from './scrypt-hashes.ts';

export const formats: readonly HashFormat[] = [...argon2Formats, ...bcryptFormats, ...scryptFormats, ...pbkdf2Formats];

/** How to verify against a stored hash; undefined when no password will ever be accepted for it (an import says so). */
export const readHash = (stored: string): { format: string; verify: VerifyPassword } | undefined => {
  for (const format of formats) {
    const match = format.pattern.exec(stored);
    if (!match) continue;
    const verify = format.read({ ...match.groups }, stored);
    return verify && { format: format.id, verify };
  }
  return undefined;
};
