/** REST of registration and verification, on the same commands as the pages. */
import { z } from 'zod';
import { type Route, route } from '../http/route.ts';
import { type AccountDeps, register, verifyEmail } from './accounts.commands.ts';

/** A name as people write theirs: any script, no control characters. */
export const PersonName = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^\P{C}*$/u, 'must not contain control characters');
export const Email = z.string().trim().max(254).pipe(z.email());
/** Only its size is judged here; whether it is good enough is for the password rules. */
export const Password = z.string().min(1).max(1024);
/** A token from a mailed link. */
export const ActionToken = z.string().min(1).max(200);

const Register = z
  .object({
    email: Email,
    password: Password,
    name: PersonName,
    role: z.string().max(64).optional().meta({ description: 'Honoured for administrators; ignored otherwise' }),
  })
  .meta({ id: 'Register' });

const Verify = z.object({ token: ActionToken }).meta({ id: 'Verify' });

export const authRoutes = (deps: AccountDeps, negotiate: (locales: readonly string[]) => string): Route[] => [
  route({
    id: 'register',
    method: 'post',
    path: '/auth/register',
    tag: 'Accounts',
    summary: 'Register an account; the answer is the same for a taken address',
    access: 'public',
    body: Register,
    returns: z.object({ verificationSent: z.literal(true) }),
    status: 201,
    handle: async ({ body: { email, password, name }, actor, locales }) => {
      await register(deps, actor, { email, password, name, locale: negotiate(locales) });
      return { verificationSent: true as const };
    },
  }),
  route({
    id: 'verifyEmail',
    method: 'post',
    path: '/auth/verify',
    tag: 'Accounts',
    summary: 'Verify an address with the token from the mail',
    access: 'public',
    body: Verify,
    returns: z.object({ verified: z.literal(true) }),
    status: 200,
    handle: async ({ body, actor }) => {
      await verifyEmail(deps, actor, body.token);
      return { verified: true as const };
    },
  }),
];
