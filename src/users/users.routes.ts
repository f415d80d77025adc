/** Accounts over REST: one's own, and everybody's for those who look after them. */
import { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import type { NewAccount } from '../auth/invitations.commands.ts';
import { forbidden, notFound } from '../errors.ts';
import { assertPassesOn, assertSignedInHere, type Caller, may } from '../http/caller.ts';
import { idKeyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Email, Id, Locale, PersonName, RoleName, Time } from '../http/schemas.ts';
import { changeUser, deactivateUser, reactivateUser, type UserDeps } from './users.commands.ts';
import { type Account, type AccountFilter, findAccount, listAccounts } from './users.queries.ts';

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

/** Only its size is judged here; whether it is good enough is for the password rules. */
const Password = z.string().min(1).max(1024).meta({ example: 'correct horse battery staple' });

const CreateUser = z
  .object({
    email: Email,
    name: PersonName,
    role: RoleName.default('user').meta({ description: 'Another than `user` needs roles:assign:any', example: 'user' }),
    password: Password.optional().meta({
      description: 'Without one the account has none until its owner sets it',
      example: 'correct horse battery staple',
    }),
    emailVerified: z.boolean().default(false).meta({ example: false }),
    sendInvitation: z.boolean().optional().meta({
      description: 'Mails a link that sets a password; by default to whom none was given',
      example: true,
    }),
    locale: Locale.optional(),
  })
  .meta({ id: 'CreateUser' });

const ChangeUser = z
  .object({
    name: PersonName.optional(),
    locale: Locale.nullable().optional(),
    email: Email.optional().meta({ description: 'Needs users:write:any', example: 'ada@example.com' }),
    emailVerified: z.boolean().optional().meta({ description: 'Needs users:write:any', example: true }),
  })
  .meta({ id: 'ChangeUser' });

const CloseUser = z
  .object({
    password: Password.optional().meta({
      description: 'Of one’s own account, when that is the one to close',
      example: 'correct horse battery staple',
    }),
  })
  .meta({ id: 'CloseUser' });

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
  role: RoleName.optional(),
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

export const toUser = ({ createdAt, updatedAt, lastSignInAt, ...account }: Account) => ({
  ...account,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
  lastSignInAt: lastSignInAt?.toISOString() ?? null,
});

export interface UserRouteDeps extends UserDeps {
  /** What a role permits. */
  permissionsOf(role: string): Promise<string[]>;
  createUser(actor: Actor, by: Caller, input: NewAccount): Promise<Account>;
  closeAccount(actor: Actor, by: Caller, input: { userId: string; password: string | undefined }): Promise<void>;
}

/** For what a request may hold or not: the route itself asks for less. @throws AppError 403 missing_permission */
const requirePermission = (caller: Caller, permission: string): void => {
  if (!may(caller, permission))
    throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

const search = async (
  { db }: UserDeps,
  { limit, cursor, ...filter }: AccountFilter & { limit: number; cursor?: string | undefined },
) => {
  const rows = await listAccounts(db, filter, { limit: limit + 1, after: idKeyOf(cursor) });
  return pageOf(rows.map(toUser), limit, ({ id }) => id);
};

const reading = (deps: UserRouteDeps): Route[] => [
  route({
    id: 'listUsers',
    method: 'get',
    path: '/users',
    tag: 'Users',
    summary: 'List accounts in the order in which they were made',
    access: 'users:read:any',
    query: Search,
    returns: listOf(User),
    status: 200,
    handle: ({ query }) => search(deps, query),
  }),
  route({
    id: 'getUser',
    method: 'get',
    path: '/users/:id',
    tag: 'Users',
    summary: 'See an account: one’s own, or any with users:read:any',
    access: 'users:read:own',
    owner: ({ id }) => id,
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
    handle: ({ query }) => search(deps, query),
  }),
];

const writing = (deps: UserRouteDeps): Route[] => [
  route({
    id: 'createUser',
    method: 'post',
    path: '/users',
    tag: 'Users',
    summary: 'Make an account for somebody',
    description:
      'Whoever may do this may know which addresses are taken. Without a password, and with `sendInvitation`, the person is mailed a link that sets one and verifies the address.',
    access: 'users:write:any',
    body: CreateUser,
    returns: User,
    status: 201,
    problems: { 403: ['rank_too_low'], 409: ['email_taken'], 503: ['overloaded'] },
    handle: async ({ body, caller, actor }) => {
      if (body.role !== 'user') requirePermission(caller, 'roles:assign:any');
      const { sendInvitation = body.password === undefined, locale = null } = body;
      assertPassesOn(caller, await deps.permissionsOf(body.role ?? 'user'));
      return toUser(await deps.createUser(actor, caller, { ...body, sendInvitation, locale }));
    },
  }),
  route({
    id: 'updateUser',
    method: 'patch',
    path: '/users/:id',
    tag: 'Users',
    summary: 'Change an account: one’s own name and language, or anybody’s with users:write:any',
    description:
      'An address that is new is not verified unless `emailVerified` says so; the old one is told by mail, and links and codes that were sent there work no more. One’s own address takes the token of a sign-in at this API or at another application of the service’s own.',
    access: 'users:write:own',
    owner: ({ id }) => id,
    params: userParams,
    body: ChangeUser,
    returns: User,
    status: 200,
    problems: { 403: ['rank_too_low', 'session_needed'], 404: ['user_not_found'], 409: ['email_taken'] },
    handle: async ({ params, body, caller, actor }) => {
      if (body.email !== undefined || body.emailVerified !== undefined) {
        requirePermission(caller, 'users:write:any');
        // Whoever has the mailbox has the account: a key or an application must not be enough to take its owner's.
        if (caller.kind === 'user' && caller.id === params.id.toLowerCase()) assertSignedInHere(caller);
      }
      return toUser(await changeUser(deps, actor, caller, params.id, body));
    },
  }),
  route({
    id: 'deactivateUser',
    method: 'post',
    path: '/users/:id/deactivate',
    tag: 'Users',
    summary: 'Shut an account: its sessions end and its tokens and API keys stop working at once',
    access: 'users:deactivate:any',
    params: userParams,
    returns: User,
    status: 200,
    problems: { 403: ['rank_too_low'], 404: ['user_not_found'], 409: ['own_account', 'last_super_admin'] },
    handle: async ({ params, caller, actor }) => toUser(await deactivateUser(deps, actor, caller, params.id)),
  }),
  route({
    id: 'reactivateUser',
    method: 'post',
    path: '/users/:id/reactivate',
    tag: 'Users',
    summary: 'Open a deactivated account again: its API keys work again, tokens from before stay dead',
    access: 'users:deactivate:any',
    params: userParams,
    returns: User,
    status: 200,
    problems: { 403: ['rank_too_low'], 404: ['user_not_found'] },
    handle: async ({ params, caller, actor }) => toUser(await reactivateUser(deps, actor, caller, params.id)),
  }),
  route({
    id: 'closeUser',
    method: 'delete',
    path: '/users/:id',
    tag: 'Users',
    summary: 'Close an account for good',
    description:
      'Everything that it was signed in to ends; its name, address and personal data are gone, and the address is free again. What the audit log says of it stays. Whoever closes their own account gives its password: a token alone is not enough.',
    access: 'users:close:own',
    owner: ({ id }) => id,
    params: userParams,
    body: CloseUser.optional(),
    status: 204,
    problems: {
      403: ['rank_too_low', 'session_needed'],
      404: ['user_not_found'],
      409: ['last_super_admin', 'password_changed'],
      503: ['overloaded'],
    },
    handle: async ({ params, body, caller, actor }) => {
      if (caller.kind === 'user' && caller.id === params.id.toLowerCase()) assertSignedInHere(caller);
      await deps.closeAccount(actor, caller, { userId: params.id, password: body?.password });
    },
  }),
];

export const userRoutes = (deps: UserRouteDeps): Route[] => [...reading(deps), ...writing(deps)];
