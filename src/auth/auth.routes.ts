/** REST of registration and verification, on the same commands as the pages. */
import { z } from 'zod';
import { invalid } from '../errors.ts';
import { type Caller, may } from '../http/caller.ts';
import { type Route, route } from '../http/route.ts';
import { assertHolds } from '../roles/passing-on.ts';
import { findRole, findRolePermissions } from '../roles/roles.queries.ts';
import { findUser } from '../users/users.queries.ts';
import { type AccountDeps, register, requestMail, verifyEmail } from './accounts.commands.ts';
import { ActionToken, Email, Password, PersonName } from './credentials.ts';
import { type TokenDeps, Tokens, tokensOf } from './tokens.routes.ts';

const Register = z
  .object({
    email: Email,
    password: Password.meta({ description: 'At least PASSWORD_MIN_LENGTH characters, and none that many people use' }),
    name: PersonName,
    role: z
      .string()
      .max(64)
      .regex(/^\P{C}*$/u, 'must not contain control characters')
      .optional()
      .meta({ description: 'Honoured for a caller who may assign it; ignored otherwise', example: 'user' }),
  })
  .meta({ id: 'Register' });

const Registered = z
  .object({
    verificationSent: z.literal(true).meta({ description: 'Always, for an address that is taken too' }),
    ...Tokens.partial().shape,
  })
  .meta({ id: 'Registered' });

/** The role that a new account gets. @throws AppError 400 invalid_request for one that is not there, 403 as `assertHolds` */
const roleFor = async ({ db }: AccountDeps, caller: Caller | undefined, name: string | undefined): Promise<string> => {
  if (name === undefined || !caller || !may(caller, 'roles:assign:any')) return 'user';
  const role = await findRole(db, name);
  if (!role) {
    throw invalid('invalid_request', 'The request is not valid', {
      fields: [{ field: 'role', code: 'role_not_found', message: 'is no role' }],
    });
  }
  await assertHolds(db, caller, { permissions: await findRolePermissions(db, role.name), rank: role.rank });
  return role.name;
};

export interface RegistrationSettings {
  /** REGISTER_SIGNS_IN */
  signsIn: boolean;
  /** The best of the languages that we have. */
  negotiate(locales: readonly string[]): string;
}

export const authRoutes = (
  deps: AccountDeps,
  tokens: TokenDeps,
  { signsIn, negotiate }: RegistrationSettings,
): Route[] => [
  route({
    id: 'register',
    method: 'post',
    path: '/auth/register',
    tag: 'Accounts',
    summary: 'Register an account',
    description:
      'The answer is the same for an address that is taken: its mailbox learns of it. With REGISTER_SIGNS_IN a new account is signed in as well, which tells a free address from a taken one.',
    access: 'optional',
    body: Register,
    returns: Registered,
    status: 201,
    problems: { 403: ['rank_too_low', 'exceeds_yours', 'session_needed'] },
    handle: async ({ body: { email, password, name, role: wanted }, actor, caller, locales }) => {
      const role = await roleFor(deps, caller, wanted);
      const id = await register(deps, actor, { email, password, name, role, locale: negotiate(locales) });
      const user = id && signsIn && !caller ? await findUser(deps.db, id) : undefined;
      const outcome = user && (await tokens.proceed(actor, { user, amr: ['pwd'], ts: Math.floor(Date.now() / 1000) }));
      if (outcome?.kind !== 'signed-in') return { verificationSent: true as const };
      return { verificationSent: true as const, ...tokensOf(await tokens.issue(actor, outcome)) };
    },
  }),
  route({
    id: 'verifyEmail',
    method: 'post',
    path: '/auth/verify',
    tag: 'Accounts',
    summary: 'Verify an address with the token from the mail',
    access: 'public',
    body: z.object({ token: ActionToken }).meta({ id: 'Verify' }),
    returns: z.object({ verified: z.literal(true) }).meta({ id: 'Verified' }),
    status: 200,
    problems: { 400: ['invalid_token'] },
    handle: async ({ body, actor }) => {
      await verifyEmail(deps, actor, body.token);
      return { verified: true as const };
    },
  }),
  route({
    id: 'resendVerification',
    method: 'post',
    path: '/auth/verify/resend',
    tag: 'Accounts',
    summary: 'Have the verification mail sent again',
    description: 'The answer is the same for an address that has no account, or one that is verified.',
    access: 'public',
    body: z.object({ email: Email }).meta({ id: 'ResendVerification' }),
    returns: z.object({ sent: z.literal(true) }).meta({ id: 'VerificationSent' }),
    status: 202,
    handle: async ({ body, actor }) => {
      await requestMail(deps, actor, 'verification', body.email);
      return { sent: true as const };
    },
  }),
];
