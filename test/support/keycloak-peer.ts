/**
 * A Keycloak that has users and a service account, and answers as its Admin REST API documents: 201 with Location, 204, 409 and
 * `errorMessage`, `exact` searches, tokens that end. It misbehaves as it is told.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface PeerUser {
  id: string;
  username: string;
  email?: string;
  emailVerified: boolean;
  enabled: boolean;
  attributes?: Record<string, string[]>;
  [member: string]: unknown;
}

/** What it does instead of answering; undefined answers. */
export type Misdeed = (
  request: { method: string; path: string; count: number },
  response: ServerResponse,
) => 'answered' | 'after' | undefined;

export interface KeycloakPeer {
  url: string;
  users: Map<string, PeerUser>;
  /** `METHOD path?query` of each request, tokens left out. */
  requests: string[];
  tokens: number;
  /** How many were being answered at a time, at most. */
  busiest: number;
  misdeed: Misdeed;
  /** Every token that was given ends now. */
  endTokens(): void;
  add(user: Partial<PeerUser> & { username: string }): PeerUser;
  reset(): void;
  stop(): Promise<void>;
}

export const peerRealm = 'acme';
export const peerClient = { id: 'countersign-sync', secret: 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl' };

const read = async (request: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
};

export const startKeycloakPeer = async (): Promise<KeycloakPeer> => {
  const valid = new Set<string>();
  let count = 0;
  let running = 0;

  const json = (response: ServerResponse, status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };

  const giveToken = (response: ServerResponse, form: URLSearchParams) => {
    peer.tokens++;
    if (form.get('client_id') !== peerClient.id || form.get('client_secret') !== peerClient.secret)
      return json(response, 401, { error: 'unauthorized_client', error_description: 'Invalid client credentials' });
    const token = randomUUID();
    valid.add(token);
    return json(response, 200, { access_token: token, expires_in: 300, token_type: 'Bearer' });
  };

  const taken = ({ id, username, email }: Partial<PeerUser>) => {
    const others = [...peer.users.values()].filter((user) => user.id !== id);
    if (others.some((user) => user.username === username)) return 'User exists with same username';
    if (email && others.some((user) => user.email === email)) return 'User exists with same email';
    return undefined;
  };

  const answerUsers = (
    response: ServerResponse,
    method: string,
    id: string | undefined,
    query: URLSearchParams,
    text: string,
  ) => {
    const user = id === undefined ? undefined : peer.users.get(id);
    if (id !== undefined && !user) return json(response, 404, { error: 'User not found' });
    if (method === 'GET' && user) return json(response, 200, { ...user, access: { manage: true } });
    if (method === 'GET') {
      const email = query.get('email') ?? '';
      const matches = [...peer.users.values()].filter((one) =>
        query.get('exact') === 'true' ? one.email === email : one.email?.includes(email),
      );
      return json(response, 200, matches.slice(0, Number(query.get('max') ?? 100)));
    }
    const document = JSON.parse(text) as PeerUser;
    if (method === 'POST') {
      const reason = taken(document);
      if (reason) return json(response, 409, { errorMessage: reason });
      const made = { ...document, id: randomUUID() };
      peer.users.set(made.id, made);
      return response.writeHead(201, { location: `${peer.url}/admin/realms/${peerRealm}/users/${made.id}` }).end();
    }
    const reason = taken({ ...document, id: id as string });
    if (reason) return json(response, 409, { errorMessage: reason });
    peer.users.set(id as string, { ...document, id: id as string });
    return response.writeHead(204).end();
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://keycloak');
    const method = request.method ?? 'GET';
    peer.requests.push(`${method} ${url.pathname}${url.search}`);
    const text = await read(request);
    running++;
    peer.busiest = Math.max(peer.busiest, running);
    response.on('close', () => {
      running--;
    });
    const outcome = peer.misdeed({ method, path: url.pathname, count: ++count }, response);
    if (outcome === 'answered') return;
    // It does the work, and the answer is lost.
    const target =
      outcome === 'after' ? ({ writeHead: () => target, end: () => request.socket.destroy() } as never) : response;
    const realm = `/realms/${peerRealm}`;
    if (url.pathname === `${realm}/protocol/openid-connect/token`)
      return void giveToken(target, new URLSearchParams(text));
    const [, id] = /^\/admin\/realms\/acme\/users(?:\/([^/]+))?$/.exec(url.pathname) ?? ['', 'none of these'];
    if (id === 'none of these') return json(target, 404, { error: 'Realm not found.' });
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (!token || !valid.has(token)) return json(target, 401, { error: 'HTTP 401 Unauthorized' });
    answerUsers(target, method, id, url.searchParams, text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const peer: KeycloakPeer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    users: new Map(),
    requests: [],
    tokens: 0,
    busiest: 0,
    misdeed: () => undefined,
    endTokens: () => valid.clear(),
    add: (user) => {
      const made = { id: randomUUID(), emailVerified: true, enabled: true, ...user };
      peer.users.set(made.id, made);
      return made;
    },
    reset: () => {
      peer.users.clear();
      peer.requests.length = 0;
      Object.assign(peer, { tokens: 0, busiest: 0, misdeed: () => undefined });
      count = 0;
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return peer;
};
