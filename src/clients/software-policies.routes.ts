/** Software policies and initial access tokens over REST: what administrators let clients register by themselves. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { idKeyOf, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { profiles, standardMembers, storable } from './client-members.ts';
import { policyGrants } from './self-registration.ts';
import {
  createInitialToken,
  createPolicy,
  deleteInitialToken,
  deletePolicy,
  replacePolicy,
} from './software-policies.commands.ts';
import {
  listInitialTokens,
  listPolicies,
  type SoftwarePolicy as StoredPolicy,
  type InitialAccessToken as StoredToken,
} from './software-policies.queries.ts';

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'expected lower-case letters, digits, dots, dashes and underscores')
  .meta({ description: 'Of the policy', example: 'partners' });
const params = z.object({ name });
const note = storable.trim().min(1).max(200);

const policyMembers = {
  description: note
    .nullable()
    .default(null)
    .meta({ description: 'For administrators', example: 'Apps of our partners' }),
  grantTypes: z
    .array(z.enum(policyGrants))
    .min(1)
    .max(policyGrants.length)
    .default(['authorization_code', 'refresh_token'])
    .meta({ description: 'Those that clients may register; what else they name is left out' }),
  redirectHosts: z
    .array(
      z
        .string()
        .max(253)
        .regex(
          /^([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
          'expected a host name in lower case',
        ),
    )
    .min(1)
    .max(50)
    .nullable()
    .default(null)
    .meta({ description: 'Hosts that redirect URIs must be on; null: any', example: ['app.example.com'] }),
  scope: standardMembers.scope.unwrap().nullable().default(null).meta({
    description:
      'What clients may register beside the scopes of OpenID Connect. Permissions among them must be held by whoever writes the policy and by whoever makes a token of it',
    example: 'users:read:own',
  }),
  profile: z
    .enum(profiles)
    .nullable()
    .default(null)
    .meta({ description: 'The security profile that clients are held to', example: 'oauth2.1' }),
  requirePkce: z
    .boolean()
    .default(true)
    .meta({ description: 'False: confidential clients may do without PKCE', example: true }),
};

const SoftwarePolicy = z
  .object({
    name: z.string().meta({ example: 'partners' }),
    description: z.string().nullable().meta({ example: 'Apps of our partners' }),
    grantTypes: z.array(z.string()).meta({ example: ['authorization_code', 'refresh_token'] }),
    redirectHosts: z
      .array(z.string())
      .nullable()
      .meta({ example: ['app.example.com'] }),
    scope: z.string().nullable().meta({ example: 'users:read:own' }),
    profile: z.enum(profiles).nullable().meta({ example: null }),
    requirePkce: z.boolean().meta({ example: true }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'SoftwarePolicy' });

const example = { name: 'partners', redirectHosts: ['app.example.com'], profile: 'oauth2.1' };
const CreateSoftwarePolicy = z.object({ name, ...policyMembers }).meta({ id: 'CreateSoftwarePolicy', example });
const ReplaceSoftwarePolicy = z.object(policyMembers).meta({
  id: 'ReplaceSoftwarePolicy',
  example: { redirectHosts: ['app.example.com'], profile: 'oauth2.1' },
});

const InitialAccessToken = z
  .object({
    id: Id,
    note: z.string().meta({ example: 'For Acme' }),
    softwarePolicy: z.string().nullable().meta({ description: 'Null: what anybody may', example: null }),
    usesLeft: z.int().nullable().meta({ description: 'Null: any number', example: 1 }),
    createdBy: Id.nullable().meta({ description: 'Who answers for the clients; null: the operator' }),
    createdAt: Time,
    expiresAt: Time,
  })
  .meta({ id: 'InitialAccessToken' });

const CreatedInitialAccessToken = InitialAccessToken.extend({
  token: z.string().meta({
    description: 'Shown this once: the bearer token of a registration (RFC 7591 section 3)',
    example: 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl4pN6fGh2aBc',
  }),
}).meta({ id: 'CreatedInitialAccessToken' });

const days = 86_400;

/** What a token is made with, over REST and at the command line. */
export const NewInitialAccessToken = z
  .object({
    note: note.meta({ description: 'What it is for', example: 'For Acme' }),
    softwarePolicy: name.optional(),
    uses: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .meta({ description: 'How many clients; any number unless it is said', example: 1 }),
    expiresIn: z
      .int()
      .min(60)
      .max(366 * days)
      .default(7 * days)
      .meta({ description: 'Seconds', example: 604_800 }),
  })
  .meta({ id: 'CreateInitialAccessToken', example: { note: 'For Acme', uses: 1 } });

