/** WebFinger: RFC 7033, and OpenID Connect Discovery section 2. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerAccount } from '../support/browser.ts';
import { answerOf, comparable } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const issuerRel = 'http://openid.net/specs/connect/1.0/issuer';
/** Behind a proxy with TLS, as in production. */
const issuer = 'https://id.example.com';
let server: TestServer;
beforeAll(async () => {
  server = await startServer({ JWT_ISSUER: issuer });
});
afterAll(() => server.stop());

const ask = async (query: string | Record<string, string>, init: RequestInit = {}) =>
  answerOf(await fetch(`${server.address}/.well-known/webfinger?${new URLSearchParams(query)}`, init));

describe('a resource of ours', () => {
  for (const resource of [
    'acct:ada@id.example.com',
    'acct:ada.lovelace+app@ID.example.com',
    'ACCT:juliet%40capulet.example@id.example.com',
    'https://id.example.com',
    'https://id.example.com/ada',
    'https://id.example.com:443/?ada#me',
    'https://ada@id.example.com/',
  ])
    it(resource, async () => {
      const { status, headers, json } = await ask({ resource, rel: issuerRel });
      expect([status, json]).toEqual([200, { subject: resource, links: [{ rel: issuerRel, href: issuer }] }]);
      expect(headers.get('content-type')).toBe('application/jrd+json');
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
      expect(headers.get('cache-control')).toBe('public, max-age=300');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
    });

  it('has a port in development, which accounts do not', async () => {
    const local = await startServer();
    const { host } = new URL(local.issuer);
    for (const [resource, expected] of [
      ['acct:ada@localhost', 200],
      [`http://${host}/ada`, 200],
      [`https://${host}`, 200],
      ['https://localhost', 404],
      [`acct:ada@${host}`, 400],
    ] as const) {
      const query = new URLSearchParams({ resource });
      const response = await fetch(`${local.issuer}/.well-known/webfinger?${query}`);
      const { links } = (await response.json()) as { links?: { href: string }[] };
      expect([resource, response.status, links?.[0]?.href]).toEqual([
        resource,
        expected,
        expected === 200 ? local.issuer : undefined,
      ]);
    }
    await local.stop();
  });

  it('says nothing of whether the account exists', async () => {
    const email = await registerAccount(server);
    const name = email.split('@')[0] as string;
    for (const [known, unknown] of [
      [`acct:${name}@id.example.com`, 'acct:nobody@id.example.com'],
      [`acct:${encodeURIComponent(email)}@id.example.com`, 'acct:nobody%40example.com@id.example.com'],
    ] as const) {
      const [one, other] = [await ask({ resource: known }), await ask({ resource: unknown })];
      expect({ ...one.json, subject: '' }).toEqual({ ...other.json, subject: '' });
      const told = (headers: Headers) => ({ ...comparable(headers), 'content-length': '' });
      expect([one.status, told(one.headers)]).toEqual([other.status, told(other.headers)]);
    }
  });
});

describe('rel (RFC 7033 section 4.3)', () => {
  const resource = 'acct:ada@id.example.com';
  for (const [query, count] of [
    ['', 1],
    [`&rel=${encodeURIComponent(issuerRel)}`, 1],
    [`&rel=http://webfinger.net/rel/avatar&rel=${encodeURIComponent(issuerRel)}`, 1],
    ['&rel=http://webfinger.net/rel/avatar', 0],
    ['&rel=', 0],
    ['&unknown=x', 1],
  ] as const)
    it(`${query || 'none'}: ${count}`, async () => {
      const { status, json } = await ask(`resource=${encodeURIComponent(resource)}${query}`);
      expect([status, json.subject, json.links.length]).toEqual([200, resource, count]);
    });
});

describe('is refused', () => {
  for (const [name, query, expected] of [
    ['nothing', '', 400],
    ['an empty resource', 'resource=', 400],
    ['two resources', 'resource=acct:a@id.example.com&resource=acct:b@id.example.com', 400],
    ['no URI', 'resource=ada', 400],
    ['an address without a scheme', 'resource=ada@id.example.com', 400],
    ['an account without a name', 'resource=acct:@id.example.com', 400],
    ['an account without a host', 'resource=acct:ada', 400],
    ['an account with two hosts', 'resource=acct:ada@evil.example@id.example.com', 400],
    ['an account with a port', 'resource=acct:ada@id.example.com:443', 400],
    ['an account with a path', 'resource=acct:ada@id.example.com/x', 400],
    ['broken escapes', 'resource=acct:ada%25zz@id.example.com', 400],
    ['spaces', 'resource=acct:ada lovelace@id.example.com', 400],
    ['control characters', 'resource=acct:ada%00@id.example.com', 400],
    ['line breaks', 'resource=https://id.example.com/%0d%0aSet-Cookie:x', 400],
    ['letters beyond ASCII', 'resource=acct:%C3%A4da@id.example.com', 400],
    ['much too long', `resource=acct:${'a'.repeat(3000)}@id.example.com`, 400],
    ['no URL', 'resource=https://', 400],
    ['an account elsewhere', 'resource=acct:ada@example.com', 404],
    ['an account below our host', 'resource=acct:ada@x.id.example.com', 404],
    ['a host that only begins so', 'resource=acct:ada@id.example.com.evil.example', 404],
    ['a URL elsewhere', 'resource=https://evil.example/', 404],
    ['our name before somebody’s host', 'resource=https://id.example.com@evil.example/', 404],
    ['another port', 'resource=https://id.example.com:8443/', 404],
    ['without TLS', 'resource=http://id.example.com/', 404],
    ['a mail address', 'resource=mailto:ada@id.example.com', 404],
    ['a device', 'resource=device:p1.example.com', 404],
  ] as const)
    it(`${name}: ${expected}`, async () => {
      const { status, headers, json } = await ask(query.replaceAll('+', '%2B'));
      expect([status, json.error]).toEqual([expected, expected === 400 ? 'invalid_request' : 'not_found']);
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('cache-control')).toBe('no-store');
    });

  it('another method, and another spelling', async () => {
    const resource = 'acct:ada@id.example.com';
    for (const method of ['POST', 'PUT', 'DELETE']) expect((await ask({ resource }, { method })).status).toBe(404);
    for (const path of ['/.well-known/webfinger/', '/.well-known/WebFinger'])
      expect((await fetch(`${server.address}${path}?resource=${resource}`)).status).toBe(404);
  });
});

it('answers HEAD and preflights', async () => {
  const head = await ask({ resource: 'acct:ada@id.example.com' }, { method: 'HEAD' });
  expect([head.status, head.text, head.headers.get('content-type')]).toEqual([200, '', 'application/jrd+json']);
  const preflight = await ask('', {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example', 'access-control-request-method': 'GET' },
  });
  expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, '*']);
});
