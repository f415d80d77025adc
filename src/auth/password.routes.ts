/** REST of forgotten and changed passwords, on the same commands as the pages. */
import { z } from 'zod';
import { assertSignedInHere } from '../http/caller.ts';
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
    description:
      'Ends every session of the account, and the tokens that they gave, and revokes its API keys. The address counts as verified, and a phone number no longer does.',
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
      'Ends the other sessions of the account, and leaves its API keys: revoke what is not needed. It takes the token of a sign-in at this API or at another application of the service’s own: no API key and nobody else’s application can change a password.',
    access: 'users:write:own',
    body: z.object({ currentPassword: Password, newPassword: NewPassword }).meta({ id: 'ChangePassword' }),
    status: 204,
    problems: { 403: ['session_needed'], 409: ['password_changed'] },
    handle: async ({ body, caller, actor }) => {
      assertSignedInHere(caller);
      await changePassword(deps, actor, { ...body, userId: caller.id, sessionUid: caller.sessionUid });
    },
  }),
];
