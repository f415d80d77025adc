/** The engine's configuration: what we turn on, and each policy with its reason. */
import { type ClientMetadata, type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { createOidcAdapter, identityScopes } from '../../adapters/oidc.ts';
import type { Db } from '../../db/connect.ts';
import { isTrusted } from '../clients/standing.queries.ts';
import type { Config } from '../config.ts';
import type { KeySet } from '../keys/key-set.ts';
import { permissionsOf, permits } from '../roles/permissions.ts';
import { findUserAccess } from '../roles/roles.queries.ts';
import type { Secrets } from '../secrets.ts';
import { isActiveUser } from '../users/users.queries.ts';
import { createJwtFinder, createLivenessClaims } from './access-tokens.ts';
import { createFindAccount, scopeClaims } from './claims.ts';
import { createInteractionPolicy, createLoadExistingGrant, type NeedsMfa } from './consent.ts';
import { clientScope, tokenExchange } from './issue-tokens.ts';
import { apiResource, defaultResource } from './resources.ts';

/** The pages that the engine shows in the middle of the protocol. */
export interface ProtocolPages {
  error: NonNullable<Configuration['renderError']>;
  signOut(ctx: KoaContextWithOIDC, form: { action: string; xsrf: string }): Promise<void>;
  signedOut(ctx: KoaContextWithOIDC): Promise<void>;
}

export interface ProviderParts {
  config: Config;
  db: Db;
  secrets: Secrets;
  pages: ProtocolPages;
  locales: readonly string[];
  /** Whether a sign-in of this user needs a second factor. */
  needsMfa: NeedsMfa;
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
const authMethods: NonNullable<Configuration['clientAuthMethods']> = [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'none',
];

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
  jwks: '/.well-known/jwks.json',
} as const;

/**
 * Roles are for the person's own applications, the operator's and those that they gave their password. Beside a narrow
 * scope they would mislead: an API that judges by them would let somebody else's application, or the holder of an API
 * key, do whatever the person may. Nor are they for userinfo, whose tokens have no audience.
 */
const carriesRoles = async (db: Db, userId: string, token: object): Promise<boolean> => {
  const { aud, client, gty } = token as { aud?: string; client?: { clientId: string }; gty?: string };
  if (aud === undefined || client === undefined || gty === tokenExchange) return false;
  return gty?.split(' ')[0] === 'password' || isTrusted(db, client.clientId, userId);
};

export const buildConfiguration = (
  { config, db, secrets, pages, locales, fetch, needsMfa }: ProviderParts,
  keySet: KeySet,
): Configuration => {
  const secure = config.JWT_ISSUER.startsWith('https:');
  const cookie = { httpOnly: true, sameSite: 'lax', secure, signed: true, overwrite: true } as const;
  const algs = [...keySet.algs];
  return {
    adapter: createOidcAdapter({
      db,
      secrets,
      refreshTokenGraceSeconds: config.REFRESH_TOKEN_GRACE,
      accessTokenMaxSeconds: config.JWT_ACCESS_TTL,
      findJwt: createJwtFinder(config.JWT_ISSUER, db, keySet),
    }),
    jwks: keySet.jwks as NonNullable<Configuration['jwks']>,
    fetch,
    findAccount: createFindAccount(db, secrets, needsMfa),
    loadExistingGrant: createLoadExistingGrant(db),
    routes,
    claims: scopeClaims,
    scopes: identityScopes,
    responseTypes: ['code', 'none'],
    subjectTypes: ['public'],
    clientAuthMethods: authMethods,
    clientDefaults: { id_token_signed_response_alg: algs[0] } as ClientMetadata,
    extraClientMetadata: {
      properties: [
        'first_party',
        'require_pkce',
        'api_scope',
        'audience',
        'access_token_format',
        'previous_secret_hash',
        'rank',
      ],
    },
    // Secrets are stored hashed, so nothing can be signed with them: no HS256, no client_secret_jwt.
    enabledJWA: {
      idTokenSigningAlgValues: algs,
      userinfoSigningAlgValues: algs,
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    },
    discovery: {
      ui_locales_supported: [...locales],
      introspection_endpoint_auth_methods_supported: authMethods,
      revocation_endpoint_auth_methods_supported: authMethods,
    } as Configuration['discovery'],
    cookies: {
      names: cookieNames(secure),
      long: { ...cookie, path: '/' },
      short: cookie,
      keys: [secrets.mac('cookie', '1')],
    },
    interactions: {
      policy: createInteractionPolicy(needsMfa),
      url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
    },
    pkce: { required: (_ctx, client) => client.require_pkce !== false },
    allowOmittingSingleRegisteredRedirectUri: false,
    rotateRefreshToken: true,
    // Whoever registered for refresh tokens gets them; without offline_access they end with the session.
    issueRefreshToken: (_ctx, client) => Promise.resolve(client.grantTypeAllowed('refresh_token')),
    clientBasedCORS: (_ctx, origin, client) =>
      client.clientAuthMethod === 'none' &&
      (client.redirectUris ?? []).some((uri) => URL.parse(uri)?.origin === origin),
    // RFC 9068 section 2.2.3.1.
    extraTokenClaims: async (_ctx, token) => {
      const { accountId } = token as { accountId?: string };
      return accountId && (await carriesRoles(db, accountId, token))
        ? { roles: (await findUserAccess(db, accountId))?.roles ?? [] }
        : undefined;
    },
    formats: { customizers: { jwt: createLivenessClaims(db) } },
    ttl: {
      AccessToken: config.JWT_ACCESS_TTL,
      ClientCredentials: config.JWT_ACCESS_TTL,
      AuthorizationCode: 60,
      IdToken: idTokenSeconds,
      Interaction: 3600,
      RefreshToken: config.JWT_REFRESH_TTL,
      Session: (_ctx, session) => sessionSeconds(config, session),
      Grant: grantSeconds,
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      claimsParameter: { enabled: true },
      clientCredentials: { enabled: true },
      dPoP: { enabled: false },
      jwtUserinfo: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: async (ctx) => {
          const { secret = '' } = (ctx.oidc.session?.state ?? {}) as { secret?: string };
          await pages.signOut(ctx, { action: `${routes.end_session}/confirm`, xsrf: secret });
        },
        postLogoutSuccessSource: (ctx) => pages.signedOut(ctx),
      },
      introspection: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => {
          if (client.clientAuthMethod === 'none' && token.clientId !== client.clientId) return false;
          // A deactivated user's tokens are dead, whatever their own state.
          const { accountId } = token as { accountId?: string };
          return accountId === undefined || isActiveUser(db, accountId);
        },
      },
      revocation: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => {
          if (token.clientId !== client.clientId) {
            // RFC 7009 section 2.1; a public client, which anybody can claim to be, is told nothing.
            if (client.clientAuthMethod === 'none') return false;
            throw new errors.InvalidRequest('the token was not issued to this client');
          }
          if (token.kind === 'RefreshToken') return true;
          // The engine would go on to drop every token of the grant; revoking an access token ends that one alone.
          await token.destroy();
          return false;
        },
      },
      resourceIndicators: {
        enabled: true,
        // With openid and no resource the token is for userinfo, which takes opaque ones alone; otherwise it is for our
        // API, as it always is where there is nobody to be described.
        defaultResource: (ctx, _client, oneOf) => {
          if (oneOf) return oneOf;
          const { scope = '', grant_type } = (ctx.oidc.params ?? {}) as { scope?: string; grant_type?: string };
          const forUserinfo = scope.split(' ').includes('openid') && grant_type !== 'client_credentials';
          return forUserinfo ? (undefined as never) : defaultResource(config.JWT_ISSUER);
        },
        useGrantedResource: () => Promise.resolve(true),
        getResourceServerInfo: async (ctx, indicator, client) => {
          if (indicator !== defaultResource(config.JWT_ISSUER)) throw new errors.InvalidTarget();
          // A refresh token may have been narrowed to names that the client has only by a wildcard.
          const kept = String(ctx.oidc.entities.RefreshToken?.scope ?? '').split(' ');
          const allowed = clientScope(client);
          const narrowed = permissionsOf(kept).filter((name) => permits(allowed, name));
          const scope = [...new Set([...allowed, ...narrowed])].join(' ');
          return apiResource(config, client, scope);
        },
      },
    },
    renderError: pages.error,
  };
};
