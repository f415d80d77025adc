/** What a client may be registered with: RFC 7591 section 2, OpenID Connect Registration section 2, and what is ours. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { parseDistinguishedName } from './distinguished-names.ts';
import { ExchangePolicy } from './exchange-policy.ts';

/** Text that PostgreSQL can store and that a page or a log can show. */
export const storable = z.string().regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters');
export const text = storable.trim().min(1).max(200);
/** Text that people read: what cannot be seen, or turns the writing around, would make one name look like another. */
const shownText = text.regex(/^\P{C}*$/u, 'must not contain invisible characters');
const uri = storable.max(2000).pipe(z.url());
const uris = z.array(storable.min(1).max(2000)).max(50);

const colour = z
  .string()
  .regex(/^#[0-9a-f]{6}$/i)
  .meta({ example: '#0b5fff' });
const Theme = z
  .strictObject({
    accent: colour.optional(),
    accent_dark: colour.optional(),
    radius: z
      .string()
      .regex(/^\d{1,2}(\.\d{1,3})?(px|rem)$/)
      .optional()
      .meta({ example: '8px' }),
    font: z
      .string()
      .regex(/^[a-zA-Z0-9 ,'"-]{1,120}$/)
      .optional()
      .meta({ example: 'Georgia, serif' }),
    logo: z
      .string()
      .max(40_000)
      .regex(/^data:image\/(png|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/]+=*$/)
      .optional()
      .meta({ example: 'data:image/png;base64,iVBORw0KGgo=' }),
  })
  .meta({ description: 'The look of the pages that the client sends people to' });

/** Members of keys that are used anywhere are flat. What is nested deeply would overflow the stack of whoever writes it out. */
const JwkMember = z.union([storable.max(8000), z.boolean(), z.number(), z.array(storable.max(8000)).max(20)]);

/** Public keys alone: what a private one would be stored for is beyond us, and it would lie here in the open. */
const Jwks = z
  .object({ keys: z.array(z.record(storable.max(100), JwkMember)).max(20) })
  .refine(({ keys }) => keys.every((key) => Object.keys(key).length <= 30), 'expected at most 30 members of a key')
  .refine(({ keys }) => keys.every((key) => !('d' in key || 'k' in key || 'priv' in key)), 'expected public keys alone')
  .meta({
    description: 'Public keys that the client signs with, by value',
    example: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', kid: 'k1' }] },
  });

const basicMembers = {
  client_name: shownText.optional().meta({
    description: 'Shown to people. That of this service is for its operator’s own applications.',
    example: 'Acme',
  }),
  client_uri: uri.optional().meta({ example: 'https://app.example.com' }),
  logo_uri: uri.optional().meta({ example: 'https://app.example.com/logo.png' }),
  policy_uri: uri.optional().meta({ example: 'https://app.example.com/privacy' }),
  tos_uri: uri.optional().meta({ example: 'https://app.example.com/terms' }),
  contacts: z
    .array(text)
    .max(20)
    .optional()
    .meta({ example: ['ops@example.com'] }),
  application_type: z.enum(['web', 'native']).optional().meta({ example: 'web' }),
  redirect_uris: uris.optional().meta({
    description: 'Compared character by character',
    example: ['https://app.example.com/callback'],
  }),
  post_logout_redirect_uris: uris.optional().meta({ example: ['https://app.example.com/bye'] }),
  grant_types: z
    .array(text)
    .max(10)
    .optional()
    .meta({
      description:
        '`authorization_code` (the default), `refresh_token`, `client_credentials`, `password`, `urn:ietf:params:oauth:grant-type:device_code`, `urn:openid:params:grant-type:ciba` (with `backchannel_token_delivery_mode`), `urn:ietf:params:oauth:grant-type:token-exchange`, `urn:ietf:params:oauth:grant-type:jwt-bearer` (with `jwks` or `jwks_uri`)',
      example: ['authorization_code', 'refresh_token'],
    }),
  response_types: z
    .array(z.string().max(100))
    .max(10)
    .optional()
    .meta({ example: ['code'] }),
  scope: z
    .string()
    .regex(/^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/, 'expected scopes separated by single spaces')
    .max(2000)
    .optional()
    .meta({
      description: 'What its tokens may have; permissions among them must be held by whoever registers it',
      example: 'openid email offline_access',
    }),
  token_endpoint_auth_method: text.optional().meta({
    description:
      '`client_secret_basic` (the default), `client_secret_post`, `private_key_jwt`, `none`, and with mutual TLS `tls_client_auth` and `self_signed_tls_client_auth`',
    example: 'client_secret_basic',
  }),
  token_endpoint_auth_signing_alg: text.optional().meta({ example: 'ES256' }),
  jwks: Jwks.optional(),
  jwks_uri: uri.optional().meta({ example: 'https://app.example.com/jwks.json' }),
  id_token_signed_response_alg: text.optional().meta({ example: 'RS256' }),
  userinfo_signed_response_alg: text.optional().meta({ example: 'RS256' }),
  subject_type: z.enum(['public', 'pairwise']).optional().meta({
    description: '`pairwise`: its `sub` is one that no client of another sector sees (OpenID Connect Core section 8)',
    example: 'public',
  }),
  initiate_login_uri: uri.optional().meta({ example: 'https://app.example.com/login' }),
  default_max_age: z.int().min(0).max(2_147_483_647).optional().meta({ description: 'Seconds', example: 3600 }),
  require_auth_time: z.boolean().optional().meta({ example: false }),
  default_acr_values: z.array(text).max(10).optional().meta({ example: [] }),
  backchannel_logout_uri: uri.optional().meta({ example: 'https://app.example.com/backchannel-logout' }),
  backchannel_logout_session_required: z.boolean().optional().meta({ example: true }),
};

/** Security profiles by name; `client-profiles.ts` says what each demands. */
export const profiles = ['oauth2.1', 'fapi2-security', 'fapi2-message-signing'] as const;

const ownMembers = {
  profile: z.enum(profiles).optional().meta({
    description: 'A security profile: whatever is weaker becomes impossible for this client',
    example: 'oauth2.1',
  }),
  first_party: z.boolean().optional().meta({
    description:
      'The operator’s own application: people are not asked for consent, unless they rank above whoever registered it, or may do more',
    example: false,
  }),
  require_pkce: z.boolean().optional().meta({
    description: 'False only for confidential clients that cannot do PKCE',
    example: true,
  }),
  require_mfa: z.boolean().optional().meta({
    description: 'Everybody who signs in there needs a second factor, on browsers that are remembered too',
    example: false,
  }),
  require_organization: z.boolean().optional().meta({
    description: 'Everybody signs in there for one organization that they belong to, as with `organization=select`',
    example: false,
  }),
  audience: storable.min(1).max(200).optional().meta({
    description:
      '`aud` of its access tokens for the default resource: JWT_AUD unless it names another API by its absolute URI. This API takes JWT_AUD alone.',
    example: 'https://orders.example.com',
  }),
  access_token_format: z.enum(['jwt', 'opaque']).optional().meta({
    description:
      '`jwt` (the default) can be verified offline (RFC 9068); `opaque` must be introspected, and says nothing to whoever sees it',
    example: 'jwt',
  }),
  token_exchange: ExchangePolicy.optional(),
  theme: Theme.optional(),
};

/** What the further specifications add to it, each by the section that names it. */
const requestMembers = {
  response_modes: z
    .array(z.string().max(40))
    .max(20)
    .optional()
    .meta({ description: 'The response modes that it may ask for; all unless named', example: ['query', 'jwt'] }),
  require_pushed_authorization_requests: z.boolean().optional().meta({
    description: 'Authorization requests must be pushed first (RFC 9126 section 6)',
    example: false,
  }),
  require_signed_request_object: z.boolean().optional().meta({
    description: 'Authorization requests must be signed (RFC 9101 section 10.5)',
    example: false,
  }),
  request_object_signing_alg: text.optional().meta({ example: 'ES256' }),
  request_object_encryption_alg: text.optional().meta({ example: 'RSA-OAEP-256' }),
  request_object_encryption_enc: text.optional().meta({ example: 'A256GCM' }),
  authorization_signed_response_alg: text.optional().meta({
    description: 'Of responses in a `jwt` response mode (JARM)',
    example: 'ES256',
  }),
  authorization_encrypted_response_alg: text.optional().meta({ example: 'RSA-OAEP-256' }),
  authorization_encrypted_response_enc: text.optional().meta({ example: 'A256GCM' }),
  authorization_details_types: z.array(text).max(20).optional().meta({
    description: 'The types of `authorization_details` that it may ask for (RFC 9396 section 10)',
    example: [],
  }),
};

const tokenMembers = {
  id_token_encrypted_response_alg: text.optional().meta({ example: 'RSA-OAEP-256' }),
  id_token_encrypted_response_enc: text.optional().meta({ example: 'A256GCM' }),
  userinfo_encrypted_response_alg: text.optional().meta({ example: 'RSA-OAEP-256' }),
  userinfo_encrypted_response_enc: text.optional().meta({ example: 'A256GCM' }),
  introspection_signed_response_alg: text.optional().meta({
    description: 'Of introspection answers asked for as a JWT (RFC 9701 section 6)',
    example: 'ES256',
  }),
  introspection_encrypted_response_alg: text.optional().meta({ example: 'RSA-OAEP-256' }),
  introspection_encrypted_response_enc: text.optional().meta({ example: 'A256GCM' }),
  dpop_bound_access_tokens: z.boolean().optional().meta({
    description: 'Token requests must prove possession of a key (RFC 9449 section 5.2)',
    example: false,
  }),
  tls_client_certificate_bound_access_tokens: z.boolean().optional().meta({
    description: 'Its tokens are bound to its certificate (RFC 8705 section 3.4)',
    example: false,
  }),
  use_mtls_endpoint_aliases: z.boolean().optional().meta({
    description: 'It uses the endpoints of `mtls_endpoint_aliases` (FAPI 2.0 Security Profile section 5.2.2)',
    example: false,
  }),
  sector_identifier_uri: uri.optional().meta({
    description: 'An https document that lists its redirect URIs: clients of one sector see the same pairwise `sub`',
    example: 'https://example.com/sector.json',
  }),
};

const isDistinguishedName = (name: string): boolean => parseDistinguishedName(name) !== undefined;

const certificateMembers = {
  tls_client_auth_subject_dn: text
    .refine(isDistinguishedName, 'expected a name as RFC 4514 writes it')
    .optional()
    .meta({
      description: 'With `tls_client_auth` exactly one of these five (RFC 8705 section 2.1.2); here an RFC 4514 name',
      example: 'CN=app,O=Acme,C=DE',
    }),
  tls_client_auth_san_dns: text.optional().meta({ example: 'app.example.com' }),
  tls_client_auth_san_uri: text.optional().meta({ example: 'https://app.example.com' }),
  tls_client_auth_san_ip: text
    .refine((address) => isIP(address) > 0, 'expected an IP address')
    .optional()
    .meta({ example: '192.0.2.1' }),
  tls_client_auth_san_email: text.optional().meta({ example: 'app@example.com' }),
};

const backchannelMembers = {
  backchannel_token_delivery_mode: z.enum(['poll', 'ping']).optional().meta({
    description: 'How it learns of a decision (OpenID Connect CIBA section 4)',
    example: 'poll',
  }),
  backchannel_client_notification_endpoint: uri.optional().meta({ example: 'https://app.example.com/ciba' }),
  backchannel_authentication_request_signing_alg: text.optional().meta({ example: 'ES256' }),
};

const softwareMembers = {
  software_id: text.optional().meta({ description: 'RFC 7591 section 2', example: '4NRB1-0XZABZI9E6-5SM3R' }),
  software_version: text.optional().meta({ example: '2.1.0' }),
};

/** Those of the standards: what a client may say of itself when it registers without anybody's help. */
export const standardMembers = {
  ...basicMembers,
  ...requestMembers,
  ...tokenMembers,
  ...certificateMembers,
  ...backchannelMembers,
  ...softwareMembers,
};

/** Everything that a client may be registered with, by its registered name. */
export const members = { ...standardMembers, ...ownMembers };
