/** Rows for policies and for questions about what somebody may do; see `route-cases.ts`. */
import { v7 as uuid } from 'uuid';
import type { RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';

const rule = { effect: 'deny', resources: ['documents'], actions: ['write'], condition: { '==': [1, 1] } };

/** A policy about what nothing else is about. */
const somePolicy = async ({ superAdmin }: World): Promise<{ id: string }> => {
  const { status, json, text } = await superAdmin.request('post', '/policies', { name: `p-${uuid()}`, ...rule });
  if (status !== 201) throw new Error(text);
  return { id: json.id };
};

export const policyCases: Record<string, RouteCase> = {
  listPolicies: { attempt: () => ({ query: { limit: '2', active: 'false' } }) },
  listPolicyTemplates: { attempt: () => ({}) },
  getPolicy: { attempt: async (world) => ({ params: await somePolicy(world) }) },
  createPolicy: { attempt: () => ({ body: { name: `p-${uuid()}`, description: 'For documents', ...rule } }) },
  createPolicyVersion: {
    attempt: async (world) => ({ params: await somePolicy(world), body: { description: 'For documents', ...rule } }),
  },
  activatePolicy: { attempt: async (world) => ({ params: await somePolicy(world), body: { version: 1 } }) },
  deactivatePolicy: { attempt: async (world) => ({ params: await somePolicy(world) }) },
  deletePolicy: { attempt: async (world) => ({ params: await somePolicy(world) }) },
  dryRunPolicy: {
    attempt: async (world) => ({
      params: await somePolicy(world),
      body: {
        version: 1,
        requests: [{ subject: world.user.id, action: 'write', resource: 'documents' }],
        recorded: 10,
      },
    }),
  },
  checkAuthorization: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'authz:check:own');
      return { caller, body: { checks: [{ subject: caller.id, action: 'authz:check:own' }] } };
    },
    others: {
      status: 403,
      attempt: ({ stranger: { id } }) => ({ body: { checks: [{ subject: id, action: 'users:read:own' }] } }),
    },
  },
  authzenEvaluation: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'authz:check:own');
      const body = {
        subject: { type: 'user', id: caller.id },
        action: { name: 'read' },
        resource: { type: 'documents', id: '1' },
        context: { address: '192.0.2.1' },
      };
      return { caller, body };
    },
    others: {
      status: 403,
      attempt: ({ stranger: { id } }) => ({
        body: { subject: { type: 'user', id }, action: { name: 'read' }, resource: { type: 'documents', id: '1' } },
      }),
    },
  },
  authzenEvaluations: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'authz:check:own');
      const body = {
        subject: { type: 'user', id: caller.id },
        action: { name: 'read' },
        evaluations: [{ resource: { type: 'documents', id: '1' } }],
        options: { evaluations_semantic: 'execute_all' },
      };
      return { caller, body };
    },
    others: {
      status: 403,
      attempt: ({ stranger: { id } }) => ({
        body: {
          subject: { type: 'user', id },
          action: { name: 'read' },
          evaluations: [{ resource: { type: 'documents', id: '1' } }],
        },
      }),
    },
  },
};
