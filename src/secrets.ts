/**
 * The keys that everything at rest is protected with, all derived from ENCRYPTION_MASTER_KEY by HKDF (RFC 5869): one
 * key per purpose, so that a ciphertext of one kind can never be opened as another.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

export type Purpose =
  | 'signing-key'
  | 'decryption-key'
  | 'user-data-key'
  | 'oidc-payload'
  | 'job'
  | 'phone-index'
  | 'one-time-code'
  | 'mfa-token'
  | 'totp'
  | 'backup-code'
  | 'passkey'
  | 'sign-in-link'
  | 'identity-provider'
  | 'federation'
  | 'upstream-token'
  | 'external-reference'
  | 'device'
  | 'cookie'
  | 'pairwise'
  | 'dpop-nonce'
  | 'client-attestation'
  | 'csrf';

export interface Secrets {
  /** AES-256-GCM; `row` (the row's identity) is associated data, so that a ciphertext can't be moved to another row. */
  seal(purpose: Purpose, row: string, plaintext: string | Uint8Array): Buffer;
  /** @throws Error when the ciphertext, the row or the master key is not the one that sealed it. */
  open(purpose: Purpose, row: string, sealed: Uint8Array): Buffer;
  /** HMAC-SHA-256 under the purpose's key, base64url: a blind index, or a value derived from an identity. */
  mac(purpose: Purpose, value: string): string;
}

const version = 1;

/** AES-256-GCM as `version | iv (12) | tag (16) | ciphertext`. */
export const sealWith = (key: Uint8Array, row: string, plaintext: string | Uint8Array): Buffer => {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(row));
  const body = Buffer.concat([
    typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext),
    cipher.final(),
  ]);
  return Buffer.concat([Buffer.from([version]), iv, cipher.getAuthTag(), body]);
};

/** Opens what `sealWith` made. @throws Error when anything about it differs. */
export const openWith = (key: Uint8Array, row: string, sealed: Uint8Array): Buffer => {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (bytes[0] !== version) throw new Error('unknown ciphertext version');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 13))
    .setAAD(Buffer.from(row))
    .setAuthTag(bytes.subarray(13, 29));
  return Buffer.concat([decipher.update(bytes.subarray(29)), decipher.final()]);
};

export const createSecrets = (masterKey: string): Secrets => {
  const keys = new Map<Purpose, Buffer>();
  const keyFor = (purpose: Purpose): Buffer => {
    let key = keys.get(purpose);
    if (!key) {
      key = Buffer.from(hkdfSync('sha256', masterKey, 'countersign', purpose, 32));
      keys.set(purpose, key);
    }
    return key;
  };
  return {
    seal: (purpose, row, plaintext) => sealWith(keyFor(purpose), row, plaintext),
    open: (purpose, row, sealed) => openWith(keyFor(purpose), row, sealed),
    mac: (purpose, value) => createHmac('sha256', keyFor(purpose)).update(value).digest('base64url'),
  };
};

/** What is stored instead of a bearer value (token, code, secret of 128 random bits or more): SHA-256, base64url. */
export const hashToken = (value: string): string => createHash('sha256').update(value).digest('base64url');

/** A bearer value of 256 random bits in URL-safe characters. */
export const randomToken = (): string => randomBytes(32).toString('base64url');

/** Compares two strings in time that depends only on their lengths. */
export const equalInConstantTime = (left: string, right: string): boolean => {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
};
