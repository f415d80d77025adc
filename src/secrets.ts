/**
 * The keys that everything at rest is protected with: one per purpose, so that a ciphertext of one kind can never be opened
 * as another. What is sealed names the master key under which it was; the keys come from that by HKDF (RFC 5869). What is
 * derived for good (`lastingPurposes`) has keys of its own, which are stored and wrapped: see `lasting-keys.ts`.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
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
  | 'code-subject'
  | 'mfa-token'
  | 'totp'
  | 'backup-code'
  | 'passkey'
  | 'identity-provider'
  | 'federation'
  | 'external-reference'
  | 'device'
  | 'cookie'
  | 'pairwise'
  | 'dpop-nonce'
  | 'client-attestation'
  | 'cursor'
  | 'csrf'
  | 'access-cache'
  | 'lasting-key';

/** Those whose `mac` must stay what it is whatever becomes of the master key: it is stored, or known elsewhere. */
export const lastingPurposes = [
  'pairwise',
  'passkey',
  'backup-code',
  'device',
  'phone-index',
  'external-reference',
  'code-subject',
  // Not stored, but the engine takes one key alone, and replicas must agree on it.
  'dpop-nonce',
  'client-attestation',
] as const satisfies readonly Purpose[];

export interface Secrets {
  /** AES-256-GCM; `row` (the row's identity) is associated data, so that a ciphertext can't be moved to another row. */
  seal(purpose: Purpose, row: string, plaintext: string | Uint8Array): Buffer;
  /** @throws Error when the ciphertext, the row or a master key is not the one that sealed it. */
  open(purpose: Purpose, row: string, sealed: Uint8Array): Buffer;
  /** HMAC-SHA-256 under the purpose's key, base64url: a blind index, or a value derived from an identity. */
  mac(purpose: Purpose, value: string): string;
  /** `mac`, and what it is under the master key that is accepted besides: to compare with, or to verify. */
  macs(purpose: Purpose, value: string): string[];
  /** Names the master key that seals; it says nothing about the key. 16 hexadecimal digits. */
  keyId: string;
  /** Names the one that is accepted besides. */
  acceptedKeyId: string | undefined;
  /** With what everything begins that is sealed now: nine bytes, so twelve characters of base64 without a rest. */
  prefix: Buffer;
  /** Whether a ciphertext is under the master key that seals now. */
  isCurrent(sealed: Uint8Array): boolean;
}

const version = 1;
/** Of what a master key sealed: `2 | key id (8) | as sealWith makes it`. What has none of it is of before there were key ids. */
const namedVersion = 2;
const keyIdBytes = 8;
const prefixBytes = 1 + keyIdBytes;

/** AES-256-GCM as `version | iv (12) | tag (16) | ciphertext`. */
export const sealWith = (key: Uint8Array | KeyObject, row: string, plaintext: string | Uint8Array): Buffer => {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(row));
  const body = Buffer.concat([
    typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext),
    cipher.final(),
  ]);
  return Buffer.concat([Buffer.from([version]), iv, cipher.getAuthTag(), body]);
};

/** Opens what `sealWith` made. @throws Error when anything about it differs. */
export const openWith = (key: Uint8Array | KeyObject, row: string, sealed: Uint8Array): Buffer => {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (bytes[0] !== version) throw new Error('unknown ciphertext version');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 13))
    .setAAD(Buffer.from(row))
    .setAuthTag(bytes.subarray(13, 29));
  return Buffer.concat([decipher.update(bytes.subarray(29)), decipher.final()]);
};

/** A master key as a ring of them holds it: its name, and the keys that are derived from it. */
const createMasterKey = (secret: string) => {
  const derive = (info: string, length: number) => Buffer.from(hkdfSync('sha256', secret, 'countersign', info, length));
  // As objects: of bytes, Node finds out each time, by errors that it throws and catches, that they are none, which takes 17 µs.
  const keys = new Map<Purpose, KeyObject>();
  const keyFor = (purpose: Purpose): KeyObject => {
    let key = keys.get(purpose);
    if (!key) {
      key = createSecretKey(derive(purpose, 32));
      keys.set(purpose, key);
    }
    return key;
  };
  const id = derive('name of the master key', keyIdBytes);
  return { id: id.toString('hex'), prefix: Buffer.concat([Buffer.from([namedVersion]), id]), keyFor };
};

/**
 * @param masterKey seals and opens
 * @param accepted opens alone: the one before, or the next (ENCRYPTION_MASTER_KEY_ACCEPTED)
 * @param lasting the stored keys of `lastingPurposes`; where one is missing, it is derived as the others are
 */
export const createSecrets = (
  masterKey: string,
  accepted?: string,
  lasting: ReadonlyMap<Purpose, Uint8Array> = new Map(),
): Secrets => {
  const current = createMasterKey(masterKey);
  const ring = [current, ...(accepted === undefined ? [] : [createMasterKey(accepted)])];
  const lastingKeys = new Map([...lasting].map(([purpose, bytes]) => [purpose, createSecretKey(bytes)]));
  const macWith = (key: KeyObject, value: string) => createHmac('sha256', key).update(value).digest('base64url');
  const macs = (purpose: Purpose, value: string): string[] => {
    const key = lastingKeys.get(purpose);
    return key ? [macWith(key, value)] : ring.map(({ keyFor }) => macWith(keyFor(purpose), value));
  };
  const isCurrent = (sealed: Uint8Array) => current.prefix.equals(sealed.subarray(0, prefixBytes));

  const open: Secrets['open'] = (purpose, row, sealed) => {
    if (sealed[0] === namedVersion) {
      const id = Buffer.from(sealed.subarray(1, prefixBytes)).toString('hex');
      const key = ring.find((key) => key.id === id);
      if (!key) throw new UnknownMasterKey(id, ring);
      return openWith(key.keyFor(purpose), row, sealed.subarray(prefixBytes));
    }
    for (const key of ring.slice(0, -1)) {
      try {
        return openWith(key.keyFor(purpose), row, sealed);
      } catch {
        // Perhaps the next.
      }
    }
    return openWith((ring.at(-1) ?? current).keyFor(purpose), row, sealed);
  };

  return {
    seal: (purpose, row, plaintext) =>
      Buffer.concat([current.prefix, sealWith(current.keyFor(purpose), row, plaintext)]),
    open,
    mac: (purpose, value) => macWith(lastingKeys.get(purpose) ?? current.keyFor(purpose), value),
    macs,
    keyId: current.id,
    acceptedKeyId: ring[1]?.id,
    prefix: current.prefix,
    isCurrent,
  };
};

/** What `mac` used before its keys were stored: the key of a purpose as it comes from a master key. */
export const derivedKey = (masterKey: string, purpose: Purpose): Buffer =>
  createMasterKey(masterKey).keyFor(purpose).export();

/** Thrown when something was sealed under a master key that is none of those set. */
export class UnknownMasterKey extends Error {
  constructor(id: string, set: readonly { id: string }[]) {
    super(
      `sealed under the master key ${id}; set ${set.length > 1 ? 'are' : 'is'} ${set.map((key) => key.id).join(' and ')}`,
    );
    this.name = 'UnknownMasterKey';
  }
}

/** What is stored instead of a bearer value (token, code, secret of 128 random bits or more): SHA-256, base64url. */
export const hashToken = (value: string): string => hash('sha256', value, 'base64url');

/** A bearer value of 256 random bits in URL-safe characters. */
export const randomToken = (): string => randomBytes(32).toString('base64url');

/** Compares two strings in time that depends only on their lengths. */
export const equalInConstantTime = (left: string, right: string): boolean => {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
};
