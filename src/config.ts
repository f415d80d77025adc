/**
 * `loadConfig` parses an environment as `settings.ts` declares it, reports all mistakes together, and returns the object
 * that is passed to whoever needs it; nothing else in the code base reads `process.env`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { consulMistakes } from './consul-settings.ts';
import type { IdentityProvider } from './federation/identity-providers.ts';
import { readProviderFile } from './identity-provider-file.ts';
import { keycloakMistakes } from './keycloak-settings.ts';
import { passkeyMistakes } from './passkey-settings.ts';
import { processMistakes } from './process-settings.ts';
import { riskMistakes } from './risk-settings.ts';
import { loopback, secretNames, settings } from './settings.ts';
import { smsMistakes } from './sms-settings.ts';
import { tlsMistakes } from './tls-settings.ts';

/** The parsed settings. Durations are seconds. The master key is always present: development generates one. */
export type Config = Readonly<
  z.output<typeof settings> & {
    ENCRYPTION_MASTER_KEY: string;
    /** What the file in IDENTITY_PROVIDERS_PATH describes. */
    identityProviders: readonly IdentityProvider[];
  }
>;

/** Thrown by `loadConfig`: `mistakes` has a line for each setting that is wrong, by name. */
export class ConfigError extends Error {
  readonly mistakes: readonly string[];
  constructor(mistakes: readonly string[]) {
    super(`The configuration is not valid:\n${mistakes.map((line) => `  ${line}`).join('\n')}`);
    this.name = 'ConfigError';
    this.mistakes = mistakes;
  }
}

/** Whether the settings make this a development server: dev mailbox, demo, embedded database, migration at start. */
export const isDevelopment = (config: Config): boolean => config.NODE_ENV !== 'production';

/** Says why a master key is too weak for production, or undefined. */
const weakness = (key: string): string | undefined => {
  if (key.length < 32) return 'must have at least 32 characters (openssl rand -base64 32)';
  if (/change.?me|secret|password|example|default/i.test(key))
    return 'looks like a placeholder; generate one with openssl rand -base64 32';
  if (new Set(key).size < 12) return 'is not random; generate one with openssl rand -base64 32';
  return undefined;
};

/** What production refuses. Settings that do not parse are left out here: they are mistakes already. */
const productionMistakes = (
  values: Partial<z.output<typeof settings>>,
  given: Readonly<Record<string, string>>,
): string[] => {
  const mistakes: string[] = [];
  const weak =
    values.ENCRYPTION_MASTER_KEY === undefined ? 'is required in production' : weakness(values.ENCRYPTION_MASTER_KEY);
  if (weak) mistakes.push(`ENCRYPTION_MASTER_KEY: ${weak}`);
  const { ENCRYPTION_MASTER_KEY_ACCEPTED: accepted } = values;
  const weakToo = accepted === undefined ? undefined : weakness(accepted);
  if (weakToo) mistakes.push(`ENCRYPTION_MASTER_KEY_ACCEPTED: ${weakToo}`);
  if (!given.DATABASE_URL) mistakes.push('DATABASE_URL: is required in production');
  const { protocol, hostname } = new URL(values.JWT_ISSUER ?? 'https://unknown');
  if (protocol === 'http:' && !loopback.has(hostname)) mistakes.push('JWT_ISSUER: must be https in production');
  if (values.OUTBOUND_ALLOW?.length) mistakes.push('OUTBOUND_ALLOW: is for development only');
  if (values.AUTH_ALLOW_DEV_HEADERS) mistakes.push('AUTH_ALLOW_DEV_HEADERS: is for development only');
  if (values.JWT_ACCESS_TTL !== undefined && (values.JWT_ACCESS_TTL < 300 || values.JWT_ACCESS_TTL > 900))
    mistakes.push('JWT_ACCESS_TTL: must be between 5m and 15m in production');
  return mistakes;
};

/** A development server that others may reach. */
const isExposed = ({ NODE_ENV, JWT_ISSUER }: Pick<Config, 'NODE_ENV' | 'JWT_ISSUER'>): boolean =>
  NODE_ENV === 'development' && !loopback.has(new URL(JWT_ISSUER).hostname);

/** How SMS are sent: in development to the dev mailbox unless told otherwise, in production not at all. */
export const smsProvider = (config: Config): Config['SMS_PROVIDER'] =>
  config.SMS_PROVIDER ?? (isDevelopment(config) && !isExposed(config) ? 'console' : undefined);

/** The three settings of an external issuer belong together, and it cannot be ourselves. */
const externalIssuerMistakes = (values: z.output<typeof settings>): string[] => {
  const { AUTH_OIDC_ISSUER: other, AUTH_OIDC_AUDIENCE: audience, AUTH_OIDC_JWKS_URL: jwksUrl } = values;
  const mistakes: string[] = [];
  if (!other && !audience.length && !jwksUrl) return mistakes;
  if (!other) mistakes.push('AUTH_OIDC_ISSUER: is needed with AUTH_OIDC_AUDIENCE and AUTH_OIDC_JWKS_URL');
  if (!audience.length) mistakes.push('AUTH_OIDC_AUDIENCE: is needed with AUTH_OIDC_ISSUER');
  if (!jwksUrl) mistakes.push('AUTH_OIDC_JWKS_URL: is needed with AUTH_OIDC_ISSUER');
  if (other === values.JWT_ISSUER) mistakes.push('AUTH_OIDC_ISSUER: is this service itself');
  if (
    values.NODE_ENV === 'production' &&
    jwksUrl &&
    !jwksUrl.startsWith('https:') &&
    !loopback.has(new URL(jwksUrl).hostname)
  )
    mistakes.push('AUTH_OIDC_JWKS_URL: must be https in production');
  return mistakes;
};

