/** `countersign serve` with several processes: one port, one set of metrics, one banner, and nobody misses one that dies. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTestDatabase, onPostgres, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/requests.ts';
import { freePort } from '../support/server.ts';

/** Each start is a process or three, which takes seconds on a busy machine. */
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const program = fileURLToPath(new URL('../../src/countersign.js', import.meta.url));
const children: ChildProcess[] = [];

const start = (settings: Record<string, string>) => {
  const child = spawn(process.execPath, [program, 'serve'], {
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'test',
      ENCRYPTION_MASTER_KEY: 'bXkgdGVzdHMgYXJlIG5vdCBzZWNyZXQgYXQgYWxsISE=',
      WEB_CONCURRENCY: '2',
      DATABASE_POOL_MAX: '4',
      ...settings,
    },
  });
  children.push(child);
  let [out, error] = ['', ''];
  child.stdout.on('data', (text) => {
    out += text;
  });
  child.stderr.on('data', (text) => {
    error += text;
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, out: () => out, error: () => error, ended };
};

describe.skipIf(!onPostgres)('several processes (the embedded database has one)', () => {
  let database: TestDatabase;
  let server: ReturnType<typeof start>;
  let address: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    const port = await freePort();
    address = `http://localhost:${port}`;
    server = start({ DATABASE_URL: database.url as string, PORT: String(port), JWT_ISSUER: address });
    await eventually(() => server.out().includes('/setup?token='), 'a banner', 170_000);
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await database?.close();
    await database?.drop();
  });

  const times = (text: string) => server.out().split(text).length - 1;
  const total = async (path: string): Promise<number> => {
    const text = await (await fetch(`${address}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith('http_requests_total{') && line.includes(path));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  };
  const ask = (path: string) => fetch(address + path, { headers: { connection: 'close' } });
  const workers = (): number[] => [...server.out().matchAll(/"worker":(\d+)/g)].map(([, id]) => Number(id));

  it('say once that they listen, and show one banner with one link', () => {
    expect([times('"listening"'), times('do not use it for real accounts'), times('/setup?token=')]).toEqual([1, 1, 1]);
    expect(server.out()).toContain('"workers":2');
  });

  it('share the requests, and /metrics of any tells of all', async () => {
    for (let count = 0; count < 10; count++) expect((await ask('/auth/me')).status).toBe(401);
    // What they log comes through a pipe.
    await eventually(() => new Set(workers()).size === 2, 'both have logged');
    expect(new Set(workers())).toEqual(new Set([1, 2]));
    for (let count = 0; count < 4; count++) expect(await total('auth/me')).toBe(10);
  });

  it('take the place of one that is killed, and no total becomes less', async () => {
    const before = await total('auth/me');
    const [victim] = execFileSync('pgrep', ['-P', String(server.child.pid)], { encoding: 'utf8' })
      .trim()
      .split('\n');
    process.kill(Number(victim), 'SIGKILL');
    await eventually(() => server.out().includes('took the place of one that had ended'), 'another process', 60_000);
    expect(await total('auth/me')).toBe(before);
    for (let count = 0; count < 4; count++) expect((await ask('/auth/me')).status).toBe(401);
    expect(await total('auth/me')).toBe(before + 4);
  });

  it('end when they are asked to, with 0', async () => {
    server.child.kill('SIGTERM');
    expect([await server.ended, times('"stopping"'), server.error()]).toEqual([0, 1, '']);
  });

  it.each(['1', '2'])(
    'leave Consul when they are told to stop while they register (WEB_CONCURRENCY=%s)',
    async (workers) => {
      const asked: string[] = [];
      const consul = createServer((request, response) => {
        asked.push(`${request.method} ${request.url}`);
        request.resume();
        if (asked.length > 1) return response.end();
        early.child.kill('SIGTERM');
        setTimeout(() => response.end(), 1000);
      });
      await new Promise<void>((resolve) => consul.listen(0, '127.0.0.1', resolve));
      const port = await freePort();
      const early = start({
        DATABASE_URL: database.url as string,
        WEB_CONCURRENCY: workers,
        PORT: String(port),
        JWT_ISSUER: `http://localhost:${port}`,
        CONSUL_ADDR: `http://127.0.0.1:${(consul.address() as AddressInfo).port}`,
        DRAIN_DELAY: '0s',
      });
      try {
        expect([await early.ended, early.error()]).toEqual([0, '']);
        expect(asked).toEqual([
          expect.stringMatching(/^PUT \/v1\/agent\/service\/register\?/),
          expect.stringMatching(/^PUT \/v1\/agent\/service\/deregister\//),
        ]);
      } finally {
        consul.closeAllConnections();
        consul.close();
      }
    },
  );

  for (const [what, settings, message] of [
    ['a setting that is wrong', { PORT: 'no' }, /^The configuration is not valid:\n {2}PORT: [^\n]+\n$/],
    [
      'a database that is not there',
      { DATABASE_URL: 'postgres://127.0.0.1:1/none' },
      /^The database cannot be used\. [^\n]*ECONNREFUSED[^\n]*\n[^\n]*DATABASE_URL\.\n$/,
    ],
  ] as const)
    it(`none starts with ${what}: that is said once, and ends with 1`, async () => {
      const failed = start({ DATABASE_URL: database.url as string, ...settings });
      expect([await failed.ended, failed.out()]).toEqual([1, '']);
      expect(failed.error()).toMatch(message);
    });
});
