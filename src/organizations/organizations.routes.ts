/** Organizations over REST, and companies, which are organizations of that kind: the same routes at another address. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { reachOf } from '../http/reach.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { changeOrganization, createOrganization, removeOrganization } from './organizations.commands.ts';
import {
  findOrganization,
  listOrganizations,
  type NameKey,
  type Organization as OrganizationRow,
  type Sight,
} from './organizations.queries.ts';
import { signInMethods } from './sign-in-rules.queries.ts';

/** The two faces: `kind` is what a thing must be to be seen there. */
export interface Face {
  path: '/organizations' | '/companies';
  kind?: 'company';
  /** In ids of operations. */
  one: 'Organization' | 'Company';
  many: 'Organizations' | 'Companies';
  /** In sentences. */
  thing: string;
  things: string;
}

export const faces: readonly Face[] = [
  {
    path: '/organizations',
    one: 'Organization',
    many: 'Organizations',
    thing: 'an organization',
    things: 'organizations',
  },
  { path: '/companies', kind: 'company', one: 'Company', many: 'Companies', thing: 'a company', things: 'companies' },
];

const Kind = z.enum(['organization', 'company']).meta({ example: 'company' });
const Name = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^\P{C}*$/u, 'must not contain control characters')
  .meta({ example: 'Acme' });
const Description = z
  .string()
  .trim()
  .max(1000)
  .regex(/^(\P{C}|\n)*$/u, 'must not contain control characters')
  .meta({ example: 'Makes everything' });
const ParentId = Id.nullable().meta({ description: 'What it lies directly beneath; null for a root', example: null });
const RequireMfa = z
  .boolean()
  .meta({ description: 'Its people, and those of what is beneath it, need a second factor', example: true });
const SignInMethods = z
  .array(z.enum(signInMethods))
  .nullable()
  .meta({ description: 'The ways in that they may use; null for all', example: ['passkey', 'social'] });

