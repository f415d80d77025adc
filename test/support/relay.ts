/** A TCP relay in front of a server, to take that server away and give it back. */
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from './ports.ts';

export interface Relay {
  port: number;
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>;
  restore(): Promise<void>;
  /** Passes nothing on from now on, and breaks nothing: what a network does that loses packets. `restore` after a `cut` ends it. */
  silence(): void;
}

export const openRelay = async (host: string, port: number): Promise<Relay> => {
  const sockets = new Set<Socket>();
  let isSilent = false;
  const server = createServer((near) => {
    const far = connect(port, host);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      // What is sent is taken, as by a network that loses it.
      socket.on('data', (data) => {
        if (!isSilent) other.write(data);
      });
    }
  });
  // One that nobody else is given while the relay is cut.
  const own = await freePort();
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(own, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  await listen();
  return {
    port: own,
    cut: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
    restore: () => {
      isSilent = false;
      return listen();
    },
    silence: () => {
      isSilent = true;
    },
  };
};
