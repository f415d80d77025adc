/** Commands about roles, permissions and grants; see `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { expect } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { restoreDefaults } from '../../src/roles/defaults.commands.ts';
import { grantPermission, grantRole, revokePermission, revokeRole } from '../../src/roles/grants.commands.ts';
import { operatorCaller as everything } from '../../src/roles/passing-on.ts';
import { deletePermission, describePermission } from '../../src/roles/permissions.commands.ts';
import { createRole, deleteRole, updateRole } from '../../src/roles/role-definitions.commands.ts';
import type { Arranged, World } from './audited-commands.ts';

const by = (action: string, target: [string, unknown], meta = {}) => ({
  action,
  actor: ['operator'] as [string],
  target,
  meta,
});
const newRole = () => ({
  name: `role ${uuid()}`,
  description: '',
  permissions: ['users:read:any'],
  inherits: ['user'],
});
const newPermission = () => {
  const letters = uuid().replace(/[\d-]/g, (one) => (one === '-' ? '' : 'ghijklmnop'.charAt(Number(one))));
  return { name: `things${letters}:read:any`, description: 'See things' };
};
const depsOf = ({ db }: World) => ({ db, requiredRank: 0, endSessions: () => Promise.resolve() });
const someGrant = async (world: World) => {
  const { id } = await world.registerVerified();
  const subject = { type: 'user' as const, id };
  const role = await grantRole(depsOf(world), operator, everything, subject, { role: 'moderator' });
  const denial = { permission: 'users:read:any', effect: 'deny' as const };
  const permission = await grantPermission(depsOf(world), operator, everything, subject, denial);
  return { subject, role, permission };
};

export const roleCommands: Record<string, (world: World) => Promise<Arranged>> = {
  createRole: async ({ db }) => {
    const input = newRole();
    const { name, permissions, inherits } = input;
    return {
      run: () => createRole(db, operator, everything, input),
      expected: ({ id }: { id: string }) => [
        by('role.create', ['role', id], { role: name, rank: 10, permissions, inherits }),
      ],
    };
  },
  updateRole: async ({ db }) => {
    const { id, name } = await createRole(db, operator, everything, newRole());
    const changes = { permissions: ['audit:read:any'], inherits: [], rank: 20 };
    return {
      run: () => updateRole(db, operator, everything, id, changes),
      expected: () => [by('role.update', ['role', id], { role: name, ...changes })],
    };
  },
  deleteRole: async ({ db }) => {
    const { id, name } = await createRole(db, operator, everything, newRole());
    return {
      run: () => deleteRole(db, operator, everything, name),
      expected: () => [by('role.delete', ['role', id], { role: name, grants: 0 })],
    };
  },
  describePermission: async ({ db }) => {
    const input = newPermission();
    return {
      run: () => describePermission(db, operator, input),
      expected: () => [by('permission.describe', ['permission', input.name])],
    };
  },
  deletePermission: async ({ db }) => {
    const { name } = await describePermission(db, operator, newPermission());
    return {
      run: () => deletePermission(db, operator, name),
      expected: () => [by('permission.delete', ['permission', name])],
    };
  },
  grantRole: async (world) => {
    const { id } = await world.registerVerified();
    const terms = { expiresAt: new Date(Date.now() + 60_000) };
    return {
      run: () => grantRole(depsOf(world), operator, everything, { type: 'user', id }, { role: 'moderator', ...terms }),
      expected: (grant: { id: string }) => [
        by('role.grant', ['user', id], {
          grant: grant.id,
          role: 'moderator',
          startsAt: expect.any(String),
          expiresAt: terms.expiresAt.toISOString(),
        }),
      ],
    };
  },
  revokeRole: async (world) => {
    const { subject, role } = await someGrant(world);
    return {
      run: () => revokeRole(world, operator, everything, subject, role.id),
      expected: () => [by('role.revoke', ['user', subject.id], { grant: role.id, role: 'moderator' })],
    };
  },
  grantPermission: async (world) => {
    const { id } = await world.registerVerified();
    const given = { permission: newPermission().name, effect: 'deny' as const };
    return {
      run: () => grantPermission(world, operator, everything, { type: 'user', id }, given),
      expected: (grant: { id: string }) => [
        by('permission.grant', ['user', id], {
          grant: grant.id,
          ...given,
          startsAt: expect.any(String),
          expiresAt: null,
        }),
      ],
    };
  },
  revokePermission: async (world) => {
    const { subject, permission } = await someGrant(world);
    const meta = { grant: permission.id, permission: 'users:read:any', effect: 'deny' };
    return {
      run: () => revokePermission(world, operator, everything, subject, permission.id),
      expected: () => [by('permission.revoke', ['user', subject.id], meta)],
    };
  },
  restoreDefaults: async ({ db }) => {
    await db('domains').where({ key: 'sales' }).delete();
    const made = { roles: [], permissions: [], teams: [], domains: ['sales'] };
    return {
      run: () => restoreDefaults(db, operator),
      expected: () => [{ action: 'defaults.restore', actor: ['operator'], meta: made }],
    };
  },
};
