/** Signing in by mail over REST, as `rest-api.ts` puts it together. */
import { type MagicLinkDeps, magicLinkRoutes } from './auth/magic-links.routes.ts';
import { proceed, type SignInDeps } from './auth/proceed.commands.ts';
import type { TokenDeps } from './auth/tokens.routes.ts';
import type { Route } from './http/route.ts';
import { restClientId } from './provider/issue-tokens.ts';

export const createMagicLinkRoutes = (deps: MagicLinkDeps, tokens: TokenDeps, signInDeps: SignInDeps): Route[] =>
  magicLinkRoutes(deps, tokens, {
    clientId: restClientId,
    proceed: (actor, { user, settle }, mfaCode) =>
      proceed(
        signInDeps,
        actor,
        { user, amr: ['otp'], ts: Math.floor(Date.now() / 1000) },
        { clientId: restClientId, deviceHash: deps.hashDevice(user.id, actor, undefined), mfaCode, settle },
      ),
  });
