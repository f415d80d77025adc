import type { LookupAddress } from 'node:dns';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Provider } from 'oidc-provider';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClientKeys } from '../../adapters/client-keys.ts';
import { createFetchSlots } from '../../adapters/fetch-slots.ts';
import { createOutboundFetch, type Resolve } from '../../adapters/outbound.ts';
import { createLog } from '../../src/log.ts';

type EngineFetch = (provider: Provider, url: string, options: RequestInit) => Promise<Response>;

let engineFetch: EngineFetch;
let port: number;
let connections = 0;
const closers: (() => void)[] = [];

/** A byte now and then, for as long as somebody listens. */
const drip = (write: () => void, until: { on(event: 'close', listener: () => void): unknown }) => {
  const timer = setInterval(write, 100);
  until.on('close', () => clearInterval(timer));
};

const handle: RequestListener = (request, response) => {
  if (request.url === '/redirect') response.writeHead(302, { location: `http://localhost:${port}/secret` }).end();
  else if (request.url === '/empty') response.writeHead(204).end();
  else if (request.url === '/big') response.end(Buffer.alloc(300 * 1024, 'x'));
  else if (request.url === '/slow') response.write('[');
  else if (request.url === '/drip') drip(() => response.write('x'), response);
  else if (request.url === '/headers') response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end();
  else if (request.url === '/metadata-service')
    response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data/' }).end();
  else if (request.url === '/gzip')
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(50 * 1024 * 1024)));
  else
    response
      .setHeader('content-type', 'application/json')
      .end(JSON.stringify({ method: request.method, url: request.url, encoding: request.headers['accept-encoding'] }));
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
    '017700000001',
    '0x7f000001',
    '0177.0.0.1',
    '127.0.0.1.',
    '①②⑦.⓪.⓪.①',
    '[::ffff:7f00:1]',
    '[::ffff:8.8.8.8]',
    '[::127.0.0.1]',
    '[2002:7f00:1::]',
    '[64:ff9b:1::a00:1]',
    '[fec0::1]',
    '[ff02::1]',
    '[2001:0:7f00:1::]',
    '[::ffff:0:127.0.0.1]',
    '224.0.0.1',
    '255.255.255.255',
    '192.0.0.8',
    '198.18.0.1',
    '0',
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

  it('is refused on another port than the listed one', async () => {
    expect(await refusalOf(fetchThroughEngine([`127.0.0.1:${port + 1}`], `http://127.0.0.1:${port}/`))).toBe(
      'outbound_refused',
    );
  });

  for (const url of ['https://example.com:22/', 'https://example.com:25/', 'https://[2606:4700::1]:445/']) {
    it(`is refused on a port that is not one of the web: ${url}`, async () => {
      expect(await refusalOf(createOutboundFetch({ allow: [] })(url))).toBe('outbound_refused');
    });
  }
});

describe('a name', () => {
  const v4 = (address: string): LookupAddress => ({ address, family: 4 });
  const v6 = (address: string): LookupAddress => ({ address, family: 6 });
  const resolvingTo = (...answers: LookupAddress[][]): { resolve: Resolve; asked: () => number } => {
    let count = 0;
    return {
      resolve: (_name, done) => done(null, answers[Math.min(count++, answers.length - 1)] ?? []),
      asked: () => count,
    };
  };

  for (const { name, answer } of [
    { name: 'a private address', answer: [v4('10.0.0.1')] },
    { name: 'a private address after a public one', answer: [v4('93.184.215.14'), v4('192.168.0.1')] },
    { name: 'a private address before a public one', answer: [v4('169.254.169.254'), v4('93.184.215.14')] },
    { name: 'loopback in IPv6 beside a public IPv4 address', answer: [v4('93.184.215.14'), v6('::1')] },
    { name: 'IPv4 within IPv6', answer: [v6('::ffff:10.0.0.1')] },
    { name: 'the metadata service of a cloud, in IPv6', answer: [v6('fd00:ec2::254')] },
  ]) {
    it(`that resolves to ${name} is refused`, async () => {
      const before = connections;
      const { resolve } = resolvingTo(answer);
      const fetched = createOutboundFetch({ allow: [], resolve })(`https://rebind.example:${port}/`);
      expect(await refusalOf(fetched)).toBe('outbound_refused');
      expect(connections).toBe(before);
    });
  }

  it('is looked up once: what was checked is what is connected to', async () => {
    // 2001:db8::/32 would be refused; this one is public, and nobody answers there from here.
    const { resolve, asked } = resolvingTo([v6('2606:4700:ffff::1')], [v6('::1')]);
    const controller = new AbortController();
    const before = connections;
    const fetched = createOutboundFetch({ allow: [], resolve })(`https://rebind.example:${port}/`, {
      signal: controller.signal,
    });
    const refusal = refusalOf(fetched);
    await expect.poll(asked, { timeout: 20_000 }).toBe(1);
    setTimeout(() => controller.abort(new Error('enough')), 200);
    expect(await refusal).not.toBe('answered');
    expect([asked(), connections]).toEqual([1, before]);
  });

  it('that is listed is connected to by the address that was looked up', async () => {
    const { resolve, asked } = resolvingTo([v4('127.0.0.1')]);
    const fetched = createOutboundFetch({ allow: ['listed.example'], resolve });
    expect((await fetched(`http://listed.example:${port}/`)).status).toBe(200);
    expect(asked()).toBe(1);
  });

  it('that is written otherwise than the listed one is not listed', async () => {
    const fetched = createOutboundFetch({ allow: ['localhost'], resolve: resolvingTo([v4('127.0.0.1')]).resolve });
    for (const host of ['localhost.', 'localhost.localdomain', 'app.localhost'])
      expect(await refusalOf(fetched(`https://${host}:${port}/`))).toBe('outbound_refused');
  });

  it('that has no address, or cannot be looked up, is an error', async () => {
    for (const resolve of [
      resolvingTo([]).resolve,
      ((_name, done) => done(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), [])) as Resolve,
    ])
      expect(await refusalOf(createOutboundFetch({ allow: [], resolve })('https://none.example/'))).not.toBe(
        'answered',
      );
  });
});

