/** Every setting, declared once: `config.ts` parses them, `settings.docs.ts` documents them. */
import { z } from 'zod';
import { consulSettings } from './consul-settings.ts';
import { joiningSettings } from './joining-settings.ts';
import { keycloakSettings } from './keycloak-settings.ts';
import { defaultSigningAlgorithms, signingAlgorithms } from './keys/key-algorithms.ts';
import { proxyAddresses, rateLimitFactor, roleLimits } from './limit-settings.ts';
import { mfaSettings } from './mfa-settings.ts';
import { observabilitySettings } from './observability-settings.ts';
import { overloadSettings } from './overload-settings.ts';
import { passkeySettings } from './passkey-settings.ts';
import { processSettings } from './process-settings.ts';
import { registrationSettings } from './registration-settings.ts';
import { riskSettings } from './risk-settings.ts';
import { sessionSettings } from './session-settings.ts';
import { duration, flag, integer, list } from './setting-kinds.ts';
import { smsSettings } from './sms-settings.ts';
import { tlsSettings } from './tls-settings.ts';

/** Origins as browsers write them: a slash at the end, say, would never match. */
const origins = list.transform((items, context) =>
  items.map((item) => {
    const origin = URL.parse(item)?.origin;
    if (origin && origin !== 'null') return origin;
    context.addIssue({ code: 'custom', message: `${item} is not an origin such as https://app.example.com` });
    return z.NEVER;
  }),
);

export const loopback = new Set(['localhost', '127.0.0.1', '[::1]']);

const issuer = z.string().transform((text, context) => {
  const url = URL.parse(text);
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    context.addIssue({ code: 'custom', message: 'expected an http(s) URL' });
    return z.NEVER;
  }
  if (url.pathname !== '/' || url.search || url.hash || url.username || url.password) {
    context.addIssue({ code: 'custom', message: 'expected an origin alone: no path, query, fragment or credentials' });
    return z.NEVER;
  }
  return url.origin;
});

/** Settings whose value may be read from the file named by `<NAME>_FILE`. */
export const secretNames = [
  'ENCRYPTION_MASTER_KEY',
  'ENCRYPTION_MASTER_KEY_ACCEPTED',
  'DATABASE_URL',
  'DATABASE_LISTEN_URL',
  'REDIS_URL',
  'SMTP_URL',
  'SMS_WEBHOOK_SECRET',
  'TWILIO_AUTH_TOKEN',
  'METRICS_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'KEYCLOAK_SYNC_CLIENT_SECRET',
  'CONSUL_HTTP_TOKEN',
] as const;

