/** The engine's configuration: what we turn on, and each policy with its reason. */
import type { Configuration, KoaContextWithOIDC } from 'oidc-provider';
import { createOidcAdapter } from '../../adapters/oidc.ts';
import type { OidcStorage } from '../../adapters/oidc-storage.ts';
import { createTokenReads } from '../../adapters/token-reads.ts';
import type { Db } from '../../db/connect.ts';
import { acrValues } from '../auth/authentication-context.ts';
import type { ClientAccess } from '../clients/client-access.ts';
import { identityScopes } from '../clients/identity-scopes.ts';
import type { Config } from '../config.ts';
import type { KeySet } from '../keys/key-set.ts';
import type { Meetings } from '../resource-servers/meetings.ts';
import type { Secrets } from '../secrets.ts';
import { createJwtFinder, livenessClaims } from './access-tokens.ts';
import { actClaim } from './acting.ts';
import { defaultAlgorithms, enabledAlgorithms } from './algorithms.ts';
import { createAuthorizationClaims } from './authorization-claims.ts';
import { type DetailsTypes, richAuthorizationRequests } from './authorization-details.ts';
import { type BackchannelParts, backchannelSeconds, ciba, mayRefresh } from './ciba.ts';
import { createFindAccount, scopeClaims } from './claims.ts';
import { assertAttester, attestationFeature, challengePath } from './client-attestation.ts';
import {
  assertAssertion,
  authenticationMetadata,
  authenticationMethods,
  boundTokens,
} from './client-authentication.ts';
import { servingKeys } from './client-keys.ts';
import { registrationMetadata } from './client-registration.ts';
import { createInteractionPolicy, createLoadExistingGrant, createPrompt, type NeedsMfa } from './consent.ts';
import { type DevicePages, deviceAuthorizationPath, deviceCodeSeconds, deviceFlow, xsrfOf } from './device-flow.ts';
import { dpopFeature } from './dpop.ts';
import { allowRevocation, introspection } from './introspection.ts';
import { mutualTlsFeature } from './mutual-tls.ts';
import { organizationParameter } from './organization-parameter.ts';
import { pairwiseSubjects } from './pairwise.ts';
import { assertRequestObject, fapiProfile, rotatesRefreshTokens } from './profiles.ts';
import { accessTokenSeconds, resourceIndicators, resourceTokenSecondsMax } from './resource-servers.ts';
import { engineKeys } from './signing-keys.ts';
import { authenticationClaims } from './step-up.ts';
import type { ShowStopped } from './unasked-redirects.ts';

/** The pages that the engine shows in the middle of the protocol. */
export interface ProtocolPages {
  error: NonNullable<Configuration['renderError']>;
  signOut(ctx: KoaContextWithOIDC, form: { action: string; xsrf: string }): Promise<void>;
  signedOut(ctx: KoaContextWithOIDC): Promise<void>;
  /** Instead of a redirect that nobody asked for. */
  stopped: ShowStopped;
  device: DevicePages;
}

export interface ProviderParts {
  config: Config;
  db: Db;
  access: ClientAccess;
  secrets: Secrets;
  pages: ProtocolPages;
  backchannel: BackchannelParts;
  locales: readonly string[];
  /** Whether a sign-in of this user needs a second factor. */
  needsMfa: NeedsMfa;
  /** The types of authorization details that clients may ask for (RFC 9396). */
  detailsTypes: DetailsTypes;
  findClientMetadata: OidcStorage['findClientMetadata'];
  /** How clients meet resource servers. */
  meetings: Meetings;
  sessions: OidcStorage['sessions'];
  /** Fetches what clients point at (jwks_uri, back-channel logout) without reaching into our own network. */
  fetch: NonNullable<Configuration['fetch']>;
}

/** Cookie names: prefixes need TLS, and `__Host-` a path of `/` (RFC 6265bis section 4.1.3). */
const cookieNames = (secure: boolean) => ({
  session: secure ? '__Host-session' : 'session',
  interaction: secure ? '__Secure-interaction' : 'interaction',
  resume: secure ? '__Secure-resume' : 'resume',
});

/** Upper bound of a Grant, and so of a family of refresh tokens: people are asked again once a year. */
const grantSeconds = 365 * 86_400;

const idTokenSeconds = 3600;
/** A browser that only asks to sign out, say, has a session too; it need not live for long. */
const anonymousSessionSeconds = 3600;

/** Use prolongs a session by SESSION_TTL, but not past SESSION_MAX_TTL after the password was given. */
const sessionSeconds = (
  { SESSION_TTL, SESSION_MAX_TTL }: Config,
  { accountId, loginTs }: { accountId?: string | undefined; loginTs?: number | undefined },
): number => {
  if (!accountId) return anonymousSessionSeconds;
  const now = Math.floor(Date.now() / 1000);
  return Math.max(1, Math.min(SESSION_TTL, (loginTs ?? now) + SESSION_MAX_TTL - now));
};

export const routes = {
  authorization: '/oauth/authorize',
  token: '/oauth/token',
  userinfo: '/oauth/userinfo',
  introspection: '/oauth/introspect',
  revocation: '/oauth/revoke',
  end_session: '/oauth/logout',
  pushed_authorization_request: '/oauth/par',
  device_authorization: deviceAuthorizationPath,
  code_verification: '/device',
  backchannel_authentication: '/oauth/backchannel',
  jwks: '/.well-known/jwks.json',
} as const;

