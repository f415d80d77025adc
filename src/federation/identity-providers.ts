/**
 * What an identity provider is: somebody else who signs people in for us. The same document describes it in the file that
 * IDENTITY_PROVIDERS_PATH names and over REST, in the names of RFC 7591 (`client_id`) and RFC 8414 (`token_endpoint`).
 */
import { z } from 'zod';

export const presets = ['google', 'github', 'facebook', 'microsoft', 'apple', 'oidc'] as const;
export type Preset = (typeof presets)[number];

/** Algorithms that an id_token may be signed with: each with a key that the provider alone has. */
export const idTokenAlgs = ['RS256', 'PS256', 'ES256', 'EdDSA', 'RS384', 'RS512', 'PS384', 'PS512', 'ES384', 'ES512'];

const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'no control characters');

/** http for what is on this machine alone; whether it may be reached at all is for OUTBOUND_ALLOW to say. */
export const isEndpoint = (value: string): boolean => {
  const url = URL.parse(value);
  if (!url || url.username || url.password || url.hash) return false;
  return (
    url.protocol === 'https:' ||
    (url.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname))
  );
};
const endpoint = text(500).refine(isEndpoint, 'expected an https URL without credentials and fragment');

/** Part of the redirect URI, so it does not change; `/auth/social/token` is something else. */
export const ProviderId = z
  .string()
  .regex(/^(?!token$)[a-z][a-z0-9-]{0,39}$/, 'expected lower-case letters, digits and hyphens, and not `token`')
  .refine((id) => id !== 'token', 'is the name of an endpoint')
  .meta({
    description: 'Chosen by whoever registers it; part of the redirect URI `/auth/social/{id}/callback`',
    example: 'acme',
  });

/** Members of a profile that a claim can fill. */
export const profileMembers = [
  ...(['name', 'given_name', 'family_name', 'middle_name', 'nickname', 'preferred_username', 'profile'] as const),
  ...(['picture', 'website', 'gender', 'birthdate', 'zoneinfo', 'locale'] as const),
] as const;
export type ProfileMember = (typeof profileMembers)[number];

const claimName = text(200).meta({
  description: 'A claim, or members within it separated by dots',
  example: 'realm_access.roles',
});

export const RoleRule = z
  .object({
    claim: claimName,
    value: text(200).meta({ description: 'What the claim is, or has among its values', example: 'staff' }),
    role: text(64).meta({ description: 'The role that whoever has it holds here', example: 'moderator' }),
  })
  .meta({ id: 'IdentityProviderRoleRule' });

/** What describes a provider, without its secrets. What a preset knows may be left out. */
export const providerMetadata = z.object({
  preset: z.enum(presets).meta({ description: '`oidc` is any issuer that can be discovered', example: 'oidc' }),
  name: text(64).optional().meta({ description: 'On the button; the preset’s own unless given', example: 'Acme' }),
  enabled: z.boolean().default(true).meta({ description: 'Whether people can sign in with it', example: true }),
  client_id: text(500).meta({ description: 'What this service is called there', example: 'countersign' }),
  token_endpoint_auth_method: z.enum(['client_secret_basic', 'client_secret_post', 'none']).optional().meta({
    description:
      'How the secret is sent. Unless given: for `oidc` what the issuer announces, `client_secret_basic` if both or nothing; else `client_secret_post`',
    example: 'client_secret_basic',
  }),
  issuer: endpoint.optional().meta({
    description: 'What `iss` must be, and where endpoints are discovered; needed for `oidc`',
    example: 'https://id.acme.example/realms/staff',
  }),
  authorization_endpoint: endpoint.optional().meta({ example: 'https://id.acme.example/authorize' }),
  token_endpoint: endpoint.optional().meta({ example: 'https://id.acme.example/token' }),
  userinfo_endpoint: endpoint.optional().meta({ example: 'https://id.acme.example/userinfo' }),
  emails_endpoint: endpoint
    .optional()
    .meta({ description: 'GitHub: where addresses are asked', example: 'https://api.github.com/user/emails' }),
  jwks_uri: endpoint.optional().meta({ example: 'https://id.acme.example/jwks' }),
  scope: text(500)
    .optional()
    .meta({ description: 'What is asked for; the preset’s own unless given', example: 'openid email profile' }),
  id_token_signed_response_alg: z.enum(idTokenAlgs).optional().meta({
    description: 'The one algorithm that id_tokens may have; whichever is announced unless given',
    example: 'ES256',
  }),
  tenant: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,100}$/)
    .optional()
    .meta({
      description: 'Microsoft: `common` (unless given), `organizations`, `consumers`, or the id of one tenant',
      example: 'organizations',
    }),
  hosted_domain: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,253}$/)
    .optional()
    .meta({ description: 'Google: only accounts of this Workspace domain (`hd`)', example: 'acme.example' }),
  team_id: text(20).optional().meta({ description: 'Apple', example: 'ABCDE12345' }),
  key_id: text(20).optional().meta({ description: 'Apple: of the private key', example: 'KEY1234567' }),
  trust_email: z.boolean().optional().meta({
    description:
      'Whether an address is proven that the provider says is verified. Unless given: true for Google, GitHub and Apple, which verify addresses themselves. Microsoft says so for one tenant, or by the claim `xms_edov`; Facebook is taken at its word',
    example: true,
  }),
  trust_acr: z
    .union([z.boolean(), z.array(text(200)).max(20)])
    .default(false)
    .meta({
      description:
        'Whether two factors there are two factors here: false; true for `mfa` in `amr` or our own `acr`; or the values of `acr` and `amr` that say so',
      example: ['mfa'],
    }),
  sign_up: z
    .boolean()
    .default(true)
    .meta({ description: 'Whether somebody without an account gets one', example: true }),
  claims: z
    .partialRecord(z.enum(profileMembers), claimName)
    .default({})
    .meta({
      description: 'Members of the profile by the claim that fills them at each sign-in',
      example: { name: 'displayName', picture: 'avatar' },
    }),
  roles: z
    .array(RoleRule)
    .max(50)
    .default([])
    .meta({ description: 'Roles that somebody holds for as long as the provider says so, asked at each sign-in' }),
});

