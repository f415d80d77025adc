/** Public keys of passkeys, as COSE_Key (RFC 9052 section 7). */
import { createPublicKey } from 'node:crypto';
import { cose, decodeCredentialPublicKey } from '@simplewebauthn/server/helpers';

const { COSEALG, COSECRV, COSEKEYS, COSEKTY } = cose;

const text = (value: unknown): string => Buffer.from(value as Uint8Array).toString('base64url');

/**
 * Whether a key is of one of these algorithms and one that can be: on its curve, or an RSA key that is neither weak nor so
 * large that each check of it would be work.
 */
export const isSoundKey = (publicKey: Uint8Array): boolean => {
  try {
    const key = decodeCredentialPublicKey(publicKey as never) as unknown as Map<number, unknown>;
    const [kty, alg, crv] = [key.get(COSEKEYS.kty), key.get(COSEKEYS.alg), key.get(COSEKEYS.crv)];
    const x = () => text(key.get(COSEKEYS.x));
    if (kty === COSEKTY.OKP && alg === COSEALG.EdDSA && crv === COSECRV.ED25519)
      return Boolean(createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: x() }, format: 'jwk' }));
    if (kty === COSEKTY.EC2 && alg === COSEALG.ES256 && crv === COSECRV.P256)
      return Boolean(
        createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: x(), y: text(key.get(COSEKEYS.y)) }, format: 'jwk' }),
      );
    if (kty !== COSEKTY.RSA || alg !== COSEALG.RS256) return false;
    const rsa = { kty: 'RSA', n: text(key.get(COSEKEYS.n)), e: text(key.get(COSEKEYS.e)) };
    const { modulusLength = 0, publicExponent } =
      createPublicKey({ key: rsa, format: 'jwk' }).asymmetricKeyDetails ?? {};
    return modulusLength >= 2048 && modulusLength <= 4096 && publicExponent === 65_537n;
  } catch {
    return false;
  }
};
