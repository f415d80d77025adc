/** Signatures of cookies, as the package `keygrip` makes them for Koa: HMAC-SHA-1, base64url. A request looks at half a dozen. */
import { createHmac, createSecretKey } from 'node:crypto';
import { equalInConstantTime } from './secrets.ts';

/** What Koa and the engine sign and verify their cookies with. */
export interface CookieKeys {
  sign(data: string): string;
  verify(data: string, signature: string): boolean;
  /** Which of the keys has signed; -1 when none has. */
  index(data: string, signature: string): number;
}

/**
 * The package takes keys as text, and compares under two more HMACs with a random key, which costs ten times what this does.
 * @param keys the first signs, all of them verify
 */
export const createCookieKeys = (keys: readonly string[]): CookieKeys => {
  const signers = keys.map((key) => {
    const secret = createSecretKey(key, 'utf8');
    return (data: string) => createHmac('sha1', secret).update(data).digest('base64url');
  });
  const [sign] = signers;
  if (!sign) throw new Error('cookies need a key');
  const index = (data: string, signature: string) =>
    signers.findIndex((sign) => equalInConstantTime(sign(data), signature));
  return { sign, verify: (data, signature) => index(data, signature) >= 0, index };
};
