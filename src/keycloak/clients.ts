/** Keycloak's clients as metadata of RFC 7591, and what of them does not come over. */
import type { NewClient } from '../clients/client-metadata.ts';
import { standardScopes } from '../clients/identity-scopes.ts';
import type { KeycloakClient } from './realm.ts';
import type { NoteCode, Reporter } from './report.ts';

export interface PlannedClient {
  clientId: string;
  externalId: string;
  metadata: NewClient;
  /** Undefined where it has none, or is to be given a new one. */
  secret: string | undefined;
}

const isOn = (client: KeycloakClient, name: string) => client.attributes[name] === 'true';

/** Keycloak keeps lists in attributes so. */
const listOf = (text: string | undefined) => (text ? text.split('##').filter(Boolean) : []);

interface Uris {
  exact: string[];
  others: string[];
}

/** URIs that name one place; relative ones are of the client's root. */
const readUris = (uris: readonly string[], rootUrl: string | undefined): Uris => {
  const exact: string[] = [];
  const others: string[] = [];
  for (const uri of uris) {
    // `${authBaseUrl}` and the like stand for Keycloak itself.
    const full = uri.startsWith('/') && rootUrl && !rootUrl.includes('$') ? rootUrl.replace(/\/$/, '') + uri : uri;
    const isExact = !full.includes('*') && !full.includes('$') && URL.canParse(full);
    (isExact ? exact : others).push(isExact ? full : uri);
  }
  return { exact, others };
};

/** `+` stands for the redirect URIs. */
const readLogoutUris = (client: KeycloakClient, redirects: Uris): Uris => {
  const { exact, others } = readUris(listOf(client.attributes['post.logout.redirect.uris']), client.rootUrl);
  const same = others.includes('+');
  return {
    exact: [...new Set([...exact, ...(same ? redirects.exact : [])])],
    others: others.filter((uri) => uri !== '+' && uri !== '-'),
  };
};

const isLoopback = (uri: string) => ['localhost', '127.0.0.1', '[::1]'].includes(URL.parse(uri)?.hostname ?? '');
const isNative = (uri: string) => !/^https?:/.test(uri) || (uri.startsWith('http:') && isLoopback(uri));

const grantTypesOf = (client: KeycloakClient, redirects: readonly string[]): string[] => {
  const interactive = (client.standardFlowEnabled ?? true) && redirects.length > 0;
  const device = isOn(client, 'oauth2.device.authorization.grant.enabled');
  const direct = client.directAccessGrantsEnabled ?? false;
  return [
    ...(interactive ? ['authorization_code'] : []),
    ...(direct ? ['password'] : []),
    ...(device ? ['urn:ietf:params:oauth:grant-type:device_code'] : []),
    ...(interactive || device || direct ? ['refresh_token'] : []),
    ...(client.serviceAccountsEnabled && !client.publicClient ? ['client_credentials'] : []),
  ];
};

/** How it authenticates, if that can be as it was. */
const authenticationOf = (
  client: KeycloakClient,
): Pick<NewClient, 'token_endpoint_auth_method' | 'jwks_uri'> & {
  asIs: boolean;
} => {
  if (client.publicClient) return { token_endpoint_auth_method: 'none', asIs: true };
  const { clientAuthenticatorType: type = 'client-secret', attributes } = client;
  const jwksUri = attributes['use.jwks.url'] === 'true' ? attributes['jwks.url'] : undefined;
  if (type === 'client-jwt' && jwksUri)
    return { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: jwksUri, asIs: true };
  return { token_endpoint_auth_method: 'client_secret_basic', asIs: type === 'client-secret' };
};

/**
 * Secrets are kept as their SHA-256, which protects only what nobody can guess: Keycloak's own (32 characters, or a UUID)
 * and others like them. What somebody thought of is replaced.
 */
const isStrong = (secret: string) => /^[\x21-\x7e]{24,512}$/.test(secret) && new Set(secret).size >= 10;

/** Standard scopes of Keycloak that need no counterpart. */
const builtInScopes = new Set([
  'acr',
  'basic',
  'microprofile-jwt',
  'role_list',
  'roles',
  'service_account',
  'web-origins',
]);

const scopesOf = ({
  defaultClientScopes,
  optionalClientScopes,
}: KeycloakClient): { scope: string; other: string[] } => {
  const named = defaultClientScopes || optionalClientScopes;
  const all = named ? [...(defaultClientScopes ?? []), ...(optionalClientScopes ?? [])] : standardScopes;
  const scopes = new Set(['openid', ...all]);
  return {
    scope: standardScopes.filter((scope) => scopes.has(scope)).join(' '),
    other: [...scopes].filter((scope) => !standardScopes.includes(scope) && !builtInScopes.has(scope)),
  };
};

