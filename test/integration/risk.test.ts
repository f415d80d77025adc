/** Risk in the sign-in pipeline: what it asks for, what is kept, and the mail that ends a stranger's session. */
import { fileURLToPath } from 'node:url';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cleanExpired } from '../../db/clean.ts';
import type { RiskFactorName } from '../../src/auth/risk.ts';
import { Browser, password, registerAccount } from '../support/browser.ts';
import { callerOf, nobody, requester } from '../support/callers.ts';
import { type RelyingParty, registerRelyingParty } from '../support/relying-party.ts';
import { postForm, postJson, tokenOf, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const files = ['GeoIP2-City-Test.mmdb', 'GeoLite2-ASN-Test.mmdb'].map((name) =>
  fileURLToPath(new URL(`../support/geoip/${name}`, import.meta.url)),
);
/** Places of the test database. */
const linkoeping = '89.160.20.112';
const milton = '216.160.83.56';
const unknown = '198.51.100.7';
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const safari =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1';

let server: TestServer;
let strict: TestServer;
let app: RelyingParty;
let email: string;
let userId: string;
const settings = { GEOIP_DB: files.join(','), TRUST_PROXY: '1' };
beforeAll(async () => {
  server = await startServer(settings);
  strict = await startServer({ ...settings, RISK_REFUSE: '70' });
  app = await registerRelyingParty(server);
});
afterAll(async () => {
  await server.stop();
  await strict.stop();
});

const newAccount = async (at: TestServer) => {
  const address = await registerAccount(at);
  const { id } = await at.database.db('users').where({ email: address }).first('id');
  return { address, id: id as string };
};
beforeEach(async () => {
  ({ address: email, id: userId } = await newAccount(server));
});

interface From {
  address?: string;
  agent?: string;
  given?: string;
  to?: TestServer;
  who?: string;
}
/** Signs in over REST: known by address and User-Agent alone. */
const signIn = ({ address = linkoeping, agent = firefox, given = password, to = server, who = email }: From = {}) =>
  postJson(
    `${to.address}/auth/login`,
    { email: who, password: given },
    { 'x-forwarded-for': address, 'user-agent': agent },
  );
const browserAt = (address = linkoeping, agent = firefox) => {
  const browser = new Browser(server.issuer);
  Object.assign(browser.headers, { 'x-forwarded-for': address, 'user-agent': agent });
  return browser;
};
const kept = (of = userId, at = server) => at.database.db('signIns').where({ userId: of }).orderBy('id');
const valuesOf = (row: { factors: { name: RiskFactorName; value: string }[] }) =>
  Object.fromEntries(row.factors.map(({ name, value }) => [name, value]));
const mailsTo = (to: string) =>
  server.app.mailbox?.messages().filter((mail) => mail.to === to && /New sign-in/.test(mail.subject)) ?? [];
const delivered = async (to: string) => {
  const mail = await server.mail(to, /New sign-in/);
  return { ...mail, token: tokenOf(mail.links, 'not-me') };
};

describe('the factors of a sign-in', () => {
  it('of the first one weigh nothing, and are kept with where it came from', async () => {
    expect((await signIn()).status).toBe(200);
    const [row] = await kept();
    expect(row).toMatchObject({
      outcome: 'allow',
      score: 0,
      address: linkoeping,
      userAgent: firefox,
      country: 'SE',
      city: 'Linköping',
      network: 'AS29518',
      amr: ['pwd'],
      clientId: 'countersign-rest',
      tokenHash: null,
    });
    expect(row.sessionUid).toBeTruthy();
    expect(valuesOf(row)).toMatchObject({ 'new-device': 'unknown', 'new-country': 'unknown', velocity: 'normal' });
  });

  it('tell a known device and place from new ones', async () => {
    await signIn();
    await signIn();
    await signIn({ agent: safari });
    const [, second, third] = await kept();
    expect([second.score, valuesOf(second)]).toEqual([
      0,
      expect.objectContaining({ 'new-device': 'known', 'new-country': 'known', 'new-network': 'known' }),
    ]);
    expect([third.score, third.outcome, valuesOf(third)['new-device']]).toEqual([30, 'allow', 'new']);
  });

  it('a new device in a new country at once: a second factor is asked for, and then it is known', async () => {
    await signIn();
    const { status, json } = await signIn({ address: milton, agent: safari });
    expect([status, json.code, json.methods, (await kept()).length]).toEqual([401, 'mfa_required', ['email'], 1]);
    const { mfaToken } = json;
    await postJson(`${server.address}/auth/otp/send`, { purpose: 'mfa', mfaToken, channel: 'email' });
    const { text } = await server.mail(email, /code/i);
    const code = /\b\d{6}\b/.exec(text)?.[0];
    const headers = { 'x-forwarded-for': milton, 'user-agent': safari };
    const finished = await postJson(`${server.address}/auth/mfa/verify`, { mfaToken, code }, headers);
    expect(finished.status).toBe(200);
    const [, row] = await kept();
    expect([row.outcome, row.score, valuesOf(row)]).toEqual([
      'step-up',
      100,
      expect.objectContaining({ 'new-device': 'new', 'new-country': 'new', 'impossible-travel': 'impossible' }),
    ]);
    expect((await signIn({ address: milton, agent: safari })).json.accessToken).toBeTruthy();
  });

  it('a burst of wrong passwords counts, whoever made it', async () => {
    await signIn();
    for (let attempt = 0; attempt < 5; attempt++) await signIn({ given: 'wrong', address: unknown });
    expect((await signIn()).status).toBe(200);
    const rows = await kept();
    expect(rows.map(({ score }) => score)).toEqual([0, 25]);
  });

  it('know the device on which somebody registered over REST', async () => {
    const signing = await startServer({ REGISTER_SIGNS_IN: 'true', REQUIRE_VERIFIED_EMAIL: 'false' });
    const who = `${uuid()}@example.com`;
    const headers = { 'user-agent': firefox };
    const registered = await postJson(
      `${signing.address}/auth/register`,
      { name: 'Ada', email: who, password },
      headers,
    );
    await postJson(`${signing.address}/auth/login`, { email: who, password }, headers);
    const { id } = await signing.database.db('users').where({ email: who }).first('id');
    const rows = await kept(id, signing);
    await signing.stop();
    expect(registered.status).toBe(201);
    expect(rows.map((row) => valuesOf(row)['new-device'])).toEqual(['unknown', 'known']);
  });

  it('of what an application relayed are unknown where they would be its own', async () => {
    const before = await kept();
    expect(before).toEqual([]);
    const party = await registerRelyingParty(server, {
      grant_types: ['password'],
      redirect_uris: [],
      response_types: [],
      first_party: true,
      vouched_for: true,
    });
    const send = () =>
      fetch(`${server.address}/oauth/token`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          authorization: `Basic ${btoa(`${party.client.client_id}:${party.client.client_secret}`)}`,
          'x-forwarded-for': milton,
        },
        body: new URLSearchParams({ grant_type: 'password', username: email, password }),
      });
    await signIn();
    expect((await send()).status).toBe(200);
    const [, row] = await kept();
    expect([row.score, row.country, valuesOf(row)]).toEqual([
      0,
      null,
      expect.objectContaining({ 'new-device': 'unknown', 'new-country': 'unknown', 'impossible-travel': 'unknown' }),
    ]);
  });

  it('are asked for in one statement', async () => {
    await signIn();
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    server.database.db.on('query', note);
    await signIn();
    server.database.db.removeListener('query', note);
    expect(statements.filter((sql) => /from sign_ins|from "sign_ins"/.test(sql))).toHaveLength(1);
    expect(statements.filter((sql) => /insert into sign_ins/.test(sql))).toHaveLength(1);
  });
});

