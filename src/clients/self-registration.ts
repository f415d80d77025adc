/**
 * What a client may be that nobody registered: one that registers itself (RFC 7591), or describes itself in a document. Its
 * metadata is a stranger's word, so it gets what no stranger could misuse:
 *
 * - the members of the standards alone: never `first_party`, an audience or a look of the pages of its own, and never types of
 *   `authorization_details`, whose words on the consent page are the operator's;
 * - grants by which a person agrees in their own browser; others, and identity aside scopes, only as a software policy has
 *   them, and a person's password or an exchange of tokens not even then;
 * - redirect URIs that nobody on the way can read: https, loopback, or an application's own scheme.
 *
 * What it may not have is left out, as RFC 7591 section 3.2.1 lets us; the answer lists what was registered.
 */

import { invalid } from '../errors.ts';
import { permissionsOf } from '../roles/permissions.ts';
import { loopback } from '../settings.ts';
import { readMetadata } from './client-changes.ts';
import { profiles, standardMembers } from './client-members.ts';
import { type NewClient, withDefaults } from './client-metadata.ts';
import { cibaGrant, deviceGrant, jwtBearer } from './grant-types.ts';
import { identityScopes } from './identity-scopes.ts';
import type { SoftwarePolicy } from './software-policies.queries.ts';

/** What a policy can allow. Who relays passwords, or exchanges tokens, is somebody whom an administrator knows. */
export const policyGrants = [
  'authorization_code',
  'refresh_token',
  'implicit',
  'client_credentials',
  deviceGrant,
  cibaGrant,
  jwtBearer,
] as const;

type Rules = Pick<SoftwarePolicy, 'grantTypes' | 'redirectHosts' | 'scope' | 'profile' | 'requirePkce'>;

/** Without a policy. */
export const anybody: Rules = {
  grantTypes: ['authorization_code', 'refresh_token'],
  redirectHosts: null,
  scope: null,
  profile: null,
  requirePkce: true,
};

const isWeb = ({ protocol }: URL) => protocol === 'https:' || protocol === 'http:';
const isPlain = ({ protocol, hostname }: URL) => protocol === 'http:' && !loopback.has(hostname);
/** Where an application on the person's own device is waiting (RFC 8252 section 7). */
const isOnDevice = (url: URL) => !isWeb(url) || (url.protocol === 'http:' && loopback.has(url.hostname));

const invalidRedirect = (message: string) => invalid('invalid_redirect_uri', message);

/** @throws AppError 400 invalid_redirect_uri */
const assertRedirects = (urls: readonly URL[], { redirectHosts }: Rules): void => {
  if (urls.some(isPlain)) throw invalidRedirect('redirect_uris: http is for loopback addresses alone (RFC 8252)');
  if (redirectHosts && urls.some((url) => !isWeb(url) || !redirectHosts.includes(url.hostname)))
    throw invalidRedirect(`redirect_uris: only on these hosts: ${redirectHosts.join(', ')}`);
};

const parseRedirects = (uris: readonly string[]): URL[] =>
  uris.map((uri) => {
    const url = URL.parse(uri);
    // What is shown to people must be where the browser goes: no letter of another script, and no name before an @.
    if (url && !url.username && !url.password && /^[\x21\x22\x24-\x7e]+$/.test(uri)) return url;
    throw invalidRedirect('redirect_uris: expected absolute URIs in ASCII, without a fragment or credentials');
  });

const isStandard = (name: string): boolean =>
  (Object.hasOwn(standardMembers, name) && name !== 'authorization_details_types') || name === 'profile';

/** Neither may loosen what the other holds the client to. */
const stricter = (...named: (NewClient['profile'] | null)[]): NewClient['profile'] =>
  profiles.findLast((profile) => named.includes(profile));

/** RFC 7592 section 2.2: null and the empty text stand for what is not there. */
const named = (input: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(input).filter(([name, value]) => isStandard(name) && value !== null && value !== ''),
  );

/**
 * Of the scope that a client names, what it may have. One that names none, or none that is known here, is not bound to any: the
 * scopes of OpenID Connect, and of resource servers that are open to every client, are for people to agree to.
 */
const scopeWithin = (scope: string | undefined, rules: Rules, openScopes: readonly string[]): string | undefined => {
  const names = scope?.split(' ') ?? [];
  const permissions = permissionsOf(names);
  const open = (name: string) => openScopes.includes(name) && !permissions.includes(name);
  const granted = rules.scope?.split(' ') ?? [];
  const kept = names.filter((name) => identityScopes.includes(name) || granted.includes(name) || open(name));
  return kept.length ? kept.join(' ') : undefined;
};

/**
 * What is registered of what a client says.
 * @param openScopes of resource servers that are open to every client
 * @param method how it authenticates unless it says so
 * @throws AppError 400 invalid_client_metadata or invalid_redirect_uri (RFC 7591 section 3.2.2)
 */
export const selfMetadata = (
  input: Record<string, unknown>,
  rules: Rules,
  { openScopes, method }: { openScopes: readonly string[]; method?: 'none' },
): NewClient => {
  const metadata = readMetadata(named(input));
  const urls = parseRedirects(metadata.redirect_uris ?? []);
  assertRedirects(urls, rules);
  const wanted = metadata.grant_types ?? ['authorization_code'];
  const grantTypes = wanted.filter((type) => rules.grantTypes.includes(type));
  if (!grantTypes.length)
    throw invalid('invalid_client_metadata', `grant_types: only of these: ${rules.grantTypes.join(', ')}`);
  const profile = stricter(metadata.profile, rules.profile);
  return withDefaults({
    ...metadata,
    grant_types: grantTypes,
    scope: scopeWithin(metadata.scope, rules, openScopes),
    // Whatever it says, and clients of OAuth alone do not know the member: anybody can wait on the person's own device, so the
    // person is asked each time (RFC 8252 section 8.6). Ports of loopback need not match then.
    application_type: urls.some(isOnDevice) ? 'native' : (metadata.application_type ?? 'web'),
    ...(profile ? { profile } : {}),
    ...(metadata.token_endpoint_auth_method || !method ? {} : { token_endpoint_auth_method: method }),
    // Every profile takes PKCE.
    ...(!rules.requirePkce && !profile && metadata.token_endpoint_auth_method !== 'none'
      ? { require_pkce: false }
      : {}),
  });
};

/**
 * RFC 7591 section 2.3. Nobody's statements are trusted here: one that is a JWT is not approved, anything else is none.
 * @returns the error code of section 3.2.2, or undefined when there is no statement
 */
export const refusedStatement = ({
  software_statement: statement,
}: Record<string, unknown>): 'invalid_software_statement' | 'unapproved_software_statement' | undefined => {
  if (statement === undefined || statement === null) return undefined;
  const isJwt = typeof statement === 'string' && /^[\w-]+\.[\w-]+\.[\w-]*$/.test(statement);
  return isJwt ? 'unapproved_software_statement' : 'invalid_software_statement';
};
