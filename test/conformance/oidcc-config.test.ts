/** The OpenID Foundation's Config OP plan: its one test, named as its one module. */
import { afterAll, beforeAll, expect } from 'vitest';
import { startServer, type TestServer } from '../support/server.ts';
import { verifyDiscovery } from './discovery-checks.ts';
import { planTests } from './module-test.ts';

let server: TestServer;
beforeAll(async () => {
  // The plan wants https wherever a URL stands; TLS itself is ended in front.
  server = await startServer({ JWT_ISSUER: 'https://id.example.com' });
});
afterAll(() => server.stop());

planTests('oidcc-config-certification-test-plan', 'static clients', (moduleTest) => {
  moduleTest('oidcc-discovery-endpoint-verification', async () => {
    const document = await verifyDiscovery(server, { dynamic: false });
    for (const [name, value] of Object.entries(document))
      if (name.endsWith('_endpoint')) expect(value).toMatch(/^https:/);
  });
});
