/** What a client's security profile demands of each request; what it demands of its metadata is in clients/client-profiles.ts. */
import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { isStrong } from '../clients/client-profiles.ts';
import { isUsableJson } from './parameter-text.ts';

const isFapi = ({ profile }: Client): boolean => String(profile ?? '').startsWith('fapi2');

/** `features.fapi.profile`: the engine's own share, by the client's profile. */
export const fapiProfile = (_ctx: KoaContextWithOIDC, client: Client | undefined): '2.0' | undefined =>
  client && isFapi(client) ? '2.0' : undefined;

/**
 * Of bound refresh tokens a new one at each use protects nothing, and loses the grant when an answer is lost (FAPI 2.0
 * Security Profile section 5.3.2.1: no rotation). Otherwise each is used once.
 */
export const rotatesRefreshTokens = ({ oidc }: KoaContextWithOIDC): boolean => !(oidc.client && isFapi(oidc.client));

/** FAPI 2.0 Security Profile section 5.4.1, whatever algorithm the client did or did not register. */
const assertStrong = (client: Client, alg: unknown, refuse: (message: string) => Error): void => {
  if (isFapi(client) && !isStrong(String(alg)))
    throw refuse(`alg ${String(alg)} is too weak for this client's profile`);
};

/** `assertJwtClientAuthClaimsAndHeader`. @throws InvalidClientAuth */
export const assertClientAssertion = async (
  { oidc }: KoaContextWithOIDC,
  claims: { aud?: unknown },
  { alg }: { alg?: unknown },
  client: Client,
): Promise<void> => {
  const refuse = (message: string) => new errors.InvalidClientAuth(message);
  assertStrong(client, alg, refuse);
  // Section 5.3.2.1: one audience, the issuer, so that no other server's assertion can be used here.
  if (isFapi(client) && claims.aud !== oidc.issuer) throw refuse('aud must be the issuer alone');
};

/** In seconds: FAPI 2.0 Message Signing section 5.3.1. */
const requestObjectSecondsMax = 3600;
/** Likewise: section 5.3.1 has `nbf` no longer than 60 minutes ago. */
const requestObjectAgeMax = 3600;
/** What a pushed or plain request must carry in CIBA (OpenID Connect CIBA section 7.1.1). */
const backchannelClaims = ['exp', 'iat', 'nbf', 'jti'];

/** `features.requestObjects.assertJwtClaimsAndHeader`. @throws InvalidRequestObject */
export const assertRequestObject = async (
  { oidc }: KoaContextWithOIDC,
  claims: Record<string, unknown>,
  { alg }: { alg?: unknown },
  client: Client,
): Promise<void> => {
  const refuse = (message: string) => new errors.InvalidRequestObject(message);
  // A request that was pushed without being signed is kept by the engine as a JWT of its own.
  if (alg === 'none' && oidc.entities.PushedAuthorizationRequest) return;
  assertStrong(client, alg, refuse);
  // One that came encrypted has been seen by nobody yet.
  const { claims: asked } = claims;
  if (!isUsableJson(JSON.stringify(claims)) || (typeof asked === 'string' && !isUsableJson(asked)))
    throw refuse('Request Object holds what is not allowed');
  const required = [
    ...(isFapi(client) ? ['exp', 'aud', 'nbf'] : []),
    ...(oidc.route === 'backchannel_authentication' ? backchannelClaims : []),
  ];
  const missing = [...new Set(required)].filter((claim) => claims[claim] === undefined);
  if (missing.length) throw refuse(`Request Object is missing: ${missing.join(', ')}`);
  if (!required.length) return;
  const { exp, nbf } = claims as { exp: number; nbf: number };
  if (exp <= nbf || exp - nbf > requestObjectSecondsMax) throw refuse('exp is too far from nbf');
  if (Date.now() / 1000 - nbf > requestObjectAgeMax) throw refuse('nbf is too long ago');
};
