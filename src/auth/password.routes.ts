/** REST of forgotten and changed passwords, on the same commands as the pages. */
import { z } from 'zod';
import { forbidden } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { type AccountDeps, requestMail } from './accounts.commands.ts';
import { ActionToken, Email, Password } from './credentials.ts';
import { changePassword, resetPassword } from './password.commands.ts';

const NewPassword = Password.meta({
  description: 'At least PASSWORD_MIN_LENGTH characters, and none that many people use',
  example: 'another horse battery staple',
});

export const passwordRoutes = (deps: AccountDeps): Route[] => [
  route({
    id: 'forgotPassword',
    method: 'post',
    path: '/auth/forgot-password',
    tag: 'Accounts',
    summary: 'Have a link mailed that sets a new password',
    description: 'The answer is the same for an address that has no account.',
    access: 'public',
    body: z.object({ email: Email }).meta({ id: 'ForgotPassword' }),
    returns: z.object({ sent: z.literal(true) }).meta({ id: 'Sent' }),
    status: 202,
    handle: async ({ body, actor }) => {
      await requestMail(deps, actor, 'password-reset', body.email);
      return { sent: true as const };
    },
  }),
  route({
    id: 'resetPassword',
    method: 'post',
    path: '/auth/reset-password',
    tag: 'Accounts',
    summary: 'Set a new password with the token from the mail',
    description: 'Ends every session of the account, and the tokens that they gave. The address counts as verified.',
    access: 'public',
    body: z.object({ token: ActionToken, password: NewPassword }).meta({ id: 'ResetPassword' }),
    status: 204,
    problems: { 400: ['invalid_token'] },
    handle: async ({ body, actor }) => {
      await resetPassword(deps, actor, body);
    },
  }),
  route({
    id: 'changePassword',
    method: 'post',
    path: '/auth/change-password',
    tag: 'Accounts',
    summary: 'Change one’s password',
    description:
      'Ends the other sessions of the account. It needs a token of a session: API keys and applications cannot change a password.',
    access: 'users:write:own',
    body: z.object({ currentPassword: Password, newPassword: NewPassword }).meta({ id: 'ChangePassword' }),
    status: 204,
    problems: { 403: ['session_needed'], 409: ['password_changed'] },
    handle: async ({ body, caller, actor }) => {
      if (caller.kind !== 'user' || !caller.sessionUid)
        throw forbidden('session_needed', 'This needs the token of somebody who is signed in');
      await changePassword(deps, actor, { ...body, userId: caller.id, sessionUid: caller.sessionUid });
    },
  }),
];
