/** Instances of the OpenID Connect plans: a server, its clients and a person, for the modules of oidcc-modules.ts. */
import { beforeAll, expect } from 'vitest';
import { Browser } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { newPerson, type Person, send } from '../support/relying-party.ts';
import { signIn } from '../support/requests.ts';
import type { RegisteredClient, TestServer } from '../support/server.ts';
import { planTests } from './module-test.ts';
import { type Module, modules } from './modules.ts';
import { oidccModules, profile } from './oidcc-modules.ts';
import { type Exception, runOf } from './runs.ts';
import { openSuite, type Suite, type Variant } from './suite-client.ts';

/** An account with the profile that the plan's user has. */
export const newAccount = async (server: TestServer): Promise<Person> => {
  const account = await newPerson(server);
  const browser = new Browser(server.issuer);
  await signIn(browser, account.email);
  const saved = await browser.submit(await browser.go('/account/profile'), profile, '/account/profile');
  expect(saved.url.search).toBe('?notice=profileSaved');
  return account;
};

/** Clients that the operator registers. The suite has them do without PKCE. */
export const registerStatic =
  (server: TestServer): Variant['register'] =>
  (metadata) =>
    server.client({ require_pkce: false, ...metadata });

/** A token for clients that register themselves and, as the suite's do not know PKCE, are let do without. */
export const initialAccessToken = async (server: TestServer): Promise<string> => {
  const admin = await callerOf(server, { role: 'super_admin' });
  const grantTypes = ['authorization_code', 'refresh_token', 'implicit'];
  const policy = { name: 'conformance', grantTypes, requirePkce: false };
  const created = await admin.request('post', '/software-policies', policy);
  expect([created.status, created.json?.code]).toEqual([201, undefined]);
  const token = await admin.request('post', '/initial-access-tokens', { note: 'Suite', softwarePolicy: 'conformance' });
  expect(token.status).toBe(201);
  return token.json.token;
};

/** Registers by itself, and looks at the answer (OpenID Connect Dynamic Client Registration 1.0 section 3.2). */
export const registerDynamic =
  (server: TestServer, token: string): Variant['register'] =>
  async (metadata) => {
    const { status, headers, body } = await send(`${server.issuer}/oauth/register`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(metadata),
    });
    if (status !== 201) throw new Error(`${status} ${body.error}: ${body.error_description}`);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(body.registration_client_uri).toMatch(new RegExp(`^${server.issuer}/`));
    expect(body.registration_access_token).toMatch(/./);
    if (body.client_secret !== undefined) expect(body.client_secret_expires_at).toEqual(expect.any(Number));
    return body as RegisteredClient;
  };

type OidccPlan = {
  [P in keyof typeof modules]: Module<P> extends keyof typeof oidccModules ? P : never;
}[keyof typeof modules];

/** Declares a test for each module of a plan that is made of those of oidcc-modules.ts. */
export const oidccPlan = (
  plan: OidccPlan,
  variant: string,
  open: () => Promise<Pick<Suite, 'server' | 'account'> & { variant: Variant }>,
): void => {
  const { exceptions } = runOf(plan, variant) as { exceptions: Record<string, Exception | undefined> };
  planTests(plan, variant, (moduleTest) => {
    let suite: Suite;
    beforeAll(async () => {
      const { server, account, variant } = await open();
      suite = await openSuite(server, variant, account);
    });
    for (const module of modules[plan])
      if (exceptions[module]?.[0] !== 'not applicable') moduleTest(module, () => oidccModules[module](suite));
  });
};
