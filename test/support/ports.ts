/** Ports for servers that have to be told theirs. */
import { randomInt } from 'node:crypto';
import { createServer, type ListenOptions } from 'node:net';

/** @returns why not; undefined if it did. It goes on listening if told so, without keeping the process. */
const listening = (options: ListenOptions, goesOn = false): Promise<string | undefined> =>
  new Promise((resolve) => {
    const server = createServer()
      .once('error', ({ code }: NodeJS.ErrnoException) => resolve(code))
      .listen(options, () => (goesOn ? resolve(undefined) : server.close(() => resolve(undefined))));
    if (goesOn) server.unref();
  });

/**
 * Whether no process of tests but this one has been given the port, which some listen to only seconds later. Where there are no
 * abstract sockets, which end with their process, nobody knows.
 */
const isOurs = async (port: number): Promise<boolean> =>
  (await listening({ path: `\0countersign-test-port-${port}` }, true)) !== 'EADDRINUSE';

/**
 * A port of loopback that is free, and still is when it is listened to a moment later: below those that the system gives to
 * connections (from 32768 on), of which there are many at any time.
 */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if ((await isOurs(port)) && !(await listening({ port, host: '127.0.0.1' }))) return port;
  }
};
