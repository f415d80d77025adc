/** Rows for the operations about organizations and companies, their people and their owners. See `route-cases.ts`. */
import { v7 as uuid } from 'uuid';
import { makeOrganization, type OrganizationInput } from './organizations.ts';
import type { Attempt, RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';

/** What owners hold, which is given by making somebody one. */
const whatOwnersHold = [
  ...['users:read:any', 'users:write:any', 'roles:read:any', 'roles:assign:any'],
  ...['organizations:read:any', 'groups:read:any', 'groups:write:any'],
];

const casesOf = (kind: 'organization' | 'company'): Record<string, RouteCase> => {
  const [One, Many, Person] =
    kind === 'company' ? ['Company', 'Companies', 'User'] : ['Organization', 'Organizations', 'Member'];
  const make = async ({ server }: World, more: OrganizationInput = {}) =>
    (await makeOrganization(server, { kind, ...more })).id;
  const some = async (world: World): Promise<Attempt> => ({ params: { id: await make(world) } });
  /** With two owners and somebody who is none. */
  const peopled = async (world: World) => {
    const [owner, other, member] = [await world.account(), await world.account(), await world.account()];
    const id = await make(world, { owners: [owner.id, other.id], members: [member.id] });
    return { id, owner: owner.id, member: member.id };
  };
  /** Somebody who ranks higher is one of its people. */
  const withSuperAdmin = async (world: World, owner = false) => {
    const { id: userId } = world.superAdmin;
    const other = await world.account();
    const id = await make(world, { owners: [other.id, ...(owner ? [userId] : [])], members: owner ? [] : [userId] });
    return { id, userId };
  };
  const seen: RouteCase = {
    attempt: async (world) => {
      const caller = await world.narrowed('user', 'organizations:read:own');
      return { caller, params: { id: await make(world, { members: [caller.id] }) } };
    },
    others: { status: 404, attempt: some },
  };
  const fields = {
    name: 'Acme',
    description: 'Makes everything',
    settings: { requireMfa: false, signInMethods: null },
  };
  return {
    [`list${Many}`]: { attempt: () => ({ query: { limit: '3', isActive: 'true', q: 'a' } }) },
    [`get${One}`]: seen,
    [`create${One}`]: { attempt: async (world) => ({ body: { ...fields, parentId: await make(world) } }) },
    [`change${One}`]: { attempt: async (world) => ({ ...(await some(world)), body: { ...fields, isActive: false } }) },
    [`delete${One}`]: { attempt: async (world) => ({ ...(await some(world)), query: { force: 'true' } }) },
    [`list${One}${Person}s`]: {
      attempt: async (world) => ({ params: { id: (await peopled(world)).id }, query: { isOwner: 'true' } }),
    },
    [`add${One}${Person}`]: {
      needs: ['users:write:any'],
      attempt: async (world) => ({ ...(await some(world)), body: { userId: (await world.account()).id } }),
      outranked: async (world) => ({ ...(await some(world)), body: { userId: world.superAdmin.id } }),
    },
    [`change${One}${Person}`]: {
      needs: whatOwnersHold,
      attempt: async (world) => {
        const { id, member } = await peopled(world);
        return { params: { id, userId: member }, body: { isOwner: true } };
      },
      outranked: async (world) => ({ params: await withSuperAdmin(world), body: { isOwner: true } }),
    },
    [`remove${One}${Person}`]: {
      attempt: async (world) => {
        const { id, member } = await peopled(world);
        return { params: { id, userId: member } };
      },
      outranked: async (world) => ({ params: await withSuperAdmin(world) }),
    },
    [`leave${One}`]: {
      attempt: async (world) => {
        const caller = await world.narrowed('user', 'organizations:leave:own');
        return { caller, params: { id: await make(world, { members: [caller.id] }) } };
      },
      others: { status: 404, attempt: some },
    },
    [`list${One}Owners`]: seen,
    [`add${One}Owner`]: {
      needs: whatOwnersHold,
      attempt: async (world) => {
        const { id, member } = await peopled(world);
        return { params: { id }, body: { userId: member } };
      },
      outranked: async (world) => {
        const { id, userId } = await withSuperAdmin(world);
        return { params: { id }, body: { userId } };
      },
    },
    [`remove${One}Owner`]: {
      needs: ['roles:assign:any'],
      attempt: async (world) => {
        const { id, owner } = await peopled(world);
        return { params: { id, userId: owner } };
      },
      outranked: async (world) => ({ params: await withSuperAdmin(world, true) }),
    },
  };
};

export const organizationCases: Record<string, RouteCase> = {
  ...casesOf('organization'),
  ...casesOf('company'),
  replaceCompany: {
    attempt: async ({ server }) => ({
      params: { id: (await makeOrganization(server, { kind: 'company' })).id },
      body: { name: `Acme ${uuid()}`, description: 'Makes everything' },
    }),
  },
  setUserCompany: {
    needs: ['organizations:write:any'],
    attempt: async ({ server, account }) => ({
      params: { id: (await account()).id },
      body: { companyId: (await makeOrganization(server, { kind: 'company' })).id },
    }),
    outranked: async ({ server, superAdmin: { id } }) => ({
      params: { id },
      body: { companyId: (await makeOrganization(server, { kind: 'company' })).id },
    }),
  },
};
