/** Clients over REST, in the names of RFC 7591: an administrator's registration, not a client's own. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import type { RevokeGrantsOfClient, ValidateClient } from './client-changes.ts';
import { ClientDocument, clientMetadata, exampleClient, NewClient, RegisteredClient } from './client-metadata.ts';
import { createClient, deleteClient, rotateClientSecret, unblockClient, updateClient } from './clients.commands.ts';
import { findClient, listClients } from './clients.queries.ts';

const params = z.object({
  client_id: z
    .string()
    .regex(/^[\x20-\x7e]{1,500}$/)
    .meta({ description: 'As registered', example: 'Zk3v9QmT1xYb7LrW2sDf' }),
});

const Search = ListQuery.extend({
  q: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u)
    .optional()
    .meta({ description: 'Part of the name, or the beginning of the id', example: 'acme' }),
});

/** RFC 7592 section 2.2: the client's own id and secret may be sent along; neither is changed by it. */
const ReplaceClient = z
  .object({
    ...NewClient.shape,
    client_id: z
      .string()
      .max(200)
      .optional()
      .meta({ description: 'The one in the path', example: 'Zk3v9QmT1xYb7LrW2sDf' }),
    client_secret: z.string().max(200).optional().meta({
      description: 'The present one, if any; another one is refused',
      example: 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl4pN6fGh2aBc',
    }),
  })
  .meta({ id: 'ReplaceClient', example: exampleClient });

/** In seconds. */
const secretGrace = 86_400;
const RotateSecret = z
  .object({
    graceSeconds: z
      .int()
      .min(0)
      .max(30 * 86_400)
      .default(secretGrace)
      .meta({ description: 'For how long the present secret stays valid; 0: it ends at once', example: 86_400 }),
  })
  .meta({ id: 'RotateClientSecret' });

const RotatedSecret = z
  .object({
    client_id: z.string().meta({ example: 'Zk3v9QmT1xYb7LrW2sDf' }),
    client_secret: z.string().meta({
      description: 'Shown this once',
      example: 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl4pN6fGh2aBc',
    }),
    client_secret_expires_at: z.int().meta({ description: '0: it does not expire by itself', example: 0 }),
    previous_client_secret_expires_at: z.int().nullable().meta({
      description: 'When the secret before it ends, in seconds since 1970; null: it has ended',
      example: 1_798_761_599,
    }),
  })
  .meta({ id: 'RotatedClientSecret' });

const metadataProblems = ['invalid_client_metadata', 'invalid_redirect_uri'] as const;
const writeProblems = {
  403: ['scope_exceeds_yours', 'rank_too_low'],
  404: ['client_not_found'],
} as const;
const tag = 'Clients';

export interface ClientRouteDeps {
  db: Db;
  validate: ValidateClient;
  revokeGrants: RevokeGrantsOfClient;
}

const reads = ({ db }: ClientRouteDeps): Route[] => [
  route({
    id: 'listClients',
    method: 'get',
    path: '/clients',
    tag,
    summary: 'List clients, in order of their ids',
    access: 'clients:read:any',
    query: Search,
    returns: listOf(ClientDocument),
    status: 200,
    handle: async ({ query: { limit, cursor, q } }) => {
      const after = keyOf(cursor);
      const page = pageOf(await listClients(db, { after, q, limit: limit + 1 }), limit, ({ clientId }) => clientId);
      return { ...page, data: page.data.map(clientMetadata) };
    },
  }),
  route({
    id: 'readClient',
    method: 'get',
    path: '/clients/:client_id',
    tag,
    summary: 'See a client',
    access: 'clients:read:any',
    params,
    returns: ClientDocument,
    status: 200,
    problems: { 404: ['client_not_found'] },
    handle: async ({ params: { client_id: clientId } }) => {
      const client = await findClient(db, clientId);
      if (!client) throw notFound('client');
      return clientMetadata(client);
    },
  }),
];

