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
import { jwksMaxAgeSeconds } from '../keys/keys.commands.ts';
import { routes } from './configuration.ts';

/** Where the metadata is: for OpenID Connect, and for clients of OAuth 2 alone. */
export const discoveryPaths = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'] as const;

const paths = [...discoveryPaths, routes.jwks] as const;
type Path = (typeof paths)[number];
const isPath = (path: string): path is Path => (paths as readonly string[]).includes(path);

interface Prebuilt {
  type: string;
  /** Strong: the same bytes on every replica. */
  etag: string;
  bytes: Buffer;
}

/** Asks the engine from within the process. */
const ask = async (provider: Provider, path: Path): Promise<Prebuilt> => {
  const request = Object.assign(Readable.from([]), { method: 'GET', url: path, headers: {}, socket: {} });
  const ctx = provider.createContext(
    request as unknown as IncomingMessage,
    new ServerResponse(request as unknown as IncomingMessage),
  );
  await compose(provider.middleware)(ctx);
  if (ctx.status !== 200) throw new Error(`the engine answered ${ctx.status} at ${path}`);
  const bytes = Buffer.from(JSON.stringify(ctx.body));
  const etag = `"${createHash('sha256').update(bytes).digest('base64url')}"`;
  return { type: ctx.response.get('Content-Type'), etag, bytes };
};

const build = async (provider: Provider): Promise<Record<Path, Prebuilt>> =>
  Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await ask(provider, path)])));

/** Any site's script may read what is served so (Fetch standard, "CORS protocol"), and sends no credentials along. */
export const openToAllSites = (ctx: Koa.Context): void => {
  ctx.set('Access-Control-Allow-Origin', '*');
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

/**
 * RFC 9110 section 13.1.2, whatever the request's `Cache-Control` says: that is for caches, and scripts that send this header
 * always send `no-cache` along (Fetch standard). Koa's `fresh` would have them fetch everything anew.
 */
const names = (ifNoneMatch: string, etag: string): boolean =>
  ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);

/** @param provider the instance that serves now: the bytes are made at the first request that finds it there */
export const metadataDocuments = (provider: () => Provider): Koa.Middleware => {
  const built = new WeakMap<Provider, Promise<Record<Path, Prebuilt>>>();
  const documentsOf = (instance: Provider) => {
    const known = built.get(instance);
    if (known) return known;
    const documents = build(instance);
    built.set(instance, documents);
    documents.catch(() => built.delete(instance));
    return documents;
  };

  return async (ctx, next) => {
    const { path, method } = ctx;
    if (!isPath(path)) return next();
    if (method === 'OPTIONS') return answerPreflight(ctx);
    if (method !== 'GET' && method !== 'HEAD') return next();
    const { type, etag, bytes } = (await documentsOf(provider()))[path];
    openToAllSites(ctx);
    ctx.set({ 'Content-Type': type, ETag: etag, 'Cache-Control': `public, max-age=${jwksMaxAgeSeconds}` });
    ctx.body = bytes;
    if (names(ctx.get('If-None-Match'), etag)) {
      ctx.status = 304;
      ctx.body = null;
    }
  };
};
