/** Resource servers over REST: the APIs that tokens are made for. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { storable } from '../clients/client-members.ts';
import { identityScopes } from '../clients/identity-scopes.ts';
import { notFound } from '../errors.ts';
import { idKeyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { signingAlgorithms } from '../keys/key-algorithms.ts';
import {
  createResourceServer,
  deleteResourceServer,
  type NarrowResource,
  type ResourceServerRules,
  updateResourceServer,
} from './resource-servers.commands.ts';
import { findResourceServer, type ListedResourceServer, listResourceServers } from './resource-servers.queries.ts';

/** Text that people read: what cannot be seen, or turns the writing around, would make one name look like another. */
const shownText = (max: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(max)
    .regex(/^\P{C}*$/u, 'must not contain control or invisible characters');

/** RFC 6749 section 3.3. A wildcard would stand for scopes that nobody has described. */
const ScopeName = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[\x21\x23-\x29\x2b-\x5b\x5d-\x7e]+$/, 'expected a scope: no spaces, quotes, backslashes or asterisks')
  .refine((name) => !identityScopes.includes(name), 'is a scope of OpenID Connect')
  .meta({ example: 'orders.read' });

const example = {
  identifier: 'https://orders.example.com/',
  name: 'Orders',
  scopes: [{ name: 'orders.read', description: 'See your orders' }],
};

const given = {
  name: shownText(100).meta({ description: 'Shown on the consent page', example: 'Orders' }),
  description: shownText(500)
    .nullable()
    .default(null)
    .meta({ description: 'For administrators', example: 'What customers have ordered' }),
  scopes: z
    .array(
      z.object({
        name: ScopeName,
        description: shownText(300)
          .nullable()
          .default(null)
          .meta({ description: 'Shown on the consent page', example: 'See your orders' }),
      }),
    )
    .max(100)
    .default([])
    .meta({
      description:
        'What can be asked for there. A name of the form `resource:action:scope` is a permission: tokens have it as far as the person’s roles do',
    }),
  accessTokenFormat: z.enum(['jwt', 'opaque']).default('jwt').meta({
    description: '`jwt` can be verified offline (RFC 9068); `opaque` must be introspected',
    example: 'jwt',
  }),
  accessTokenTtl: z
    .int()
    .min(60)
    .max(86_400)
    .nullable()
    .default(null)
    .meta({ description: 'Lifetime of its access tokens in seconds; null: JWT_ACCESS_TTL', example: 600 }),
  signingAlg: z.enum(signingAlgorithms).nullable().default(null).meta({
    description: 'What its JWTs are signed with, of SIGNING_ALGS; null: the first of them',
    example: 'ES256',
  }),
  allow: z.enum(['any', 'listed']).default('any').meta({
    description: '`any`: every client may ask for tokens; `listed`: only those in `clients`',
    example: 'any',
  }),
  clients: z
    .array(
      z.object({
        clientId: storable.min(1).max(2000).meta({ example: 'Zk3v9QmT1xYb7LrW2sDf' }),
        scopes: z.array(ScopeName).max(100).nullable().default(null).meta({
          description: 'The scopes that it may ask for; null: all of them',
          example: null,
        }),
        introspects: z.boolean().default(false).meta({
          description: 'It is this API’s own client: it may introspect every token for it (RFC 7662)',
          example: false,
        }),
      }),
    )
    .max(200)
    .default([])
    .meta({ description: 'Clients of which something is to be said', example: [] }),
};

const CreateResourceServer = z
  .object({
    identifier: storable.min(1).max(500).pipe(z.url()).meta({
      description:
        'The value of `resource` (RFC 8707) and the audience of its tokens: an absolute URI without a fragment, compared character by character. Clients send a URL without a path with a slash at its end. It cannot be changed',
      example: 'https://orders.example.com/',
    }),
    ...given,
  })
  .meta({ id: 'CreateResourceServer', example });
const { identifier: _identifier, ...replacement } = example;
const ReplaceResourceServer = z.object(given).meta({ id: 'ReplaceResourceServer', example: replacement });

