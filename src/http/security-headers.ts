/** Headers that keep a browser from doing with our pages what they do not ask for. */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type Koa from 'koa';
import helmet from 'koa-helmet';

/** Nothing from elsewhere, nothing inline, no framing. No `form-action`: the consent form redirects to the client. */
const protect = (issuer: string): Koa.Middleware =>
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    crossOriginOpenerPolicy: false,
    referrerPolicy: { policy: 'same-origin' },
    strictTransportSecurity: issuer.startsWith('https:') ? { maxAge: 63_072_000, includeSubDomains: false } : false,
    xFrameOptions: { action: 'deny' },
  }) as unknown as Koa.Middleware;

/** The headers, which are the same for every request. */
export const buildSecurityHeaders = async (issuer: string): Promise<[name: string, value: string][]> => {
  const res = new ServerResponse({ method: 'GET' } as IncomingMessage);
  await protect(issuer)({ req: res.req, res } as Koa.Context, () => Promise.resolve());
  return Object.entries(res.getHeaders()) as [name: string, value: string][];
};

/** Sets them; what comes later may set others. */
export const securityHeaders =
  (headers: readonly (readonly [name: string, value: string])[]): Koa.Middleware =>
  (ctx, next) => {
    for (const [name, value] of headers) ctx.res.setHeader(name, value);
    return next();
  };
