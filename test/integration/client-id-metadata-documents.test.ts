/** Clients that describe themselves in a document at the URL that is their id (draft-ietf-oauth-client-id-metadata-document). */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isDocumentUrl } from '../../src/clients/metadata-documents.commands.ts';
import { expireClients } from '../../src/clients/self-registration.commands.ts';
import { authorize } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { newPerson, post, send } from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let limited: TestServer;
let off: TestServer;
let one: TestServer;
let proxied: TestServer;
let host: Server;
let origin: string;
/** What the host answers by path, and how often it was asked. */
const pages = new Map<
  string,
  {
    status?: number;
    type?: string;
    headers?: Record<string, string>;
    body: unknown;
    waitMs?: number;
    until?: Promise<void>;
  }
>();
const asked: string[] = [];

beforeAll(async () => {
  server = await startServer({ RATE_LIMIT_FACTOR: '1000' });
  host = createServer(async (request, response) => {
    asked.push(request.url ?? '');
    const page = pages.get(request.url ?? '');
    if (page?.waitMs) await new Promise((resolve) => setTimeout(resolve, page.waitMs));
    await page?.until;
    response.writeHead(page?.status ?? (page ? 200 : 404), {
      'content-type': page?.type ?? 'application/json',
      ...page?.headers,
    });
    response.end(typeof page?.body === 'string' ? page.body : JSON.stringify(page?.body ?? {}));
  });
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`;
  limited = await startServer({ RATE_LIMIT_FACTOR: '0.1' });
  off = await startServer({ CLIENT_ID_METADATA_DOCUMENTS: 'off' });
  one = await startServer({ CLIENT_ID_METADATA_DOCUMENTS: new URL(origin).host });
  proxied = await startServer({ TRUST_PROXY: '1' });
}, 300_000);
afterEach(() => {
  asked.length = 0;
});
afterAll(async () => {
  host.closeAllConnections();
  host.close();
  for (const each of [server, limited, off, one, proxied]) await each.stop();
});

const redirectUri = 'https://app.example.com/callback';
let count = 0;
/** Publishes a document at a URL of its own. */
const publish = (members: object = {}, page: Partial<NonNullable<ReturnType<typeof pages.get>>> = {}): string => {
  const path = `/client-${++count}.json`;
  const id = `${origin}${path}`;
  pages.set(path, {
    body: { client_id: id, client_name: 'Published', redirect_uris: [redirectUri], ...members },
    ...page,
  });
  return id;
};
const change = (id: string, members: object, page: object = {}) => {
  const path = new URL(id).pathname;
  const { body } = pages.get(path) as { body: object };
  pages.set(path, { body: { ...body, ...members }, ...page });
};
const requestsOf = (id: string) => asked.filter((path) => path === new URL(id).pathname).length;
const rowOf = (clientId: string, at = server) => at.database.db('clients').where({ clientId }).first();
/** As if the time had come to read it again. */
const expire = (clientId: string, hours = 0) =>
  server.database
    .db('clients')
    .where({ clientId })
    .update({ metadataExpiresAt: new Date(Date.now() - 1000 - hours * 3_600_000) });

const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const urlOf = (clientId: string, parameters: Record<string, string> = {}, at = server) => {
  const url = new URL(`${at.issuer}/oauth/authorize`);
  url.search = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'openid',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
    ...parameters,
  }).toString();
  return url;
};
const codeOf = (page: string) => /\d{3} (\w+)/.exec(/<details>[\s\S]*?<\/details>/.exec(page)?.[0] ?? page)?.[1];
/** What comes of an authorization request: `interaction` when the client is one, or the error's code. */
const ask = async (clientId: string, parameters = {}, at = server) => {
  const response = await fetch(urlOf(clientId, parameters, at), {
    redirect: 'manual',
    headers: { accept: 'application/json' },
  });
  if (response.status === 303)
    return new URL(response.headers.get('location') as string, at.issuer).pathname.split('/')[1];
  return codeOf(await response.text());
};
const redeem = (clientId: string, callback: URL, extra: Record<string, string> = {}) =>
  post(server, '/oauth/token', {
    grant_type: 'authorization_code',
    client_id: clientId,
    code: callback.searchParams.get('code') as string,
    redirect_uri: redirectUri,
    code_verifier: verifier,
    ...extra,
  });

describe('a document', () => {
  it('makes a client: whoever signs in is told where it is from, and it gets tokens', async () => {
    const id = publish({ grant_types: ['authorization_code', 'refresh_token'] });
    const person = await newPerson(server);
    let page = await person.browser.go(urlOf(id, { scope: 'openid email' }));
    page = await person.browser.submit(page, { email: person.email, password: 'correct horse battery staple' });
    expect(page.html).toContain('class="warning"');
    expect(page.html).toContain(new URL(id).host);
    page = await person.browser.submit(page);
    const { status, body } = await redeem(id, page.url);
    expect([status, body.scope]).toEqual([200, 'openid email']);
    const again = await post(server, '/oauth/token', {
      grant_type: 'refresh_token',
      client_id: id,
      refresh_token: body.refresh_token,
    });
    expect(again.status).toBe(200);
    expect(requestsOf(id)).toBe(1);
    expect(await rowOf(id)).toMatchObject({
      kind: 'metadata-document',
      tokenEndpointAuthMethod: 'none',
      createdBy: null,
    });
    const admin = await callerOf(server, { role: 'admin' });
    const { json } = await admin.request('get', `/clients/${encodeURIComponent(id)}`);
    expect(json).toMatchObject({ client_id: id, kind: 'metadata-document', first_party: false });
    const changed = await admin.request('put', `/clients/${encodeURIComponent(id)}`, { redirect_uris: [redirectUri] });
    expect([changed.status, changed.json.code]).toEqual([409, 'client_describes_itself']);
    expect((await admin.request('delete', `/clients/${encodeURIComponent(id)}`)).status).toBe(204);
  });

  it('is told of in discovery', async () => {
    const { body } = await send(`${server.issuer}/.well-known/oauth-authorization-server`);
    expect(body.client_id_metadata_document_supported).toBe(true);
  });

  it('cannot say what is the server’s to say', async () => {
    const id = publish({
      first_party: true,
      rank: 100,
      require_pkce: false,
      audience: 'https://orders.example.com',
      api_scope: '*:*:*',
      scope: 'openid users:write:any',
      grant_types: ['authorization_code', 'password', 'client_credentials'],
      kind: 'registered',
    });
    expect(await ask(id)).toBe('interaction');
    expect(await rowOf(id)).toMatchObject({
      firstParty: false,
      requirePkce: true,
      audience: null,
      scope: 'openid',
      grantTypes: ['authorization_code'],
      kind: 'metadata-document',
    });
  });

  it('is read again when its time is over, and what changed ends what people agreed to', async () => {
    const id = publish(
      { grant_types: ['authorization_code', 'refresh_token'] },
      { headers: { 'cache-control': 'max-age=600' } },
    );
    const person = await newPerson(server);
    const tokens = await redeem(id, await authorize(person.browser, urlOf(id), person.email));
    const { metadataExpiresAt } = await rowOf(id);
    expect(metadataExpiresAt.getTime() - Date.now()).toBeGreaterThan(500_000);
    expect(metadataExpiresAt.getTime() - Date.now()).toBeLessThan(601_000);
    await expire(id);
    expect(await ask(id)).toBe('interaction');
    expect(requestsOf(id)).toBe(2);
    expect(await server.database.db('consents').where({ clientId: id })).toHaveLength(1);
    await expire(id);
    change(id, { redirect_uris: [redirectUri, 'https://elsewhere.example/'] });
    expect(await ask(id)).toBe('interaction');
    expect(await server.database.db('consents').where({ clientId: id })).toEqual([]);
    const refresh = { grant_type: 'refresh_token', client_id: id, refresh_token: tokens.body.refresh_token };
    expect((await post(server, '/oauth/token', refresh)).body.error).toBe('invalid_grant');
    const events = await server.database
      .db('auditLogs')
      .where({ targetId: id })
      .whereIn('action', ['client.register', 'client.update'])
      .orderBy('id');
    expect(events.map(({ action, actorType }) => [action, actorType])).toEqual([
      ['client.register', 'system'],
      ['client.update', 'system'],
    ]);
  });

  it('that cannot be had for a while is taken for what it was; one that is gone is not', async () => {
    const id = publish();
    expect(await ask(id)).toBe('interaction');
    await expire(id);
    change(id, {}, { status: 503 });
    expect(await ask(id)).toBe('interaction');
    const gone = publish();
    expect(await ask(gone)).toBe('interaction');
    await expire(gone);
    pages.delete(new URL(gone).pathname);
    expect(await ask(gone)).toBe('invalid_client');
    const old = publish();
    expect(await ask(old)).toBe('interaction');
    await expire(old, 25);
    change(old, {}, { status: 503 });
    expect(await ask(old)).toBe('invalid_client');
  });

  it('of a client with keys authenticates it by them alone', async () => {
    const id = publish({
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }] },
    });
    const person = await newPerson(server);
    const callback = await authorize(person.browser, urlOf(id), person.email);
    expect((await redeem(id, callback)).body.error).toBe('invalid_client');
  });

  it('that nobody uses goes after a day', async () => {
    const id = publish();
    expect(await ask(id)).toBe('interaction');
    await server.database
      .db('clients')
      .where({ clientId: id })
      .update({ createdAt: new Date(Date.now() - 2 * 86_400_000) });
    await expireClients(server.database.db);
    expect(await rowOf(id)).toBeUndefined();
    expect(await ask(id)).toBe('interaction');
  });
});

describe('a document that an administrator deletes', () => {
  it('is blocked: no use of it, no expiry and no reading of it brings it back', async () => {
    const id = publish({ grant_types: ['authorization_code', 'refresh_token'] }, { waitMs: 100 });
    const person = await newPerson(server);
    const tokens = await redeem(id, await authorize(person.browser, urlOf(id), person.email));
    const admin = await callerOf(server, { role: 'admin' });
    const path = `/clients/${encodeURIComponent(id)}`;
    await expire(id);
    const reading = ask(id);
    for (let attempt = 0; attempt < 2; attempt++) expect((await admin.request('delete', path)).status).toBe(204);
    await reading;
    expect(await ask(id)).toBe('invalid_client');
    expect(await server.database.db('consents').where({ clientId: id })).toEqual([]);
    const refresh = { grant_type: 'refresh_token', client_id: id, refresh_token: tokens.body.refresh_token };
    expect((await post(server, '/oauth/token', refresh)).body.error).toBe('invalid_client');
    const { json } = await admin.request('get', path);
    expect(json).toMatchObject({ client_id: id, blocked_at: expect.any(Number) });
    await server.database
      .db('clients')
      .where({ clientId: id })
      .update({ createdAt: new Date(Date.now() - 200 * 86_400_000), lastUsedAt: null });
    await expireClients(server.database.db);
    asked.length = 0;
    expect(await ask(id)).toBe('invalid_client');
    expect(requestsOf(id)).toBe(0);
  });

  it('is let in again by unblocking, and then is one that nobody has seen', async () => {
    const id = publish();
    expect(await ask(id)).toBe('interaction');
    const admin = await callerOf(server, { role: 'admin' });
    const path = `/clients/${encodeURIComponent(id)}`;
    const early = await admin.request('post', `${path}/unblock`);
    expect([early.status, early.json.code]).toEqual([409, 'client_not_blocked']);
    expect((await admin.request('delete', path)).status).toBe(204);
    expect((await admin.request('post', `${path}/unblock`)).status).toBe(204);
    expect((await admin.request('get', path)).status).toBe(404);
    expect(await ask(id)).toBe('interaction');
    const events = await server.database.db('auditLogs').where({ targetId: id }).orderBy('id').pluck('action');
    expect(events.filter((action) => action !== 'client.register')).toEqual(['client.block', 'client.unblock']);
  });
});

describe('is no client', () => {
  for (const { what, make } of [
    { what: 'a URL without a document', make: () => `${origin}/nothing.json` },
    { what: 'a document of another URL', make: () => publish({ client_id: 'https://app.example.com/client.json' }) },
    { what: 'a document without an id', make: () => publish({ client_id: undefined }) },
    { what: 'a document with a secret', make: () => publish({ client_secret: 'x' }) },
    { what: 'a document with when a secret ends', make: () => publish({ client_secret_expires_at: 0 }) },
    {
      what: 'a client with a shared secret',
      make: () => publish({ token_endpoint_auth_method: 'client_secret_basic' }),
    },
    { what: 'a client with a shared key', make: () => publish({ token_endpoint_auth_method: 'client_secret_jwt' }) },
    { what: 'a client without redirect URIs', make: () => publish({ redirect_uris: undefined }) },
    { what: 'a client with a plain redirect URI', make: () => publish({ redirect_uris: ['http://app.example.com/'] }) },
    { what: 'a client whose home page is not https', make: () => publish({ client_uri: 'http://app.example.com/' }) },
    { what: 'a client by the name of the service', make: () => publish({ client_name: 'Countersign' }) },
    {
      what: 'a client by a name that begins with that of the service',
      make: () => publish({ client_name: 'Countersign Support' }),
    },
    {
      what: 'a client that is sent codes on this service',
      make: () => publish({ redirect_uris: [`${server.issuer}/account`] }),
    },
    { what: 'a list', make: () => publish({}, { body: [] }) },
    { what: 'no JSON', make: () => publish({}, { body: '{' }) },
    { what: 'HTML', make: () => publish({}, { type: 'text/html' }) },
    { what: 'JSON under a type that only begins so', make: () => publish({}, { type: 'application/jsonp' }) },
    { what: 'an error', make: () => publish({}, { status: 500 }) },
    { what: 'another success', make: () => publish({}, { status: 203 }) },
    { what: 'a redirect', make: () => publish({}, { status: 302, headers: { location: `${origin}/client-1.json` } }) },
    { what: 'a body without end', make: () => publish({ x: 'x'.repeat(300_000) }) },
  ])
    it(what, async () => {
      const id = make();
      expect(await ask(id)).toBe('invalid_client');
      expect(await rowOf(id)).toBeUndefined();
    });

  it('a URL that tokens have for their audience', async () => {
    const id = publish();
    const admin = await callerOf(server, { role: 'admin' });
    await admin.request('post', '/resource-servers', { identifier: id, name: 'An API', scopes: [] });
    expect(await ask(id)).toBe('invalid_client');
    const other = publish();
    await server.client({ redirect_uris: [redirectUri], audience: other });
    expect(await ask(other)).toBe('invalid_client');
  });

  it('a URL whose spelling is not one, or that leads into our own network', async () => {
    for (const id of ['https://10.0.0.1/client.json', 'https://169.254.169.254/latest', 'https://[::1]/client.json'])
      expect([id, await ask(id)]).toEqual([id, 'invalid_client']);
    expect(asked).toEqual([]);
    for (const id of [
      'https://app.example.com',
      'https://app.example.com/',
      'https://app.example.com/a#b',
      'https://me@app.example.com/a',
      'https://me:pw@app.example.com/a',
      'https://app.example.com/a/../b',
      'https://app.example.com/./b',
      'https://app.example.com/%2e%2e/b',
      'https://app.example.com:443/a',
      'https://APP.example.com/a',
      'HTTPS://app.example.com/a',
      'https:app.example.com/a',
      'https://app.example.com\\a',
      'http://app.example.com/a',
      'ftp://app.example.com/a',
      `https://app.example.com/${'a'.repeat(500)}`,
      'https://app.example.com/a b',
    ])
      expect([id, isDocumentUrl(id)]).toEqual([id, false]);
    for (const id of ['https://app.example.com/a', 'https://app.example.com:8443/a?b=c', 'https://app.example.com/a/'])
      expect([id, isDocumentUrl(id)]).toEqual([id, true]);
  });
});

