/** The OpenID Foundation's Implicit OP plan, one test for each of its modules and named as the module. */
import { afterAll, beforeAll } from 'vitest';
import { startServer, type TestServer } from '../support/server.ts';
import { newAccount, oidccPlan, registerStatic } from './oidcc-plans.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

oidccPlan('oidcc-implicit-certification-test-plan', 'id_token, static clients', async () => {
  const variant = { responseType: 'id_token', register: registerStatic(server) } as const;
  return { server, account: await newAccount(server), variant };
});
