/** A Redis that takes commands and answers none costs one command its time limit, not every one. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
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

it('is left alone after a command that was not answered, and tried with one command after a while', async () => {
  const fake = await fakeRedis();
  const redis = new PatientRedis(fake.port, '127.0.0.1', {
    commandTimeout: 50,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  redis.on('error', () => {});
  undo.unshift(() => redis.disconnect());
  await new Promise((resolve) => redis.once('ready', resolve));
  expect(await redis.get('a')).toBe('OK');

  fake.silence();
  await expect(redis.get('a')).rejects.toThrow('Command timed out');
  const before = fake.commands();
  for (let count = 0; count < 20; count++) await expect(redis.get('a')).rejects.toThrow('left alone');
  expect(fake.commands()).toBe(before);

  await sleep(1050);
  // Of many at the same time one tries.
  const tried = await Promise.allSettled(Array.from({ length: 20 }, () => redis.get('a')));
  const reasons = tried.map((one) => (one.status === 'rejected' ? (one.reason as Error).message : ''));
  expect(reasons.filter((reason) => reason === 'Command timed out')).toHaveLength(1);
  expect(fake.commands()).toBe(before + 1);

  fake.thaw();
  await sleep(1050);
  expect(await redis.get('a')).toBe('OK');
  expect(await redis.get('a')).toBe('OK');
});
