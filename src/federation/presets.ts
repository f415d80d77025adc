/** What is known of Google, GitHub, Facebook, Microsoft and Apple. Everything in it can be overridden. */
import { hashToken } from '../secrets.ts';
import type { IdentityProvider, Preset, ProviderMetadata, ProviderSecrets } from './identity-providers.ts';

type Known = Partial<ProviderMetadata> & Pick<IdentityProvider['metadata'], 'name' | 'scope' | 'trust_email'>;

const facebookGraph = 'https://graph.facebook.com/v23.0';

const known: Record<Preset, Known> = {
  google: { name: 'Google', scope: 'openid email profile', trust_email: true, issuer: 'https://accounts.google.com' },
  github: {
    name: 'GitHub',
    scope: 'read:user user:email',
    trust_email: true,
    issuer: 'https://github.com',
    authorization_endpoint: 'https://github.com/login/oauth/authorize',
    token_endpoint: 'https://github.com/login/oauth/access_token',
    userinfo_endpoint: 'https://api.github.com/user',
    emails_endpoint: 'https://api.github.com/user/emails',
  },
  facebook: {
    name: 'Facebook',
    scope: 'public_profile email',
    trust_email: false,
    issuer: 'https://www.facebook.com',
    authorization_endpoint: 'https://www.facebook.com/v23.0/dialog/oauth',
    token_endpoint: `${facebookGraph}/oauth/access_token`,
    userinfo_endpoint: `${facebookGraph}/me`,
  },
  microsoft: { name: 'Microsoft', scope: 'openid email profile', trust_email: false },
  apple: { name: 'Apple', scope: 'openid name email', trust_email: true, issuer: 'https://appleid.apple.com' },
  oidc: { name: 'OpenID Connect', scope: 'openid email profile', trust_email: false },
};

/** Whether the provider is a plain OAuth 2 one: people are asked for at an API of its own, and there is no id_token. */
export const isPlainOAuth = ({ metadata: { preset } }: Pick<IdentityProvider, 'metadata'>): boolean =>
  preset === 'github' || preset === 'facebook';

/**
 * Whether the provider can be made to ask somebody again and says when it did (`max_age`, `auth_time`; OpenID Connect Core
 * 1.0 section 3.1.2.1). The others sign in whoever has a session with them, however old.
 */
export const reauthenticates = ({ metadata: { preset } }: Pick<IdentityProvider, 'metadata'>): boolean =>
  preset === 'oidc' || preset === 'microsoft';

/** Microsoft's tenants that are not one: `iss` then has the id of the tenant that somebody is of. */
export const isAnyTenant = ({ metadata: { tenant = 'common' } }: Pick<IdentityProvider, 'metadata'>): boolean =>
  ['common', 'organizations'].includes(tenant);

/** Microsoft's tenant of all personal accounts, whose issuer `consumers` has. */
const personalTenant = '9188040d-6c67-4c5b-b112-36a304b66dad';

/**
 * Whether somebody's tenant is one that the setting takes: `organizations` is every tenant but the one of all personal accounts,
 * in which anybody can have one. Microsoft's metadata of it is that of any tenant, so `iss` alone would let them in.
 */
export const takesTenant = (
  { metadata: { preset, tenant } }: Pick<IdentityProvider, 'metadata'>,
  tid: unknown,
): boolean => preset !== 'microsoft' || tenant !== 'organizations' || String(tid).toLowerCase() !== personalTenant;

/** The tenant as an issuer has it. */
export const tenantOf = ({ tenant = 'common' }: Pick<ProviderMetadata, 'tenant'>): string =>
  tenant === 'consumers' ? personalTenant : tenant;

const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;

/** What describes a provider, with what its preset knows. */
export const withPreset = (metadata: ProviderMetadata): IdentityProvider['metadata'] => {
  const { preset } = metadata;
  const issuer =
    preset === 'microsoft' ? { issuer: `https://login.microsoftonline.com/${tenantOf(metadata)}/v2.0` } : {};
  return { ...known[preset], ...issuer, ...withoutUndefined(metadata) };
};

/** The provider that a document describes. */
export const resolveProvider = (
  id: string,
  metadata: ProviderMetadata,
  secrets: ProviderSecrets,
  { rank, permissions = null, source }: Pick<IdentityProvider, 'rank' | 'permissions' | 'source'>,
): IdentityProvider => ({
  id,
  metadata: withPreset(metadata),
  secrets,
  revision: hashToken(JSON.stringify([id, metadata, secrets, rank, permissions, source])),
  rank,
  permissions,
  source,
});
