import type Koa from 'koa';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Db } from '../../db/connect.ts';
import { health } from '../../src/health/health.routes.ts';
import { type Browser, registerAccount } from '../support/browser.ts';
import { administer, onPostgres } from '../support/database.ts';
import { eventually, postJson, relyingParty, signedIn, words } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

const live = ['/health', '/health/live', '/healthz'];
const ready = ['/health/ready', '/ready', '/readyz'];

const get = async (url: string) => {
  const response = await fetch(url);
  const body = (await response.json()) as {
    status: string;
    timestamp: string;
    failing: string[];
    parts: Record<string, string>;
  };
  return { status: response.status, headers: response.headers, body };
};

describe('health', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ PROMETHEUS_ENABLED: 'false' });
  });
  afterAll(() => server.stop());

  for (const path of live) {
    it(`${path} says that the process is alive`, async () => {
      const { status, headers, body } = await get(`${server.issuer}${path}`);
      expect([status, body.status, headers.get('cache-control')]).toEqual([200, 'ok', 'no-store']);
      expect(Date.parse(body.timestamp)).toBeGreaterThan(Date.now() - 60_000);
    });
  }
  for (const path of ready) {
    it(`${path} says that each part works`, async () => {
      const { status, body } = await get(`${server.issuer}${path}`);
      expect(status).toBe(200);
      expect(body).toMatchObject({ status: 'ok', failing: [], parts: { database: 'ok', server: 'ok' } });
      expect((await fetch(`${server.issuer}${path}`, { method: 'HEAD' })).status).toBe(200);
    });
  }

  it('asks the database once, however many ask', async () => {
    let asked = 0;
    let answer = () => {};
    const raw = () => {
      asked++;
      return new Promise<void>((resolve) => {
        answer = resolve;
      });
    };
    const middleware = health({ db: { raw } as unknown as Db, available: () => true });
    const ask = async () => {
      const ctx = { method: 'GET', path: '/health/ready', set: () => {} } as unknown as Koa.Context;
      await middleware(ctx, () => Promise.resolve());
      return ctx.status;
    };
    const many = [ask(), ask(), ask()];
    expect(asked).toBe(1);
    answer();
    expect(await Promise.all(many)).toEqual([200, 200, 200]);
    const later = ask();
    expect(asked).toBe(2);
    answer();
    expect(await later).toBe(200);
  });

  it('is nothing that one can POST to', async () => {
    for (const path of [...live, ...ready])
      expect((await fetch(`${server.issuer}${path}`, { method: 'POST' })).status).toBe(404);
  });

  it('PROMETHEUS_ENABLED=false hides the metrics', async () => {
    expect((await fetch(`${server.issuer}/metrics`)).status).toBe(404);
  });

  it('is not ready any more while it stops', async () => {
    server.app.drain();
    const { status, headers, body } = await get(`${server.issuer}/health/ready`);
    expect([status, body.failing, headers.get('connection')]).toEqual([503, ['server'], 'close']);
    expect((await get(`${server.issuer}/health/live`)).status).toBe(200);
  });
});

describe('metrics', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server.stop());

  it('tell of the process and of requests by route, and name nobody', async () => {
    const email = await registerAccount(server);
    const browser = await signedIn(server, email);
    const app = await relyingParty(server);
    await app.tokens(browser, email);
    const made = uuid();
    for (const path of [
      `/${made}`,
      `/account/${made}`,
      `/oauth/${made}`,
      `/.well-known/${made}`,
      `/interaction/${made}`,
    ])
      await fetch(`${server.issuer}${path}`);
    await fetch(`${server.issuer}/${made}`, { method: 'PROPFIND' });
    const response = await fetch(`${server.issuer}/metrics`);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    expect(text).toMatch(/^process_resident_memory_bytes \d/m);
    expect(text).toMatch(/^nodejs_eventloop_lag_seconds /m);
    expect(text).toMatch(/^http_requests_total\{method="POST",route="oauth\/token",status="200"\} 1$/m);
    expect(text).toMatch(/^http_request_duration_seconds_bucket\{le="0\.1",.*route="account"/m);
    expect(text).not.toContain(made);
    expect(text).not.toContain(email);
    expect(text).not.toContain(app.client.client_id);
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
    expect(text).not.toContain('PROPFIND');
  });
});

