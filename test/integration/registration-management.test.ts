/** A client reads, changes and deletes its own registration (RFC 7592). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { basic, bearer, newPerson, post, send } from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let limited: TestServer;
beforeAll(async () => {
  server = await startServer({ DYNAMIC_REGISTRATION: 'open' });
  limited = await startServer({ DYNAMIC_REGISTRATION: 'open', RATE_LIMIT_FACTOR: '0.02' });
});
afterAll(async () => {
  await server.stop();
  await limited.stop();
});

const redirectUri = 'https://app.example.com/callback';
const web = {
  client_name: 'Acme',
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'refresh_token'],
};

interface Registered {
  client_id: string;
  client_secret: string;
  registration_access_token: string;
  registration_client_uri: string;
  redirect_uris: string[];
}

const register = async (metadata: object = web): Promise<Registered> => {
  const { status, body } = await send(`${server.issuer}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(metadata),
  });
  expect(status).toBe(201);
  return body;
};

const manage = (
  { registration_client_uri: uri, registration_access_token: token }: Registered,
  method: string,
  body?: object,
  headers: Record<string, string> = bearer(token),
) =>
  send(uri, {
    method,
    headers: { ...headers, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });

const rowOf = ({ client_id: clientId }: Registered) => server.database.db('clients').where({ clientId }).first();

const authorizationUrl = (client: Registered) => {
  const url = new URL(`${server.issuer}/oauth/authorize`);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'openid',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
  }).toString();
  return url;
};
/** Signs somebody in at the client and redeems the code. */
const signIn = async (client: Registered) => {
  const person = await newPerson(server);
  const callback = await authorize(person.browser, authorizationUrl(client), person.email);
  const { status, body } = await post(
    server,
    '/oauth/token',
    {
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code') as string,
      redirect_uri: redirectUri,
      code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
    },
    basic(client),
  );
  expect(status).toBe(200);
  return body as { refresh_token: string };
};
const refreshed = async (client: Registered, { refresh_token }: { refresh_token: string }) =>
  (await post(server, '/oauth/token', { grant_type: 'refresh_token', refresh_token }, basic(client))).status;

describe('a client', () => {
  it('reads what it is registered with, without its secret or any hash', async () => {
    const client = await register();
    const { status, body, headers } = await manage(client, 'GET');
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store']);
    const {
      client_secret: _secret,
      client_secret_expires_at: _expires,
      ...rest
    } = client as Registered & {
      client_secret_expires_at: number;
    };
    expect(body).toEqual(rest);
    const row = await rowOf(client);
    for (const hash of [row.clientSecretHash, row.registrationTokenHash, client.client_secret])
      expect(JSON.stringify(body)).not.toContain(hash);
  });

  it('replaces its metadata as a whole, and keeps its secret and its token', async () => {
    const client = await register({ ...web, client_uri: 'https://app.example.com', contacts: ['a@example.com'] });
    const before = await rowOf(client);
    const { status, body } = await manage(client, 'PUT', {
      ...web,
      client_id: client.client_id,
      client_secret: client.client_secret,
      client_name: 'Acme Two',
      contacts: null,
      logo_uri: '',
      first_party: true,
      scope: 'openid users:write:any',
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      client_id: client.client_id,
      client_name: 'Acme Two',
      scope: 'openid',
      registration_access_token: client.registration_access_token,
      registration_client_uri: client.registration_client_uri,
    });
    for (const name of ['client_uri', 'logo_uri', 'client_secret', 'first_party'])
      expect(body).not.toHaveProperty(name);
    const after = await rowOf(client);
    expect(after).toMatchObject({
      clientSecretHash: before.clientSecretHash,
      registrationTokenHash: before.registrationTokenHash,
      kind: 'dynamic',
      rank: before.rank,
      firstParty: false,
      contacts: [],
    });
    // The secret still works: nothing was hashed again.
    expect((await post(server, '/oauth/introspect', { token: 'x' }, basic(client))).status).toBe(200);
    const [event] = await server.database
      .db('auditLogs')
      .where({ targetId: client.client_id, action: 'client.update' });
    expect(event).toMatchObject({ actorType: 'client', actorId: client.client_id });
  });

  it('that begins to use a secret is shown one; that no longer does loses it', async () => {
    const client = await register({ ...web, token_endpoint_auth_method: 'none' });
    const own = { ...web, client_id: client.client_id };
    const { body: given } = await manage(client, 'PUT', { ...own, token_endpoint_auth_method: 'client_secret_post' });
    expect(given.client_secret).toMatch(/^[\w-]{43}$/);
    const { body: without } = await manage(client, 'PUT', { ...own, token_endpoint_auth_method: 'none' });
    expect(without).not.toHaveProperty('client_secret');
    expect((await rowOf(client)).clientSecretHash).toBeNull();
  });

  it('loses what people agreed to when it becomes another', async () => {
    const client = await register();
    const tokens = await signIn(client);
    const own = { ...web, client_id: client.client_id };
    expect((await manage(client, 'PUT', { ...own, client_uri: 'https://app.example.com' })).status).toBe(200);
    expect(await refreshed(client, tokens)).toBe(200);
    const again = await signIn(client);
    await manage(client, 'PUT', { ...own, redirect_uris: [redirectUri, 'https://elsewhere.example/'] });
    expect(await refreshed(client, again)).toBe(400);
    expect(await server.database.db('consents').where({ clientId: client.client_id })).toEqual([]);
  });

  it('deletes itself, and all that was given to it', async () => {
    const client = await register();
    await signIn(client);
    const { status, body } = await manage(client, 'DELETE');
    expect([status, body]).toEqual([204, '']);
    expect(await rowOf(client)).toBeUndefined();
    expect(await server.database.db('grants').where({ clientId: client.client_id })).toEqual([]);
    expect((await manage(client, 'GET')).status).toBe(401);
    expect((await manage(client, 'DELETE')).status).toBe(401);
  });

  it('is changed by one of two requests at a time', async () => {
    const client = await register();
    const names = ['A', 'B', 'C', 'D'];
    const replies = await Promise.all([
      ...names.map((name) => manage(client, 'PUT', { ...web, client_id: client.client_id, client_name: name })),
      manage(client, 'DELETE'),
    ]);
    for (const { status } of replies) expect([200, 204, 401]).toContain(status);
    expect(await rowOf(client)).toBeUndefined();
  });
});