describe('whoever sends authorization requests', () => {
  it('does not make us fetch one URL more than once at a time', async () => {
    const id = publish({}, { waitMs: 200 });
    expect(await Promise.all(Array.from({ length: 10 }, () => ask(id)))).toEqual(Array(10).fill('interaction'));
    expect(requestsOf(id)).toBe(1);
  });

  it('does not make us try again what has just failed', async () => {
    const id = `${origin}/again.json`;
    for (let attempt = 0; attempt < 5; attempt++) expect(await ask(id)).toBe('invalid_client');
    expect(requestsOf(id)).toBe(1);
  });

  it('does not make us fetch more than a few at a time, or more than an address or a host has coming', async () => {
    const { promise: until, resolve: answer } = Promise.withResolvers<void>();
    const slow = Array.from({ length: 12 }, () => publish({}, { until }));
    const outcomes: (string | undefined)[] = [];
    const all = Promise.all(slow.map(async (id) => outcomes.push(await ask(id))));
    await eventually(() => outcomes.length >= 10, 'ten answers').finally(answer);
    await all;
    expect(outcomes.sort()).toEqual([...Array(2).fill('interaction'), ...Array(10).fill('temporarily_unavailable')]);
    const several = [];
    for (let attempt = 0; attempt < 5; attempt++) several.push(await ask(publish(), {}, limited));
    expect(several).toEqual([...Array(3).fill('interaction'), ...Array(2).fill('temporarily_unavailable')]);
  });

  it('does not keep others waiting by documents that are slow: two of a host, and two for an address', async () => {
    const elsewhere = (path: string) => origin.replace('127.0.0.1', 'localhost') + path;
    const from = (address: string, id: string) =>
      fetch(urlOf(id, {}, proxied), { redirect: 'manual', headers: { 'x-forwarded-for': address } });
    pages.set('/other.json', {
      body: { client_id: elsewhere('/other.json'), client_name: 'Other', redirect_uris: [redirectUri] },
    });
    const slow = Array.from({ length: 8 }, () => publish({}, { waitMs: 4000 }));
    const statuses: number[] = [];
    const all = Promise.all(
      slow.map(async (id, index) => statuses.push((await from(`203.0.113.${index + 1}`, id)).status)),
    );
    const begun = () => slow.reduce((sum, id) => sum + requestsOf(id), 0);
    await eventually(() => begun() === 2, 'two are read');
    // They are read at the same time, and each is given up after 2.5 seconds.
    expect(statuses).not.toContain(400);
    expect((await from('198.51.100.1', elsewhere('/other.json'))).status).toBe(303);
    await all;
    expect(statuses.sort()).toEqual([400, 400, ...Array(6).fill(503)]);
  });

  it('learns nothing of why a document could not be had', async () => {
    // One after another: of more than two at once from one address some are told to come back.
    const texts = [];
    for (const id of ['https://10.0.0.1:22/x.json', 'https://10.0.0.2/x.json', 'https://nowhere.invalid/x.json']) {
      const response = await fetch(urlOf(id), { headers: { accept: 'application/json' } });
      texts.push(/it could not be had|cannot be used/.exec(await response.text())?.[0]);
    }
    expect(new Set(texts).size).toBe(1);
  });
});

describe('CLIENT_ID_METADATA_DOCUMENTS', () => {
  it('off: nothing is fetched, and discovery is silent', async () => {
    const id = publish();
    expect(await ask(id, {}, off)).toBe('invalid_client');
    expect(requestsOf(id)).toBe(0);
    const { body } = await send(`${off.issuer}/.well-known/openid-configuration`);
    expect(body).not.toHaveProperty('client_id_metadata_document_supported');
  });

  it('names the hosts that documents may be on', async () => {
    expect(await ask(publish(), {}, one)).toBe('interaction');
    expect(await ask('https://app.example.com/client.json', {}, one)).toBe('invalid_client');
  });
});
