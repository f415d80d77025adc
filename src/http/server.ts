/** The HTTP server: listens, and closes without cutting a request off. */
import { createServer, type Server as HttpServer, type RequestListener } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createTlsServer, type TlsOptions } from './tls.ts';

type Server = HttpServer | HttpsServer;

/** How long requests in flight may take after a stop was asked for. */
const drainMs = 20_000;

/** How long a connection may stay that has not sent anything yet: what is on its way to us has arrived by then. */
const silentMs = 500;

const connections = new WeakMap<Server, Set<Socket>>();

/** Listens, with TLS if its options are given. @returns the server and the port it got */
export const listen = (
  handler: RequestListener,
  port: number,
  host: string | undefined,
  tls?: TlsOptions,
): Promise<{ server: Server; port: number }> =>
  new Promise((resolve, reject) => {
    const server = tls ? createTlsServer(handler, tls) : createServer(handler);
    const open = new Set<Socket>();
    connections.set(server, open);
    server.on('connection', (socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    });
    // Slow senders are cut off before they hold a socket for long.
    server.headersTimeout = 15_000;
    server.requestTimeout = 30_000;
    server.once('error', reject);
    server.listen({ port, host }, () => resolve({ server, port: (server.address() as AddressInfo).port }));
  });

/** Takes no new connections, lets requests in flight finish, and resolves when all are done. */
export const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const timers = [
      setTimeout(() => server.closeAllConnections(), drainMs),
      // Browsers open connections ahead of need, and Node does not count one as idle before its first request.
      setTimeout(() => {
        for (const socket of connections.get(server) ?? []) if (socket.bytesRead === 0) socket.destroy();
      }, silentMs),
    ];
    server.close(() => {
      timers.forEach(clearTimeout);
      resolve();
    });
    server.closeIdleConnections();
  });
