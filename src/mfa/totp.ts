/**
 * Time-based one-time passwords (RFC 6238), which are those of RFC 4226 with the time as the counter. A dozen lines over the
 * platform's HMAC, of which the property test sees that an implementation of somebody else's makes the same codes.
 */
import { createHmac } from 'node:crypto';
import { equalInConstantTime } from '../secrets.ts';

export interface TotpParameters {
  algorithm: 'SHA1' | 'SHA256' | 'SHA512';
  digits: 6 | 8;
  periodSeconds: number;
}

/** What every authenticator app understands; several ignore anything else that the URL says. */
export const usualTotp: TotpParameters = { algorithm: 'SHA1', digits: 6, periodSeconds: 30 };

/** How many steps a clock may be off, either way (RFC 6238 section 5.2 recommends one at most). */
export const driftSteps = 1;

/** @param at in milliseconds since the epoch */
export const stepAt = (at: number, { periodSeconds }: Pick<TotpParameters, 'periodSeconds'>): number =>
  Math.floor(at / 1000 / periodSeconds);

/** The code of a step (RFC 4226 section 5.3). */
export const totpCode = (
  secret: Uint8Array,
  step: number,
  { algorithm, digits }: Pick<TotpParameters, 'algorithm' | 'digits'>,
): string => {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac(algorithm.toLowerCase(), secret).update(counter).digest();
  const offset = (digest.at(-1) as number) & 0xf;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 10 ** digits).padStart(digits, '0');
};

/** The step whose code it is, within the drift; undefined when it is of none. All of them are compared, so that time tells nothing. */
export const matchTotp = (
  secret: Uint8Array,
  code: string,
  parameters: TotpParameters,
  at = Date.now(),
): number | undefined => {
  const present = stepAt(at, parameters);
  let matched: number | undefined;
  for (let step = Math.max(0, present - driftSteps); step <= present + driftSteps; step++)
    if (equalInConstantTime(totpCode(secret, step, parameters), code)) matched = step;
  return matched;
};

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** Base 32 (RFC 4648 section 6) without padding, as authenticator apps take keys. */
export const base32 = (bytes: Uint8Array): string => {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => alphabet[Number.parseInt(five.padEnd(5, '0'), 2)]).join('');
};

/**
 * What the QR code says: Google Authenticator's "Key URI Format".
 * @param issuer the service's name @param account whose code it is, for the list in the app
 */
export const otpauthUrl = (
  secret: Uint8Array,
  { issuer, account }: { issuer: string; account: string },
  { algorithm, digits, periodSeconds }: TotpParameters,
): string => {
  // A colon parts the two, so neither may have one.
  const label = [issuer, account].map((part) => encodeURIComponent(part.replaceAll(':', ' '))).join(':');
  const parameters = {
    secret: base32(secret),
    issuer: issuer.replaceAll(':', ' '),
    algorithm,
    digits,
    period: periodSeconds,
  };
  // Not URLSearchParams: apps show the plus signs that it makes of spaces.
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return `otpauth://totp/${label}?${query.join('&')}`;
};