export const buildConfiguration = (
  {
    config,
    db,
    access,
    secrets,
    pages,
    locales,
    fetch,
    needsMfa,
    detailsTypes,
    backchannel,
    findClientMetadata,
    meetings,
    sessions,
  }: ProviderParts,
  keySet: KeySet,
): Configuration => {
  const secure = config.JWT_ISSUER.startsWith('https:');
  const bindable = boundTokens(config);
  const reads = createTokenReads(db, config.REFRESH_TOKEN_GRACE);
  const claims = createAuthorizationClaims({ db, access, config, routes });
  const cookie = { httpOnly: true, sameSite: 'lax', secure, signed: true, overwrite: true } as const;
  return {
    adapter: createOidcAdapter({
      db,
      findClientMetadata,
      secrets,
      sessions,
      refreshTokenGraceSeconds: config.REFRESH_TOKEN_GRACE,
      accessTokenMaxSeconds: Math.max(config.JWT_ACCESS_TTL, resourceTokenSecondsMax),
      ownAudience: config.JWT_AUD,
      openResources: config.OPEN_RESOURCES,
      meetings,
      reads,
      findJwt: createJwtFinder(config.JWT_ISSUER, reads, keySet),
    }),
    jwks: engineKeys(keySet),
    fetch: servingKeys(fetch),
    findAccount: createFindAccount(db, secrets, needsMfa, access, claims.accountClaims),
    loadExistingGrant: createLoadExistingGrant(db, access),
    routes: { ...routes, challenge: challengePath },
    claims: scopeClaims,
    scopes: [...identityScopes],
    extraParams: organizationParameter,
    // What a client may ask for is in its metadata: `code` unless it is registered for more. No access token goes through
    // the front channel (RFC 9700 section 2.1.2).
    responseTypes: ['code', 'none', 'code id_token', 'id_token'],
    acrValues: [...acrValues],
    ...pairwiseSubjects(secrets),
    clientAuthMethods: authenticationMethods(config),
    clientDefaults: defaultAlgorithms(keySet),
    extraClientMetadata: {
      properties: [
        'first_party',
        'kind',
        ...['require_pkce', 'require_mfa', 'require_organization'],
        'api_scope',
        'audience',
        'access_token_format',
        'previous_secret_hash',
        'rank',
        'token_generation',
        'vouched_for',
        'profile',
        ...bindable.properties,
      ],
      validator: (_ctx, key, value, metadata) => {
        bindable.assert(key, value);
        assertAttester(metadata);
      },
    },
    enabledJWA: enabledAlgorithms(keySet),
    discovery: {
      ui_locales_supported: [...locales],
      ...(config.REQUIRE_PUSHED_AUTHORIZATION_REQUESTS ? { require_pushed_authorization_requests: true } : {}),
      prompt_values_supported: ['none', 'login', 'consent', createPrompt],
      ...authenticationMetadata(config, routes),
      ...registrationMetadata(config),
    } as Configuration['discovery'],
    cookies: {
      names: cookieNames(secure),
      long: { ...cookie, path: '/' },
      short: cookie,
      keys: secrets.macs('cookie', '1'),
    },
    interactions: {
      policy: createInteractionPolicy(db, needsMfa),
      url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
    },
    pkce: { required: (_ctx, client) => client.require_pkce !== false },
    allowOmittingSingleRegisteredRedirectUri: false,
    rotateRefreshToken: rotatesRefreshTokens,
    assertJwtClientAuthClaimsAndHeader: assertAssertion,
    // Whoever registered for refresh tokens gets them; without offline_access they end with the session, if there is one.
    issueRefreshToken: (_ctx, client, source) => Promise.resolve(mayRefresh(client, source)),
    clientBasedCORS: (_ctx, origin, client) =>
      client.clientAuthMethod === 'none' &&
      // The origin of any sandboxed page, and what URL says of a native application's own scheme.
      origin !== 'null' &&
      (client.redirectUris ?? []).some((uri) => URL.parse(uri)?.origin === origin),
    extraTokenClaims: async (ctx, token) => ({
      ...authenticationClaims(ctx),
      ...(await claims.tokenClaims(ctx, token)),
      ...actClaim(token),
    }),
    formats: { customizers: { jwt: livenessClaims } },
    ttl: {
      AccessToken: accessTokenSeconds(config),
      ClientCredentials: accessTokenSeconds(config),
      AuthorizationCode: 60,
      BackchannelAuthenticationRequest: backchannelSeconds,
      DeviceCode: deviceCodeSeconds,
      IdToken: idTokenSeconds,
      Interaction: 3600,
      RefreshToken: config.JWT_REFRESH_TTL,
      Session: (_ctx, session) => sessionSeconds(config, session),
      Grant: grantSeconds,
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      ciba: ciba(backchannel),
      claimsParameter: { enabled: true },
      clientCredentials: { enabled: true },
      deviceFlow: deviceFlow(pages.device),
      attestClientAuth: attestationFeature(config, secrets),
      dPoP: dpopFeature(config, secrets),
      encryption: { enabled: true },
      externalSigningSupport: { enabled: true, ack: 'experimental-01' },
      fapi: { enabled: true, profile: fapiProfile },
      jwtResponseModes: { enabled: true },
      jwtIntrospection: { enabled: true },
      jwtUserinfo: { enabled: true },
      mTLS: mutualTlsFeature(config),
      pushedAuthorizationRequests: { enabled: true },
      requestObjects: { enabled: true, assertJwtClaimsAndHeader: assertRequestObject },
      // The published types tell apart what is on by literals; here a setting decides.
      richAuthorizationRequests: richAuthorizationRequests(detailsTypes) as never,
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx) => pages.signOut(ctx, { action: `${routes.end_session}/confirm`, xsrf: xsrfOf(ctx) }),
        postLogoutSuccessSource: (ctx) => pages.signedOut(ctx),
      },
      introspection: introspection(meetings, access, claims.introspected),
      revocation: { enabled: true, allowedPolicy: allowRevocation as never },
      resourceIndicators: resourceIndicators({ config, db, meetings, keySet }),
    },
    renderError: pages.error,
  };
};
