/**
 * An OpenID Provider as the specifications have it, for discovery by issuer; and, told so, one that cheats. A misdeed changes one
 * answer and leaves the rest as it should be, so that nothing but the check for it can refuse.
 */
import { randomBytes } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { type Account, clientOf, type Peer, type PeerAnswer, type PeerKind, pkceMatches, startPeer } from './peer.ts';
import { atHash, createSigner, now, type Signer } from './signer.ts';

export interface Misdeed {
  metadata?(metadata: Record<string, unknown>, peer: Peer): unknown;
  /** Instead of the metadata. */
  discovery?(peer: Peer): PeerAnswer;
  /** The authorization response; a member that is undefined is left out. */
  response?(response: Record<string, string>, peer: Peer): Record<string, string | undefined>;
  claims?(claims: JWTPayload, peer: Peer): JWTPayload;
  idToken?(claims: JWTPayload, peer: Peer, signer: Signer): Promise<string>;
  /** Instead of the token response, which is passed in. */
  token?(body: Record<string, unknown>, peer: Peer): PeerAnswer;
  keys?(keys: object[], peer: Peer): PeerAnswer;
  userinfo?(claims: Record<string, unknown>, peer: Peer): PeerAnswer;
}

export interface OpenIdPeer extends Peer {
  /** Another one is as if it had rotated its keys. */
  signer: Signer;
  misdeed: Misdeed;
  /** `amr`, `acr` and the like of the next sign-ins, and whatever else an id_token is to say. */
  alsoSays: JWTPayload;
  /** Whether authorization responses have `iss`, and the metadata say so (RFC 9207). */
  identifiesItself: boolean;
}

export const openIdAccount: Account = {
  login: 'mary',
  id: 'subject-of-mary',
  email: 'mary@upstream.example',
  verified: true,
  name: 'Mary Somerville',
};

const metadataOf = (peer: OpenIdPeer): Record<string, unknown> => ({
  issuer: peer.origin,
  authorization_endpoint: `${peer.origin}/authorize`,
  token_endpoint: `${peer.origin}/token`,
  userinfo_endpoint: `${peer.origin}/userinfo`,
  jwks_uri: `${peer.origin}/jwks`,
  response_types_supported: ['code'],
  response_modes_supported: ['query'],
  grant_types_supported: ['authorization_code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
  token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  scopes_supported: ['openid', 'profile', 'email'],
  code_challenge_methods_supported: ['S256'],
  ...(peer.identifiesItself ? { authorization_response_iss_parameter_supported: true } : {}),
});

const profileOf = ({ id, name, email, verified, extra }: Account) => ({
  sub: id,
  ...(name === undefined ? {} : { name }),
  ...(email === undefined ? {} : { email }),
  ...(verified === undefined ? {} : { email_verified: verified }),
  ...extra,
});

/** Making keys is slow, and nobody minds that cheats share one. */
let shared: Promise<Signer> | undefined;

export const startOpenIdPeer = async (
  {
    host = '127.0.0.1',
    name = 'Upstream',
    misdeed = {},
  }: { host?: PeerKind['host']; name?: string; misdeed?: Misdeed } = {},
  accounts: Account[] = [openIdAccount],
): Promise<OpenIdPeer> => {
  shared ??= createSigner('upstream-1');
  const signer = await shared;
  const people = new Map<string, Account>();

  const redeem = async ({ form, headers, ...rest }: Parameters<typeof clientOf>[0]): Promise<PeerAnswer> => {
    const { id, secret } = clientOf({ form, headers, ...rest });
    if (id !== peer.clientId || secret !== peer.clientSecret) return { status: 401, body: { error: 'invalid_client' } };
    if (form.grant_type !== 'authorization_code') return { status: 400, body: { error: 'unsupported_grant_type' } };
    const pending = peer.redeemCode(form.code);
    if (!pending || form.redirect_uri !== pending.parameters.redirect_uri || !pkceMatches(pending, form.code_verifier))
      return { status: 400, body: { error: 'invalid_grant' } };
    const { account, parameters } = pending;
    const access_token = randomBytes(32).toString('base64url');
    people.set(access_token, account);
    const honest: JWTPayload = {
      iss: peer.origin,
      aud: peer.clientId,
      ...profileOf(account),
      ...(parameters.nonce === undefined ? {} : { nonce: parameters.nonce }),
      at_hash: atHash(access_token),
      auth_time: now(),
      iat: now(),
      exp: now() + 300,
      ...peer.alsoSays,
    };
    const claims = peer.misdeed.claims?.(honest, peer) ?? honest;
    const id_token = await (peer.misdeed.idToken?.(claims, peer, peer.signer) ?? peer.signer.sign(claims));
    const body = { access_token, token_type: 'Bearer', expires_in: 300, scope: parameters.scope, id_token };
    return peer.misdeed.token?.(body, peer) ?? { headers: { 'cache-control': 'no-store' }, body };
  };

  const peer: OpenIdPeer = Object.assign(
    await startPeer(
      {
        name,
        host,
        authorizationPath: '/authorize',
        checkRequest: ({ response_type, scope = '', nonce, state, code_challenge }) =>
          response_type === 'code' && scope.split(' ').includes('openid') && nonce && state && code_challenge
            ? undefined
            : 'response_type, scope, state, nonce and code_challenge are required',
        consented: (pending) => {
          const honest = {
            code: peer.issueCode(pending),
            state: pending.parameters.state ?? '',
            ...(peer.identifiesItself ? { iss: peer.origin } : {}),
          };
          return peer.misdeed.response?.(honest, peer) ?? honest;
        },
        declined: () => ({ error: 'access_denied', ...(peer.identifiesItself ? { iss: peer.origin } : {}) }),
        handlers: () => ({
          'GET /.well-known/openid-configuration': () => {
            const honest = metadataOf(peer);
            return (
              peer.misdeed.discovery?.(peer) ?? { body: (peer.misdeed.metadata?.(honest, peer) ?? honest) as object }
            );
          },
          'GET /jwks': () => peer.misdeed.keys?.([peer.signer.jwk], peer) ?? { body: { keys: [peer.signer.jwk] } },
          'POST /token': redeem,
          'GET /userinfo': ({ headers }) => {
            const account = people.get(headers.authorization?.replace(/^Bearer /, '') ?? '');
            if (!account)
              return {
                status: 401,
                headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
                body: { error: 'invalid_token' },
              };
            const claims = profileOf(account);
            return peer.misdeed.userinfo?.(claims, peer) ?? { body: claims };
          },
        }),
      },
      accounts,
    ),
    { signer, misdeed, alsoSays: {}, identifiesItself: true },
  );
  return peer;
};
