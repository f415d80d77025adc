/** Organizations, groups and what people hold in them, as the database has them: tests of other things need no route for them. */
import { randomUUID } from 'node:crypto';
import type { TestServer } from './server.ts';

type Server = Pick<TestServer, 'database'>;

export interface OrganizationInput {
  name?: string;
  kind?: 'organization' | 'company';
  parentId?: string | undefined;
  isActive?: boolean;
  /** Ids of users: they are members and nothing more. */
  members?: readonly string[];
  /** Members who own it, and so hold the role manager there. */
  owners?: readonly string[];
  /** Members to whom the role manager was given there. */
  managers?: readonly string[];
}

/** Adds somebody to an organization. */
export const addMember = async (
  { database: { db } }: Server,
  organizationId: string,
  userId: string,
  { isOwner = false }: { isOwner?: boolean } = {},
): Promise<void> => {
  await db('organizationMembers')
    .insert({ organizationId, userId, isOwner })
    .onConflict(['organizationId', 'userId'])
    .merge(['isOwner']);
};

/** Gives a role: everywhere, or inside an organization. @returns the grant's id */
export const grantRole = async (
  { database: { db } }: Server,
  subject: { userId: string } | { groupId: string } | { apiKeyId: string },
  role: string,
  {
    organizationId,
    startsAt,
    expiresAt,
  }: { organizationId?: string | undefined; startsAt?: Date; expiresAt?: Date } = {},
): Promise<string> => {
  const { id: roleId } = await db('roles').where({ name: role }).first('id');
  const [grant] = await db('roleGrants')
    .insert({
      ...subject,
      roleId,
      organizationId: organizationId ?? null,
      ...(startsAt ? { startsAt } : {}),
      expiresAt: expiresAt ?? null,
    })
    .returning('id');
  return grant.id;
};

/** Gives or denies a permission: everywhere, or inside an organization. @returns the grant's id */
export const grantPermission = async (
  { database: { db } }: Server,
  subject: { userId: string } | { groupId: string } | { apiKeyId: string },
  permission: string,
  { effect = 'allow', organizationId }: { effect?: 'allow' | 'deny'; organizationId?: string | undefined } = {},
): Promise<string> => {
  await db('permissions').insert({ name: permission }).onConflict('name').ignore();
  const { id: permissionId } = await db('permissions').where({ name: permission }).first('id');
  const [grant] = await db('permissionGrants')
    .insert({ ...subject, permissionId, effect, organizationId: organizationId ?? null })
    .returning('id');
  return grant.id;
};

/** Makes a role of its own with these permissions. */
export const makeRole = async (
  { database: { db } }: Server,
  permissions: readonly string[],
  { name = `role ${randomUUID()}`, rank = 5 }: { name?: string; rank?: number } = {},
): Promise<{ id: string; name: string; rank: number }> => {
  const [role] = await db('roles').insert({ name, rank, description: '' }).returning(['id', 'name', 'rank']);
  if (permissions.length) {
    await db('permissions')
      .insert(permissions.map((name) => ({ name })))
      .onConflict('name')
      .ignore();
    const rows = await db('permissions').whereIn('name', permissions).select('id');
    await db('rolePermissions').insert(rows.map(({ id }) => ({ roleId: role.id, permissionId: id })));
  }
  return role;
};

/** @returns the organization's id, and its name */
export const makeOrganization = async (
  server: Server,
  {
    name = `Organization ${randomUUID()}`,
    kind = 'organization',
    parentId,
    isActive = true,
    members = [],
    owners = [],
    managers = [],
  }: OrganizationInput = {},
): Promise<{ id: string; name: string }> => {
  const [{ id }] = await server.database
    .db('organizations')
    .insert({ name, kind, parentId: parentId ?? null, isActive })
    .returning('id');
  for (const userId of new Set([...members, ...managers])) await addMember(server, id, userId);
  for (const userId of owners) await addMember(server, id, userId, { isOwner: true });
  for (const userId of managers) await grantRole(server, { userId }, 'manager', { organizationId: id });
  return { id, name };
};

/** Makes a group or a team. @returns its id, and its name */
export const makeGroup = async (
  { database: { db } }: Server,
  {
    name = `Group ${randomUUID()}`,
    kind = 'group',
    parentId,
    organizationId,
    members = [],
  }: {
    name?: string;
    kind?: 'group' | 'team';
    parentId?: string | undefined;
    organizationId?: string | undefined;
    members?: readonly string[];
  } = {},
): Promise<{ id: string; name: string }> => {
  const [{ id }] = await db('groups')
    .insert({ name, kind, parentId: parentId ?? null, organizationId: organizationId ?? null })
    .returning('id');
  if (members.length) await db('groupMembers').insert(members.map((userId) => ({ groupId: id, userId })));
  return { id, name };
};

/** A family of organizations: the parent of A and its sibling, and the child of A; and B beside it likewise. */
export interface Family {
  parent: string;
  self: string;
  child: string;
  sibling: string;
}

/** @returns their ids */
export const makeFamily = async (server: Server, name: string): Promise<Family> => {
  const make = async (part: string, parentId?: string) =>
    (await makeOrganization(server, { name: `${part} ${name} ${randomUUID()}`, parentId })).id;
  const parent = await make('Parent of');
  const self = await make('Organization', parent);
  return { parent, self, child: await make('Child of', self), sibling: await make('Sibling of', parent) };
};
