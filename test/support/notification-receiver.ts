/**
 * The client notification endpoint of a relying party (OpenID Connect CIBA Core section 10.2), on a port of its own. It must be
 * https, so the certificate that it makes is trusted in this process from then on.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { makeCertificate } from './certificates.ts';

export interface Notification {
  authorization: string | undefined;
  body: unknown;
}

export interface NotificationReceiver {
  uri: string;
  /** Received so far, the first one first; those that were refused included. */
  notifications: Notification[];
  /** What the next ones are answered with; 204 once the list is empty. */
  answers: { status: number; location?: string; body?: string }[];
  /** Waits for that many. */
  received(count: number): Promise<Notification[]>;
  stop(): Promise<void>;
}

export const startNotificationReceiver = (): Promise<NotificationReceiver> =>
  new Promise((resolve) => {
    const notifications: Notification[] = [];
    const answers: NotificationReceiver['answers'] = [];
    const { cert, key } = makeCertificate({
      // Of two trusted certificates of one name OpenSSL may try the other one's key.
      subject: [['CN', randomUUID()]],
      alternatives: [['dns', 'localhost']],
      authority: true,
      purpose: 'server',
    });
    setDefaultCACertificates([...getCACertificates('default'), cert]);
    const server = createServer({ cert, key }, async (request, response) => {
      const text = (await request.toArray()).join('');
      const isJson = request.method === 'POST' && request.headers['content-type'] === 'application/json';
      notifications.push({ authorization: request.headers.authorization, body: isJson ? JSON.parse(text) : text });
      const { status, location, body } = answers.shift() ?? { status: 204 };
      response.writeHead(status, location ? { location } : {}).end(body);
    });
    server.listen(0, '127.0.0.1', () =>
      resolve({
        uri: `https://localhost:${(server.address() as AddressInfo).port}/ciba`,
        notifications,
        answers,
        received: async (count) => {
          for (const end = Date.now() + 40_000; notifications.length < count; ) {
            if (Date.now() > end) throw new Error(`${notifications.length} notifications instead of ${count}`);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
          return notifications;
        },
        stop: () => new Promise((resolve) => server.close(() => resolve())),
      }),
    );
  });
