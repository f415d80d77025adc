/**
 * The algorithms of the protocol (RFC 7518, RFC 8037, RFC 9864). What this service signs with is what there are keys for. What
 * it takes is whatever is asymmetric and sound: secrets are stored as hashes, so nothing can be signed with them or encrypted
 * to them, and `none` proves nothing.
 */
import type { ClientMetadata, Configuration } from 'oidc-provider';
import type { KeySet } from '../keys/key-set.ts';

type EnabledJwa = NonNullable<Configuration['enabledJWA']>;

/** Node signs and verifies ML-DSA from 24.7 on, and the engine refuses to be configured with it before. */
const hasMlDsa = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 24 || (major === 24 && minor >= 7);
};

/** What others may sign with: client assertions, request objects. */
export const acceptedSigningAlgs: readonly string[] = [
  'RS256',
  'PS256',
  'ES256',
  'EdDSA',
  'Ed25519',
  ...(hasMlDsa(process.versions.node) ? ['ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'] : []),
];

/**
 * What DPoP proofs may be signed with. A proof is checked before its client is known, so what no FAPI 2.0 client may use
 * (Security Profile section 5.4.1) is not taken from anybody.
 */
export const proofSigningAlgs: readonly string[] = acceptedSigningAlgs.filter((alg) => alg !== 'RS256');

const encryptionAlgs = ['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW'];
const encryptionEncs = ['A128CBC-HS256', 'A256CBC-HS512', 'A128GCM', 'A256GCM'];

/** What each kind of message may be encrypted with; the engine offers of this what its keys can decrypt. */
const encryption = Object.fromEntries(
  ['idToken', 'userinfo', 'introspection', 'authorization', 'requestObject'].flatMap((kind) => [
    [`${kind}EncryptionAlgValues`, encryptionAlgs],
    [`${kind}EncryptionEncValues`, encryptionEncs],
  ]),
);

/** `enabledJWA` of the engine's configuration. */
export const enabledAlgorithms = ({ algs }: KeySet): EnabledJwa =>
  ({
    idTokenSigningAlgValues: algs,
    userinfoSigningAlgValues: algs,
    introspectionSigningAlgValues: algs,
    authorizationSigningAlgValues: algs,
    clientAuthSigningAlgValues: acceptedSigningAlgs,
    requestObjectSigningAlgValues: acceptedSigningAlgs,
    dPoPSigningAlgValues: proofSigningAlgs,
    attestSigningAlgValues: acceptedSigningAlgs,
    ...encryption,
  }) as EnabledJwa;

/**
 * For `clientDefaults`: what is signed for a client that has asked for no algorithm. Specifications say RS256 (OpenID Connect
 * Registration section 2, RFC 9701 section 6), but keys from a file may all be others.
 */
export const defaultAlgorithms = ({ algs: [alg] }: KeySet): ClientMetadata =>
  ({
    id_token_signed_response_alg: alg,
    authorization_signed_response_alg: alg,
    introspection_signed_response_alg: alg,
  }) as ClientMetadata;
