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

/** They are the same for every request, so they are worked out once. What comes later may set others. */
export const securityHeaders = async (issuer: string): Promise<Koa.Middleware> => {
  const res = new ServerResponse({ method: 'GET' } as IncomingMessage);
  await protect(issuer)({ req: res.req, res } as Koa.Context, () => Promise.resolve());
  const headers = Object.entries(res.getHeaders()) as [name: string, value: string][];
  return (ctx, next) => {
    for (const [name, value] of headers) ctx.res.setHeader(name, value);
    return next();
  };
};
