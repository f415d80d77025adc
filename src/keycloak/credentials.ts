/** Keycloak's credentials, `credentialData` and `secretData`, as this service stores them. */
import { z } from 'zod';
import { readHash } from '../auth/password-hashes.ts';
import { isSoundKey } from '../mfa/passkey-keys.ts';
import type { KeycloakCredential } from './realm.ts';

const parseJson = (text: string | undefined): unknown => {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
};

const PasswordSecret = z.object({ value: z.string(), salt: z.string().default('') });
/** Parameters are lists of texts, since they are a multi-valued map in Keycloak. */
const parameter = z
  .tuple([z.coerce.string()])
  .rest(z.unknown())
  .transform(([value]) => value);
const PasswordData = z.object({
  hashIterations: z.int().default(1),
  algorithm: z.string(),
  additionalParameters: z.record(z.string(), parameter).catch({}).default({}),
});

const hashes: Record<string, string> = {
  pbkdf2: 'sha1',
  'pbkdf2-sha1': 'sha1',
  'pbkdf2-sha256': 'sha256',
  'pbkdf2-sha512': 'sha512',
};

const unpadded = (text: string) => text.replace(/=+$/, '');

/** Argon2's version as Keycloak and as the PHC string write it. */
const argon2Versions: Record<string, number> = { '1.3': 19, '1.0': 16 };

/**
 * A password's hash as one string of the registry.
 * @returns undefined when it is of a kind that is not known, malformed, or dearer than a sign-in may be
 */
export const toPasswordHash = (credential: KeycloakCredential): string | undefined => {
  const isOld = credential.credentialData === undefined;
  const data = PasswordData.safeParse(isOld ? credential : parseJson(credential.credentialData));
  const secret = PasswordSecret.safeParse(
    isOld ? { value: credential.hashedSaltedValue, salt: credential.salt } : parseJson(credential.secretData),
  );
  if (!data.success || !secret.success) return undefined;
  const { algorithm, hashIterations, additionalParameters: more } = data.data;
  const { value, salt } = secret.data;
  const pbkdf2 = hashes[algorithm];
  const stored = pbkdf2
    ? `$pbkdf2-${pbkdf2}$i=${hashIterations}$${unpadded(salt)}$${unpadded(value)}`
    : algorithm === 'argon2'
      ? `$argon2${more.type ?? 'id'}$v=${argon2Versions[more.version ?? '1.3']}$m=${more.memory},t=${hashIterations},p=${more.parallelism}$${unpadded(salt)}$${unpadded(value)}`
      : // Providers that others have written keep a whole string there, bcrypt's above all.
        value;
  return readHash(stored) ? stored : undefined;
};

export interface ImportedTotp {
  name: string;
  secret: Buffer;
  algorithm: 'SHA1' | 'SHA256' | 'SHA512';
  digits: number;
  periodSeconds: number;
}

const OtpData = z.object({
  subType: z.enum(['totp', 'hotp']).default('totp'),
  digits: z.union([z.literal(6), z.literal(8)]).default(6),
  period: z.int().min(15).max(120).default(30),
  algorithm: z.enum(['HmacSHA1', 'HmacSHA256', 'HmacSHA512']).default('HmacSHA1'),
  secretEncoding: z.enum(['BASE32']).nullish(),
});
const OtpSecret = z.object({ value: z.string().min(1).max(500) });

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 4648 section 6; undefined for what is none. */
const fromBase32 = (text: string): Buffer | undefined => {
  const digits = text.toUpperCase().replace(/[\s=]/g, '');
  if (!/^[A-Z2-7]*$/.test(digits)) return undefined;
  const bits = [...digits].map((digit) => alphabet.indexOf(digit).toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
};

/** Whether a one-time password is one of a counter, of any age of the format. */
export const isHotp = ({ type, credentialData }: KeycloakCredential): boolean =>
  type === 'hotp' || (parseJson(credentialData) as { subType?: unknown } | undefined)?.subType === 'hotp';

/** An authenticator app. @returns undefined when its codes are none that are known here */
export const toTotp = (credential: KeycloakCredential): ImportedTotp | undefined => {
  const { credentialData, secretData, value, digits, period, algorithm, userLabel } = credential;
  const isOld = credentialData === undefined;
  const data = OtpData.safeParse(isOld ? { digits, period, algorithm } : parseJson(credentialData));
  const secret = OtpSecret.safeParse(isOld ? { value } : parseJson(secretData));
  if (!data.success || !secret.success || isHotp(credential)) return undefined;
  // Unless it is said to be encoded, the key is the text's own bytes (OTPCredentialModel.getDecodedSecret).
  const key = data.data.secretEncoding ? fromBase32(secret.data.value) : Buffer.from(secret.data.value);
  if (!key || key.length < 10 || key.length > 200) return undefined;
  return {
    name: labelOf(userLabel, 'Authenticator app'),
    secret: key,
    algorithm: data.data.algorithm.replace('Hmac', '') as ImportedTotp['algorithm'],
    digits: data.data.digits,
    periodSeconds: data.data.period,
  };
};

/** What somebody called it, if it can be shown. */
const labelOf = (label: string | undefined, fallback: string): string =>
  label?.replace(/\p{C}/gu, '').trim().slice(0, 60) || fallback;

export interface ImportedPasskey {
  name: string;
  /** base64url. */
  credentialId: string;
  /** COSE_Key. */
  publicKey: Buffer;
  counter: number;
  transports: string[];
  aaguid: string;
  /** Made for signing in without a password, so that the authenticator can find it by itself. */
  discoverable: boolean;
}

/** Standard base64 or its URL-safe form: Keycloak writes an id in one and a key in the other. */
const base64Text = z.string().regex(/^[A-Za-z0-9+/_-]+={0,2}$/);
const PasskeyData = z.object({
  aaguid: z.uuid().catch('00000000-0000-0000-0000-000000000000'),
  credentialId: base64Text.max(1400),
  counter: z.int().min(0).max(4_294_967_295).catch(0),
  credentialPublicKey: base64Text.max(4000),
  transports: z
    .array(z.string().regex(/^[a-z-]{1,32}$/))
    .max(10)
    .catch([]),
});

/** A passkey or security key. @returns undefined when its public key is none, or of an algorithm that is not used here */
export const toPasskey = ({ type, userLabel, credentialData }: KeycloakCredential): ImportedPasskey | undefined => {
  const data = PasskeyData.safeParse(parseJson(credentialData));
  if (!data.success) return undefined;
  const { aaguid, credentialId, counter, credentialPublicKey, transports } = data.data;
  const publicKey = Buffer.from(credentialPublicKey, 'base64');
  if (!isSoundKey(publicKey)) return undefined;
  return {
    name: labelOf(userLabel, 'Passkey'),
    credentialId: Buffer.from(credentialId, 'base64').toString('base64url'),
    publicKey,
    counter,
    transports,
    aaguid,
    discoverable: type === 'webauthn-passwordless',
  };
};
