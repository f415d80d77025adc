/** What is done to groups and business domains, and to who is in them. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { expect } from 'vitest';
import type { Actor } from '../../src/audit/logs.commands.ts';
import * as domains from '../../src/domains/domains.commands.ts';
import { createGroupDeps } from '../../src/groupings.ts';
import * as groups from '../../src/groups/groups.commands.ts';
import * as members from '../../src/groups/members.commands.ts';
import { operatorCaller } from '../../src/roles/passing-on.ts';
import type { Arranged, World } from './audited-commands.ts';
import { grantRole, makeGroup, makeOrganization } from './organizations.ts';

const actor: Actor = { type: 'operator' };
const on = (type: string, action: string, id: string, meta: object = {}) => ({
  action,
  actor: ['operator'] as [string],
  target: [type, id] as [string, string],
  meta,
});
const fields = { name: 'Acme', description: '', externalRef: null, isActive: true } as const;

const depsOf = ({ server }: World) => createGroupDeps(server.app.accounts, async () => {});

/** A group of an organization, beneath another that has a role, with somebody in it and somebody who is not. */
const scene = async ({ server, registerVerified }: World) => {
  const [inside, outside] = [(await registerVerified()).id, (await registerVerified()).id];
  const { id: organizationId } = await makeOrganization(server, { members: [inside, outside] });
  const { id: parentId } = await makeGroup(server, { organizationId });
  await grantRole(server, { groupId: parentId }, 'moderator');
  const { id } = await makeGroup(server, { organizationId, parentId, members: [inside] });
  return { organizationId, parentId, id, inside, outside };
};

const someDomain = async ({ db }: World, userIds: readonly string[] = []) => {
  const key = `d-${uuid()}`;
  const [{ id }] = await db('domains').insert({ key, name: 'Marketing' }).returning('id');
  if (userIds.length) await db('domainMembers').insert(userIds.map((userId) => ({ domainId: id, userId })));
  return { id, key };
};

export const groupCommands: Record<string, (world: World) => Promise<Arranged>> = {
  createGroup: async (world) => {
    const { organizationId, parentId } = await scene(world);
    return {
      run: () => groups.createGroup(depsOf(world), actor, operatorCaller, { ...fields, kind: 'team', parentId }),
      expected: ({ id }: { id: string }) => [
        on('group', 'group.create', id, { kind: 'team', parentId, organizationId }),
      ],
    };
  },
  updateGroup: async (world) => {
    const { id } = await scene(world);
    const changes = { name: 'Research', parentId: null, isActive: false };
    return {
      run: () => groups.updateGroup(depsOf(world), actor, operatorCaller, { id, kind: undefined }, changes),
      expected: () => [
        on('group', 'group.update', id, { members: Object.keys(changes), parentId: null, isActive: false }),
      ],
    };
  },
  deleteGroup: async (world) => {
    const { id } = await scene(world);
    return {
      run: () => groups.deleteGroup(depsOf(world), actor, operatorCaller, { id, kind: undefined }),
      expected: () => [on('group', 'group.delete', id)],
    };
  },
  addGroupMember: async (world) => {
    const { id: groupId, outside: userId } = await scene(world);
    return {
      run: () => members.addGroupMember(depsOf(world), actor, operatorCaller, { groupId, kind: undefined, userId }),
      expected: () => [on('user', 'group.add_member', userId, { groupId })],
    };
  },
  removeGroupMember: async (world) => {
    const { id: groupId, inside: userId } = await scene(world);
    return {
      run: () => members.removeGroupMember(depsOf(world), actor, operatorCaller, { groupId, kind: undefined, userId }),
      expected: () => [on('user', 'group.remove_member', userId, { groupId })],
    };
  },
  createDomain: async ({ db }) => {
    const key = `d-${uuid()}`;
    const domain = { key, name: 'Acme', description: '', parentId: null, isActive: true };
    return {
      run: () => domains.createDomain(db, actor, domain),
      expected: ({ id }: { id: string }) => [on('domain', 'domain.create', id, { key })],
    };
  },
  updateDomain: async (world) => {
    const [{ id, key }, { id: parentId }] = [await someDomain(world), await someDomain(world)];
    return {
      run: () => domains.updateDomain(world.db, actor, id, { name: 'Sales', parentId }),
      expected: () => [on('domain', 'domain.update', id, { key, members: ['name', 'parentId'] })],
    };
  },
  deleteDomain: async (world) => {
    const { id, key } = await someDomain(world);
    return {
      run: () => domains.deleteDomain(world.db, actor, key),
      expected: () => [on('domain', 'domain.delete', id, { key })],
    };
  },
  addDomainMember: async (world) => {
    const [{ key }, { id: userId }] = [await someDomain(world), await world.registerVerified()];
    return {
      run: () => domains.addDomainMember(world.db, actor, operatorCaller, { reference: key, userId }),
      expected: () => [on('user', 'domain.add_member', userId, { domain: key })],
    };
  },
  removeDomainMember: async (world) => {
    const { id: userId } = await world.registerVerified();
    const { key } = await someDomain(world, [userId]);
    return {
      run: () => domains.removeDomainMember(world.db, actor, operatorCaller, { reference: key, userId }),
      expected: () => [on('user', 'domain.remove_member', userId, { domain: key })],
    };
  },
  assignDomains: async (world) => {
    const { id: userId } = await world.registerVerified();
    await someDomain(world, [userId]);
    return {
      run: () => domains.assignDomains(world.db, actor, operatorCaller, { userId, references: ['sales', 'design'] }),
      expected: () => [
        on('user', 'user.assign_domains', userId, { domains: expect.arrayContaining(['design', 'sales']) }),
      ],
    };
  },
};
