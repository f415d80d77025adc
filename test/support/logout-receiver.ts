/** The back-channel logout endpoint of a relying party, on a port of its own. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface LogoutReceiver {
  uri: string;
  /** Logout tokens received, the first one first. */
  tokens: string[];
  /** What the next requests are answered with; 200 once the list is empty. */
  answers: number[];
  /** Waits for that many tokens. */
  received(count: number, ms?: number): Promise<string[]>;
  stop(): Promise<void>;
}

export const startLogoutReceiver = (): Promise<LogoutReceiver> =>
  new Promise((resolve) => {
    const tokens: string[] = [];
    const answers: number[] = [];
    const server = createServer(async (request, response) => {
      const body = (await request.toArray()).join('');
      const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
      const token = request.method === 'POST' && isForm ? new URLSearchParams(body).get('logout_token') : null;
      if (token) tokens.push(token);
      response.writeHead(token ? (answers.shift() ?? 200) : 400, { 'cache-control': 'no-store' }).end();
    });
    server.listen(0, '127.0.0.1', () =>
      resolve({
        uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/logout`,
        tokens,
        answers,
        received: async (count, ms = 30_000) => {
          for (const end = Date.now() + ms; tokens.length < count; ) {
            if (Date.now() > end) throw new Error(`${tokens.length} logout tokens instead of ${count}`);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
          return tokens;
        },
        stop: () => new Promise((resolve) => server.close(() => resolve())),
      }),
    );
  });
