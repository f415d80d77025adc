/** Whatever is sent, the answer is never a 5xx and never late. */
import { request } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Browser, password, registerAccount } from '../support/browser.ts';
import { endpoints, names, values } from '../support/odd-inputs.ts';
import { relyingParty, signedIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let browser: Browser;
let port: number;
/** Values that mean something, to get past the first check. */
const known: string[] = [];
beforeAll(async () => {
  server = await startServer();
  port = Number(new URL(server.address).port);
  const email = await registerAccount(server);
  browser = await signedIn(server, email);
  const app = await relyingParty(server);
  const tokens = await app.tokens(browser, email);
  const page = await browser.go(await app.url({ prompt: 'login' }));
  endpoints.push(page.url.pathname, `${page.url.pathname}/abort`, `${page.url.pathname}/switch`);
  known.push(app.client.client_id, app.client.client_secret as string, tokens.access_token, tokens.id_token as string);
  known.push(tokens.refresh_token as string, app.client.redirect_uris[0] as string, email, password);
});
afterAll(() => server.stop());

const value = fc.oneof(
  { arbitrary: fc.constantFrom(...values), weight: 4 },
  { arbitrary: fc.nat().map((n) => known[n % known.length] as string), weight: 3 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 40 }), weight: 2 },
  { arbitrary: fc.string({ maxLength: 200 }), weight: 1 },
);
const parameters = fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 12 });
/** What a header can hold. */
const headerValue = value.map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, ''));
const headers = fc.dictionary(
  fc.constantFrom(
    ...['accept', 'accept-language', 'authorization', 'cookie', 'user-agent', 'x-request-id', 'x-forwarded-for'],
    ...[
      'x-forwarded-proto',
      'x-forwarded-host',
      'host',
      'if-none-match',
      'if-modified-since',
      'range',
      'dpop',
      'referer',
    ],
    ...['accept-encoding', 'access-control-request-method', 'x-http-method-override', 'content-encoding'],
  ),
  fc.oneof(
    headerValue,
    headerValue.map((text) => `Basic ${Buffer.from(`${known[0]}:${text}`).toString('base64')}`),
    headerValue.map((text) => `Bearer ${text}`),
    headerValue.map((text) => `session=${text}; session.sig=${text}; flow=${text}; interaction=${text}; lang=${text}`),
  ),
  { maxKeys: 3 },
);
const encode = (pairs: [string, string][]) =>
  pairs.map(([name, text]) => `${encodeURIComponent(name)}=${encodeURIComponent(text.toWellFormed())}`).join('&');
const body = fc.oneof(
  parameters.map((pairs) => ({ type: 'application/x-www-form-urlencoded', text: encode(pairs) })),
  parameters.map((pairs) => ({ type: 'application/json', text: JSON.stringify(Object.fromEntries(pairs)) })),
  fc.json({ maxDepth: 4 }).map((text) => ({ type: 'application/json', text })),
  fc
    .tuple(
      fc.constantFrom(
        'application/x-www-form-urlencoded',
        'application/json',
        'text/plain',
        'multipart/form-data; boundary=x',
        'application/json; charset=x',
        '',
      ),
      fc.string({ unit: 'binary', maxLength: 200 }),
    )
    .map(([type, text]) => ({ type, text })),
);

interface Attempt {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: { type: string; text: string } | undefined;
}

