/** What the log says of a Redis that goes and comes. */
import { createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { connectRedis } from '../../adapters/redis.ts';
import { createLog } from '../../src/log.ts';
import { eventually } from '../support/requests.ts';
import { freePort } from '../support/server.ts';

it('that it is away is said once, and so is that it answers again', async () => {
  const port = await freePort();
  const lines: { msg: string; purpose: string }[] = [];
  const log = createLog('warn', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const redis = connectRedis(`redis://127.0.0.1:${port}`, log, 'limits', 'limits are counted here');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write('+OK\r\n'.repeat(data.toString().match(/\*\d+\r\n\$/g)?.length ?? 0)));
  });
  try {
    await eventually(() => lines.length > 0, 'a line of the log');
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    await eventually(() => lines.length > 1, 'another line of the log');
    expect(lines.map(({ msg, purpose }) => [purpose, msg])).toEqual([
      ['limits', 'Redis is away: limits are counted here'],
      ['limits', 'Redis answers again'],
    ]);
  } finally {
    redis.disconnect();
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});
