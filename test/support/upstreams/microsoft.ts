/**
 * Microsoft Entra ID, v2.0, for accounts of any tenant: https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc,
 * …/id-token-claims-reference and …/optional-claims-reference. The metadata of `common` has an issuer with `{tenantid}` in it; an
 * id_token has its tenant's. `email` may be anything that an administrator of some tenant typed; only `xms_edov`, a claim that an
 * application asks for, says that its domain was verified.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  type Account,
  clientOf,
  type Peer,
  type PeerAnswer,
  type PeerRequest,
  pkceMatches,
  startPeer,
} from './peer.ts';
import { createSigner, now, type Signer } from './signer.ts';

/** A tenant of a company, and the one of all personal accounts. */
export const companyTenant = '72f988bf-86f1-41af-91ab-2d7cd011db47';
export const personalTenant = '9188040d-6c67-4c5b-b112-36a304b66dad';

export const microsoftAccount: Account = {
  login: 'alan@contoso.example',
  id: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
  email: 'alan@contoso.example',
  name: 'Alan Turing',
  extra: { tid: companyTenant, sub: 'pairwise-alan', xms_edov: true },
};

/** Of `common` and `organizations` the issuer is any tenant's; of `consumers`, and of one tenant, its own. */
const issuers: Record<string, string> = {
  common: '{tenantid}',
  organizations: '{tenantid}',
  consumers: personalTenant,
  [personalTenant]: personalTenant,
  [companyTenant]: companyTenant,
};

const discovery = (origin: string, tenant: string) => ({
  token_endpoint: `${origin}/${tenant}/oauth2/v2.0/token`,
  token_endpoint_auth_methods_supported: [
    'client_secret_post',
    'private_key_jwt',
    'client_secret_basic',
    'self_signed_tls_client_auth',
  ],
  jwks_uri: `${origin}/${tenant}/discovery/v2.0/keys`,
  response_modes_supported: ['query', 'fragment', 'form_post'],
  subject_types_supported: ['pairwise'],
  id_token_signing_alg_values_supported: ['RS256'],
  response_types_supported: ['code', 'id_token', 'code id_token', 'id_token token'],
  scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
  issuer: `${origin}/${issuers[tenant]}/v2.0`,
  request_uri_parameter_supported: false,
  userinfo_endpoint: `${origin}/oidc/userinfo`,
  authorization_endpoint: `${origin}/${tenant}/oauth2/v2.0/authorize`,
  device_authorization_endpoint: `${origin}/${tenant}/oauth2/v2.0/devicecode`,
  http_logout_supported: true,
  frontchannel_logout_supported: true,
  end_session_endpoint: `${origin}/${tenant}/oauth2/v2.0/logout`,
  claims_supported: [
    'sub',
    'iss',
    'cloud_instance_name',
    'cloud_instance_host_name',
    'cloud_graph_host_name',
    'msgraph_host',
    'aud',
    'exp',
    'iat',
    'auth_time',
    'acr',
    'nonce',
    'preferred_username',
    'name',
    'tid',
    'ver',
    'at_hash',
    'c_hash',
    'email',
  ],
  kerberos_endpoint: `${origin}/${tenant}/kerberos`,
  tenant_region_scope: null,
  cloud_instance_name: 'microsoftonline.com',
  cloud_graph_host_name: 'graph.windows.net',
  msgraph_host: 'graph.microsoft.com',
  rbac_url: 'https://pas.windows.net',
});

const refusal = (status: number, error: string, code: number, text: string): PeerAnswer => ({
  status,
  body: {
    error,
    error_description: `AADSTS${code}: ${text} Trace ID: ${randomUUID()} Correlation ID: ${randomUUID()} Timestamp: 2026-01-09 02:02:12Z`,
    error_codes: [code],
    timestamp: '2026-01-09 02:02:12Z',
    trace_id: randomUUID(),
    correlation_id: randomUUID(),
  },
});

const idToken = (
  peer: Peer,
  signer: Signer,
  { id, login, email, name, extra = {} }: Account,
  parameters: Record<string, string>,
) => {
  const scopes = (parameters.scope ?? '').split(' ');
  const { tid, sub, ...others } = extra;
  return signer.sign({
    aud: peer.clientId,
    iss: `${peer.origin}/${tid}/v2.0`,
    iat: now(),
    nbf: now(),
    exp: now() + 3900,
    ...(scopes.includes('profile') ? { name, oid: id, preferred_username: login } : {}),
    ...(scopes.includes('email') && email ? { email } : {}),
    ...(parameters.nonce === undefined ? {} : { nonce: parameters.nonce }),
    rh: '0.AQEAv4j5cvGGr0GRqy180BHbR.',
    sub: sub as string,
    tid,
    uti: randomBytes(16).toString('base64url'),
    ver: '2.0',
    ...others,
  });
};