describe('RISK_REFUSE', () => {
  it('refuses as if the password were wrong, keeps why, and nothing becomes known by it', async () => {
    const { address: who, id } = await newAccount(strict);
    const to = strict;
    expect((await signIn({ to, who })).status).toBe(200);
    const refused = await signIn({ to, who, address: milton, agent: safari });
    const wrong = await signIn({ to, who, given: 'wrong', address: milton, agent: safari });
    expect([refused.status, refused.json.code]).toEqual([wrong.status, wrong.json.code]);
    const rows = await kept(id, strict);
    expect(rows.map(({ outcome }) => outcome)).toEqual(['allow', 'refuse']);
    expect(rows[1].sessionUid).toBeNull();
    const failures = await strict.database.db('auditLogs').where({ action: 'session.sign_in_failed', targetId: id });
    expect(failures.map(({ meta }) => meta.reason).sort()).toEqual(['risk', 'wrong_password']);
    expect((await signIn({ to, who, address: milton, agent: safari })).status).toBe(refused.status);
    expect(strict.app.mailbox?.messages().filter((mail) => mail.to === who && /sign-in/i.test(mail.subject))).toEqual(
      [],
    );
  });
});

describe('the mail about a new device', () => {
  const arrive = async () => {
    await app.signIn({ browser: browserAt(), email });
    const thief = browserAt(unknown, safari);
    const tokens = await app.signIn({ browser: thief, email });
    return { thief, tokens, ...(await delivered(email)) };
  };
  const isSignedIn = async (browser: Browser) => (await browser.go('/account')).url.pathname === '/account';

  it('is not sent for the first sign-in, nor again for a device that is known', async () => {
    const browser = browserAt();
    await app.signIn({ browser, email });
    await app.signIn({ browser, email }, { prompt: 'login' });
    expect(mailsTo(email)).toEqual([]);
    const other = browserAt(unknown, safari);
    await app.signIn({ browser: other, email });
    await delivered(email);
    await app.signIn({ browser: other, email }, { prompt: 'login' });
    expect(mailsTo(email)).toHaveLength(1);
  });

  it('says when, where and with what', async () => {
    const { text } = await arrive();
    expect(text).toContain('Safari · iOS');
    expect(text).toContain(unknown);
    expect(text).toMatch(/When: .* UTC/);
    const third = browserAt('89.160.20.113', 'curl/8');
    await app.signIn({ browser: third, email });
    await expect.poll(() => mailsTo(email), { timeout: 20_000 }).toHaveLength(2);
    expect(mailsTo(email).some((mail) => mail.text.includes('Linköping, Sweden'))).toBe(true);
  });

  it('end-session link by a mail scanner: opening it changes nothing', async () => {
    const { thief, token } = await arrive();
    for (const method of ['GET', 'HEAD', 'GET'])
      expect((await fetch(`${server.address}/not-me?token=${token}`, { method })).status).toBe(200);
    expect(await isSignedIn(thief)).toBe(true);
  });

  it('its link ends that session and its tokens, without being signed in, and leads to a new password', async () => {
    const { thief, tokens, token } = await arrive();
    const owner = browserAt();
    await app.signIn({ browser: owner, email });
    const stranger = browserAt(milton);
    const page = await stranger.go(`/not-me?token=${token}`);
    expect(page.html).toContain(words('not-me.title'));
    expect(page.html).toContain('Safari · iOS');
    const done = await stranger.submit(page);
    expect([done.status, done.url.pathname]).toEqual([200, '/not-me/done']);
    expect(done.html).toContain('href="/forgot"');
    expect(await isSignedIn(thief)).toBe(false);
    expect(await isSignedIn(owner)).toBe(true);
    await expect(app.refresh(tokens.refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    const row = (await kept()).find(({ tokenHash }) => tokenHash);
    expect(row.disownedAt).toBeInstanceOf(Date);
    expect(await server.database.db('knownDevices').where({ userId, deviceHash: row.deviceHash })).toEqual([]);
    const events = await server.database
      .db('auditLogs')
      .where({ targetId: userId })
      .orderBy('id')
      .select('action', 'meta');
    expect(events.slice(-2)).toMatchObject([
      { action: 'session.end', meta: { reason: 'disowned' } },
      { action: 'session.disown', meta: { signIn: row.id } },
    ]);
  });

  it('end-session link twice: the second time it says that it is used up', async () => {
    const { token } = await arrive();
    const browser = browserAt();
    const page = await browser.go(`/not-me?token=${token}`);
    const answers = await Promise.all([browser.submit(page), browser.submit(page)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
    expect((await browser.go(`/not-me?token=${token}`)).status).toBe(400);
    expect((await browser.submit(page)).html).toContain(words('link-expired.disown'));
  });

  it('end-session link by another person: ends the session that it was mailed for, and never their own', async () => {
    const { thief, token } = await arrive();
    const other = { browser: browserAt(), email: await registerAccount(server) };
    await app.signIn(other);
    await other.browser.submit(await other.browser.go(`/not-me?token=${token}`));
    expect(await isSignedIn(other.browser)).toBe(true);
    expect(await isSignedIn(thief)).toBe(false);
  });

  it('a token that is made up, of another kind, or not there at all ends nothing', async () => {
    const { thief } = await arrive();
    const browser = browserAt();
    const page = await browser.go('/forgot');
    expect(page.status).toBe(200);
    for (const token of ['', 'x', uuid(), 'a'.repeat(43), 'a'.repeat(300)]) {
      expect((await browser.go(`/not-me?token=${token}`)).status).toBe(400);
      expect((await postForm(browser, '/not-me', { token })).status).toBe(400);
    }
    expect(await isSignedIn(thief)).toBe(true);
  });

  it('a sign-in that was disowned before it reached its session never does', async () => {
    await app.signIn({ browser: browserAt(), email });
    const thief = browserAt(unknown, safari);
    const { url } = await app.begin();
    const page = await thief.go(url);
    // The password is right, and the browser waits before it goes on.
    const form = /action="([^"]+)"/.exec(page.html)?.[1] as string;
    const held = await thief.request(form, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
      body: new URLSearchParams({ ...hiddenOf(page.html), email, password }),
    });
    expect(held.status).toBe(303);
    const { token } = await delivered(email);
    const owner = browserAt();
    await owner.submit(await owner.go(`/not-me?token=${token}`));
    const after = await thief.go(held.headers.get('location') as string);
    expect(after.url.searchParams.get('code')).toBeNull();
    expect(await isSignedIn(thief)).toBe(false);
  });
});

/** The hidden fields of a page's first form. */
const hiddenOf = (html: string): Record<string, string> =>
  Object.fromEntries(
    [...html.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)].map(([, name, value]) => [name, value]),
  );

