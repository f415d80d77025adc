/** How clients prove who they are, as far as the engine leaves it to us (RFC 6749 section 2.3, RFC 7523, RFC 8705). */
import { type Client, type Configuration, errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { ReplayedError } from '../../adapters/oidc-payloads.ts';
import type { Config } from '../config.ts';
import { equalInConstantTime, hashToken } from '../secrets.ts';
import { acceptedSigningAlgs } from './algorithms.ts';
import { attestationMethods } from './client-attestation.ts';
import { certificateMethods, endpointAliases, hasMutualTls } from './mutual-tls.ts';
import { assertClientAssertion } from './profiles.ts';

type Methods = NonNullable<Configuration['clientAuthMethods']>;

/** `clientAuthMethods`, of all endpoints that take a client's authentication. */
export const authenticationMethods = (config: Config): Methods => [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  ...certificateMethods(config),
  // One of the two is not in the published types.
  ...(attestationMethods(config) as unknown as Methods),
  'none',
];

/** What discovery says of the endpoints besides the token endpoint, whose methods the engine knows (RFC 8414 section 2). */
export const authenticationMetadata = (config: Config, paths: Readonly<Record<string, string>>) => {
  const methods = authenticationMethods(config);
  const aliases = endpointAliases(config, paths);
  return {
    introspection_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_signing_alg_values_supported: acceptedSigningAlgs,
    revocation_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_signing_alg_values_supported: acceptedSigningAlgs,
    ...(aliases ? { mtls_endpoint_aliases: aliases } : {}),
  };
};

/**
 * Without mutual TLS the engine would not know the member, and make plain tokens for a client that asked for bound ones. This
 * has such a client refused instead, when it is registered and, if the settings have changed since, when it comes.
 */
export const boundTokens = (config: Config) =>
  hasMutualTls(config)
    ? { properties: [], assert: () => {} }
    : {
        properties: ['tls_client_certificate_bound_access_tokens'],
        assert: (key: string, value: unknown) => {
          if (key === 'tls_client_certificate_bound_access_tokens' && value === true)
            throw new errors.InvalidClientMetadata(`${key}: this service has no mutual TLS`);
        },
      };

/** What the engine knows as a client's secret is its hash; while it is rotated there is the one before as well. */
export interface SecretHolder {
  clientSecret?: string;
  previous_secret_hash?: string;
}

/** As long as a hash, and never one: its last character would have to stand for four bits. */
const noHash = '-'.repeat(hashToken('').length);

/** Secrets are random, so one SHA-256 suffices. Both are compared whichever it is. */
export const isSecretOf = ({ clientSecret, previous_secret_hash }: SecretHolder, secret: string): boolean => {
  const given = hashToken(secret);
  return [clientSecret, previous_secret_hash].map((hash) => equalInConstantTime(given, hash ?? noHash)).includes(true);
};

/** How far ahead an assertion may expire, in seconds: it is remembered for as long (RFC 7523 section 3). */
const assertionSecondsMax = 3600;
/** How far ahead of ours a client's clock may be: FAPI 2.0 Security Profile section 5.3.2.1 wants 10 taken and 60 refused. */
const aheadSecondsMax = 60;

/** `assertJwtClientAuthClaimsAndHeader`. @throws InvalidClientAuth */
export const assertAssertion = async (
  ctx: KoaContextWithOIDC,
  claims: { aud?: unknown; exp?: unknown; iat?: unknown },
  header: { alg?: unknown },
  client: Client,
): Promise<void> => {
  const now = Date.now() / 1000;
  if (Number(claims.exp) > now + assertionSecondsMax) throw new errors.InvalidClientAuth('exp is too far ahead');
  if (Number(claims.iat ?? 0) > now + aheadSecondsMax) throw new errors.InvalidClientAuth('iat is in the future');
  await assertClientAssertion(ctx, claims, header, client);
};

/** How much longer than the engine asks for a used value is remembered: a proof may be dated that far ahead. */
const aheadSeconds = 300;

/**
 * Of two that use one value at the same time, the database's decision makes the second hear what a later one would
 * (`invalid_client`, `invalid_dpop_proof`), and a value that is dated ahead is remembered until it has expired.
 */
export const rememberUsedValues = (provider: Provider): void => {
  const model = provider.ReplayDetection;
  const unique = model.unique.bind(model);
  model.unique = async (issuer, id, expires) => {
    try {
      // A separator, or one client's values could be used up by another whose name goes on where the first one's ends.
      return await unique(`${issuer} `, id, expires + aheadSeconds);
    } catch (error) {
      if (error instanceof ReplayedError) return false;
      throw error;
    }
  };
};
