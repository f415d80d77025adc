/** Consent: asked once per client and scope, remembered, refused, withdrawn, skipped by the operator's own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from '../support/browser.ts';
import {
  basic,
  elsewhere,
  errorOf,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  person = await newPerson(server);
  await (await registerRelyingParty(server, { first_party: true })).signIn(person);
});
afterAll(() => server.stop());

const open = async (rp: RelyingParty, parameters?: Parameters): Promise<Page> =>
  person.browser.go((await rp.begin(parameters)).url);

const isConsent = (page: Page) => /action="\/interaction\/[^/"]+\/abort"/.test(page.html);

describe('consent', () => {
  it('is asked once per client and scope, also on another device, and again for a new scope', async () => {
    const rp = await registerRelyingParty(server);
    const page = await open(rp, { scope: 'openid email' });
    expect(isConsent(page)).toBe(true);
    expect((await person.browser.submit(page)).url.searchParams.has('code')).toBe(true);

    for (const scope of ['openid email', 'openid', 'email openid'])
      expect((await open(rp, { scope })).url.searchParams.has('code')).toBe(true);

    const phone = elsewhere(person);
    let there = await phone.browser.go((await rp.begin({ scope: 'openid email' })).url);
    there = await phone.browser.submit(there, { email: phone.email, password: 'correct horse battery staple' });
    expect(there.url.searchParams.has('code')).toBe(true);

    expect(isConsent(await open(rp, { scope: 'openid email profile' }))).toBe(true);
    expect(isConsent(await open(rp, { scope: 'openid email', claims: '{"id_token":{"name":null}}' }))).toBe(true);
    const other = await registerRelyingParty(server);
    expect(isConsent(await open(other, { scope: 'openid email' }))).toBe(true);
  });

  it('gives what was agreed to now, not everything that was ever agreed to', async () => {
    const rp = await registerRelyingParty(server);
    await rp.signIn(person, { scope: 'openid email profile' });
    const { access_token, scope } = await rp.signIn(person, { scope: 'openid' });
    expect(scope).toBe('openid');
    const userinfo = await fetch(`${server.issuer}/oauth/userinfo`, {
      headers: { authorization: `Bearer ${access_token}` },
    });
    expect(Object.keys((await userinfo.json()) as object)).toEqual(['sub']);
  });

  it('is told to the client when denied: access_denied, with state and iss', async () => {
    const rp = await registerRelyingParty(server);
    const attempt = await rp.begin();
    const page = await person.browser.go(attempt.url);
    const { url } = await person.browser.submit(page, {}, '/abort');
    expect(errorOf({ attempt, callback: url })).toBe('access_denied');
    expect(url.searchParams.get('state')).toBe(attempt.state);
    expect(url.searchParams.get('iss')).toBe(server.issuer);
    expect(isConsent(await open(rp))).toBe(true);
  });

  it('is not asked by a first-party client, for the resource neither', async () => {
    const rp = await registerRelyingParty(server, { first_party: true, scope: 'openid email api:read' });
    expect((await open(rp, { scope: 'openid email' })).url.searchParams.has('code')).toBe(true);
    const parameters = { scope: 'openid api:read', resource: `${server.issuer}/api` };
    expect((await open(rp, parameters)).url.searchParams.has('code')).toBe(true);
  });

  it('is asked for a scope of the API, by name, and remembered', async () => {
    const rp = await registerRelyingParty(server, { scope: 'openid api:read api:write' });
    const parameters = { scope: 'openid api:read', resource: `${server.issuer}/api` };
    const page = await open(rp, parameters);
    expect(isConsent(page)).toBe(true);
    expect(page.html).toContain('api:read');
    expect((await person.browser.submit(page)).url.searchParams.has('code')).toBe(true);
    expect((await open(rp, parameters)).url.searchParams.has('code')).toBe(true);
    expect(isConsent(await open(rp, { ...parameters, scope: 'openid api:read api:write' }))).toBe(true);
  });

  it('is asked each time of a native client, which anybody can pretend to be (RFC 8252 section 8.6)', async () => {
    const rp = await registerRelyingParty(server, {
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['com.example.app:/callback'],
    });
    await rp.signIn(person);
    expect(isConsent(await open(rp))).toBe(true);
    expect(errorOfNative(await open(rp, { prompt: 'none' }))).toBe('interaction_required');
  });

  it('can be withdrawn on the account page: every token of that client ends, and it must ask again', async () => {
    const rp = await registerRelyingParty(server, { scope: 'openid email offline_access api:read' });
    const bystander = await registerRelyingParty(server);
    const opaque = await rp.signIn(person, { scope: 'openid email' });
    const jwt = await rp.signIn(person, { scope: 'openid api:read', resource: `${server.issuer}/api` });
    const offline = await rp.signIn(elsewhere(person), { scope: 'openid offline_access', prompt: 'consent' });
    const other = await bystander.signIn(person);
    const isActive = async ({ client }: RelyingParty, token: string) =>
      (await post(server, '/oauth/introspect', { token }, basic(client))).body.active;

    const applications = await person.browser.go('/account/applications');
    expect(applications.html).toContain(rp.client.client_id);
    const withdrawn = await person.browser.submit(applications, { id: rp.client.client_id }, 'withdraw');
    expect(withdrawn.url.search).toBe('?notice=consentWithdrawn');

    for (const { access_token, refresh_token } of [opaque, jwt, offline]) {
      expect(await isActive(rp, access_token)).toBe(false);
      expect(await isActive(rp, refresh_token)).toBe(false);
      await expect(rp.refresh(refresh_token)).rejects.toMatchObject({ error: 'invalid_grant' });
    }
    expect(await isActive(bystander, other.access_token)).toBe(true);
    expect(isConsent(await open(rp, { scope: 'openid email' }))).toBe(true);
  });
});

const errorOfNative = ({ url }: Page) => url.searchParams.get('error');
