/** A loopback stand-in for a provider of SMS: remembers each request as it came, and answers as it is told. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface GatewayRequest {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}
export interface GatewayAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

export interface SmsGateway {
  url: string;
  requests: GatewayRequest[];
  /** The next answers, in order; 201 after them. */
  answers: GatewayAnswer[];
  stop(): Promise<void>;
}

/** What Twilio answers when it takes a message. */
const taken: GatewayAnswer = {
  status: 201,
  body: {
    sid: `SM${'0'.repeat(32)}`,
    status: 'queued',
    error_code: null,
    num_segments: '1',
    direction: 'outbound-api',
  },
};

/** What Twilio answers when it does not. */
export const twilioProblem = (status: number, code: number, headers: Record<string, string> = {}): GatewayAnswer => ({
  status,
  headers,
  body: { code, message: 'of a message', more_info: `https://www.twilio.com/docs/errors/${code}`, status },
});

export const startSmsGateway = async (): Promise<SmsGateway> => {
  const requests: GatewayRequest[] = [];
  const answers: GatewayAnswer[] = [];
  const server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request;
    requests.push({ method, url, headers, body: await text(request) });
    const answer = answers.shift() ?? taken;
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    response.end(answer.body === undefined ? '' : JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answers,
    stop: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
};
