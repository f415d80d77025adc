/** What of the settings of TLS does not go together. */
import { expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';

const base = { NODE_ENV: 'test', ENCRYPTION_MASTER_KEY: 'x'.repeat(32), JWT_ISSUER: 'https://localhost:3000' };
const tls = { TLS_CERT_PATH: '/cert.pem', TLS_KEY_PATH: '/key.pem' };
const proxy = { MTLS_PROXY_HEADER: 'Client-Cert', TRUST_PROXY: '1', TRUST_PROXY_ADDRESSES: '10.0.0.5' };

const mistaken = (environment: Record<string, string>): string[] => {
  try {
    loadConfig({ ...base, ...environment });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes.map((line) => line.split(':')[0] as string);
    throw error;
  }
};

for (const [name, environment, expected] of [
  ['TLS', tls, []],
  [
    'TLS on two ports',
    { ...tls, MTLS_PORT: '3443', MTLS_ORIGIN: 'https://mtls.localhost', TLS_CLIENT_CA_PATH: '/ca.pem' },
    [],
  ],
  ['a proxy', { ...proxy, TLS_CLIENT_CA_PATH: '/ca.pem' }, []],
  ['a certificate without its key', { TLS_CERT_PATH: '/cert.pem' }, ['TLS_KEY_PATH']],
  ['a key without its certificate', { TLS_KEY_PATH: '/key.pem' }, ['TLS_CERT_PATH']],
  ['an issuer without TLS', { ...tls, JWT_ISSUER: 'http://localhost:3000' }, ['JWT_ISSUER']],
  ['a port for certificates without TLS', { MTLS_PORT: '3443' }, ['MTLS_PORT']],
  ['one port for both', { ...tls, MTLS_PORT: '3000' }, ['MTLS_PORT']],
  ['no port', { ...tls, MTLS_PORT: '0' }, ['MTLS_PORT']],
  ['an origin that is none', { ...tls, MTLS_PORT: '3443', MTLS_ORIGIN: 'https://a.example/b' }, ['MTLS_ORIGIN']],
  ['an origin without TLS', { ...proxy, MTLS_ORIGIN: 'http://a.example' }, ['MTLS_ORIGIN']],
  ['an origin for nothing', { MTLS_ORIGIN: 'https://a.example' }, ['MTLS_ORIGIN']],
  ['authorities for nothing', { TLS_CLIENT_CA_PATH: '/ca.pem' }, ['TLS_CLIENT_CA_PATH']],
  ['a header of no proxy', { ...proxy, TRUST_PROXY: '0' }, ['MTLS_PROXY_HEADER']],
  ['a header of any private address', { ...proxy, TRUST_PROXY_ADDRESSES: '' }, ['MTLS_PROXY_HEADER']],
  ['a header that is none', { ...proxy, MTLS_PROXY_HEADER: 'Client Cert' }, ['MTLS_PROXY_HEADER']],
] as [string, Record<string, string>, string[]][])
  it(`${name}: ${expected.join(', ') || 'fine'}`, () => expect(mistaken(environment)).toEqual(expected));
