/**
 * Where a provider's endpoints are: what its document says, else what it publishes (OpenID Connect Discovery 1.0). Kept for an
 * hour; that it could not be had is kept for some seconds, so that a provider that is down is not asked by everybody at once.
 */
import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose';
import { FederationError } from './federation-error.ts';
import { type IdentityProvider, idTokenAlgs, isEndpoint } from './identity-providers.ts';
import { isAnyTenant, isPlainOAuth, tenantOf } from './presets.ts';
import { requestJson } from './upstream-requests.ts';

export interface Upstream {
  /** What `iss` must be; for any tenant of Microsoft it has `{tenantid}` where the tenant is. */
  issuer: string;
  authorizationEndpoint: string;
  tokenEndpoint: string;
  userinfoEndpoint: string | undefined;
  /** The keys that id_tokens are signed with; none for plain OAuth 2. */
  keys: JWTVerifyGetKey | undefined;
  algs: readonly string[];
  /** How this service shows the token endpoint who it is. */
  authMethod: AuthMethod;
  /** It puts `iss` into authorization responses (RFC 9207). */
  announcesIssuer: boolean;
}

export type AuthMethod = NonNullable<IdentityProvider['metadata']['token_endpoint_auth_method']>;

const freshMs = 3_600_000;
const failureMs = 5000;
const keysMs = 600_000;
/** Between two times that keys are fetched because none fits. */
const cooldownMs = 10_000;

type Document = Record<string, unknown>;

/** Where the document is. The tenant of Microsoft is part of it. */
const discoveryBase = ({ metadata: { issuer = '', tenant = 'common' } }: IdentityProvider): string =>
  issuer.replace('{tenantid}', tenant).replace(/\/$/, '');

/** @throws FederationError invalid for somebody else's document */
const assertIssuer = (provider: IdentityProvider, given: unknown): string => {
  const { preset, issuer = '', tenant = 'common' } = provider.metadata;
  const anyTenants = issuer.replace('{tenantid}', tenant).replace(`/${tenant}/`, '/{tenantid}/');
  const oneTenant = issuer.replace('{tenantid}', tenantOf(provider.metadata));
  const expected = preset === 'microsoft' && isAnyTenant(provider) ? anyTenants : oneTenant;
  if (given !== expected) throw new FederationError('invalid', `discovery names another issuer: ${String(given)}`);
  return expected;
};

const algsOf = (
  { metadata: { id_token_signed_response_alg: only } }: IdentityProvider,
  document: Document,
): string[] => {
  if (only) return [only];
  const announced = document.id_token_signing_alg_values_supported;
  return Array.isArray(announced) ? idTokenAlgs.filter((alg) => announced.includes(alg)) : ['RS256'];
};

/** What is announced; nothing announced is `client_secret_basic` (OpenID Connect Discovery 1.0 section 3). */
const authMethodOf = ({ metadata }: IdentityProvider, document: Document): AuthMethod => {
  if (metadata.token_endpoint_auth_method) return metadata.token_endpoint_auth_method;
  if (metadata.preset !== 'oidc') return 'client_secret_post';
  const announced = document.token_endpoint_auth_methods_supported;
  const takes = (method: AuthMethod) => Array.isArray(announced) && announced.includes(method);
  return takes('client_secret_post') && !takes('client_secret_basic') ? 'client_secret_post' : 'client_secret_basic';
};

const load = async (provider: IdentityProvider, fetch: typeof globalThis.fetch): Promise<Upstream> => {
  const { metadata } = provider;
  const plain = isPlainOAuth(provider);
  const isDescribed = metadata.authorization_endpoint && metadata.token_endpoint && (plain || metadata.jwks_uri);
  const document: Document = {};
  if (!isDescribed) {
    const { status, body } = await requestJson(fetch, `${discoveryBase(provider)}/.well-known/openid-configuration`);
    if (status !== 200) throw new FederationError('unavailable', `discovery answered ${status}`);
    assertIssuer(provider, body.issuer);
    Object.assign(document, body);
  }
  const endpoint = (name: 'authorization_endpoint' | 'token_endpoint' | 'userinfo_endpoint' | 'jwks_uri') => {
    const value = metadata[name] ?? document[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || !isEndpoint(value))
      throw new FederationError('invalid', `discovery has no usable ${name}`);
    return value;
  };
  const needed = (name: Parameters<typeof endpoint>[0]): string => {
    const value = endpoint(name);
    if (value === undefined) throw new FederationError('invalid', `discovery has no ${name}`);
    return value;
  };
  return {
    issuer: plain ? (metadata.issuer ?? '') : assertIssuer(provider, document.issuer ?? assumedIssuer(provider)),
    authorizationEndpoint: needed('authorization_endpoint'),
    tokenEndpoint: needed('token_endpoint'),
    userinfoEndpoint: endpoint('userinfo_endpoint'),
    keys: plain
      ? undefined
      : createRemoteJWKSet(new URL(needed('jwks_uri')), {
          [customFetch]: (url, init) => fetch(url, init as RequestInit),
          timeoutDuration: 5000,
          cooldownDuration: cooldownMs,
          cacheMaxAge: keysMs,
        }),
    algs: algsOf(provider, document),
    authMethod: authMethodOf(provider, document),
    announcesIssuer: document.authorization_response_iss_parameter_supported === true,
  };
};

/** Of a provider whose endpoints are all given. */
const assumedIssuer = (provider: IdentityProvider): string => {
  const { preset, issuer = '', tenant = 'common' } = provider.metadata;
  if (preset !== 'microsoft') return issuer;
  if (!isAnyTenant(provider)) return issuer.replace('{tenantid}', tenantOf(provider.metadata));
  return issuer.replace('{tenantid}', tenant).replace(`/${tenant}/`, '/{tenantid}/');
};

interface Entry {
  revision: string;
  until: number;
  upstream: Promise<Upstream>;
}

/** Finds a provider's endpoints. @throws FederationError unavailable, or invalid */
export type Discover = (provider: IdentityProvider) => Promise<Upstream>;

export const createDiscovery = (fetchOf: (provider: IdentityProvider) => typeof globalThis.fetch): Discover => {
  const entries = new Map<string, Entry>();
  return (provider) => {
    const known = entries.get(provider.id);
    if (known && known.revision === provider.revision && known.until > Date.now()) return known.upstream;
    // One request for all who wait; nobody but they waits for it.
    const upstream = load(provider, fetchOf(provider));
    const entry: Entry = { revision: provider.revision, until: Date.now() + freshMs, upstream };
    entries.set(provider.id, entry);
    upstream.catch(() => {
      entry.until = Date.now() + failureMs;
    });
    return upstream;
  };
};
