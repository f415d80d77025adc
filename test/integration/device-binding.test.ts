/** A session's cookie on another device than the one that signed in (DEVICE_BINDING), and how many sessions a person has. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { startLogoutReceiver } from '../support/logout-receiver.ts';
import { type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { postJson } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const firefox = (version: number) =>
  `Mozilla/5.0 (X11; Linux x86_64; rv:${version}.0) Gecko/20100101 Firefox/${version}.0`;
const chrome =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

interface World {
  server: TestServer;
  app: RelyingParty;
}
const worldOf = async (settings: Record<string, string>): Promise<World> => {
  const server = await startServer(settings);
  return { server, app: await registerRelyingParty(server) };
};
const browserOf = ({ server }: World, agent = firefox(140)) => {
  const browser = new Browser(server.issuer);
  browser.headers['user-agent'] = agent;
  return browser;
};
/** Another browser with some of the cookies of one. */
const thiefOf = (world: World, from: Browser, names: readonly string[], agent = firefox(140)) => {
  const thief = browserOf(world, agent);
  thief.cookies.push(...from.cookies.filter(({ name }) => names.includes(name)).map((cookie) => ({ ...cookie })));
  return thief;
};
const signedIn = async (world: World) => {
  const browser = browserOf(world);
  const email = await registerAccount(world.server);
  const tokens = await world.app.signIn({ browser, email });
  return { browser, email, tokens };
};
const session = ['session', 'session.sig'];
const isSignedIn = async (browser: Browser) => (await browser.go('/account')).url.pathname === '/account';
const silently = async ({ app }: World, browser: Browser) =>
  (await browser.go((await app.begin({ prompt: 'none' })).url)).url.searchParams;

describe('DEVICE_BINDING=challenge', () => {
  let world: World;
  beforeAll(async () => {
    world = await worldOf({});
  });
  afterAll(() => world.server.stop());

  it('a stolen session cookie is worth nothing without the device’s own: a sign-in is asked for, and the session lives on', async () => {
    const { browser, email, tokens } = await signedIn(world);
    const thief = thiefOf(world, browser, session);
    expect((await silently(world, thief)).get('error')).toBe('login_required');
    const asked = await thief.go('/account');
    expect([asked.url.pathname.startsWith('/interaction/'), asked.html.includes('current-password')]).toEqual([
      true,
      true,
    ]);
    expect(asked.html).not.toContain(email);
    expect((await thief.go('/')).html).not.toContain(email);
    expect((await thief.go('/oauth/logout')).html).not.toContain(email);
    expect((await thief.go('/device')).html).not.toContain(email);
    expect(await isSignedIn(browser)).toBe(true);
    await world.app.refresh(tokens.refresh_token);
  });

  it('a stolen session cookie with a device cookie of one’s own is no better', async () => {
    const { browser } = await signedIn(world);
    const thief = thiefOf(world, browser, session);
    await thief.go('/forgot');
    expect(thief.cookies.some(({ name }) => name === 'device')).toBe(true);
    expect(await isSignedIn(thief)).toBe(false);
  });

  it('all cookies in another kind of browser are not enough either; an update of the same browser is no other', async () => {
    const { browser } = await signedIn(world);
    expect(await isSignedIn(thiefOf(world, browser, [...session, 'device'], chrome))).toBe(false);
    expect(await isSignedIn(thiefOf(world, browser, [...session, 'device'], firefox(141)))).toBe(true);
    expect(await isSignedIn(browser)).toBe(true);
  });

  it('who signs in again on the other device has the session there', async () => {
    const { browser, email } = await signedIn(world);
    const moved = thiefOf(world, browser, session);
    const page = await moved.go('/account');
    expect((await moved.submit(page, { email, password })).url.pathname).toBe('/account');
    expect(await isSignedIn(moved)).toBe(true);
    expect(await isSignedIn(browser)).toBe(false);
  });

  it('session fixation: a session that was planted before the sign-in opens nothing after it', async () => {
    const attacker = browserOf(world);
    // A browser that only asks to sign out, say, has a session too.
    await attacker.go('/oauth/logout');
    const idOf = ({ cookies }: Browser) => cookies.find(({ name }) => name === 'session')?.value;
    expect(idOf(attacker)).toBeTruthy();
    for (const names of [session, [...session, 'device']]) {
      const victim = browserOf(world);
      victim.cookies.push(...thiefOf(world, attacker, names).cookies);
      const email = await registerAccount(world.server);
      await world.app.signIn({ browser: victim, email });
      expect(await isSignedIn(victim)).toBe(true);
      expect(idOf(victim)).not.toBe(idOf(attacker));
      expect(await isSignedIn(attacker)).toBe(false);
    }
  });

  it('costs no statement of its own', async () => {
    const { browser } = await signedIn(world);
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    world.server.database.db.on('query', note);
    await silently(world, browser);
    world.server.database.db.removeListener('query', note);
    expect(statements.filter((sql) => /select .* from "sessions"/.test(sql))).toHaveLength(1);
  });

  it('a session from before it was bound, and one that REST began, are not asked', async () => {
    const { browser } = await signedIn(world);
    await world.server.database.db('sessions').update({ deviceHash: null, deviceUserAgent: null });
    expect(await isSignedIn(thiefOf(world, browser, session))).toBe(true);
    const email = await registerAccount(world.server);
    const { json } = await postJson(`${world.server.issuer}/auth/login`, { email, password });
    const [row] = await world.server.database.db('sessions').where({ uid: decodeJwt(json.accessToken).sid as string });
    expect([row.deviceHash, row.deviceUserAgent]).toEqual([null, null]);
  });
});

