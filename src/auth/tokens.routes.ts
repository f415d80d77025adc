/** Signing in, staying signed in, and signing out over REST: the provider's tokens, by another door. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { AppError, forbidden } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { Time } from '../http/schemas.ts';
import { AuthenticationResponse } from '../mfa/passkey-responses.ts';
import { Password } from './credentials.ts';
import { findPerson } from './me.queries.ts';
import type { Proof, SignInOutcome } from './proceed.commands.ts';
import type { SignIn } from './record-sign-in.commands.ts';
import type { SecondStep } from './second-step.commands.ts';
import type { SignInInput } from './sign-in.commands.ts';

/** RFC 6749 section 5.1, as the provider gives it. */
export interface IssuedTokens {
  access_token: string;
  token_type: 'Bearer';
  expires_in: number;
  refresh_token?: string;
  scope?: string;
}

export interface TokenDeps {
  db: Db;
  /** @throws AppError 503 when too many passwords wait to be hashed */
  assertRoom(): void;
  signIn(actor: Actor, input: SignInInput): Promise<SignInOutcome>;
  finishSignIn(actor: Actor, input: Pick<SecondStep, 'mfaToken' | 'code' | 'passkey'>): Promise<SignInOutcome>;
  /** Signs somebody in who has shown who they are in another way. */
  proceed(actor: Actor, proof: Proof): Promise<SignInOutcome>;
  /** Begins a session with the REST API and gives tokens for it. */
  issue(actor: Actor, signIn: SignIn): Promise<IssuedTokens>;
  /** @throws AppError 401 invalid_refresh_token */
  refresh(actor: Actor, refreshToken: string): Promise<IssuedTokens>;
  /** Ends the session that a refresh token of the REST API is of; nothing for any other token. */
  endSessionOf(actor: Actor, refreshToken: string): Promise<void>;
}

const exampleToken = 'eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9…';

/** The members of RFC 6749 section 5.1, and two of them in camel case for the clients of older services. */
export const Tokens = z
  .object({
    accessToken: z.string().meta({
      example: exampleToken,
      description: 'A JWT (RFC 9068) for this API and for services that trust this issuer',
    }),
    refreshToken: z.string().optional().meta({ example: 'q2Zk…' }),
    access_token: z.string().meta({ example: exampleToken }),
    refresh_token: z.string().optional().meta({ example: 'q2Zk…' }),
    token_type: z.literal('Bearer'),
    expires_in: z.int().meta({ description: 'Seconds', example: 900 }),
    scope: z.string().optional().meta({ example: 'users:read:own sessions:read:own' }),
  })
  .meta({ id: 'Tokens' });

export const SignedIn = Tokens.extend({
  user: z.object({
    id: z.uuid(),
    email: z.string().meta({ example: 'ada@example.com' }),
    emailVerified: z.boolean(),
    name: z.string().meta({ example: 'Ada Lovelace' }),
    role: z.string().meta({ example: 'user' }),
  }),
  enrolBy: Time.optional().meta({
    description: 'By when a second factor must be set up (MFA_ENROLMENT_GRACE); none when none is missing',
    example: '2026-03-01T12:00:00.000Z',
  }),
}).meta({ id: 'SignedIn' });

/** Spaces and dashes do no harm. */
const MfaCode = z.string().min(1).max(64).meta({
  description:
    'Of an authenticator app, or a backup code; for those who have set up neither, the one that was mailed or sent',
  example: '123456',
});
export const MfaToken = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^[\w-]+$/, 'is not an mfaToken')
  .meta({ description: 'From the answer `mfa_required`', example: 'aV3kT8mW2sLxBv5cQ9dZ' });

const Login = z
  .object({
    // Lenient about the address: whatever is not an account's is answered as wrong credentials.
    email: z
      .string()
      .trim()
      .min(1)
      .max(254)
      .regex(/^\P{Cc}*$/u, 'must not contain control characters')
      .meta({ example: 'ada@example.com' }),
    password: Password,
    mfaCode: MfaCode.optional().meta({
      description: 'The second factor’s code, when it is known already: as `code` of `POST /auth/mfa/verify`',
      example: '123456',
    }),
  })
  .meta({ id: 'Login', example: { email: 'ada@example.com', password: 'correct horse battery staple' } });

const RefreshToken = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[\x21-\x7e]+$/, 'is not a refresh token')
  .meta({ example: 'q2ZkT3mW8sLxBv5c' });

export const tokensOf = (tokens: IssuedTokens): z.input<typeof Tokens> => ({
  ...tokens,
  accessToken: tokens.access_token,
  refreshToken: tokens.refresh_token,
});

/** Signs in and answers with tokens and the user. */
export const signedIn = async (deps: TokenDeps, actor: Actor, signIn: SignIn): Promise<z.input<typeof SignedIn>> => {
  const tokens = await deps.issue(actor, signIn);
  const person = await findPerson(deps.db, signIn.userId);
  if (!person) throw invalidCredentials();
  return { ...tokensOf(tokens), user: person, ...(signIn.enrolBy ? { enrolBy: signIn.enrolBy.toISOString() } : {}) };
};

