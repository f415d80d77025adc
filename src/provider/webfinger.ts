/**
 * WebFinger (RFC 7033) as far as OpenID Connect Discovery section 2 needs it: an application that is told `ada@id.example.com`
 * learns which issuer signs that person in. The answer is the same for every account of ours, whether there is one or not.
 */
import type Koa from 'koa';
import { AppError, invalid } from '../errors.ts';
import { jwksMaxAgeSeconds } from '../keys/keys.commands.ts';
import { answerPreflight, openToAllSites } from './discovery-documents.ts';

export const webfingerPath = '/.well-known/webfinger';

/** OpenID Connect Discovery section 2: the one kind of link that there is. */
const issuerRel = 'http://openid.net/specs/connect/1.0/issuer';

/** A URI is ASCII without spaces (RFC 3986 section 2); much longer than any that names a person. */
const uri = /^[a-z][a-z\d+.-]*:[\x21-\x7e]{1,2000}$/i;

/** RFC 7565 section 7: the host has no port. */
const acct = /^acct:(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+@([\w.~!$&'()*+,;=%-]+|\[[\da-f:.]+\])$/i;

/**
 * Whether a resource is one of ours: an account at the issuer's host, whatever its port, or a URL there. What people's mail
 * addresses end in says nothing: their domain sends clients here by a redirect or by a document of its own, if at all.
 * Undefined when it is malformed.
 */
const isOurs = (issuer: URL, resource: string): boolean | undefined => {
  if (!uri.test(resource)) return undefined;
  const scheme = resource.slice(0, resource.indexOf(':')).toLowerCase();
  if (scheme === 'acct') {
    const host = acct.exec(resource)?.[1];
    const at = host === undefined ? null : URL.parse(`https://${host}`);
    return at ? at.hostname === issuer.hostname : undefined;
  }
  // Section 2.1.2 of OpenID Connect Discovery makes an https URL of what people type, also where development has no TLS.
  if (scheme !== 'https' && `${scheme}:` !== issuer.protocol) return false;
  const url = URL.parse(resource);
  return url ? url.host === issuer.host : undefined;
};

/** @throws AppError 400 for a `resource` that is missing or malformed, 404 for one that is somebody else's (RFC 7033 section 4.2) */
export const webfinger = (issuer: string): Koa.Middleware => {
  const own = new URL(issuer);
  return (ctx, next) => {
    if (ctx.path !== webfingerPath) return next();
    if (ctx.method === 'OPTIONS') return answerPreflight(ctx);
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') return next();
    openToAllSites(ctx);
    const { resource, rel } = ctx.query;
    if (typeof resource !== 'string') throw invalid('invalid_request', 'resource must be given, once');
    const ours = isOurs(own, resource);
    if (ours === undefined) throw invalid('invalid_request', 'resource is no URI, or no account');
    if (!ours) throw new AppError(404, 'not_found', 'Nothing is known of this resource here');
    // RFC 7033 section 4.3: without `rel` all links, else those that it names, which may be none.
    const links = rel === undefined || [rel].flat().includes(issuerRel) ? [{ rel: issuerRel, href: issuer }] : [];
    ctx.set({ 'Content-Type': 'application/jrd+json', 'Cache-Control': `public, max-age=${jwksMaxAgeSeconds}` });
    ctx.body = JSON.stringify({ subject: resource, links });
  };
};
