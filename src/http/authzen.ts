/** What OpenID AuthZEN Authorization API 1.0 wants beside its two operations: metadata (section 9), and request ids (10.1.3). */
import type Koa from 'koa';

export const authzenMetadataPath = '/.well-known/authzen-configuration';
const maxAgeSeconds = 3600;

/** Without the search APIs, which there are none of: what is left out is not there (section 9.1.1). */
export const authzenMetadata = (issuer: string): Koa.Middleware => {
  const document = JSON.stringify({
    policy_decision_point: issuer,
    access_evaluation_endpoint: `${issuer}/access/v1/evaluation`,
    access_evaluations_endpoint: `${issuer}/access/v1/evaluations`,
  });
  return async (ctx, next) => {
    if (ctx.path !== authzenMetadataPath || !['GET', 'HEAD'].includes(ctx.method)) return next();
    // Any site may read it, as it may discovery.
    ctx.set('Access-Control-Allow-Origin', '*');
    ctx.set('Cache-Control', `public, max-age=${maxAgeSeconds}`);
    ctx.type = 'application/json';
    ctx.body = document;
  };
};

/**
 * Section 10.1.3: whoever enforces the policy names the request, and the answer must name it likewise. Our own id stays that of
 * the log and of problem documents.
 */
export const authzenRequestId: Koa.Middleware = (ctx, next) => {
  const given = ctx.get('x-request-id');
  if (ctx.path.startsWith('/access/v1/') && /^[\x20-\x7e]{1,200}$/.test(given)) ctx.set('X-Request-Id', given);
  return next();
};
