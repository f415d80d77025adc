/** GET /auth/me/activity: one's own part of the audit log, and no more of it than is meant for the person. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Actor, type AuditEvent, recordEvent } from '../../src/audit/logs.commands.ts';
import { registerAccount } from '../support/browser.ts';
import { callerOf, type TestCaller } from '../support/callers.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let ada: TestCaller;
let bob: TestCaller;
beforeAll(async () => {
  server = await startServer();
  ada = await callerOf(server, { email: await registerAccount(server) });
  bob = await callerOf(server, { role: 'admin' });
});
afterAll(() => server.stop());

const from = (caller: TestCaller): Actor => ({
  type: 'user',
  id: caller.id,
  address: '192.0.2.10',
  requestId: 'request-0010',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
});
/** Writes an event down, whether there are such actions or not. */
const record = (actor: Actor, event: Omit<AuditEvent, 'action'> & { action: string }) =>
  recordEvent(server.database.db, actor, event as AuditEvent);
const activity = async (caller: TestCaller, query = '') => {
  const { status, json } = await caller.request('get', `/auth/me/activity?${query}`);
  expect([status, json]).toEqual([200, expect.anything()]);
  return json as { data: Record<string, unknown>[]; nextCursor: string | null };
};

describe('shows', () => {
  it('the sign-in, with device, address and application', async () => {
    const { data } = await activity(ada);
    const signIn = data.find(({ action }) => action === 'session.sign_in');
    expect(signIn).toEqual({
      id: expect.any(String),
      at: expect.any(String),
      action: 'session.sign_in',
      by: 'you',
      device: 'Firefox · Linux',
      address: expect.stringMatching(/^(::1|(::ffff:)?127\.0\.0\.1)$/),
      client: { id: expect.any(String), name: null },
      signIn: { outcome: 'allow', signals: [], country: null, city: null },
    });
    expect(data.at(-1)).toMatchObject({ action: 'user.register', by: 'unknown', device: null, address: null });
  });

  it('the application by its name', async () => {
    const client = await server.client({ client_name: 'Acme', redirect_uris: ['https://app.example.com/callback'] });
    const target = { type: 'client', id: client.client_id };
    await record(from(ada), { action: 'consent.grant', target, meta: { scopes: ['openid'] } });
    await record(from(ada), { action: 'consent.withdraw', target: { type: 'client', id: 'gone' } });
    const [second, first] = (await activity(ada, 'limit=2')).data;
    expect(first).toMatchObject({ action: 'consent.grant', client: { id: client.client_id, name: 'Acme' } });
    expect(second).toMatchObject({ action: 'consent.withdraw', client: { id: 'gone', name: null } });
    expect(JSON.stringify([first, second])).not.toMatch(/meta|scopes|request-0010/);
  });

  const others: [by: string, type: Actor['type'], id?: string][] = [
    ['administrator', 'user', 'somebody'],
    ['application', 'client', 'somebody'],
    ['unknown', 'anonymous'],
    ['service', 'system'],
    ['service', 'operator'],
  ];
  for (const [by, type, id] of others)
    it(`what somebody else did to the account (${type}), and not from where`, async () => {
      const { id: _, ...request } = from(bob);
      const target = { type: 'user', id: ada.id };
      await record(
        { ...request, type, ...(id ? { id } : {}) },
        { action: 'user.touch', target, meta: { reason: 'x' } },
      );
      const [event] = (await activity(ada, 'limit=1')).data;
      expect(event).toMatchObject({ action: 'user.touch', by, device: null, address: null });
      // Which application it was is the person's business; which administrator it was is not.
      expect(event?.client).toEqual(type === 'client' ? { id, name: null } : null);
      expect(JSON.stringify(event)).not.toMatch(type === 'client' ? /192\.0\.2/ : /somebody|192\.0\.2/);
    });
});

describe('what is done before being signed in', () => {
  for (const [action, by] of [
    ['backup_code.use', 'you'],
    ['session.disown', 'you'],
    ['sign_in_link.request', 'unknown'],
    ['session.sign_in_failed', 'unknown'],
  ])
    it(`${action} is by ${by}`, async () => {
      const { id: _, ...request } = from(ada);
      await record({ ...request, type: 'anonymous' }, { action: action ?? '', target: { type: 'user', id: ada.id } });
      const [event] = (await activity(ada, 'limit=1')).data;
      const where = { device: 'Firefox · Linux', address: '192.0.2.10' };
      expect(event).toMatchObject({ action, by, ...(by === 'you' ? where : { device: null, address: null }) });
    });
});

it('shows each event once, and nobody else’s', async () => {
  await record(from(ada), { action: 'user.see_self', target: { type: 'user', id: ada.id } });
  await record(from(bob), { action: 'user.see_self', target: { type: 'user', id: bob.id } });
  await record({ ...from(bob), type: 'client', id: ada.id }, { action: 'client.namesake' });
  await record(from(bob), { action: 'client.namesake', target: { type: 'client', id: ada.id } });
  const count = async (caller: TestCaller, action: string) =>
    (await activity(caller, 'limit=200')).data.filter((event) => event.action === action).length;
  expect([await count(ada, 'user.see_self'), await count(bob, 'user.see_self')]).toEqual([1, 1]);
  expect([await count(ada, 'client.namesake'), await count(bob, 'client.namesake')]).toEqual([0, 1]);
});

it('pages through both halves, while more happens', async () => {
  for (let round = 0; round < 6; round++) {
    await record(from(ada), { action: 'round.own' });
    await record(from(bob), { action: 'round.other', target: { type: 'user', id: ada.id } });
  }
  const all = (await activity(ada, 'limit=200')).data.map(({ id }) => id);
  const seen: unknown[] = [];
  let query = 'limit=5';
  for (;;) {
    const { data, nextCursor } = await activity(ada, query);
    seen.push(...data.map(({ id }) => id));
    await record(from(ada), { action: 'round.late' });
    if (nextCursor === null) break;
    query = `limit=5&cursor=${nextCursor}`;
  }
  expect(seen).toEqual(all);
});

it('has another name', async () => {
  const { json } = await ada.request('get', '/v1/user/activity?limit=1');
  expect(json.data).toHaveLength(1);
  expect((await ada.request('get', '/api/v1/v1/user/activity?limit=1')).status).toBe(200);
});

it('refuses a cursor that is none', async () => {
  const { status, json } = await ada.request('get', '/auth/me/activity?cursor=AAAA');
  expect([status, json.code]).toEqual([400, 'invalid_request']);
});
