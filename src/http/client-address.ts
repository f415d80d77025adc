/** Whose address a request comes from, so that limits and the audit log cannot be told another. */
import { type BlockList, isIP } from 'node:net';
import type Koa from 'koa';
import { LRUCache } from 'lru-cache';

/** An address as it is written in X-Forwarded-For: perhaps with a port, in brackets, with a zone. Undefined for anything else. */
const parseAddress = (text: string): string | undefined => {
  const plain = text
    .trim()
    .replace(/^\[([^\]]*)\](:\d{1,5})?$/, '$1')
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, '$1')
    .replace(/%.*$/, '')
    .replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(plain) ? plain : undefined;
};

/** Of connections, which many requests come by. */
const peers = new LRUCache<string, string>({ max: 1000 });
const parsePeer = (peer: string): string => {
  const known = peers.get(peer);
  if (known !== undefined) return known;
  const address = parseAddress(peer) ?? '';
  peers.set(peer, address);
  return address;
};

const isListed = (list: BlockList, address: string): boolean =>
  list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** Whether the peer of a connection is a proxy of ours, whose headers are believed. */
export const isTrustedPeer = (trusted: BlockList, peer: string): boolean => {
  const address = parseAddress(peer);
  return address !== undefined && isListed(trusted, address);
};

/**
 * The address that the outermost of `proxies` reverse proxies saw. Each appends the peer it was talking to, so only the last
 * `proxies` entries are theirs, and what stands before them is whatever the client sent.
 * - From a peer that is not `trusted` the header is ignored: it has gone past the proxy.
 * - With fewer entries than proxies the first one counts: nobody outside wrote one.
 * - What is not an address is not taken for one: the peer's stands for it, whose callers then share their limits.
 */
export const clientAddress = (
  { peer, forwarded }: { peer: string; forwarded: string },
  { proxies, trusted }: { proxies: number; trusted: BlockList },
): string => {
  const from = parsePeer(peer);
  if (!proxies || !forwarded || !from || !isListed(trusted, from)) return from;
  const [seen = ''] = forwarded.split(',').slice(-proxies);
  return parseAddress(seen) ?? from;
};

const seen = Symbol('address');
interface Seen extends Koa.Request {
  [seen]?: string;
}

/**
 * Makes `ctx.ip` of an app the client's address.
 * @param directPort where clients show certificates to us: whatever is in between adds no headers, so those that are there are theirs
 */
export const trustProxies = (app: Koa, proxies: number, trusted: BlockList, directPort?: number): void => {
  // On the request itself: a WeakMap of requests costs the garbage collector more than the address costs.
  Object.defineProperty(app.request, 'ip', {
    get(this: Seen) {
      const given = this[seen];
      if (given !== undefined) return given;
      const isDirect = directPort !== undefined && this.socket.localPort === directPort;
      const input = {
        peer: this.socket.remoteAddress ?? '',
        forwarded: isDirect ? '' : this.get('x-forwarded-for'),
      };
      const address = clientAddress(input, { proxies, trusted });
      this[seen] = address;
      return address;
    },
    set(this: Seen, address: string) {
      this[seen] = address;
    },
  });
};
