/**
 * Three replicas behind a proxy without stickiness: each request of a flow is answered by another one than the request before. Any
 * other test runs that way with TEST_REPLICAS=3.
 */
import { isDeepStrictEqual } from 'node:util';
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshCode, setUpTotp } from '../support/authenticator.ts';
import { Browser, formsOf, password, registerAccount } from '../support/browser.ts';
import { callerOf, nobody } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { makeProver } from '../support/dpop.ts';
import { connectPeer, throughPeer, whoIsSignedIn } from '../support/federation.ts';
import { startLogoutReceiver } from '../support/logout-receiver.ts';
import { makeOrganization } from '../support/organizations.ts';
import {
  basic,
  bearer,
  expectError,
  newPerson,
  type Person,
  post,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { eventually, mailCount, signedIn, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { startOpenIdPeer } from '../support/upstreams/openid-peer.ts';

let server: TestServer;
let person: Person;

describe.skipIf(!onPostgres)(
  'replicas behind a proxy without stickiness (the embedded database has one process)',
  () => {
    beforeAll(async () => {
      server = await startServer({}, { replicas: 3 });
      person = await newPerson(server);
    });
    afterAll(() => server?.stop());

    it('sign in with a second factor, ask for consent, redeem a pushed request, refresh and revoke', async () => {
      const caller = await callerOf(server);
      const totp = await setUpTotp(server, caller);
      const browser = new Browser(server.issuer);
      const party = await registerRelyingParty(server, { require_pushed_authorization_requests: true });
      const attempt = await party.begin({ scope: 'openid email offline_access', prompt: 'consent' });
      let page = await browser.go(await oidc.buildAuthorizationUrlWithPAR(party.config, attempt.url.searchParams));
      page = await browser.submit(page, { email: caller.email, password });
      page = await browser.submit(page, { code: await freshCode(server, caller.id, totp.secret) });
      page = await browser.submit(page);
      const tokens = await party.redeem({ attempt, callback: page.url });
      expect(tokens.claims()?.amr).toEqual(expect.arrayContaining(['pwd', 'otp']));
      const next = await party.refresh(tokens.refresh_token as string);
      const active = async (token: string) => (await oidc.tokenIntrospection(party.config, token)).active;
      for (let turn = 0; turn < 3; turn++) expect(await active(next.access_token)).toBe(true);
      await oidc.tokenRevocation(party.config, next.refresh_token as string);
      for (let turn = 0; turn < 3; turn++) expect(await active(next.access_token)).toBe(false);
    });

    it('connect a device, and answer what an application asks on the back channel', async () => {
      const grants = {
        device: 'urn:ietf:params:oauth:grant-type:device_code',
        ciba: 'urn:openid:params:grant-type:ciba',
      };
      const party = await registerRelyingParty(server, {
        first_party: true,
        redirect_uris: undefined,
        post_logout_redirect_uris: undefined,
        grant_types: Object.values(grants),
        backchannel_token_delivery_mode: 'poll',
      });
      const { browser, email } = person;
      await signedInHere();
      const device = await oidc.initiateDeviceAuthorization(party.config, { scope: 'openid email' });
      const typed = await browser.submit(await browser.go('/device'), { user_code: device.user_code });
      await browser.go('/device', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
        body: new URLSearchParams(formsOf(typed.html).find(({ fields }) => 'confirm' in fields)?.fields),
      });
      const tokensOf = (parameters: Record<string, string>) =>
        post(server, '/oauth/token', parameters, basic(party.client));
      const connected = await tokensOf({ grant_type: grants.device, device_code: device.device_code });
      expect([connected.status, decodeJwt(connected.body.id_token ?? '').aud]).toEqual([200, party.client.client_id]);

      const asked = await oidc.initiateBackchannelAuthentication(party.config, { scope: 'openid', login_hint: email });
      const request = { grant_type: grants.ciba, auth_req_id: asked.auth_req_id };
      expectError(await tokensOf(request), [400, 'authorization_pending']);
      const requests = await browser.go('/account/requests');
      const id = formsOf(requests.html).find(({ action }) => action.endsWith('approve'))?.fields.id ?? '';
      await browser.go('/account/requests/approve', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: server.issuer },
        body: new URLSearchParams({ id }),
      });
      await server.database.db.raw(`update oidc_payloads set polled_at = polled_at - interval '10 seconds'`);
      expect((await tokensOf(request)).status).toBe(200);
    });

    it('take a DPoP nonce of any of them, and a proof once', async () => {
      const machine = await server.client({
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
      });
      const prover = await makeProver();
      const url = `${server.issuer}/oauth/token`;
      const ask = (dpop: string) =>
        post(server, '/oauth/token', { grant_type: 'client_credentials' }, { ...basic(machine), dpop });
      const { headers } = await ask(await prover.proof({ url }));
      const nonce = headers.get('dpop-nonce') ?? undefined;
      expect(nonce).toBeTruthy();
      for (let turn = 0; turn < 3; turn++) expect((await ask(await prover.proof({ url, nonce }))).status).toBe(200);
      const proof = await prover.proof({ url, nonce });
      const statuses = [await ask(proof), await ask(proof), await ask(proof)].map(({ status }) => status);
      expect(statuses).toEqual([200, 400, 400]);
    });

    it('sign out everywhere, and tell applications', async () => {
      const receiver = await startLogoutReceiver();
      const party = await registerRelyingParty(server, { first_party: true, backchannel_logout_uri: receiver.uri });
      const tokens = await party.signIn(person);
      const browser = person.browser;
      await browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' });
      const [token = ''] = await receiver.received(1);
      expect(decodeJwt(token).sub).toBe(tokens.claims()?.sub);
      expect((await browser.go('/account')).url.pathname).not.toBe('/account');
      for (let turn = 0; turn < 3; turn++)
        expect((await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(tokens.access_token) })).status).toBe(
          401,
        );
      await receiver.stop();
    });

    it('sign in with an identity provider, with a mailed link, and over REST', async () => {
      const peer = await startOpenIdPeer({ name: 'Acme' }, []);
      await connectPeer(server, peer, 'oidc', 'acme', { trust_email: true });
      const account = { login: 'ada@acme.example', id: 'ada', email: 'ada@acme.example', verified: true, name: 'Ada' };
      peer.accounts.push(account);
      const browser = new Browser(server.issuer);
      await throughPeer(browser, peer, 'acme', { login: account.login });
      expect(await whoIsSignedIn(server, browser)).toBe(account.email);
      await peer.stop();

      const other = new Browser(server.issuer);
      const already = mailCount(server, person.email, /^Sign in to /);
      await other.submit(await other.go('/account'), { email: person.email, way: 'link' });
      await eventually(() => mailCount(server, person.email, /^Sign in to /) > already, 'a link');
      const { links } = await server.mail(person.email, /^Sign in to /);
      const page = await other.submit(await other.go(`/sign-in-link?token=${tokenOf(links, 'sign-in-link')}`));
      expect(page.url.pathname).toBe('/account');

      const rest = nobody(server);
      const { json } = await rest.request('post', '/auth/login', { email: person.email, password });
      const refreshed = await rest.request('post', '/auth/refresh', { refreshToken: json.refreshToken });
      expect(refreshed.status).toBe(200);
      for (let turn = 0; turn < 3; turn++)
        expect((await send(`${server.issuer}/auth/me`, { headers: bearer(refreshed.json.accessToken) })).status).toBe(
          200,
        );
    });

    it('invite to an organization, and follow a person’s pages', async () => {
      const owner = await callerOf(server);
      const organization = await makeOrganization(server, { name: 'Engines', owners: [owner.id] });
      const guest = await callerOf(server);
      const { json: signed } = await nobody(server).request('post', '/auth/login', { email: owner.email, password });
      const invited = await send(`${server.issuer}/organizations/${organization.id}/invitations`, {
        method: 'POST',
        headers: { ...bearer(signed.accessToken), 'content-type': 'application/json' },
        body: JSON.stringify({ email: guest.email }),
      });
      expect([invited.status, invited.body.code]).toEqual([201, undefined]);
      const { links } = await server.mail(guest.email, /organization/);
      const token = tokenOf(links, 'invitation');
      expect((await guest.request('post', '/organizations/invitations/accept', { token })).status).toBe(200);
      const pages = await signedIn(server, guest.email);
      for (const path of ['/account', '/account/sessions', '/account/requests'])
        expect([path, (await pages.go(path)).status]).toEqual([path, 200]);
    });

    it('hear of what one of them changes, and do each job once', async () => {
      const machine = await server.client({
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
      });
      const ask = () => post(server, '/oauth/token', { grant_type: 'client_credentials' }, basic(machine));
      for (let turn = 0; turn < 6; turn++) expect((await ask()).status).toBe(200);
      const root = await callerOf(server, { role: 'super_admin' });
      expect((await root.request('delete', `/clients/${machine.client_id}`)).status).toBe(204);
      const refused = async () => [await ask(), await ask(), await ask()].every(({ status }) => status === 401);
      await eventually(refused, 'all refuse the client', 10_000);

      expect((await root.request('post', '/admin/keys/rotate', { now: true })).status).toBe(200);
      const keys = async () => (await send(`${server.issuer}/.well-known/jwks.json`)).body;
      const publishAlike = async () => {
        const [first, ...others] = [await keys(), await keys(), await keys()];
        return others.every((other) => isDeepStrictEqual(other, first));
      };
      await eventually(publishAlike, 'all publish the same keys', 10_000);

      const { db } = server.database;
      expect(mailCount(server, await registerAccount(server))).toBe(1);
      const { rows } = await db.raw(
        `select name, singleton_on as stretch, count(*)::int from pgboss.job
         where name in ('every-clean', 'every-audit-retention', 'every-rotate-keys') group by 1, 2`,
      );
      expect(new Set(rows.map(({ name }: { name: string }) => name)).size).toBe(3);
      // One for each stretch of time, another of which may have begun meanwhile.
      for (const { name, count } of rows) expect([name, count]).toEqual([name, 1]);
    });

    it('count limits together where there is Redis', async () => {
      if (!process.env.TEST_REDIS_URL) return;
      const limited = await startServer({ RATE_LIMIT_FACTOR: '1' }, { replicas: 3 });
      try {
        const statuses = [];
        for (let turn = 0; turn < 8; turn++)
          statuses.push(
            (await nobody(limited).request('post', '/auth/login', { email: 'a@example.com', password: 'wrong one' }))
              .status,
          );
        expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
      } finally {
        await limited.stop();
      }
    });

    const signedInHere = async () => {
      const page = await person.browser.go('/account');
      if (page.url.pathname !== '/account') await person.browser.submit(page, { email: person.email, password });
    };
  },
);
