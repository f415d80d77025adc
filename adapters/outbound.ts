/**
 * The only way to fetch a URL that somebody else chose (`jwks_uri`, `sector_identifier_uri`, back-channel logout, client
 * metadata documents, webhooks): it must not become a way into our own network (server-side request forgery). Given to
 * oidc-provider as `fetch`, and to whoever else fetches.
 *
 * - https only, and no address of special use (loopback, private, link-local …). A name is resolved once, all its addresses
 *   are checked, and the connection goes to one of those that were checked: a name that resolves differently a second time
 *   gains nothing, since there is no second time.
 * - Hosts in OUTBOUND_ALLOW (development only) are exempt from both, and may be plain http.
 * - A redirect is not followed, whoever asks: the caller gets the 3xx response.
 * - 5 s from the first look-up to the last byte of the body (the engine itself sets 2.5 s), and 256 KiB of body as it comes:
 *   no compression is offered, and what is compressed all the same is not unpacked.
 * - No connection is kept or shared, and nothing of ours goes along: no cookies, no credentials from the URL.
 *
 * Made of node:https, whose `lookup` is where the check belongs; the platform's `fetch` lets nobody in there.
 */
import { type LookupAddress, lookup as lookupHost } from 'node:dns';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { Readable } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import { type Answered, type FetchPurpose, fetches } from '../src/observing.ts';

const timeoutMs = 5000;
const bodyBytesMax = 256 * 1024;
const headBytesMax = 16 * 1024;

/** IANA special-purpose address registries (RFC 6890), and multicast. Of IPv6 only global unicast, 2000::/3, is left at all. */
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
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // IPv4 within IPv6, in every notation that there is for it; unique local, link-local, site-local, multicast.
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '2620:4f:8000::/48',
  '3fff::/20',
]) {
  const [address = '', prefix] = range.split('/');
  specialUse.addSubnet(address, Number(prefix), isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

const isSpecialUse = (address: string): boolean => specialUse.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

const refused = (why: string) =>
  Object.assign(new TypeError(`outbound request refused: ${why}`), { code: 'outbound_refused' });
const specialAddress = () => refused('the host has a special-use IP address');

/** Where names are looked up; tests give their own. */
export type Resolve = (hostname: string, done: (error: Error | null, addresses: LookupAddress[]) => void) => void;

const resolveByDns: Resolve = (hostname, done) => lookupHost(hostname, { all: true }, done);

/**
 * What node:net connects by: it takes the addresses from here and never asks again. One that may not be reached is enough to
 * refuse them all, or the answer would decide which of them is tried.
 */
const guardedLookup =
  (resolve: Resolve, exempt: boolean): LookupFunction =>
  (hostname, { all, family }, done) => {
    resolve(hostname, (error, addresses) => {
      const fail = (cause: Error) => done(cause as NodeJS.ErrnoException, '');
      if (error) return fail(error);
      if (!exempt && addresses.some(({ address }) => isSpecialUse(address))) return fail(specialAddress());
      const wanted = family === 4 || family === 6 ? addresses.filter((one) => one.family === family) : addresses;
      const [first] = wanted;
      if (!first) return fail(new Error('the host has no address'));
      if (all) done(null, wanted);
      else done(null, first.address, first.family);
    });
  };

/** Below 1024 only what is for the web: a TLS handshake is an odd thing to send to anything else. */
const isWebPort = (port: number) => port === 443 || port === 80 || port >= 1024;

interface Target {
  url: URL;
  exempt: boolean;
}

const toHosts = (allow: readonly string[]): ReadonlySet<string> => new Set(allow.map((host) => host.toLowerCase()));

/** Whether a host of a URL (`host`, or `host:port` where the port is not the scheme's own) is one of OUTBOUND_ALLOW. */
export const isListed = (allow: readonly string[]): ((host: string) => boolean) => {
  const allowed = toHosts(allow);
  return (host) => allowed.has(host) || allowed.has(host.replace(/:\d+$/, ''));
};

/** Where a URL leads, the scheme's own port included. */
export const portOf = ({ port, protocol }: URL): number => Number(port || (protocol === 'https:' ? 443 : 80));

const targetOf = (href: string, allowed: ReadonlySet<string>): Target => {
  const url = URL.parse(href);
  if (!url) throw refused('not a URL');
  const { protocol, hostname, username, password } = url;
  if (protocol !== 'https:' && protocol !== 'http:') throw refused('the URL is not https');
  if (username || password) throw refused('the URL has credentials');
  const port = portOf(url);
  const exempt = allowed.has(hostname) || allowed.has(`${hostname}:${port}`);
  if (exempt) return { url, exempt };
  if (protocol !== 'https:') throw refused('the URL is not https');
  if (!isWebPort(port)) throw refused('the port is not one of the web');
  // Addresses are not looked up, so they are checked here.
  const host = hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) && isSpecialUse(host)) throw specialAddress();
  return { url, exempt };
};

/**
 * Why a URL could never be fetched, as far as it shows without a look-up; undefined when it might be. What somebody writes down
 * is better refused then than at the first use.
 */