describe('what is kept of sign-ins', () => {
  it('is shown to its person and to administrators, newest first, with the factors explained', async () => {
    const { json } = await signIn();
    await signIn({ agent: safari });
    const mine = await requester(server, json.accessToken)('get', '/auth/me/sign-ins?limit=1');
    expect(mine.json.data).toMatchObject([
      {
        outcome: 'allow',
        score: 30,
        device: 'Safari · iOS',
        country: 'SE',
        city: 'Linköping',
        network: 'AS29518',
        address: linkoeping,
        client: { id: 'countersign-rest' },
        disownedAt: null,
      },
    ]);
    expect(mine.json.data[0].factors[0]).toEqual({
      name: 'new-device',
      weight: 30,
      value: 'new',
      explanation: 'The person has not signed in on this device before',
    });
    const rest = await requester(server, json.accessToken)('get', `/auth/me/sign-ins?cursor=${mine.json.nextCursor}`);
    expect([rest.json.data.length, rest.json.nextCursor]).toEqual([1, null]);
    const admin = await callerOf(server, { role: 'admin' });
    const theirs = await admin.request('get', `/users/${userId}/sign-ins`);
    expect(theirs.json.data).toHaveLength(2);
    expect((await nobody(server).request('get', `/users/${userId}/sign-ins`)).status).toBe(401);
  });

  it('goes after SIGN_IN_RETENTION, and with the account', async () => {
    await signIn();
    const { db } = server.database;
    await db('signIns')
      .where({ userId })
      .update({ createdAt: new Date(Date.now() - 91 * 86_400_000) });
    await cleanExpired(db);
    expect(await kept()).toEqual([]);
    const { json } = await signIn();
    expect(await kept()).toHaveLength(1);
    const closed = await requester(server, json.accessToken)('delete', `/users/${userId}`, { password });
    expect([closed.status, await kept()]).toEqual([204, []]);
  });
});
