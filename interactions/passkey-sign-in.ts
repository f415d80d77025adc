/** Passkeys on the pages of a sign-in: what the script asks the browser for, and what comes back in the form. */
import type Koa from 'koa';
import type { MfaDeps } from '../src/auth/mfa.commands.ts';
import { openMfaToken } from '../src/auth/mfa-tokens.commands.ts';
import { type PasskeySignInDeps, signInWithPasskey } from '../src/auth/passkey-sign-in.commands.ts';
import type { SignInContext, SignInOutcome } from '../src/auth/proceed.commands.ts';
import { AppError } from '../src/errors.ts';
import { actorOf } from '../src/http/actor.ts';
import { AuthenticationResponse, RegistrationResponse } from '../src/mfa/passkey-responses.ts';
import { passkeySignInOptions } from '../src/mfa/passkeys.commands.ts';
import type { Interaction } from './interactions.ts';
import type { PasskeyButton } from './view-props.ts';

/** The part of a page that signs in with a passkey. Its script asks this service for what to ask the browser. */
export const passkeyButton = (ctx: Koa.Context, { uid }: Interaction): PasskeyButton => {
  allowAsking(ctx);
  return { action: `/interaction/${uid}`, optionsHref: `/interaction/${uid}/passkey` };
};

/** Lets the page's script ask this service, which other pages have no use for. */
export const allowAsking = (ctx: Koa.Context): void => {
  const policy = ctx.response.get('content-security-policy');
  if (policy && !policy.includes('connect-src')) ctx.set('Content-Security-Policy', `${policy};connect-src 'self'`);
};

/** A text that is longer is no passkey's. */
const lengthMax = 20_000;

/**
 * The passkey's answer in the form.
 * @returns undefined when the form has none @throws AppError 401 invalid_passkey when it cannot be read
 */
export const postedPasskey = (ctx: Koa.Context): AuthenticationResponse | undefined => {
  const { passkey } = (ctx.request.body ?? {}) as { passkey?: unknown };
  if (passkey === undefined) return undefined;
  if (typeof passkey === 'string' && passkey.length <= lengthMax) {
    try {
      return AuthenticationResponse.parse(JSON.parse(passkey));
    } catch {
      // Not what our script sends.
    }
  }
  throw new AppError(401, 'invalid_passkey', 'The form has no passkey that could be read');
};

/** A registration in the form, with the name that it is to have. @throws AppError 400 invalid_passkey when it cannot be read */
export const postedRegistration = (ctx: Koa.Context): { name: string; response: RegistrationResponse } => {
  const { passkey, name } = (ctx.request.body ?? {}) as { passkey?: unknown; name?: unknown };
  const named = typeof name === 'string' && /^[^\p{Cc}\p{Cs}]{1,100}$/u.test(name.trim()) ? name.trim() : 'Passkey';
  if (typeof passkey === 'string' && passkey.length <= 2 * lengthMax) {
    try {
      return { name: named, response: RegistrationResponse.parse(JSON.parse(passkey)) };
    } catch {
      // Not what our script sends.
    }
  }
  throw new AppError(400, 'invalid_passkey', 'The form has no passkey that could be read');
};

export interface PasskeySignIn {
  /** What to ask the browser for. @param userId whose passkey it must be; anybody's unless given */
  options(interaction: Interaction, userId: string | undefined): ReturnType<typeof passkeySignInOptions>;
  /** @returns undefined when the form has no passkey @throws AppError 429 */
  submit(
    ctx: Koa.Context,
    interaction: Interaction,
    context: Pick<SignInContext, 'deviceCookie' | 'acr'>,
  ): Promise<SignInOutcome | undefined>;
}

export const passkeySignIn = (deps: PasskeySignInDeps): PasskeySignIn => ({
  options: ({ uid }, userId) => passkeySignInOptions(deps.mfa, { kind: 'sign-in', at: uid, userId }),

  submit: async (ctx, { uid, params }, context) => {
    try {
      const response = postedPasskey(ctx);
      if (!response) return undefined;
      const clientId = params.client_id as string;
      return await signInWithPasskey(deps, actorOf(ctx), { ...context, at: uid, response, clientId });
    } catch (error) {
      if (error instanceof AppError && error.code === 'invalid_passkey') return { kind: 'refused' };
      throw error;
    }
  },
});

/** What to ask the browser for where a passkey is to be the second factor. @throws AppError 401 invalid_mfa_token */
export const secondFactorOptions = async (deps: MfaDeps, mfaToken: string): ReturnType<typeof passkeySignInOptions> => {
  const { user } = await openMfaToken(deps, mfaToken);
  return passkeySignInOptions(deps, { kind: 'second-factor', mfaToken, userId: user.id });
};
