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

/**
 * Connections that wait to be taken while the process is busy; the system may allow fewer (`net.core.somaxconn`). One for which there
 * is no place hangs for seconds before it is tried again.
 */
const backlogMax = 4096;

/** How often idle connections are closed where there are as many as there may be, in milliseconds. */
const makeRoomMs = 1000;

const connections = new WeakMap<Server, Set<Socket>>();

export interface ServerLimits {
  /** Connections that are open at the same time; further ones are closed at once. */
  MAX_CONNECTIONS: number;
  /** How long a connection may be idle between two requests, in seconds. */
  KEEP_ALIVE_TIMEOUT: number;
  /** How long a request may take, in seconds. */
  REQUEST_TIMEOUT: number;
}

/** Slow senders and slow readers are cut off before they hold a socket for long. */
const limit = (server: Server, limits: ServerLimits | undefined): void => {
  server.headersTimeout = 15_000;
  server.requestTimeout = 30_000;
  if (!limits) return;
  server.maxConnections = limits.MAX_CONNECTIONS;
  // Also by one of several processes: else one too many is offered to all of them in turn, over and over, while they are full.
  Object.assign(server, { dropMaxConnection: true });
  // Whoever keeps connections open without a use for them makes room; all are looked through, so not at each one that is closed.
  let madeRoomAt = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    if (performance.now() - madeRoomAt < makeRoomMs) return;
    madeRoomAt = performance.now();
    server.closeIdleConnections();
  });
  server.keepAliveTimeout = limits.KEEP_ALIVE_TIMEOUT * 1000;
  // Nothing is sent or received: longer than any request may take, and than a connection may be idle.
  server.timeout = (Math.max(limits.REQUEST_TIMEOUT, limits.KEEP_ALIVE_TIMEOUT) + 30) * 1000;
};

/** Listens, with TLS if its options are given. @returns the server and the port it got */
export const listen = (
  handler: RequestListener,
  port: number,
  host: string | undefined,
  tls?: TlsOptions,
  limits?: ServerLimits,
): Promise<{ server: Server; port: number }> =>
  new Promise((resolve, reject) => {
    const server = tls ? createTlsServer(handler, tls) : createServer(handler);
    const open = new Set<Socket>();
    connections.set(server, open);
    server.on('connection', (socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    });
    limit(server, limits);
    server.once('error', reject);
    server.listen({ port, host, backlog: backlogMax }, () =>
      resolve({ server, port: (server.address() as AddressInfo).port }),
    );
  });

/** From now on each answer ends its connection. */
export const endKeepAlive = (server: Server): void => {
  server.prependListener('request', (_request, response) => {
    response.shouldKeepAlive = false;
  });
};

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
