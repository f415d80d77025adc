/** Why somebody could not be signed in by a provider. */

/**
 * - `cancelled`: the person, or the provider for them, said no.
 * - `unavailable`: the provider cannot be reached, or not used now.
 * - `invalid`: its answer does not hold: a signature, an issuer, a nonce, a shape.
 * - `misconfigured`: it refuses this service: a wrong secret, say. It is for the operator to mend.
 * - `not_fresh`: it did not say that the person signed in there anew, which was asked for.
 * - `wrong_account`: the account is none of those that may be used.
 * - `expired`: what was begun is over, was used already, or was begun in another browser.
 */
export type FederationReason =
  | ('cancelled' | 'unavailable' | 'invalid' | 'misconfigured')
  | ('not_fresh' | 'wrong_account' | 'expired');

/** `message` is for the log: it may quote what the provider said, never a token. */
export class FederationError extends Error {
  readonly reason: FederationReason;
  constructor(reason: FederationReason, message: string, options?: ErrorOptions) {
    super(message.slice(0, 500), options);
    this.name = 'FederationError';
    this.reason = reason;
  }
}
