/** Keycloak's identity providers as those of this service. */
import {
  type Preset,
  type ProviderMetadata,
  type ProviderSecrets,
  providerMetadata,
} from '../federation/identity-providers.ts';
import type { KeycloakProvider } from './realm.ts';
import type { Reporter } from './report.ts';

export interface PlannedProvider {
  alias: string;
  externalId: string;
  /** Part of the redirect URI. */
  id: string;
  metadata: ProviderMetadata;
  secrets: ProviderSecrets;
  /** Whether people are called there by this service as Keycloak was: else links with it mean nothing here. */
  sameSubjects: boolean;
}

const presets: Record<string, Preset> = {
  google: 'google',
  github: 'github',
  facebook: 'facebook',
  microsoft: 'microsoft',
  oidc: 'oidc',
  'keycloak-oidc': 'oidc',
};

/** Keycloak asks Microsoft's Graph for somebody's id; here it is `sub`, which is another one for each application. */
const withOtherSubjects = new Set<Preset>(['microsoft']);

const idOf = (alias: string) => {
  const id = alias
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40);
  // The name of an endpoint, which no provider can have.
  return id === 'token' ? 'keycloak-token' : id;
};

const methods: Record<string, ProviderMetadata['token_endpoint_auth_method']> = {
  client_secret_basic: 'client_secret_basic',
  client_secret_post: 'client_secret_post',
  client_secret_basic_unencoded: 'client_secret_basic',
};

/** @returns undefined for one that is left out; the report says why */
export const planProvider = (provider: KeycloakProvider, reporter: Reporter): PlannedProvider | undefined => {
  const { alias, providerId, config } = provider;
  const preset = presets[providerId];
  const leaveOut = (code: 'provider-unsupported' | 'provider-unreadable') => {
    reporter.count('identity providers', 'left out');
    reporter.note(code, code === 'provider-unsupported' ? `${alias} (${providerId})` : alias);
    return undefined;
  };
  if (!preset) return leaveOut('provider-unsupported');
  const id = idOf(alias);
  const secret = config.clientSecret && !/^\*+$/.test(config.clientSecret) ? config.clientSecret : undefined;
  const isOidc = preset === 'oidc';
  const method = methods[config.clientAuthMethod ?? 'client_secret_post'];
  const enabled = (provider.enabled ?? true) && secret !== undefined && method !== undefined;
  const metadata = providerMetadata.safeParse({
    preset,
    ...(provider.displayName || isOidc ? { name: (provider.displayName || alias).slice(0, 64) } : {}),
    enabled,
    client_id: config.clientId,
    ...(isOidc
      ? {
          issuer: config.issuer || undefined,
          authorization_endpoint: config.authorizationUrl || undefined,
          token_endpoint: config.tokenUrl || undefined,
          userinfo_endpoint: config.userInfoUrl || undefined,
          jwks_uri: config.jwksUrl || undefined,
          token_endpoint_auth_method: method,
          scope: config.defaultScope ? `openid ${config.defaultScope.replace(/\bopenid\b/, '')}`.trim() : undefined,
        }
      : {}),
    ...(config.hostedDomain ? { hosted_domain: config.hostedDomain } : {}),
    ...(provider.trustEmail ? { trust_email: true } : {}),
  });
  if (!id || !metadata.success || (isOidc && !metadata.data.issuer)) return leaveOut('provider-unreadable');
  if (!enabled) reporter.note('provider-disabled', alias);
  return {
    alias,
    externalId: provider.internalId ?? alias,
    id,
    metadata: metadata.data,
    secrets: secret ? { client_secret: secret } : {},
    sameSubjects: !withOtherSubjects.has(preset),
  };
};

/** Whether ids of people there depend on who asks: of Facebook always, of an issuer perhaps. */
const hasOwnSubjects = (preset: Preset) => preset === 'facebook' || preset === 'oidc';

/** Whether a provider that is here already calls people as the imported one would. */
export const isSameProvider = (
  { metadata }: PlannedProvider,
  present: Pick<ProviderMetadata, 'preset' | 'issuer' | 'client_id'>,
): boolean =>
  metadata.preset === present.preset &&
  (metadata.preset !== 'oidc' || metadata.issuer === present.issuer) &&
  (!hasOwnSubjects(metadata.preset) || metadata.client_id === present.client_id);
