/** Requests over TLS with a certificate of one's own, as `fetch` cannot make them. */
import { request } from 'node:https';
import type { Certified } from './certificates.ts';
import type { Reply } from './relying-party.ts';

export interface TlsRequest {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** The client's. */
  certified?: Certified | undefined;
  /** Whom the server's certificate must be of. */
  authority: Certified;
}

export const sendTls = (
  url: string,
  { method = 'GET', headers = {}, body, certified, authority }: TlsRequest,
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const own = certified ? { cert: certified.cert, key: certified.key } : {};
    const outgoing = request(url, { method, headers, ca: authority.cert, ...own, agent: false }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = /json/.test(incoming.headers['content-type'] ?? '');
        const all = Object.entries(incoming.headers).map(([name, value]): [string, string] => [name, String(value)]);
        resolve({
          status: incoming.statusCode ?? 0,
          headers: new Headers(all),
          body: isJson && text ? JSON.parse(text) : text,
        });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
