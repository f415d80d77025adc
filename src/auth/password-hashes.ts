/**
 * Password hashes that other systems made, so that their users can be imported and sign in with the password they
 * have. Each is verified once: the sign-in that proves the password replaces it by our own (see passwords.ts).
 * To add a format, add an entry to `formats`.
 *
 * An imported hash is untrusted input. Its cost is bounded before any work is done, and a digest too short to
 * identify a password (an empty one would equal every password's) is refused.
 */
import { pbkdf2, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { parseOptions, verify as verifyArgon2 } from '@node-rs/argon2';
import { verify as verifyBcrypt } from '@node-rs/bcrypt';

export type VerifyPassword = (password: Buffer) => Promise<boolean>;

export interface HashFormat {
  id: 'argon2' | 'bcrypt' | 'scrypt' | 'pbkdf2' | 'django-pbkdf2';
  pattern: RegExp;
  /** Undefined when the parameters are impossible, or cost more than a sign-in may. */
  read(parts: Record<string, string>, stored: string): VerifyPassword | undefined;
}

const maxMemoryBytes = 2 ** 30;
/** Memory times passes: seconds, not minutes, on a small machine. */
const maxMemoryTraffic = 2 ** 32;
const maxParallelism = 16;
/** 2^16 rounds take a few seconds; each step doubles it, and 31 takes days. */
const maxBcryptCost = 16;
const maxIterations = 10_000_000;
const digestBytes = { min: 16, max: 64 };

const deriveScrypt = promisify<Buffer, Buffer, number, ScryptOptions, Buffer>(scrypt);
const derivePbkdf2 = promisify(pbkdf2);

/** Standard base64, or passlib's "ab64", which writes `.` for `+`; padding is optional in both. */
const fromBase64 = (text: string): Buffer => Buffer.from(text.replaceAll('.', '+'), 'base64');
const base64 = (name: string) => `(?<${name}>[A-Za-z0-9+/.]{1,172}={0,2})`;

const isDigest = (digest: Buffer) => digest.length >= digestBytes.min && digest.length <= digestBytes.max;

/**
 * HMAC pads its key with zeros (RFC 2104 section 2), so `secret` and `secret\0` have the same PBKDF2, and scrypt's,
 * which begins with PBKDF2. bcrypt either stops at the first NUL (the C implementations) or repeats `password\0` until
 * it has 72 bytes, so that `a` and `a\0a` are the same key. Hence a password with a NUL is never right for those.
 */
const withoutNul =
  (verify: VerifyPassword): VerifyPassword =>
  async (password) =>
    !password.includes(0) && verify(password);

const readPbkdf2 = (hash: string, iterations: number, salt: Buffer, digest: Buffer): VerifyPassword | undefined => {
  const blocks = Math.ceil(digest.length / { sha1: 20, sha256: 32, sha512: 64 }[hash as 'sha1' | 'sha256' | 'sha512']);
  if (!isDigest(digest) || iterations < 1 || iterations * blocks > maxIterations) return undefined;
  return withoutNul(async (password) =>
    timingSafeEqual(await derivePbkdf2(password, salt, iterations, digest.length, hash), digest),
  );
};

export const formats: readonly HashFormat[] = [
  {
    // argon2i, argon2d and argon2id as the reference implementation writes them; without `v` it is version 0x10.
    id: 'argon2',
    pattern: new RegExp(
      `^\\$argon2(?:id|i|d)\\$(?:v=(?:16|19)\\$)?m=(?<m>\\d{1,10}),t=(?<t>\\d{1,10}),p=(?<p>\\d{1,3})\\$${base64('salt')}\\$${base64('digest')}$`,
    ),
    read: ({ m, t, p, digest }, stored) => {
      const memoryBytes = Number(m) * 1024;
      if (memoryBytes > maxMemoryBytes || memoryBytes * Number(t) > maxMemoryTraffic || Number(p) > maxParallelism)
        return undefined;
      if (!isDigest(fromBase64(digest as string))) return undefined;
      try {
        parseOptions(stored);
      } catch {
        return undefined; // parameters that RFC 9106 section 3.1 excludes
      }
      return (password) => verifyArgon2(stored, password);
    },
  },
  {
    /*
     * `$2a$`, `$2b$` and `$2y$` are one algorithm under three names; `$2x$` marks hashes of a broken one and is refused.
     *
     * bcrypt reads 72 bytes and ignores the rest, so every longer password with the same first 72 bytes would be right.
     * NIST SP 800-63B section 3.1.1.2 forbids truncation, so longer ones are refused: what was proved is then exactly
     * what is hashed anew, and whoever chose a longer password elsewhere resets it. That the first 72 bytes of such a
     * password sign in can't be helped, because the hash is that of those bytes alone.
     */
    id: 'bcrypt',
    pattern: /^\$2[aby]\$(?<cost>\d\d)\$[./A-Za-z0-9]{53}$/,
    read: ({ cost }, stored) => {
      if (Number(cost) < 4 || Number(cost) > maxBcryptCost) return undefined;
      return withoutNul(async (password) => password.length <= 72 && verifyBcrypt(password, stored));
    },
  },
  {
    // The PHC string format, as passlib writes it; ln is the base-2 logarithm of N (RFC 7914 section 2).
    id: 'scrypt',
    pattern: new RegExp(
      `^\\$scrypt\\$ln=(?<ln>\\d{1,2}),r=(?<r>\\d{1,4}),p=(?<p>\\d{1,4})\\$${base64('salt')}\\$${base64('digest')}$`,
    ),
    read: (parts) => {
      const [ln, r, p] = [Number(parts.ln), Number(parts.r), Number(parts.p)];
      const [salt, digest] = [fromBase64(parts.salt as string), fromBase64(parts.digest as string)];
      if (ln < 1 || r < 1 || p < 1 || ln >= 16 * r || !isDigest(digest)) return undefined; // N < 2^(128 * r / 8)
      const blockBytes = 128 * r;
      const tooMuchMemory = blockBytes * 2 ** ln > maxMemoryBytes || blockBytes * p > maxMemoryBytes;
      if (tooMuchMemory || blockBytes * 2 ** ln * p > maxMemoryTraffic) return undefined;
      const options = { N: 2 ** ln, r, p, maxmem: blockBytes * (2 ** ln + p + 2) + 2 ** 20 };
      return withoutNul(async (password) =>
        timingSafeEqual(await deriveScrypt(password, salt, digest.length, options), digest),
      );
    },
  },
  {
    // passlib's `$pbkdf2-sha256$29000$salt$digest` and the PHC `$pbkdf2-sha256$i=29000,l=32$salt$digest`; `$pbkdf2$` is SHA-1.
    id: 'pbkdf2',
    pattern: new RegExp(
      `^\\$pbkdf2(?:-(?<hash>sha1|sha256|sha512))?\\$(?:i=)?(?<iterations>\\d{1,10})(?:,l=(?<l>\\d{1,3}))?\\$${base64('salt')}\\$${base64('digest')}$`,
    ),
    read: ({ hash = 'sha1', iterations, l, salt, digest }) => {
      const expected = fromBase64(digest as string);
      if (l !== undefined && Number(l) !== expected.length) return undefined;
      return readPbkdf2(hash, Number(iterations), fromBase64(salt as string), expected);
    },
  },
  {
    // Django's `pbkdf2_sha256$600000$salt$digest`; the salt is text.
    id: 'django-pbkdf2',
    pattern: new RegExp(
      `^pbkdf2_(?<hash>sha1|sha256)\\$(?<iterations>\\d{1,10})\\$(?<salt>[^$]{1,128})\\$${base64('digest')}$`,
    ),
    read: ({ hash, iterations, salt, digest }) =>
      readPbkdf2(hash as string, Number(iterations), Buffer.from(salt as string), fromBase64(digest as string)),
  },
];

/** How to verify against a stored hash; undefined when no password will ever be accepted for it (an import says so). */
export const readHash = (stored: string): { format: HashFormat['id']; verify: VerifyPassword } | undefined => {
  for (const format of formats) {
    const match = format.pattern.exec(stored);
    if (!match) continue;
    const verify = format.read({ ...match.groups }, stored);
    return verify && { format: format.id, verify };
  }
  return undefined;
};
