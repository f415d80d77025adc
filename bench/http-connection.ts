/**
 * A kept-alive HTTP/1.1 connection that costs little: a request is a string that was made once, an answer is its status, its head
 * and its body. A driver must not be what is measured, and the usual clients spend more on a request than a fast server on its answer.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface Answer {
  status: number;
  /** Status line and header fields, as they came. */
  head: string;
  /** In latin1: for JSON and forms of ASCII, and for counting bytes. */
  body: string;
}

export interface HttpConnection {
  /** Sends a request, and waits for its answer. One at a time. @throws when the connection breaks or the answer has no length */
  send(request: string): Promise<Answer>;
  isClosed(): boolean;
  close(): void;
}

/** A request of HTTP/1.1, whole. `Content-Length` is added where there is a body. */
export const requestText = (
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body = '',
): string => {
  const all = { ...headers, ...(method === 'POST' ? { 'Content-Length': String(Buffer.byteLength(body)) } : {}) };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
};

/** All values of a header field. */
export const headerValues = ({ head }: Answer, name: string): string[] =>
  [...head.matchAll(new RegExp(`\\r\\n${name}: ([^\\r]*)`, 'gi'))].map(([, value = '']) => value);

const withoutBody = new Set([204, 304]);

/** A body in chunks (RFC 9112 section 7.1), as proxies send some; undefined while a part of it is missing. */
const readChunks = (text: string): string | undefined => {
  let body = '';
  for (let at = 0; ; ) {
    const end = text.indexOf('\r\n', at);
    const length = Number.parseInt(text.slice(at, end), 16);
    if (end < 0 || text.length < end + 4 + length) return undefined;
    if (length === 0) return body;
    body += text.slice(end + 2, end + 2 + length);
    at = end + 4 + length;
  }
};

/** The answer at the start of what was received; undefined while a part of it is missing. @throws when its length is not told */
const readAnswer = (received: string): Answer | undefined => {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = received.slice(0, end);
  const status = Number(head.slice(9, 12));
  const told = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (told === undefined && /\r\ntransfer-encoding: chunked/i.test(head)) {
    const body = readChunks(received.slice(end + 4));
    return body === undefined ? undefined : { status, head, body };
  }
  if (told === undefined && !withoutBody.has(status)) throw new Error(`an answer without a length:\n${head}`);
  const length = withoutBody.has(status) ? 0 : Number(told);
  if (received.length < end + 4 + length) return undefined;
  return { status, head, body: received.slice(end + 4, end + 4 + length) };
};

/** Opens a connection to an address such as https://id.example.com. Requests may take half a minute. */
export const openConnection = (address: string): Promise<HttpConnection> =>
  new Promise((opened, failed) => {
    const { protocol, hostname: host, port } = new URL(address);
    const isTls = protocol === 'https:';
    const socket: Socket = isTls
      ? connectTls({ host, port: Number(port || 443), servername: host })
      : connect(Number(port || 80), host);
    let received = '';
    let waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;
    const fail = (error: Error) => {
      waiting?.reject(error);
      waiting = undefined;
      failed(error);
      socket.destroy();
    };
    socket.setNoDelay(true).setEncoding('latin1').setTimeout(30_000);
    socket.on('error', fail);
    socket.on('timeout', () => fail(new Error('no answer within 30 s')));
    socket.on('close', () => fail(new Error('the connection was closed')));
    socket.on('data', (chunk: string) => {
      received = received === '' ? chunk : received + chunk;
      try {
        const answer = readAnswer(received);
        if (!answer) return;
        received = '';
        const { resolve } = waiting as NonNullable<typeof waiting>;
        waiting = undefined;
        resolve(answer);
      } catch (error) {
        fail(error as Error);
      }
    });
    socket.on(isTls ? 'secureConnect' : 'connect', () =>
      opened({
        send: (request) =>
          new Promise((resolve, reject) => {
            if (socket.destroyed) return reject(new Error('the connection was closed'));
            waiting = { resolve, reject };
            socket.write(request, 'latin1');
          }),
        isClosed: () => socket.destroyed,
        close: () => socket.destroy(),
      }),
    );
  });