/** Reads the development master key from `directory`, making it (mode 0600) the first time. */
const developmentMasterKey = (directory: string): string => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const file = join(directory, 'master-key');
  if (!existsSync(file)) {
    const draft = `${file}.${randomUUID()}`;
    writeFileSync(draft, randomBytes(32).toString('base64'), { mode: 0o600, flag: 'wx' });
    try {
      // A link appears with its whole content and only once: of two processes that start together one makes the key.
      linkSync(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(draft);
    }
  }
  return readFileSync(file, 'utf8').trim();
};

/** @throws ConfigError where the folder cannot be used */
const developmentMasterKeyIn = (directory: string): string => {
  try {
    return developmentMasterKey(directory);
  } catch (error) {
    throw new ConfigError([`DATA_DIR: ${(error as Error).message}`]);
  }
};

/** The settings that parse, so that all mistakes can be told at once. */
const parseable = (given: Record<string, string>): Partial<z.output<typeof settings>> =>
  Object.fromEntries(
    Object.entries(settings.shape).flatMap(([name, schema]) => {
      const parsed = schema.safeParse(given[name]);
      return parsed.success ? [[name, parsed.data]] : [];
    }),
  );

/**
 * Parses an environment.
 * @throws ConfigError with every mistake at once.
 */
export const loadConfig = (environment: Readonly<Record<string, string | undefined>>): Config => {
  const mistakes: string[] = [];
  const given: Record<string, string> = {};
  for (const name of Object.keys(settings.shape)) {
    const value = environment[name];
    if (value !== undefined && value !== '') given[name] = value;
  }
  // Another port alone must not make the issuer untrue.
  if (Number(given.PORT) > 0 && Number(given.PORT) < 65_536)
    given.JWT_ISSUER ??= `${given.TLS_CERT_PATH ? 'https' : 'http'}://localhost:${given.PORT}`;
  for (const name of secretNames) {
    const file = environment[`${name}_FILE`];
    if (!file) continue;
    if (given[name] !== undefined) mistakes.push(`${name}_FILE: ${name} is set as well; keep one of them`);
    try {
      given[name] = readFileSync(file, 'utf8').trim();
      if (!given[name]) mistakes.push(`${name}_FILE: ${file} is empty`);
    } catch {
      mistakes.push(`${name}_FILE: cannot read ${file}`);
    }
  }
  const parsed = settings.safeParse(given);
  if (!parsed.success)
    for (const issue of parsed.error.issues) mistakes.push(`${issue.path.join('.')}: ${issue.message}`);
  const values = parsed.data ?? parseable(given);
  const isProduction = given.NODE_ENV === 'production';
  if (isProduction) mistakes.push(...productionMistakes(values, given));
  mistakes.push(...tlsMistakes(values, given));
  mistakes.push(...passkeyMistakes(values));
  mistakes.push(...processMistakes(values));
  mistakes.push(...consulMistakes(values));
  mistakes.push(...keycloakMistakes(values, isProduction));
  mistakes.push(...riskMistakes(values));
  mistakes.push(...smsMistakes(values, given, isProduction));
  // The dev mailbox would show everybody's mail to whoever reaches it.
  if (parsed.data && isExposed(parsed.data) && (!parsed.data.SMTP_URL || parsed.data.SMS_PROVIDER === 'console'))
    mistakes.push('JWT_ISSUER: must be loopback in development without SMTP_URL; set NODE_ENV=production for real use');
  if (parsed.data) mistakes.push(...externalIssuerMistakes(parsed.data));
  if (given.ENCRYPTION_MASTER_KEY_ACCEPTED && given.ENCRYPTION_MASTER_KEY_ACCEPTED === given.ENCRYPTION_MASTER_KEY)
    mistakes.push('ENCRYPTION_MASTER_KEY_ACCEPTED: is ENCRYPTION_MASTER_KEY itself; leave it out');
  if (given.JWKS_KEY_ID && !given.JWKS_PRIVATE_KEY_PATH) mistakes.push('JWKS_KEY_ID: needs JWKS_PRIVATE_KEY_PATH');
  const file = given.IDENTITY_PROVIDERS_PATH ? readProviderFile(given.IDENTITY_PROVIDERS_PATH, environment) : undefined;
  mistakes.push(...(file?.mistakes ?? []).map((line) => `IDENTITY_PROVIDERS_PATH: ${line}`));
  if (!parsed.success || mistakes.length) throw new ConfigError(mistakes);
  return Object.freeze({
    ...parsed.data,
    ENCRYPTION_MASTER_KEY: parsed.data.ENCRYPTION_MASTER_KEY ?? developmentMasterKeyIn(parsed.data.DATA_DIR),
    identityProviders: file?.providers ?? [],
  });
};
