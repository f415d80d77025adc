/** The HTTP server: listens, and closes without cutting a request off. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How long requests in flight may take after a stop was asked for. */
const drainMs = 20_000;

/** Listens. @returns the server and the port it got */
export const listen = (
  handler: RequestListener,
  port: number,
  host: string | undefined,
): Promise<{ server: Server; port: number }> =>
  new Promise((resolve, reject) => {
    const server = createServer(handler);
    // Slow senders are cut off before they hold a socket for long.
    server.headersTimeout = 15_000;
    server.requestTimeout = 30_000;
    server.once('error', reject);
    server.listen({ port, host }, () => resolve({ server, port: (server.address() as AddressInfo).port }));
  });

/** Takes no new connections, lets requests in flight finish, and resolves when all are done. */
export const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), drainMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
