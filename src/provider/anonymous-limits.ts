/**
 * A limit of requests that leave a row behind though nobody known has made them: interactions, sessions of nobody, pushed
 * requests of public clients. What was sent proves nothing, so the engine's own verdict is counted, after it was given.
 */
import type Koa from 'koa';
import { routes } from './configuration.ts';

export interface AnonymousLimits {
  /** @throws AppError 429 when there were too many; counts nothing */
  assertLeft(limit: 'anonymousRequests', key: string): Promise<void>;
  count(limit: 'anonymousRequests', key: string): Promise<unknown>;
  /** What a network address is counted by. */
  addressKey(address: string): string;
}

interface EngineContext extends Koa.Context {
  oidc?: { client?: { clientAuthMethod?: string; vouched_for?: unknown }; session?: { accountId?: string } };
}

/** Where a browser that is nobody's gets a session, and perhaps an interaction. */
const pages = new Set<string>([routes.authorization, routes.code_verification, routes.end_session]);

const isPushed = ({ method, path }: Koa.Context) => method === 'POST' && path === routes.pushed_authorization_request;

/** A secret that a client got by registering itself says nothing of who it is. */
const isNobodys = ({ oidc }: EngineContext): boolean =>
  oidc?.client?.clientAuthMethod === 'none' || oidc?.client?.vouched_for === false;

const leftForNobody = (ctx: EngineContext): boolean =>
  isPushed(ctx) ? ctx.status === 201 && isNobodys(ctx) : !ctx.oidc?.session?.accountId;

export const limitAnonymous =
  ({ assertLeft, count, addressKey }: AnonymousLimits): Koa.Middleware =>
  async (ctx, next) => {
    if (!isPushed(ctx) && !pages.has(ctx.path)) return next();
    const from = addressKey(ctx.ip);
    await assertLeft('anonymousRequests', from);
    await next();
    if (leftForNobody(ctx)) await count('anonymousRequests', from);
  };
