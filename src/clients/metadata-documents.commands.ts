/**
 * Clients that describe themselves in a document at an https URL, which is their `client_id`
 * (draft-ietf-oauth-client-id-metadata-document). What was read is kept as a row like any other client's, so that consents,
 * grants and tokens can belong to it, administrators see it, and every replica and a restart knows it. A document that has
 * changed is a client that was changed: what people agreed to ends where it would be for something else.
 */
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import { assertValid, isAnother, type RevokeGrantsOfClient, recordUpdate, replaceRow } from './client-changes.ts';
import { clientMetadata, type NewClient, toRow, usesSecret } from './client-metadata.ts';
import { type Client, findClient, lockClient } from './clients.queries.ts';
import type { SelfRegistrationDeps } from './self-registration.commands.ts';
import { anybody, selfMetadata } from './self-registration.ts';

/** Long enough for any page that somebody serves, and short enough for every table, cookie and log line. */
const idLengthMax = 500;

/** Section 3 of the draft: https, a path without dot segments, no credentials and no fragment. Plain http is for development. */
export const isDocumentUrl = (id: string, allowsHttp: (host: string) => boolean = () => false): boolean => {
  if (id.length > idLengthMax || !/^https?:\/\/[\x21-\x7e]+$/.test(id) || /[#\\]/.test(id)) return false;
  const url = URL.parse(id);
  if (!url || url.username || url.password || url.pathname === '/') return false;
  if (url.protocol === 'http:' && !allowsHttp(url.host)) return false;
  // What is compared is the text, so there is one spelling: no dot segments, no default port, a host in lower case.
  return url.href === id;
};

/** @throws AppError 400 invalid_client_metadata for what section 4 of the draft forbids, or RFC 7591 */
const readDocument = (clientId: string, document: unknown, openScopes: readonly string[]): NewClient => {
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw invalid('invalid_client_metadata', 'the document is not a JSON object');
  const members = document as Record<string, unknown>;
  if (members.client_id !== clientId)
    throw invalid('invalid_client_metadata', 'client_id: not the URL of the document');
  if ('client_secret' in members || 'client_secret_expires_at' in members)
    throw invalid('invalid_client_metadata', 'client_secret: a document that anybody can read holds no secret');
  const metadata = selfMetadata(members, anybody, { openScopes, method: 'none' });
  if (usesSecret(metadata) || metadata.token_endpoint_auth_method === 'client_secret_jwt')
    throw invalid('invalid_client_metadata', 'token_endpoint_auth_method: there is no secret to authenticate with');
  for (const name of ['client_uri', 'logo_uri', 'policy_uri', 'tos_uri', 'jwks_uri'] as const)
    if (metadata[name] && !/^https:/i.test(metadata[name]))
      throw invalid('invalid_client_metadata', `${name}: expected an https URL`);
  return metadata;
};

/** When what was read must be read again; the row is as it was, or as it has become. */
const keep = async (
  db: Db,
  actor: Actor,
  { clientId, metadata, until }: { clientId: string; metadata: NewClient; until: Date },
  revokeGrants: RevokeGrantsOfClient,
): Promise<void> => {
  const target = { type: 'client', id: clientId };
  const [created] = await db('clients')
    .insert({
      ...toRow(metadata),
      clientId,
      kind: 'metadata-document',
      metadataExpiresAt: until,
      rank: db('roles').min('rank'),
      vouchedFor: false,
    })
    .onConflict('clientId')
    .ignore()
    .returning('clientId');
  if (created) return recordEvent(db, actor, { action: 'client.register', target, meta: { document: true } });
  const before = await lockClient(db, clientId);
  // Blocked while it was being read, perhaps.
  if (before?.kind !== 'metadata-document' || before.blockedAt) return;
  const was = JSON.stringify(clientMetadata(before));
  const { updatedAt } = await db('clients').where({ clientId }).first('updatedAt');
  await replaceRow(db, before, metadata, { metadataExpiresAt: until });
  const after = (await findClient(db, clientId)) as Client;
  if (JSON.stringify(clientMetadata(after)) === was) {
    // Pages that are being shown are of the same client still (`grantConsent`).
    await db('clients').where({ clientId }).update({ updatedAt });
    return;
  }
  const grantsEnded = isAnother(before, after);
  if (grantsEnded) await revokeGrants(db, { clientId });
  await recordUpdate(db, actor, before, after, grantsEnded);
};

/**
 * Makes a client of a document that was read.
 * @param until when it must be read again
 * @returns the row as it is now, which may be that of a blocked client
 * @throws AppError 400 invalid_client_metadata or invalid_redirect_uri
 */
export const saveDocument = async (
  db: Db,
  actor: Actor,
  { clientId, document, until }: { clientId: string; document: unknown; until: Date },
  { validate, revokeGrants, listOpenScopes }: SelfRegistrationDeps & { revokeGrants: RevokeGrantsOfClient },
): Promise<Client | undefined> => {
  const metadata = readDocument(clientId, document, await listOpenScopes(db));
  // Not in the transaction: the engine may have to fetch what the client points at.
  await assertValid(validate, clientId, metadata, undefined);
  return transact(db, async (db) => {
    await keep(db, actor, { clientId, metadata, until }, revokeGrants);
    return findClient(db, clientId);
  });
};
