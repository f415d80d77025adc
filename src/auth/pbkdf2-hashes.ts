/** PBKDF2 with SHA-1, SHA-256 and SHA-512, as passlib, the PHC string format and Django write it. */
import { pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { base64, fromBase64, type HashFormat, isDigest, type VerifyPassword, withoutNul } from './hash-formats.ts';

const maxIterations = 10_000_000;
const blockBytes = { sha1: 20, sha256: 32, sha512: 64 };

const derive = promisify(pbkdf2);

const read = (hash: string, iterations: number, salt: Buffer, digest: Buffer): VerifyPassword | undefined => {
  const blocks = Math.ceil(digest.length / blockBytes[hash as keyof typeof blockBytes]);
  if (!isDigest(digest) || iterations < 1 || iterations * blocks > maxIterations) return undefined;
  return withoutNul(async (password) =>
    timingSafeEqual(await derive(password, salt, iterations, digest.length, hash), digest),
  );
};

export const pbkdf2Formats: readonly HashFormat[] = [
  {
    // passlib's `$pbkdf2-sha256$29000$salt$digest` and the PHC `$pbkdf2-sha256$i=29000,l=32$salt$digest`; `$pbkdf2$` is SHA-1.
    id: 'pbkdf2',
    pattern: new RegExp(
      `^\\$pbkdf2(?:-(?<hash>sha1|sha256|sha512))?\\$(?:i=)?(?<iterations>\\d{1,10})(?:,l=(?<l>\\d{1,3}))?\\$${base64('salt')}\\$${base64('digest')}$`,
    ),
    read: ({ hash = 'sha1', iterations, l, salt, digest }) => {
      const expected = fromBase64(digest as string);
      if (l !== undefined && Number(l) !== expected.length) return undefined;
      return read(hash, Number(iterations), fromBase64(salt as string), expected);
    },
  },
  {
    // Django's `pbkdf2_sha256$600000$salt$digest`; the salt is text.
    id: 'django-pbkdf2',
    pattern: new RegExp(
      `^pbkdf2_(?<hash>sha1|sha256)\\$(?<iterations>\\d{1,10})\\$(?<salt>[^$]{1,128})\\$${base64('digest')}$`,
    ),
    read: ({ hash, iterations, salt, digest }) =>
      read(hash as string, Number(iterations), Buffer.from(salt as string), fromBase64(digest as string)),
  },
];
