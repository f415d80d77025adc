/** When requests are turned away, so that the others are answered. */
import { createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import Koa from 'koa';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createLoadShedding, createMemoryLook, createShedding, type Load } from '../../src/http/load-shedding.ts';
import { close, listen } from '../../src/http/server.ts';
import { prepareRequest } from '../../src/provider/requests.ts';

const calm: Load = { delayMs: 3, memory: 0.4 };
const late: Load = { delayMs: 1500, memory: 0.4 };
const full: Load = { delayMs: 3, memory: 0.92 };

/** The reason that one request in so many is refused for, after these windows. */
const after = (windows: readonly Load[], fortune: number) => {
  const shedding = createShedding({ MAX_EVENT_LOOP_DELAY: 1000, MAX_MEMORY: 90 }, () => fortune);
  for (const window of windows) shedding.measure(window);
  return shedding.refuses();
};

describe('the share of requests that is refused', () => {
  for (const [what, windows, fortune, expected] of [
    ['none while nothing was measured', [], 0, undefined],
    ['none while all is calm', [calm, calm], 0, undefined],
    ['none after one long pause', [late], 0, undefined],
    ['none after two pauses with a calm window between', [late, calm, late], 0, undefined],
    ['some when work waits too long in a row', [late, late], 0.29, 'event_loop'],
    ['not all of them', [late, late], 0.31, undefined],
    ['more the longer it lasts', [late, late, late], 0.59, 'event_loop'],
    ['never all', Array(50).fill(late), 0.9, undefined],
    ['some as soon as memory is short', [full], 0.29, 'memory'],
    ['most when there is hardly any left', [{ delayMs: 3, memory: 0.96 }], 0.89, 'memory'],
    ['fewer when it is calm again', [late, late, late, calm], 0.51, undefined],
    ['for the reason that it was for', [late, late, late, calm], 0.49, 'event_loop'],
    ['none in the end', [...Array(50).fill(late), ...Array(9).fill(calm)], 0, undefined],
    ['none where nothing could be measured', [{ delayMs: Number.NaN, memory: 0.2 }], 0, undefined],
  ] as [string, Load[], number, string | undefined][])
    it(what, () => expect(after(windows, fortune)).toBe(expected));
});

it('garbage is no memory that is short: it is collected first, now and then', () => {
  let [used, garbage, time, collected] = [0.5, 0.45, 0, 0];
  const look = createMemoryLook(0.9, {
    inUse: () => used + garbage,
    collect: () => {
      garbage = 0;
      collected++;
    },
    now: () => time,
  });
  expect([look(), collected]).toEqual([0.5, 1]);
  expect([look(), collected]).toEqual([0.5, 1]);
  used = 0.95;
  // Not at each look, or there would be time for nothing else.
  expect([look(), look(), collected]).toEqual([0.95, 0.95, 1]);
  time = 3000;
  expect([look(), collected]).toEqual([0.95, 2]);
});

it('idle connections make way when there are as many as there may be', async () => {
  const limits = { MAX_CONNECTIONS: 2, KEEP_ALIVE_TIMEOUT: 60, REQUEST_TIMEOUT: 60 };
  const { server, port } = await listen((_, response) => response.end('done'), 0, '127.0.0.1', undefined, limits);
  // Among several processes, one too many would otherwise be offered to all of them, over and over.
  expect(server).toHaveProperty('dropMaxConnection', true);
  const ask = () => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    socket.setTimeout(5000, () => socket.destroy());
    return new Promise<boolean>((resolve) => {
      socket.once('data', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
    });
  };
  expect([await ask(), await ask(), await ask(), await ask()]).toEqual([true, true, false, true]);
  await close(server);
});

