/**
 * Authentication context classes (`acr`): what applications may ask of a sign-in, and what they are told of one. They follow
 * from the methods that were used (`amr`), so that no token claims more than what happened.
 */

/** From the weakest to the strongest: each satisfies those before it. */
export const acrValues = ['urn:countersign:acr:single-factor', 'urn:countersign:acr:multi-factor'] as const;
export type Acr = (typeof acrValues)[number];

/** What a sign-in by these methods (RFC 8176) was. */
export const acrOf = (amr: readonly string[]): Acr => acrValues[amr.includes('mfa') ? 1 : 0];

const strength = (acr: string | undefined): number => acrValues.indexOf(acr as Acr);

/** Whether what was done is at least as strong as one of these classes. Ones that are not ours are never reached. */
export const satisfies = (acr: string | undefined, wanted: readonly string[]): boolean =>
  wanted.some((value) => strength(value) >= 0 && strength(acr) >= strength(value));

/** Whether a second factor is needed for any of these classes. */
export const needsTwoFactors = (wanted: readonly string[]): boolean => {
  const reachable = wanted.map(strength).filter((value) => value >= 0);
  return reachable.length > 0 && Math.min(...reachable) > 0;
};
