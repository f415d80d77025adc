/**
 * `/openapi.json`, and Swagger UI at `/docs` and `/swagger-ui/`. Everything comes from here: its script and styles are
 * served from the package under a path with its version, and nothing on the page is inline.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type Koa from 'koa';
import { canonicalPath } from '../src/http/aliases.ts';
import { escapeHtml, type Views } from './views.ts';

const pages = new Set(['/docs', '/docs/', '/swagger-ui', '/swagger-ui/']);

/** What is served of the package, and as what. */
const files: Readonly<Record<string, string>> = {
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'swagger-ui.css': 'text/css; charset=utf-8',
  'oauth2-redirect.js': 'text/javascript; charset=utf-8',
};
/** Where an authorization server sends the browser back to when somebody signs in on the page. Its script stands beside it. */
const oauthRedirect = '/docs/oauth2-redirect.html';

const packageFile = (name: string): string => fileURLToPath(import.meta.resolve(`swagger-ui-dist/${name}`));

const swaggerVersion = async (): Promise<string> =>
  (JSON.parse(await readFile(packageFile('package.json'), 'utf8')) as { version: string }).version;

/** As everywhere, and requests to this service besides: those of "Try it out". */
const policy =
  "default-src 'none';script-src 'self';style-src 'self';img-src 'self' data:;connect-src 'self';base-uri 'none';frame-ancestors 'none'";

const pageHtml = (brand: string, views: Views, version: string): string => {
  const own = (name: string) => `/assets/${name}?v=${(views.asset(name)?.etag ?? '').slice(1, -1)}`;
  const library = (name: string) => `/docs/${version}/${name}`;
  const name = escapeHtml(brand);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${name} API</title>
<link rel="icon" href="${own('favicon.svg')}" type="image/svg+xml">
<link rel="stylesheet" href="${library('swagger-ui.css')}">
<link rel="stylesheet" href="${own('api-docs.css')}">
<script src="${library('swagger-ui-bundle.js')}" defer></script>
<script src="${own('api-docs.js')}" defer></script>
</head>
<body>
<header class="masthead">
<a href="/"><img src="${own('favicon.svg')}" alt="" width="28" height="28"> ${name}</a>
<a href="/openapi.json">openapi.json</a>
</header>
<div id="docs"><noscript><p>This page needs JavaScript; the description itself is at <a href="/openapi.json">/openapi.json</a>.</p></noscript></div>
</body>
</html>
`;
};

const redirectHtml = (version: string): string =>
  `<!doctype html>\n<html lang="en">\n<head><title>Signing in</title></head>\n<body>\n<script src="/docs/${version}/oauth2-redirect.js"></script>\n</body>\n</html>\n`;

/** Runs once, when somebody asks for the first time. */
const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
};

const sendHtml = (ctx: Koa.Context, html: string): void => {
  ctx.type = 'text/html; charset=utf-8';
  ctx.set('Content-Security-Policy', policy);
  ctx.set('Cache-Control', 'no-cache');
  ctx.body = html;
};

/** @param createDocument makes the OpenAPI document; asked once, at the first request for it */
export const apiDocs = ({
  views,
  brand,
  createDocument,
}: {
  views: Views;
  brand: string;
  createDocument(): Promise<unknown>;
}): Koa.Middleware => {
  const version = once(swaggerVersion);
  const document = once(async () => {
    const body = JSON.stringify(await createDocument());
    return { body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"` };
  });

  const sendDocument = async (ctx: Koa.Context): Promise<void> => {
    const { body, etag } = await document();
    ctx.type = 'application/json; charset=utf-8';
    // It says nothing that is not public, so any site's script may read it.
    ctx.set('Access-Control-Allow-Origin', '*');
    ctx.set('Access-Control-Expose-Headers', 'ETag');
    ctx.set('Cross-Origin-Resource-Policy', 'cross-origin');
    ctx.set('ETag', etag);
    ctx.set('Cache-Control', 'public, max-age=300');
    ctx.status = 200;
    if (ctx.fresh) ctx.status = 304;
    else ctx.body = body;
  };
  const sendFile = async (ctx: Koa.Context, name: string, type: string): Promise<void> => {
    const path = packageFile(name);
    ctx.length = (await stat(path)).size;
    ctx.type = type;
    ctx.set('Cache-Control', 'public, max-age=31536000, immutable');
    ctx.body = createReadStream(path);
  };

  const send: Koa.Middleware = async (ctx, next) => {
    if (canonicalPath(ctx.path) === '/openapi.json') return sendDocument(ctx);
    if (pages.has(ctx.path)) return sendHtml(ctx, pageHtml(brand, views, await version()));
    if (ctx.path === oauthRedirect) return sendHtml(ctx, redirectHtml(await version()));
    const [, asked, name = ''] = /^\/docs\/([\d.]+)\/([\w.-]+)$/.exec(ctx.path) ?? [];
    const type = files[name];
    if (asked === undefined || !type || asked !== (await version())) return next();
    return sendFile(ctx, name, type);
  };
  const isOurs = ({ path, method }: Koa.Context) =>
    (method === 'GET' || method === 'HEAD') &&
    (pages.has(path) || path === oauthRedirect || path.startsWith('/docs/') || path.endsWith('/openapi.json'));
  return (ctx, next) => (isOurs(ctx) ? send(ctx, next) : next());
};
