/** A client's metadata as it is sent, stored and shown. */

import { z } from 'zod';
import { camelCase, snakeCase } from '../../db/names.ts';
import { invalid } from '../errors.ts';
import { members } from './client-members.ts';
import { withProfile } from './client-profiles.ts';
import type { Client } from './clients.queries.ts';
import { assertPolicyFits } from './exchange-policy.ts';
import { cibaGrant, jwtBearer } from './grant-types.ts';

/** A request as one would send it: members that go together, of which not all could be sent at once. */
export const exampleClient = {
  client_name: 'Acme',
  redirect_uris: ['https://app.example.com/callback'],
  post_logout_redirect_uris: ['https://app.example.com/'],
  grant_types: ['authorization_code', 'refresh_token'],
  scope: 'openid profile email offline_access',
};
/** Members that are not known are ignored (RFC 7591 section 2); the answer lists what was registered. */
export const NewClient = z.object(members).meta({ id: 'NewClient', example: exampleClient });
export type NewClient = z.output<typeof NewClient>;

const seconds = (description: string) => z.int().min(0).meta({ description, example: 1_798_761_599 });

/** Members of an answer: as they are described for requests, but whatever was once stored can be shown. */
const shown = <N extends keyof typeof members, S extends z.ZodType>(schema: S, ...names: N[]) =>
  Object.fromEntries(names.map((name) => [name, schema.optional().meta(members[name].meta() ?? {})])) as {
    [K in N]: z.ZodOptional<S>;
  };

/** What a client is to whoever may see it: everything but secrets. */
export const ClientDocument = z
  .object({
    client_id: z.string().meta({ example: 'Zk3v9QmT1xYb7LrW2sDf' }),
    client_id_issued_at: seconds('Seconds since 1970'),
    ...shown(
      z.string(),
      ...(['client_name', 'client_uri', 'logo_uri', 'policy_uri', 'tos_uri', 'application_type', 'scope'] as const),
      ...(['token_endpoint_auth_method', 'token_endpoint_auth_signing_alg', 'jwks_uri', 'subject_type'] as const),
      ...(['id_token_signed_response_alg', 'userinfo_signed_response_alg', 'initiate_login_uri'] as const),
      ...(['backchannel_logout_uri', 'audience', 'access_token_format', 'profile', 'sector_identifier_uri'] as const),
      ...(['request_object_signing_alg', 'request_object_encryption_alg', 'request_object_encryption_enc'] as const),
      ...(['authorization_signed_response_alg', 'authorization_encrypted_response_alg'] as const),
      ...(['authorization_encrypted_response_enc', 'id_token_encrypted_response_alg'] as const),
      ...(['id_token_encrypted_response_enc', 'userinfo_encrypted_response_alg'] as const),
      ...(['userinfo_encrypted_response_enc', 'introspection_signed_response_alg'] as const),
      ...(['introspection_encrypted_response_alg', 'introspection_encrypted_response_enc'] as const),
      ...(['tls_client_auth_subject_dn', 'tls_client_auth_san_dns', 'tls_client_auth_san_uri'] as const),
      ...(['tls_client_auth_san_ip', 'tls_client_auth_san_email', 'backchannel_token_delivery_mode'] as const),
      ...(['backchannel_client_notification_endpoint', 'software_id', 'software_version'] as const),
      'backchannel_authentication_request_signing_alg',
    ),
    ...shown(
      z.array(z.string()),
      ...(['contacts', 'redirect_uris', 'post_logout_redirect_uris', 'grant_types', 'response_types'] as const),
      ...(['default_acr_values', 'response_modes', 'authorization_details_types'] as const),
    ),
    ...shown(
      z.boolean(),
      ...(['require_auth_time', 'backchannel_logout_session_required', 'first_party', 'require_pkce'] as const),
      ...(['require_pushed_authorization_requests', 'require_signed_request_object'] as const),
      ...(['dpop_bound_access_tokens', 'tls_client_certificate_bound_access_tokens'] as const),
      ...(['use_mtls_endpoint_aliases', 'require_mfa', 'require_organization'] as const),
    ),
    ...shown(z.int(), 'default_max_age'),
    ...shown(z.object({ keys: z.array(z.record(z.string(), z.unknown())) }), 'jwks'),
    ...shown(z.record(z.string(), z.string()), 'theme'),
    ...shown(z.record(z.string(), z.union([z.boolean(), z.array(z.string())])), 'token_exchange'),
    created_by: z.uuid().optional().meta({
      description:
        'The account that answers for the client: what it does on its own ends with what they may do. None: the operator',
      example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f',
    }),
    kind: z.enum(['registered', 'dynamic', 'metadata-document']).meta({
      description:
        'How it came to be here: registered by somebody who may, by itself (RFC 7591), or read from the document that its id is the URL of',
      example: 'registered',
    }),
    software_policy: z.string().optional().meta({
      description: 'Of a dynamic client: the software policy that it was registered under',
      example: 'partners',
    }),
    blocked_at: seconds(
      'Of a metadata document: since when an administrator has blocked it, in seconds since 1970',
    ).optional(),
    built_in: z.boolean().meta({ description: 'Follows the configuration and cannot be changed', example: false }),
    previous_client_secret_expires_at: seconds(
      'While a secret is rotated: when the one before it ends, in seconds since 1970',
    ).optional(),
  })
  .meta({ id: 'Client' });
