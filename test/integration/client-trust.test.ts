/** Whom a client is trusted for: whoever consented to it as it is, and whoever answers for it. */
import { createHash } from 'node:crypto';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { createClient, rotateClientSecret } from '../../src/clients/clients.commands.ts';
import { grantConsent } from '../../src/sessions/sessions.commands.ts';
import type { Browser } from '../support/browser.ts';
import { callerOf, giveRole, requester, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { basic, post } from '../support/relying-party.ts';
import { signedIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let root: TestCaller;
let admin: TestCaller;
let user: TestCaller;
beforeAll(async () => {
  server = await startServer();
  root = await callerOf(server, { role: 'super_admin' });
  admin = await callerOf(server, { role: 'admin' });
  user = await callerOf(server);
});
afterAll(() => server.stop());

const redirectUri = 'https://app.example.com/callback';
const web = { client_name: 'Acme', redirect_uris: [redirectUri], scope: 'openid users:read:own' };
const machine = { grant_types: ['client_credentials'], redirect_uris: [] };
type Json = Record<string, unknown> & { client_id: string; client_secret?: string };

const create = async (metadata: object, by: TestCaller): Promise<Json> => {
  const { status, json, text } = await by.request('post', '/clients', metadata);
  expect([status, status === 201 || text]).toEqual([201, true]);
  return json;
};
const put = async (client: Json, metadata: object, by: TestCaller): Promise<Json> => {
  const { status, json, text } = await by.request('put', `/clients/${client.client_id}`, metadata);
  expect([status, status === 200 || text]).toEqual([200, true]);
  return json;
};
const authorizationUrl = ({ client_id }: Json, parameters: Record<string, string> = {}) =>
  `/oauth/authorize?${new URLSearchParams({
    client_id,
    response_type: 'code',
    scope: web.scope,
    resource: `${server.issuer}/api`,
    redirect_uri: redirectUri,
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
    ...parameters,
  })}`;
/** What comes of an authorization request: a code, an error, or a page. */
const outcome = async (browser: Browser, client: Json, parameters: Record<string, string> = {}): Promise<string> => {
  const { url } = await browser.go(authorizationUrl(client, parameters));
  if (url.searchParams.has('code')) return 'a code';
  return url.searchParams.get('error') ?? url.pathname.replace(/[^/]*$/, '');
};
const consents = ({ client_id: clientId }: Json) => server.database.db('consents').where({ clientId });

describe('consent to a client', () => {
  it('ends when somebody else changes where its answers go', async () => {
    const other = await callerOf(server, { role: 'admin' });
    const client = await create(web, admin);
    const browser = await signedIn(server, root.email);
    const page = await browser.go(authorizationUrl(client));
    expect((await browser.submit(page)).url.searchParams.has('code')).toBe(true);
    expect(await outcome(browser, client, { prompt: 'none' })).toBe('a code');
    const evil = 'https://evil.example.com/callback';
    await put(client, { ...web, redirect_uris: [redirectUri, evil] }, other);
    expect(await outcome(browser, client, { prompt: 'none', redirect_uri: evil })).toBe('consent_required');
    expect(await outcome(browser, client, { prompt: 'none' })).toBe('consent_required');
    expect(await server.database.db('grants').where({ clientId: client.client_id })).toEqual([]);
    const [event] = await server.database
      .db('auditLogs')
      .where({ action: 'client.update', targetId: client.client_id })
      .select('meta');
    expect(event.meta).toMatchObject({ members: ['redirect_uris'], grantsEnded: true });
  });

  const confidential = { ...web, redirect_uris: [redirectUri, 'https://app.example.com/two'], logo_uri: redirectUri };
  const key = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' };
  const keyed = { ...web, token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [key] } };
  const byUri = { ...web, token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://app.example.com/jwks' };
  for (const [name, before, after, ends] of [
    ['a redirect URI more', web, confidential, true],
    ['a redirect URI less', confidential, { ...web, logo_uri: redirectUri }, false],
    ['another name', web, { ...web, client_name: 'Bank' }, true],
    ['another type', web, { ...web, application_type: 'native', redirect_uris: web.redirect_uris }, true],
    ['another method', web, { ...web, token_endpoint_auth_method: 'client_secret_post' }, true],
    ['other keys', keyed, { ...keyed, jwks: { keys: [{ ...key, kid: 'k2' }] } }, true],
    ['keys from elsewhere', byUri, { ...byUri, jwks_uri: 'https://evil.example.com/jwks' }, true],
    ['a scope more', web, { ...web, scope: 'email users:read:own openid' }, true],
    ['a scope less', web, { ...web, scope: 'openid' }, false],
    ['the operator’s own', web, { ...web, first_party: true }, true],
    ['not the operator’s own', { ...web, first_party: true }, web, true],
    ['the same keys and URIs', keyed, keyed, false],
    ['another look', web, { ...web, theme: { accent: '#aa0044' }, contacts: ['ops@example.com'] }, false],
  ] as const)
    it(`${ends ? 'ends' : 'stays'} with ${name}`, async () => {
      const { db } = server.database;
      const client = await create(before, admin);
      const { client_id: clientId } = client;
      await grantConsent(
        db,
        operator,
        user.id,
        clientId,
        { scopes: ['openid'], claims: [], resources: {} },
        Date.now() / 1000 + 1,
      );
      const expiresAt = new Date(Date.now() + 60_000);
      await db('grants').insert({ id: `grant-of-${clientId}`, userId: user.id, clientId, payload: '{}', expiresAt });
      await put(client, after, admin);
      expect([(await consents(client)).length, (await db('grants').where({ clientId })).length]).toEqual(
        ends ? [0, 0] : [1, 1],
      );
    });

  it('is not given on a page that shows the client as it was', async () => {
    const client = await create(web, admin);
    const browser = await signedIn(server, user.email);
    const page = await browser.go(authorizationUrl(client));
    await put(client, { ...web, client_name: 'Another' }, admin);
    const changedAt = new Date(Date.now() + 2000);
    await server.database.db('clients').where({ clientId: client.client_id }).update({ updatedAt: changedAt });
    expect((await browser.submit(page)).status).toBe(400);
    expect(await consents(client)).toEqual([]);
  });

  it.runIf(onPostgres)('that is given while the client changes waits for it', async () => {
    const { db } = server.database;
    const client = await create(web, admin);
    const { client_id: clientId } = client;
    const agreement = { scopes: ['openid'], claims: [], resources: {} };
    const shownAt = Math.floor(Date.now() / 1000);
    const change = await db.transaction();
    await change('clients')
      .where({ clientId })
      .update({ updatedAt: new Date(Date.now() + 2000) });
    const consent = grantConsent(db, operator, user.id, clientId, agreement, shownAt).catch(({ code }) => code);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await change.commit();
    expect(await consent).toBe('session_not_found');
  });
});

describe('the consent page', () => {
  const sentences = async (client: Json, { email }: TestCaller) => {
    const browser = await signedIn(server, email);
    const { html } = await browser.go(authorizationUrl(client, { prompt: 'consent' }));
    return { ownApp: html.includes('This app is run by'), unchecked: html.includes('has not checked this app') };
  };

  it('vouches for an application no further than its registrar could', async () => {
    const own = { ownApp: true, unchecked: false };
    const foreign = { ownApp: false, unchecked: true };
    const client = await create({ ...web, first_party: true }, admin);
    expect(await sentences(client, user)).toEqual(own);
    expect(await sentences(client, root)).toEqual(foreign);
    expect(await sentences(await create({ ...web, first_party: true }, root), root)).toEqual(own);
    // Registered here by somebody who may: it is not the operator's, and it is what it says.
    expect(await sentences(await create(web, root), user)).toEqual({ ownApp: false, unchecked: false });
  });

  it('tells the roles of whoever ranks above its registrar to nobody', async () => {
    const metadata = {
      redirect_uris: [redirectUri],
      scope: 'openid users:read:own',
      audience: 'https://billing.example.com',
    };
    const client = await create({ ...metadata, first_party: true }, admin);
    const rolesFor = async ({ email }: TestCaller) => {
      const browser = await signedIn(server, email);
      const verifier = 'v'.repeat(43);
      const challenge = createHash('sha256').update(verifier).digest('base64url');
      const page = await browser.go(authorizationUrl(client, { code_challenge: challenge }));
      const { url } = page.url.searchParams.has('code') ? page : await browser.submit(page);
      const code = url.searchParams.get('code') as string;
      const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: redirectUri };
      const { body } = await post(server, '/oauth/token', fields, basic(client));
      return decodeJwt(body.access_token as string).roles;
    };
    expect(await rolesFor(user)).toEqual(['user']);
    expect(await rolesFor(root)).toBeUndefined();
  });

  it.runIf(onPostgres)('is needed of who ranks above the registrar when a Grant is saved, too', async () => {
    const { db } = server.database;
    const client = await create({ ...web, first_party: true }, admin);
    const browser = await signedIn(server, root.email);
    await browser.submit(await browser.go(authorizationUrl(client)));
    await db('grants').where({ clientId: client.client_id }).delete();
    const withdrawal = await db.transaction();
    await withdrawal('consents').where({ clientId: client.client_id }).delete();
    const asked = outcome(browser, client, { prompt: 'none' });
    await new Promise((resolve) => setTimeout(resolve, 400));
    await withdrawal.commit();
    expect(await asked).not.toBe('a code');
    expect(await db('grants').where({ clientId: client.client_id })).toEqual([]);
  });
});

describe('a client whose registrar', () => {
  const scope = 'clients:read:any audit:read:any';
  /** A machine of an administrator of its own, with a token. */
  const machineOf = async (role = 'admin') => {
    const { db } = server.database;
    const registrar = await callerOf(server, { role });
    const client = await create({ ...machine, scope }, registrar);
    const { body } = await post(server, '/oauth/token', { grant_type: 'client_credentials', scope }, basic(client));
    const token = body.access_token as string;
    const mayRead = async () => {
      const answers = [];
      for (const path of ['/clients', '/audit/logs'])
        answers.push((await requester(server, token)('get', path)).status);
      return answers;
    };
    expect(await mayRead()).toEqual([200, 200]);
    const row = () => db('clients').where({ clientId: client.client_id }).first('rank', 'createdBy');
    return { registrar, client, mayRead, row };
  };
  const status = (to: string) => (id: string) => server.database.db('users').where({ id }).update({ status: to });
  const none = [403, 403];

  for (const [name, fall] of [
    ['is closed', status('closed')],
    ['is deactivated', status('deactivated')],
    ['ranks lower now', (id: string) => giveRole(server, id, 'operator')],
  ] as const)
    it(`${name} does nothing on its own, until somebody adopts it`, async () => {
      const { registrar, client, mayRead, row } = await machineOf();
      expect(await row()).toEqual({ rank: 80, createdBy: registrar.id });
      await fall(registrar.id);
      expect(await mayRead()).toEqual(none);
      // Nor does a new token say to others that it may.
      const wanted = { grant_type: 'client_credentials', scope };
      expect((await post(server, '/oauth/token', wanted, basic(client))).body.error).toBe('invalid_scope');
      const shown = (await admin.request('get', `/clients/${client.client_id}`)).json;
      expect(shown.created_by).toBe(registrar.id);
      // A rotation of the secret is no adoption.
      await admin.request('post', `/clients/${client.client_id}/secret`, {});
      expect(await mayRead()).toEqual(none);
      expect((await put(client, { ...machine, scope }, admin)).created_by).toBe(admin.id);
      expect(await mayRead()).toEqual([200, 200]);
      expect(await row()).toEqual({ rank: 80, createdBy: admin.id });
    });

  it('is active keeps it when somebody else replaces it, unless they give it another scope', async () => {
    const { registrar, client, row } = await machineOf();
    await put(client, { ...machine, scope, client_name: 'Renamed' }, root);
    expect(await row()).toEqual({ rank: 80, createdBy: registrar.id });
    await put(client, { ...machine, scope: 'clients:read:any' }, root);
    expect(await row()).toEqual({ rank: 100, createdBy: root.id });
  });

  it('is denied something may no longer do that', async () => {
    const { db } = server.database;
    const { registrar, mayRead } = await machineOf();
    const [{ id: permissionId }] = await db('permissions')
      .insert({ name: 'audit:read:any' })
      .onConflict('name')
      .merge()
      .returning('id');
    await db('permissionGrants').insert({ userId: registrar.id, permissionId, effect: 'deny' });
    expect(await mayRead()).toEqual([200, 403]);
  });

  it('was a client is that client’s registrar’s, and falls with it', async () => {
    const registrar = await callerOf(server, { role: 'admin' });
    const scope = 'clients:write:any clients:read:any';
    const first = await create({ ...machine, scope }, registrar);
    const { body } = await post(server, '/oauth/token', { grant_type: 'client_credentials', scope }, basic(first));
    const asFirst = { ...registrar, request: requester(server, body.access_token as string) };
    const second = await create({ ...machine, scope: 'clients:read:any' }, asFirst);
    expect(second.created_by).toBe(registrar.id);
    await status('closed')(registrar.id);
    const answer = await asFirst.request('post', '/clients', machine);
    expect([answer.status, answer.json.code]).toEqual([403, 'missing_permission']);
  });

  it('is gone is the operator’s own to ordinary people alone', async () => {
    const registrar = await callerOf(server, { role: 'super_admin' });
    const moderator = await callerOf(server, { role: 'moderator' });
    const client = await create({ ...web, first_party: true }, registrar);
    const [ordinary, elevated] = [await signedIn(server, user.email), await signedIn(server, moderator.email)];
    expect(await outcome(elevated, client)).toBe('a code');
    await status('deactivated')(registrar.id);
    expect(await outcome(ordinary, client)).toBe('a code');
    expect(await outcome(elevated, client)).toBe('/interaction/');
  });

  it('has fallen since the request was let in registers and changes nothing', async () => {
    const { db } = server.database;
    const { registrar, client } = await machineOf();
    const powers = { kind: 'user', id: registrar.id, rank: 80, permissions: ['clients:*:any'] } as const;
    const { validateClient } = server.app.provider;
    const attempts = [
      () => createClient(db, operator, powers, { ...machine, scope: 'clients:read:any' }, validateClient),
      () => rotateClientSecret(db, operator, powers, client.client_id, 0),
    ];
    await giveRole(server, registrar.id, 'user');
    const before = await db('clients').orderBy('clientId');
    for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ status: 403 });
    await status('closed')(registrar.id);
    for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ code: 'rank_too_low' });
    await expect(createClient(db, operator, powers, machine, validateClient)).rejects.toMatchObject({ status: 403 });
    expect(await db('clients').orderBy('clientId')).toEqual(before);
  });

  it('was code that knows no ranks is the operator’s', async () => {
    const { db } = server.database;
    await db('clients').insert({ clientId: 'from-before' });
    expect(await db('clients').where({ clientId: 'from-before' }).first('rank', 'createdBy')).toEqual({
      rank: 100,
      createdBy: null,
    });
    const { json } = await admin.request('post', '/clients/from-before/secret', {});
    expect(json.code).toBe('rank_too_low');
  });
});

