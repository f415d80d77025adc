/** Asks the token endpoint from within the process, so that a REST route can do what a grant does without a second implementation. */
import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type Koa from 'koa';
import type { Actor } from '../audit/logs.commands.ts';
import { routes } from './configuration.ts';
import type { TokenResponse } from './issue-tokens.ts';

/** RFC 6749 section 5.2. */
export interface TokenRefusal {
  error: string;
  error_description?: string;
}

/**
 * @param protocol the middleware that serves the endpoints under `/oauth/`
 * @param actor on whose behalf, so that the endpoint logs and limits whoever really asks
 */
export const requestToken = async (
  koa: Koa,
  protocol: Koa.Middleware,
  actor: Actor,
  parameters: Record<string, string>,
): Promise<{ status: number; retryAfterSeconds?: number; body: TokenResponse | TokenRefusal }> => {
  const body = Buffer.from(new URLSearchParams(parameters).toString());
  const headers: IncomingHttpHeaders = {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(body.length),
    'user-agent': actor.userAgent ?? '',
  };
  const request = Object.assign(Readable.from([body]), {
    method: 'POST',
    url: routes.token,
    headers,
    socket: { remoteAddress: actor.address ?? '' },
  }) as unknown as IncomingMessage;
  const ctx = koa.createContext(request, new ServerResponse(request));
  ctx.request.ip = actor.address ?? '';
  ctx.state.requestId = actor.requestId;
  await protocol(ctx, () => Promise.resolve());
  const retryAfter = Number(ctx.response.get('Retry-After'));
  return {
    status: ctx.status,
    ...(retryAfter ? { retryAfterSeconds: retryAfter } : {}),
    body: ctx.body as TokenResponse | TokenRefusal,
  };
};
