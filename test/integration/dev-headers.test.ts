/** AUTH_ALLOW_DEV_HEADERS (requirement A10). */
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';
import { registerAccount } from '../support/browser.ts';
import { nobody } from '../support/callers.ts';
import { startServer, type TestServer } from '../support/server.ts';

describe('with AUTH_ALLOW_DEV_HEADERS', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ AUTH_ALLOW_DEV_HEADERS: 'true' });
  });
  afterAll(() => server.stop());
  const me = (headers: Record<string, string>) => nobody(server).request('GET', '/auth/me', undefined, headers);

  it('an address without an account becomes a user of role user, once', async () => {
    const headers = { 'x-user-email': 'Dev@example.com', 'x-user-name': 'Dev' };
    const answers = await Promise.all(Array.from({ length: 5 }, () => me(headers)));
    for (const { status, json } of answers)
      expect([status, json]).toMatchObject([200, { email: 'dev@example.com', name: 'Dev', role: 'user' }]);
    expect(new Set(answers.map(({ json }) => json.id)).size).toBe(1);
  });

  it('an account that is there is used as it is', async () => {
    const email = await registerAccount(server);
    const { json } = await me({ 'x-user-email': email, 'x-user-name': 'Somebody else' });
    expect(json).toMatchObject({ email, name: 'Ada Lovelace' });
    await server.database.db('users').where({ email }).update({ status: 'deactivated' });
    expect((await me({ 'x-user-email': email })).status).toBe(401);
  });

  it('what is no address is nobody, and a token that is not valid is not mended by a header', async () => {
    expect((await me({ 'x-user-email': 'nonsense' })).status).toBe(401);
    expect((await me({ 'x-user-email': 'dev@example.com', authorization: 'Bearer nonsense' })).status).toBe(401);
  });

  it('another host’s name that leads here does not help a page of that host', async () => {
    const { port } = new URL(server.issuer);
    const status = await new Promise((resolve) => {
      const headers = { host: 'evil.example', 'x-user-email': 'dev@example.com' };
      request({ port, host: '127.0.0.1', path: '/auth/me', headers }, (response) => resolve(response.statusCode)).end();
    });
    expect(status).toBe(401);
  });
});

it('without the setting the headers mean nothing', async () => {
  const server = await startServer();
  try {
    const { status } = await nobody(server).request('GET', '/auth/me', undefined, {
      'x-user-email': 'dev@example.com',
    });
    expect([status, await server.database.db('users').where({ email: 'dev@example.com' })]).toEqual([401, []]);
  } finally {
    await server.stop();
  }
});

it('production refuses to start with it', () => {
  const environment = {
    NODE_ENV: 'production',
    AUTH_ALLOW_DEV_HEADERS: 'true',
    JWT_ISSUER: 'https://id.example.com',
    DATABASE_URL: 'postgres://localhost/x',
    ENCRYPTION_MASTER_KEY: 'q8Zr3vT0yLx5Wn7Jk2Bf9Hd4Gs6Ap1Ce',
  };
  expect(() => loadConfig(environment)).toThrow(ConfigError);
  expect(() => loadConfig(environment)).toThrow(/AUTH_ALLOW_DEV_HEADERS/);
});
