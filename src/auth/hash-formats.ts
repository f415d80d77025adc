/** What all verifiers of foreign password hashes share: what a format is, and how much work one may ask for. */
export type VerifyPassword = (password: Buffer) => Promise<boolean>;

export interface HashFormat {
  id: string;
  pattern: RegExp;
  /** Undefined when the parameters are impossible, or cost more than a sign-in may. */
  read(parts: Record<string, string>, stored: string): VerifyPassword | undefined;
}

export const maxMemoryBytes = 2 ** 30;
/** Memory times passes: seconds, not minutes, on a small machine. */
export const maxMemoryTraffic = 2 ** 32;

const digestBytes = { min: 16, max: 64 };
export const isDigest = (digest: Buffer) => digest.length >= digestBytes.min && digest.length <= digestBytes.max;

/** Standard base64, its URL-safe form, or passlib's "ab64", which writes `.` for `+`; padding is optional in all. */
export const fromBase64 = (text: string): Buffer => Buffer.from(text.replaceAll('.', '+'), 'base64');
export const base64 = (name: string) => `(?<${name}>[A-Za-z0-9+/.]{1,172}={0,2})`;

/**
 * HMAC pads its key with zeros (RFC 2104 section 2), so `secret` and `secret\0` have the same PBKDF2, and scrypt's,
 * which begins with PBKDF2. bcrypt either stops at the first NUL (the C implementations) or repeats `password\0` until
 * it has 72 bytes, so that `a` and `a\0a` are the same key. Hence a password with a NUL is never right for those.
 */
export const withoutNul =
  (verify: VerifyPassword): VerifyPassword =>
  async (password) =>
    !password.includes(0) && verify(password);
