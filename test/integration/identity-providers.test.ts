/** Setting identity providers up: in the operator's file, and over REST. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConfigError, loadConfig } from '../../src/config.ts';
import { readProviderFile } from '../../src/identity-provider-file.ts';
import { Browser } from '../support/browser.ts';
import { callerOf, machineOf, type TestCaller } from '../support/callers.ts';
import { dumpTables } from '../support/dump.ts';
import { makeRole } from '../support/organizations.ts';
import { defaultSettings, startServer, type TestServer } from '../support/server.ts';
import { startOpenIdPeer } from '../support/upstreams/openid-peer.ts';

const acme = {
  preset: 'oidc',
  name: 'Acme',
  issuer: 'https://id.acme.example',
  client_id: 'countersign',
  client_secret: 'a secret that acme gave',
};
const directory = mkdtempSync(join(tmpdir(), 'providers-'));
const file = join(directory, 'providers.json');
const write = (document: unknown) => writeFileSync(file, JSON.stringify(document));
afterAll(() => rmSync(directory, { recursive: true }));

describe('the file', () => {
  const load = (document: unknown, environment: Record<string, string> = {}) => {
    write(document);
    return loadConfig({ ...defaultSettings, IDENTITY_PROVIDERS_PATH: file, ...environment }).identityProviders;
  };
  const mistakesOf = (document: unknown, environment: Record<string, string> = {}): readonly string[] => {
    try {
      load(document, environment);
      return [];
    } catch (error) {
      return (error as ConfigError).mistakes;
    }
  };
  const google = { id: 'google', preset: 'google', client_id: 'x' };

  it('takes secrets from the environment by name', () => {
    const [provider] = load([{ ...google, client_secret_env: 'GOOGLE_SECRET' }], { GOOGLE_SECRET: 's3cret' });
    expect(provider?.secrets).toEqual({ client_secret: 's3cret' });
    expect(provider?.metadata).toMatchObject({
      name: 'Google',
      issuer: 'https://accounts.google.com',
      trust_email: true,
    });
  });

  for (const [what, document, mistake] of [
    ['no list', {}, /IDENTITY_PROVIDERS_PATH: the file/],
    ['a name of nothing in the environment', [{ ...google, client_secret_env: 'NOT_THERE' }], /NOT_THERE is not set/],
    ['no secret', [google], /google\.client_secret: is needed for google/],
    ['a secret twice', [{ ...google, client_secret: 'a', client_secret_env: 'B' }], /keep one of them/],
    ['an id that is a path', [{ ...google, id: '../google', client_secret: 'a' }], /0\.id/],
    ['an id that is an endpoint', [{ ...google, id: 'token', client_secret: 'a' }], /0\.id/],
    ['the same id twice', [1, 2].map(() => ({ ...google, client_secret: 'a' })), /google: is there twice/],
    ['an unknown member', [{ ...google, client_secret: 'a', trustEmail: true }], /trustEmail/],
    ['a page that is no https', [{ ...google, client_secret: 'a', authorization_endpoint: 'javascript:1' }], /https/],
    ['plain http elsewhere', [{ ...google, client_secret: 'a', issuer: 'http://id.example' }], /https/],
    ['an issuer that is missing', [{ ...acme, id: 'acme', issuer: undefined }], /acme\.issuer: is needed/],
    ['a symmetric algorithm', [{ ...acme, id: 'acme', id_token_signed_response_alg: 'HS256' }], /id_token_signed/],
    ['no key of Apple', [{ id: 'apple', preset: 'apple', client_id: 'x' }], /apple\.private_key: is needed/],
  ] as const) {
    it(`is refused with ${what}`, () => expect(mistakesOf(document).join('\n')).toMatch(mistake));
  }

  it('of the documentation can be read', () => {
    const [, json = ''] = /```json\n([\s\S]*?)```/.exec(readFileSync('docs/identity-providers.md', 'utf8')) ?? [];
    writeFileSync(file, json);
    const secrets = { GOOGLE_SECRET: 'a', GITHUB_SECRET: 'b', KEYCLOAK_SECRET: 'c' };
    expect(readProviderFile(file, secrets)).toMatchObject({ mistakes: [], providers: [{}, {}, {}] });
  });
});

describe('over REST', () => {
  let server: TestServer;
  let superAdmin: TestCaller;
  let admin: TestCaller;
  beforeAll(async () => {
    write([{ id: 'of-the-file', ...acme }]);
    server = await startServer({ IDENTITY_PROVIDERS_PATH: file });
    superAdmin = await callerOf(server, { role: 'super_admin' });
    admin = await callerOf(server, { role: 'admin' });
  });
  afterAll(() => server.stop());

  let made = 0;
  const create = async (caller: TestCaller, more: object = {}) => {
    const id = `acme-${++made}`;
    const answer = await caller.request('POST', '/identity-providers', { id, ...acme, ...more });
    return { id, ...answer };
  };
  const offered = async (): Promise<string[]> => {
    const { json } = await admin.request('GET', '/auth/social');
    return (json.data as { id: string }[]).map(({ id }) => id);
  };

  it('never shows a secret again, nor has it in the database', async () => {
    const { id, status, text } = await create(admin);
    expect(status).toBe(201);
    const read = await admin.request('GET', `/identity-providers/${id}`);
    const list = await admin.request('GET', '/identity-providers?limit=200');
    expect(read.json).toMatchObject({ id, has_client_secret: true, has_private_key: false, name: 'Acme' });
    expect(read.json.redirect_uri).toBe(`${server.issuer}/auth/social/${id}/callback`);
    const dump = JSON.stringify(await dumpTables(server.database.db));
    for (const shown of [text, read.text, list.text, dump]) expect(shown).not.toContain(acme.client_secret);
  });

  it('is in force at once: on the page, in the list, and out of them', async () => {
    const { id } = await create(admin, { name: 'Just made' });
    const page = async () => (await new Browser(server.issuer).go('/account')).html;
    expect(await offered()).toEqual(expect.arrayContaining(['of-the-file', id]));
    expect(await page()).toContain('Just made');
    await admin.request('PUT', `/identity-providers/${id}`, { ...acme, name: 'Renamed' });
    expect(await page()).toContain('Renamed');
    await admin.request('PUT', `/identity-providers/${id}`, { ...acme, name: 'Renamed', enabled: false });
    expect(await offered()).not.toContain(id);
    expect(await page()).not.toContain('Renamed');
    expect((await admin.request('GET', `/auth/social/${id}`)).status).toBe(404);
  });

  it('keeps a secret that is left out, unless it would be sent somewhere else', async () => {
    const { id } = await create(admin);
    const { client_secret: _secret, ...without } = acme;
    const kept = await admin.request('PUT', `/identity-providers/${id}`, { ...without, name: 'Other' });
    expect([kept.status, kept.json.has_client_secret]).toEqual([200, true]);
    for (const moved of [
      { issuer: 'https://thief.example' },
      { token_endpoint: 'https://thief.example/token' },
      { preset: 'google' },
    ]) {
      const { status, json } = await admin.request('PUT', `/identity-providers/${id}`, { ...without, ...moved });
      expect([status, json.errors?.[0]?.field]).toEqual([400, 'client_secret']);
    }
  });

  it('names all that is missing at once', async () => {
    const { status, json } = await admin.request('POST', '/identity-providers', { id: 'x', preset: 'oidc' });
    const fields = (json.errors as { field: string }[]).map(({ field }) => field).sort();
    expect([status, fields]).toEqual([400, ['client_id', 'client_secret', 'issuer']]);
  });

  for (const [field, url] of [
    ['issuer', 'https://10.1.2.3/realms/staff'],
    ['issuer', 'https://sso.localhost'],
    ['token_endpoint', 'https://[::1]:8443/token'],
    ['userinfo_endpoint', 'http://[::1]/userinfo'],
    ['jwks_uri', 'https://169.254.169.254/jwks'],
  ] as const)
    it(`refuses a provider that can never be reached: ${field} ${url}`, async () => {
      const refused = await create(admin, { [field]: url });
      expect([refused.status, refused.json.errors?.[0]?.field]).toEqual([400, field]);
      expect(refused.text).toContain('OUTBOUND_ALLOW');
      const { id } = await create(admin);
      const changed = await admin.request('PUT', `/identity-providers/${id}`, { ...acme, [field]: url });
      expect(changed.status).toBe(400);
    });

  it('takes a host that OUTBOUND_ALLOW names', async () => {
    expect((await create(admin, { issuer: 'http://127.0.0.1:1' })).status).toBe(201);
  });

  it('says that a way to sign in does not exist, and blames no app', async () => {
    const page = await new Browser(server.issuer).go('/auth/social/nope');
    expect([page.status, page.html.includes('This way to sign in does not exist')]).toEqual([404, true]);
    const { json } = await admin.request('GET', '/identity-providers/nope');
    expect(json.title).toBe('No such identity provider');
  });

  it('does not touch what is in the file', async () => {
    const taken = await superAdmin.request('POST', '/identity-providers', { id: 'of-the-file', ...acme });
    expect([taken.status, taken.json.code]).toEqual([409, 'identity_provider_exists']);
    expect((await superAdmin.request('DELETE', '/identity-providers/of-the-file')).status).toBe(404);
  });

  it('gives no role above the writer’s own, and none that is not there', async () => {
    const rule = (role: string) => ({ roles: [{ claim: 'groups', value: 'x', role }] });
    const high = await create(admin, rule('super_admin'));
    expect([high.status, high.json.code]).toEqual([403, 'rank_too_low']);
    const none = await create(admin, rule('nobody'));
    expect([none.status, none.json.errors?.[0]?.field]).toEqual([400, 'roles']);
    expect((await create(superAdmin, rule('super_admin'))).status).toBe(201);
    const { name } = await makeRole(server, ['invoices:pay:any']);
    const more = await create(admin, rule(name));
    expect([more.status, more.json.code]).toEqual([403, 'exceeds_yours']);
    expect((await create(superAdmin, rule(name))).status).toBe(201);
  });

  it('lets nobody change what somebody above them wrote: its people would be theirs', async () => {
    const { id } = await create(superAdmin);
    for (const [method, body] of [
      ['PUT', acme],
      ['DELETE', undefined],
    ] as const) {
      const { status, json } = await admin.request(method, `/identity-providers/${id}`, body);
      expect([status, json.code]).toEqual([403, 'rank_too_low']);
    }
  });

  it('written by an application, signs in nobody who may do more than it', async () => {
    const machine = await machineOf(server, 'identity_providers:write:any');
    const { id, status } = await create(machine);
    expect(status).toBe(201);
    const row = await server.database.db('identityProviders').where({ id }).first('rank');
    const roles = await server.database.db('roles').where('name', 'moderator').first('rank');
    expect(row.rank).toBeLessThan(roles.rank);
  });

  it('deleted, takes what it has connected and the roles that it gave along', async () => {
    const { id } = await create(admin);
    const person = await callerOf(server);
    const { db } = server.database;
    const role = await db('roles').where({ name: 'partner' }).first('id');
    const identity = { userId: person.id, providerId: id, issuer: acme.issuer, subject: 's' };
    await db('identities').insert(identity);
    await db('roleGrants').insert({ userId: person.id, roleId: role.id, identityProviderId: id });
    expect((await admin.request('DELETE', `/identity-providers/${id}`)).status).toBe(204);
    expect(await db('identities').where({ providerId: id })).toEqual([]);
    expect(await db('roleGrants').where({ identityProviderId: id })).toEqual([]);
  });

  for (const [what, announced, method] of [
    ['nothing', undefined, 'basic'],
    ['both', ['client_secret_post', 'client_secret_basic'], 'basic'],
    ['only the body', ['client_secret_post'], 'post'],
  ] as const)
    it(`sends the secret as the issuer announces (${what})`, async () => {
      const metadata = (document: Record<string, unknown>) => ({
        ...document,
        token_endpoint_auth_methods_supported: announced,
      });
      const peer = await startOpenIdPeer({ misdeed: { metadata } });
      const { id } = await create(admin, {
        issuer: peer.origin,
        client_id: peer.clientId,
        client_secret: peer.clientSecret,
        sign_up: false,
      });
      peer.redirectUris.push(`${server.issuer}/auth/social/${id}/callback`);
      const browser = new Browser(server.issuer);
      const away = await browser.go(`/auth/social/${id}`);
      await browser.go((await peer.signIn(away.url)).url);
      const asked = peer.requests.find(({ path }) => path === '/token');
      expect([asked?.headers.authorization !== undefined, asked?.form.client_secret !== undefined]).toEqual([
        method === 'basic',
        method === 'post',
      ]);
      await peer.stop();
    });

  it('a provider of an administrator signs in no super_admin, even one that is connected', async () => {
    const peer = await startOpenIdPeer();
    const { id } = await create(admin, {
      issuer: peer.origin,
      client_id: peer.clientId,
      client_secret: peer.clientSecret,
    });
    peer.redirectUris.push(`${server.issuer}/auth/social/${id}/callback`);
    await server.database
      .db('identities')
      .insert({ userId: superAdmin.id, providerId: id, issuer: peer.origin, subject: peer.accounts[0]?.id });
    const browser = new Browser(server.issuer);
    const page = await browser.go('/account');
    const away = await browser.submit(page, { social: id });
    const back = await browser.go((await peer.signIn(away.url)).url);
    expect(back.url.pathname).toMatch(/^\/interaction\//);
    expect(back.html).toContain('There is no account here');
    await peer.stop();
  });

  it('a link to the provider signs in on the account page, and says calmly that it did not', async () => {
    const peer = await startOpenIdPeer();
    const secrets = { client_id: peer.clientId, client_secret: peer.clientSecret };
    const { id } = await create(admin, { issuer: peer.origin, ...secrets, trust_email: true });
    peer.redirectUris.push(`${server.issuer}/auth/social/${id}/callback`);
    const browser = new Browser(server.issuer);
    const away = await browser.go(`/auth/social/${id}`);
    const cancelled = await browser.go((await peer.signIn(away.url, undefined, 'deny')).url);
    expect([cancelled.status, cancelled.html.includes('was cancelled')]).toEqual([200, true]);
    const again = await browser.go(`/auth/social/${id}`);
    const done = await browser.go((await peer.signIn(again.url)).url);
    expect([done.url.pathname, done.html.includes('mary@upstream.example')]).toEqual(['/account', true]);
    await peer.stop();
  });
});
