/** Tells Consul where this service is: once for all processes that share its port. */
import { hostname } from 'node:os';
import { registerWithConsul } from '../adapters/consul.ts';
import type { Config } from './config.ts';
import type { Log } from './log.ts';

type AnnounceSettings = Pick<
  Config,
  Extract<keyof Config, `CONSUL_${string}`> | 'HOST' | 'TLS_CERT_PATH' | 'JWT_ISSUER'
>;

/** Where one listens, not where one is found. */
const anyAddress = new Set(['0.0.0.0', '::']);

/**
 * Registers by the name that the machine has, unless HOST is an address of its own; does nothing without CONSUL_ADDR.
 * @param port where it listens
 * @returns a function that deregisters
 */
export const announce = async (config: AnnounceSettings, port: number, log: Log): Promise<() => Promise<void>> => {
  const { CONSUL_ADDR: address, HOST, TLS_CERT_PATH, JWT_ISSUER } = config;
  if (!address) return () => Promise.resolve();
  const host = HOST && !anyAddress.has(HOST) ? HOST : hostname();
  return registerWithConsul({
    address,
    token: config.CONSUL_HTTP_TOKEN,
    tls: { caPath: config.CONSUL_CACERT, certPath: config.CONSUL_CLIENT_CERT, keyPath: config.CONSUL_CLIENT_KEY },
    name: config.CONSUL_SERVICE_NAME,
    tags: config.CONSUL_TAGS,
    id: `${config.CONSUL_SERVICE_NAME}-${host}-${port}`,
    host,
    port,
    healthPath: '/health/ready',
    ...(TLS_CERT_PATH ? { tlsName: new URL(JWT_ISSUER).hostname } : {}),
    log,
  });
};
