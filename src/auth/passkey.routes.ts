/** REST of signing in with a passkey. */
import { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import { AppError } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { restSignIn } from '../mfa/passkey-challenges.ts';
import { AuthenticationResponse } from '../mfa/passkey-responses.ts';
import { type PasskeyDeps, passkeySignInOptions } from '../mfa/passkeys.commands.ts';
import { WebAuthnOptions } from '../mfa/passkeys.routes.ts';
import type { SignInOutcome } from './proceed.commands.ts';
import { answer, assertMethodAllowed, MfaToken, SignedIn, type TokenDeps } from './tokens.routes.ts';

export interface PasskeySignInRouteDeps extends Pick<PasskeyDeps, 'db' | 'secrets' | 'relyingParty'> {
  tokens: TokenDeps;
  signIn(actor: Actor, response: AuthenticationResponse): Promise<SignInOutcome>;
  /** Whose sign-in the token carries. @throws AppError 401 invalid_mfa_token */
  userOfMfaToken(token: string): Promise<string>;
}

const AskAssertion = z
  .object({
    mfaToken: MfaToken.optional().meta({ description: 'Of a sign-in whose second factor the passkey is to be' }),
  })
  .meta({ id: 'AskPasskeyAssertion' });

const AssertionOptions = z
  .object({
    options: WebAuthnOptions.meta({
      description:
        'For `navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) })`. Its challenge says what it is for, works once, and for five minutes',
      example: { rpId: 'id.example.com', challenge: 'AXp3…', userVerification: 'required' },
    }),
  })
  .meta({ id: 'PasskeyAssertionOptions' });

export const passkeySignInRoutes = ({ tokens, signIn, userOfMfaToken, ...deps }: PasskeySignInRouteDeps): Route[] => [
  route({
    id: 'askPasskeySignIn',
    method: 'post',
    path: '/auth/passkey/options',
    tag: 'Sign-in',
    summary: 'Begin to sign in with a passkey: what to ask the browser for',
    description:
      'Says nothing of any account. With the `mfaToken` of a sign-in that waits for its second factor it asks for one of that account’s passkeys, and the answer goes to `POST /auth/mfa/verify`; else to `POST /auth/passkey/verify`.',
    access: 'public',
    body: AskAssertion.optional(),
    returns: AssertionOptions,
    status: 200,
    problems: { 401: ['invalid_mfa_token'] },
    handle: async ({ body }) => {
      const { mfaToken } = body ?? {};
      const options = await passkeySignInOptions(
        deps,
        mfaToken === undefined
          ? { kind: 'sign-in', at: restSignIn }
          : { kind: 'second-factor', mfaToken, userId: await userOfMfaToken(mfaToken) },
      );
      return { options: { ...options } };
    },
  }),
  route({
    id: 'signInWithPasskey',
    method: 'post',
    path: '/auth/passkey/verify',
    tag: 'Sign-in',
    summary: 'Sign in with a passkey',
    description:
      'Begins a session, as `POST /auth/login` does. The authenticator must have verified the person, so nothing else is asked for. A passkey that is not known, one of an account that cannot sign in, and a wrong answer are answered alike.',
    access: 'public',
    body: z.object({ credential: AuthenticationResponse }).meta({ id: 'PasskeySignIn' }),
    returns: SignedIn,
    status: 200,
    problems: { 401: ['invalid_passkey', 'mfa_required'], 403: ['sign_in_method_not_allowed'] },
    handle: async ({ body, actor }) => {
      const outcome = await signIn(actor, body.credential);
      assertMethodAllowed(outcome);
      if (outcome.kind === 'refused') throw new AppError(401, 'invalid_passkey', 'The passkey cannot sign in here');
      return answer(tokens, actor, outcome);
    },
  }),
];
