/** Passkeys as `app.ts` puts them together. */
import { addressKey, type RateLimits } from '../adapters/rate-limits.ts';
import { openMfaToken } from './auth/mfa-tokens.commands.ts';
import { passkeySignInRoutes } from './auth/passkey.routes.ts';
import { type PasskeySignInDeps, signInWithPasskey } from './auth/passkey-sign-in.commands.ts';
import type { SignInDeps } from './auth/proceed.commands.ts';
import type { TokenDeps } from './auth/tokens.routes.ts';
import type { Route } from './http/route.ts';
import { restSignIn } from './mfa/passkey-challenges.ts';
import { restClientId } from './provider/issue-tokens.ts';

export const createPasskeySignIn = (deps: SignInDeps, limits: RateLimits): PasskeySignInDeps => ({
  ...deps,
  limitPasskeys: (address) => limits.consume('passkeyAddress', addressKey(address)),
  returnPasskeyTry: (address) => limits.reward('passkeyAddress', addressKey(address)),
});

export const createPasskeyRoutes = (deps: PasskeySignInDeps, tokens: TokenDeps): Route[] =>
  passkeySignInRoutes({
    ...deps.mfa,
    tokens,
    signIn: (actor, response) => signInWithPasskey(deps, actor, { at: restSignIn, response, clientId: restClientId }),
    userOfMfaToken: async (token) => (await openMfaToken(deps.mfa, token)).user.id,
  });
