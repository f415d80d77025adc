/** Clients that sign who they are (RFC 7523, OpenID Connect Core section 9): what an assertion must say, and whose keys count. */
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import {
  assertionType,
  type ClientKey,
  type KeyServer,
  makeAssertion,
  makeKey,
  serveKeys,
} from '../support/client-keys.ts';
import { post, type Reply, send } from '../support/relying-party.ts';
import { freePort, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let key: ClientKey;
let keys: KeyServer;
let clientId: string;

const metadata = {
  redirect_uris: [],
  response_types: [],
  grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'private_key_jwt',
};
const register = async (more: Record<string, unknown>) => (await server.client({ ...metadata, ...more })).client_id;

beforeAll(async () => {
  server = await startServer();
  key = await makeKey();
  keys = await serveKeys(key);
  clientId = await register({ jwks: { keys: [key.jwk] } });
});
afterAll(async () => {
  await keys.stop();
  await server.stop();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The clock of the service, and of the client with it, goes ahead. */
const later = (seconds: number) => {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + seconds * 1000);
};

const form = (client_assertion: string) => ({
  grant_type: 'client_credentials',
  client_assertion_type: assertionType,
  client_assertion,
});
const ask = (assertion: string, at: { issuer: string } = server): Promise<Reply> =>
  post(at, '/oauth/token', form(assertion));
const outcome = ({ status, body }: Reply) => (status === 200 ? status : `${status} ${body.error}`);

/** What an assertion of `key` comes to when it is used. */
const use = async (by: ClientKey, id: string, claims = {}, header = {}) =>
  outcome(await ask(await makeAssertion(by, { clientId: id, aud: server.issuer }, claims, header)));

const seconds = (offset: number) => Math.floor(Date.now() / 1000) + offset;

describe('an assertion', () => {
  for (const [name, claims, expected] of [
    ['for the issuer', () => ({}), 200],
    ['for the issuer, in a list', () => ({ aud: ['https://other.example', server.issuer] }), 200],
    ['for the token endpoint (OpenID Connect Core section 9)', () => ({ aud: `${server.issuer}/oauth/token` }), 200],
    ['for somebody else', () => ({ aud: 'https://other.example' }), '401 invalid_client'],
    ['for somebody else with our name in it', () => ({ aud: `${server.issuer}.other.example` }), '401 invalid_client'],
    ['for another endpoint', () => ({ aud: `${server.issuer}/oauth/introspect` }), '401 invalid_client'],
    ['for nobody', () => ({ aud: undefined }), '401 invalid_client'],
    ['for a number', () => ({ aud: 7 }), '401 invalid_client'],
    ['by somebody else', () => ({ iss: 'other' }), '401 invalid_client'],
    ['by nobody', () => ({ iss: undefined }), '401 invalid_client'],
    ['about nobody', () => ({ sub: undefined }), '401 invalid_client'],
    ['about somebody else', () => ({ sub: 'other' }), '401 invalid_client'],
    ['that has expired', () => ({ exp: seconds(-60) }), '401 invalid_client'],
    ['of a clock a little behind', () => ({ exp: seconds(-5), iat: seconds(-65) }), 200],
    ['that never expires', () => ({ exp: undefined }), '401 invalid_client'],
    ['that expires at no time', () => ({ exp: 'tomorrow' }), '401 invalid_client'],
    ['that is to be remembered for an hour', () => ({ exp: seconds(3500) }), 200],
    ['that is to be remembered for a year', () => ({ exp: seconds(31_536_000) }), '401 invalid_client'],
    ['that is not valid yet', () => ({ nbf: seconds(70) }), '401 invalid_client'],
    ['of a clock ten seconds ahead', () => ({ nbf: seconds(10), iat: seconds(10) }), 200],
    ['of a clock more than a minute ahead', () => ({ iat: seconds(70), exp: seconds(130) }), '401 invalid_client'],
    ['without iat', () => ({ iat: undefined }), 200],
    ['without jti', () => ({ jti: undefined }), '401 invalid_client'],
    ['with a jti that is no text', () => ({ jti: 7 }), '401 invalid_client'],
  ] as const) {
    it(`${name}: ${expected}`, async () => {
      expect(await use(key, clientId, claims())).toBe(expected);
    });
  }

  it('counts once, and then is refused at every endpoint', async () => {
    const assertion = await makeAssertion(key, { clientId, aud: server.issuer });
    expect(outcome(await ask(assertion))).toBe(200);
    expect(outcome(await ask(assertion))).toBe('401 invalid_client');
    const fields = { token: 'x', client_assertion_type: assertionType, client_assertion: assertion };
    expect(outcome(await post(server, '/oauth/introspect', fields))).toBe('401 invalid_client');
  });

  it('may have the jti of another client’s, even where the names run into each other', async () => {
    const other = await register({ jwks: { keys: [key.jwk] } });
    expect(await use(key, clientId, { jti: 'same' })).toBe(200);
    expect(await use(key, other, { jti: 'same' })).toBe(200);
    expect(await use(key, clientId, { jti: 'same' })).toBe('401 invalid_client');
  });

  it('is not held against a client by whose key it is not', async () => {
    const assertion = await makeAssertion(
      { ...(await makeKey()), kid: key.kid },
      { clientId, aud: server.issuer },
      { jti: 'j' },
    );
    expect(outcome(await ask(assertion))).toBe('401 invalid_client');
    expect(await use(key, clientId, { jti: 'j' })).toBe(200);
  });

  it('works for one of many that use it at once, on two replicas', async () => {
    const app = await createApp({ config: server.app.config, database: server.database, log: createLog('silent') });
    const replica = await listen(app.koa.callback(), await freePort(), '127.0.0.1');
    try {
      const there = { issuer: `http://127.0.0.1:${replica.port}` };
      for (let round = 0; round < 3; round++) {
        const assertion = await makeAssertion(key, { clientId, aud: server.issuer });
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, index) => ask(assertion, index % 2 ? there : server)),
        );
        const outcomes = answers.map(outcome).sort();
        expect(outcomes).toEqual([200, ...Array.from({ length: 9 }, () => '401 invalid_client')].sort());
      }
    } finally {
      await close(replica.server);
      await app.stop();
    }
  });

  it('for somebody else is not ours because the request’s own line names them (RFC 9112 section 3.2.2)', async () => {
    const { port } = new URL(server.issuer);
    const assertion = await makeAssertion(key, { clientId, aud: 'https://evil.example/oauth/token' });
    const body = new URLSearchParams(form(assertion)).toString();
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(
          `POST https://evil.example/oauth/token HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n` +
            `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
      });
      socket.on('data', (data) => {
        text += data;
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 401/);
    expect(answer).toContain('invalid_client');
  });
});

describe('the algorithm', () => {
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'])
    it(`${alg} is taken`, async () => {
      const own = await makeKey(alg);
      expect(await use(own, await register({ jwks: { keys: [own.jwk] } }))).toBe(200);
    });

  it('is the one that the client has registered', async () => {
    const [one, two] = await Promise.all([makeKey('ES256'), makeKey('PS256')]);
    const id = await register({ jwks: { keys: [one.jwk, two.jwk] }, token_endpoint_auth_signing_alg: 'PS256' });
    expect([await use(one, id), await use(two, id)]).toEqual(['401 invalid_client', 200]);
  });

  it('is not none, nor one with the public key as the secret', async () => {
    const good = await makeAssertion(key, { clientId, aud: server.issuer });
    const [, payload] = good.split('.');
    for (const alg of ['none', 'HS256', 'ES384']) {
      const header = Buffer.from(JSON.stringify({ alg, kid: key.kid })).toString('base64url');
      expect(outcome(await ask(`${header}.${payload}.${alg === 'none' ? '' : 'AAAA'}`))).toMatch(/^40[01] /);
    }
  });
});

describe('keys from a jwks_uri', () => {
  const rotation = async () => {
    const [old, next] = [await makeKey(), await makeKey()];
    const published = await serveKeys(old);
    const id = await register({ jwks_uri: published.uri });
    return { old, next, published, id };
  };

  it('are fetched once for many, and again after a minute whatever their server says', async () => {
    const { old, published, id } = await rotation();
    published.headers['cache-control'] = 'max-age=31536000';
    expect(await Promise.all(Array.from({ length: 5 }, () => use(old, id)))).toEqual([200, 200, 200, 200, 200]);
    expect(published.fetches).toBe(1);
    later(61);
    expect(await use(old, id)).toBe(200);
    expect(published.fetches).toBe(2);
    await published.stop();
  });

  it('that are new are picked up within a minute, and those taken out are no good any more', async () => {
    const { old, next, published, id } = await rotation();
    published.headers['cache-control'] = 'max-age=86400';
    expect(await use(old, id)).toBe(200);
    published.keys = [next];
    later(61);
    expect(await use(old, id)).toBe('401 invalid_client');
    expect(await use(next, id)).toBe(200);
    await published.stop();
  });

  it('do while their server is away, and nobody makes us ask it all the time', async () => {
    const { old, next, published, id } = await rotation();
    expect(await use(old, id)).toBe(200);
    published.status = 500;
    later(61);
    expect(await use(old, id)).toBe(200);
    expect(await use(next, id)).toMatch(/^40[01] /);
    expect(await use(next, id)).toMatch(/^40[01] /);
    expect(published.fetches).toBe(2);
    await published.stop();
  });

  it('are never asked of our own network: nothing but https, and no private address', async () => {
    const strict = await startServer({ OUTBOUND_ALLOW: '' });
    try {
      const { client_id } = await strict.client({ ...metadata, jwks_uri: keys.uri });
      const before = keys.fetches;
      const assertion = await makeAssertion(key, { clientId: client_id, aud: strict.issuer });
      expect((await ask(assertion, strict)).status).toBeGreaterThanOrEqual(400);
      expect(keys.fetches).toBe(before);
    } finally {
      await strict.stop();
    }
  });

  for (const [name, change] of [
    ['an error', { status: 404 }],
    ['a redirect', { status: 302, headers: { location: 'https://elsewhere.example/' } }],
    ['no keys', { keys: [] }],
  ] as const)
    it(`that come as ${name} let nobody in, and nothing breaks`, async () => {
      const { old, published, id } = await rotation();
      Object.assign(published, change);
      expect(await use(old, id)).toMatch(/^40[01] invalid_client/);
      await published.stop();
    });
});

describe('whoever names clients whose keys are at a jwks_uri', () => {
  let limited: TestServer;
  beforeAll(async () => {
    limited = await startServer({ RATE_LIMIT_FACTOR: '0.1' });
  });
  afterAll(() => limited.stop());

  /** Clients that registered themselves, each with keys at an address of its own, all on one host. */
  const strangers = async (at: TestServer, count: number, { uri }: KeyServer): Promise<string[]> => {
    const ids = Array.from({ length: count }, () => randomUUID());
    await at.database.db('clients').insert(
      ids.map((id) => ({
        clientId: id,
        kind: 'dynamic',
        vouchedFor: false,
        redirectUris: ['https://app.example.com/callback'],
        tokenEndpointAuthMethod: 'private_key_jwt',
        jwksUri: `${uri}?${id}`,
        rank: 0,
      })),
    );
    return ids;
  };
  /** What makes us look for the keys: a request object that nobody signed. */
  const name = (id: string, at: TestServer) =>
    send(`${at.issuer}/oauth/authorize?client_id=${id}&request=a.b.c`, { redirect: 'manual' });

  it('does not make us fetch at each request by going round more clients than the engine remembers', async () => {
    const published = await serveKeys(key);
    const ids = await strangers(server, 110, published);
    // No minute passes, however long it takes.
    later(0);
    for (let round = 0; round < 2; round++) for (const id of ids) await name(id, server);
    expect(published.fetches).toBe(110);
    await published.stop();
  }, 180_000);

  it('makes us fetch as often as an address and a host have coming, and turns off no client of an administrator’s', async () => {
    const published = await serveKeys(key);
    const { client_id: ours } = await limited.client({ ...metadata, jwks_uri: `${published.uri}?ours` });
    for (const id of await strangers(limited, 8, published)) expect((await name(id, limited)).status).toBeLessThan(600);
    expect(published.fetches).toBe(3);
    const assertion = await makeAssertion(key, { clientId: ours, aud: limited.issuer });
    expect(outcome(await ask(assertion, limited))).toBe(200);
    expect(published.fetches).toBe(4);
    await published.stop();
  });

  it('does not make us fetch again what has just failed', async () => {
    const published = await serveKeys(key);
    published.status = 500;
    const [id = ''] = await strangers(server, 1, published);
    later(0);
    for (let attempt = 0; attempt < 4; attempt++) await name(id, server);
    expect(published.fetches).toBe(1);
    await published.stop();
  });
});

it('discovery says how assertions are signed, at each endpoint that takes them (RFC 8414 section 2)', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  for (const endpoint of ['token', 'introspection', 'revocation']) {
    expect(body[`${endpoint}_endpoint_auth_methods_supported`]).toContain('private_key_jwt');
    expect(body[`${endpoint}_endpoint_auth_signing_alg_values_supported`]).toEqual(
      expect.arrayContaining(['RS256', 'PS256', 'ES256', 'EdDSA']),
    );
  }
});
