/**
 * The certificate that a client has shown in TLS: to us, or to a proxy of ours that passes it on in a header. That the
 * client holds its key has been proven by the handshake; whose it is, and whether that matters, is for others to say.
 */
import { X509Certificate } from 'node:crypto';
import type { BlockList } from 'node:net';
import { TLSSocket } from 'node:tls';
import type Koa from 'koa';
import { isTrustedPeer } from './client-address.ts';

/** Longer than any certificate that a proxy would pass on: headers altogether have 16 KiB. */
const headerLengthMax = 16_384;

const parse = (certificate: string | Buffer): X509Certificate | undefined => {
  try {
    return new X509Certificate(certificate);
  } catch {
    return undefined;
  }
};

/**
 * A certificate as proxies write it into a header: RFC 9440 section 2.1 (`:base64 of DER:`), or URL-encoded PEM as nginx
 * does. Anything else, two of them included, is none.
 */
export const parseCertificateHeader = (value: string): X509Certificate | undefined => {
  if (value.length > headerLengthMax) return undefined;
  const [, der] = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(value) ?? [];
  if (der) return parse(Buffer.from(der, 'base64'));
  if (!/^(-|%2d){5}BEGIN/i.test(value)) return undefined;
  try {
    const pem = decodeURIComponent(value).trim();
    return /^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----$/.test(pem) ? parse(pem) : undefined;
  } catch {
    return undefined;
  }
};

const isCurrent = ({ validFromDate, validToDate }: X509Certificate): boolean => {
  const now = new Date();
  return validFromDate <= now && now <= validToDate;
};

export type CertificateOf = (ctx: Koa.Context) => X509Certificate | undefined;

/**
 * Reads the certificate of a request: none if the client showed none, or one that has expired or is not valid yet.
 * @param header where a proxy passes it on; from peers that are not `trusted` it is ignored
 */
export const createCertificateReader =
  ({ header, trusted }: { header: string | undefined; trusted: BlockList }): CertificateOf =>
  (ctx) => {
    const { socket } = ctx.req;
    const shown = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    const passedOn =
      !shown && header && isTrustedPeer(trusted, socket.remoteAddress ?? '')
        ? parseCertificateHeader(ctx.get(header))
        : undefined;
    const certificate = shown ?? passedOn;
    return certificate && isCurrent(certificate) ? certificate : undefined;
  };
