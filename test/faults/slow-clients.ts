/**
 * Clients that are slow, idle, oversized or out of their minds, beside which all others are served as ever: headers and bodies that come
 * byte by byte, readers that do not read, thousands of idle connections, pipelined floods, oversized bodies and headers, and the
 * basics of request smuggling.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { ask, fine } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

/** Sends bytes as they are, and collects what comes back until the connection ends, or nothing has come for that long. */
const raw = (port: number, bytes: string, quietMs: number): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const end = () => {
      socket.destroy();
      resolve(text);
    };
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => {
      text += data;
      socket.setTimeout(quietMs);
    });
    socket.on('error', end);
    socket.on('close', end);
    // A busy machine may take its time for the first of it.
    socket.setTimeout(20_000, end);
  });

/** The status of each answer in what came back. */
const statuses = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

const get = (path: string, ...headers: string[]) =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n`;
const post = (path: string, length: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${length}\r\n\r\n${body}`;

const open = (port: number, begin = ''): Promise<Socket | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      if (begin) socket.write(begin);
      resolve(socket);
    });
    socket.on('error', () => resolve(undefined));
  });

/**
 * Opens many connections, some at a time: a process takes one connection in each turn of its event loop, and those who
 * come in a crowd wait for each other.
 */
const openMany = async (port: number, count: number, begin?: string): Promise<Socket[]> => {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const some = await Promise.all(
      Array.from({ length: Math.min(25, count - sockets.length) }, () => open(port, begin)),
    );
    const opened = some.filter((socket) => socket !== undefined);
    sockets.push(...opened);
    if (!opened.length) break;
    await sleep(40);
  }
  return sockets;
};

const filesMax = (): number => Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);

await trial(import.meta.filename, async (t) => {
  const { service, traffic, finish } = await startScene(t, { people: 3, settings: { MAX_IN_FLIGHT: '200' } });
  const { port } = service;
  await sleep(500);

  traffic.phase('odd requests', fine);
  const huge = 'x'.repeat(200_000);
  const cases: [what: string, bytes: string, expected: number][] = [
    ['a body of 200 KB to the REST API', post('/auth/login', `Content-Length: ${huge.length}`, huge), 413],
    ['a header of 200 KB', get('/health', `X-Huge: ${huge}`), 431],
    ['thousands of headers', get('/health', ...Array.from({ length: 5000 }, (_, index) => `X-${index}: 1`)), 431],
    [
      'Content-Length and Transfer-Encoding (RFC 9112 section 6.1)',
      post('/auth/login', 'Content-Length: 6\r\nTransfer-Encoding: chunked', '0\r\n\r\nG'),
      400,
    ],
    ['two Content-Lengths', post('/auth/login', 'Content-Length: 2\r\nContent-Length: 3', '{} '), 400],
    ['Transfer-Encoding of another kind', post('/auth/login', 'Transfer-Encoding: xchunked', '0\r\n\r\n'), 400],
    ['a chunk’s length that is none', post('/auth/login', 'Transfer-Encoding: chunked', 'zz\r\n{}\r\n0\r\n\r\n'), 400],
    ['a space before the colon', get('/health', 'Content-Length : 5'), 400],
    ['a folded header (section 5.2)', get('/health', 'X-Folded: a\r\n b'), 400],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 400],
  ];
  for (const [what, bytes, expected] of cases) {
    const answers = statuses(await raw(port, bytes, 2000));
    t.check(answers[0] === expected, `${what} was answered ${answers} instead of ${expected}`);
    // Whatever came after it must not count as a request of its own.
    t.check(answers.length === 1, `${what} was taken for ${answers.length} requests`);
  }
  const form = await ask(`${service.address}/oauth/token`, { form: { grant_type: huge } });
  t.check([413, 0].includes(form.status), `a form of 200 KB was answered ${form.status}`);

  traffic.phase('pipelining', new Set([...fine, 503]), 15_000);
  const pipelined = await raw(port, get('/auth/me').repeat(t.short ? 500 : 5000), t.short ? 2000 : 5000);
  const answered = statuses(pipelined);
  t.note(`${answered.length} pipelined requests answered: ${[...new Set(answered)].join(', ')}`);
  t.check(
    answered.length > 0 && answered.every((status) => status === 401 || status === 503),
    `pipelined: ${answered}`,
  );
  await sleep(500);

  // Connections count against the limit of files of both ends, which are two processes.
  const count = Math.min(t.short ? 1000 : 10_000, filesMax() - 500);
  traffic.phase(`${count} idle connections`, fine);
  const idle = await openMany(port, count);
  t.check(idle.length === count, `only ${idle.length} of ${count} connections could be opened`);
  await sleep(t.short ? 1500 : 10_000);
  traffic.phase('and slow headers, bodies and readers', fine);
  const slow = [
    ...(await openMany(port, 100, 'GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ')),
    // More than may be in flight.
    ...(await openMany(port, 300, post('/auth/login', 'Content-Length: 1000', '{"email": "'))),
  ];
  const readers = await openMany(port, 50, get('/openapi.json').repeat(3));
  for (const reader of readers) reader.pause();
  const drip = setInterval(() => {
    for (const socket of slow) if (!socket.destroyed) socket.write('x');
  }, 250);
  await sleep(t.short ? 3000 : 20_000);
  clearInterval(drip);
  t.note(`${slow.filter(({ destroyed }) => !destroyed).length} of ${slow.length} slow senders are still there`);
  for (const socket of [...idle, ...slow, ...readers]) socket.destroy();
  traffic.phase('after', fine);
  await until('connections are given back', 10, async () => (await ask(`${service.address}/health`)).status === 200);
  await sleep(t.short ? 500 : 3000);
  await finish();
});
