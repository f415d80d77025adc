/** Styles, script and icon of the pages, and the look that a client brings. */
import type Koa from 'koa';
import type { ClientTheme } from '../src/clients/clients.queries.ts';
import type { Pages } from './pages.ts';
import type { Views } from './views.ts';

/** Every value was checked against a strict pattern when the client was registered. */
const themeCss = ({ accent, accentDark, radius, font }: ClientTheme): string => {
  const declarations = (values: Record<string, string | undefined>) =>
    Object.entries(values)
      .flatMap(([name, value]) => (value ? [`--${name}:${value}`] : []))
      .join(';');
  const dark = accentDark ? `@media (prefers-color-scheme:dark){:root{${declarations({ accent: accentDark })}}}` : '';
  return `:root{${declarations({ accent, radius, font })}}${dark}`;
};

export const assets = ({ views, pages }: { views: Views; pages: Pages }): Koa.Middleware => {
  const send: Koa.Middleware = async (ctx, next) => {
    const name = ctx.path.slice('/assets/'.length);
    if (name === 'client-theme.css') {
      const client = await pages.client(typeof ctx.query.client === 'string' ? ctx.query.client : undefined);
      ctx.type = 'text/css; charset=utf-8';
      ctx.set('Cache-Control', 'public, max-age=300');
      ctx.body = client?.theme ? themeCss(client.theme) : '';
      return;
    }
    const asset = views.asset(name);
    if (!asset) return next();
    ctx.type = asset.type;
    ctx.set('ETag', asset.etag);
    // The page asks for the file with its content hash, so what it got never changes.
    ctx.set('Cache-Control', ctx.query.v === undefined ? 'no-cache' : 'public, max-age=31536000, immutable');
    ctx.body = asset.body;
    if (ctx.fresh) {
      ctx.status = 304;
      ctx.body = null;
    }
  };
  return (ctx, next) =>
    ctx.path.startsWith('/assets/') && (ctx.method === 'GET' || ctx.method === 'HEAD') ? send(ctx, next) : next();
};
