/** REST of signing in by mail: the code; the link is for the pages. */
import { z } from 'zod';
import type { Actor } from '../audit/logs.commands.ts';
import { invalid } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import type { AccountDeps } from './accounts.commands.ts';
import { Email, SixDigits } from './credentials.ts';
import { linkMinutes, type MailProof, requestLink, tryLinkCode } from './magic-links.commands.ts';
import type { CodeLimits } from './one-time-codes.commands.ts';
import type { SignInOutcome } from './proceed.commands.ts';
import { answer, SignedIn, type TokenDeps } from './tokens.routes.ts';

export interface MagicLinkDeps extends AccountDeps, CodeLimits {}

export interface LinkSignIn {
  clientId: string;
  /** Goes on with somebody who reads the account's mail. */
  proceed(actor: Actor, proof: MailProof, mfaCode: string | undefined): Promise<SignInOutcome>;
}

const VerifyMagicLink = z
  .object({
    email: Email,
    code: SixDigits.meta({ description: 'From the mail; spaces between the digits do no harm', example: '123456' }),
    mfaCode: z.string().min(1).max(64).optional().meta({
      description: 'Of an authenticator app, or a backup code, for an account that has one',
      example: '654321',
    }),
  })
  .meta({ id: 'VerifyMagicLink', example: { email: 'ada@example.com', code: '123456' } });

export const magicLinkRoutes = (deps: MagicLinkDeps, tokens: TokenDeps, signIn: LinkSignIn): Route[] => [
  route({
    id: 'requestMagicLink',
    method: 'post',
    path: '/auth/magic-link',
    tag: 'Sign-in',
    summary: 'Have a link and a code mailed that sign in',
    description: `The answer is the same for an address that has no account. The code is given to \`POST /auth/magic-link/verify\`; both are valid for ${linkMinutes} minutes and work once, and newer ones replace them. The link itself works only in a browser that asked for it on the sign-in page. An account whose address is not verified yet is mailed what verifies it instead.`,
    access: 'public',
    body: z.object({ email: Email }).meta({ id: 'RequestMagicLink' }),
    returns: z
      .object({
        sent: z.literal(true).meta({ description: 'If there is an account', example: true }),
        expiresIn: z.int().meta({ description: 'Seconds', example: linkMinutes * 60 }),
      })
      .meta({ id: 'MagicLinkSent' }),
    status: 202,
    handle: async ({ body, actor }) => {
      await requestLink(deps, actor, body.email);
      return { sent: true as const, expiresIn: linkMinutes * 60 };
    },
  }),
  route({
    id: 'verifyMagicLink',
    method: 'post',
    path: '/auth/magic-link/verify',
    tag: 'Sign-in',
    summary: 'Sign in with the code that was mailed',
    description:
      'Whoever has set up a second factor is asked for it, as after a password: what was mailed does not stand in for it.',
    access: 'public',
    body: VerifyMagicLink,
    returns: SignedIn,
    status: 200,
    problems: {
      400: ['invalid_code'],
      401: ['mfa_required', 'invalid_mfa_code', 'invalid_credentials'],
      403: ['sign_in_method_not_allowed'],
    },
    handle: async ({ body, actor }) => {
      const { email, code, mfaCode } = body;
      const proof = await tryLinkCode(deps, actor, { email, code, clientId: signIn.clientId });
      if (!proof) throw invalid('invalid_code', 'The code is wrong, or no longer valid; ask for a new one');
      return answer(tokens, actor, await signIn.proceed(actor, proof, mfaCode));
    },
  }),
];