/** The settings by name, in the order in which the README lists them. */
export const settings = z.object({
  NODE_ENV: z.enum(['development', 'test', 'production']).default('development').meta({
    description:
      '`production` refuses weak secrets and every development switch, and turns the dev mailbox and the demo off',
  }),
  PORT: integer(0, 65_535).default(3000).meta({ description: 'TCP port to listen on (0 picks a free one)' }),
  HOST: z.string().optional().meta({
    description: 'Address to listen on; loopback alone in development, all addresses in production',
  }),
  JWT_ISSUER: issuer.default('http://localhost:3000').meta({
    description:
      'The issuer: the origin under which browsers and relying parties reach the service; follows PORT unless set',
  }),
  JWT_AUD: z.string().min(1).default('countersign-api').meta({
    description: 'Audience of access tokens for the default resource `<issuer>/api`; need not be a URI',
  }),
  JWT_ACCESS_TTL: duration.default(900).meta({ description: 'Lifetime of access tokens; 5m to 15m in production' }),
  JWT_REFRESH_TTL: duration.default(30 * 86_400).meta({ description: 'Lifetime of refresh tokens' }),
  REFRESH_TOKEN_GRACE: duration.default(10).meta({
    description: 'For how long a refresh whose answer was lost may be repeated; 0 makes every repeat a replay',
  }),
  TOKEN_CLAIMS_BYTES: integer(256, 65_536).default(4096).meta({
    description:
      'How much of an id_token or access token may be roles, permissions, groups and organizations; what is larger is had elsewhere (`docs/authorization.md`)',
  }),
  SESSION_TTL: duration.default(14 * 86_400).meta({ description: 'A session that is not used for this long ends' }),
  SESSION_MAX_TTL: duration
    .default(30 * 86_400)
    .meta({ description: 'However much it is used, a session asks for the password again after this long' }),
  SIGNING_ALGS: list
    .pipe(z.array(z.enum(signingAlgorithms)).min(1))
    .transform((algs) => [...new Set(algs)])
    .default([...defaultSigningAlgorithms])
    .meta({
      description:
        'Algorithms, separated by commas, that signing keys are kept for; the first is for clients that ask for none. `ML-DSA-44`, `ML-DSA-65` and `ML-DSA-87` are there to be added: each makes the JWKS kilobytes larger',
    }),
  JWKS_PRIVATE_KEY_PATH: z.string().optional().meta({
    description:
      'PEM file with the signing keys instead of keys in the database: of each algorithm the first block signs, further ones are only published. An RSA block is for RS256, an RSA-PSS block for PS256, P-256 for ES256, Ed25519 for EdDSA; request objects are encrypted to an X25519 block',
  }),
  JWKS_KEY_ID: list
    .optional()
    .meta({ description: 'The `kid` of each key in JWKS_PRIVATE_KEY_PATH, in order, separated by commas' }),
  ENCRYPTION_MASTER_KEY: z.string().min(1).optional().meta({
    description:
      'At least 32 random characters (`openssl rand -base64 32`); encrypts signing keys and personal data, keys cookies',
  }),
  ENCRYPTION_MASTER_KEY_ACCEPTED: z.string().min(1).optional().meta({
    description:
      'A second master key that opens and never seals: the next one, then the one before, while the key is rotated (`docs/operations/master-key-rotation.md`)',
  }),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'expected postgres://…')
    .optional()
    .meta({
      description: 'PostgreSQL 15 or newer; without it an embedded database in DATA_DIR',
    }),
  DATABASE_POOL_MAX: integer(2, 200).default(10).meta({ description: 'Connections to PostgreSQL per process' }),
  DATABASE_STATEMENT_TIMEOUT: duration
    .refine((seconds) => seconds <= 3600, 'expected at most 1h')
    .default(30)
    .meta({ description: 'How long PostgreSQL may work on a statement, migrations aside; `0` for ever, at most `1h`' }),
  ...processSettings,
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'expected redis:// or rediss://')
    .optional()
    .meta({
      description:
        'Redis for rate limits shared by replicas, and for what people may do, remembered for five minutes (sealed); without it both are in memory alone',
    }),
  REDIS_KEY_PREFIX: z.string().max(60).default('countersign:').meta({
    description: 'Put before each key in Redis, so that several installations can share one',
  }),
  DATA_DIR: z.string().min(1).default('.data').meta({
    description: 'Folder for the embedded database, generated development secrets and the control socket',
  }),
  TRUST_PROXY: integer(0, 10).default(0).meta({
    description:
      'How many reverse proxies in front append to X-Forwarded-For. With more than one, an inner one must be reached through the outer one alone',
  }),
  TRUST_PROXY_ADDRESSES: proxyAddresses,
  ...tlsSettings,
  DPOP_NONCE: z.enum(['optional', 'required']).default('optional').meta({
    description:
      'Whether DPoP proofs must carry a nonce of this service (RFC 9449 section 8). It is offered in any case; `required` also stops proofs that were made ahead of time',
  }),
  REQUIRE_VERIFIED_EMAIL: flag.default(true).meta({
    description:
      'Sign-in waits until the email address is verified. With `false` anybody can learn whether an address has an account: they register it and then try to sign in, which works only if it had none',
  }),
  REGISTER_SIGNS_IN: flag.default(false).meta({
    description:
      'Registration on the pages signs the new account in at once. An address that is taken can then be told from a free one: whoever registers learns which addresses have accounts',
  }),
  PASSWORD_MIN_LENGTH: integer(8, 64).default(8).meta({
    description:
      'Shortest password accepted. NIST SP 800-63B-4 asks for 15 where a password is the only factor and for 8 beside a second one',
  }),
  PASSWORD_BREACH_URL: z.url().optional().meta({
    description:
      'Range API of a breached-password service (k-anonymity: the first five hex digits of the SHA-1 are appended); off unless set',
  }),
  HASH_CONCURRENCY: integer(1, 64).optional().meta({
    description:
      'Password hashes computed at the same time in each process. Unless set, its share of the processors less one for all else, and one at least: a flood of sign-ins must not take the time of tokens. Never as many as UV_THREADPOOL_SIZE',
  }),
  UV_THREADPOOL_SIZE: integer(2, 1024).default(4).meta({
    description:
      'Threads of each process that hash passwords, read files and look up names: Node’s own setting, to be set in the environment',
  }),
  HASH_QUEUE: integer(0, 10_000).default(100).meta({
    description: 'Password hashes that may wait; past it sign-ins are answered 503 with Retry-After',
  }),
  RATE_LIMIT_FACTOR: rateLimitFactor,
  RATE_LIMITS: roleLimits,
  ...overloadSettings,
  SIGN_IN_RETENTION: duration
    .default(90 * 86_400)
    .meta({ description: 'How long sign-ins are kept: later ones are compared with them (docs/risk.md)' }),
  DECISION_RETENTION: duration.default(3 * 86_400).meta({
    description:
      'How long a sample of the decisions about permissions is kept, for policies to be tried on (docs/authorization.md); 0 keeps none',
  }),
  AUDIT_RETENTION: duration
    .refine((seconds) => seconds >= 30 * 86_400 && seconds <= 36_525 * 86_400, 'must be between 30d and 36525d')
    .default(2557 * 86_400)
    .meta({ description: 'Events of the audit log are deleted when they are this old; at least 30d' }),
  AUTH_API_CORS_ORIGINS: origins.default([]).meta({
    description: 'Origins, separated by commas, whose scripts may call the REST API',
  }),
  SMTP_URL: z
    .string()
    .regex(/^smtps?:\/\//, 'expected smtp:// or smtps://')
    .optional()
    .meta({
      description: 'SMTP server for mail; without it mail goes to the dev mailbox (development only)',
    }),
  MAIL_FROM: z.string().min(3).default('Countersign <no-reply@localhost>').meta({ description: 'Sender of mail' }),
  ...smsSettings,
  ...registrationSettings,
  ...riskSettings,
  ...sessionSettings,
  ...passkeySettings,
  ...keycloakSettings,
  ...joiningSettings,
  BRAND_NAME: z
    .string()
    .min(1)
    .max(60)
    .default('Countersign')
    .meta({ description: 'The name shown on pages and in mail' }),
  VIEWS_DIR: z.string().optional().meta({
    description: 'Folder whose templates, styles and translations win over those in `views/`',
  }),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent']).default('info').meta({
    description:
      'Least severity that is logged. Each request has a line at `info`; but what applications ask for all the time (tokens, introspection, userinfo, `/auth/validate`, discovery, JWKS, health, metrics) has one at `debug` where it succeeds, as `/metrics` counts it',
  }),
  ...observabilitySettings,
  ...consulSettings,
  OUTBOUND_ALLOW: list.default([]).meta({
    description:
      'Hosts (`host` or `host:port`), separated by commas, that may be fetched although their address is private or loopback; refused in production',
  }),
  CLIENT_ATTESTATION: flag.default(false).meta({
    description:
      'Clients may authenticate by an attestation of their instance (draft-ietf-oauth-attestation-based-client-auth-12, which may change), signed with a key that they are registered with',
  }),
  REQUIRE_PUSHED_AUTHORIZATION_REQUESTS: flag.default(false).meta({
    description: 'Every application must push its authorization requests (RFC 9126); otherwise those registered so',
  }),
  AUTHORIZATION_DETAILS_PATH: z.string().optional().meta({
    description:
      'JSON file with the types of authorization details that clients may be registered for (RFC 9396): for each its `title` and `text` by language and the JSON Schema of its members',
  }),
  ...mfaSettings,
  MAGIC_LINK: flag.default(true).meta({
    description:
      'People may have a link and a code mailed that sign them in instead of a password; wherever mail can be sent',
  }),
  IDENTITY_PROVIDERS_PATH: z.string().optional().meta({
    description:
      'JSON file with identity providers that people can sign in with (Google, GitHub, any OpenID Connect issuer …), beside those registered over REST; see docs/identity-providers.md',
  }),
  AUTH_ALLOW_DEV_HEADERS: flag.default(false).meta({
    description:
      'The REST API believes the headers X-User-Email and X-User-Name of whoever reaches it; an unknown address becomes a user. Refused in production',
  }),
  AUTH_OIDC_ISSUER: z.url().optional().meta({
    description:
      'Another issuer whose tokens `/auth/me` and `/auth/validate` accept; compared with `iss` character by character',
  }),
  AUTH_OIDC_AUDIENCE: list.default([]).meta({
    description: 'What must be in `aud` of those tokens: one of these, separated by commas',
  }),
  AUTH_OIDC_JWKS_URL: z.url().optional().meta({ description: 'Where that issuer publishes its keys' }),
});
