/** What is done to policies. See `audited-commands.ts`. */
import { v7 as uuid } from 'uuid';
import { operator } from '../../src/audit/logs.commands.ts';
import * as policies from '../../src/policies/policies.commands.ts';
import { operatorCaller } from '../../src/roles/passing-on.ts';
import type { Arranged, World } from './audited-commands.ts';

const on = (action: string, id: string, meta: object = {}) => ({
  action,
  actor: ['operator'] as [string],
  target: ['policy', id] as [string, string],
  meta,
});
const rule = { effect: 'deny' as const, resources: ['documents'], actions: ['write'], condition: true };
const input = () => ({ name: `p-${uuid()}`, description: '', ...rule });

/** A policy of one version, in force. */
const active = async ({ db }: World): Promise<string> => {
  const { id } = await policies.createPolicy(db, operator, operatorCaller, input());
  await policies.activatePolicy(db, operator, operatorCaller, { id, version: 1 });
  return id;
};

export const policyCommands: Record<string, (world: World) => Promise<Arranged>> = {
  createAccessPolicy: ({ db }) =>
    Promise.resolve({
      run: () => policies.createPolicy(db, operator, operatorCaller, input()),
      expected: ({ id }: { id: string }) => [on('policy.create', id)],
    }),
  addPolicyVersion: async (world) => {
    const id = await active(world);
    return {
      run: () => policies.addPolicyVersion(world.db, operator, operatorCaller, { id, description: 'New', ...rule }),
      expected: () => [on('policy.add_version', id, { version: 2 })],
    };
  },
  activatePolicy: async (world) => {
    const id = await active(world);
    await policies.addPolicyVersion(world.db, operator, operatorCaller, { id, ...rule, effect: 'allow' });
    return {
      run: () => policies.activatePolicy(world.db, operator, operatorCaller, { id, version: 2 }),
      expected: () => [on('policy.activate', id, { version: 2, before: 1, effect: 'allow' })],
    };
  },
  deactivatePolicy: async (world) => {
    const id = await active(world);
    return {
      run: () => policies.deactivatePolicy(world.db, operator, undefined, { id }),
      expected: () => [on('policy.deactivate', id, { version: 1 })],
    };
  },
  deleteAccessPolicy: async (world) => {
    const id = await active(world);
    return {
      run: () => policies.deletePolicy(world.db, operator, operatorCaller, id),
      expected: () => [on('policy.delete', id, { version: 1 })],
    };
  },
};