describe('without its database', () => {
  let server: TestServer;
  let browser: Browser;
  let basic: string;
  beforeAll(async () => {
    server = await startServer();
    browser = await signedIn(server, await registerAccount(server));
    const client = await server.client({
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
      client_name: 'Robot',
    });
    basic = `Basic ${Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64')}`;
  });
  afterAll(async () => {
    await server.stop().catch(() => {});
  });

  const token = () =>
    fetch(`${server.issuer}/oauth/token`, {
      method: 'POST',
      headers: { authorization: basic, 'content-type': 'application/x-www-form-urlencoded' },
      body: 'grant_type=client_credentials',
    });
  const cut = async () => {
    if (!onPostgres) return server.database.db.destroy();
    const name = new URL(server.database.url as string).pathname.slice(1);
    await administer(
      process.env.TEST_DATABASE_URL as string,
      `alter database ${name} with allow_connections false`,
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`,
    );
  };

  it('it is alive, not ready, and says 503 wherever the database is needed', async () => {
    expect((await token()).status).toBe(200);
    await cut();
    await eventually(async () => (await get(`${server.issuer}/health/ready`)).status === 503, 'not ready');
    for (const path of ready) {
      const { status, body } = await get(`${server.issuer}${path}`);
      expect([status, body.failing, body.parts.database]).toEqual([503, ['database'], 'failing']);
    }
    for (const path of live) expect((await get(`${server.issuer}${path}`)).status).toBe(200);

    // What is remembered is relied on for less than a second after it was last proven; the embedded database is there as long as
    // its process is.
    if (onPostgres) {
      await eventually(async () => (await token()).status === 503, 'no token');
      const refused = await token();
      expect([refused.status, refused.headers.get('content-type')]).toEqual([503, 'application/json; charset=utf-8']);
      expect(await refused.json()).toMatchObject({ error: 'temporarily_unavailable' });
    }

    const page = await browser.go('/account');
    expect([page.status, page.headers.get('content-type')]).toEqual([503, 'text/html; charset=utf-8']);
    expect(page.html).toContain(words('errors.unavailable.title'));
    expect(page.html).toContain(page.headers.get('x-request-id'));
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0);
    const authorization = await browser.go(
      '/oauth/authorize?client_id=countersign-account&response_type=none&scope=openid',
    );
    expect([authorization.status, authorization.html.includes(words('errors.unavailable.title'))]).toEqual([503, true]);
    const link = await browser.go('/verify?token=abc');
    expect(link.status).toBe(503);

    const problem = await postJson(`${server.issuer}/auth/verify`, { token: 'abc' });
    expect([problem.status, problem.json.code]).toEqual([503, 'database_unavailable']);
    expect(problem.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    // What needs no database is still there.
    for (const path of ['/.well-known/openid-configuration', '/.well-known/jwks.json', '/metrics', '/forgot'])
      expect([path, (await fetch(`${server.issuer}${path}`)).status]).toEqual([path, 200]);
  });

  it.runIf(onPostgres)('it recovers by itself when the database is back', async () => {
    const name = new URL(server.database.url as string).pathname.slice(1);
    await administer(process.env.TEST_DATABASE_URL as string, `alter database ${name} with allow_connections true`);
    await eventually(async () => (await get(`${server.issuer}/health/ready`)).status === 200, 'ready again');
    expect((await token()).status).toBe(200);
    expect((await browser.go('/account')).status).toBe(200);
    // Mail still goes out.
    await registerAccount(server);
  });
});
