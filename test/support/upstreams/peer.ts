/**
 * What every loopback peer is made of: a real socket, a page on which somebody signs in there, codes that work once, and a
 * record of what it was asked. How each provider checks and answers is in its own file.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Somebody who has an account there. `extra` is whatever else that provider says of its people. */
export interface Account {
  /** What is typed on the page. */
  login: string;
  /** Their identifier for good: `sub`, `id` or `oid`. */
  id: string;
  email?: string;
  verified?: boolean;
  name?: string;
  extra?: Record<string, unknown>;
}

export interface PeerRequest {
  method: string;
  path: string;
  query: Record<string, string>;
  form: Record<string, string>;
  headers: IncomingHttpHeaders;
}

/** An object is sent as JSON; a function is given the socket, to misbehave on. */
export interface PeerAnswer {
  status?: number;
  headers?: Record<string, string>;
  body?: string | object | ((response: ServerResponse) => void);
}

export type Handler = (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>;

/** What is known of a code until it is redeemed. */
export interface Pending {
  account: Account;
  parameters: Record<string, string>;
}

export interface PeerKind {
  name: string;
  /** `localhost` and `127.0.0.1` are two sites to a browser: cookies between them are third-party ones. */
  host: 'localhost' | '127.0.0.1';
  authorizationPath: string;
  /** Other paths at which it takes authorization requests. */
  alsoAt?: readonly string[];
  /** Whatever else it asks of an authorization request. The text is shown on a page of its own, as providers do. */
  checkRequest?(parameters: Record<string, string>, peer: Peer): string | undefined;
  /** What the browser brings back beside `state`. */
  consented(pending: Pending, peer: Peer): Record<string, string | undefined>;
  declined(parameters: Record<string, string>): Record<string, string>;
  /** How an authorization response travels; a redirect with a query unless told otherwise. */
  deliver?(parameters: Record<string, string>, response: Record<string, string>): PeerAnswer;
  handlers(peer: Peer): Record<string, Handler>;
}

export interface Peer {
  name: string;
  origin: string;
  clientId: string;
  clientSecret: string;
  /** As registered there; matched exactly. */
  redirectUris: string[];
  accounts: Account[];
  /** All it was asked, the newest last. */
  requests: PeerRequest[];
  /** Off: connections are accepted and cut at once. */
  down: boolean;
  /** The same for single paths. */
  downAt: Set<string>;
  issueCode(pending: Pending): string;
  /** Undefined when there is no such code, or no longer (RFC 6749 section 4.1.2). */
  redeemCode(code: string | undefined): Pending | undefined;
  /** Goes through the page as a browser would, and returns what the browser is then told to do. */
  signIn(url: string | URL, login?: string, answer?: 'allow' | 'deny'): Promise<Delivered>;
  stop(): Promise<void>;
}

/** An authorization response on its way: a GET of `url`, or a POST of `form` to it. */
export interface Delivered {
  url: URL;
  form?: Record<string, string>;
}

const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

const page = (title: string, body: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title><link rel="icon" href="data:,"></head><body><main><h1>${escapeHtml(title)}</h1>${body}</main></body></html>`;

const html = (title: string, body: string, status = 200): PeerAnswer => ({
  status,
  headers: { 'content-type': 'text/html; charset=utf-8' },
  body: page(title, body),
});

/** OAuth 2.0 Form Post Response Mode. The button is for browsers without scripts, and for tests that read forms. */
export const formPost = (action: string, fields: Record<string, string>): PeerAnswer =>
  html(
    'Continue',
    `<form method="post" action="${escapeHtml(action)}">${Object.entries(fields)
      .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
      .join('')}<button>Continue</button></form><script>document.forms[0].submit()</script>`,
  );

export const redirectTo = (target: string, parameters: Record<string, string>, fragment = ''): PeerAnswer => {
  const url = new URL(target);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { status: 302, headers: { location: url.href + fragment } };
};

/** RFC 7636 section 4.6. A code that was asked for without a challenge needs no verifier. */
export const pkceMatches = ({ parameters }: Pending, verifier: string | undefined): boolean =>
  !parameters.code_challenge ||
  (verifier !== undefined && createHash('sha256').update(verifier).digest('base64url') === parameters.code_challenge);

/** The client's id and secret, from the body or from HTTP Basic (RFC 6749 section 2.3.1). */
export const clientOf = ({ form, headers }: PeerRequest): { id?: string; secret?: string } => {
  const [, credentials] = /^Basic (.+)$/i.exec(headers.authorization ?? '') ?? [];
  if (!credentials) return { id: form.client_id, secret: form.client_secret };
  const [id = '', secret = ''] = Buffer.from(credentials, 'base64')
    .toString()
    .split(':')
    .map((part) => decodeURIComponent(part.replaceAll('+', ' ')));
  return { id, secret };
};

const text = async (stream: AsyncIterable<Buffer>): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

const send = (response: ServerResponse, { status = 200, headers = {}, body = '' }: PeerAnswer): void => {
  if (typeof body === 'function') {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    body(response);
  } else if (typeof body === 'string') response.writeHead(status, headers).end(body);
  else
    response
      .writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers })
      .end(JSON.stringify(body));
};

/** The page, and where it leads. A wrong client or redirect URI is never redirected to (RFC 6749 section 4.1.2.1). */
const authorization =
  (kind: PeerKind, peer: Peer): Handler =>
  ({ method, query, form }) => {
    const parameters = query;
    const redirectUri = parameters.redirect_uri ?? '';
    if (parameters.client_id !== peer.clientId) return html('Unknown application', '', 400);
    if (!peer.redirectUris.includes(redirectUri))
      return html('redirect_uri_mismatch', `<p>${escapeHtml(redirectUri)}</p>`, 400);
    const objection =
      parameters.code_challenge !== undefined && parameters.code_challenge_method !== 'S256'
        ? 'code_challenge_method must be S256'
        : kind.checkRequest?.(parameters, peer);
    if (objection) return html('Invalid request', `<p>${escapeHtml(objection)}</p>`, 400);
    if (method === 'GET')
      return html(
        `Sign in to ${kind.name}`,
        `<form method="post"><label>Account <input name="login" value="${escapeHtml(peer.accounts.at(-1)?.login ?? '')}"></label>
<button name="answer" value="allow">Continue</button> <button name="answer" value="deny">Cancel</button></form>`,
      );
    const account = peer.accounts.find(({ login }) => login === form.login);
    if (form.answer !== 'deny' && !account) return html('Wrong account', '', 400);
    const response =
      form.answer === 'deny' || !account ? kind.declined(parameters) : kind.consented({ account, parameters }, peer);
    const all = Object.fromEntries(
      Object.entries({ state: parameters.state, ...response }).filter(([, value]) => value !== undefined),
    ) as Record<string, string>;
    return kind.deliver?.(parameters, all) ?? redirectTo(redirectUri, all);
  };

const inputs = (markup: string): Record<string, string> => {
  const plain = (value: string) => value.replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));
  return Object.fromEntries(
    [...markup.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)].map(([, name = '', value = '']) => [
      plain(name),
      plain(value),
    ]),
  );
};

/** Starts one. Its client is `client`; a redirect URI must be added before anybody can sign in. */
export const startPeer = async (kind: PeerKind, accounts: Account[] = []): Promise<Peer> => {
  const codes = new Map<string, Pending>();
  let handlers: Record<string, Handler> = {};
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', peer.origin);
    if (peer.down || peer.downAt.has(url.pathname)) {
      request.socket.destroy();
      return;
    }
    const asked: PeerRequest = {
      method: request.method ?? 'GET',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      form: Object.fromEntries(new URLSearchParams(await text(request))),
      headers: request.headers,
    };
    peer.requests.push(asked);
    const handler = handlers[`${asked.method} ${asked.path}`];
    try {
      send(response, handler ? await handler(asked) : { status: 404, body: { message: 'Not Found' } });
    } catch (error) {
      send(response, { status: 500, body: { message: (error as Error).message } });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  const peer: Peer = {
    name: kind.name,
    origin: `http://${kind.host}:${port}`,
    clientId: `countersign-at-${kind.name.toLowerCase()}`,
    clientSecret: randomBytes(24).toString('hex'),
    redirectUris: [],
    accounts,
    requests: [],
    down: false,
    downAt: new Set(),
    issueCode: (pending) => {
      const code = randomBytes(20).toString('hex');
      codes.set(code, pending);
      return code;
    },
    redeemCode: (code = '') => {
      const pending = codes.get(code);
      codes.delete(code);
      return pending;
    },
    signIn: async (url, login = peer.accounts.at(-1)?.login ?? '', answer = 'allow') => {
      const shown = await fetch(url, { redirect: 'manual' });
      if (shown.status !== 200) throw new Error(`${kind.name} refuses the request: ${await shown.text()}`);
      const answered = await fetch(url, {
        method: 'POST',
        redirect: 'manual',
        body: new URLSearchParams({ login, answer }),
      });
      const location = answered.headers.get('location');
      if (location) return { url: new URL(location) };
      const markup = await answered.text();
      const [, action] = /<form method="post" action="([^"]*)">/.exec(markup) ?? [];
      if (answered.status !== 200 || !action) throw new Error(`${kind.name} refuses: ${markup}`);
      return {
        url: new URL(action.replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))),
        form: inputs(markup),
      };
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  handlers = {
    ...Object.fromEntries(
      [kind.authorizationPath, ...(kind.alsoAt ?? [])]
        .flatMap((path) => [`GET ${path}`, `POST ${path}`])
        .map((route) => [route, authorization(kind, peer)]),
    ),
    ...kind.handlers(peer),
  };
  return peer;
};
