/**
 * Apple: https://developer.apple.com/documentation/signinwithapple (request an authorization, generate and validate tokens,
 * creating a client secret). The secret is an ES256 JWT that lives half a year at most; `name` and `email` need
 * `response_mode=form_post`, a POST from another site; `user` comes with the first authorization alone; `email_verified` and
 * `is_private_email` are strings; there is no userinfo endpoint.
 */
import { randomBytes } from 'node:crypto';
import { exportPKCS8, jwtVerify } from 'jose';
import { type Account, formPost, type Peer, type PeerAnswer, startPeer } from './peer.ts';
import { atHash, createSigner, now, type Signer } from './signer.ts';

export const appleAccount: Account = {
  login: 'ada@icloud.example',
  id: '001234.5b3a3bdf9c0b4f049c1471cae1cd1d8d.0001',
  email: 'dpdcnf87nu@privaterelay.appleid.example',
  verified: true,
  name: 'Ada Lovelace',
  extra: { is_private_email: 'true' },
};

const halfYear = 15_777_000;

export interface Apple extends Peer {
  teamId: string;
  keyId: string;
  /** The .p8 file that a developer downloads. */
  privateKey: string;
}

const discovery = (origin: string) => ({
  issuer: origin,
  authorization_endpoint: `${origin}/auth/authorize`,
  token_endpoint: `${origin}/auth/token`,
  revocation_endpoint: `${origin}/auth/revoke`,
  jwks_uri: `${origin}/auth/keys`,
  response_types_supported: ['code'],
  response_modes_supported: ['query', 'fragment', 'form_post'],
  subject_types_supported: ['pairwise'],
  id_token_signing_alg_values_supported: ['RS256'],
  scopes_supported: ['openid', 'email', 'name'],
  token_endpoint_auth_methods_supported: ['client_secret_post'],
  claims_supported: [
    'aud',
    'email',
    'email_verified',
    'exp',
    'iat',
    'is_private_email',
    'iss',
    'nonce',
    'nonce_supported',
    'real_user_status',
    'sub',
    'transfer_sub',
  ],
});

const refusal = (error: string, error_description?: string): PeerAnswer => ({
  status: 400,
  body: { error, error_description },
});

/** "Creating a client secret": ES256 by the developer's key, of that team, for this application, meant for Apple, not too long. */
const isOurs = async (peer: Apple, developer: Signer, secret = ''): Promise<boolean> => {
  try {
    const { payload, protectedHeader } = await jwtVerify(
      secret,
      { ...developer.jwk, kid: undefined },
      {
        algorithms: ['ES256'],
        issuer: peer.teamId,
        subject: peer.clientId,
        audience: peer.origin,
        requiredClaims: ['iat', 'exp'],
      },
    );
    return protectedHeader.kid === peer.keyId && (payload.exp ?? Infinity) - now() <= halfYear;
  } catch {
    return false;
  }
};

const idToken = (
  peer: Peer,
  signer: Signer,
  { id, email, verified, extra }: Account,
  parameters: Record<string, string>,
  accessToken: string,
) =>
  signer.sign({
    iss: peer.origin,
    aud: peer.clientId,
    exp: now() + 86_400,
    iat: now(),
    sub: id,
    ...(parameters.nonce === undefined ? {} : { nonce: parameters.nonce }),
    at_hash: atHash(accessToken),
    ...(parameters.scope?.includes('email') && email ? { email, email_verified: String(verified), ...extra } : {}),
    auth_time: now(),
    nonce_supported: true,
  });

const token =
  (peer: Apple, signer: Signer, developer: Signer) =>
  async ({ form }: { form: Record<string, string> }): Promise<PeerAnswer> => {
    if (form.client_id !== peer.clientId || !(await isOurs(peer, developer, form.client_secret)))
      return refusal('invalid_client');
    if (form.grant_type !== 'authorization_code') return refusal('unsupported_grant_type');
    const pending = peer.redeemCode(form.code?.replace(/\.0\.mrzs$/, ''));
    if (!pending) return refusal('invalid_grant', 'The code has expired or has been revoked.');
    if (form.redirect_uri !== pending.parameters.redirect_uri)
      return refusal('invalid_grant', 'client_id mismatch. The code was not issued to the given redirect_uri.');
    const access_token = `a${randomBytes(32).toString('hex')}.0.mrzs`;
    return {
      body: {
        access_token,
        token_type: 'Bearer',
        expires_in: 3600,
        refresh_token: `r${randomBytes(32).toString('hex')}.0.mrzs`,
        id_token: await idToken(peer, signer, pending.account, pending.parameters, access_token),
      },
    };
  };

/** What the browser posts: `user` is sent once for each person, and never again until they withdraw their consent there. */
const firstTime = (known: Set<string>, { id, name, email }: Account, scope = ''): Record<string, string> => {
  if (known.has(id) || !/\b(name|email)\b/.test(scope)) return {};
  known.add(id);
  const [firstName, lastName] = (name ?? '').split(' ');
  return {
    user: JSON.stringify({
      ...(scope.includes('name') ? { name: { firstName, lastName } } : {}),
      ...(scope.includes('email') ? { email } : {}),
    }),
  };
};

export const startApple = async (accounts: Account[] = [appleAccount]): Promise<Apple> => {
  const signer = await createSigner('apple-1');
  const developer = await createSigner('ABC123DEFG', 'ES256');
  const known = new Set<string>();
  const peer: Apple = Object.assign(
    await startPeer(
      {
        name: 'Apple',
        host: '127.0.0.1',
        authorizationPath: '/auth/authorize',
        checkRequest: ({ response_type, response_mode, scope = '' }) => {
          if (response_type !== 'code') return 'unsupported_response_type';
          return /\b(name|email)\b/.test(scope) && response_mode !== 'form_post'
            ? 'response_mode must be form_post when name or email scope is requested.'
            : undefined;
        },
        consented: (pending, peer) => ({
          code: `${peer.issueCode(pending)}.0.mrzs`,
          ...firstTime(known, pending.account, pending.parameters.scope),
        }),
        declined: () => ({ error: 'user_cancelled_authorize' }),
        deliver: ({ redirect_uri = '', response_mode }, response) =>
          response_mode === 'form_post'
            ? formPost(redirect_uri, response)
            : { status: 302, headers: { location: `${redirect_uri}?${new URLSearchParams(response)}` } },
        handlers: (self) => ({
          'GET /.well-known/openid-configuration': () => ({ body: discovery(self.origin) }),
          'GET /auth/keys': () => ({ body: { keys: [signer.jwk] } }),
          'POST /auth/token': (request) => token(peer, signer, developer)(request),
        }),
      },
      accounts,
    ),
    { teamId: 'TEAM123456', keyId: 'ABC123DEFG', privateKey: await exportPKCS8(developer.privateKey) },
  );
  return peer;
};
