/** The libraries that people use sign in, refresh and sign out: docs/relying-parties.md, run as it stands there. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { elsewhere, newPerson, type Person } from '../support/relying-party.ts';
import {
  type App,
  asksForPassword,
  docs,
  guide,
  section,
  signIn,
  signOut,
  startApp,
  visit,
} from '../support/relying-party-apps.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let account: Person;
let sub: string;
const folder = mkdtempSync(join(tmpdir(), 'countersign-relying-parties-'));
beforeAll(async () => {
  server = await startServer();
  account = await newPerson(server);
  sub = (await server.database.db('users').where({ email: account.email }).first('id')).id;
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('docs/relying-parties.md', () => {
  it('shows the files of docs/examples as they are', () => {
    const titles = [...guide.matchAll(/^## (.+)$/gm)].map(([, title = '']) => title);
    expect(titles).toHaveLength(6);
    for (const { file, code } of titles.map(section)) expect(code).toBe(readFileSync(docs + file, 'utf8'));
  });
});

/** Runs the guide's command that makes a key. */
const makeKey = (command: string) => ({
  keys: [JSON.parse(execFileSync('bash', ['-c', command], { cwd: folder, encoding: 'utf8' }))],
});

/** The client's refresh tokens, the oldest first: whether each still works. */
const refreshTokens = async ({ client }: App): Promise<boolean[]> =>
  (
    await server.database
      .db('refreshTokens')
      .where({ clientId: client.client_id })
      .orderBy('createdAt')
      .select('consumedAt', 'revoked')
  ).map(({ consumedAt, revoked }) => consumedAt === null && !revoked);

const apps: {
  title: string;
  refreshes?: boolean;
  hearsOfSignOut?: boolean;
  isThorough?: boolean;
  usesKey?: boolean;
}[] = [
  { title: 'openid-client', refreshes: true, isThorough: true },
  { title: 'oauth4webapi', refreshes: true, usesKey: true },
  { title: 'passport-openidconnect' },
  { title: 'express-openid-connect', refreshes: true, hearsOfSignOut: true },
];

describe.each(apps)('$title', ({ title, refreshes, hearsOfSignOut, isThorough, usesKey }) => {
  let app: App;
  let person: Person;
  beforeAll(async () => {
    const { client, commands, ...rest } = section(title);
    const jwks = usesKey
      ? { jwks: makeKey(commands.find((command) => command.includes('generateKeyPairSync')) ?? '') }
      : {};
    app = await startApp(
      server,
      { ...rest, commands, client: { ...client, ...jwks } },
      {
        CLIENT_KEY_FILE: join(folder, 'client-key.json'),
      },
    );
  });
  afterAll(() => app?.stop());

  /** A quarter of an hour later: for the application, and for the service in this process. */
  const later = async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 900_000 });
    await app.setAhead(900_000);
  };
  afterEach(async () => {
    vi.useRealTimers();
    await app.setAhead(0);
  });

  const shown = async () => {
    const { status, html } = await visit(person.browser, app.url);
    return status === 200 ? JSON.parse(html) : status;
  };
  const ada = () => expect.objectContaining({ sub, email: account.email });

  it('signs in', async () => {
    person = elsewhere(account);
    expect(await shown()).toBe(401);
    const page = await signIn(person, `${app.url}/login`);
    expect([page.url.href, JSON.parse(page.html)], app.output()).toEqual([`${app.url}/`, ada()]);
  });

  if (refreshes)
    it('refreshes when the access token has expired', async () => {
      expect(await refreshTokens(app)).toEqual([true]);
      await later();
      expect(await shown(), app.output()).toEqual(ada());
      expect(await refreshTokens(app)).toEqual([false, true]);
      expect(await shown()).toEqual(ada());
      expect(await refreshTokens(app)).toHaveLength(2);
    });

  if (isThorough)
    it('pushes its requests, asks whether a token lives, and revokes it before it leaves', async () => {
      const somebody = elsewhere(account);
      const { headers } = await somebody.browser.request(`${app.url}/login`);
      const { searchParams } = new URL(headers.get('location') ?? '');
      expect([...searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
      await signIn(somebody, `${app.url}/login`);
      expect(JSON.parse((await visit(somebody.browser, `${app.url}/token`)).html)).toMatchObject({ active: true });
      const living = async () => (await refreshTokens(app)).filter(Boolean).length;
      const before = await living();
      await visit(somebody.browser, `${app.url}/logout`);
      // The provider has not been told yet to end the session as well.
      expect(await living()).toBe(before - 1);
    });

  it('signs out, here and at the provider', async () => {
    const page = await signOut(person, `${app.url}/logout`);
    expect([page.url.href, page.status], app.output()).toEqual([`${app.url}/`, 401]);
    expect(await shown()).toBe(401);
    expect(asksForPassword(await visit(person.browser, `${app.url}/login`))).toBe(true);
    expect(await refreshTokens(app)).not.toContain(true);
  });

  if (refreshes)
    it('is signed out by its next refresh once the refresh token is worth nothing', async () => {
      person = elsewhere(account);
      await signIn(person, `${app.url}/login`);
      // An application that hears of the sign-out would not get as far as that.
      if (hearsOfSignOut) await server.database.db('refreshTokens').update({ revoked: true });
      else await signOut(person, `${server.issuer}/oauth/logout`);
      await later();
      expect(await shown(), app.output()).toBe(401);
    });

  if (hearsOfSignOut)
    it('is signed out at once by back-channel logout', async () => {
      person = elsewhere(account);
      const bystander = elsewhere(account);
      for (const someone of [bystander, person]) await signIn(someone, `${app.url}/login`);
      await signOut(person, `${server.issuer}/oauth/logout`);
      await expect.poll(shown, { timeout: 30_000 }).toBe(401);
      person = bystander;
      expect(await shown()).toEqual(ada());
    });
});
