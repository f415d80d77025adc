/** Which sites' scripts may call what, never with cookies. What is open to all of them: metadata-documents.test.ts, webfinger.test.ts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication, redirectUri } from '../support/tokens.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ AUTH_API_CORS_ORIGINS: 'https://app.example.com, https://admin.example.com' });
});
afterAll(() => server.stop());

const preflight = (origin: string, path = '/auth/register') =>
  fetch(`${server.issuer}${path}`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
  });

it('lets the scripts of AUTH_API_CORS_ORIGINS call the REST API, without cookies', async () => {
  for (const path of ['/auth/register', '/api/v1/auth/register']) {
    const answer = await preflight('https://admin.example.com', path);
    expect(answer.status).toBe(204);
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://admin.example.com');
    expect(answer.headers.get('access-control-allow-methods')).toContain('POST');
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  }
  const refusal = await fetch(`${server.issuer}/auth/verify`, {
    method: 'POST',
    headers: { origin: 'https://app.example.com', 'content-type': 'application/json' },
    body: '{"token":"nonsense"}',
  });
  expect([refusal.status, refusal.headers.get('access-control-allow-origin')]).toEqual([
    400,
    'https://app.example.com',
  ]);
});

it('lets no others, and nobody on the pages', async () => {
  for (const origin of ['https://app.example.com.evil.example', 'http://app.example.com', 'null', server.issuer]) {
    expect((await preflight(origin)).headers.get('access-control-allow-origin')).toBeNull();
  }
  expect(
    (await preflight('https://app.example.com', '/register')).headers.get('access-control-allow-origin'),
  ).toBeNull();
});

describe('the protocol’s endpoints', () => {
  const spa = 'https://spa.example';
  const redirect_uris = [redirectUri, `${spa}/callback`];
  const called = ['token', 'userinfo', 'revoke', 'introspect', 'par'].map((name) => `/oauth/${name}`);
  const ask = async (path: string, init: RequestInit) => answerOf(await fetch(`${server.issuer}${path}`, init));
  const post = (path: string, origin: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    ask(path, { method: 'POST', headers: { origin, ...headers }, body: new URLSearchParams(form) });
  const seenBy = ({ headers }: { headers: Headers }) => {
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    return headers.get('access-control-allow-origin');
  };

  for (const path of called)
    it(`${path} answers preflights, which do not say who asks: what follows them is judged`, async () => {
      const answer = await ask(path, {
        method: 'OPTIONS',
        headers: {
          origin: spa,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,content-type,dpop',
        },
      });
      expect([answer.status, seenBy(answer)]).toEqual([204, spa]);
      const said = (name: string) => answer.headers.get(`access-control-${name}`);
      expect(said('allow-methods')?.split(',')).toContain('POST');
      expect(said('allow-headers')).toBe('authorization,content-type,dpop');
      expect(said('max-age')).toBe('3600');
      expect(answer.headers.get('vary')).toMatch(/origin/i);
    });

  for (const path of ['/oauth/authorize', '/oauth/logout', '/interaction/x', '/account'])
    it(`${path} is for people: no script of another site reads it`, async () => {
      for (const method of ['OPTIONS', 'GET'])
        expect(
          seenBy(await ask(path, { method, headers: { origin: spa, 'access-control-request-method': 'GET' } })),
        ).toBeNull();
    });

  it('a public client’s own site may use them, and no other', async () => {
    const application = await openApplication(server, { redirect_uris, token_endpoint_auth_method: 'none' }, {});
    const { client_id } = application.client;
    const { access_token, refresh_token } = await application.tokens();
    const refresh = { grant_type: 'refresh_token', client_id };
    const sites = [
      [spa, spa],
      ['https://spa.example.evil.example', null],
      ['http://spa.example', null],
      ['https://spa.example:8443', null],
      ['null', null],
    ] as const;
    for (const [origin, expected] of sites) {
      const requests = [
        await post('/oauth/token', origin, { ...refresh, refresh_token: 'nonsense' }),
        await post('/oauth/introspect', origin, { client_id, token: refresh_token }),
        await post('/oauth/par', origin, { client_id, response_type: 'code', redirect_uri: `${spa}/callback` }),
        await ask('/oauth/userinfo', { headers: { origin, authorization: `Bearer ${access_token}` } }),
        await post('/oauth/revoke', origin, { client_id, token: 'nonsense' }),
      ];
      expect([origin, ...requests.map(seenBy)]).toEqual([origin, ...requests.map(() => expected)]);
      // Refused, and not only kept from being read.
      if (expected === null)
        for (const { status, json } of requests) expect([status, json.error]).toEqual([400, 'invalid_request']);
    }
    const answer = await post('/oauth/token', spa, { ...refresh, refresh_token });
    expect([answer.status, seenBy(answer)]).toEqual([200, spa]);
  });

  it('a native application has no site, and is not that of whoever has no origin', async () => {
    const native = { redirect_uris: ['com.example.app:/callback'], application_type: 'native' };
    const { client_id } = await server.client({ ...native, token_endpoint_auth_method: 'none' });
    const answer = await post('/oauth/token', 'null', { grant_type: 'refresh_token', refresh_token: 'x', client_id });
    expect([answer.status, answer.json.error, seenBy(answer)]).toEqual([400, 'invalid_request', null]);
  });

  it('a client with a secret has none that may: it would be in the page', async () => {
    const { client_id, client_secret = '' } = await server.client({
      redirect_uris,
      grant_types: ['refresh_token', 'authorization_code'],
    });
    const authorization = `Basic ${btoa(`${client_id}:${client_secret}`)}`;
    const form = { grant_type: 'refresh_token', refresh_token: 'nonsense' };
    const answer = await post('/oauth/token', spa, form, { authorization });
    expect([answer.status, answer.json.error, seenBy(answer)]).toEqual([400, 'invalid_request', null]);
  });

  it('scripts may read why they were refused, and the nonce of the next DPoP proof (RFC 9449 section 8)', async () => {
    for (const [path, names] of [
      ['/oauth/token', ['WWW-Authenticate', 'DPoP-Nonce']],
      ['/oauth/par', ['WWW-Authenticate', 'DPoP-Nonce']],
      ['/oauth/userinfo', ['WWW-Authenticate', 'DPoP-Nonce']],
      ['/oauth/revoke', ['WWW-Authenticate']],
    ] as const) {
      const { headers } = await post(path, spa, { client_id: 'nobody' });
      const exposed = headers.get('access-control-expose-headers')?.split(',') ?? [];
      expect([path, ...exposed]).toEqual(expect.arrayContaining([path, ...names]));
    }
  });
});