export const createOutboundCheck = (allow: readonly string[]): ((href: string) => string | undefined) => {
  const allowed = toHosts(allow);
  return (href) => {
    try {
      const { url, exempt } = targetOf(href, allowed);
      // RFC 6761 section 6.3: such names are always loopback.
      if (!exempt && /(^|\.)localhost\.?$/.test(url.hostname)) throw specialAddress();
      return undefined;
    } catch (error) {
      return (error as Error).message.replace(/^outbound request refused: /, '');
    }
  };
};

/** Statuses that have no body (Fetch standard, "null body status"); `Response` takes none with them. */
const withoutBody = new Set([101, 204, 205, 304]);

/** The same bytes with an end to them. */
const bounded = (message: IncomingMessage): ReadableStream<Uint8Array> => {
  let received = 0;
  return (Readable.toWeb(message) as ReadableStream<Uint8Array>).pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        received += chunk.byteLength;
        if (received <= bodyBytesMax) controller.enqueue(chunk);
        else {
          controller.error(new Error('response too large'));
          message.destroy();
        }
      },
    }),
  );
};

const responseOf = (message: IncomingMessage): Response => {
  const status = message.statusCode ?? 0;
  const headers = new Headers();
  for (let at = 0; at < message.rawHeaders.length; at += 2)
    headers.append(message.rawHeaders[at] as string, message.rawHeaders[at + 1] as string);
  if (status < 200 || status > 599) throw new Error(`unexpected response status ${status}`);
  if (!withoutBody.has(status)) return new Response(bounded(message), { status, headers });
  message.resume();
  return new Response(null, { status, headers });
};

const send = (
  { url, exempt }: Target,
  { method, headers, body, signal }: { method: string; headers: Headers; body: Uint8Array; signal: AbortSignal },
  resolve: Resolve,
  tls: OperatorTls = {},
): Promise<Response> =>
  new Promise((fulfil, reject) => {
    const options = {
      ...tls,
      method,
      headers: Object.fromEntries(headers),
      lookup: guardedLookup(resolve, exempt),
      agent: false,
      maxHeaderSize: headBytesMax,
    } as const;
    let message: IncomingMessage | undefined;
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, options, (answer) => {
      message = answer;
      try {
        fulfil(responseOf(answer));
      } catch (error) {
        answer.destroy();
        reject(error as Error);
      }
    });
    request.on('error', reject);
    // The body's reader is told why it ends, too.
    const abort = () => {
      message?.destroy(signal.reason as Error);
      request.destroy(signal.reason as Error);
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    request.end(body);
  });

/** Whom to trust and what to show, in PEM, where the platform does not know. */
export type OperatorTls = Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>;

interface OutboundOptions {
  /** `host` (any port) or `host:port`, as OUTBOUND_ALLOW has them; an IPv6 address in brackets. */
  allow: readonly string[];
  resolve?: Resolve;
  /** What is asked for, as metrics and traces have it. */
  purpose?: FetchPurpose;
  /** It belongs to the operator, who may learn which request it belongs to. Others are told nothing of ours. */
  trusted?: boolean;
  tls?: OperatorTls;
}

/** A `fetch` that takes a URL and an init; what is refused rejects with the code `outbound_refused`. */
export const createOutboundFetch = ({
  allow,
  resolve = resolveByDns,
  purpose = 'other',
  trusted = false,
  tls = {},
}: OutboundOptions): typeof fetch => {
  const allowed = toHosts(allow);
  return async (input, init = {}) => {
    const target = targetOf(input instanceof Request ? input.url : String(input), allowed);
    // The platform's own reading of method, headers and body; nothing is sent by it.
    const given = new Request(input, { ...init, signal: null, dispatcher: undefined } as RequestInit);
    const body = new Uint8Array(await given.arrayBuffer());
    const { method, headers } = given;
    headers.set('accept-encoding', 'identity');
    if (body.byteLength || !['GET', 'HEAD'].includes(method)) headers.set('content-length', String(body.byteLength));
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(init.signal ? [init.signal] : [])]);
    if (!fetches.tell) return send(target, { method, headers, body, signal }, resolve, tls);
    const answered: Answered = trusted ? { headers: {} } : {};
    const end = fetches.tell(purpose, method, target.url, answered);
    for (const [name, value] of Object.entries(answered.headers ?? {})) headers.set(name, value);
    try {
      const response = await send(target, { method, headers, body, signal }, resolve, tls);
      answered.status = response.status;
      end();
      return response;
    } catch (error) {
      end(error);
      throw error;
    }
  };
};

/**
 * The same, with an exemption for the host of one URL: the operator chose it, and what is their own is likely to have a private
 * address. Time limit, size limit and the refusal to follow redirects stay.
 */
export const createOperatorFetch = (
  url: string,
  purpose: FetchPurpose = 'other',
  tls: OperatorTls = {},
): typeof fetch => {
  const target = new URL(url);
  const allow = [`${target.hostname}:${portOf(target)}`];
  return createOutboundFetch({ allow, purpose, trusted: purpose !== 'breached-passwords' && purpose !== 'sms', tls });
};
