/** IDENTITY_PROVIDERS_PATH: the providers that the operator has set up, read when the service starts. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import {
  type IdentityProvider,
  ProviderId,
  providerMetadata,
  providerMistakes,
  providerSecrets,
} from './federation/identity-providers.ts';
import { resolveProvider } from './federation/presets.ts';

const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,99}$/, 'expected the name of an environment variable');

const Entry = z.strictObject({
  id: ProviderId,
  ...providerMetadata.shape,
  ...providerSecrets.shape,
  client_secret_env: variable.optional(),
  private_key_env: variable.optional(),
  /** Rules may name super_admin. */
  allow_super_admin: z.boolean().default(false),
});

/** Of super_admin, and just below it. */
const [highestRank, fileRank] = [100, 99];

const describe = (error: z.ZodError): string[] =>
  error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);

const toProvider = (
  entry: z.output<typeof Entry>,
  environment: Readonly<Record<string, string | undefined>>,
): { provider: IdentityProvider; mistakes: string[] } => {
  const { id, client_secret_env, private_key_env, allow_super_admin, client_secret, private_key, ...metadata } = entry;
  const mistakes: string[] = [];
  const secretOf = (field: string, given: string | undefined, name: string | undefined): string | undefined => {
    if (name === undefined) return given;
    if (given !== undefined) mistakes.push(`${id}.${field}: ${field}_env is given as well; keep one of them`);
    if (!environment[name]) mistakes.push(`${id}.${field}_env: ${name} is not set`);
    return environment[name];
  };
  const secret = secretOf('client_secret', client_secret, client_secret_env);
  const key = secretOf('private_key', private_key, private_key_env);
  const secrets = {
    ...(secret === undefined ? {} : { client_secret: secret }),
    ...(key === undefined ? {} : { private_key: key }),
  };
  const given = {
    client_secret: secret ?? client_secret_env,
    private_key: key ?? private_key_env,
  };
  for (const { field, message } of providerMistakes(metadata, given)) mistakes.push(`${id}.${field}: ${message}`);
  const rank = allow_super_admin ? highestRank : fileRank;
  return { provider: resolveProvider(id, metadata, secrets, { rank, source: 'file' }), mistakes };
};

/**
 * Reads the file: a JSON array of providers, each with an `id`. A secret can be in the environment, under the name that
 * `client_secret_env` or `private_key_env` gives.
 * @returns the providers, and a line for each mistake
 */
export const readProviderFile = (
  path: string,
  environment: Readonly<Record<string, string | undefined>>,
): { providers: IdentityProvider[]; mistakes: string[] } => {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    return { providers: [], mistakes: [`${path}: ${(cause as Error).message}`] };
  }
  const parsed = z.array(Entry).max(100).safeParse(document);
  if (!parsed.success) return { providers: [], mistakes: describe(parsed.error) };
  const entries = parsed.data.map((entry) => toProvider(entry, environment));
  const ids = parsed.data.map(({ id }) => id);
  const twice = ids.filter((id, at) => ids.indexOf(id) < at);
  return {
    providers: entries.map(({ provider }) => provider),
    mistakes: [...entries.flatMap(({ mistakes }) => mistakes), ...twice.map((id) => `${id}: is there twice`)],
  };
};
