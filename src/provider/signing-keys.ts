/** The key set as the engine takes it: what signs does so at once, by Node's own `crypto.sign`. */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  type SignKeyObjectInput,
  sign,
} from 'node:crypto';
import type { JWK } from 'jose';
import { type Configuration, ExternalSigningKey } from 'oidc-provider';
import type { SigningAlg } from '../keys/key-algorithms.ts';
import type { KeySet } from '../keys/key-set.ts';

/** RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1, and ML-DSA, which hash for themselves where no hash is named. */
const parameters: Readonly<Record<SigningAlg, [hash: string | null, options?: Omit<SignKeyObjectInput, 'key'>]>> = {
  RS256: ['sha256'],
  PS256: ['sha256', { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }],
  ES256: ['sha256', { dsaEncoding: 'ieee-p1363' }],
  EdDSA: [null],
  'ML-DSA-44': [null],
  'ML-DSA-65': [null],
  'ML-DSA-87': [null],
};

/**
 * Signs in the thread that asks. The engine's WebCrypto hands each signature to another thread, which costs as much again as a
 * third of an RSA signature takes, and waits behind whatever else is done there, such as the hashing of passwords.
 */
class SigningKey extends ExternalSigningKey {
  readonly #jwk: JWK;
  readonly #public: KeyObject;
  readonly #sign: (data: Uint8Array) => Buffer;

  constructor(jwk: JWK) {
    super();
    this.#jwk = jwk;
    const [hash, options] = parameters[jwk.alg as SigningAlg];
    const key = createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' });
    const withOptions = options ? { key, ...options } : key;
    this.#public = createPublicKey(key);
    this.#sign = (data) => sign(hash, data, withOptions);
  }

  override get kid(): string | undefined {
    return this.#jwk.kid;
  }

  override get alg(): string | undefined {
    return this.#jwk.alg;
  }

  override get kty(): string {
    return this.#jwk.kty as string;
  }

  override keyObject(): KeyObject {
    return this.#public;
  }

  override sign(data: Uint8Array): Buffer {
    return this.#sign(data);
  }
}

/** `jwks` of the engine's configuration; what decrypts it does itself. */
export const engineKeys = ({ jwks }: KeySet): NonNullable<Configuration['jwks']> =>
  ({ keys: jwks.keys.map((jwk) => (jwk.use === 'sig' ? new SigningKey(jwk) : jwk)) }) as never;