describe('is refused', () => {
  const unauthorized: [what: string, of: (client: Registered) => Promise<Record<string, string>>][] = [
    ['nobody', () => Promise.resolve({})],
    ['a made-up token', () => Promise.resolve(bearer('x'.repeat(43)))],
    ['an empty token', () => Promise.resolve({ authorization: 'Bearer ' })],
    ['the client’s secret', (client) => Promise.resolve(bearer(client.client_secret))],
    ['the client itself by its secret', (client) => Promise.resolve(basic(client))],
    ['another client’s token', async () => bearer((await register()).registration_access_token)],
    ['an administrator of the REST API', async () => bearer((await callerOf(server, { role: 'super_admin' })).token)],
  ];
  for (const [what, headersOf] of unauthorized)
    it(what, async () => {
      const client = await register();
      const before = await rowOf(client);
      const headers = await headersOf(client);
      for (const [method, body] of [
        ['GET', undefined],
        ['PUT', { ...web, client_id: client.client_id, client_name: 'Mine' }],
        ['DELETE', undefined],
      ] as const) {
        const reply = await manage(client, method, body, headers);
        expect([method, reply.status]).toEqual([method, 401]);
        expect(reply.headers.get('www-authenticate')).toMatch(/^Bearer/);
      }
      expect(await rowOf(client)).toEqual(before);
    });

  it('a client that an administrator registered, and one that is not there', async () => {
    const { client_id } = await server.client(web);
    const registered = await register();
    for (const id of [client_id, 'countersign-rest', 'nobody', 'a'.repeat(100)]) {
      const uri = `${server.issuer}/oauth/register/${id}`;
      const { status } = await manage({ ...registered, registration_client_uri: uri }, 'GET');
      expect([id, status]).toEqual([id, 401]);
    }
  });

  for (const [what, members, expected] of [
    ['without its id', { client_id: undefined }, [400, 'invalid_request']],
    ['with another id', { client_id: 'other' }, [400, 'invalid_request']],
    ['with a secret of its choice', { client_secret: 'chosen' }, [400, 'invalid_request']],
    ['with its registration token', { registration_access_token: 'x' }, [400, 'invalid_request']],
    ['with its registration address', { registration_client_uri: 'x' }, [400, 'invalid_request']],
    ['with when its secret ends', { client_secret_expires_at: 0 }, [400, 'invalid_request']],
    ['with when it was made', { client_id_issued_at: 0 }, [400, 'invalid_request']],
    ['with a bad redirect URI', { redirect_uris: ['http://app.example.com/'] }, [400, 'invalid_redirect_uri']],
    ['with metadata that does not fit', { response_types: ['token'] }, [400, 'invalid_client_metadata']],
    ['with a software statement', { software_statement: 'a.b.c' }, [400, 'unapproved_software_statement']],
  ] as const)
    it(`a change ${what}, which changes nothing`, async () => {
      const client = await register();
      const before = await rowOf(client);
      const { status, body } = await manage(client, 'PUT', { ...web, client_id: client.client_id, ...members });
      expect([status, body.error]).toEqual(expected);
      expect(await rowOf(client)).toEqual(before);
    });

  it('another method, which is told', async () => {
    const client = await register();
    const { status, headers } = await manage(client, 'PATCH', {});
    expect([status, headers.get('allow')]).toEqual([405, 'GET, PUT, DELETE']);
  });

  it('many wrong tokens from one address', async () => {
    const uri = `${limited.issuer}/oauth/register/abc`;
    const statuses = [];
    for (let attempt = 0; attempt < 6; attempt++)
      statuses.push((await send(uri, { headers: bearer('x'.repeat(43)) })).status);
    expect(statuses).toEqual([401, 401, 401, 401, 429, 429]);
  });
});
