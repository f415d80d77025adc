/**
 * Authentication context classes (`acr`): what applications may ask of a sign-in, and what they are told of one. They follow
 * from the methods that were used (`amr`), so that no token claims more than what happened.
 */

/** From the weakest to the strongest: each satisfies those before it. */
export const acrValues = [
  'urn:countersign:acr:single-factor',
  'urn:countersign:acr:multi-factor',
  'urn:countersign:acr:phishing-resistant',
] as const;
export type Acr = (typeof acrValues)[number];

/** In `amr`: no second factor was shown, because this browser is one that had shown it before and is remembered. */
export const rememberedBrowser = 'urn:countersign:amr:remembered-browser';

/** What a sign-in by these methods (RFC 8176) was. What a passkey signs is of no use to any other site than the one it is of. */
export const acrOf = (amr: readonly string[]): Acr => {
  if (!amr.includes('mfa')) return acrValues[0];
  return amr.includes('pop') ? acrValues[2] : acrValues[1];
};

const strength = (acr: string | undefined): number => acrValues.indexOf(acr as Acr);

/** Whether what was done is at least as strong as one of these classes. Ones that are not ours are never reached. */
export const satisfies = (acr: string | undefined, wanted: readonly string[]): boolean =>
  wanted.some((value) => strength(value) >= 0 && strength(acr) >= strength(value));

/** The weakest class that does for what is asked; undefined where any does. */
export const neededAcr = (wanted: readonly string[]): Acr | undefined =>
  acrValues.find((value, index) => index > 0 && wanted.includes(value) && !wanted.includes(acrValues[0]));

/** Whether there was a second factor, now or, where policy lets that count, on this browser before. */
export const hasSecondFactor = ({ amr }: { amr?: unknown }): boolean =>
  Array.isArray(amr) && (amr.includes('mfa') || amr.includes(rememberedBrowser));

/** The methods of a sign-in to which a second factor comes: two different factors, so nothing has to be excused any more. */
export const withSecondFactor = (amr: readonly string[], second: readonly string[]): string[] => [
  ...new Set([...amr, ...second].filter((method) => method !== 'mfa' && method !== rememberedBrowser)),
  'mfa',
];
