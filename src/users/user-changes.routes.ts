/** Changes to accounts over REST: one's own, those of one's organizations, and anybody's for those who look after accounts. */
import { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import type { NewAccount } from '../auth/invitations.commands.ts';
import { forbidden } from '../errors.ts';
import { assertSignedInHere, type Caller, may } from '../http/caller.ts';
import { type Route, route } from '../http/route.ts';
import { Email, Id, Locale, Password, PersonName, RoleName } from '../http/schemas.ts';
import { changeUser, deactivateUser, reactivateUser, type UserDeps } from './users.commands.ts';
import type { Account } from './users.queries.ts';
import { toUser, User, userParams, withinAccount } from './users.routes.ts';

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
    organizationId: Id.optional().meta({ description: 'The account begins as a member of this organization' }),
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

export interface UserChangeDeps extends UserDeps {
  createUser(actor: Actor, by: Caller, input: NewAccount): Promise<Account>;
  closeAccount(actor: Actor, by: Caller, input: { userId: string; password: string | undefined }): Promise<void>;
}

/** For what a request may hold or not: the route itself asks for less. @throws AppError 403 missing_permission */
const requirePermission = (caller: Caller, permission: string): void => {
  if (!may(caller, permission))
    throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
};

export const userChangeRoutes = (deps: UserChangeDeps): Route[] => [
  route({
    id: 'createUser',
    method: 'post',
    path: '/users',
    tag: 'Users',
    summary: 'Make an account for somebody',
    description:
      'Whoever may do this may know which addresses are taken. Without a password, and with `sendInvitation`, the person is mailed a link that sets one and verifies the address. Whoever holds `users:write:organization` in an organization makes accounts that begin as its members, with the role `user`: these people set their own password and verify their address themselves.',
    access: 'users:write:any',
    reach: true,
    body: CreateUser,
    returns: User,
    status: 201,
    problems: {
      403: ['rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['organization_not_found'],
      409: ['email_taken'],
      503: ['overloaded'],
    },
    handle: async ({ body, caller, actor }) => {
      if (body.role !== 'user') requirePermission(caller, 'roles:assign:any');
      // Who could say that an address is verified, and knows the password, would have the account of whoever it belongs to.
      if (body.emailVerified || body.password !== undefined) requirePermission(caller, 'users:write:any');
      const { sendInvitation = body.password === undefined, locale = null } = body;
      return toUser(await deps.createUser(actor, caller, { ...body, sendInvitation, locale }));
    },
  }),
  route({
    id: 'updateUser',
    method: 'patch',
    path: '/users/:id',
    tag: 'Users',
    summary: 'Change an account: one’s own, of one’s organization, or anybody’s',
    description:
      'Name and language; an organization’s administrators change those of accounts that belong to no other organization, and hold no more than they do. The address takes users:write:any, and all that the account may do. One that is new is not verified unless `emailVerified` says so; the old one is told by mail, and links and codes that were sent there work no more. One’s own address takes the token of a sign-in at this API or at another application of the service’s own.',
    access: 'users:write:own',
    owner: ({ id }) => id,
    within: withinAccount,
    params: userParams,
    body: ChangeUser,
    returns: User,
    status: 200,
    problems: {
      403: ['rank_too_low', 'exceeds_yours', 'session_needed'],
      404: ['user_not_found'],
      409: ['email_taken'],
    },
    handle: async ({ params, body, caller, actor }) => {
      if (body.email !== undefined || body.emailVerified !== undefined) {
        requirePermission(caller, 'users:write:any');
        // Whoever has the mailbox has the account: an organization must not be able to take that of somebody whom it has
        // invited, nor a key or an application its owner's.
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
      409: ['last_super_admin', 'last_owner', 'password_changed'],
      503: ['overloaded'],
    },
    handle: async ({ params, body, caller, actor }) => {
      if (caller.kind === 'user' && caller.id === params.id.toLowerCase()) assertSignedInHere(caller);
      await deps.closeAccount(actor, caller, { userId: params.id, password: body?.password });
    },
  }),
];