export const Organization = z
  .object({
    id: Id,
    kind: Kind,
    name: z.string().meta({ example: 'Acme' }),
    description: z.string().meta({ example: 'Makes everything' }),
    parentId: ParentId,
    isActive: z.boolean().meta({ description: 'One that is not gives nobody anything', example: true }),
    settings: z
      .object({ requireMfa: RequireMfa, signInMethods: SignInMethods })
      .meta({ id: 'OrganizationSettings', description: 'What it asks of the sign-ins of its people' }),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Organization' });

const Settings = z
  .object({
    requireMfa: RequireMfa.optional(),
    signInMethods: z
      .array(z.enum(signInMethods))
      .min(1)
      .max(signInMethods.length)
      .nullable()
      .optional()
      .meta({ description: 'The ways in that they may use; null for all', example: ['passkey', 'social'] }),
  })
  .meta({ id: 'ChangeOrganizationSettings' });

/** What both faces take. Companies have no `kind` to choose. */
const fields = {
  name: Name,
  description: Description.optional(),
  parentId: ParentId.optional(),
  isActive: z.boolean().optional().meta({ example: true }),
  settings: Settings.optional(),
};
const kind = { kind: Kind.optional() };
const CreateOrganization = z.object({ ...fields, ...kind }).meta({ id: 'CreateOrganization' });
const CreateCompany = z.object(fields).meta({ id: 'CreateCompany' });
const ChangeOrganization = z.object({ ...fields, ...kind, name: Name.optional() }).meta({ id: 'ChangeOrganization' });
const ChangeCompany = z.object({ ...fields, name: Name.optional() }).meta({ id: 'ChangeCompany' });
const ReplaceCompany = z.object(fields).meta({ id: 'ReplaceCompany' });
type Given = z.output<typeof ChangeOrganization>;

const isTrue = z.enum(['true', 'false']).transform((text) => text === 'true');
const Search = ListQuery.extend({
  q: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .regex(/^\P{C}*$/u, 'must not contain control characters')
    .optional()
    .meta({ description: 'The beginning of the name, in whatever case', example: 'ac' }),
  isActive: isTrue.optional().meta({ example: 'true' }),
  parentId: Id.optional().meta({ description: 'What lies directly beneath this one' }),
  ancestorId: Id.optional().meta({ description: 'What lies anywhere beneath this one' }),
});
const SearchOrganizations = Search.extend({ kind: Kind.optional() });

export const toOrganization = ({ requireMfa, signInMethods, createdAt, updatedAt, ...row }: OrganizationRow) => ({
  ...row,
  settings: { requireMfa, signInMethods },
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});

/** What was given, as the row has it. */
const toFields = ({ settings, ...given }: Given) => ({
  ...given,
  requireMfa: settings?.requireMfa,
  signInMethods: settings?.signInMethods,
});

const toNewFields = ({ name = '', kind, description, parentId, isActive, settings }: Given, face: Face) => ({
  name,
  kind: face.kind ?? kind ?? 'organization',
  description: description ?? '',
  parentId: parentId ?? null,
  isActive: isActive ?? true,
  requireMfa: settings?.requireMfa ?? false,
  signInMethods: settings?.signInMethods ?? null,
});

export const organizationParams = z.object({ id: Id });
export const inOrganization = ({ id }: { id: string }) => ({ type: 'organization' as const, id });
/** What one belongs to is one's own to see. */
export const asMember = ({ id }: { id: string }, caller: Caller): string | undefined =>
  caller.organizations?.some((one) => one.id === id.toLowerCase()) ? caller.id : undefined;

/** What of all organizations the caller may see. */
const sightOf = (caller: Caller): Sight => {
  const { own, ...reach } = reachOf(caller, 'organizations:read:any');
  const memberships = own ? (caller.organizations ?? []).map(({ id }) => id) : [];
  return { ...reach, memberships: memberships.filter((id) => !reach.except.includes(id)) };
};

/** The place in the list where the page before has ended. A cursor that cannot be ours leads to the beginning. */
const nameKeyOf = (cursor: string | undefined): NameKey | undefined => {
  const [, id, name] = /^([0-9a-f-]{36}) (.+)$/s.exec(keyOf(cursor) ?? '') ?? [];
  return id && name && z.uuid().safeParse(id).success ? { id, name } : undefined;
};

const list = async (
  db: Db,
  caller: Caller,
  face: Face,
  { limit, cursor, ...filter }: z.output<typeof SearchOrganizations>,
) => {
  const page = { limit: limit + 1, after: nameKeyOf(cursor) };
  const rows = await listOrganizations(db, sightOf(caller), face.kind ? { ...filter, kind: face.kind } : filter, page);
  return pageOf(rows.map(toOrganization), limit, ({ id, name }) => `${id} ${name}`);
};

const reading = (db: Db, face: Face): Route[] => [
  route({
    id: `list${face.many}`,
    method: 'get',
    path: face.path,
    tag: 'Organizations',
    summary: `List ${face.things} by name: those that one belongs to, and all that one may see besides`,
    description: 'Whoever has the permission in an organization alone sees that one and those beneath it.',
    access: 'organizations:read:own',
    reach: true,
    query: face.kind ? Search : SearchOrganizations,
    returns: listOf(Organization),
    status: 200,
    handle: ({ query, caller }) => list(db, caller, face, query),
  }),
  route({
    id: `get${face.one}`,
    method: 'get',
    path: `${face.path}/:id`,
    tag: 'Organizations',
    summary: `See ${face.thing} that one belongs to, or may see`,
    access: 'organizations:read:own',
    owner: asMember,
    within: inOrganization,
    params: organizationParams,
    returns: Organization,
    status: 200,
    problems: { 404: ['organization_not_found'] },
    handle: async ({ params }) => {
      const organization = await findOrganization(db, params.id, face.kind);
      if (!organization) throw notFound('organization');
      return toOrganization(organization);
    },
  }),
];

const changing = (db: Db, face: Face): Route[] => [
  route({
    id: `create${face.one}`,
    method: 'post',
    path: face.path,
    tag: 'Organizations',
    summary: `Make ${face.thing}, beneath one that one manages`,
    description:
      'A root needs organizations:write:any. Nobody belongs to it and nobody owns it: whoever made it has a say from above.',
    access: 'organizations:write:any',
    reach: true,
    body: face.kind ? CreateCompany : CreateOrganization,
    returns: Organization,
    status: 201,
    problems: { 409: ['tree_too_deep'] },
    handle: async ({ body, caller, actor }) =>
      toOrganization(await createOrganization(db, actor, caller, toNewFields(body, face))),
  }),
  route({
    id: `change${face.one}`,
    method: 'patch',
    path: `${face.path}/:id`,
    tag: 'Organizations',
    summary: `Change what is sent of ${face.thing}`,
    description:
      'Moving it (`parentId`), its `kind` and whether it is active are decided above it: they take a say in what it lies beneath, and in what it comes to lie beneath.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: organizationParams,
    body: face.kind ? ChangeCompany : ChangeOrganization,
    returns: Organization,
    status: 200,
    problems: { 404: ['organization_not_found'], 409: ['tree_cycle', 'tree_too_deep'] },
    handle: async ({ params, body, caller, actor }) =>
      toOrganization(await changeOrganization(db, actor, caller, { ...params, kind: face.kind }, toFields(body))),
  }),
  ...(face.kind ? [replacing(db, face)] : []),
  route({
    id: `delete${face.one}`,
    method: 'delete',
    path: `${face.path}/:id`,
    tag: 'Organizations',
    summary: `Delete ${face.thing} that nothing lies beneath`,
    description:
      'Its groups, what people hold in it, invitations and mail domains go with it. It is for its owners, and for who has a say in what it lies beneath.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: organizationParams,
    query: z.object({
      force: isTrue
        .optional()
        .meta({ description: 'Although people other than oneself, or groups, belong to it', example: 'true' }),
    }),
    status: 204,
    problems: { 403: ['owner_needed'], 404: ['organization_not_found'], 409: ['has_children', 'has_members'] },
    handle: ({ params, query, caller, actor }) =>
      removeOrganization(db, actor, caller, { ...params, kind: face.kind, force: query.force ?? false }),
  }),
];

const replacing = (db: Db, face: Face): Route =>
  route({
    id: 'replaceCompany',
    method: 'put',
    path: `${face.path}/:id`,
    tag: 'Organizations',
    summary: 'Replace what a company is',
    description:
      'What is left out becomes what it is for a new one, but for `parentId` and `isActive`, which stay as they are.',
    access: 'organizations:write:any',
    within: inOrganization,
    params: organizationParams,
    body: ReplaceCompany,
    returns: Organization,
    status: 200,
    problems: { 404: ['organization_not_found'], 409: ['tree_cycle', 'tree_too_deep'] },
    handle: async ({ params, body, caller, actor }) => {
      const { parentId, isActive } = body;
      const wanted = { ...toNewFields(body, face), parentId, isActive };
      return toOrganization(await changeOrganization(db, actor, caller, { ...params, kind: face.kind }, wanted));
    },
  });

export const organizationRoutes = ({ db }: { db: Db }): Route[] =>
  faces.flatMap((face) => [...reading(db, face), ...changing(db, face)]);