/** Sends anything that node's client lets through. @returns the status; 0 when the client or the parser refused */
const send = ({ method, path, headers, body }: Attempt): Promise<number> =>
  new Promise((resolve, reject) => {
    const all = {
      ...(method === 'GET' ? {} : { origin: server.issuer }),
      ...(headers.cookie === undefined
        ? { cookie: browser.cookies.map(({ name, value }) => `${name}=${value}`).join('; ') }
        : {}),
      ...headers,
      ...(body ? { 'content-type': body.type, 'content-length': String(Buffer.byteLength(body.text)) } : {}),
    };
    const outgoing = request({ host: '127.0.0.1', port, method, path, headers: all, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    outgoing.setTimeout(10_000, () => reject(new Error(`no answer to ${method} ${path}`)));
    outgoing.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(0) : reject(error),
    );
    outgoing.end(body?.text);
  });

const budget = { interruptAfterTimeLimit: 4000, markInterruptAsFailure: false, endOnFailure: true } as const;
const holds = async (attempt: Attempt) => {
  const status = await send(attempt);
  if (status >= 500) throw new Error(`${status} for ${JSON.stringify(attempt)}`);
};

describe('no input is answered with a 5xx', () => {
  it('queries, on every endpoint', async () => {
    const attempt = fc.record({
      method: fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND'),
      path: fc
        .tuple(fc.nat(), parameters)
        .map(([n, pairs]) => `${endpoints[n % endpoints.length]}?${encode(pairs)}`.slice(0, 8000)),
      headers,
    });
    await fc.assert(fc.asyncProperty(attempt, holds), { ...budget, numRuns: 600 });
  });

  it('bodies, on every endpoint', async () => {
    const attempt = fc.record({
      method: fc.constantFrom('POST', 'POST', 'POST', 'PUT', 'PATCH', 'DELETE'),
      path: fc.nat().map((n) => endpoints[n % endpoints.length] as string),
      headers,
      body,
    });
    await fc.assert(fc.asyncProperty(attempt, holds), { ...budget, numRuns: 600 });
  });

  it('each odd value in each parameter of each form', async () => {
    const forms = [
      '/register',
      '/forgot',
      '/reset',
      '/verify',
      '/verify/resend',
      '/setup',
      '/account/profile',
      '/account/password',
    ];
    forms.push(
      '/account/applications/withdraw',
      '/account/sessions/end',
      '/oauth/token',
      '/oauth/par',
      '/oauth/revoke',
      '/oauth/authorize',
    );
    forms.push(endpoints.at(-3) as string);
    const attempt = fc.tuple(fc.constantFrom(...forms), fc.constantFrom(...names), value).map(([path, name, text]) => ({
      method: 'POST',
      path,
      headers: {},
      body: {
        type: 'application/x-www-form-urlencoded',
        text: encode([
          ...(
            [
              ['email', 'a@example.com'],
              ['password', 'a phrase that is long'],
              ['name', 'A'],
              ['token', 'x'],
              ['client_id', known[0]],
              ['client_secret', known[1]],
              ['id', known[0]],
              ['currentPassword', 'x'],
              ['newPassword', 'a phrase that is long'],
            ] as [string, string][]
          ).filter(([other]) => other !== name),
          [name, text],
        ]),
      },
    }));
    await fc.assert(fc.asyncProperty(attempt, holds), { ...budget, numRuns: 400 });
  });

  it('request targets and header lines that no client would send', async () => {
    const raw = (text: string) =>
      new Promise<string>((resolve, reject) => {
        // Whoever closes their side at once is taken to be gone: Node.js does not answer them.
        const socket = connect(port, '127.0.0.1', () => socket.write(text, 'latin1'));
        let answer = '';
        socket.setTimeout(10_000, () => reject(new Error(`no answer to ${JSON.stringify(text)}`)));
        socket.on('data', (chunk) => {
          answer += chunk;
        });
        socket.on('close', () => resolve(answer.slice(0, 12)));
        socket.on('error', reject);
      });
    const targets = [
      '*',
      '//',
      '//evil.example/a',
      'http://evil.example/register',
      'http://[',
      'http://',
      '/%',
      '/%ff',
      '/a%00b',
      '/\\x',
    ];
    targets.push(
      '/register#x',
      '/register?%',
      '/register?lang=%ff',
      '/interaction/%',
      '/oauth/%2e%2e/account',
      '/assets/%5c..',
      '/?'.repeat(500),
    );
    targets.push(
      '/interaction/%E0%A4%A',
      '/oauth/authorize/%',
      '/api/v1/%',
      '/demo/%',
      '/account/%',
      '/.well-known/%',
      'http://[/register',
      '/http://[',
    );
    const failures = [];
    for (const target of targets)
      for (const method of ['GET', 'POST', 'OPTIONS']) {
        const line = await raw(
          `${method} ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
        if (!/^HTTP\/1\.1 [234]/.test(line)) failures.push(`${method} ${target}: ${line}`);
      }
    expect(failures).toEqual([]);
  });
});
