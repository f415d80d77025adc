/** The library that passkeys are checked with: 250 modules, which a process loads when somebody first uses a passkey there. */

export const loadWebAuthn = async () => {
  const [server, { decodeAttestationObject }, { isSoundKey }] = await Promise.all([
    import('@simplewebauthn/server'),
    import('@simplewebauthn/server/helpers'),
    import('./passkey-keys.ts'),
  ]);
  return { ...server, decodeAttestationObject, isSoundKey };
};

/**
 * EdDSA, ES256 and RS256 (RFC 9053 section 2, RFC 8812 section 2), the best first: with these every authenticator has one
 * (WebAuthn Level 3 section 5.4).
 */
export const passkeyAlgorithms = [-8, -7, -257];

/**
 * A key whose private part nobody has kept: an assertion of a passkey that is not here is checked against it, so that the
 * answer takes as long as a wrong one of a passkey that is.
 */
export const nobodysKey: Uint8Array = new Uint8Array(
  Buffer.from(
    'a50102032620012158205dd76c00edaf7ae503b5307f3ae2d64509b8d03967126681a05720e8d9f99e3f225820ab7ced90168ffd1ef6e47bfa2f9494bfda6568852788c15c6275efe4a3d6cf05',
    'hex',
  ),
);