/** @throws AppError 403 sign_in_method_not_allowed where an organization wants another way in; nothing for any other refusal */
export const assertMethodAllowed = (outcome: SignInOutcome): void => {
  if (outcome.kind !== 'refused' || !outcome.instead) return;
  throw forbidden('sign_in_method_not_allowed', 'An organization of the account does not allow this way to sign in', {
    members: { methods: outcome.instead },
  });
};

/** @throws AppError 401 for whatever is wrong or missing, 403 sign_in_method_not_allowed */
export const answer = (deps: TokenDeps, actor: Actor, outcome: SignInOutcome): ReturnType<typeof signedIn> => {
  if (outcome.kind === 'signed-in') return signedIn(deps, actor, outcome);
  assertMethodAllowed(outcome);
  if (outcome.kind === 'refused') throw invalidCredentials();
  if (outcome.kind === 'wrong-code')
    throw new AppError(
      401,
      'invalid_mfa_code',
      'The code is wrong, or was used before. An app shows a new one within half a minute; one that was sent may have run out',
    );
  const { mfaToken, methods } = outcome;
  const members = { mfaRequired: true, mfaToken, methods };
  if (outcome.kind === 'mfa-required')
    throw new AppError(401, 'mfa_required', 'A second factor is needed', { members });
  throw new AppError(401, 'enrolment_required', 'A second factor must be set up first', { members });
};

const invalidCredentials = () =>
  new AppError(401, 'invalid_credentials', 'The address or the password is wrong, or the address is not confirmed yet');

export const tokenRoutes = (deps: TokenDeps): Route[] => [
  route({
    id: 'login',
    method: 'post',
    path: '/auth/login',
    tag: 'Sign-in',
    summary: 'Sign in with email and password',
    description:
      'Begins a session, which `/sessions` shows and can end. An unknown address, a wrong password, an address that is not confirmed and a locked account are answered alike.',
    access: 'public',
    assertRoom: deps.assertRoom,
    body: Login,
    returns: SignedIn,
    status: 200,
    problems: {
      401: ['invalid_credentials', 'mfa_required', 'enrolment_required', 'invalid_mfa_code'],
      403: ['sign_in_method_not_allowed'],
    },
    handle: async ({ body, actor }) => {
      const outcome = await deps.signIn(actor, body);
      return answer(deps, actor, outcome);
    },
  }),
  route({
    id: 'finishLogin',
    method: 'post',
    path: '/auth/mfa/verify',
    tag: 'Sign-in',
    summary: 'Finish a sign-in that asked for a second factor',
    description:
      'By one of the `methods` that the login named: a `code` of an authenticator app (`totp`) or a backup code; one that `POST /auth/otp/send { channel, mfaToken }` sends (`email`, `sms`); or what a `passkey` has signed of `POST /auth/passkey/options { mfaToken }`. A sign-in that was answered `enrolment_required` needs neither, once a factor is set up. Five wrong codes, wherever they were tried, make a pause of a quarter of an hour. An `mfaToken` finishes one sign-in.',
    access: 'public',
    body: z
      .object({ mfaToken: MfaToken, code: MfaCode.optional(), passkey: AuthenticationResponse.optional() })
      .meta({ id: 'FinishLogin', example: { mfaToken: 'aV3kT8mW2sLxBv5cQ9dZ', code: '123456' } }),
    returns: SignedIn,
    status: 200,
    problems: {
      400: ['invalid_passkey'],
      401: ['invalid_mfa_token', 'invalid_mfa_code', 'invalid_credentials', 'enrolment_required'],
    },
    handle: async ({ body, actor }) => answer(deps, actor, await deps.finishSignIn(actor, body)),
  }),
  route({
    id: 'refresh',
    method: 'post',
    path: '/auth/refresh',
    tag: 'Sign-in',
    summary: 'Exchange a refresh token for new tokens',
    description:
      'The refresh token is used up: keep the new one. One that was used before ends the whole family of tokens (RFC 9700 section 4.14.2). Only failures are limited.',
    access: 'public',
    // The token endpoint behind it counts failures; people who share an address refresh as often as they must.
    limited: false,
    body: z.object({ refreshToken: RefreshToken }).meta({ id: 'Refresh' }),
    returns: Tokens,
    status: 200,
    problems: { 401: ['invalid_refresh_token'] },
    handle: async ({ body, actor }) => tokensOf(await deps.refresh(actor, body.refreshToken)),
  }),
  route({
    id: 'logout',
    method: 'post',
    path: '/auth/logout',
    tag: 'Sign-in',
    summary: 'End the session that a refresh token is of',
    description:
      'Its access tokens stop validating at once. A token that is unknown or of no use any more gets the same answer.',
    access: 'public',
    body: z.object({ refreshToken: RefreshToken }).meta({ id: 'Logout' }),
    status: 204,
    handle: ({ body, actor }) => deps.endSessionOf(actor, body.refreshToken),
  }),
];
