import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { Provider } from 'oidc-provider';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOutboundFetch } from '../../adapters/outbound.ts';

type EngineFetch = (provider: Provider, url: string, options: RequestInit) => Promise<Response>;

let engineFetch: EngineFetch;
let port: number;
let connections = 0;
const closers: (() => void)[] = [];

const handle: RequestListener = (request, response) => {
  if (request.url === '/redirect') response.writeHead(302, { location: `http://localhost:${port}/secret` }).end();
  else if (request.url === '/empty') response.writeHead(204).end();
  else if (request.url === '/big') response.end(Buffer.alloc(300 * 1024, 'x'));
  else if (request.url === '/slow') response.write('[');
  else
    response
      .setHeader('content-type', 'application/json')
      .end(JSON.stringify({ method: request.method, url: request.url }));
};

let configured: typeof fetch;
const provider = new Provider('https://id.example', { fetch: (url, options) => configured(url, options) });
const providerWith = (next: typeof fetch): Provider => {
  configured = next;
  return provider;
};

/** The engine's own way to the configured `fetch`: with its dispatcher, time limit and headers. */
const fetchThroughEngine = (allow: string[], url: string, options: RequestInit = {}): Promise<Response> =>
  engineFetch(providerWith(createOutboundFetch({ allow })), url, options);

const refusalOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: Error & { code?: string; cause?: Error }) => error.code ?? error.cause?.message ?? error.message,
  );

beforeAll(async () => {
  const main = import.meta.resolve('oidc-provider');
  ({ default: engineFetch } = await import(new URL('./helpers/fetch_request.js', main).href));
  const server = createServer(handle);
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '::', resolve));
  port = (server.address() as AddressInfo).port;
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
});
afterAll(() => {
  for (const close of closers) close();
});

describe('a host that is not listed', () => {
  for (const host of [
    'localhost',
    '127.0.0.1',
    '[::1]',
    '0.0.0.0',
    '2130706433',
    '0x7f.1',
    '127.1',
    '[::ffff:127.0.0.1]',
    '[::]',
    '10.0.0.1',
    '169.254.169.254',
    '192.168.1.1',
    '172.31.0.1',
    '100.64.0.1',
    '[fe80::1]',
    '[fd00::1]',
    '[64:ff9b::7f00:1]',
  ]) {
    it(`is refused before anything is sent: ${host}`, async () => {
      const before = connections;
      expect(await refusalOf(fetchThroughEngine([], `https://${host}:${port}/`))).toBe('outbound_refused');
      expect(await refusalOf(fetchThroughEngine([], `http://${host}:${port}/`))).toBe('outbound_refused');
      expect(connections).toBe(before);
    });
  }

  for (const url of [
    'http://example.com/',
    'file:///etc/passwd',
    'data:application/json,[]',
    'https://user:pass@example.com/',
  ]) {
    it(`is refused: ${url}`, async () => {
      expect(await refusalOf(fetchThroughEngine([], url))).toBe('outbound_refused');
    });
  }

  it('is refused without the dispatcher of the engine', async () => {
    expect(await refusalOf(createOutboundFetch({ allow: [] })('https://example.com/'))).toBe('outbound_refused');
  });

  it('is refused on another port than the listed one', async () => {
    expect(await refusalOf(fetchThroughEngine([`127.0.0.1:${port + 1}`], `http://127.0.0.1:${port}/`))).toBe(
      'outbound_refused',
    );
  });

  it('is refused by the dispatcher when the name resolves to loopback only afterwards', async () => {
    // The dispatcher is what remains of the guard when the first look-up lied; here it is asked directly.
    let dispatcher: unknown;
    const capture = (_: unknown, options: RequestInit & { dispatcher?: unknown }) => {
      dispatcher = options.dispatcher;
      return Promise.resolve(new Response());
    };
    await engineFetch(providerWith(capture as typeof fetch), 'https://example.com/', {});
    const options = { dispatcher } as RequestInit;
    expect(await refusalOf(fetch(`http://localhost:${port}/`, options))).toContain('special-use');
  });
});

describe('a listed host', () => {
  it('is fetched, by host and port or by host alone', async () => {
    for (const allow of [`127.0.0.1:${port}`, '127.0.0.1']) {
      const response = await fetchThroughEngine([allow], `http://127.0.0.1:${port}/keys`);
      expect(await response.json()).toEqual({ method: 'GET', url: '/keys' });
    }
    expect((await fetchThroughEngine([`LOCALHOST:${port}`], `http://localhost:${port}/`)).status).toBe(200);
    expect((await fetchThroughEngine([`[::1]:${port}`], `http://[::1]:${port}/`)).status).toBe(200);
  });

  it('is posted to, and may answer nothing', async () => {
    const response = await fetchThroughEngine(['localhost'], `http://localhost:${port}/empty`, {
      method: 'POST',
      body: new URLSearchParams({ logout_token: 'x' }),
    });
    expect([response.status, await response.text()]).toEqual([204, '']);
  });

  it('cannot redirect to a host that is refused', async () => {
    const response = await fetchThroughEngine([`127.0.0.1:${port}`], `http://127.0.0.1:${port}/redirect`);
    expect(response.status).toBe(302);
    const followed = await fetchThroughEngine([`127.0.0.1:${port}`], `http://127.0.0.1:${port}/redirect`, {
      redirect: 'follow',
    });
    expect(followed.status).toBe(302);
  });

  it('cannot send a body without end', async () => {
    const response = await fetchThroughEngine(['localhost'], `http://localhost:${port}/big`);
    await expect(response.text()).rejects.toThrow('response too large');
  });

  it('cannot keep the caller waiting, before the head or in the body', async () => {
    const silent = createTcpServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closers.push(() => void silent.close());
    const silentPort = (silent.address() as AddressInfo).port;
    const startedAt = performance.now();
    await expect(createOutboundFetch({ allow: ['127.0.0.1'] })(`http://127.0.0.1:${silentPort}/`)).rejects.toThrow(
      'timeout',
    );
    expect(performance.now() - startedAt).toBeLessThan(6500);
    const response = await fetchThroughEngine(['localhost'], `http://localhost:${port}/slow`);
    await expect(response.text()).rejects.toThrow('timeout');
  });
});
