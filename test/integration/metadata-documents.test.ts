/** Discovery and JWKS as HTTP: prebuilt bytes that caches may keep and every site may read. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { answerOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  answerOf(await fetch(`${server.issuer}${path}`, { method, headers }));

const openid = '/.well-known/openid-configuration';
const oauth = '/.well-known/oauth-authorization-server';
const jwks = '/.well-known/jwks.json';
const documents = [
  [openid, 'application/json; charset=utf-8'],
  [oauth, 'application/json; charset=utf-8'],
  [jwks, 'application/jwk-set+json; charset=utf-8'],
] as const;

for (const [path, type] of documents)
  describe(path, () => {
    it('has a strong ETag of its bytes, may be cached, and is guarded as every answer is', async () => {
      const { status, headers, text } = await ask(path);
      expect(status).toBe(200);
      expect(Object.fromEntries(headers)).toMatchObject({
        'content-type': type,
        'content-length': String(Buffer.byteLength(text)),
        'cache-control': 'public, max-age=300',
        etag: `"${createHash('sha256').update(text).digest('base64url')}"`,
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'x-request-id': expect.any(String),
      });
      expect(headers.get('set-cookie')).toBeNull();
      expect((await ask(path)).headers.get('etag')).toBe(headers.get('etag'));
    });

    it('answers 304 to who has it (RFC 9110 section 13.1.2)', async () => {
      const etag = (await ask(path)).headers.get('etag') as string;
      for (const given of [etag, `W/${etag}`, `"another", ${etag}`, '*'])
        for (const method of ['GET', 'HEAD']) {
          const { status, headers, text } = await ask(path, { 'if-none-match': given }, method);
          expect([given, status, text]).toEqual([given, 304, '']);
          // Section 15.4.5: what the 200 would have said.
          expect([headers.get('etag'), headers.get('cache-control')]).toEqual([etag, 'public, max-age=300']);
          expect(headers.get('access-control-allow-origin')).toBe('*');
          expect([headers.get('content-type'), headers.get('content-length')]).toEqual([null, null]);
        }
      for (const given of ['"another"', etag.slice(1, -1), ''])
        expect((await ask(path, { 'if-none-match': given })).status).toBe(200);
    });

    it('answers HEAD as GET, without the bytes', async () => {
      const [get, head] = [await ask(path), await ask(path, {}, 'HEAD')];
      const told = ({ headers }: typeof get) =>
        ['content-type', 'content-length', 'etag', 'cache-control'].map((name) => headers.get(name));
      expect([head.status, head.text, told(head)]).toEqual([200, '', told(get)]);
    });

    it('is open to every site, with whatever headers a client adds, and never with credentials', async () => {
      for (const origin of ['https://anywhere.example', 'null']) {
        const { headers } = await ask(path, { origin });
        expect(headers.get('access-control-allow-origin')).toBe('*');
        expect(headers.get('access-control-allow-credentials')).toBeNull();
        // The same for everybody: caches need not keep one for each site.
        expect(headers.get('vary')).toBeNull();
        const preflight = await ask(
          path,
          {
            origin,
            'access-control-request-method': 'GET',
            'access-control-request-headers': 'mcp-protocol-version',
          },
          'OPTIONS',
        );
        expect([preflight.status, preflight.text]).toEqual([204, '']);
        expect(Object.fromEntries(preflight.headers)).toMatchObject({
          'access-control-allow-origin': '*',
          'access-control-allow-methods': 'GET, HEAD',
          'access-control-allow-headers': '*',
          'access-control-max-age': '3600',
        });
        expect(preflight.headers.get('access-control-allow-credentials')).toBeNull();
      }
    });

    it('has one spelling and takes no other method', async () => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'])
        expect([404, 405]).toContain((await ask(path, {}, method)).status);
      for (const other of [`${path}/`, path.toUpperCase(), `/api/v1${path}`])
        expect((await ask(other)).status).toBe(404);
      // A query is no part of the name, and changes nothing.
      expect((await ask(`${path}?issuer=https://evil.example`)).text).toBe((await ask(path)).text);
    });
  });

it('the bytes change with the keys, and so does the ETag of JWKS alone', async () => {
  const before = await Promise.all([openid, oauth, jwks].map((path) => ask(path)));
  await rotateKeys(server.database.db, server.app.secrets, operator);
  await server.app.provider.reload();
  const after = await Promise.all([openid, oauth, jwks].map((path) => ask(path)));
  const etags = (answers: typeof before) => answers.map(({ headers }) => headers.get('etag'));
  expect(etags(after).slice(0, 2)).toEqual(etags(before).slice(0, 2));
  expect(etags(after)[2]).not.toBe(etags(before)[2]);
  expect(after[2]?.json.keys.length).toBeGreaterThan(before[2]?.json.keys.length);
  const stale = await ask(jwks, { 'if-none-match': etags(before)[2] as string });
  expect([stale.status, stale.json]).toEqual([200, after[2]?.json]);
});

it('is counted and timed under its own name', async () => {
  await ask(jwks);
  expect((await ask('/metrics')).text).toMatch(
    /http_requests_total\{method="GET",route="\.well-known\/jwks\.json",status="200"\} \d/,
  );
});

it('many who ask at the same time get the same bytes, the first ones included', async () => {
  await rotateKeys(server.database.db, server.app.secrets, operator, { now: true });
  await server.app.provider.reload();
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(jwks)));
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
});

it('names the issuer’s endpoints, and is at the issuer’s origin alone, where certificates have an origin of their own', async () => {
  const host = 'mtls.example.com';
  const other = await startServer({
    MTLS_ORIGIN: `https://${host}`,
    MTLS_PROXY_HEADER: 'x-client-cert',
    TRUST_PROXY: '1',
    TRUST_PROXY_ADDRESSES: '127.0.0.1',
  });
  const statusAt = (path: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { host: '127.0.0.1', port: new URL(other.address).port, path, headers: { host } };
      request(options, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end();
    });
  for (const [path] of documents) expect([path, await statusAt(path)]).toEqual([path, 404]);
  const { json } = await answerOf(await fetch(`${other.issuer}${openid}`));
  expect(json.token_endpoint).toBe(`${other.issuer}/oauth/token`);
  await other.stop();
});
