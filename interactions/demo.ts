/**
 * A relying party for development, on openid-client over real HTTP: code + PKCE, userinfo, refresh, sign-out. It knows
 * nothing of the provider but its address, so it shows what an application of one's own would do.
 */
import { randomUUID } from 'node:crypto';
import Router from '@koa/router';
import type Koa from 'koa';
import { LRUCache } from 'lru-cache';
import * as client from 'openid-client';
import type { NewClient } from '../src/clients/client-metadata.ts';
import { foreignError } from '../src/errors.ts';
import type { Pages } from './pages.ts';
import { redirect } from './redirect.ts';

export const demoClientId = 'countersign-demo';
export const demoClient = (issuer: string): NewClient => ({
  client_name: 'Demo app',
  client_uri: `${issuer}/demo`,
  redirect_uris: [`${issuer}/demo/callback`],
  post_logout_redirect_uris: [`${issuer}/demo`],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
});

interface DemoSession {
  /** While the browser is away at the provider. */
  pending?: { verifier: string; state: string; nonce: string };
  tokens?: { access: string; id: string; refresh?: string; claims: client.IDToken };
  userinfo?: client.UserInfoResponse;
}

export const demo = ({ pages, issuer }: { pages: Pages; issuer: string }): Koa.Middleware => {
  const router = new Router({ prefix: '/demo' });
  const sessions = new LRUCache<string, DemoSession>({ max: 1000, ttl: 3_600_000 });
  let discovered: Promise<client.Configuration> | undefined;

  const provider = () => {
    discovered ??= client
      .discovery(
        new URL(issuer),
        demoClientId,
        undefined,
        client.None(),
        issuer.startsWith('http:') ? { execute: [client.allowInsecureRequests] } : {},
      )
      .catch((error: unknown) => {
        discovered = undefined;
        throw error;
      });
    return discovered;
  };

  const sessionOf = (ctx: Koa.Context): DemoSession => {
    let id = ctx.cookies.get('demo', { signed: true });
    if (!id || !sessions.has(id)) {
      id = randomUUID();
      sessions.set(id, {});
      ctx.cookies.set('demo', id, { httpOnly: true, sameSite: 'lax', signed: true, path: '/demo' });
    }
    return sessions.get(id) as DemoSession;
  };

  /** What the provider refuses is shown as it would reach a developer. */
  const explained =
    (work: (ctx: Koa.Context) => Promise<void>): Koa.Middleware =>
    async (ctx) => {
      try {
        await work(ctx);
      } catch (error) {
        if (isEnded(error)) {
          const session = sessionOf(ctx);
          delete session.tokens;
          delete session.userinfo;
          return redirect(ctx, '/demo?notice=accessEnded');
        }
        if (error instanceof client.ResponseBodyError || error instanceof client.AuthorizationResponseError) {
          throw foreignError(400, error.error, `${error.error}: ${error.error_description ?? ''}`);
        }
        if (error instanceof client.ClientError) throw foreignError(400, error.code ?? 'demo_failed', error.message);
        throw error;
      }
    };

  router.get('/', (ctx) => {
    const { tokens, userinfo } = sessionOf(ctx);
    if (!tokens) {
      const notice = ['accessDenied', 'accessEnded'].find((known) => known === ctx.query.notice);
      return pages.show(ctx, 'demo-home', { signInHref: '/demo/sign-in', ...(notice ? { notice } : {}) });
    }
    pages.show(ctx, 'demo-signed-in', {
      claims: { ...tokens.claims },
      ...(userinfo ? { userinfo: { ...userinfo } } : {}),
      tokens: [
        { label: 'access_token', value: tokens.access },
        { label: 'id_token', value: tokens.id },
        ...(tokens.refresh ? [{ label: 'refresh_token', value: tokens.refresh }] : []),
      ],
      actions: { refresh: '/demo/refresh', userinfo: '/demo/userinfo', signOut: '/demo/sign-out' },
      ...(ctx.query.notice === 'tokensRefreshed' ? { notice: 'tokensRefreshed' } : {}),
    });
  });

  router.get(
    '/sign-in',
    explained(async (ctx) => {
      const session = sessionOf(ctx);
      session.pending = {
        verifier: client.randomPKCECodeVerifier(),
        state: client.randomState(),
        nonce: client.randomNonce(),
      };
      redirect(
        ctx,
        client.buildAuthorizationUrl(await provider(), {
          redirect_uri: `${issuer}/demo/callback`,
          scope: 'openid profile email',
          code_challenge: await client.calculatePKCECodeChallenge(session.pending.verifier),
          code_challenge_method: 'S256',
          state: session.pending.state,
          nonce: session.pending.nonce,
        }),
      );
    }),
  );

  router.get(
    '/callback',
    explained(async (ctx) => {
      const session = sessionOf(ctx);
      const { pending } = session;
      if (!pending) return redirect(ctx, '/demo');
      delete session.pending;
      // Not a failure: the person has changed their mind.
      if (ctx.query.error === 'access_denied') return redirect(ctx, '/demo?notice=accessDenied');
      const answer = await client.authorizationCodeGrant(await provider(), new URL(ctx.originalUrl, issuer), {
        pkceCodeVerifier: pending.verifier,
        expectedState: pending.state,
        expectedNonce: pending.nonce,
        idTokenExpected: true,
      });
      session.tokens = tokensOf(answer, answer.claims() as client.IDToken);
      redirect(ctx, '/demo');
    }),
  );

  router.post(
    '/userinfo',
    explained(async (ctx) => {
      const session = sessionOf(ctx);
      if (session.tokens)
        session.userinfo = await client.fetchUserInfo(
          await provider(),
          session.tokens.access,
          session.tokens.claims.sub,
        );
      redirect(ctx, '/demo');
    }),
  );

  router.post(
    '/refresh',
    explained(async (ctx) => {
      const session = sessionOf(ctx);
      if (!session.tokens?.refresh) return redirect(ctx, '/demo');
      const answer = await client.refreshTokenGrant(await provider(), session.tokens.refresh);
      session.tokens = tokensOf(answer, answer.claims() ?? session.tokens.claims);
      redirect(ctx, '/demo?notice=tokensRefreshed');
    }),
  );

  router.post(
    '/sign-out',
    explained(async (ctx) => {
      const session = sessionOf(ctx);
      const hint = session.tokens?.id;
      delete session.tokens;
      delete session.userinfo;
      if (!hint) return redirect(ctx, '/demo');
      redirect(
        ctx,
        client.buildEndSessionUrl(await provider(), {
          id_token_hint: hint,
          post_logout_redirect_uri: `${issuer}/demo`,
        }),
      );
    }),
  );

  return router.routes() as unknown as Koa.Middleware;
};

/** The refresh or access token is dead: consent was taken back, or the session ended. */
const isEnded = (error: unknown): boolean =>
  (error instanceof client.ResponseBodyError && error.error === 'invalid_grant') ||
  (error instanceof client.WWWAuthenticateChallengeError && error.status === 401);

const tokensOf = (
  answer: client.TokenEndpointResponse,
  claims: client.IDToken,
): NonNullable<DemoSession['tokens']> => ({
  access: answer.access_token,
  id: answer.id_token ?? '',
  ...(answer.refresh_token ? { refresh: answer.refresh_token } : {}),
  claims,
});