describe('DEVICE_BINDING=refuse', () => {
  let world: World;
  beforeAll(async () => {
    world = await worldOf({ DEVICE_BINDING: 'refuse' });
  });
  afterAll(() => world.server.stop());

  it('a stolen session cookie ends the session with its tokens, once, and its owner is told', async () => {
    const { browser, email, tokens } = await signedIn(world);
    const thieves = [0, 1, 2].map(() => thiefOf(world, browser, session, chrome));
    const answers = await Promise.all(thieves.map((thief) => silently(world, thief)));
    expect(answers.map((answer) => answer.get('error'))).toEqual(Array(3).fill('login_required'));
    expect(await isSignedIn(browser)).toBe(false);
    await expect(world.app.refresh(tokens.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    const { db } = world.server.database;
    const { id } = await db('users').where({ email }).first('id');
    const events = await db('auditLogs').where({ action: 'session.end', targetId: id });
    expect(events.map(({ meta }) => meta.reason)).toEqual(['other_device']);
    const mail = await world.server.mail(email, /ended a session/);
    expect(mail.text).toContain('Chrome · Windows');
    const told = world.server.app.mailbox
      ?.messages()
      .filter(({ to, subject }) => to === email && /ended/.test(subject));
    expect(told).toHaveLength(1);
  });

  it('a stolen session cookie ends it on the account page too', async () => {
    const { browser } = await signedIn(world);
    expect(await isSignedIn(thiefOf(world, browser, session))).toBe(false);
    expect(await isSignedIn(browser)).toBe(false);
  });
});

describe('DEVICE_BINDING=off', () => {
  it('leaves the cookie as the only credential', async () => {
    const world = await worldOf({ DEVICE_BINDING: 'off' });
    const { browser } = await signedIn(world);
    expect(await isSignedIn(thiefOf(world, browser, session, chrome))).toBe(true);
    await world.server.stop();
  });
});

describe('SESSIONS_PER_USER', () => {
  let world: World;
  beforeAll(async () => {
    world = await worldOf({ SESSIONS_PER_USER: '2', RISK_STEP_UP: '0' });
  });
  afterAll(() => world.server.stop());
  const sessionsOf = async (email: string) => {
    const { db } = world.server.database;
    const { id } = await db('users').where({ email }).first('id');
    return { id, uids: (await db('sessions').where({ userId: id }).orderBy('startedAt').pluck('uid')) as string[] };
  };

  it('one more ends the oldest, with its tokens, an event and a back-channel logout', async () => {
    const receiver = await startLogoutReceiver();
    const app = await registerRelyingParty(world.server, { backchannel_logout_uri: receiver.uri });
    const { server } = world;
    const { db } = server.database;
    const email = await registerAccount(server);
    const first = browserOf(world);
    const tokens = await app.signIn({ browser: first, email });
    await db('sessions').update({ startedAt: new Date(Date.now() - 60_000) });
    const second = browserOf(world);
    await app.signIn({ browser: second, email });
    expect(await isSignedIn(first)).toBe(true);
    const { json } = await postJson(`${server.issuer}/auth/login`, { email, password });
    expect(json.accessToken).toBeTruthy();
    expect([await isSignedIn(first), await isSignedIn(second)]).toEqual([false, true]);
    await expect(app.refresh(tokens.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    const { id, uids } = await sessionsOf(email);
    expect(uids).toHaveLength(2);
    expect(uids).toContain(decodeJwt(json.accessToken).sid);
    const events = await db('auditLogs').where({ action: 'session.end', targetId: id });
    expect(events.map(({ actorType, meta }) => [actorType, meta.reason])).toEqual([['system', 'too_many']]);
    expect(await receiver.received(1)).toHaveLength(1);
    await receiver.stop();
  });

  it('holds for sign-ins at the same time', async () => {
    const email = await registerAccount(world.server);
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => postJson(`${world.server.issuer}/auth/login`, { email, password })),
    );
    // One that ended before it had its tokens is told to sign in again.
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(2);
    expect(answers.filter(({ status }) => ![200, 401].includes(status))).toEqual([]);
    expect((await sessionsOf(email)).uids).toHaveLength(2);
  });

  it('signing in again in the same browser is not one more', async () => {
    const email = await registerAccount(world.server);
    const browsers = [browserOf(world), browserOf(world)];
    for (const browser of browsers) await world.app.signIn({ browser, email });
    for (let again = 0; again < 3; again++)
      await world.app.signIn({ browser: browsers[0] as Browser, email }, { prompt: 'login' });
    expect(await isSignedIn(browsers[1] as Browser)).toBe(true);
  });
});
