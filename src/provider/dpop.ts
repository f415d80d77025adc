/**
 * DPoP (RFC 9449): tokens bound to a key that the client holds. The engine checks proofs at its own endpoints, and
 * `proofs.ts` at our REST API; what both share is here.
 */
import type { Configuration } from 'oidc-provider';
import type { Config } from '../config.ts';
import type { Secrets } from '../secrets.ts';

/**
 * The engine's `features.dPoP`. Nonces are derived and not stored, so every replica knows those of the others. A client that
 * sends a proof is always given a nonce to use next; DPOP_NONCE says whether a proof without one will do.
 */
export const dpopFeature = (
  { DPOP_NONCE }: Pick<Config, 'DPOP_NONCE'>,
  secrets: Secrets,
): NonNullable<NonNullable<Configuration['features']>['dPoP']> => ({
  enabled: true,
  nonceSecret: Buffer.from(secrets.mac('dpop-nonce', 'authorization server'), 'base64url'),
  requireNonce: () => DPOP_NONCE === 'required',
});
