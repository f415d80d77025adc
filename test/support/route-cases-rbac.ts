/** Rows for roles, permissions and grants; see `route-cases.ts`. */
import { v7 as uuid } from 'uuid';
import type { Attempt, RouteCase } from './route-cases.ts';
import type { World } from './route-world.ts';

const newName = () => `role ${uuid().slice(-12)}`;
const someRole = async ({ server }: World, rank = 0) => {
  const [{ id }] = await server.database.db('roles').insert({ name: newName(), rank }).returning('id');
  return { id };
};
/** Of letters alone, and as unlikely to come again as the uuid that it is made of. */
const ownName = () => {
  const letters = uuid().replace(/[\d-]/g, (one) => (one === '-' ? '' : 'ghijklmnop'.charAt(Number(one))));
  return `things${letters}:read:any`;
};
const somePermission = async ({ server }: World) => {
  const name = ownName();
  await server.database.db('permissions').insert({ name });
  return { name };
};

const columns = { User: 'userId', Group: 'groupId', ApiKey: 'apiKeyId' } as const;
type Noun = keyof typeof columns;

/** @param high it is, or belongs to, somebody whom no admin acts on */
const subject = async (world: World, noun: Noun, high = false): Promise<string> => {
  const { id: userId } = high ? world.superAdmin : await world.account();
  if (noun === 'User') return userId;
  if (noun === 'ApiKey') return world.apiKey(userId);
  const { db } = world.server.database;
  const [{ id }] = await db('groups').insert({ name: uuid() }).returning('id');
  await db('groupMembers').insert({ groupId: id, userId });
  return id;
};
const grantOf = async (world: World, noun: Noun, what: 'roles' | 'permissions', high = false): Promise<Attempt> => {
  const { db } = world.server.database;
  const id = await subject(world, noun, high);
  const [table, given] =
    what === 'roles'
      ? (['roleGrants', { roleId: db('roles').where({ name: 'user' }).select('id') }] as const)
      : ([
          'permissionGrants',
          { permissionId: db('permissions').where({ name: 'users:read:own' }).select('id') },
        ] as const);
  const [{ id: grantId }] = await db(table)
    .insert({ ...given, [columns[noun]]: id })
    .returning('id');
  return { params: { id, grantId } };
};

const casesOf = (noun: Noun): Record<string, RouteCase> => {
  const listing: RouteCase = {
    attempt: async (world) => ({ params: { id: await subject(world, noun) }, query: { limit: '1' } }),
  };
  const revoking = (what: 'roles' | 'permissions'): RouteCase => ({
    attempt: (world) => grantOf(world, noun, what),
    outranked: (world) => grantOf(world, noun, what, true),
  });
  return {
    [`listRolesOf${noun}`]: listing,
    [`listPermissionsOf${noun}`]: listing,
    [`grantRoleTo${noun}`]: {
      attempt: async (world) => ({
        params: { id: await subject(world, noun) },
        body: { role: 'user', expiresAt: '2100-01-01T00:00:00Z' },
      }),
      outranked: async (world) => ({ params: { id: await subject(world, noun) }, body: { role: 'super_admin' } }),
    },
    [`grantPermissionTo${noun}`]: {
      attempt: async (world) => ({
        params: { id: await subject(world, noun) },
        body: { permission: 'users:read:own', effect: 'allow' },
      }),
      outranked: async (world) => ({
        params: { id: await subject(world, noun, true) },
        body: { permission: 'users:read:any', effect: 'deny' },
      }),
    },
    [`revokeRoleOf${noun}`]: revoking('roles'),
    [`revokePermissionOf${noun}`]: revoking('permissions'),
  };
};

export const rbacCases: Record<string, RouteCase> = {
  listRoles: { attempt: () => ({ query: { limit: '2' } }) },
  getRole: { attempt: async (world) => ({ params: await someRole(world) }) },
  createRole: {
    attempt: () => ({ body: { name: newName(), permissions: ['users:read:own'], inherits: ['user'] } }),
    outranked: () => ({ body: { name: newName(), rank: 90, permissions: [] } }),
  },
  updateRole: {
    attempt: async (world) => ({ params: await someRole(world), body: { description: 'Reads', rank: 10 } }),
    outranked: async (world) => ({ params: await someRole(world, 90), body: { description: 'Reads' } }),
  },
  deleteRole: {
    attempt: async (world) => ({ params: await someRole(world) }),
    outranked: async (world) => ({ params: await someRole(world, 90) }),
  },
  listPermissions: { attempt: () => ({ query: { limit: '2', q: 'users:' } }) },
  describePermission: { attempt: () => ({ body: { name: ownName(), description: 'See every thing' } }) },
  deletePermission: { attempt: async (world) => ({ params: await somePermission(world) }) },
  getEffectiveAccess: {
    attempt: ({ user }) => ({ params: { id: user.id }, caller: user }),
    others: { status: 403, attempt: ({ stranger }) => ({ params: { id: stranger.id } }) },
  },
  ...casesOf('User'),
  ...casesOf('Group'),
  ...casesOf('ApiKey'),
};
