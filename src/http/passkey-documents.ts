/** What browsers and password managers ask of a service that takes passkeys. */
import type Koa from 'koa';

const relatedOriginsPath = '/.well-known/webauthn';
const passkeyEndpointsPath = '/.well-known/passkey-endpoints';
export const passkeyDocumentPaths = [relatedOriginsPath, passkeyEndpointsPath] as const;

/**
 * `/.well-known/webauthn` (WebAuthn Level 3 section 5.11.1) names the origins that may use the passkeys of this domain, where
 * there are any; `/.well-known/passkey-endpoints` (W3C, "A Well-Known URL for Relying Party Passkey Endpoints") where
 * people add and keep theirs.
 */
export const passkeyDocuments = ({
  issuer,
  relatedOrigins,
  page,
}: {
  issuer: string;
  relatedOrigins: readonly string[];
  /** The path of the page where passkeys are kept. */
  page: string;
}): Koa.Middleware => {
  const documents: Record<string, object> = {
    ...(relatedOrigins.length ? { [relatedOriginsPath]: { origins: relatedOrigins } } : {}),
    [passkeyEndpointsPath]: { enroll: `${issuer}${page}`, manage: `${issuer}${page}` },
  };
  return async (ctx, next) => {
    const document = Object.hasOwn(documents, ctx.path) ? documents[ctx.path] : undefined;
    if (!document || (ctx.method !== 'GET' && ctx.method !== 'HEAD')) return next();
    ctx.set('Cache-Control', 'public, max-age=3600');
    ctx.set('Access-Control-Allow-Origin', '*');
    ctx.type = 'application/json';
    ctx.body = document;
  };
};
