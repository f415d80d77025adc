/**
 * The plainest of refreshes (RFC 6749 section 6): a client that proves itself by a secret in `Authorization` hands in a refresh token
 * and asks for nothing besides, see `plain-clients.ts`. What the engine's chain of middlewares finds out of such a request is known
 * before it begins. What it comes to is up to the engine's own handler of the grant all the same, and a refusal to the engine's own
 * handling of errors: nothing is tried a second time, since a token that is handed in twice is a replay.
 */
import type Koa from 'koa';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
// @ts-expect-error: the published types leave this out, and the next.
import contexts from 'oidc-provider/lib/helpers/als.js';
// @ts-expect-error
import createErrorHandler from 'oidc-provider/lib/shared/error_handler.js';
import { routes } from './configuration.ts';
import { handlerOf } from './grant-handlers.ts';
import {
  describeRequest,
  findPlainClient,
  leaveToEngine,
  type PlainClient,
  type PlainRequest,
  readPlainRequest,
  setHeaders,
} from './plain-clients.ts';

/** Holds the request that the engine works on (`Provider.ctx`). */
interface Contexts {
  run<T>(ctx: Koa.Context, work: () => Promise<T>): Promise<T>;
}

const grantType = 'refresh_token';

interface Asked {
  request: PlainRequest;
  token: string;
}

const readAsked = (ctx: Koa.Context): Asked | undefined => {
  if (ctx.state.parameters?.grant_type !== grantType) return undefined;
  const request = readPlainRequest(ctx, routes.token);
  const { grant_type: _grantType, refresh_token: token, ...others } = request?.parameters ?? {};
  if (!request || typeof token !== 'string' || !token || Object.keys(others).length) return undefined;
  return { request, token };
};

/** To be attached before all else that comes in front of the engine's routes. */
export const answerPlainRefreshes = (provider: Provider): void => {
  const handleErrors = createErrorHandler('grant.error') as Koa.Middleware;

  const refresh = (ctx: Koa.Context, client: PlainClient, token: string): Promise<void> => {
    describeRequest(provider, ctx, client, { params: { grant_type: grantType, refresh_token: token } });
    setHeaders(ctx);
    return (contexts as Contexts).run(ctx, () =>
      handleErrors(ctx, async () => {
        await handlerOf(provider, grantType)(ctx as KoaContextWithOIDC);
        provider.emit('grant.success', ctx as KoaContextWithOIDC);
      }),
    );
  };

  provider.use(async (ctx: Koa.Context, next: Koa.Next) => {
    const asked = readAsked(ctx);
    if (!asked) return next();
    const client = await findPlainClient(provider, asked.request).catch(leaveToEngine);
    return client?.grantTypeAllowed(grantType) ? refresh(ctx, client, asked.token) : next();
  });
};
