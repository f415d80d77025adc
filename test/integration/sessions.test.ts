/** Where one is signed in, over REST, and how that ends. */
import { decodeJwt } from 'jose';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, registerAccount } from '../support/browser.ts';
import { callerOf, machineOf, nobody, type TestCaller } from '../support/callers.ts';
import { eventually, postJson, signedIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
let server: TestServer;
let moderator: TestCaller;
let admin: TestCaller;
beforeAll(async () => {
  server = await startServer();
  moderator = await callerOf(server, { role: 'moderator' });
  admin = await callerOf(server, { role: 'admin' });
});
afterAll(() => server.stop());

const login = async (email: string) => {
  const { json, status } = await postJson(
    `${server.issuer}/auth/login`,
    { email, password },
    { 'user-agent': firefox },
  );
  expect(status).toBe(200);
  return {
    token: json.accessToken as string,
    refresh: json.refreshToken as string,
    sid: decodeJwt(json.accessToken).sid,
  };
};
const ask = async (method: string, path: string, token: string) =>
  nobody(server).request(method, path, undefined, {
    authorization: `Bearer ${token}`,
  });
const idsOf = async (token: string, path = '/sessions') =>
  (await ask('GET', path, token)).json.data.map(({ id }: { id: string }) => id);
const idOf = async (email: string) => (await server.database.db('users').where({ email }).first('id')).id as string;

describe('a sign-in that is finished, and held back from its session', () => {
  it.each([
    ['all', (token: string) => ask('DELETE', '/sessions', token)],
    [
      'all, by an administrator',
      async (_token: string, id: string) => admin.request('DELETE', `/users/${id}/sessions`),
    ],
  ])('never has one once %s have been ended', async (_which, end) => {
    const email = await registerAccount(server);
    const { token } = await login(email);
    const browser = new Browser(server.issuer);
    const form = await browser.go('/account');
    const answer = await browser.request(form.url, {
      method: 'POST',
      headers: { origin: server.issuer, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ email, password }),
    });
    expect(answer.status).toBe(303);
    await end(token, await idOf(email));
    await browser.go(answer.headers.get('location') as string);
    expect((await browser.go('/account')).url.pathname).not.toBe('/account');
  });
});