const secretText = text(4096).meta({ description: 'Never shown again', example: 'GOCSPX-1hEr3Zk9vQmT1xYb7L' });

/** What is kept sealed. */
export const providerSecrets = z.object({
  client_secret: secretText.optional(),
  private_key: z
    .string()
    .min(1)
    .max(4096)
    .regex(/^[\x20-\x7e\r\n]*$/)
    .optional()
    .meta({
      description: 'Apple: the key of `key_id`, PKCS #8 in PEM. Never shown again',
      example: '-----BEGIN PRIVATE KEY-----\nMIGTAgEAMBMGByqGSM49…\n-----END PRIVATE KEY-----',
    }),
});

export type ProviderMetadata = z.output<typeof providerMetadata>;
export type ProviderSecrets = z.output<typeof providerSecrets>;

/** A provider as it is used: what a preset knows is filled in. */
export interface IdentityProvider {
  id: string;
  metadata: ProviderMetadata & Required<Pick<ProviderMetadata, 'name' | 'scope' | 'trust_email'>>;
  secrets: ProviderSecrets;
  /** Another one whenever anything about it changes: what is cached of it is kept under this. */
  revision: string;
  /** Roles that rank higher are not given. */
  rank: number;
  /** Of a row: who may do more than that is not signed in by it. */
  permissions?: readonly string[] | null;
  source: 'file' | 'row';
}

/** Where a provider sends people back to; to be registered there. */
export const callbackPath = (id: string): string => `/auth/social/${id}/callback`;

/** Members that a preset can need. */
export const neededMembers = ['issuer', 'client_secret', 'team_id', 'key_id', 'private_key'] as const;

const missing = (metadata: ProviderMetadata, secrets: { client_secret?: unknown; private_key?: unknown }): string[] => {
  const { preset } = metadata;
  const isPublic = metadata.token_endpoint_auth_method === 'none' && preset === 'oidc';
  const needed: [string, unknown][] =
    preset === 'apple'
      ? [
          ['team_id', metadata.team_id],
          ['key_id', metadata.key_id],
          ['private_key', secrets.private_key],
        ]
      : [...(isPublic ? [] : ([['client_secret', secrets.client_secret]] as [string, unknown][]))];
  if (preset === 'oidc') needed.push(['issuer', metadata.issuer]);
  return needed.filter(([, value]) => value === undefined).map(([name]) => name);
};

/** What a document lacks, and what does not fit its preset; `field` and the text of each. */
export const providerMistakes = (
  metadata: ProviderMetadata,
  secrets: { client_secret?: unknown; private_key?: unknown },
): { field: string; message: string }[] => {
  return missing(metadata, secrets).map((field) => ({ field, message: `is needed for ${metadata.preset}` }));
};
