/** Accounts over REST: one's own, those of one's organizations, and everybody's for those who look after them. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { idKeyOf, ListQuery, listOf, pageOf, timedKey, timedKeyOf } from '../http/lists.ts';
import { reachOf } from '../http/reach.ts';
import { type Route, route } from '../http/route.ts';
import { Id, RoleName, Time } from '../http/schemas.ts';
import {
  type AccountFilter,
  type AccountLists,
  findRolesHeld,
  listAccounts,
  orderOf,
} from './account-lists.queries.ts';
import { findAccount, type ListedAccount } from './users.queries.ts';

const Status = z.enum(['active', 'deactivated', 'closed']).meta({ example: 'active' });

export const User = z
  .object({
    id: Id,
    email: z.string().meta({ example: 'ada@example.com' }),
    emailVerified: z.boolean().meta({ example: true }),
    name: z.string().meta({ description: 'Empty for a closed account', example: 'Ada Lovelace' }),
    locale: z.string().nullable().meta({ example: 'en' }),
    status: Status,
    role: RoleName,
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'User' });

const AdministeredUser = User.extend({
  roles: z.array(z.string()).meta({ description: 'All roles, the highest first', example: ['user'] }),
  lastSignInAt: Time.nullable(),
}).meta({ id: 'AdministeredUser' });

const Search = ListQuery.extend({
  q: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .regex(/^\P{C}*$/u, 'must not contain control characters')
    .optional()
    .meta({ description: 'The beginning of an address or a name, in whatever case', example: 'ada' }),
  status: Status.optional().meta({ description: 'Without it all but closed accounts', example: 'active' }),
  role: RoleName.optional().meta({ description: 'The primary role', example: 'user' }),
  organizationId: Id.optional().meta({ description: 'Members of this organization, not of those beneath it' }),
  groupId: Id.optional().meta({ description: 'Members of this group or team, not of those beneath it' }),
});

const AdministratorSearch = Search.extend({
  emailVerified: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .meta({ example: 'true' }),
  createdFrom: Time.optional().meta({ description: 'Not before', example: '2026-01-01T00:00:00Z' }),
  createdTo: Time.optional().meta({ description: 'Before', example: '2027-01-01T00:00:00Z' }),
});

export const userParams = z.object({ id: Id });

/** For `within`: the account that the path names lies in the organizations that it belongs to. */
export const withinAccount = ({ id }: { id: string }) => ({ type: 'user' as const, id });

export const toUser = ({ createdAt, updatedAt, lastSignInAt, ...account }: ListedAccount) => ({
  ...account,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
  lastSignInAt: lastSignInAt?.toISOString() ?? null,
});

/** Who belongs to a group is for those to know who may see it. */
const groupReach = (caller: Caller) => reachOf(caller, 'groups:read:organization');

const search = async (
  { db }: { db: Db },
  { limit, cursor, ...filter }: AccountFilter & { limit: number; cursor?: string | undefined },
  lists: AccountLists,
) => {
  const order = orderOf(filter);
  const page = order === 'id' ? { order, after: idKeyOf(cursor) } : { order, after: timedKeyOf(cursor) };
  const rows = await listAccounts(db, filter, lists, { ...page, limit: limit + 1 });
  const { data, nextCursor } = pageOf(rows, limit, ({ id, madeAt }) => (madeAt ? timedKey({ at: madeAt, id }) : id));
  return { data: data.map(toUser), nextCursor };
};

export const userRoutes = (deps: { db: Db }): Route[] => [
  route({
    id: 'listUsers',
    method: 'get',
    path: '/users',
    tag: 'Users',
    summary: 'List accounts in the order in which they were made',
    description:
      'Whoever holds `users:read:organization` in an organization gets the members of that organization and of those beneath it, whether `organizationId` names one of them or not. An organization or group that is not the caller’s to see has no members here.',
    access: 'users:read:any',
    reach: true,
    query: Search,
    returns: listOf(User),
    status: 200,
    handle: ({ query, caller }) =>
      search(deps, query, { reach: reachOf(caller, 'users:read:any'), groups: groupReach(caller) }),
  }),
  route({
    id: 'getUser',
    method: 'get',
    path: '/users/:id',
    tag: 'Users',
    summary: 'See an account: one’s own, of one’s organization, or anybody’s',
    access: 'users:read:own',
    owner: ({ id }) => id,
    within: withinAccount,
    params: userParams,
    returns: User,
    status: 200,
    problems: { 404: ['user_not_found'] },
    handle: async ({ params }) => {
      const account = await findAccount(deps.db, params.id);
      if (!account) throw notFound('user');
      return toUser(account);
    },
  }),
  route({
    id: 'administerUsers',
    method: 'get',
    path: '/admin/users',
    tag: 'Administration',
    summary: 'Search accounts with their roles and last sign-in',
    access: 'users:administer:any',
    query: AdministratorSearch,
    returns: listOf(AdministeredUser),
    status: 200,
    handle: async ({ query, caller }) => {
      const lists = { reach: reachOf(caller, 'users:administer:any'), groups: groupReach(caller) };
      const { data, nextCursor } = await search(deps, query, lists);
      const roles = await findRolesHeld(
        deps.db,
        data.map(({ id }) => id),
      );
      return { data: data.map((account) => ({ ...account, roles: roles.get(account.id) ?? [] })), nextCursor };
    },
  }),
];
