/** Nobody takes over an account that may do more than they do, whatever its rank is. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ranksTooHigh } from '../../src/federation/identities.commands.ts';
import { createProviders } from '../../src/federation/identity-providers.queries.ts';
import { verifyPhone } from '../../src/users/users.commands.ts';
import { callerOf, machineOf, type TestCaller } from '../support/callers.ts';
import {
  addMember,
  grantPermission,
  grantRole,
  makeGroup,
  makeOrganization,
  makeRole,
} from '../support/organizations.ts';
import { type Answer, signedIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let admin: TestCaller;
let root: TestCaller;
beforeAll(async () => {
  server = await startServer();
  admin = await callerOf(server, { role: 'admin' });
  root = await callerOf(server, { role: 'super_admin' });
});
afterAll(() => server.stop());

const outcome = ({ status, json }: Answer) => [status, json.code];
const pays = 'invoices:pay:any';
const later = () => new Date(Date.now() + 86_400_000);

/** What somebody of the role `user` holds beside it that an admin does not. */
const holdings: Record<string, (userId: string) => Promise<unknown>> = {
  'a permission of their own': (userId) => grantPermission(server, { userId }, pays),
  'a role of a low rank': async (userId) => grantRole(server, { userId }, (await makeRole(server, [pays])).name),
  'a role from tomorrow on': async (userId) =>
    grantRole(server, { userId }, (await makeRole(server, [pays])).name, { startsAt: later() }),
  'a permission by a group': async (userId) =>
    grantPermission(server, { groupId: (await makeGroup(server, { members: [userId] })).id }, pays),
  'a permission in an organization': async (userId) =>
    grantPermission(server, { userId }, pays, {
      organizationId: (await makeOrganization(server, { members: [userId] })).id,
    }),
};

const number = '+442071838750';
const ways: Record<string, (id: string) => [method: string, path: string, body?: unknown]> = {
  'another address': (id) => ['patch', `/users/${id}`, { email: `${randomUUID()}@example.com`, emailVerified: true }],
  'an address said to be verified': (id) => ['patch', `/users/${id}`, { emailVerified: true }],
  'no verified number any more': (id) => ['put', `/users/${id}/profile`, { name: 'Ada' }],
  'no second factors any more': (id) => ['delete', `/users/${id}/mfa`],
};

const person = async (prepare?: (userId: string) => Promise<unknown>) => {
  const one = await callerOf(server, prepare ? { prepare } : {});
  const { db, secrets } = server.app.accounts;
  await verifyPhone(db, secrets, { type: 'system' }, one.id, number);
  return one;
};

describe('an account that holds more than an admin', () => {
  for (const [what, prepare] of Object.entries(holdings))
    it(`${what}: gets nothing from one that would give it away`, async () => {
      const { id } = await person(prepare);
      for (const [way, request] of Object.entries(ways))
        expect([way, ...outcome(await admin.request(...request(id)))]).toEqual([way, 403, 'exceeds_yours']);
      for (const [way, request] of Object.entries(ways))
        expect([way, (await root.request(...request(id))).status]).toEqual([way, way.includes('factors') ? 204 : 200]);
    });

  it('is told by its rank inside organizations, too', async () => {
    const { name } = await makeRole(server, [], { rank: 90 });
    const { id } = await person(async (userId) => {
      const { id: organizationId } = await makeOrganization(server, { members: [userId] });
      await grantRole(server, { userId }, name, { organizationId });
    });
    expect(outcome(await admin.request('delete', `/users/${id}/mfa`))).toEqual([403, 'rank_too_low']);
  });
});

it('an admin helps those who hold no more, in organizations too, and a token no further than it goes', async () => {
  const prepare = async (userId: string) => {
    await grantRole(server, { userId }, 'operator');
    await makeOrganization(server, { owners: [userId] });
  };
  const narrow = await callerOf(server, { role: 'admin', scope: 'users:write:any mfa:reset:any' });
  const machine = await machineOf(server, 'users:write:any mfa:reset:any');
  for (const [way, request] of Object.entries(ways)) {
    const { id } = await person(prepare);
    expect([way, ...outcome(await narrow.request(...request(id)))]).toEqual([way, 403, 'exceeds_yours']);
    expect([way, ...outcome(await machine.request(...request(id)))]).toEqual([way, 403, 'session_needed']);
    expect([way, (await admin.request(...request(id))).status]).toEqual([way, way.includes('factors') ? 204 : 200]);
  }
});

describe('what an admin has written', () => {
  it('as an identity provider signs in nobody who holds more', async () => {
    const { db, secrets } = server.app.accounts;
    const signsIn = async (by: TestCaller, userId: string): Promise<boolean> => {
      const id = `p${randomUUID().slice(0, 8)}`;
      const body = { id, preset: 'oidc', issuer: 'https://id.example', client_id: 'x', client_secret: 'y' };
      expect((await by.request('post', '/identity-providers', body)).status).toBe(201);
      const provider = await createProviders(db, secrets, []).find(id);
      if (!provider) throw new Error('no provider');
      const before = await ranksTooHigh(db, provider, userId);
      // Whoever changes it answers for it from then on.
      expect((await admin.request('put', `/identity-providers/${id}`, body)).status).toBe(by === admin ? 200 : 403);
      return !before;
    };
    for (const prepare of Object.values(holdings)) {
      const { id } = await callerOf(server, { prepare });
      expect([await signsIn(admin, id), await signsIn(root, id)]).toEqual([false, true]);
    }
    const { id } = await callerOf(server, { role: 'operator' });
    expect(await signsIn(admin, id)).toBe(true);
  });

  it('as a first-party application is somebody else’s to those who hold more', async () => {
    const redirectUri = 'https://app.example.com/callback';
    const scope = 'openid users:write:own';
    const opens = async (by: TestCaller, email: string): Promise<boolean> => {
      const { json } = await by.request('post', '/clients', { redirect_uris: [redirectUri], scope, first_party: true });
      const browser = await signedIn(server, email);
      const query = new URLSearchParams({
        ...{ client_id: json.client_id, response_type: 'code', scope, redirect_uri: redirectUri },
        ...{ prompt: 'none', code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' },
        resource: `${server.issuer}/api`,
      });
      return (await browser.go(`/oauth/authorize?${query}`)).url.searchParams.has('code');
    };
    const { 'a role from tomorrow on': _later, ...now } = holdings;
    for (const prepare of Object.values(now)) {
      const { email } = await callerOf(server, { prepare });
      expect([await opens(admin, email), await opens(root, email)]).toEqual([false, true]);
    }
    const { email, id } = await callerOf(server);
    await addMember(server, (await makeOrganization(server)).id, id, { isOwner: true });
    expect(await opens(admin, email)).toBe(true);
  });
});