describe('GET /sessions', () => {
  it('shows device, address, times and applications, and which one the token is of', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    const application = await openApplication(server, { client_name: 'Acme', first_party: true }, { email, browser });
    await application.tokens();
    const { token, sid } = await login(email);
    const { status, json } = await ask('GET', '/sessions', token);
    expect([status, json.nextCursor]).toEqual([200, null]);
    expect(json.data).toHaveLength(2);
    expect(json.data.find(({ id }: { id: string }) => id === sid)).toEqual({
      id: sid,
      device: 'Firefox · Linux',
      browser: 'Firefox',
      system: 'Linux',
      address: expect.stringMatching(/127\.0\.0\.1|::1/),
      country: null,
      city: null,
      startedAt: expect.stringMatching(/Z$/),
      lastSeenAt: expect.stringMatching(/Z$/),
      current: true,
      applications: [{ clientId: 'countersign-rest', name: expect.any(String) }],
    });
    expect(json.data.find(({ id }: { id: string }) => id !== sid)).toMatchObject({
      current: false,
      applications: [{ clientId: application.client.client_id, name: 'Acme' }],
    });
  });
  it('says when it was last seen: a refresh counts, to the minute', async () => {
    const { db } = server.database;
    const { sid, token, refresh } = await login(await registerAccount(server));
    const seenAt = async () => (await db('sessions').where({ uid: sid }).first('lastSeenAt')).lastSeenAt as Date;
    let next = refresh;
    const refreshOnce = async () => {
      const { status, json } = await postJson(`${server.issuer}/auth/refresh`, { refreshToken: next });
      expect(status).toBe(200);
      next = json.refreshToken;
    };
    const before = new Date(Date.now() - 20_000);
    await db('sessions').where({ uid: sid }).update({ lastSeenAt: before });
    await refreshOnce();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await seenAt()).toEqual(before);
    await db('sessions')
      .where({ uid: sid })
      .update({ lastSeenAt: new Date(Date.now() - 3_600_000) });
    await refreshOnce();
    await eventually(async () => (await seenAt()).getTime() > Date.now() - 30_000, 'seen');
    const { json } = await ask('GET', '/sessions', token);
    expect(Date.parse(json.data[0].lastSeenAt)).toBeGreaterThan(Date.now() - 30_000);
  });
  it('comes in pages', async () => {
    const email = await registerAccount(server);
    const tokens = [];
    for (let count = 0; count < 5; count++) tokens.push(await login(email));
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor ? `?limit=2&cursor=${cursor}` : '?limit=2';
      const { json } = await ask('GET', `/sessions${query}`, tokens[0]?.token ?? '');
      seen.push(...json.data.map(({ id }: { id: string }) => id));
      cursor = json.nextCursor;
    } while (cursor);
    expect(seen).toHaveLength(5);
    expect(new Set(seen)).toEqual(new Set(tokens.map(({ sid }) => sid)));
  });
  for (const cursor of ['x', '999999999999999.a', '1.', '99999999999999.a'])
    it(`takes or refuses the cursor ${cursor}, and does not break`, async () => {
      const { token } = await login(await registerAccount(server));
      const { status } = await ask('GET', `/sessions?cursor=${Buffer.from(cursor).toString('base64url')}`, token);
      expect(status).toBe(cursor === '99999999999999.a' ? 200 : 400);
    });
  it('knows its own session from a token that outlives sessions', async () => {
    const email = await registerAccount(server);
    const scope = 'openid email offline_access sessions:read:own sessions:end:own';
    const application = await openApplication(server, { scope, first_party: true }, { email });
    const { access_token } = await application.tokens({ scope, resource: `${server.issuer}/api`, prompt: 'consent' });
    expect(decodeJwt(access_token).sid).toBeUndefined();
    await login(email);
    const { json } = await ask('GET', '/sessions', access_token);
    expect(json.data.map(({ current }: { current: boolean }) => current).sort()).toEqual([false, true]);
    expect((await ask('DELETE', '/sessions', access_token)).json).toEqual({ ended: 1 });
    expect((await ask('GET', '/sessions', access_token)).json.data).toHaveLength(1);
  });
});

describe('ending', () => {
  it('one session: its tokens are dead at once, the others live', async () => {
    const email = await registerAccount(server);
    const [here, there] = [await login(email), await login(email)];
    expect((await ask('DELETE', `/sessions/${there.sid}`, here.token)).status).toBe(204);
    expect((await ask('GET', '/sessions', there.token)).status).toBe(401);
    expect((await postJson(`${server.issuer}/auth/refresh`, { refreshToken: there.refresh })).status).toBe(401);
    expect(await idsOf(here.token)).toEqual([here.sid]);
    const again = await ask('DELETE', `/sessions/${there.sid}`, here.token);
    expect([again.status, again.json.code]).toEqual([404, 'session_not_found']);
  });
  it('one’s own session signs one out', async () => {
    const here = await login(await registerAccount(server));
    expect((await ask('DELETE', `/sessions/${here.sid}`, here.token)).status).toBe(204);
    expect((await ask('GET', '/sessions', here.token)).status).toBe(401);
  });
  it('all others: a browser’s too', async () => {
    const email = await registerAccount(server);
    const browser: Browser = await signedIn(server, email);
    const [here, there] = [await login(email), await login(email)];
    const { status, json } = await ask('DELETE', '/sessions', here.token);
    expect([status, json]).toEqual([200, { ended: 2 }]);
    expect(await idsOf(here.token)).toEqual([here.sid]);
    expect((await ask('GET', '/sessions', there.token)).status).toBe(401);
    expect((await browser.go('/account')).url.pathname).not.toBe('/account');
  });
  it('somebody else’s looks not found, and knowing its id is no credential', async () => {
    const [mine, theirs] = [await login(await registerAccount(server)), await login(await registerAccount(server))];
    for (const caller of [mine.token, admin.token]) {
      const { status, json } = await ask('DELETE', `/sessions/${theirs.sid}`, caller);
      expect([status, json.code]).toEqual([404, 'session_not_found']);
    }
    expect(await idsOf(theirs.token)).toEqual([theirs.sid]);
    expect((await ask('GET', '/sessions', String(theirs.sid))).status).toBe(401);
    const browser = new Browser(server.issuer);
    const page = await browser.go('/account', { headers: { cookie: `session=${theirs.sid}` } });
    expect(page.url.pathname).not.toBe('/account');
  });
});