const metadataWrites = (deps: ClientRouteDeps): Route[] => [
  route({
    id: 'createClient',
    method: 'post',
    path: '/clients',
    tag,
    summary: 'Register a client; its secret is shown this once',
    description:
      'Body and answer are those of RFC 7591. Members that are not known are ignored, as its section 2 wants; the answer lists what was registered. A `scope` must not have permissions that the caller does not hold.',
    access: 'clients:write:any',
    body: NewClient,
    invalidInput: 'invalid_client_metadata',
    returns: RegisteredClient,
    status: 201,
    problems: { 400: metadataProblems, 403: writeProblems[403] },
    handle: ({ body, caller, actor }) => createClient(deps.db, actor, caller, body, deps.validate),
  }),
  route({
    id: 'replaceClient',
    method: 'put',
    path: '/clients/:client_id',
    tag,
    summary: 'Replace a client’s metadata as a whole',
    description:
      'As RFC 7592 section 2.2: what is not named goes back to its default. A client that begins to use a secret gets one in the answer; one that no longer does loses it.\n\n' +
      'Consents, grants and tokens of the client end when `redirect_uris` or `scope` gains an entry, or `client_name`, `application_type`, `token_endpoint_auth_method`, `jwks`, `jwks_uri` or `first_party` changes: people agreed to something else. What it was given by token exchange ends when `token_exchange` changes.\n\n' +
      'Whoever changes the scope or `token_exchange` answers for the client from then on (`created_by`), and so does whoever replaces one whose registrar is no longer active or ranks lower than they did: it could do nothing on its own until then. Its secret is still known to those who knew it: rotate it too.',
    access: 'clients:write:any',
    params,
    body: ReplaceClient,
    invalidInput: 'invalid_client_metadata',
    returns: RegisteredClient,
    status: 200,
    problems: { 400: metadataProblems, ...writeProblems, 409: ['client_built_in', 'client_describes_itself'] },
    handle: ({ params, body, caller, actor }) => updateClient(deps.db, actor, caller, params.client_id, body, deps),
  }),
];

export const clientRoutes = (deps: ClientRouteDeps): Route[] => [
  ...reads(deps),
  ...metadataWrites(deps),
  route({
    id: 'rotateClientSecret',
    method: 'post',
    path: '/clients/:client_id/secret',
    tag,
    summary: 'Give a client a new secret, valid at once',
    description: 'The present one stays valid for the time given; one before that ends. At most two are valid.',
    access: 'clients:write:any',
    params,
    body: RotateSecret.optional(),
    returns: RotatedSecret,
    status: 200,
    problems: { ...writeProblems, 409: ['client_built_in', 'client_without_secret'] },
    handle: async ({ params, body, caller, actor }) => {
      const client = await rotateClientSecret(
        deps.db,
        actor,
        caller,
        params.client_id,
        body?.graceSeconds ?? secretGrace,
      );
      return {
        client_id: client.client_id,
        client_secret: client.client_secret as string,
        client_secret_expires_at: 0,
        previous_client_secret_expires_at: client.previous_client_secret_expires_at ?? null,
      };
    },
  }),
  route({
    id: 'deleteClient',
    method: 'delete',
    path: '/clients/:client_id',
    tag,
    summary: 'Delete a client, and end its grants, tokens and consents',
    description:
      'A client of kind `metadata-document` would be read again when somebody comes with it, so it is blocked instead: it stays in the list with `blocked_at`, and whoever comes with it is told `invalid_client`, until it is unblocked.',
    access: 'clients:write:any',
    params,
    status: 204,
    problems: { ...writeProblems, 409: ['client_built_in'] },
    handle: ({ params, caller, actor }) => deleteClient(deps.db, actor, caller, params.client_id, deps.revokeGrants),
  }),
  route({
    id: 'unblockClient',
    method: 'post',
    path: '/clients/:client_id/unblock',
    tag,
    summary: 'Let a client in again that is a metadata document and was deleted',
    description: 'It is forgotten, and read anew when somebody comes with it.',
    access: 'clients:write:any',
    params,
    status: 204,
    problems: { ...writeProblems, 409: ['client_built_in', 'client_not_blocked'] },
    handle: ({ params, caller, actor }) => unblockClient(deps.db, actor, caller, params.client_id, deps.revokeGrants),
  }),
];
