/** Limits by role on the REST API, and limits of failures where clients authenticate and tokens are asked about. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { callerOf, machineOf, nobody, type TestCaller } from '../support/callers.ts';
import { makeProver } from '../support/dpop.ts';
import type { Answer } from '../support/requests.ts';
import { type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

let addresses = 0;
const address = () => `198.19.0.${++addresses}`;

const statuses = async (times: number, request: () => Promise<{ status: number }>): Promise<number[]> => {
  const seen: number[] = [];
  for (let count = 0; count < times; count++) seen.push((await request()).status);
  return seen;
};

describe('the limits by role', () => {
  let server: TestServer;
  let callers: Record<string, TestCaller>;
  beforeAll(async () => {
    server = await startServer({
      TRUST_PROXY: '1',
      RATE_LIMIT_FACTOR: '1',
      RATE_LIMITS: 'anonymous=20,user=6,moderator=8,admin=10,super_admin=12,client=9',
    });
    callers = {};
    for (const role of ['user', 'manager', 'moderator', 'admin', 'super_admin'])
      callers[role] = await callerOf(server, { role });
    callers.client = await machineOf(server, 'users:read:any');
  }, 60_000);
  afterAll(() => server.stop());

  const me = (caller: TestCaller, from: string) =>
    caller.request('get', '/auth/me', undefined, { 'x-forwarded-for': from });

  for (const [who, policy, quota] of [
    ['user', 'user', 6],
    ['manager', 'user', 6],
    ['moderator', 'moderator', 8],
    ['admin', 'admin', 10],
    ['super_admin', 'super_admin', 12],
    ['client', 'client', 9],
  ] as const) {
    it(`${who}: ${quota} of ${policy}, from wherever, told in headers on each answer`, async () => {
      const caller = callers[who] as TestCaller;
      const answers: Answer[] = [];
      for (let count = 0; count <= quota; count++) answers.push(await me(caller, address()));
      expect(answers.map(({ status }) => status)).toEqual([...Array(quota).fill(200), 429]);
      for (const [index, { headers }] of answers.entries()) {
        expect(headers.get('ratelimit-policy')).toBe(`"${policy}";q=${quota};w=900`);
        const [, remaining, reset] = /^"\w+";r=(\d+);t=(\d+)$/.exec(headers.get('ratelimit') ?? '') ?? [];
        expect(Number(remaining)).toBe(Math.max(0, quota - 1 - index));
        expect(Number(reset)).toBeGreaterThan(800);
        expect(Number(reset)).toBeLessThanOrEqual(900);
      }
      const refused = answers.at(-1) as Answer;
      expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(refused.json).toMatchObject({ status: 429, code: 'too_many_requests' });
      expect(refused.headers.get('ratelimit')).toContain(`t=${refused.headers.get('retry-after')}`);
    });
  }

  it('anonymous: by address, and an IPv6 network is one', async () => {
    const from = (host: string) =>
      nobody(server).request('post', '/auth/verify', { token: 'nonsense' }, { 'x-forwarded-for': host });
    let host = 0;
    expect(await statuses(21, () => from(`2001:db8:5:5::${++host}`))).toEqual([...Array(20).fill(400), 429]);
    expect((await from('2001:db8:5:6::1')).status).toBe(400);
  });

  it('tokens that are not valid count for the address, and a valid one from there does not', async () => {
    const from = address();
    const user = await callerOf(server);
    let made = 0;
    const bad = () =>
      nobody(server).request('get', '/auth/me', undefined, {
        'x-forwarded-for': from,
        authorization: `Bearer made-up-${++made}`,
      });
    const none = () => nobody(server).request('get', '/auth/me', undefined, { 'x-forwarded-for': from });
    expect([...(await statuses(10, bad)), ...(await statuses(10, none)), ...(await statuses(2, bad))]).toEqual([
      ...Array(20).fill(401),
      429,
      429,
    ]);
    expect((await me(user, from)).status).toBe(200);
  });

  it('do not reach discovery, keys, health, pages and tokens', async () => {
    const from = { 'x-forwarded-for': address() };
    for (const path of ['/.well-known/openid-configuration', '/.well-known/jwks.json', '/health', '/register'])
      for (let count = 0; count < 21; count++) {
        const { status, headers } = await fetch(`${server.address}${path}`, { headers: from });
        expect([path, status, headers.get('ratelimit')]).toEqual([path, 200, null]);
      }
  });

  it('are counted, by name', async () => {
    const metrics = await (await fetch(`${server.address}/metrics`)).text();
    for (const limit of ['role:user', 'role:client', 'role:anonymous'])
      expect(metrics).toMatch(new RegExp(`^rate_limited_total\\{limit="${limit}"\\} [1-9]`, 'm'));
  });
});

describe('the limits of failures', () => {
  let server: TestServer;
  let client: RegisteredClient;
  let publicClient: RegisteredClient;
  let from: string;
  beforeAll(async () => {
    // 50 becomes 5, 200 becomes 20.
    server = await startServer({
      TRUST_PROXY: '1',
      RATE_LIMIT_FACTOR: '0.1',
      RATE_LIMITS: 'anonymous=10000,user=10000',
    });
    client = await server.client({
      grant_types: ['client_credentials', 'authorization_code'],
      redirect_uris: ['https://app.example.com/callback'],
      scope: 'users:read:any',
    });
    publicClient = await server.client({
      redirect_uris: ['https://spa.example.com/callback'],
      token_endpoint_auth_method: 'none',
    });
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    from = address();
  });

  const basic = (id: string, secret = 'wrong') => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
  const post = async (
    path: string,
    parameters: Record<string, string>,
    authorization?: string | Record<string, string>,
    at = from,
  ): Promise<Answer> => {
    const proof = typeof authorization === 'string' ? { authorization } : authorization;
    const response = await fetch(`${server.address}${path}`, {
      method: 'POST',
      headers: { 'x-forwarded-for': at, ...proof },
      body: new URLSearchParams(parameters),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: text ? JSON.parse(text) : undefined };
  };
  const credentials = { grant_type: 'client_credentials', scope: 'users:read:any' };
  const right = (at = from) => post('/oauth/token', credentials, basic(client.client_id, client.client_secret), at);

  for (const [path, parameters] of [
    ['/oauth/token', credentials],
    ['/oauth/introspect', { token: 'x' }],
    ['/oauth/revoke', { token: 'x' }],
    ['/oauth/par', { response_type: 'code' }],
  ] as [string, Record<string, string>][]) {
    it(`hold for client authentication at ${path}, by client and address`, async () => {
      const attempt = () => post(path, parameters, basic(client.client_id));
      expect(await statuses(7, attempt)).toEqual([401, 401, 401, 401, 401, 429, 429]);
      const refused = await attempt();
      expect(refused.json).toMatchObject({ error: 'temporarily_unavailable' });
      expect(refused.headers.get('content-type')).toMatch(/^application\/json/);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(800);
      expect(refused.headers.get('cache-control')).toBe('no-store');
      // However it authenticates, from there it is refused; from its own address it is not, nor are others from here.
      expect((await post('/oauth/token', { ...credentials, client_id: client.client_id })).status).toBe(429);
      expect((await right()).status).toBe(429);
      expect((await right(address())).status).toBe(200);
      expect((await post(path, parameters, basic('another'))).status).toBe(401);
    });
  }

  it('never count a success', async () => {
    expect(await statuses(30, () => right())).toEqual(Array(30).fill(200));
  });

  it('hold for an address whichever client it names', async () => {
    let named = 0;
    expect(await statuses(20, () => post('/oauth/token', credentials, basic(`client-${++named}`)))).toEqual(
      Array(20).fill(401),
    );
    expect((await post('/oauth/token', credentials, basic('client-21'))).status).toBe(429);
  });

  const code = { grant_type: 'authorization_code', code: 'made-up', redirect_uri: 'https://spa.example.com/callback' };

  it('hold for grants that a public client makes up', async () => {
    const attempt = () =>
      post('/oauth/token', { ...code, client_id: publicClient.client_id, code_verifier: 'v'.repeat(43) });
    expect(await statuses(6, attempt)).toEqual([400, 400, 400, 400, 400, 429]);
  });

  it('hold for refresh tokens that are made up over REST, and say for how long', async () => {
    const attempt = () =>
      nobody(server).request('post', '/auth/refresh', { refreshToken: 'made-up' }, { 'x-forwarded-for': from });
    expect(await statuses(6, attempt)).toEqual([401, 401, 401, 401, 401, 429]);
    const refused = await attempt();
    expect(refused.json).toMatchObject({ status: 429, code: 'too_many_requests' });
    const seconds = Number(refused.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(800);
    expect(refused.text).toContain(`${seconds} seconds`);
  });

  it('hold for tokens that are made up for an exchange, whose proofs leave no row', async () => {
    const prover = await makeProver();
    const { db } = server.database;
    const replays = async () =>
      Number((await db('oidcPayloads').where({ model: 'ReplayDetection' }).count('* as n').first())?.n);
    const before = await replays();
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      client_id: 'countersign-rest',
      subject_token: 'made-up',
      subject_token_type: 'urn:countersign:params:oauth:token-type:api_key',
    };
    const attempt = async () =>
      post('/oauth/token', form, { dpop: await prover.proof({ url: `${server.issuer}/oauth/token` }) });
    expect(await statuses(6, attempt)).toEqual([400, 400, 400, 400, 400, 429]);
    expect(await replays()).toBe(before);
  });

  it('hold for whatever leaves a row for nobody known, whatever is sent along', async () => {
    const visit = (path: string) =>
      fetch(`${server.issuer}${path}`, {
        headers: { 'x-forwarded-for': from, cookie: 'session=x' },
        redirect: 'manual',
      });
    const authorize = `/oauth/authorize?client_id=${client.client_id}&response_type=code&redirect_uri=https://app.example.com/callback&code_challenge_method=S256&code_challenge=${'a'.repeat(43)}&scope=openid`;
    const seen = await statuses(10, async () => {
      await visit('/device');
      await visit('/oauth/logout');
      return visit(authorize);
    });
    expect(seen).toEqual(Array(10).fill(303));
    for (const path of ['/device', '/oauth/logout', authorize]) expect((await visit(path)).status).toBe(429);
    const pushed = { client_id: publicClient.client_id, client_secret: '', response_type: 'code' };
    expect((await post('/oauth/par', pushed)).status).toBe(429);
  });

  it('do not count grants of a client that has proven itself: its callback is open to anybody', async () => {
    const made = { ...code, redirect_uri: 'https://app.example.com/callback', code_verifier: 'v'.repeat(43) };
    const attempt = () => post('/oauth/token', made, basic(client.client_id, client.client_secret));
    expect(await statuses(12, attempt)).toEqual(Array(12).fill(400));
    expect((await right()).status).toBe(200);
  });

  it('do not count tokens that are not active at introspection', async () => {
    const attempt = () =>
      post('/oauth/introspect', { token: 'made-up' }, basic(client.client_id, client.client_secret));
    expect(await statuses(12, attempt)).toEqual(Array(12).fill(200));
  });

  for (const [method, body] of [
    ['get', undefined],
    ['post', { token: 'made-up' }],
  ] as const) {
    it(`hold for tokens made up at ${method} /auth/validate, while valid ones are answered`, async () => {
      const machine = await machineOf(server, 'users:read:any');
      const headers = { 'x-forwarded-for': from };
      const attempt = () =>
        nobody(server).request(method, '/auth/validate', body, {
          ...headers,
          ...(method === 'get' ? { authorization: 'Bearer made-up' } : {}),
        });
      const expected = method === 'get' ? 401 : 200;
      expect(await statuses(21, attempt)).toEqual([...Array(20).fill(expected), 429]);
      const refused = await attempt();
      expect(refused.json).toMatchObject({ status: 429, code: 'too_many_requests' });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(800);
      const valid = await machine.request(method, '/auth/validate', body && { token: machine.token }, headers);
      expect([valid.status, valid.json.valid, valid.headers.get('ratelimit')]).toEqual([200, true, null]);
    });
  }
});

describe('X-Forwarded-For', () => {
  const seen = async (settings: Record<string, string>, headers: Record<string, string>) => {
    const server = await startServer(settings);
    try {
      await fetch(`${server.address}/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ email: 'nobody@example.com', password: 'whatever it is' }),
      });
      return (await server.database.db('auditLogs').where({ action: 'session.sign_in_failed' }).first('address'))
        .address;
    } finally {
      await server.stop();
    }
  };
  const forged = { 'x-forwarded-for': '1.2.3.4, 203.0.113.9' };
  for (const [name, settings, expected] of [
    ['is not looked at without a proxy', {}, '127.0.0.1'],
    ['is taken from the proxy, not from the client', { TRUST_PROXY: '1' }, '203.0.113.9'],
    [
      'is ignored from a peer that is not the proxy',
      { TRUST_PROXY: '1', TRUST_PROXY_ADDRESSES: '10.0.0.0/8' },
      '127.0.0.1',
    ],
  ] as [string, Record<string, string>, string][]) {
    it(name, async () => expect(await seen(settings, forged)).toBe(expected));
  }
});
