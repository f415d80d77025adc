/** Registers clients. Secrets are 256 random bits in URL-safe characters and are stored as their SHA-256 alone. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import { hashToken, randomToken } from '../secrets.ts';
import { type Client, clientMetadata, findClient } from './clients.queries.ts';

const text = z.string().trim().min(1).max(200);
const uri = z.url().max(2000);
const uris = z.array(z.string().min(1).max(2000)).max(50);

const theme = z.strictObject({
  accent: z
    .string()
    .regex(/^#[0-9a-f]{6}$/i)
    .optional(),
  accent_dark: z
    .string()
    .regex(/^#[0-9a-f]{6}$/i)
    .optional(),
  radius: z
    .string()
    .regex(/^\d{1,2}(\.\d{1,3})?(px|rem)$/)
    .optional(),
  font: z
    .string()
    .regex(/^[a-zA-Z0-9 ,'"-]{1,120}$/)
    .optional(),
  logo: z
    .string()
    .max(40_000)
    .regex(/^data:image\/(png|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/]+=*$/)
    .optional(),
});

/** Client metadata (RFC 7591 section 2, OpenID Connect Registration section 2), and below the line what is ours. */
export const NewClient = z.strictObject({
  client_name: text.optional(),
  client_uri: uri.optional(),
  logo_uri: uri.optional(),
  policy_uri: uri.optional(),
  tos_uri: uri.optional(),
  contacts: z.array(text).max(20).optional(),
  application_type: z.enum(['web', 'native']).optional(),
  redirect_uris: uris.optional(),
  post_logout_redirect_uris: uris.optional(),
  grant_types: z.array(text).max(10).optional(),
  response_types: z.array(z.string().max(100)).max(10).optional(),
  scope: z
    .string()
    .regex(/^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/, 'expected scopes separated by single spaces')
    .max(2000)
    .optional(),
  token_endpoint_auth_method: text.optional(),
  token_endpoint_auth_signing_alg: text.optional(),
  jwks: z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(20) }).optional(),
  jwks_uri: uri.optional(),
  id_token_signed_response_alg: text.optional(),
  userinfo_signed_response_alg: text.optional(),
  subject_type: z.literal('public').optional(),
  initiate_login_uri: uri.optional(),
  default_max_age: z.int().min(0).optional(),
  require_auth_time: z.boolean().optional(),
  default_acr_values: z.array(text).max(10).optional(),
  backchannel_logout_uri: uri.optional(),
  backchannel_logout_session_required: z.boolean().optional(),
  // Ours:
  /** The operator's own application: consent is not asked. */
  first_party: z.boolean().optional(),
  /** False only for confidential clients that cannot do PKCE. */
  require_pkce: z.boolean().optional(),
  theme: theme.optional(),
});
export type NewClient = z.output<typeof NewClient>;

/** Methods that authenticate with a shared secret. */
const secretMethods = ['client_secret_basic', 'client_secret_post'];

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const jsonColumns = new Set(['jwks', 'theme']);

const toRow = (metadata: NewClient): Partial<Record<keyof Client, unknown>> =>
  Object.fromEntries(
    Object.entries(metadata)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [
        camel(name),
        jsonColumns.has(name)
          ? JSON.stringify(
              name === 'theme'
                ? Object.fromEntries(Object.entries(value as object).map(([key, item]) => [camel(key), item]))
                : value,
            )
          : value,
      ]),
  );

/** Throws what the engine has against the metadata: redirect URIs, grant and response types that do not fit, … */
export type ValidateClient = (metadata: Record<string, unknown>) => Promise<void>;

/**
 * Registers a client.
 * @returns the metadata as registered, with `client_id` and, for methods that use one, `client_secret`: shown this once
 * @throws AppError 400 invalid_client_metadata or invalid_redirect_uri (RFC 7591 section 3.2.2)
 */
export const createClient = async (
  db: Db,
  actor: Actor,
  input: unknown,
  validate: ValidateClient,
): Promise<Record<string, unknown>> => {
  const parsed = NewClient.safeParse(input);
  if (!parsed.success) {
    throw invalid(
      'invalid_client_metadata',
      parsed.error.issues.map((issue) => `${issue.path.join('.') || 'client'}: ${issue.message}`).join('; '),
    );
  }
  const metadata = withDefaults(parsed.data);
  const secret = secretMethods.includes(metadata.token_endpoint_auth_method ?? '') ? randomToken() : undefined;
  const clientId = randomBytes(15).toString('base64url').replace(/[-_]/g, 'x');
  await validate({ ...metadata, client_id: clientId, ...(secret ? { client_secret: secret } : {}) }).catch(
    (error: unknown) => {
      const { error: code, error_description: description } = error as { error?: string; error_description?: string };
      throw code ? invalid(code, description ?? code) : error;
    },
  );
  return db.transaction(async (db) => {
    await db('clients').insert({ ...toRow(metadata), clientId, clientSecretHash: secret ? hashToken(secret) : null });
    await recordEvent(db, actor, { action: 'client.create', target: { type: 'client', id: clientId } });
    const client = (await findClient(db, clientId)) as Client;
    return { ...clientMetadata(client), ...(secret ? { client_secret: secret, client_secret_expires_at: 0 } : {}) };
  });
};

/** The defaults of RFC 7591 section 2, and two rules: a machine needs no response type, a public client needs PKCE. */
const withDefaults = (metadata: NewClient): NewClient => {
  const grantTypes = metadata.grant_types ?? ['authorization_code'];
  const usesRedirects = grantTypes.some((type) => type === 'authorization_code' || type === 'implicit');
  const method = metadata.token_endpoint_auth_method ?? 'client_secret_basic';
  if (method === 'none' && metadata.require_pkce === false) {
    throw invalid(
      'invalid_client_metadata',
      'require_pkce: a public client cannot do without PKCE (RFC 9700 section 2.1.1)',
    );
  }
  if (method === 'none' && grantTypes.includes('client_credentials')) {
    throw invalid(
      'invalid_client_metadata',
      'grant_types: client_credentials is for clients that authenticate (RFC 6749 section 4.4)',
    );
  }
  return {
    ...metadata,
    grant_types: grantTypes,
    response_types: metadata.response_types ?? (usesRedirects ? ['code'] : []),
    redirect_uris: metadata.redirect_uris ?? [],
    token_endpoint_auth_method: method,
  };
};

/** The built-in clients' metadata follows the configuration, so it is written anew at each start. */
export const ensureClient = (db: Db, clientId: string, metadata: NewClient): Promise<void> =>
  db.transaction(async (db) => {
    const row = { ...toRow(withDefaults(metadata)), clientId };
    const [created] = await db('clients').insert(row).onConflict('clientId').ignore().returning('clientId');
    if (!created) await db('clients').where({ clientId }).update(row);
    else
      await recordEvent(db, system, {
        action: 'client.create',
        target: { type: 'client', id: clientId },
        meta: { builtIn: true },
      });
  });
