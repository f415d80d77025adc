import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer, type TestServer } from '../support/server.ts';

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
