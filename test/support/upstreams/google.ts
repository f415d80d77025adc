/**
 * Google: https://developers.google.com/identity/openid-connect/openid-connect. It sends `iss` with its authorization responses
 * (RFC 9207) although its metadata doesn't announce it, `hd` for people of a Workspace only, and RS256 id_tokens.
 */
import { randomBytes } from 'node:crypto';
import { type Account, clientOf, type Peer, type PeerAnswer, pkceMatches, startPeer } from './peer.ts';
import { atHash, createSigner, now, type Signer } from './signer.ts';

export const googleAccount: Account = {
  login: 'ada@gmail.example',
  id: '110169484474386276334',
  email: 'ada@gmail.example',
  verified: true,
  name: 'Ada Lovelace',
  extra: { given_name: 'Ada', family_name: 'Lovelace', picture: 'https://lh3.googleusercontent.example/a/ada' },
};

const discovery = (origin: string) => ({
  issuer: origin,
  authorization_endpoint: `${origin}/o/oauth2/v2/auth`,
  device_authorization_endpoint: `${origin}/device/code`,
  token_endpoint: `${origin}/token`,
  userinfo_endpoint: `${origin}/v1/userinfo`,
  revocation_endpoint: `${origin}/revoke`,
  jwks_uri: `${origin}/oauth2/v3/certs`,
  response_types_supported: [
    'code',
    'token',
    'id_token',
    'code token',
    'code id_token',
    'token id_token',
    'code token id_token',
    'none',
  ],
  response_modes_supported: ['query', 'fragment', 'form_post'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
  scopes_supported: ['openid', 'email', 'profile'],
  token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
  claims_supported: [
    'aud',
    'email',
    'email_verified',
    'exp',
    'family_name',
    'given_name',
    'iat',
    'iss',
    'name',
    'picture',
    'sub',
  ],
  code_challenge_methods_supported: ['plain', 'S256'],
  grant_types_supported: [
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:device_code',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
  ],
});

const refusal = (status: number, error: string, error_description: string): PeerAnswer => ({
  status,
  body: { error, error_description },
});

const profileOf = ({ id, name, email, verified, extra }: Account, scopes: string[]) => ({
  sub: id,
  ...(scopes.includes('profile') ? { name, ...extra } : {}),
  ...(scopes.includes('email') ? { email, email_verified: verified } : {}),
});

const idToken = (
  peer: Peer,
  signer: Signer,
  account: Account,
  parameters: Record<string, string>,
  accessToken: string,
) => {
  const { hd, ...profile } = profileOf(account, (parameters.scope ?? '').split(' ')) as Record<string, unknown>;
  return signer.sign({
    iss: peer.origin,
    azp: peer.clientId,
    aud: peer.clientId,
    ...(account.extra?.hd ? { hd: account.extra.hd } : {}),
    ...profile,
    at_hash: atHash(accessToken),
    ...(parameters.nonce === undefined ? {} : { nonce: parameters.nonce }),
    iat: now(),
    exp: now() + 3600,
  });
};

export const startGoogle = async (accounts: Account[] = [googleAccount]): Promise<Peer> => {
  const signer = await createSigner('google-1');
  const people = new Map<string, { account: Account; scopes: string[] }>();
  return startPeer(
    {
      name: 'Google',
      host: '127.0.0.1',
      authorizationPath: '/o/oauth2/v2/auth',
      checkRequest: ({ response_type, scope = '' }) =>
        response_type !== 'code'
          ? `Invalid response_type: ${response_type}`
          : scope.split(' ').includes('openid')
            ? undefined
            : 'Missing required parameter: scope',
      consented: (pending, peer) => ({
        iss: peer.origin,
        code: `4/0A${peer.issueCode(pending)}`,
        scope: pending.parameters.scope ?? '',
        authuser: '0',
        prompt: 'none',
      }),
      declined: () => ({ error: 'access_denied' }),
      handlers: (peer) => ({
        'GET /.well-known/openid-configuration': () => ({ body: discovery(peer.origin) }),
        'GET /oauth2/v3/certs': () => ({
          headers: { 'cache-control': 'public, max-age=19302' },
          body: { keys: [signer.jwk] },
        }),
        'POST /token': async (request) => {
          const { id, secret } = clientOf(request);
          const { code, redirect_uri, grant_type, code_verifier } = request.form;
          if (id !== peer.clientId) return refusal(401, 'invalid_client', 'The OAuth client was not found.');
          if (secret !== peer.clientSecret) return refusal(401, 'invalid_client', 'Unauthorized');
          if (grant_type !== 'authorization_code')
            return refusal(400, 'unsupported_grant_type', `Invalid grant_type: ${grant_type}`);
          const pending = peer.redeemCode(code?.replace(/^4\/0A/, ''));
          if (!pending) return refusal(400, 'invalid_grant', 'Malformed auth code.');
          if (redirect_uri !== pending.parameters.redirect_uri)
            return refusal(400, 'redirect_uri_mismatch', 'Bad Request');
          if (!code_verifier && pending.parameters.code_challenge)
            return refusal(400, 'invalid_grant', 'Missing code verifier.');
          if (!pkceMatches(pending, code_verifier)) return refusal(400, 'invalid_grant', 'Invalid code verifier.');
          const { account, parameters } = pending;
          const access_token = `ya29.${randomBytes(40).toString('base64url')}`;
          people.set(access_token, { account, scopes: (parameters.scope ?? '').split(' ') });
          return {
            body: {
              access_token,
              expires_in: 3599,
              scope: parameters.scope,
              token_type: 'Bearer',
              id_token: await idToken(peer, signer, account, parameters, access_token),
            },
          };
        },
        'GET /v1/userinfo': ({ headers }) => {
          const found = people.get(headers.authorization?.replace(/^Bearer /, '') ?? '');
          return found
            ? { body: profileOf(found.account, found.scopes) }
            : refusal(401, 'invalid_request', 'Invalid Credentials');
        },
      }),
    },
    accounts,
  );
};