describe('a listed host', () => {
  it('is fetched, by host and port or by host alone', async () => {
    for (const allow of [`127.0.0.1:${port}`, '127.0.0.1']) {
      const response = await fetchThroughEngine([allow], `http://127.0.0.1:${port}/keys`);
      expect(await response.json()).toEqual({ method: 'GET', url: '/keys', encoding: 'identity' });
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
    const metadata = await fetchThroughEngine([`127.0.0.1:${port}`], `http://127.0.0.1:${port}/metadata-service`);
    expect(metadata.status).toBe(307);
  });

  it('is sent no credentials, whatever its URL has', async () => {
    expect(await refusalOf(createOutboundFetch({ allow: ['127.0.0.1'] })(`http://me:pw@127.0.0.1:${port}/`))).toBe(
      'outbound_refused',
    );
  });

  it('cannot unpack a small body into a large one', async () => {
    const response = await createOutboundFetch({ allow: ['127.0.0.1'] })(`http://127.0.0.1:${port}/gzip`);
    // 50 MiB of zeros are 50 kB as they come, and they stay so.
    expect((await response.arrayBuffer()).byteLength).toBeLessThan(256 * 1024);
  });

  it('cannot send a head without end', async () => {
    const fetched = createOutboundFetch({ allow: ['127.0.0.1'] })(`http://127.0.0.1:${port}/headers`);
    await expect(fetched).rejects.toThrow();
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
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    for (const path of ['/slow', '/drip']) {
      const response = await fetchThroughEngine(['localhost'], `http://localhost:${port}${path}`);
      await expect(response.text()).rejects.toThrow('timeout');
    }
  });
});

describe('places for fetches', () => {
  it('are so many altogether, and two of a host or for an address', () => {
    const slots = createFetchSlots({ total: 5, each: 2 });
    const take = (host: string, address?: string) => slots.take({ host, address });
    const first = take('a', '1');
    expect([first, take('a', '2'), take('a', '3')].map(Boolean)).toEqual([true, true, false]);
    expect([take('b', '1'), take('c', '1')].map(Boolean)).toEqual([true, false]);
    first?.();
    // Given back twice is given back once.
    first?.();
    expect([take('a', '4'), take('a', '5')].map(Boolean)).toEqual([true, false]);
    expect([take('d'), take('e'), take('f')].map(Boolean)).toEqual([true, true, false]);
  });
});

describe('the keys of clients', () => {
  const asked: string[] = [];
  const keysOf = (answer: (url: string) => Response | Promise<Response>) =>
    createClientKeys({
      fetch: async (url) => {
        asked.push(String(url));
        return answer(String(url));
      },
      limit: async () => {},
      log: createLog('silent'),
    });
  const load = (keys: ReturnType<typeof keysOf>, uri: string, registered = false) =>
    keys.load({ uri, registered, address: undefined });

  it('are bounded in bytes, and what strangers have kept pushes nothing of an administrator’s out', async () => {
    const keys = keysOf(() => new Response(JSON.stringify({ keys: [{ n: 'x'.repeat(200_000) }] })));
    await load(keys, 'https://ours.example/jwks', true);
    for (let index = 0; index < 100; index++) await load(keys, `https://${index}.example/jwks`);
    const known = (uri: string, registered: boolean) => keys.known({ uri, registered }) !== undefined;
    expect(known('https://ours.example/jwks', true)).toBe(true);
    expect([known('https://0.example/jwks', false), known('https://99.example/jwks', false)]).toEqual([false, true]);
  });

  it('are fetched once for many, and what fails is left alone for a while', async () => {
    asked.length = 0;
    const keys = keysOf(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return new Response('', { status: 500 });
    });
    await Promise.all(Array.from({ length: 5 }, () => load(keys, 'https://a.example/jwks')));
    expect((await load(keys, 'https://a.example/jwks')).body).toBeUndefined();
    expect(asked).toEqual(['https://a.example/jwks']);
  });

  it('of strangers wait for nobody else’s when their servers are slow', async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const keys = keysOf(async (url) => {
      if (url.includes('slow')) await gate;
      return new Response('{"keys":[]}');
    });
    const slow = Array.from({ length: 20 }, (_, index) => load(keys, `https://slow${index}.example/jwks`));
    const settled = Promise.allSettled(slow);
    expect((await load(keys, 'https://ours.example/jwks', true)).body).toBe('{"keys":[]}');
    release();
    const refused = (await settled).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(4);
  });
});
