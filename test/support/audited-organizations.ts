/** What is done to organizations, and to who belongs to them. See `audited-commands.ts`. */
import type { Actor } from '../../src/audit/logs.commands.ts';
import { createMemberDeps } from '../../src/organization-parts.ts';
import * as members from '../../src/organizations/members.commands.ts';
import * as organizations from '../../src/organizations/organizations.commands.ts';
import { operatorCaller } from '../../src/roles/passing-on.ts';
import type { Arranged, World } from './audited-commands.ts';
import { makeGroup, makeOrganization, makeRole } from './organizations.ts';

const actor: Actor = { type: 'operator' };
const onOrganization = (action: string, id: string, meta: object) => ({
  action,
  actor: ['operator'] as [string],
  target: ['organization', id] as [string, string],
  meta,
});
const onPerson = (action: string, id: string, meta: object) => ({
  action,
  actor: ['operator'] as [string],
  target: ['user', id] as [string, string],
  meta,
});

const person = (id: string): Actor => ({ type: 'user', id, address: '192.0.2.1', requestId: 'request-1' });
const fields = { name: 'Acme', description: '', kind: 'company', parentId: null, isActive: true } as const;
const rules = { requireMfa: false, signInMethods: null };

/** An organization with two owners, and one who is none. */
const peopled = async ({ server, registerVerified }: World) => {
  const [owner, other, member] = [await registerVerified(), await registerVerified(), await registerVerified()];
  const { id } = await makeOrganization(server, { owners: [owner.id, other.id], managers: [member.id] });
  await makeGroup(server, { organizationId: id, members: [member.id] });
  return { organizationId: id, owner: owner.id, member: member.id };
};

export const organizationCommands: Record<string, (world: World) => Promise<Arranged>> = {
  createOrganization: async ({ db }) => ({
    run: () => organizations.createOrganization(db, actor, operatorCaller, { ...fields, ...rules }),
    expected: ({ id }: { id: string }) => [onOrganization('organization.create', id, { kind: 'company' })],
  }),
  changeOrganization: async ({ server, db }) => {
    const [{ id }, { id: parentId }] = [await makeOrganization(server), await makeOrganization(server)];
    return {
      run: () =>
        organizations.changeOrganization(db, actor, operatorCaller, { id }, { name: 'Acme', parentId, isActive: true }),
      expected: () => [
        onOrganization('organization.update', id, { members: ['name', 'parentId'], from: null, to: parentId }),
      ],
    };
  },
  removeOrganization: async (world) => {
    const { organizationId: id } = await peopled(world);
    return {
      run: () => organizations.removeOrganization(world.db, actor, operatorCaller, { id, force: true }),
      expected: () => [onOrganization('organization.delete', id, { members: 3, groups: 1 })],
    };
  },
  addMember: async ({ server, db, registerVerified }) => {
    const [{ id: userId }, { id: organizationId }] = [await registerVerified(), await makeOrganization(server)];
    const role = await makeRole(server, ['users:read:organization']);
    return {
      run: () =>
        members.addMember(createMemberDeps(db), actor, operatorCaller, {
          ...{ userId, organizationId, isOwner: false, roles: [role.name] },
        }),
      expected: () => [
        onPerson('organization.add_member', userId, { organizationId, isOwner: false, roles: [role.name] }),
      ],
    };
  },
  'setOwner, of somebody who is to be one': async (world) => {
    const { organizationId, member: userId } = await peopled(world);
    return {
      run: () => members.setOwner(createMemberDeps(world.db), actor, operatorCaller, { organizationId, userId }, true),
      expected: () => [onPerson('organization.add_owner', userId, { organizationId })],
    };
  },
  'setOwner, of somebody who is to be one no longer': async (world) => {
    const { organizationId, owner: userId } = await peopled(world);
    return {
      run: () => members.setOwner(createMemberDeps(world.db), actor, operatorCaller, { organizationId, userId }, false),
      expected: () => [onPerson('organization.remove_owner', userId, { organizationId })],
    };
  },
  removeMember: async (world) => {
    const { organizationId, member: userId } = await peopled(world);
    return {
      run: () => members.removeMember(createMemberDeps(world.db), actor, operatorCaller, { organizationId, userId }),
      expected: () => [onPerson('organization.remove_member', userId, { organizationId })],
    };
  },
  leaveOrganization: async (world) => {
    const { organizationId, member: userId } = await peopled(world);
    return {
      run: () => members.leaveOrganization(world.db, person(userId), { organizationId, userId }),
      expected: () => [
        {
          action: 'organization.leave',
          actor: ['user', userId],
          target: ['user', userId],
          meta: { organizationId },
        },
      ],
    };
  },
  setCompany: async ({ server, db, registerVerified }) => {
    const { id: userId } = await registerVerified();
    const { id: from } = await makeOrganization(server, { kind: 'company', members: [userId] });
    const { id: companyId } = await makeOrganization(server, { kind: 'company' });
    return {
      run: () => members.setCompany(createMemberDeps(db), actor, operatorCaller, { userId, companyId }),
      expected: () => [
        onPerson('organization.remove_member', userId, { organizationId: from }),
        onPerson('organization.add_member', userId, { organizationId: companyId, isOwner: false, roles: [] }),
      ],
    };
  },
};
