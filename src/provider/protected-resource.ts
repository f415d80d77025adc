/**
 * The REST API's own metadata as a protected resource (RFC 9728): which authorization server gives tokens for it, and which
 * scopes there are. Its identifier is `<issuer>/api`, so the document is at the path that section 3.1 makes of that; clients
 * that know no more than the host ask without it.
 */
import type Koa from 'koa';
import type { Config } from '../config.ts';
import { catalogue } from '../roles/permissions.ts';
import { proofSigningAlgs } from './algorithms.ts';
import { answerPreflight, openToAllSites } from './discovery-documents.ts';
import { hasMutualTls } from './mutual-tls.ts';
import { defaultResource } from './resources.ts';

const rootPath = '/.well-known/oauth-protected-resource';
export const protectedResourcePaths = [rootPath, `${rootPath}/api`] as const;

/** What `WWW-Authenticate` of a refusal names (RFC 9728 section 5.1). */
export const resourceMetadataUrl = (issuer: string): string => `${issuer}${rootPath}/api`;

const maxAgeSeconds = 3600;

export const protectedResource = (config: Config): Koa.Middleware => {
  const { JWT_ISSUER: issuer, BRAND_NAME: brand } = config;
  const document = JSON.stringify({
    resource: defaultResource(issuer),
    authorization_servers: [issuer],
    scopes_supported: Object.keys(catalogue),
    bearer_methods_supported: ['header'],
    resource_name: `${brand} API`,
    resource_documentation: `${issuer}/docs`,
    dpop_signing_alg_values_supported: proofSigningAlgs,
    dpop_bound_access_tokens_required: false,
    tls_client_certificate_bound_access_tokens: hasMutualTls(config),
  });
  return (ctx, next) => {
    if (!(protectedResourcePaths as readonly string[]).includes(ctx.path)) return next();
    if (ctx.method === 'OPTIONS') answerPreflight(ctx);
    else if (ctx.method === 'GET' || ctx.method === 'HEAD') {
      openToAllSites(ctx);
      ctx.set('Cache-Control', `public, max-age=${maxAgeSeconds}`);
      ctx.type = 'application/json';
      ctx.body = document;
    } else return next();
    return Promise.resolve();
  };
};
