/**
 * How many requests for discovery and JWKS a second this service answers, beside a bare `node:http` server that answers the
 * same bytes in the same process: `node bench/metadata-documents.ts [seconds]`. The load comes from a worker thread over
 * kept-alive connections, in rounds of changing order. A server on a database of its own (DATABASE_URL: an empty PostgreSQL
 * database); nothing is logged. Beside the requests that passed it tells the processor's time of each in the thread that
 * answers, which other work on the machine disturbs less. Aim: four times the bare server's, for a header block of twenty lines, an
 * id and a measurement of every request.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect as connectTo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { connect } from '../db/connect.ts';
import { migrate } from '../db/migrate.ts';
import { createApp } from '../src/app.ts';
import { loadConfig } from '../src/config.ts';
import { close, listen } from '../src/http/server.ts';
import { createLog } from '../src/log.ts';

const connections = 16;
const seconds = Number(process.argv[2] ?? 2);
const rounds = 5;

interface Load {
  port: number;
  path: string;
  headers?: Record<string, string>;
  /** What every answer must have. */
  status: number;
  milliseconds: number;
}

/** Asks one thing over and over on one connection, until the time is over. @returns how many answers came */
const hammer = ({ port, path, headers = {}, status, milliseconds }: Load): Promise<number> =>
  new Promise((resolve, reject) => {
    const lines = Object.entries({ Host: `localhost:${port}`, ...headers }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const request = `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
    const end = performance.now() + milliseconds;
    let count = 0;
    let received = '';
    const socket = connectTo(port, '127.0.0.1', () => socket.write(request));
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('error', reject);
    socket.on('data', (chunk: string) => {
      received += chunk;
      const head = received.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(received.slice(0, head))?.[1] ?? 0);
      if (received.length < head + 4 + length) return;
      if (!received.startsWith(`HTTP/1.1 ${status} `)) reject(new Error(received.slice(0, 200)));
      received = '';
      count++;
      if (performance.now() < end) socket.write(request);
      else socket.end(() => resolve(count));
    });
  });

if (parentPort) {
  const port = parentPort;
  port.on('message', async (load: Load) => {
    const started = performance.now();
    const counts = await Promise.all(Array.from({ length: connections }, () => hammer(load)));
    const count = counts.reduce((sum, count) => sum + count, 0);
    port.postMessage({ count, milliseconds: performance.now() - started });
  });
}

/** Answers the bytes of a document, and nothing else. */
const bareServer = async (body: Buffer, type: string): Promise<{ server: Server; port: number }> => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': type, 'content-length': body.length });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, port: (server.address() as AddressInfo).port };
};

interface Measurement {
  /** Requests a second. */
  rate: number;
  /** Microseconds of the processor for each. */
  cpu: number;
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const run = async (): Promise<void> => {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-bench-'));
  const database = await connect(
    process.env.DATABASE_URL
      ? { url: process.env.DATABASE_URL, poolMax: 10 }
      : { directory: join(directory, 'database') },
  );
  await migrate(database.db);
  const config = loadConfig({
    NODE_ENV: 'test',
    ENCRYPTION_MASTER_KEY: 'a bench has nothing to hide, at length',
    DATA_DIR: directory,
    LOG_LEVEL: 'silent',
  });
  const app = await createApp({ config, database, log: createLog('silent') });
  const { server, port } = await listen(app.koa.callback(), 0, '127.0.0.1');

  const worker = new Worker(new URL(import.meta.url));
  const measure = (load: Omit<Load, 'milliseconds'>): Promise<Measurement> =>
    new Promise((resolve) => {
      const before = process.threadCpuUsage();
      worker.once('message', ({ count, milliseconds }: { count: number; milliseconds: number }) => {
        const { user, system } = process.threadCpuUsage(before);
        resolve({ rate: (count / milliseconds) * 1000, cpu: (user + system) / count });
      });
      worker.postMessage({ ...load, milliseconds: (seconds * 1000) / rounds } satisfies Load);
    });

  for (const path of ['/.well-known/openid-configuration', '/.well-known/jwks.json']) {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    const body = Buffer.from(await answer.arrayBuffer());
    const bare = await bareServer(body, answer.headers.get('content-type') ?? '');
    const etag = answer.headers.get('etag') ?? '';
    const kinds = {
      'bare node:http': { port: bare.port, path, status: 200 },
      'this service': { port, path, status: 200 },
      'this service, 304': { port, path, status: 304, headers: { 'If-None-Match': etag } },
    };
    const measured = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, [] as Measurement[]]));
    for (let round = -1; round < rounds; round++) {
      const entries = Object.entries(kinds);
      for (const [kind, load] of round % 2 ? entries : entries.toReversed()) {
        const one = await measure(load);
        // The first round warms up.
        if (round >= 0) measured[kind]?.push(one);
      }
    }
    console.log(`${path}, ${body.length} bytes, ${connections} connections`);
    const results = Object.entries(measured).map(([kind, all]) => ({
      kind,
      rate: median(all.map(({ rate }) => rate)),
      cpu: median(all.map(({ cpu }) => cpu)),
    }));
    const reference = results[0] ?? { rate: 1, cpu: 1 };
    for (const { kind, rate, cpu } of results)
      console.log(
        `  ${kind.padEnd(16)}  ${rate.toFixed(0).padStart(6)} requests/s  ratio ${(rate / reference.rate).toFixed(2)}` +
          `  ${cpu.toFixed(1).padStart(6)} µs each  ratio ${(cpu / reference.cpu).toFixed(2)}`,
      );
    bare.server.close();
  }

  await worker.terminate();
  app.drain();
  await close(server);
  await app.stop();
  await database.close();
  await rm(directory, { recursive: true, force: true });
};

if (isMainThread) await run();
