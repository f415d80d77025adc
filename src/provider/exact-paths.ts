/**
 * The engine's router takes `/oauth/TOKEN/` for `/oauth/token`. Whatever stands in front of it (limits, the renaming of JWTs)
 * compares paths, so there is one spelling of each: RFC 3986 section 6.2.2.1 has paths case-sensitive.
 */
import type Koa from 'koa';
import { routes } from './configuration.ts';

const endpoints = new Set<string>([
  ...Object.values(routes),
  `${routes.end_session}/confirm`,
  `${routes.end_session}/success`,
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
]);

/** Where the engine goes on after an interaction. */
const resume = new RegExp(`^${routes.authorization}/[\\w-]+$`);

/** Anything else under these paths is not there. */
export const exactPaths: Koa.Middleware = (ctx, next) =>
  endpoints.has(ctx.path) || resume.test(ctx.path) ? next() : Promise.resolve();