export const startMicrosoft = async (accounts: Account[] = [microsoftAccount]): Promise<Peer> => {
  const signer = await createSigner('microsoft-1');
  const people = new Map<string, Account>();
  // `x5t` and `x5c` are left out; `issuer` is Microsoft's own member of a key.
  const keys = (peer: Peer) => () => ({
    body: {
      keys: [
        {
          ...signer.jwk,
          alg: undefined,
          issuer: `${peer.origin}/{tenantid}/v2.0`,
          cloud_instance_name: 'microsoftonline.com',
        },
      ],
    },
  });
  const token =
    (peer: Peer) =>
    async (request: PeerRequest): Promise<PeerAnswer> => {
      const { id, secret } = clientOf(request);
      const { code, redirect_uri, grant_type, code_verifier } = request.form;
      if (id !== peer.clientId)
        return refusal(
          400,
          'unauthorized_client',
          700016,
          'Application with identifier was not found in the directory.',
        );
      if (secret !== peer.clientSecret)
        return refusal(401, 'invalid_client', 7000215, 'Invalid client secret provided.');
      if (grant_type !== 'authorization_code')
        return refusal(400, 'unsupported_grant_type', 70003, 'The app requested an unsupported grant type.');
      const pending = peer.redeemCode(code?.replace(/^1\./, ''));
      if (!pending) return refusal(400, 'invalid_grant', 54005, 'OAuth2 Authorization code was already redeemed.');
      if (redirect_uri !== pending.parameters.redirect_uri)
        return refusal(
          400,
          'invalid_client',
          500112,
          'The reply address does not match the reply address provided when requesting Authorization code.',
        );
      if (!pkceMatches(pending, code_verifier))
        return refusal(
          400,
          'invalid_grant',
          501481,
          'The Code_Verifier does not match the code_challenge supplied in the authorization request.',
        );
      const access_token = `EwB${randomBytes(60).toString('base64url')}`;
      people.set(access_token, pending.account);
      return {
        body: {
          token_type: 'Bearer',
          scope: 'email openid profile',
          expires_in: 3736,
          ext_expires_in: 3736,
          access_token,
          id_token: await idToken(peer, signer, pending.account, pending.parameters),
        },
      };
    };
  return startPeer(
    {
      name: 'Microsoft',
      host: '127.0.0.1',
      authorizationPath: '/common/oauth2/v2.0/authorize',
      alsoAt: Object.keys(issuers).map((tenant) => `/${tenant}/oauth2/v2.0/authorize`),
      checkRequest: ({ response_type, scope = '' }) =>
        response_type === 'code' && scope.split(' ').includes('openid')
          ? undefined
          : 'AADSTS900144: The request body must contain the following parameter',
      consented: (pending, peer) => ({ code: `1.${peer.issueCode(pending)}`, session_state: randomUUID() }),
      declined: () => ({
        error: 'access_denied',
        error_description: 'AADSTS65004: User declined to consent to access the app.',
      }),
      handlers: (peer) => ({
        ...Object.fromEntries(
          Object.keys(issuers).flatMap((tenant) => [
            [`GET /${tenant}/v2.0/.well-known/openid-configuration`, () => ({ body: discovery(peer.origin, tenant) })],
            [`GET /${tenant}/discovery/v2.0/keys`, keys(peer)],
            [`POST /${tenant}/oauth2/v2.0/token`, token(peer)],
          ]),
        ),
        'GET /oidc/userinfo': ({ headers }) => {
          const account = people.get(headers.authorization?.replace(/^Bearer /, '') ?? '');
          if (!account)
            return {
              status: 401,
              body: { error: { code: 'InvalidAuthenticationToken', message: 'CompactToken parsing failed' } },
            };
          const { name, email, extra } = account;
          return {
            body: { sub: extra?.sub, name, email, picture: 'https://graph.microsoft.example/v1.0/me/photo/$value' },
          };
        },
      }),
    },
    accounts,
  );
};
