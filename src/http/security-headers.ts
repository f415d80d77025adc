/** Headers that keep a browser from doing with our pages what they do not ask for. */

import type Koa from 'koa';
import helmet from 'koa-helmet';

/** Nothing from elsewhere, nothing inline, no framing. No `form-action`: the consent form redirects to the client. */
export const securityHeaders = (issuer: string): Koa.Middleware =>
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