describe('the middleware', () => {
  const undo: (() => unknown)[] = [];
  afterEach(async () => {
    vi.useRealTimers();
    for (const one of undo.splice(0)) await one();
  });

  /** A service that takes no more than two requests at a time; `/slow` is never done, `/body` waits for a body. */
  const start = async (requestSeconds = 60) => {
    const counted: string[] = [];
    const shedding = createLoadShedding(
      { MAX_IN_FLIGHT: 2, MAX_EVENT_LOOP_DELAY: 60_000, MAX_MEMORY: 99, REQUEST_TIMEOUT: requestSeconds },
      {
        count: (reason) => counted.push(reason),
        answer: (ctx, { status, code, details }) => {
          ctx.status = status;
          ctx.set('Retry-After', String(details.retryAfterSeconds));
          ctx.body = { code };
        },
      },
    );
    const koa = new Koa();
    koa.on('error', () => {});
    koa.use(shedding.middleware);
    const unused = () => Promise.reject(new Error('nothing is kept here'));
    koa.use(prepareRequest({ keep: unused, take: unused }, unused));
    koa.use(async (ctx) => {
      if (ctx.path === '/slow') await new Promise(() => {});
      if (ctx.path === '/body') for await (const _ of ctx.req);
      ctx.body = 'done';
    });
    const server = createServer(koa.callback()).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    undo.push(
      () => shedding.stop(),
      () => server.closeAllConnections(),
      () => new Promise((resolve) => server.close(resolve)),
    );
    return { port, counted };
  };
  const get = (port: number, path: string) =>
    new Promise<{ status: number; retryAfter: string | undefined; text: string }>((resolve, reject) => {
      const asked = request({ port, host: '127.0.0.1', path, agent: false }, (answer) => {
        let text = '';
        answer.on('data', (data) => {
          text += data;
        });
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, retryAfter: answer.headers['retry-after'], text }),
        );
      });
      asked.on('error', reject);
      asked.end();
    });
  const begin = async (port: number, bytes: string): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    undo.unshift(() => socket.destroy());
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(bytes);
    await sleep(50);
    return socket;
  };
  /** How long somebody has been sending is told by this clock, which a pause of the machine does not move then. */
  const stopClock = () => void vi.useFakeTimers({ toFake: ['performance'] });
  const slow = 'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n';
  const halfBody = 'POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf';

  it('refuses what is too much at a time, and says when to come back', async () => {
    const { port, counted } = await start();
    expect(await get(port, '/')).toMatchObject({ status: 200 });
    await begin(port, slow);
    await begin(port, slow);
    expect(await get(port, '/')).toEqual({ status: 503, retryAfter: '2', text: '{"code":"overloaded"}' });
    expect(counted).toEqual(['in_flight']);
  });

  it('has who sends a body slowly make way for who has sent theirs', async () => {
    stopClock();
    const { port, counted } = await start();
    const sender = await begin(port, halfBody);
    const closed = new Promise((resolve) => sender.once('close', resolve));
    await begin(port, slow);
    // They have a moment for it, and do not count before.
    expect((await get(port, '/')).status).toBe(200);
    expect(counted).toEqual([]);
    vi.advanceTimersByTime(1100);
    expect((await get(port, '/')).status).toBe(200);
    await closed;
    expect(counted).toEqual(['slow_sender']);
  });

  it('whoever had to make way takes up no place any more, in whatever form they were sending', async () => {
    stopClock();
    const { port, counted } = await start();
    const form = 'Content-Type: application/x-www-form-urlencoded';
    for (const line of ['X-Nothing: 1', form]) {
      const half = halfBody.replace('Host: x', `Host: x\r\n${line}`);
      await begin(port, half);
      await begin(port, half);
      vi.advanceTimersByTime(1100);
      for (let count = 0; count < 4; count++) expect([line, (await get(port, '/')).status]).toEqual([line, 200]);
    }
    expect(new Set(counted)).toEqual(new Set(['slow_sender']));
  });

  it('answers a request that takes too long', async () => {
    const { port, counted } = await start(0.1);
    expect(await get(port, '/slow')).toEqual({ status: 503, retryAfter: '2', text: '{"code":"overloaded"}' });
    expect(counted).toEqual(['deadline']);
  });
});