export type ClientDocument = z.output<typeof ClientDocument>;

/** A client with the secret that was made for it, which is shown this once. */
export const RegisteredClient = ClientDocument.extend({
  client_secret: z.string().optional().meta({
    description: 'Shown this once; none for clients that authenticate otherwise',
    example: 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl4pN6fGh2aBc',
  }),
  client_secret_expires_at: z
    .int()
    .optional()
    .meta({ description: '0: it does not expire by itself (RFC 7591 section 3.2.1)', example: 0 }),
}).meta({ id: 'RegisteredClient' });
export type RegisteredClient = z.output<typeof RegisteredClient>;

/** Methods that authenticate with a shared secret. */
const secretMethods = ['client_secret_basic', 'client_secret_post'];

export const usesSecret = ({ token_endpoint_auth_method: method = '' }: NewClient): boolean =>
  secretMethods.includes(method);

const refuse = (message: string) => invalid('invalid_client_metadata', message);

/**
 * What the profile fills in, the defaults of RFC 7591 section 2, and two rules: a machine needs no response type, a public client needs PKCE.
 * @throws AppError 400 invalid_client_metadata
 */
export const withDefaults = (named: NewClient): NewClient => {
  const metadata = withProfile(named);
  const grantTypes = metadata.grant_types ?? ['authorization_code'];
  const usesRedirects = grantTypes.some((type) => type === 'authorization_code' || type === 'implicit');
  const method = metadata.token_endpoint_auth_method ?? 'client_secret_basic';
  if (method === 'none' && metadata.require_pkce === false)
    throw refuse('require_pkce: a public client cannot do without PKCE (RFC 9700 section 2.1.1)');
  if (method === 'none' && grantTypes.includes('client_credentials'))
    throw refuse('grant_types: client_credentials is for clients that authenticate (RFC 6749 section 4.4)');
  if (method === 'none' && grantTypes.includes(cibaGrant))
    throw refuse('grant_types: backchannel authentication is for clients that authenticate (CIBA Core section 7.1)');
  if (grantTypes.includes(jwtBearer) && !metadata.jwks && !metadata.jwks_uri)
    throw refuse('grant_types: jwt-bearer is for clients with keys of their own (RFC 7523 section 3)');
  const complete = {
    ...metadata,
    grant_types: grantTypes,
    response_types: metadata.response_types ?? (usesRedirects ? ['code'] : []),
    redirect_uris: metadata.redirect_uris ?? [],
    token_endpoint_auth_method: method,
  };
  assertPolicyFits(complete);
  return complete;
};

const renamed = (object: object, rename: (name: string) => string) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [rename(name), value]));

const jsonColumns = new Set(['jwks', 'theme', 'token_exchange']);

/** Metadata as columns; members that are not there are left to the column's default. */
export const toRow = (metadata: NewClient): Partial<Record<keyof Client, unknown>> =>
  Object.fromEntries(
    Object.entries(metadata)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [
        camelCase(name),
        jsonColumns.has(name) ? JSON.stringify(name === 'theme' ? renamed(value as object, camelCase) : value) : value,
      ]),
  );

/** A row as metadata, in the names of RFC 7591: members that are not set are left out, and so is everything secret. */
export const clientMetadata = ({
  clientSecretHash: _hash,
  clientSecretExpiresAt: _expires,
  previousSecretHash: _previous,
  previousSecretExpiresAt: previousEndsAt,
  rank: _rank,
  registrationTokenHash: _registrationToken,
  metadataExpiresAt: _fetchedUntil,
  lastUsedAt: _lastUsed,
  vouchedFor: _vouched,
  tokenGeneration: _generation,
  blockedAt,
  createdAt,
  theme,
  ...client
}: Client): ClientDocument =>
  ({
    ...renamed(Object.fromEntries(Object.entries(client).filter(([, value]) => value !== null)), snakeCase),
    ...(theme ? { theme: renamed(theme, snakeCase) } : {}),
    ...(previousEndsAt && previousEndsAt > new Date()
      ? { previous_client_secret_expires_at: Math.floor(previousEndsAt.getTime() / 1000) }
      : {}),
    ...(blockedAt ? { blocked_at: Math.floor(blockedAt.getTime() / 1000) } : {}),
    client_id_issued_at: Math.floor(createdAt.getTime() / 1000),
  }) as ClientDocument;
