/** Rows for the operations about groups, teams and business domains. See `route-cases.ts`. */
import { v7 as uuid } from 'uuid';
import { makeGroup, makeRole } from './organizations.ts';
import type { Attempt, RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';

type Kind = 'group' | 'team';

/** In an organization of somebody else's: a team of none would be open to all. */
const someGroup = async ({ server }: World, kind: Kind, members: readonly string[] = []) => {
  const [{ id: organizationId }] = await server.database.db('organizations').insert({ name: uuid() }).returning('id');
  if (members.length)
    await server.database.db('organizationMembers').insert(members.map((userId) => ({ organizationId, userId })));
  const { id } = await makeGroup(server, { kind, organizationId, members });
  return { id, organizationId };
};
/** One that has a role above every admin. */
const highGroup = async (world: World, kind: Kind, members: readonly string[] = []) => {
  const { id } = await makeGroup(world.server, { kind, members });
  const role = await makeRole(world.server, [], { rank: 95 });
  await world.server.database.db('roleGrants').insert({ groupId: id, roleId: role.id });
  return { id };
};

const casesOf = (kind: Kind): Record<string, RouteCase> => {
  const Name = kind === 'team' ? 'Team' : 'Group';
  const ofOthers = async (world: World): Promise<Attempt> => ({ params: { id: (await someGroup(world, kind)).id } });
  const joined = async (world: World) => {
    const { id: userId } = await world.account();
    return { userId, id: (await someGroup(world, kind, [userId])).id };
  };
  const seen: RouteCase = {
    attempt: async (world) => {
      const caller = await world.narrowed('user', 'groups:read:own');
      return { caller, params: { id: (await someGroup(world, kind, [caller.id])).id } };
    },
    others: { status: 404, attempt: ofOthers },
  };
  return {
    [`create${Name}`]: { attempt: () => ({ body: { name: 'Engineering', externalRef: 'jira:ENG' } }) },
    [`get${Name}`]: seen,
    [`update${Name}`]: {
      attempt: async (world) => ({ ...(await ofOthers(world)), body: { name: 'Research', isActive: false } }),
      outranked: async (world) => ({ params: await highGroup(world, kind), body: { isActive: false } }),
    },
    [`delete${Name}`]: {
      attempt: ofOthers,
      outranked: async (world) => ({ params: await highGroup(world, kind) }),
    },
    [`list${Name}Members`]: seen,
    [`add${Name}Member`]: {
      attempt: async (world) => {
        const { id: userId } = await world.account();
        const { id, organizationId } = await someGroup(world, kind);
        await world.server.database.db('organizationMembers').insert({ organizationId, userId });
        return { params: { id }, body: { userId } };
      },
      outranked: async (world) => ({
        params: { id: (await makeGroup(world.server, { kind })).id },
        body: { userId: world.superAdmin.id },
      }),
    },
    [`remove${Name}Member`]: {
      attempt: async (world) => ({ params: await joined(world) }),
      outranked: async (world) => {
        const userId = world.superAdmin.id;
        return { params: { id: (await makeGroup(world.server, { kind, members: [userId] })).id, userId } };
      },
    },
    [`listUser${Name}s`]: {
      attempt: async ({ narrowed }) => {
        const caller = await narrowed('user', 'groups:read:own');
        return { caller, params: { id: caller.id } };
      },
      others: { status: 403, attempt: ({ stranger }) => ({ params: { id: stranger.id } }) },
    },
  };
};

const someDomain = async ({ server }: World, members: readonly string[] = []) => {
  const [{ id }] = await server.database
    .db('domains')
    .insert({ key: `d-${uuid()}`, name: 'Marketing' })
    .returning('id');
  if (members.length)
    await server.database.db('domainMembers').insert(members.map((userId) => ({ domainId: id, userId })));
  return { id };
};

const domains: Record<string, RouteCase> = {
  listDomains: { attempt: () => ({ query: { limit: '1' } }) },
  listAllDomains: { attempt: () => ({ query: { limit: '1', isActive: 'true' } }) },
  getDomain: { attempt: () => ({ params: { id: 'marketing' } }) },
  createDomain: { attempt: () => ({ body: { key: `d-${uuid()}`, name: 'Marketing' } }) },
  updateDomain: {
    attempt: async (world) => ({ params: await someDomain(world), body: { name: 'Sales', isActive: false } }),
  },
  deleteDomain: { attempt: async (world) => ({ params: await someDomain(world) }) },
  listDomainUsers: { attempt: async (world) => ({ params: await someDomain(world, [world.stranger.id]) }) },
  addDomainUser: {
    attempt: async (world) => ({ params: await someDomain(world), body: { userId: (await world.account()).id } }),
    outranked: async (world) => ({ params: await someDomain(world), body: { userId: world.superAdmin.id } }),
  },
  removeDomainUser: {
    attempt: async (world) => {
      const { id: userId } = await world.account();
      return { params: { ...(await someDomain(world, [userId])), userId } };
    },
    outranked: async (world) => ({ params: { ...(await someDomain(world)), userId: world.superAdmin.id } }),
  },
  listUserDomains: {
    attempt: async ({ narrowed }) => {
      const caller = await narrowed('user', 'domains:read:own');
      return { caller, params: { id: caller.id } };
    },
    others: { status: 403, attempt: ({ stranger }) => ({ params: { id: stranger.id } }) },
  },
  assignDomains: {
    attempt: async ({ account }) => ({
      params: { id: (await account()).id },
      body: { domains: ['marketing', 'sales'] },
    }),
    outranked: ({ superAdmin }) => ({ params: { id: superAdmin.id }, body: { domains: [] } }),
  },
};

export const groupCases: Record<string, RouteCase> = {
  listGroups: { attempt: () => ({ query: { limit: '1', kind: 'team', isActive: 'true' } }) },
  listTeams: { attempt: () => ({ query: { limit: '1', q: 'eng' } }) },
  listAllTeams: { attempt: () => ({ query: { limit: '1', isActive: 'false' } }) },
  ...casesOf('group'),
  ...casesOf('team'),
  ...domains,
};