const shownPolicy = ({ createdAt, updatedAt, ...policy }: StoredPolicy) => ({
  ...policy,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});
const shownToken = <T extends StoredToken>({ createdAt, expiresAt, ...token }: T) => ({
  ...token,
  createdAt: createdAt.toISOString(),
  expiresAt: expiresAt.toISOString(),
});

const tag = 'Clients';
const refusals = ['scope_exceeds_yours', 'rank_too_low'] as const;
const writeProblems = { 403: refusals, 404: ['software_policy_not_found'] } as const;

const policyRoutes = ({ db }: { db: Db }): Route[] => [
  route({
    id: 'listSoftwarePolicies',
    method: 'get',
    path: '/software-policies',
    tag,
    summary: 'List software policies, in order of their names',
    access: 'clients:read:any',
    query: ListQuery,
    returns: listOf(SoftwarePolicy),
    status: 200,
    handle: async ({ query: { limit, cursor } }) => {
      const rows = await listPolicies(db, { after: keyOf(cursor), limit: limit + 1 });
      const page = pageOf(rows, limit, ({ name }) => name);
      return { ...page, data: page.data.map(shownPolicy) };
    },
  }),
  route({
    id: 'createSoftwarePolicy',
    method: 'post',
    path: '/software-policies',
    tag,
    summary: 'Say what clients may register by themselves',
    description: 'A client that comes with an initial access token of the policy (RFC 7591 section 3) is held to it.',
    access: 'clients:write:any',
    body: CreateSoftwarePolicy,
    returns: SoftwarePolicy,
    status: 201,
    problems: { 403: refusals, 409: ['software_policy_exists'] },
    handle: async ({ body: { name, ...input }, caller, actor }) =>
      shownPolicy(await createPolicy(db, actor, caller, name, input)),
  }),
  route({
    id: 'replaceSoftwarePolicy',
    method: 'put',
    path: '/software-policies/:name',
    tag,
    summary: 'Replace a software policy as a whole',
    description: 'Clients that are registered keep what they have until they change it themselves.',
    access: 'clients:write:any',
    params,
    body: ReplaceSoftwarePolicy,
    returns: SoftwarePolicy,
    status: 200,
    problems: writeProblems,
    handle: async ({ params, body, caller, actor }) =>
      shownPolicy(await replacePolicy(db, actor, caller, params.name, body)),
  }),
  route({
    id: 'deleteSoftwarePolicy',
    method: 'delete',
    path: '/software-policies/:name',
    tag,
    summary: 'Delete a software policy, and its initial access tokens',
    description: 'Its clients keep what they have, and are held to what anybody may when they change it.',
    access: 'clients:write:any',
    params,
    status: 204,
    problems: writeProblems,
    handle: ({ params, caller, actor }) => deletePolicy(db, actor, caller, params.name),
  }),
];

export const softwarePolicyRoutes = (deps: { db: Db }): Route[] => [
  ...policyRoutes(deps),
  route({
    id: 'listInitialAccessTokens',
    method: 'get',
    path: '/initial-access-tokens',
    tag,
    summary: 'List the tokens by which clients may register themselves',
    access: 'clients:read:any',
    query: ListQuery,
    returns: listOf(InitialAccessToken),
    status: 200,
    handle: async ({ query: { limit, cursor } }) => {
      const rows = await listInitialTokens(deps.db, { after: idKeyOf(cursor), limit: limit + 1 });
      const page = pageOf(rows, limit, ({ id }) => id);
      return { ...page, data: page.data.map(shownToken) };
    },
  }),
  route({
    id: 'createInitialAccessToken',
    method: 'post',
    path: '/initial-access-tokens',
    tag,
    summary: 'Make a token by which clients may register themselves; it is shown this once',
    description:
      'Whoever makes it answers for the clients that come with it, which rank lowest. It is void once they are no longer active.',
    access: 'clients:write:any',
    body: NewInitialAccessToken,
    returns: CreatedInitialAccessToken,
    status: 201,
    problems: { 403: refusals },
    handle: async ({ body, caller, actor }) => shownToken(await createInitialToken(deps.db, actor, caller, body)),
  }),
  route({
    id: 'deleteInitialAccessToken',
    method: 'delete',
    path: '/initial-access-tokens/:id',
    tag,
    summary: 'Delete a token by which clients may register themselves',
    description: 'Clients that came with it stay.',
    access: 'clients:write:any',
    params: z.object({ id: Id }),
    status: 204,
    problems: { 404: ['initial_access_token_not_found'] },
    handle: ({ params, actor }) => deleteInitialToken(deps.db, actor, params.id),
  }),
];
