/** A service for the FAPI 2.0 plans: it knows client certificates, has somebody with a full profile, and speaks TLS too. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, getCiphers, type TLSSocket } from 'node:tls';
import { expect } from 'vitest';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { type Certified, makeCertificate } from '../support/certificates.ts';
import { newPerson, type Person, registerRelyingParty } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

export interface Fapi2Server {
  server: TestServer;
  account: Person;
  /** The same service behind TLS of its own, with certificates from P-256. */
  tls: { port: number; authority: Certified };
  stop(): Promise<void>;
}

const profile = {
  name: 'Jane Doe',
  given_name: 'Jane',
  family_name: 'Doe',
  middle_name: 'M.',
  nickname: 'JD',
  preferred_username: 'jane',
  profile: 'https://example.com/jane',
  picture: 'https://example.com/jane.png',
  website: 'https://jane.example.com/',
  gender: 'female',
  birthdate: '1985-10-31',
  zoneinfo: 'America/Los_Angeles',
  locale: 'en-US',
  phone_number: '+1 (555) 555-0100',
  street_address: '100 Universal City Plaza',
  locality: 'Hollywood',
  region: 'CA',
  postal_code: '91608',
  country: 'USA',
};

export const startFapi2Server = async (): Promise<Fapi2Server> => {
  const server = await startServer({
    MTLS_PROXY_HEADER: 'Client-Cert',
    TRUST_PROXY: '1',
    TRUST_PROXY_ADDRESSES: '127.0.0.1,::1',
  });
  const account = await newPerson(server);
  await (await registerRelyingParty(server)).signIn(account);
  const { browser } = account;
  const saved = await browser.submit(await browser.go('/account/profile'), profile, '/account/profile');
  expect(saved.url.search).toBe('?notice=profileSaved');

  const directory = await mkdtemp(join(tmpdir(), 'countersign-fapi2-'));
  const authority = makeCertificate({ subject: [['CN', 'Authority']], authority: true });
  const site = makeCertificate({ issuer: authority, purpose: 'server', alternatives: [['dns', 'localhost']] });
  const [certPath, keyPath] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  await writeFile(certPath, site.cert);
  await writeFile(keyPath, site.key);
  const options = { certPath, keyPath, asksCertificate: true, log: createLog('silent') };
  const listener = await listen(server.app.koa.callback(), 0, '127.0.0.1', options);
  return {
    server,
    account,
    tls: { port: listener.port, authority },
    stop: async () => {
      await close(listener.server);
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/** What is agreed upon with a client that speaks these versions and ciphers, if anything is. */
const agree = (
  { port, authority }: Fapi2Server['tls'],
  options: { minVersion: 'TLSv1' | 'TLSv1.2'; maxVersion: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'; ciphers?: string },
): Promise<string | undefined> =>
  new Promise((resolve) => {
    const socket: TLSSocket = connect({ port, host: 'localhost', ca: authority.cert, ...options }, () => {
      resolve(`${socket.getProtocol()} ${socket.getCipher().standardName}`);
      socket.destroy();
    });
    socket.once('error', () => resolve(undefined));
  });

/** RFC 9325 section 4.2, for a certificate on an elliptic curve. */
const recommended = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'];

/** What the suite asks of the TLS of each endpoint (FAPI 2.0 Security Profile section 5.2.2, RFC 9325). */
export const expectGoodTls = async (tls: Fapi2Server['tls']): Promise<void> => {
  const weakToo = '@SECLEVEL=0';
  expect(await agree(tls, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: `ALL:${weakToo}` })).toBeUndefined();
  expect(await agree(tls, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' })).toMatch(/^TLSv1\.3 /);
  for (const cipher of recommended)
    expect(await agree(tls, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: cipher })).toMatch(/^TLSv1\.2 /);
  const others = getCiphers()
    .map((name) => name.toUpperCase())
    .filter((name) => !name.startsWith('TLS_') && !/^ECDHE-(ECDSA|RSA)-AES(128|256)-GCM-/.test(name));
  const ciphers = `${others.join(':')}:${weakToo}`;
  expect(await agree(tls, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers })).toBeUndefined();
};