describe('metadata that nobody can mean', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  const jwt = { ...machine, token_endpoint_auth_method: 'private_key_jwt' };
  for (const [name, member] of [
    ['5000 arrays in each other', nested(5000)],
    ['40000 arrays in each other', nested(40_000)],
    ['an object', '{"a":{}}'],
    ['null', 'null'],
    ['a list of numbers', '[1]'],
  ] as const)
    for (const method of ['post', 'put'] as const)
      it(`a key with ${name}: ${method}`, async () => {
        const path = method === 'post' ? '/clients' : `/clients/${(await create(machine, admin)).client_id}`;
        const body = JSON.stringify({ ...jwt, jwks: { keys: [{ kty: 'RSA', x5c: 'HERE' }] } });
        const answer = await admin.request(method, path, body.replace('"HERE"', member), {
          'content-type': 'application/json',
        });
        expect([answer.status, answer.json.code]).toEqual([400, 'invalid_client_metadata']);
      });

  it('is not what keys have: text, lists of it, numbers and booleans', async () => {
    const key = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' };
    const jwks = { keys: [{ ...key, key_ops: ['verify'], ext: true, exp: 1_798_761_599 }] };
    expect((await create({ ...jwt, jwks }, admin)).jwks).toEqual(jwks);
  });

  for (const name of [
    'Ac\u200bme',
    '\u202eemcA',
    'Acme\u2066',
    'Ac\ufeffme',
    'Countersign',
    ' COUNTERSIGN ',
    'Ｃountersign',
    'Counter\u034fsign',
  ])
    it(`a name that shows as another: ${JSON.stringify(name).replace(/[^ -~]/g, '?')}`, async () => {
      const { status, json } = await admin.request('post', '/clients', { ...web, client_name: name });
      expect([status, json.code]).toEqual([400, 'invalid_client_metadata']);
    });

  it('is not the name of the service for an application of its operator’s own, nor other scripts', async () => {
    await create({ ...web, client_name: 'Countersign', first_party: true }, admin);
    await create({ ...web, client_name: 'متجر Búho 商店' }, admin);
    const client = await create({ ...web, client_name: 'Countersign', first_party: true }, admin);
    const { status } = await admin.request('put', `/clients/${client.client_id}`, {
      ...web,
      client_name: 'countersign',
    });
    expect(status).toBe(400);
  });
});
