/**
 * Asks the instance in the same container whether it is ready, and exits with 0 if so: the HEALTHCHECK of the image.
 *
 * It reads four settings instead of loading the configuration: it runs every few seconds, needs no secret, and would
 * otherwise cost more than what it asks for.
 */
import { readFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { isIP } from 'node:net';

/** Longer than the readiness endpoint waits for its parts, shorter than the image's own time limit. */
const timeoutMs = 4000;

const anyAddress = new Set(['', '0.0.0.0', '::']);

/** Where and how to ask. Over TLS the certificate must be the one that the instance was given, for the issuer's name. */
export const healthRequest = (
  environment: Readonly<Record<string, string | undefined>>,
): RequestOptions & { ca?: Buffer; servername?: string; allowPartialTrustChain?: boolean } => {
  const { PORT = '3000', HOST = '', TLS_CERT_PATH, JWT_ISSUER } = environment;
  const address = { host: anyAddress.has(HOST) ? '127.0.0.1' : HOST, port: Number(PORT), path: '/health/ready' };
  if (!TLS_CERT_PATH) return address;
  const { hostname } = new URL(JWT_ISSUER || 'https://localhost');
  return {
    ...address,
    // The authority above it need not be one that this machine knows: the certificate itself is what is trusted.
    ca: readFileSync(TLS_CERT_PATH),
    allowPartialTrustChain: true,
    // A server name is never an address (RFC 6066 section 3).
    ...(isIP(hostname.replace(/^\[|\]$/g, '')) ? {} : { servername: hostname }),
  };
};

/** @returns whether the readiness endpoint answered 200 in time */
export const isReady = (options: ReturnType<typeof healthRequest>): Promise<boolean> =>
  new Promise((resolve) => {
    const asking = (options.ca ? requestTls : request)({ ...options, agent: false, timeout: timeoutMs }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asking.on('timeout', () => asking.destroy(new Error('timeout')));
    asking.on('error', () => resolve(false));
    asking.end();
  });

if (import.meta.main) process.exit((await isReady(healthRequest(process.env))) ? 0 : 1);
