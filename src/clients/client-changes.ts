/** What every registration and every change of a client has in common, whoever makes it. */
import type { Db } from '../../db/connect.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { foreignError, invalid } from '../errors.ts';
import { hashToken, randomToken } from '../secrets.ts';
import {
  type ClientDocument,
  clientMetadata,
  NewClient,
  type RegisteredClient,
  toRow,
  usesSecret,
} from './client-metadata.ts';
import { type Client, metadataColumns } from './clients.queries.ts';

/** Throws what the engine has against the metadata: redirect URIs, grant and response types that do not fit, … */
export type ValidateClient = (metadata: Record<string, unknown>) => Promise<void>;

/** Metadata as it was sent, without what is not known. @throws AppError 400 invalid_client_metadata */
export const readMetadata = (input: unknown): NewClient => {
  const parsed = NewClient.safeParse(input);
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  throw invalid(
    'invalid_client_metadata',
    issues.map(({ path, message }) => `${path.join('.') || 'client'}: ${message}`).join('; '),
    { fields: issues.map(({ path, code, message }) => ({ field: path.join('.'), code, message })) },
  );
};

/** @throws AppError 400 invalid_client_metadata or invalid_redirect_uri (RFC 7591 section 3.2.2) */
export const assertValid = async (
  validate: ValidateClient,
  clientId: string,
  metadata: NewClient,
  secret: string | undefined,
): Promise<void> => {
  await validate({ ...metadata, client_id: clientId, ...(secret ? { client_secret: secret } : {}) }).catch(
    (error: unknown) => {
      const { error: code, error_description: description } = error as { error?: string; error_description?: string };
      throw code ? foreignError(400, code, description ?? code) : error;
    },
  );
};

/** The document with a secret that was just made. */
export const withSecret = (client: Client, secret: string | undefined): RegisteredClient => ({
  ...clientMetadata(client),
  ...(secret ? { client_secret: secret, client_secret_expires_at: 0 } : {}),
});

/** The words of a `scope` (RFC 6749 section 3.3). */
export const scopesOf = (scope: string | null | undefined): string[] => scope?.split(' ') ?? [];

/** Names of the members that differ. */
const changed = (before: ClientDocument, after: ClientDocument): string[] =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => JSON.stringify(before[name as 'scope']) !== JSON.stringify(after[name as 'scope']))
    .sort();

export const recordUpdate = (
  db: Db,
  actor: Actor,
  before: Client,
  after: Client,
  grantsEnded: boolean,
): Promise<void> =>
  recordEvent(db, actor, {
    action: 'client.update',
    target: { type: 'client', id: after.clientId },
    meta: { members: changed(clientMetadata(before), clientMetadata(after)), grantsEnded },
  });

/** What people were shown, or could rely on, when they agreed; of lists what is added counts. */
const agreedTo = [
  'clientName',
  'applicationType',
  'tokenEndpointAuthMethod',
  'jwks',
  'jwksUri',
  'tlsClientAuthSubjectDn',
  'tlsClientAuthSanDns',
  'tlsClientAuthSanUri',
  'tlsClientAuthSanIp',
  'tlsClientAuthSanEmail',
  'firstParty',
] as const satisfies (keyof Client)[];

const gains = (before: readonly string[], after: readonly string[]) => after.some((entry) => !before.includes(entry));

/** Whether what people agreed to give the client before would now go to something else, or to somebody else. */
export const isAnother = (before: Client, after: Client): boolean =>
  // Nobody is asked to agree to the operator's own.
  !(before.firstParty && after.firstParty && before.createdBy === null && after.createdBy === null) &&
  (agreedTo.some((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name])) ||
    gains(before.redirectUris, after.redirectUris) ||
    gains(scopesOf(before.scope), scopesOf(after.scope)));

/**
 * Drops all consents to a client, all its grants and every token given under them; or those that came of an exchange alone. Without a
 * transaction most of them, a few at a time: whoever signs in there waits while the client is held.
 */
export type RevokeGrantsOfClient = (db: Db, of: { clientId: string; exchanged?: true }) => Promise<void>;

/**
 * Puts the metadata in place of what the row has: what is not named goes back to its default.
 * @param also columns that are no metadata
 * @returns the secret, if the client has begun to use one
 */
export const replaceRow = async (
  db: Db,
  before: Client,
  metadata: NewClient,
  also: Partial<Record<keyof Client, unknown>> = {},
): Promise<string | undefined> => {
  const keepsSecret = usesSecret(metadata) && before.clientSecretHash !== null;
  const secret = usesSecret(metadata) && !keepsSecret ? randomToken() : undefined;
  await db('clients')
    .where({ clientId: before.clientId })
    .update({
      ...Object.fromEntries(metadataColumns.map((column) => [column, db.raw('default')])),
      ...toRow(metadata),
      ...(keepsSecret
        ? {}
        : {
            clientSecretHash: secret ? hashToken(secret) : null,
            previousSecretHash: null,
            previousSecretExpiresAt: null,
          }),
      ...also,
      updatedAt: db.fn.now(),
    });
  return secret;
};