const web = (uri: string | undefined) =>
  uri && ['http:', 'https:'].includes(URL.parse(uri)?.protocol ?? '') ? uri : undefined;

const withoutUndefined = <T extends object>(value: T): NewClient =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as NewClient;

const leftOutBecause = (client: KeycloakClient): NoteCode | undefined => {
  if ((client.protocol ?? 'openid-connect') !== 'openid-connect') return 'client-not-openid';
  if (client.bearerOnly) return 'client-bearer-only';
  if (client.enabled === false) return 'client-disabled';
  if (client.clientId.startsWith('https:') || !/^[\x20-\x7e]+$/.test(client.clientId)) return 'client-unusable-id';
  return undefined;
};

const noteLosses = (client: KeycloakClient, redirects: Uris, logout: Uris, reporter: Reporter): void => {
  const { clientId } = client;
  const say = (code: NoteCode, items: readonly string[]) => {
    if (items.length) reporter.note(code, `${clientId}: ${items.join(' ')}`);
  };
  say('client-redirect-wildcard', [...redirects.others, ...logout.others]);
  if ((client.standardFlowEnabled ?? true) && !redirects.exact.length)
    reporter.note('client-without-redirect', clientId);
  if (client.implicitFlowEnabled) reporter.note('client-implicit', clientId);
  if (client.publicClient && !client.attributes['pkce.code.challenge.method']) reporter.note('client-pkce', clientId);
  say('client-scopes', scopesOf(client).other);
  say(
    'client-mappers',
    client.protocolMappers.map(({ name }) => name),
  );
  const origins = new Set(redirects.exact.map((uri) => URL.parse(uri)?.origin));
  say(
    'client-origins',
    client.webOrigins.filter((origin) => origin !== '+' && !origins.has(origin)),
  );
  if (client.authorizationServicesEnabled) reporter.note('client-policies', clientId);
};

/**
 * @param firstParty whether a client of which Keycloak asked no consent is the operator's own
 * @returns undefined for one that is left out; the report says why
 */
export const planClient = (
  client: KeycloakClient,
  { firstParty, reporter }: { firstParty: boolean; reporter: Reporter },
): PlannedClient | undefined => {
  const { clientId, attributes, name } = client;
  const reason = leftOutBecause(client);
  if (reason) {
    reporter.count('clients', 'left out');
    reporter.note(reason, clientId);
    return undefined;
  }
  const redirects = readUris(client.redirectUris, client.rootUrl);
  const logout = readLogoutUris(client, redirects);
  noteLosses(client, redirects, logout, reporter);

  const { asIs, ...authentication } = authenticationOf(client);
  const hasSecret = authentication.token_endpoint_auth_method === 'client_secret_basic';
  const secret = hasSecret && asIs && client.secret && isStrong(client.secret) ? client.secret : undefined;
  if (hasSecret && !secret) reporter.note(asIs ? 'client-new-secret' : 'client-authentication', clientId);
  const isOwn = firstParty && !client.consentRequired;
  if (!client.consentRequired && !isOwn) reporter.note('client-consent', clientId);
  const grantTypes = grantTypesOf(client, redirects.exact);

  return {
    clientId,
    externalId: client.id ?? clientId,
    secret,
    metadata: withoutUndefined({
      // `${client_account}` and the like are keys of Keycloak's translations.
      client_name: name && !name.includes('$') ? name.trim().slice(0, 200) || undefined : undefined,
      client_uri: web(client.baseUrl),
      logo_uri: web(attributes.logoUri),
      policy_uri: web(attributes.policyUri),
      tos_uri: web(attributes.tosUri),
      application_type: redirects.exact.length && redirects.exact.every(isNative) ? 'native' : 'web',
      redirect_uris: redirects.exact,
      post_logout_redirect_uris: logout.exact,
      grant_types: grantTypes,
      response_types: grantTypes.includes('authorization_code') ? ['code'] : [],
      scope: scopesOf(client).scope,
      ...authentication,
      backchannel_logout_uri: web(attributes['backchannel.logout.url']),
      backchannel_logout_session_required: attributes['backchannel.logout.session.required']
        ? isOn(client, 'backchannel.logout.session.required')
        : undefined,
      require_pushed_authorization_requests: isOn(client, 'require.pushed.authorization.requests') || undefined,
      dpop_bound_access_tokens: isOn(client, 'dpop.bound.access.tokens') || undefined,
      // What did not use PKCE goes on without, where that is allowed at all.
      require_pkce: client.publicClient || attributes['pkce.code.challenge.method'] ? undefined : false,
      first_party: isOwn || undefined,
    }),
  };
};
