/** Registers, changes and deletes resource servers. What they no longer give ends: tokens, grants and consents alike. */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent } from '../audit/logs.commands.ts';
import { findPresentPowers, type Powers } from '../clients/clients.commands.ts';
import { conflict, invalid, notFound } from '../errors.ts';
import { assertRank } from '../http/caller.ts';
import {
  findResourceServer,
  type ListedResourceServer,
  type ResourceClient,
  type ResourceServer,
} from './resource-servers.queries.ts';

/** What of a resource server is for whoever writes it to say. */
export interface ResourceServerInput
  extends Pick<
    ResourceServer,
    'name' | 'description' | 'scopes' | 'accessTokenFormat' | 'accessTokenTtl' | 'signingAlg' | 'allow'
  > {
  clients: ResourceClient[];
}

export interface ResourceServerRules {
  /** Whether a URI can be somebody's identifier: one of this service's own cannot. */
  isIdentifier(identifier: string): boolean;
  /** What there are keys for. */
  signingAlgs(): readonly string[];
}

/** Takes all scopes of a resource server but those that are kept from what people agreed to, and from what came of it. */
export type NarrowResource = (db: Db, identifier: string, keep: readonly string[]) => Promise<void>;

const refuse = (field: string, message: string) =>
  invalid('invalid_request', 'The request is not valid', { fields: [{ field, code: 'custom', message }] });

/** @throws AppError 400 invalid_request */
const assertFits = (
  { signingAlgs }: ResourceServerRules,
  { signingAlg, scopes, clients }: ResourceServerInput,
): void => {
  if (signingAlg !== null && !signingAlgs().includes(signingAlg))
    throw refuse('signingAlg', `expected one of those that there are keys for: ${signingAlgs().join(', ')}`);
  const names = scopes.map(({ name }) => name);
  if (new Set(names).size < names.length) throw refuse('scopes', 'two scopes have the same name');
  if (new Set(clients.map(({ clientId }) => clientId)).size < clients.length)
    throw refuse('clients', 'a client is listed twice');
  const foreign = clients.flatMap(({ scopes }) => scopes ?? []).filter((name) => !names.includes(name));
  if (foreign.length) throw refuse('clients', `not among the scopes: ${[...new Set(foreign)].join(' ')}`);
};

/** Pass a transaction. @throws AppError 400 for a client that is not there */
const writeClients = async (db: Db, id: string, clients: readonly ResourceClient[]): Promise<void> => {
  const ids = clients.map(({ clientId }) => clientId);
  const found: { clientId: string }[] = await db('clients').whereIn('clientId', ids).forKeyShare().select('clientId');
  const missing = ids.filter((id) => !found.some(({ clientId }) => clientId === id));
  if (missing.length) throw refuse('clients', `no such client: ${missing.join(', ')}`);
  await db('resourceServerClients').where({ resourceServerId: id }).delete();
  if (clients.length)
    await db('resourceServerClients').insert(clients.map((client) => ({ ...client, resourceServerId: id })));
};

const toRow = ({ clients: _clients, scopes, ...rest }: ResourceServerInput) => ({
  ...rest,
  scopes: JSON.stringify(scopes),
});

/**
 * @throws AppError 400 invalid_request for what does not fit, 409 identifier_taken, 403 rank_too_low for somebody who is
 *   nobody any more
 */
export const createResourceServer = async (
  db: Db,
  actor: Actor,
  powers: Powers,
  { identifier, ...input }: ResourceServerInput & { identifier: string },
  { narrow, ...rules }: ResourceServerRules & { narrow: NarrowResource },
): Promise<ListedResourceServer> => {
  if (!rules.isIdentifier(identifier))
    throw refuse('identifier', 'expected the absolute URI of another API, without a fragment');
  assertFits(rules, input);
  return transact(db, async (db) => {
    const present = await findPresentPowers(db, powers);
    assertRank(present, 0);
    // That client's tokens say what its registrar chose, and must not pass for those of a resource server; tokens whose
    // audience is a client_id could be taken for id_tokens.
    const taken = await db('clients')
      .where({ audience: identifier })
      .orWhere({ clientId: identifier })
      .first('clientId');
    const id = uuid();
    const row = { ...toRow(input), id, identifier, rank: present.rank, createdBy: present.registrar };
    const [created] = taken
      ? []
      : await db('resourceServers').insert(row).onConflict('identifier').ignore().returning('id');
    if (!created)
      throw conflict(
        'identifier_taken',
        'The identifier is that of another resource server, or of a client or its audience',
      );
    await writeClients(db, id, input.clients);
    // While nobody had registered it, people may have agreed to whatever a client called a scope there.
    await narrow(
      db,
      identifier,
      input.scopes.map(({ name }) => name),
    );
    await recordEvent(db, actor, {
      action: 'resource_server.create',
      target: { type: 'resource_server', id },
      meta: { identifier },
    });
    return (await findResourceServer(db, id)) as ListedResourceServer;
  });
};

/** The resource server, locked, for somebody who is about to change it. @throws AppError 404, 403 rank_too_low */
const takeResourceServer = async (db: Db, powers: Powers, id: string): Promise<ListedResourceServer> => {
  const present = await findPresentPowers(db, powers);
  await db('resourceServers').where({ id }).forUpdate().first('id');
  const server = await findResourceServer(db, id);
  if (!server) throw notFound('resource_server');
  assertRank(present, server.rank);
  return server;
};

/** Names of the members that differ. */
const changed = (before: ListedResourceServer, after: ListedResourceServer): string[] =>
  Object.keys(after)
    .filter((name) => name !== 'updatedAt')
    .filter((name) => JSON.stringify(before[name as 'name']) !== JSON.stringify(after[name as 'name']))
    .sort();

/**
 * Replaces all but the identifier. Tokens that say what it gives no longer are dead from then on; what people agreed to is
 * narrowed, so that a scope of the same name is asked for anew.
 * @throws AppError 404 resource_server_not_found, 403 rank_too_low, 400 invalid_request
 */
export const updateResourceServer = (
  db: Db,
  actor: Actor,
  powers: Powers,
  { id, ...input }: ResourceServerInput & { id: string },
  { narrow, ...rules }: ResourceServerRules & { narrow: NarrowResource },
): Promise<ListedResourceServer> => {
  assertFits(rules, input);
  return transact(db, async (db) => {
    const before = await takeResourceServer(db, powers, id);
    await db('resourceServers')
      .where({ id })
      .update({ ...toRow(input), updatedAt: db.fn.now() });
    await writeClients(db, id, input.clients);
    const kept = input.scopes.map(({ name }) => name);
    if (before.scopes.some(({ name }) => !kept.includes(name))) await narrow(db, before.identifier, kept);
    const after = (await findResourceServer(db, id)) as ListedResourceServer;
    await recordEvent(db, actor, {
      action: 'resource_server.update',
      target: { type: 'resource_server', id },
      meta: { identifier: before.identifier, members: changed(before, after) },
    });
    return after;
  });
};

/** @throws AppError 404 resource_server_not_found, 403 rank_too_low */
export const deleteResourceServer = (
  db: Db,
  actor: Actor,
  powers: Powers,
  id: string,
  narrow: NarrowResource,
): Promise<void> =>
  transact(db, async (db) => {
    const { identifier } = await takeResourceServer(db, powers, id);
    await db('resourceServers').where({ id }).delete();
    await narrow(db, identifier, []);
    await recordEvent(db, actor, {
      action: 'resource_server.delete',
      target: { type: 'resource_server', id },
      meta: { identifier },
    });
  });
