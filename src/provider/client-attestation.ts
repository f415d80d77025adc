/**
 * Clients whose instances are vouched for by a server of their own (OAuth 2.0 Attestation-Based Client Authentication, draft 12):
 * an application on somebody's phone proves that it is the real one, with a key that its maker has attested. Whom the attestation
 * must be signed by is registered with each client, as its `jwks` or `jwks_uri`, so nobody vouches for anybody else's.
 */
import { type Configuration, errors } from 'oidc-provider';
import type { Config } from '../config.ts';
import type { Secrets } from '../secrets.ts';
import { keyStoreOf } from './client-keys.ts';

type Attestation = NonNullable<NonNullable<Configuration['features']>['attestClientAuth']>;
type AttestationSettings = Pick<Config, 'CLIENT_ATTESTATION'>;

/** Where a client gets the challenge that its proof must answer (draft section 8.1). */
export const challengePath = '/oauth/challenge';

export const attestationMethods = ({ CLIENT_ATTESTATION }: AttestationSettings) =>
  CLIENT_ATTESTATION ? (['attest_jwt_client_auth', 'attest_jwt_client_auth_dpop'] as const) : [];

/** @throws InvalidClientMetadata for a client that nobody could ever vouch for */
export const assertAttester = (client: { [member: string]: unknown }): void => {
  const method = String(client.token_endpoint_auth_method ?? '');
  if (method.startsWith('attest_') && !client.jwks && !client.jwks_uri)
    throw new errors.InvalidClientMetadata(
      'jwks or jwks_uri is needed, with the keys that attestations are signed with',
    );
};

/** The engine's `features.attestClientAuth`. */
export const attestationFeature = (
  { CLIENT_ATTESTATION }: AttestationSettings,
  secrets: Secrets,
): Attestation | { enabled: false } =>
  CLIENT_ATTESTATION
    ? {
        enabled: true,
        ack: 'draft-12',
        // Derived, so every replica knows the challenges of the others.
        challengeSecret: Buffer.from(secrets.mac('client-attestation', 'challenge'), 'base64url'),
        getAttestationSignaturePublicKey: async (_ctx, { alg, kid }, _payload, client) => {
          const store = keyStoreOf(client);
          if (store.stale()) await store.refresh();
          const [key] = store.selectForVerify({ alg, kid });
          if (!key)
            throw new errors.InvalidClientAuth('the attestation is not signed with a key of its client’s attester');
          return key as never;
        },
      }
    : { enabled: false };
