/**
 * The only way to fetch a URL that somebody else chose (`jwks_uri`, `sector_identifier_uri`, back-channel logout): it
 * must not become a way into our own network (server-side request forgery). Given to oidc-provider as `fetch`.
 *
 * - https only, and no address of special use (loopback, private, link-local …). Names are resolved and checked before
 *   anything is sent; oidc-provider's dispatcher checks the address that was really connected to, so a name that
 *   resolves differently the second time gains nothing. Without that dispatcher nothing is fetched.
 * - Hosts in OUTBOUND_ALLOW (development only) are exempt from both, and may be plain http.
 * - A redirect is not followed, whoever asks: the caller gets the 3xx response.
 * - 5 s for everything (the engine itself sets 2.5 s), and 256 KiB of body: the engine's own limits are infinite.
 */
import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';

const timeoutMs = 5000;
const bodyBytesMax = 256 * 1024;

/** IANA special-purpose address registries (RFC 6890), and multicast. */
const specialUse = new BlockList();
for (const range of [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'ff00::/8',
]) {
  const [address = '', prefix] = range.split('/');
  specialUse.addSubnet(address, Number(prefix), isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** An IPv4 address inside IPv6 (`::ffff:127.0.0.1`) is matched by the ranges of IPv4. */
const isSpecialUse = (address: string): boolean => specialUse.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

const refused = (why: string) =>
  Object.assign(new TypeError(`outbound request refused: ${why}`), { code: 'outbound_refused' });

const assertPublic = async (hostname: string): Promise<void> => {
  const host = hostname.replace(/^\[|\]$/g, '');
  const addresses = isIP(host) ? [host] : (await lookup(host, { all: true })).map(({ address }) => address);
  if (addresses.some(isSpecialUse)) throw refused('the host has a special-use IP address');
};

/** The same response with an end to its body. */
const bounded = (response: Response): Response => {
  if (!response.body) return response;
  let received = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => {
      received += chunk.byteLength;
      if (received > bodyBytesMax) controller.error(new Error('response too large'));
      else controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(limit), response);
};

/** @param allow `host` (any port) or `host:port`, as OUTBOUND_ALLOW has them; an IPv6 address in brackets. */
export const createOutboundFetch = ({ allow }: { allow: readonly string[] }): typeof fetch => {
  const allowed = new Set(allow.map((host) => host.toLowerCase()));
  return async (input, init = {}) => {
    const { href, protocol, hostname, port, username, password } = new URL(
      input instanceof Request ? input.url : input,
    );
    if (username || password) throw refused('the URL has credentials');
    const { dispatcher, ...options } = init as RequestInit & { dispatcher?: unknown };
    const signals = [AbortSignal.timeout(timeoutMs), ...(options.signal ? [options.signal] : [])];
    const request: RequestInit & { dispatcher?: unknown } = {
      ...options,
      redirect: 'manual',
      signal: AbortSignal.any(signals),
    };
    const exempt = allowed.has(hostname) || allowed.has(`${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`);
    if (!exempt) {
      if (protocol !== 'https:') throw refused('the URL is not https');
      if (!dispatcher) throw refused('no dispatcher guards the connection');
      await assertPublic(hostname);
      request.dispatcher = dispatcher;
    }
    return bounded(await fetch(href, request));
  };
};