const ResourceServer = z
  .object({
    id: Id,
    identifier: z.string().meta({ example: 'https://orders.example.com/' }),
    name: z.string().meta({ example: 'Orders' }),
    description: z.string().nullable().meta({ example: 'What customers have ordered' }),
    scopes: z.array(
      z.object({
        name: z.string().meta({ example: 'orders.read' }),
        description: z.string().nullable().meta({ example: 'See your orders' }),
      }),
    ),
    accessTokenFormat: z.enum(['jwt', 'opaque']).meta({ example: 'jwt' }),
    accessTokenTtl: z.int().nullable().meta({ description: 'Seconds; null: JWT_ACCESS_TTL', example: 600 }),
    signingAlg: z.string().nullable().meta({ example: 'ES256' }),
    allow: z.enum(['any', 'listed']).meta({ example: 'any' }),
    clients: z.array(
      z.object({
        clientId: z.string().meta({ example: 'Zk3v9QmT1xYb7LrW2sDf' }),
        scopes: z.array(z.string()).nullable().meta({ example: null }),
        introspects: z.boolean().meta({ example: false }),
      }),
    ),
    createdBy: Id.nullable().meta({ description: 'Null: the operator' }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'ResourceServer' });

const toResourceServer = ({
  rank: _rank,
  createdAt,
  updatedAt,
  ...server
}: ListedResourceServer): z.input<typeof ResourceServer> => ({
  ...server,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});

const params = z.object({ id: Id });
const tag = 'Clients';
const problems = { 403: ['rank_too_low'], 404: ['resource_server_not_found'] } as const;

export interface ResourceServerRouteDeps extends ResourceServerRules {
  db: Db;
  narrow: NarrowResource;
}

const writes = ({ db, ...rules }: ResourceServerRouteDeps): Route[] => [
  route({
    id: 'createResourceServer',
    method: 'post',
    path: '/resource-servers',
    tag,
    summary: 'Register an API that tokens can be asked for',
    description:
      'Clients ask for a token with `resource` (RFC 8707), and get one whose audience is the API alone. What a client may ask for there is what the API declares, less what its entry in `clients` leaves out; of a client that is registered with a `scope`, only what that names.',
    access: 'resource_servers:write:any',
    body: CreateResourceServer,
    returns: ResourceServer,
    status: 201,
    problems: { 403: problems[403], 409: ['identifier_taken'] },
    handle: async ({ body, caller, actor }) =>
      toResourceServer(await createResourceServer(db, actor, caller, body, rules)),
  }),
  route({
    id: 'replaceResourceServer',
    method: 'put',
    path: '/resource-servers/:id',
    tag,
    summary: 'Replace what is said of an API as a whole',
    description:
      'What is not named goes back to its default. Tokens end that say what the API no longer gives their client: introspection answers that they are not active. Nobody’s consent to a scope that goes is remembered.',
    access: 'resource_servers:write:any',
    params,
    body: ReplaceResourceServer,
    returns: ResourceServer,
    status: 200,
    problems,
    handle: async ({ params, body, caller, actor }) =>
      toResourceServer(await updateResourceServer(db, actor, caller, { ...params, ...body }, rules)),
  }),
  route({
    id: 'deleteResourceServer',
    method: 'delete',
    path: '/resource-servers/:id',
    tag,
    summary: 'Delete an API, and end all tokens and consents for it',
    access: 'resource_servers:write:any',
    params,
    status: 204,
    problems,
    handle: ({ params, caller, actor }) => deleteResourceServer(db, actor, caller, params.id, rules.narrow),
  }),
];

export const resourceServerRoutes = (deps: ResourceServerRouteDeps): Route[] => [
  route({
    id: 'listResourceServers',
    method: 'get',
    path: '/resource-servers',
    tag,
    summary: 'List the APIs that tokens can be asked for, the oldest first',
    access: 'resource_servers:read:any',
    query: ListQuery,
    returns: listOf(ResourceServer),
    status: 200,
    handle: async ({ query: { limit, cursor } }) => {
      const rows = await listResourceServers(deps.db, { after: idKeyOf(cursor), limit: limit + 1 });
      const page = pageOf(rows, limit, ({ id }) => id);
      return { ...page, data: page.data.map(toResourceServer) };
    },
  }),
  route({
    id: 'readResourceServer',
    method: 'get',
    path: '/resource-servers/:id',
    tag,
    summary: 'See an API that tokens can be asked for',
    access: 'resource_servers:read:any',
    params,
    returns: ResourceServer,
    status: 200,
    problems: { 404: problems[404] },
    handle: async ({ params: { id } }) => {
      const server = await findResourceServer(deps.db, id);
      if (!server) throw notFound('resource_server');
      return toResourceServer(server);
    },
  }),
  ...writes(deps),
];
