/** What a client may be registered with: RFC 7591 section 2, OpenID Connect Registration section 2, and what is ours. */
import { z } from 'zod';
import { invalid } from '../errors.ts';
import type { Client } from './clients.queries.ts';

/** Text that PostgreSQL can store and that a page or a log can show. */
const storable = z.string().regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters');
const text = storable.trim().min(1).max(200);
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

const members = {
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
        '`authorization_code` (the default), `refresh_token`, `client_credentials`, `password`, `urn:ietf:params:oauth:grant-type:token-exchange`',
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
    description: '`client_secret_basic` (the default), `client_secret_post`, `private_key_jwt` or `none`',
    example: 'client_secret_basic',
  }),
  token_endpoint_auth_signing_alg: text.optional().meta({ example: 'ES256' }),
  jwks: Jwks.optional(),
  jwks_uri: uri.optional().meta({ example: 'https://app.example.com/jwks.json' }),
  id_token_signed_response_alg: text.optional().meta({ example: 'RS256' }),
  userinfo_signed_response_alg: text.optional().meta({ example: 'RS256' }),
  subject_type: z.literal('public').optional().meta({ example: 'public' }),
  initiate_login_uri: uri.optional().meta({ example: 'https://app.example.com/login' }),
  default_max_age: z.int().min(0).max(2_147_483_647).optional().meta({ description: 'Seconds', example: 3600 }),
  require_auth_time: z.boolean().optional().meta({ example: false }),
  default_acr_values: z.array(text).max(10).optional().meta({ example: [] }),
  backchannel_logout_uri: uri.optional().meta({ example: 'https://app.example.com/backchannel-logout' }),
  backchannel_logout_session_required: z.boolean().optional().meta({ example: true }),
  // Ours:
  first_party: z.boolean().optional().meta({
    description: 'The operator’s own application: people are not asked for consent',
    example: false,
  }),
  require_pkce: z.boolean().optional().meta({
    description: 'False only for confidential clients that cannot do PKCE',
    example: true,
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
  theme: Theme.optional(),
};

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

/** A name as it looks: whatever is written differently and read the same is the same. */
const asRead = (name: string) =>
  name
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .replace(/\s+/g, ' ')
    .trim()
    .toLowerCase();

/** Whether an application would pass for the service itself, which asks people for their passwords. */
export const isNamedAs = (brand: string, { client_name: name }: Pick<NewClient, 'client_name'>): boolean =>
  name !== undefined && asRead(name) === asRead(brand);

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
      ...(['backchannel_logout_uri', 'audience', 'access_token_format'] as const),
    ),
    ...shown(
      z.array(z.string()),
      ...(['contacts', 'redirect_uris', 'post_logout_redirect_uris', 'grant_types', 'response_types'] as const),
      'default_acr_values',
    ),
    ...shown(z.boolean(), 'require_auth_time', 'backchannel_logout_session_required', 'first_party', 'require_pkce'),
    ...shown(z.int(), 'default_max_age'),
    ...shown(z.object({ keys: z.array(z.record(z.string(), z.unknown())) }), 'jwks'),
    ...shown(z.record(z.string(), z.string()), 'theme'),
    created_by: z.uuid().optional().meta({
      description:
        'The account that answers for the client: what it does on its own ends with what they may do. None: the operator',
      example: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f',
    }),
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
 * The defaults of RFC 7591 section 2, and two rules: a machine needs no response type, a public client needs PKCE.
 * @throws AppError 400 invalid_client_metadata
 */
export const withDefaults = (metadata: NewClient): NewClient => {
  const grantTypes = metadata.grant_types ?? ['authorization_code'];
  const usesRedirects = grantTypes.some((type) => type === 'authorization_code' || type === 'implicit');
  const method = metadata.token_endpoint_auth_method ?? 'client_secret_basic';
  if (method === 'none' && metadata.require_pkce === false)
    throw refuse('require_pkce: a public client cannot do without PKCE (RFC 9700 section 2.1.1)');
  if (method === 'none' && grantTypes.includes('client_credentials'))
    throw refuse('grant_types: client_credentials is for clients that authenticate (RFC 6749 section 4.4)');
  return {
    ...metadata,
    grant_types: grantTypes,
    response_types: metadata.response_types ?? (usesRedirects ? ['code'] : []),
    redirect_uris: metadata.redirect_uris ?? [],
    token_endpoint_auth_method: method,
  };
};

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const renamed = (object: object, rename: (name: string) => string) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [rename(name), value]));

const jsonColumns = new Set(['jwks', 'theme']);

/** Metadata as columns; members that are not there are left to the column's default. */
export const toRow = (metadata: NewClient): Partial<Record<keyof Client, unknown>> =>
  Object.fromEntries(
    Object.entries(metadata)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [
        camel(name),
        jsonColumns.has(name) ? JSON.stringify(name === 'theme' ? renamed(value as object, camel) : value) : value,
      ]),
  );

/** Every column that metadata sets: full replacement takes those that are not named back to their defaults. */
export const metadataColumns = Object.keys(members).map(camel) as (keyof Client)[];

/** A row as metadata, in the names of RFC 7591: members that are not set are left out, and so is everything secret. */
export const clientMetadata = ({
  clientSecretHash: _hash,
  clientSecretExpiresAt: _expires,
  previousSecretHash: _previous,
  previousSecretExpiresAt: previousEndsAt,
  rank: _rank,
  createdAt,
  theme,
  ...client
}: Client): ClientDocument =>
  ({
    ...renamed(Object.fromEntries(Object.entries(client).filter(([, value]) => value !== null)), snake),
    ...(theme ? { theme: renamed(theme, snake) } : {}),
    ...(previousEndsAt && previousEndsAt > new Date()
      ? { previous_client_secret_expires_at: Math.floor(previousEndsAt.getTime() / 1000) }
      : {}),
    client_id_issued_at: Math.floor(createdAt.getTime() / 1000),
  }) as ClientDocument;
