/**
 * scrypt (RFC 7914), as the PHC string format and Django write it, and Firebase's variant of it.
 *
 * Firebase derives a key by scrypt and stores its project's signer key encrypted under that. What a verifier needs is scattered
 * there: the salt is the person's, the rest the project's ("Password hash parameters" in its console). Here it is one string:
 *
 *     $firebase-scrypt$ln=<mem_cost>,r=<rounds>$<salt>$<base64_salt_separator>$<base64_signer_key>$<passwordHash>
 *
 * each part in base64, as the console and `firebase auth:export` give them.
 */
import { createCipheriv, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import {
  base64,
  fromBase64,
  type HashFormat,
  isDigest,
  maxMemoryBytes,
  maxMemoryTraffic,
  withoutNul,
} from './hash-formats.ts';

const derive = promisify<Buffer, Buffer, number, ScryptOptions, Buffer>(scrypt);

interface Cost {
  /** The base-2 logarithm of N (RFC 7914 section 2). */
  ln: number;
  r: number;
  p: number;
}

/** The options to derive with; undefined when they are impossible or too dear. */
const optionsOf = ({ ln, r, p }: Cost): ScryptOptions | undefined => {
  if (!(ln >= 1 && r >= 1 && p >= 1) || ln >= 16 * r) return undefined; // N < 2^(128 * r / 8)
  const blockBytes = 128 * r;
  const tooMuchMemory = blockBytes * 2 ** ln > maxMemoryBytes || blockBytes * p > maxMemoryBytes;
  if (tooMuchMemory || blockBytes * 2 ** ln * p > maxMemoryTraffic) return undefined;
  return { N: 2 ** ln, r, p, maxmem: blockBytes * (2 ** ln + p + 2) + 2 ** 20 };
};

const read = (cost: Cost, salt: Buffer, digest: Buffer) => {
  const options = optionsOf(cost);
  if (!options || !isDigest(digest)) return undefined;
  return withoutNul(async (password) => timingSafeEqual(await derive(password, salt, digest.length, options), digest));
};

/** AES-256-CTR from a counter of zero, under a key that is used for this alone. */
const encrypt = (key: Buffer, plaintext: Buffer): Buffer => {
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  return Buffer.concat([cipher.update(plaintext), cipher.final()]);
};

/** The ciphertext is as long as the signer key: a short one would be that of many passwords, an empty one that of all. */
const readFirebase = (cost: Cost, salt: Buffer, signerKey: Buffer, digest: Buffer) => {
  const options = optionsOf(cost);
  if (!options || !isDigest(digest) || digest.length !== signerKey.length) return undefined;
  return withoutNul(async (password) =>
    timingSafeEqual(encrypt(await derive(password, salt, 32, options), signerKey), digest),
  );
};

const url64 = (name: string, least = 1) => `(?<${name}>[A-Za-z0-9+/_-]{${least},172}={0,2})`;
const bytes = (part: string | undefined) => fromBase64(part ?? '');

export const scryptFormats: readonly HashFormat[] = [
  {
    // The PHC string format, as passlib writes it.
    id: 'scrypt',
    pattern: new RegExp(
      `^\\$scrypt\\$ln=(?<ln>\\d{1,2}),r=(?<r>\\d{1,4}),p=(?<p>\\d{1,4})\\$${base64('salt')}\\$${base64('digest')}$`,
    ),
    read: ({ ln, r, p, salt, digest }) =>
      read({ ln: Number(ln), r: Number(r), p: Number(p) }, bytes(salt), bytes(digest)),
  },
  {
    // Django's `scrypt$16384$salt$8$1$digest`: N itself, and a salt that is text.
    id: 'django-scrypt',
    pattern: new RegExp(
      `^scrypt\\$(?<n>\\d{1,10})\\$(?<salt>[^$]{1,128})\\$(?<r>\\d{1,4})\\$(?<p>\\d{1,4})\\$${base64('digest')}$`,
    ),
    read: ({ n, salt, r, p, digest }) => {
      const ln = Math.log2(Number(n));
      if (!Number.isInteger(ln)) return undefined;
      return read({ ln, r: Number(r), p: Number(p) }, Buffer.from(salt as string), bytes(digest));
    },
  },
  {
    id: 'firebase-scrypt',
    pattern: new RegExp(
      `^\\$firebase-scrypt\\$ln=(?<ln>\\d{1,2}),r=(?<r>\\d{1,2})\\$${url64('salt')}\\$${url64('separator', 0)}\\$${url64('signerKey')}\\$${url64('digest')}$`,
    ),
    read: ({ ln, r, salt, separator, signerKey, digest }) =>
      readFirebase(
        { ln: Number(ln), r: Number(r), p: 1 },
        Buffer.concat([bytes(salt), bytes(separator)]),
        bytes(signerKey),
        bytes(digest),
      ),
  },
];
