/** The OpenID Foundation's Basic OP plan, one test for each of its modules and named as the module. */
import { afterAll, beforeAll } from 'vitest';
import type { Person } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { initialAccessToken, newAccount, oidccPlan, registerDynamic, registerStatic } from './oidcc-plans.ts';

const plan = 'oidcc-basic-certification-test-plan';

let server: TestServer;
let account: Person;
beforeAll(async () => {
  server = await startServer({ DYNAMIC_REGISTRATION: 'open' });
  account = await newAccount(server);
});
afterAll(() => server.stop());

oidccPlan(plan, 'static clients', async () => {
  const register = registerStatic(server);
  return { server, account, variant: { responseType: 'code', register } };
});

oidccPlan(plan, 'dynamic clients', async () => {
  const register = registerDynamic(server, await initialAccessToken(server));
  return { server, account, variant: { responseType: 'code', register } };
});
