/**
 * bcrypt, and Django's two ways of writing it. `$2a$`, `$2b$` and `$2y$` are one algorithm under three names; `$2x$` marks
 * hashes of a broken one and is refused.
 */
import { createHash } from 'node:crypto';
import { verify as verifyBcrypt } from '@node-rs/bcrypt';
import { type HashFormat, withoutNul } from './hash-formats.ts';

/** 2^16 rounds take a few seconds; each step doubles it, and 31 takes days. */
const maxCost = 16;

const modular = '\\$2[aby]\\$(?<cost>\\d\\d)\\$[./A-Za-z0-9]{53}';
const isAffordable = (cost: string | undefined) => Number(cost) >= 4 && Number(cost) <= maxCost;

/**
 * bcrypt reads 72 bytes and ignores the rest, so every longer password with the same first 72 bytes would be right.
 * NIST SP 800-63B section 3.1.1.2 forbids truncation, so longer ones are refused: what was proved is then exactly
 * what is hashed anew, and whoever chose a longer password elsewhere resets it. That the first 72 bytes of such a
 * password sign in can't be helped, because the hash is that of those bytes alone.
 */
const read: HashFormat['read'] = ({ cost }, stored) =>
  isAffordable(cost)
    ? withoutNul(async (password) => password.length <= 72 && verifyBcrypt(password, stored))
    : undefined;

export const bcryptFormats: readonly HashFormat[] = [
  { id: 'bcrypt', pattern: new RegExp(`^${modular}$`), read },
  {
    id: 'django-bcrypt',
    pattern: new RegExp(`^bcrypt\\$${modular}$`),
    read: (parts, stored) => read(parts, stored.slice('bcrypt$'.length)),
  },
  {
    // bcrypt of the password's SHA-256 in hexadecimal: 64 characters, whatever the password's length, and no NUL among them.
    id: 'django-bcrypt-sha256',
    pattern: new RegExp(`^bcrypt_sha256\\$${modular}$`),
    read: ({ cost }, stored) =>
      isAffordable(cost)
        ? (password) =>
            verifyBcrypt(createHash('sha256').update(password).digest('hex'), stored.slice('bcrypt_sha256$'.length))
        : undefined,
  },
];
