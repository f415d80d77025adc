/**
 * The engine's router takes `/oauth/TOKEN/` for `/oauth/token`. Whatever stands in front of it (limits, the renaming of JWTs)
 * compares paths, so there is one spelling of each: RFC 3986 section 6.2.2.1 has paths case-sensitive.
 */
import type Koa from 'koa';
import { AppError } from '../errors.ts';
import { challengePath } from './client-attestation.ts';
import { routes } from './configuration.ts';

const endpoints = new Set<string>([
  ...Object.values(routes),
  challengePath,
  `${routes.end_session}/confirm`,
  `${routes.end_session}/success`,
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
]);

/** Where the engine goes on after an interaction. */
const resume = new RegExp(`^(${routes.authorization}|${routes.code_verification})/[\\w-]+$`);

/** What takes nothing but POST, and questions of browsers about that (CORS). */
const postOnly = new Set<string>([
  routes.token,
  routes.pushed_authorization_request,
  routes.introspection,
  routes.revocation,
  routes.device_authorization,
  routes.backchannel_authentication,
]);
const isTaken = ({ path, method }: Koa.Context) => !postOnly.has(path) || method === 'POST' || method === 'OPTIONS';

/**
 * Anything else under these paths is not there.
 * @throws AppError 405 method_not_allowed (RFC 9126 section 2.3), where the engine would say that there is nothing
 */
export const exactPaths: Koa.Middleware = (ctx, next) => {
  if (!isTaken(ctx)) {
    ctx.set('Allow', 'POST, OPTIONS');
    throw new AppError(405, 'method_not_allowed', 'Not with this method; see Allow');
  }
  return endpoints.has(ctx.path) || resume.test(ctx.path) ? next() : undefined;
};
