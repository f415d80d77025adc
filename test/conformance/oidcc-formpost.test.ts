/** The OpenID Foundation's Form Post OP plans, one test for each of their modules and named as the module. */
import { afterAll, beforeAll } from 'vitest';
import type { Person } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { newAccount, oidccPlan, registerStatic } from './oidcc-plans.ts';
import type { Variant } from './suite-client.ts';

let server: TestServer;
let account: Person;
beforeAll(async () => {
  server = await startServer();
  account = await newAccount(server);
});
afterAll(() => server.stop());

const open = (responseType: Variant['responseType']) => async () => {
  const register = registerStatic(server);
  return { server, account, variant: { responseType, responseMode: 'form_post', register } as const };
};

oidccPlan('oidcc-formpost-basic-certification-test-plan', 'static clients', open('code'));
oidccPlan('oidcc-formpost-hybrid-certification-test-plan', 'code id_token, static clients', open('code id_token'));
oidccPlan('oidcc-formpost-implicit-certification-test-plan', 'id_token, static clients', open('id_token'));
