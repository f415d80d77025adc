/** A Redis that takes commands and answers none costs one command its time limit, not every one. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterEach, expect, it, vi } from 'vitest';
import { PatientRedis } from '../../adapters/patient-redis.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0)) await one();
});

/** Says OK to everything, until it falls silent. */
const fakeRedis = async () => {
  const sockets = new Set<Socket>();
  let isSilent = false;
  let commands = 0;
  let owed = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      const asked = data.toString().match(/\*\d+\r\n\$/g)?.length ?? 0;
      commands += asked;
      if (isSilent) owed += asked;
      else socket.write('+OK\r\n'.repeat(asked));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => {
      isSilent = true;
    },
    thaw: () => {
      isSilent = false;
      for (const socket of sockets) socket.write('+OK\r\n'.repeat(owed));
    },
    commands: () => commands,
  };
};

/** Far more than an answer takes; what is not answered is waited for less. */
const answeredMs = 20_000;
const silentMs = 50;

it('is left alone after a command that was not answered, and tried with one command after a while', async () => {
  const fake = await fakeRedis();
  const redis = new PatientRedis(fake.port, '127.0.0.1', {
    commandTimeout: answeredMs,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  redis.on('error', () => {});
  undo.unshift(() => redis.disconnect());
  await new Promise((resolve) => redis.once('ready', resolve));
  // What is left alone for a while is so for as long as this clock stands still.
  vi.useFakeTimers({ toFake: ['performance'] });
  undo.push(() => vi.useRealTimers());
  expect(await redis.get('a')).toBe('OK');

  fake.silence();
  redis.options.commandTimeout = silentMs;
  await expect(redis.get('a')).rejects.toThrow('Command timed out');
  const before = fake.commands();
  for (let count = 0; count < 20; count++) await expect(redis.get('a')).rejects.toThrow('left alone');
  expect(fake.commands()).toBe(before);

  vi.advanceTimersByTime(1050);
  // Of many at the same time one tries.
  const tried = await Promise.allSettled(Array.from({ length: 20 }, () => redis.get('a')));
  const reasons = tried.map((one) => (one.status === 'rejected' ? (one.reason as Error).message : ''));
  expect(reasons.filter((reason) => reason === 'Command timed out')).toHaveLength(1);
  expect(fake.commands()).toBe(before + 1);

  fake.thaw();
  redis.options.commandTimeout = answeredMs;
  vi.advanceTimersByTime(1050);
  expect(await redis.get('a')).toBe('OK');
  expect(await redis.get('a')).toBe('OK');
});

/** Answers while this process does something else, and says in the cell when it has. */
const elsewhere = `
  const { createServer } = require('node:net');
  const { parentPort, workerData: cell } = require('node:worker_threads');
  const answered = () => {
    Atomics.store(cell, 0, 1);
    Atomics.notify(cell, 0);
  };
  createServer((socket) => {
    socket.on('data', (data) => socket.write('+OK\\r\\n'.repeat(data.toString().match(/\\*\\d+\\r\\n\\$/g).length), answered));
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1', function () {
    parentPort.postMessage(this.address().port);
  });`;

it('is not blamed for the time in which the process itself was too busy to read its answer', async () => {
  const cell = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(elsewhere, { eval: true, workerData: cell });
  undo.push(() => worker.terminate());
  const port = await new Promise<number>((resolve) => worker.once('message', resolve));
  const redis = new PatientRedis(port, '127.0.0.1', { commandTimeout: answeredMs, maxRetriesPerRequest: 0 });
  redis.on('error', () => {});
  undo.unshift(() => redis.disconnect());
  await new Promise((resolve) => redis.once('ready', resolve));
  redis.options.commandTimeout = silentMs;
  Atomics.store(cell, 0, 0);
  const answer = redis.get('a');
  Atomics.wait(cell, 0, 0, answeredMs);
  Atomics.wait(cell, 1, 0, 2 * silentMs);
  expect(await answer).toBe('OK');
});
