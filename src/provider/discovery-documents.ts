/**
 * Discovery (OpenID Connect Discovery section 4, RFC 8414) and JWKS (RFC 7517) from bytes that are made once for each instance
 * of the engine: relying parties ask for them more often than for anything else, and they change with the instance alone.
 */
import { createHash } from 'node:crypto';
import { type IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type Koa from 'koa';
import compose from 'koa-compose';
import type { Provider } from 'oidc-provider';
import { isNamed, type PrebuiltDocument } from '../http/prebuilt.ts';
import { jwksMaxAgeSeconds } from '../keys/keys.commands.ts';
import { routes } from './configuration.ts';

/** Where the metadata is: for OpenID Connect, and for clients of OAuth 2 alone. */
export const discoveryPaths = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'] as const;

const paths = [...discoveryPaths, routes.jwks] as const;
type Path = (typeof paths)[number];
const isPath = (path: string): path is Path => (paths as readonly string[]).includes(path);

type Documents = Readonly<Record<Path, PrebuiltDocument>>;

const openHeaders = { 'Access-Control-Allow-Origin': '*' };

/** Asks the engine from within the process. */
const ask = async (provider: Provider, path: Path): Promise<PrebuiltDocument> => {
  const request = Object.assign(Readable.from([]), { method: 'GET', url: path, headers: {}, socket: {} });
  const ctx = provider.createContext(
    request as unknown as IncomingMessage,
    new ServerResponse(request as unknown as IncomingMessage),
  );
  await compose(provider.middleware)(ctx);
  if (ctx.status !== 200) throw new Error(`the engine answered ${ctx.status} at ${path}`);
  const bytes = Buffer.from(JSON.stringify(ctx.body));
  const etag = `"${createHash('sha256').update(bytes).digest('base64url')}"`;
  const headers = {
    ...openHeaders,
    'Content-Type': ctx.response.get('Content-Type'),
    ETag: etag,
    'Cache-Control': `public, max-age=${jwksMaxAgeSeconds}`,
  };
  return { headers, etag, bytes };
};

const build = async (provider: Provider): Promise<Documents> =>
  Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await ask(provider, path)])));

/** Any site's script may read what is served so (Fetch standard, "CORS protocol"), and sends no credentials along. */
export const openToAllSites = (ctx: Koa.Context): void => {
  ctx.set(openHeaders);
};

/** Answers the preflight of a document that is open to all sites; clients add headers of their own, MCP's for one. */
export const answerPreflight = (ctx: Koa.Context): void => {
  openToAllSites(ctx);
  ctx.set({
    'Access-Control-Allow-Methods': 'GET, HEAD',
    'Access-Control-Allow-Headers': '*',
    'Access-Control-Max-Age': '3600',
    Allow: 'GET, HEAD, OPTIONS',
  });
  ctx.status = 204;
};

export interface DiscoveryDocuments {
  middleware: Koa.Middleware;
  /** What is at a path now; undefined where there is nothing, or it is yet to be built, which the middleware does. */
  find(path: string): PrebuiltDocument | undefined;
}

/** @param provider the instance that serves now: the bytes are made at the first request that finds it there */
export const createDiscoveryDocuments = (provider: () => Provider): DiscoveryDocuments => {
  const building = new WeakMap<Provider, Promise<Documents>>();
  const built = new WeakMap<Provider, Documents>();
  const documentsOf = (instance: Provider) => {
    const known = building.get(instance);
    if (known) return known;
    const documents = build(instance);
    building.set(instance, documents);
    documents.then(
      (made) => built.set(instance, made),
      () => building.delete(instance),
    );
    return documents;
  };

  return {
    find: (path) => (isPath(path) ? built.get(provider())?.[path] : undefined),
    middleware: async (ctx, next) => {
      const { path, method } = ctx;
      if (!isPath(path)) return next();
      if (method === 'OPTIONS') return answerPreflight(ctx);
      if (method !== 'GET' && method !== 'HEAD') return next();
      const { headers, etag, bytes } = (await documentsOf(provider()))[path];
      ctx.set(headers);
      ctx.body = bytes;
      if (isNamed(ctx.get('If-None-Match'), etag)) {
        ctx.status = 304;
        ctx.body = null;
      }
    },
  };
};
