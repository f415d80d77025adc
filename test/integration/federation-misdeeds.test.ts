/**
 * An upstream that cheats or breaks, in every way of `upstreams/misdeeds.ts`: the person gets a page that says so and leads
 * back, nobody is signed in, nothing changes, and the answer comes within bounds.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser, type Page } from '../support/browser.ts';
import { digestTables } from '../support/dump.ts';
import { connectPeer, deliver, press, signInPage, throughPeer, whoIsSignedIn } from '../support/federation.ts';
import { words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { internalPath, misdeeds } from '../support/upstreams/misdeeds.ts';
import { type OpenIdPeer, startOpenIdPeer } from '../support/upstreams/openid-peer.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server?.stop());

let count = 0;
const peers: OpenIdPeer[] = [];
afterAll(() => Promise.all(peers.map((peer) => peer.stop())));

const connect = async (misdeed: OpenIdPeer['misdeed'] = {}) => {
  const peer = await startOpenIdPeer({ misdeed });
  peers.push(peer);
  const id = await connectPeer(server, peer, 'oidc', `upstream-${++count}`);
  return { peer, id };
};

/** What is left of a single-use value may stay; it expires. Flows of nobody in particular do, too. */
const incidental = new Set(['consumed_tokens', 'oidc_pending', 'oidc_payloads', 'oidc_sessions']);
const digest = async () =>
  Object.fromEntries(Object.entries(await digestTables(server.database.db)).filter(([name]) => !incidental.has(name)));

const lastFailure = async () =>
  (
    await server.database
      .db('auditLogs')
      .where({ action: 'session.sign_in_failed' })
      .orderBy('id', 'desc')
      .first('meta')
  )?.meta;

/** Five seconds for each of what is asked, of which the first that fails is the last. */
const boundMs = 9000;

/** What no page may show: secrets, and markup that somebody else wrote. */
const expectCalm = (page: Page, peer: OpenIdPeer) => {
  expect(page.url.origin).toBe(server.issuer);
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
  for (const word of [peer.clientSecret, '<script>alert', 'subject-of-mary', 'eyJ'])
    expect(page.html).not.toContain(word);
};

const texts = {
  invalid: 'socialInvalid',
  unavailable: 'socialUnavailable',
  expired: 'socialExpired',
  misconfigured: 'socialMisconfigured',
} as const;
const textOf = (reason: keyof typeof texts) => words(`problems.${texts[reason]}`).replace(/\{\{?\w+\}?\}/g, 'Upstream');

describe('an upstream that', () => {
  it('does nothing wrong signs its person up: what follows is not refused for another reason', async () => {
    const { peer, id } = await connect();
    const browser = new Browser(server.issuer);
    const page = await throughPeer(browser, peer, id);
    // The address is not trusted, so a mail goes there.
    expect([page.status, page.url.pathname]).toEqual([200, '/check-mail']);
    await server.mail('mary@upstream.example');
    const rows = await server.database.db('identities').where({ providerId: id });
    expect(rows).toHaveLength(1);
    await server.database.db('users').where({ id: rows[0].userId }).delete();
  });

  for (const { name, misdeed, at, reason } of misdeeds)
    it(`gives ${name}`, async () => {
      const { peer, id } = await connect(misdeed);
      const browser = new Browser(server.issuer);
      const form = await signInPage(browser);
      const before = await digest();
      const started = Date.now();

      const sent = await press(browser, form, id);
      let page = sent;
      if (at === 'start') expect(sent.url.origin).toBe(server.issuer);
      else page = await deliver(browser, await peer.signIn(sent.url));

      expect(Date.now() - started).toBeLessThan(boundMs);
      expectCalm(page, peer);
      if (reason === 'expired') {
        // Whose it was cannot be known any more, so it is a page of its own, with a way back.
        expect(page.status).toBe(400);
        expect(page.html).toMatch(/<a [^>]*href="/);
      } else {
        // Back on the sign-in page, where all other ways are.
        expect([page.status, page.url.pathname]).toEqual([200, form.url.pathname]);
        expect(page.html).toContain(textOf(reason));
        expect(page.html).toContain('current-password');
      }
      expect(await whoIsSignedIn(server, browser)).toBeUndefined();
      expect(await digest()).toEqual(before);
      expect(peer.requests.map(({ path }) => path)).not.toContain(internalPath);
      // The log of the service says which check it was; who looks after people sees why they could not get in.
      if (at === 'callback') expect(await lastFailure()).toEqual({ provider: id, reason: `provider_${reason}` });
    });
});
