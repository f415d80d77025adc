/** The image's HEALTHCHECK: over TLS it believes the instance's own certificate and no other. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { healthRequest, isReady } from '../../src/health-check.ts';
import { makeCertificate } from '../support/certificates.ts';

const listening = async (server: ReturnType<typeof createServer>): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return String((server.address() as AddressInfo).port);
};

it('is well when the readiness endpoint says so', async () => {
  let status = 200;
  const server = createServer(
    ({ url }, response) => void response.writeHead(url === '/health/ready' ? status : 404).end(),
  );
  const PORT = await listening(server);
  expect(await isReady(healthRequest({ PORT, HOST: '0.0.0.0' }))).toBe(true);
  status = 503;
  expect(await isReady(healthRequest({ PORT }))).toBe(false);
  await new Promise((resolve) => server.close(resolve));
  expect(await isReady(healthRequest({ PORT }))).toBe(false);
});

it('over TLS wants the certificate that the instance was given', async () => {
  const authority = makeCertificate({ subject: [['CN', 'CA']], authority: true });
  const site = () =>
    makeCertificate({
      subject: [['CN', 'id']],
      issuer: authority,
      purpose: 'server',
      alternatives: [['dns', 'id.example.com']],
    });
  const [own, another] = [site(), site()];
  const server = createTlsServer({ cert: own.cert, key: own.key }, (_, response) => void response.end());
  const PORT = await listening(server);
  const directory = mkdtempSync(join(tmpdir(), 'countersign-health-'));
  const TLS_CERT_PATH = join(directory, 'cert.pem');
  const ask = (certificate: string, JWT_ISSUER = 'https://id.example.com') => {
    writeFileSync(TLS_CERT_PATH, certificate);
    return isReady(healthRequest({ PORT, TLS_CERT_PATH, JWT_ISSUER }));
  };
  expect(await ask(own.cert)).toBe(true);
  expect(await ask(`${own.cert}${authority.cert}`)).toBe(true);
  expect(await ask(another.cert)).toBe(false);
  expect(await ask(own.cert, 'https://other.example.com')).toBe(false);
  rmSync(directory, { recursive: true });
  server.close();
});
