/**
 * Security profiles of clients. A profile fills in what is not named and refuses whatever is weaker, so that a client cannot
 * drift out of it by a later change of one member.
 *
 * - `oauth2.1`: draft-ietf-oauth-v2-1: the code flow with PKCE, no password grant, nothing in the front channel.
 * - `fapi2-security`: FAPI 2.0 Security Profile Final section 5.3: pushed requests, keys instead of secrets, bound tokens.
 * - `fapi2-message-signing`: that, and FAPI 2.0 Message Signing Final sections 5.3 to 5.5: requests, responses and
 *   introspection answers are signed.
 */

import { invalid } from '../errors.ts';
import { loopback } from '../settings.ts';
import type { NewClient } from './client-metadata.ts';
import { cibaGrant, deviceGrant, jwtBearer, tokenExchange } from './grant-types.ts';

export type Profile = NonNullable<NewClient['profile']>;

/** FAPI 2.0 Security Profile section 5.4.1, and what has been registered since for the same strength. */
const strongAlgs = ['PS256', 'ES256', 'EdDSA', 'Ed25519', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'];
export const isStrong = (alg: string): boolean => strongAlgs.includes(alg);
const keyMethods = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];
/** Grants by which a person agrees, or a client acts for itself, without anybody's password. */
const safeGrants = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  deviceGrant,
  cibaGrant,
  tokenExchange,
  jwtBearer,
];
/** The device flow has no pushed request and no redirect to protect. */
const fapiGrants = safeGrants.filter((grant) => grant !== deviceGrant);

/** One rule: the value where none is named, and what is right. */
interface Rule<N extends keyof NewClient = keyof NewClient> {
  member: N;
  fill?: NonNullable<NewClient[N]>;
  holds(value: NewClient[N], client: NewClient): boolean;
  /** What the error says the profile needs. */
  needs: string;
}
const rule = <N extends keyof NewClient>(one: Rule<N>): Rule => one as unknown as Rule;

const flag = (member: 'require_pushed_authorization_requests' | 'require_signed_request_object'): Rule =>
  rule({ member, fill: true, holds: (value) => value === true, needs: 'true' });

const algorithm = (
  member:
    | 'id_token_signed_response_alg'
    | 'userinfo_signed_response_alg'
    | 'token_endpoint_auth_signing_alg'
    | 'request_object_signing_alg'
    | 'authorization_signed_response_alg'
    | 'introspection_signed_response_alg'
    | 'backchannel_authentication_request_signing_alg',
  fill?: string,
): Rule =>
  rule({
    member,
    ...(fill ? { fill } : {}),
    holds: (value) => value === undefined || strongAlgs.includes(value),
    needs: `one of ${strongAlgs.join(', ')}`,
  });

const isHttps = (uri: string) => URL.parse(uri)?.protocol === 'https:';
const isLoopback = (uri: string) => loopback.has(URL.parse(uri)?.hostname ?? '');
const isPlainHttp = (uri: string) => URL.parse(uri)?.protocol === 'http:';

const only = (allowed: readonly string[]) => (values: readonly string[] | undefined) =>
  (values ?? []).every((value) => allowed.includes(value));

const oauth21: Rule[] = [
  rule({ member: 'response_types', holds: only(['code', 'none']), needs: 'code alone (section 10.1)' }),
  rule({ member: 'grant_types', holds: only(safeGrants), needs: `no other than ${safeGrants.join(', ')}` }),
  rule({ member: 'require_pkce', fill: true, holds: (value) => value === true, needs: 'true (section 4.1.1)' }),
  rule({
    member: 'redirect_uris',
    holds: (uris = []) => uris.every((uri) => !isPlainHttp(uri) || isLoopback(uri)),
    needs: 'no http but for loopback addresses (section 1.5)',
  }),
];

const fapi2Security: Rule[] = [
  rule({ member: 'response_types', holds: only(['code']), needs: 'code alone (section 5.3.2.2)' }),
  rule({ member: 'grant_types', holds: only(fapiGrants), needs: `no other than ${fapiGrants.join(', ')}` }),
  rule({ member: 'require_pkce', fill: true, holds: (value) => value === true, needs: 'true (section 5.3.2.2)' }),
  rule({
    member: 'token_endpoint_auth_method',
    fill: 'private_key_jwt',
    holds: (value = '') => keyMethods.includes(value),
    needs: `one of ${keyMethods.join(', ')} (section 5.3.2.1)`,
  }),
  flag('require_pushed_authorization_requests'),
  rule({
    member: 'dpop_bound_access_tokens',
    fill: true,
    holds: (value, client) => value === true || client.tls_client_certificate_bound_access_tokens === true,
    needs: 'true, unless tls_client_certificate_bound_access_tokens is (section 5.3.2.1)',
  }),
  rule({
    member: 'redirect_uris',
    holds: (uris = []) => uris.every(isHttps),
    needs: 'https alone (section 5.3.2.2)',
  }),
  algorithm('id_token_signed_response_alg', 'ES256'),
  algorithm('userinfo_signed_response_alg'),
  algorithm('token_endpoint_auth_signing_alg'),
  algorithm('request_object_signing_alg'),
  algorithm('authorization_signed_response_alg', 'ES256'),
  algorithm('introspection_signed_response_alg', 'ES256'),
  algorithm('backchannel_authentication_request_signing_alg'),
];

const jwtModes = ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'];

const fapi2MessageSigning: Rule[] = [
  ...fapi2Security,
  flag('require_signed_request_object'),
  rule({
    member: 'response_modes',
    fill: jwtModes,
    holds: (value = []) => value.length > 0 && only(jwtModes)(value),
    needs: `${jwtModes.join(', ')} alone (Message Signing section 5.4)`,
  }),
];

const rules: Record<Profile, Rule[]> = {
  'oauth2.1': oauth21,
  'fapi2-security': fapi2Security,
  'fapi2-message-signing': fapi2MessageSigning,
};

/** What profiles name that needs no redirect: a machine has none of it. */
const forRedirects = new Set<keyof NewClient>([
  'require_pushed_authorization_requests',
  'require_signed_request_object',
  'response_modes',
]);

/**
 * Metadata with what its profile fills in. Comes before the defaults of RFC 7591, some of which no profile allows.
 * @throws AppError 400 invalid_client_metadata that names the profile, the member and what it needs
 */
export const withProfile = (metadata: NewClient): NewClient => {
  if (!metadata.profile) return metadata;
  const redirects = metadata.grant_types === undefined || metadata.grant_types.includes('authorization_code');
  const filled: NewClient = { ...metadata };
  for (const { member, fill } of rules[metadata.profile]) {
    if (fill === undefined || filled[member] !== undefined || (forRedirects.has(member) && !redirects)) continue;
    if (member === 'dpop_bound_access_tokens' && filled.tls_client_certificate_bound_access_tokens) continue;
    Object.assign(filled, { [member]: fill });
  }
  const broken = rules[metadata.profile].filter(
    ({ member, holds }) => !(forRedirects.has(member) && !redirects) && !holds(filled[member], filled),
  );
  if (broken.length)
    throw invalid(
      'invalid_client_metadata',
      broken.map(({ member, needs }) => `${member}: the profile ${metadata.profile} needs ${needs}`).join('; '),
    );
  return filled;
};