describe('sessions of somebody else', () => {
  it('are seen and ended by those who may', async () => {
    const email = await registerAccount(server);
    const id = await idOf(email);
    const theirs = await login(email);
    expect(await idsOf(moderator.token, `/users/${id}/sessions`)).toEqual([theirs.sid]);
    const { status, json } = await moderator.request('DELETE', `/users/${id}/sessions`);
    expect([status, json]).toEqual([200, { ended: 1 }]);
    expect((await ask('GET', '/sessions', theirs.token)).status).toBe(401);
    const [event] = await server.database.db('auditLogs').where({ action: 'session.end', targetId: id });
    expect(event).toMatchObject({ actorId: moderator.id, meta: { reason: 'administrator' } });
  });
});

describe('who may', () => {
  it('an application has no sessions of its own', async () => {
    const machine = await machineOf(server, 'sessions:read:own sessions:end:own sessions:read:any sessions:end:any');
    for (const [method, path] of [
      ['GET', '/sessions'],
      ['DELETE', '/sessions'],
      ['DELETE', '/sessions/x'],
    ] as const)
      expect((await machine.request(method, path)).status).toBe(403);
    expect((await machine.request('GET', `/users/${admin.id}/sessions`)).status).toBe(200);
  });
  for (const [method, path, expected] of [
    ['GET', `/users/${uuid()}/sessions`, 404],
    ['DELETE', `/users/${uuid()}/sessions`, 404],
    ['DELETE', `/sessions/${'x'.repeat(201)}`, 400],
  ] as const)
    it(`${method} ${path.slice(0, 30)}: ${expected}`, async () => {
      expect((await admin.request(method, path)).status).toBe(expected);
    });
});

describe('lifetimes', () => {
  const db = () => server.database.db;
  const isSignedIn = async (browser: Browser) => (await browser.go('/account')).url.pathname === '/account';
  /** As if so much time had passed without the browser. */
  const wait = (userId: string, seconds: number) =>
    db()('sessions')
      .where({ userId })
      .update({ expiresAt: db().raw("expires_at - ? * interval '1 second'", [seconds]) });
  const secondsLeft = async (userId: string) => {
    const { expiresAt } = await db()('sessions').where({ userId }).first('expiresAt');
    return (expiresAt.getTime() - Date.now()) / 1000;
  };

  it('SESSION_TTL ends a session that is not used for so long; use makes it last', async () => {
    const email = await registerAccount(server);
    const { id } = await db()('users').where({ email }).first('id');
    const browser = await signedIn(server, email);
    const day = 86_400;
    await wait(id, 13 * day);
    expect(await secondsLeft(id)).toBeLessThan(day);
    await browser.go('/oauth/logout');
    expect(await isSignedIn(browser)).toBe(true);
    expect(await secondsLeft(id)).toBeGreaterThan(13 * day);
    await wait(id, 14 * day + 1);
    expect(await isSignedIn(browser)).toBe(false);
  });

  it('SESSION_MAX_TTL is the end of a session that REST began, whatever is refreshed', async () => {
    const email = await registerAccount(server);
    const { id } = await db()('users').where({ email }).first('id');
    const { json } = await postJson(`${server.issuer}/auth/login`, { email, password });
    expect(await secondsLeft(id)).toBeGreaterThan(29 * 86_400);
    await wait(id, 30 * 86_400 + 1);
    const refreshed = await postJson(`${server.issuer}/auth/refresh`, { refreshToken: json.refreshToken });
    expect(refreshed.status).toBe(401);
  });
});
