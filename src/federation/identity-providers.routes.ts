/** Identity providers over REST. Those of IDENTITY_PROVIDERS_PATH are not among them: they change with the file. */
import { z } from 'zod';
import { notFound } from '../errors.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import {
  createIdentityProvider,
  deleteIdentityProvider,
  type ProviderDeps,
  type ProviderInput,
  updateIdentityProvider,
} from './identity-providers.commands.ts';
import {
  findProviderRow,
  listProviderRows,
  openProviderSecrets,
  type ProviderRow,
} from './identity-providers.queries.ts';
import {
  callbackPath,
  neededMembers,
  type Preset,
  ProviderId,
  presets,
  providerMetadata,
  providerMistakes,
  providerSecrets,
} from './identity-providers.ts';

const IdentityProviderDocument = z
  .object({
    id: ProviderId,
    ...providerMetadata.shape,
    redirect_uri: z.url().meta({
      description: 'To be registered there',
      example: 'https://id.example.com/auth/social/acme/callback',
    }),
    has_client_secret: z.boolean(),
    has_private_key: z.boolean(),
    created_at: z.iso.datetime().meta({ example: '2026-05-01T12:00:00.000Z' }),
    updated_at: z.iso.datetime().meta({ example: '2026-05-01T12:00:00.000Z' }),
  })
  .meta({ id: 'IdentityProvider' });

const example = {
  preset: 'oidc',
  name: 'Acme',
  issuer: 'https://id.acme.example/realms/staff',
  client_id: 'countersign',
  client_secret: '1hEr3Zk9vQmT1xYb7L',
  roles: [{ claim: 'realm_access.roles', value: 'staff', role: 'moderator' }],
};

const ReplaceIdentityProvider = z
  .object({ ...providerMetadata.shape, ...providerSecrets.shape })
  .meta({ id: 'ReplaceIdentityProvider', example });

/** What the preset needs is asked for together with what else is missing, so that nobody is told piece by piece. */
const lacks = (field: (typeof neededMembers)[number]) =>
  z.refine<unknown>(
    (value) => {
      const document = value as z.output<typeof ReplaceIdentityProvider>;
      return !providerMistakes(document, document).some((mistake) => mistake.field === field);
    },
    {
      path: [field],
      error: 'is needed for this preset',
      when: ({ value, issues }) =>
        presets.includes((value as { preset?: Preset } | null)?.preset as Preset) &&
        !issues.some(({ path }) => path?.[0] === field),
    },
  );

const NewIdentityProvider = z
  .object({ id: ProviderId, ...ReplaceIdentityProvider.shape })
  .check(...neededMembers.map(lacks))
  .meta({ id: 'NewIdentityProvider', example: { id: 'acme', ...example } });

const toInput = ({
  client_secret,
  private_key,
  ...metadata
}: z.output<typeof ReplaceIdentityProvider>): ProviderInput => ({
  metadata,
  secrets: {
    ...(client_secret === undefined ? {} : { client_secret }),
    ...(private_key === undefined ? {} : { private_key }),
  },
});

const params = z.object({ id: ProviderId });
const tag = 'Identity providers';

export const identityProviderRoutes = ({ issuer, ...deps }: ProviderDeps & { issuer: string }): Route[] => {
  const { db, secrets } = deps;
  const documentOf = (row: ProviderRow): z.input<typeof IdentityProviderDocument> => {
    const { client_secret, private_key } = row.secretsEncrypted ? openNames(row) : {};
    return {
      ...row.metadata,
      id: row.id,
      redirect_uri: `${issuer}${callbackPath(row.id)}`,
      has_client_secret: client_secret ?? false,
      has_private_key: private_key ?? false,
      created_at: row.createdAt.toISOString(),
      updated_at: row.updatedAt.toISOString(),
    };
  };
  const openNames = (row: ProviderRow): { client_secret?: boolean; private_key?: boolean } => {
    const kept = openProviderSecrets(secrets, row);
    return { client_secret: kept.client_secret !== undefined, private_key: kept.private_key !== undefined };
  };
  return [
    route({
      id: 'listIdentityProviders',
      method: 'get',
      path: '/identity-providers',
      tag,
      summary: 'List identity providers',
      description: 'Those that were registered here; those of the operator’s file are not among them.',
      access: 'identity_providers:read:any',
      query: ListQuery,
      returns: listOf(IdentityProviderDocument),
      status: 200,
      handle: async ({ query: { limit, cursor } }) => {
        const rows = await listProviderRows(db, { limit: limit + 1, after: keyOf(cursor) });
        const { data, nextCursor } = pageOf(rows, limit, ({ id }) => id);
        return { data: data.map(documentOf), nextCursor };
      },
    }),
    route({
      id: 'createIdentityProvider',
      method: 'post',
      path: '/identity-providers',
      tag,
      summary: 'Register an identity provider',
      description:
        'It is in force at once. It signs in nobody who ranks above whoever wrote it last, or may do more than they can pass on. Register the `redirect_uri` of the answer there.',
      access: 'identity_providers:write:any',
      body: NewIdentityProvider,
      returns: IdentityProviderDocument,
      status: 201,
      problems: {
        403: ['rank_too_low', 'exceeds_yours', 'session_needed'],
        409: ['identity_provider_exists', 'too_many_identity_providers'],
      },
      handle: async ({ body: { id, ...body }, actor, caller }) =>
        documentOf(await createIdentityProvider(deps, actor, caller, id, toInput(body))),
    }),
    route({
      id: 'getIdentityProvider',
      method: 'get',
      path: '/identity-providers/:id',
      tag,
      summary: 'Get an identity provider',
      access: 'identity_providers:read:any',
      params,
      returns: IdentityProviderDocument,
      status: 200,
      problems: { 404: ['identity_provider_not_found'] },
      handle: async ({ params: { id } }) => {
        const row = await findProviderRow(db, id);
        if (!row) throw notFound('identity_provider');
        return documentOf(row);
      },
    }),
    route({
      id: 'replaceIdentityProvider',
      method: 'put',
      path: '/identity-providers/:id',
      tag,
      summary: 'Replace an identity provider',
      description:
        'A secret that is left out stays, unless the preset, the issuer, the tenant or an endpoint that gets it changes.',
      access: 'identity_providers:write:any',
      params,
      body: ReplaceIdentityProvider,
      returns: IdentityProviderDocument,
      status: 200,
      problems: {
        403: ['rank_too_low', 'exceeds_yours', 'session_needed'],
        404: ['identity_provider_not_found'],
      },
      handle: async ({ params: { id }, body, actor, caller }) =>
        documentOf(await updateIdentityProvider(deps, actor, caller, id, toInput(body))),
    }),
    route({
      id: 'deleteIdentityProvider',
      method: 'delete',
      path: '/identity-providers/:id',
      tag,
      summary: 'Delete an identity provider',
      description:
        'With everything that it has connected. Whoever has no other way to sign in sets a password by a mailed link.',
      access: 'identity_providers:write:any',
      params,
      status: 204,
      problems: { 403: ['rank_too_low'], 404: ['identity_provider_not_found'] },
      handle: ({ params: { id }, actor, caller }) => deleteIdentityProvider(deps, actor, caller, id),
    }),
  ];
};
