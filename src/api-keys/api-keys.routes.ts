/** API keys over REST. Other people's keys look as if they were not there, unless the caller may see everybody's. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { forbidden, notFound } from '../errors.ts';
import { assertSignedInHere, type Caller, may } from '../http/caller.ts';
import { idKeyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { heldAnywhere } from '../roles/access.queries.ts';
import { PermissionName } from '../roles/permissions.ts';
import { type CreationDeps, createApiKey, type RevokeGrantsOfKey, revokeApiKey } from './api-keys.commands.ts';
import { findApiKey, listApiKeys, type ApiKey as StoredKey } from './api-keys.queries.ts';

const ApiKey = z
  .object({
    id: Id,
    userId: Id.meta({ description: 'Whose it is' }),
    name: z.string().meta({ example: 'deployments' }),
    prefix: z.string().meta({ description: 'The beginning of the key', example: 'cs_4fTq9Z' }),
    scopes: z.array(z.string()).meta({ example: ['users:read:own'] }),
    expiresAt: Time.nullable().meta({ description: 'Null: not by itself' }),
    lastUsedAt: Time.nullable().meta({ description: 'To the minute' }),
    revokedAt: Time.nullable(),
    createdAt: Time,
  })
  .meta({ id: 'ApiKey' });

const CreatedApiKey = ApiKey.extend({
  key: z.string().meta({
    description: 'Shown this once',
    example: 'cs_4fTq9ZxW2LmVb7RkY1sDnP8cJhG3eA5uQ0oT1Nq3Xy',
  }),
}).meta({ id: 'CreatedApiKey' });

const CreateApiKey = z
  .object({
    name: z
      .string()
      .trim()
      .min(1)
      .max(100)
      .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not contain control characters')
      .meta({ example: 'deployments' }),
    scopes: z
      .array(PermissionName)
      .min(1)
      .max(100)
      .meta({
        description: 'What the key may do; each must be held by the caller, everywhere or in an organization',
        example: ['users:read:own'],
      }),
    expiresIn: z
      .int()
      .min(60)
      .max(10 * 365 * 86_400)
      .optional()
      .meta({ description: 'Seconds; without it the key works until it is revoked', example: 7_776_000 }),
  })
  .meta({ id: 'CreateApiKey' });

const params = z.object({ id: Id });
const Search = ListQuery.extend({
  userId: Id.optional().meta({ description: 'Somebody else’s, for those who may read everybody’s' }),
});

export interface ApiKeyRouteDeps extends CreationDeps {
  revokeGrants: RevokeGrantsOfKey;
}

const time = (date: Date | null): string | null => date?.toISOString() ?? null;

const shown = ({ expiresAt, lastUsedAt, revokedAt, createdAt, ...key }: StoredKey) => ({
  ...key,
  expiresAt: time(expiresAt),
  lastUsedAt: time(lastUsedAt),
  revokedAt: time(revokedAt),
  createdAt: createdAt.toISOString(),
});

/**
 * What the caller may give a key: what they hold with their token, everywhere or in some organization. A key is not for one
 * organization: who comes with a token that is gives it nothing that the key could do in the others.
 */
const givable = ({ permissions, organizations = [], organizationId }: Caller): string[] =>
  organizationId === undefined
    ? heldAnywhere({ permissions, organizations })
    : permissions.filter((name) => name.startsWith('!') || !name.endsWith(':organization'));

/** @throws AppError 404 api_key_not_found, also for a key that is none of the caller's business */
const findKeyFor = async (db: Db, caller: Caller, id: string, permission: string): Promise<StoredKey> => {
  const key = await findApiKey(db, id);
  if (!key || !may(caller, permission, key.userId)) throw notFound('api_key');
  return key;
};

const creation = (deps: ApiKeyRouteDeps): Route =>
  route({
    id: 'createApiKey',
    method: 'post',
    path: '/api-keys',
    tag: 'API keys',
    summary: 'Create an API key; it is shown this once',
    description:
      'The key stands for the caller, as far as its scopes go: `Authorization: Bearer cs_…` on this API, or exchanged for an access token at the token endpoint (RFC 8693). It takes the token of a sign-in at this API or at another application of the service’s own: neither a key nor a token that came of one can create keys, nor can anybody else’s application. The owner is told by mail. A reset of the password revokes all keys; a change of it leaves them.',
    access: 'api_keys:write:own',
    body: CreateApiKey,
    returns: CreatedApiKey,
    status: 201,
    problems: {
      403: ['scope_exceeds_yours', 'session_needed'],
      404: ['user_not_found'],
      409: ['api_key_limit_reached'],
    },
    handle: async ({ body, caller, actor }) => {
      // Else whoever finds a key, or is let in for a while, could make one that its owner does not know of.
      assertSignedInHere(caller);
      const owner = { userId: caller.id, sessionUid: caller.sessionUid };
      const { key, ...stored } = await createApiKey(deps, actor, givable(caller), { ...owner, ...body });
      return { ...shown(stored), key };
    },
  });

export const apiKeyRoutes = (deps: ApiKeyRouteDeps): Route[] => [
  creation(deps),
  route({
    id: 'listApiKeys',
    method: 'get',
    path: '/api-keys',
    tag: 'API keys',
    summary: 'List API keys, the oldest first',
    description: 'Keys that have ended are listed for 30 days more.',
    access: 'api_keys:read:own',
    query: Search,
    returns: listOf(ApiKey),
    status: 200,
    handle: async ({ query, caller }) => {
      const userId = query.userId ?? caller.id;
      const permission = 'api_keys:read:any';
      if (!may(caller, 'api_keys:read:own', userId))
        throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
      const after = idKeyOf(query.cursor);
      const page = pageOf(
        await listApiKeys(deps.db, userId, { after, limit: query.limit + 1 }),
        query.limit,
        ({ id }) => id,
      );
      return { ...page, data: page.data.map(shown) };
    },
  }),
  route({
    id: 'readApiKey',
    method: 'get',
    path: '/api-keys/:id',
    tag: 'API keys',
    summary: 'See an API key',
    access: 'api_keys:read:own',
    params,
    returns: ApiKey,
    status: 200,
    problems: { 404: ['api_key_not_found'] },
    handle: async ({ params, caller }) => shown(await findKeyFor(deps.db, caller, params.id, 'api_keys:read:own')),
  }),
  route({
    id: 'revokeApiKey',
    method: 'delete',
    path: '/api-keys/:id',
    tag: 'API keys',
    summary: 'Revoke an API key, and the tokens that it was exchanged for',
    access: 'api_keys:write:own',
    params,
    status: 204,
    problems: { 404: ['api_key_not_found'] },
    handle: async ({ params, caller, actor }) => {
      const { id } = await findKeyFor(deps.db, caller, params.id, 'api_keys:write:own');
      await revokeApiKey(deps.db, actor, id, deps.revokeGrants);
    },
  }),
];
