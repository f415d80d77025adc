/**
 * Who may read `/metrics`. It tells how many people there are and when they sign in, so it must not be public by accident:
 * - with METRICS_PORT it is there and nowhere else;
 * - with METRICS_TOKEN whoever asks must send that;
 * - with neither only those are answered who ask directly, from a loopback or private address: a request that came through a
 *   proxy says so in its headers, and for it there is no such page. Prometheus in the same network needs nothing to be set.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type Koa from 'koa';
import type { Metrics } from './metrics.ts';

const inside = new BlockList();
for (const range of [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
]) {
  const [address = '', prefix] = range.split('/');
  inside.addSubnet(address, Number(prefix), 'ipv4');
}
inside.addSubnet('fc00::', 7, 'ipv6');
inside.addSubnet('fe80::', 10, 'ipv6');
inside.addAddress('::1', 'ipv6');

const isInside = (peer: string): boolean => {
  const address = peer.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) !== 0 && inside.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
};

/** What proxies put on requests that they pass on, be it empty: a caller may have one of them left out (`Connection: X-Forwarded-For`). */
const proxyHeader =
  /^(forwarded|via|cdn-loop|cf-connecting-ip|true-client-ip|x-amzn-trace-id|x-(client|real)-ip|x-(envoy|forwarded|original)-.+)$/;
const isProxied = ({ headers }: IncomingMessage): boolean =>
  Object.keys(headers).some((name) => proxyHeader.test(name));

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

export interface ExposeOptions {
  enabled: boolean;
  /** METRICS_PORT */
  port?: number | undefined;
  /** METRICS_TOKEN */
  token?: string | undefined;
  /** The exposition; that of all processes of a group, where there are several. */
  expose: Metrics['expose'];
}

/** Serves `/metrics`, and on a port of its own nothing else. */
export const exposeMetrics = ({ enabled, port, token, expose }: ExposeOptions): Koa.Middleware => {
  const wanted = token === undefined ? undefined : digest(`Bearer ${token}`);
  const answer = async (ctx: Koa.Context, next: Koa.Next, isOwnPort: boolean): Promise<void> => {
    if (ctx.path !== '/metrics') {
      ctx.status = 404;
      return;
    }
    if (!enabled || (port !== undefined && !isOwnPort)) return next();
    const peer = ctx.req.socket.remoteAddress ?? '';
    if (!wanted && !isOwnPort && (!isInside(peer) || isProxied(ctx.req))) return next();
    ctx.set('Cache-Control', 'no-store');
    if (wanted && !timingSafeEqual(digest(ctx.get('authorization')), wanted)) {
      ctx.status = 401;
      // RFC 6750 section 3
      ctx.set('WWW-Authenticate', 'Bearer');
      return;
    }
    const { type, body } = await expose();
    ctx.set('Content-Type', type);
    ctx.body = body;
  };
  return (ctx, next) => {
    const isOwnPort = port !== undefined && ctx.req.socket.localPort === port;
    return isOwnPort || ctx.path === '/metrics' ? answer(ctx, next, isOwnPort) : next();
  };
};
