/** DPoP (RFC 9449): tokens that are worth nothing without a key, at the provider's endpoints and at our own API. */
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { close, listen } from '../../src/http/server.ts';
import { createLog } from '../../src/log.ts';
import { password } from '../support/browser.ts';
import { makeProver, type ProofOptions, type Prover } from '../support/dpop.ts';
import {
  basic,
  bearer,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  type Reply,
  redirectUri,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { freePort, type RegisteredClient, startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let api: string;
let tokenUrl: string;
let machine: RegisteredClient;
let spa: RelyingParty;
let person: Person;
let prover: Prover;
let other: Prover;
beforeAll(async () => {
  server = await startServer();
  api = `${server.issuer}/api`;
  tokenUrl = `${server.issuer}/oauth/token`;
  machine = await server.client(machineMetadata);
  spa = await registerRelyingParty(server, spaMetadata);
  person = await newPerson(server);
  [prover, other] = await Promise.all([makeProver(), makeProver()]);
});
afterAll(() => server.stop());

const machineMetadata = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
const spaMetadata = {
  token_endpoint_auth_method: 'none',
  first_party: true,
  scope: 'openid email offline_access users:read:own sessions:read:own',
};
const scope = 'openid offline_access users:read:own sessions:read:own';

const machineToken = (headers: Record<string, string> = {}, client = machine, at = server): Promise<Reply> =>
  post(at, '/oauth/token', { grant_type: 'client_credentials' }, { ...basic(client), ...headers });

/** A token for the API that is bound to `prover`. */
const boundToken = async (by = prover): Promise<string> => {
  const reply = await machineToken({ dpop: await by.proof({ url: tokenUrl }) });
  expect([reply.status, reply.body.token_type]).toEqual([200, 'DPoP']);
  return reply.body.access_token;
};

/** One of a person: for the API, or for userinfo without a resource. */
const personTokens = async (party: RelyingParty, resource?: string) => {
  const DPoP = oidc.getDPoPHandle(party.config, await oidc.randomDPoPKeyPair());
  const wanted = { scope: resource ? scope : 'openid email', ...(resource ? { resource } : {}) };
  const { attempt, callback } = await party.authorize(person, wanted);
  const tokens = await oidc.authorizationCodeGrant(
    party.config,
    callback,
    {
      pkceCodeVerifier: attempt.verifier,
      expectedState: attempt.state as string,
      expectedNonce: attempt.nonce as string,
    },
    resource ? { resource } : {},
    { DPoP },
  );
  return { DPoP, tokens };
};

const asDpop = async (token: string, options: ProofOptions, by = prover) => ({
  authorization: `DPoP ${token}`,
  dpop: await by.proof({ token, method: 'GET', ...options }),
});

describe('a client that is not told of nonces beforehand', () => {
  it('gets tokens bound to its key, uses them, and refreshes with that key alone', async () => {
    const { DPoP, tokens } = await personTokens(spa, api);
    expect(tokens.token_type).toBe('dpop');
    const jkt = await DPoP.calculateThumbprint();
    expect(decodeJwt(tokens.access_token).cnf).toEqual({ jkt });

    const url = new URL(`${server.issuer}/auth/me`);
    const answer = await oidc.fetchProtectedResource(spa.config, tokens.access_token, url, 'GET', null, undefined, {
      DPoP,
    });
    expect(((await answer.json()) as { email: string }).email).toBe(person.email);

    const refreshed = await oidc.refreshTokenGrant(
      spa.config,
      tokens.refresh_token as string,
      { resource: api },
      { DPoP },
    );
    expect(decodeJwt(refreshed.access_token).cnf).toEqual({ jkt });
    for (const by of [undefined, other]) {
      const reply = await post(
        server,
        '/oauth/token',
        {
          grant_type: 'refresh_token',
          client_id: spa.client.client_id,
          refresh_token: refreshed.refresh_token as string,
        },
        by ? { dpop: await by.proof({ url: tokenUrl }) } : {},
      );
      expect([reply.status, reply.body.error]).toEqual([400, 'invalid_grant']);
    }
    // Nor did the attempts use it up.
    const again = await oidc.refreshTokenGrant(
      spa.config,
      refreshed.refresh_token as string,
      { resource: api },
      { DPoP },
    );
    expect(again.token_type).toBe('dpop');
  });

  it('repeats a refresh whose answer was lost, with the same key alone', async () => {
    const { DPoP, tokens } = await personTokens(spa, api);
    const refresh_token = tokens.refresh_token as string;
    await oidc.refreshTokenGrant(spa.config, refresh_token, {}, { DPoP });
    const form = { grant_type: 'refresh_token', client_id: spa.client.client_id, refresh_token };
    const stolen = await post(server, '/oauth/token', form, { dpop: await other.proof({ url: tokenUrl }) });
    expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant']);
    expect((await oidc.refreshTokenGrant(spa.config, refresh_token, {}, { DPoP })).token_type).toBe('dpop');
  });

  it('reads userinfo with an opaque token', async () => {
    const { DPoP, tokens } = await personTokens(spa);
    const claims = await oidc.fetchUserInfo(spa.config, tokens.access_token, oidc.skipSubjectCheck, { DPoP });
    expect(claims.email).toBe(person.email);
    const plain = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(tokens.access_token) });
    expect([plain.status, plain.body.error]).toEqual([401, 'invalid_token']);
  });
});

it('introspection and /auth/validate tell what a token is bound to (RFC 9449 section 6.2)', async () => {
  const token = await boundToken();
  const { body } = await post(server, '/oauth/introspect', { token }, basic(machine));
  expect(body).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt: prover.jkt } });
  const validated = await send(`${server.issuer}/auth/validate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  expect(validated.body).toMatchObject({ valid: true, tokenType: 'DPoP', cnf: { jkt: prover.jkt } });
  const { access_token: plain } = (await machineToken()).body;
  const unbound = await post(server, '/oauth/introspect', { token: plain }, basic(machine));
  expect(unbound.body).toMatchObject({ active: true, token_type: 'Bearer' });
  expect(unbound.body).not.toHaveProperty('cnf');
});

describe('a code is bound to a key (RFC 9449 section 10)', () => {
  const exchange = async (by: Prover | undefined, parameters: Record<string, string>) => {
    const { attempt, callback } = await spa.authorize(person, parameters);
    return post(
      server,
      '/oauth/token',
      {
        grant_type: 'authorization_code',
        client_id: spa.client.client_id,
        code: callback.searchParams.get('code') as string,
        redirect_uri: redirectUri,
        code_verifier: attempt.verifier,
      },
      by ? { dpop: await by.proof({ url: tokenUrl }) } : {},
    );
  };

  it('by dpop_jkt', async () => {
    expect((await exchange(prover, { dpop_jkt: prover.jkt })).body.token_type).toBe('DPoP');
    for (const by of [other, undefined]) {
      const { status, body } = await exchange(by, { dpop_jkt: prover.jkt });
      expect([status, body.error]).toEqual([400, 'invalid_grant']);
    }
  });

  it('by the proof of a pushed request', async () => {
    const push = async (by: Prover) => {
      const attempt = await spa.begin();
      const parUrl = `${server.issuer}/oauth/par`;
      const { body } = await post(
        server,
        '/oauth/par',
        { ...Object.fromEntries(attempt.url.searchParams), client_id: spa.client.client_id },
        { dpop: await by.proof({ url: parUrl }) },
      );
      return { attempt, request_uri: body.request_uri as string };
    };
    for (const [by, expected] of [
      [prover, [200, undefined]],
      [other, [400, 'invalid_grant']],
    ] as const) {
      const { attempt, request_uri } = await push(prover);
      const page = await person.browser.request(
        `/oauth/authorize?${new URLSearchParams({ client_id: spa.client.client_id, request_uri })}`,
      );
      const code = new URL(page.headers.get('location') as string).searchParams.get('code') as string;
      const { status, body } = await post(
        server,
        '/oauth/token',
        {
          grant_type: 'authorization_code',
          client_id: spa.client.client_id,
          code,
          redirect_uri: redirectUri,
          code_verifier: attempt.verifier,
        },
        { dpop: await by.proof({ url: tokenUrl }) },
      );
      expect([status, body.error]).toEqual(expected);
    }
  });
});

describe('a client with dpop_bound_access_tokens gets no other tokens (RFC 9449 section 5.2)', () => {
  const grants: [grant: string, fields: () => Record<string, string>][] = [
    ['client_credentials', () => ({})],
    ['password', () => ({ username: person.email, password })],
  ];
  for (const [grant_type, fields] of grants) {
    it(`by ${grant_type}`, async () => {
      const client = await server.client({
        ...machineMetadata,
        grant_types: [grant_type],
        dpop_bound_access_tokens: true,
      });
      const ask = async (headers: Record<string, string>) =>
        post(server, '/oauth/token', { grant_type, ...fields() }, { ...basic(client), ...headers });
      const { status, body } = await ask({});
      expect([status, body.error]).toEqual([400, 'invalid_grant']);
      expect((await ask({ dpop: await prover.proof({ url: tokenUrl }) })).body.token_type).toBe('DPoP');
    });
  }

  it('and the password grant binds what it gives, the refresh token of a public client too', async () => {
    const party = await registerRelyingParty(server, {
      ...spaMetadata,
      redirect_uris: [],
      response_types: [],
      grant_types: ['password', 'refresh_token'],
    });
    const { body } = await post(
      server,
      '/oauth/token',
      {
        grant_type: 'password',
        client_id: party.client.client_id,
        username: person.email,
        password,
      },
      { dpop: await prover.proof({ url: tokenUrl }) },
    );
    expect([body.token_type, decodeJwt(body.access_token).cnf]).toEqual(['DPoP', { jkt: prover.jkt }]);
    const refresh = async (by: Prover) =>
      (
        await post(
          server,
          '/oauth/token',
          { grant_type: 'refresh_token', client_id: party.client.client_id, refresh_token: body.refresh_token },
          { dpop: await by.proof({ url: tokenUrl }) },
        )
      ).status;
    expect([await refresh(other), await refresh(prover)]).toEqual([400, 200]);
  });
});

/** What is wrong with a proof; each is refused wherever proofs are looked at. */
const wrong: [name: string, options: Partial<ProofOptions>, alg?: string][] = [
  ['another method', { claims: { htm: 'PUT' } }],
  ['another address', { claims: { htu: 'https://elsewhere.example/oauth/token' } }],
  ['no address', { claims: { htu: undefined } }],
  ['another type', { header: { typ: 'JWT' } }],
  ['no jti', { claims: { jti: undefined } }],
  ['a jti that is no text', { claims: { jti: 7 } }],
  ['no iat', { claims: { iat: undefined } }],
  ['an iat that is no number', { claims: { iat: 'now' } }],
  ['no key', { header: { jwk: undefined } }],
  ['a symmetric key', { header: { jwk: { kty: 'oct', k: 'c2VjcmV0' } } }],
  ['a nonce that is no text', { claims: { nonce: 7 } }],
  ['an algorithm that is not taken', {}, 'ES384'],
];
const stale: [name: string, seconds: number][] = [
  ['too old', -310],
  ['too far ahead', 310],
];

describe('the token endpoint refuses a proof with', () => {
  for (const [name, options, alg] of wrong) {
    it(name, async () => {
      const by = alg ? await makeProver(alg) : prover;
      const { status, body } = await machineToken({ dpop: await by.proof({ url: tokenUrl, ...options }) });
      expect([status, body.error]).toEqual([400, 'invalid_dpop_proof']);
    });
  }
  for (const [name, seconds] of stale) {
    it(`an iat that is ${name}, and offers a nonce instead`, async () => {
      const iat = Math.floor(Date.now() / 1000) + seconds;
      const reply = await machineToken({ dpop: await prover.proof({ url: tokenUrl, claims: { iat } }) });
      expect([reply.status, reply.body.error]).toEqual([400, 'use_dpop_nonce']);
      const nonce = reply.headers.get('dpop-nonce') as string;
      const again = await machineToken({ dpop: await prover.proof({ url: tokenUrl, nonce, claims: { iat } }) });
      expect(again.status).toBe(200);
    });
  }
  it('a nonce of its own making', async () => {
    const reply = await machineToken({ dpop: await prover.proof({ url: tokenUrl, nonce: 'mine' }) });
    expect([reply.status, reply.body.error]).toEqual([400, 'use_dpop_nonce']);
  });
  for (const [name, header] of [
    ['a text that is none', 'proof'],
    ['two of them', 'twice'],
  ]) {
    it(name as string, async () => {
      const one = await prover.proof({ url: tokenUrl });
      const { status, body } = await machineToken({ dpop: header === 'twice' ? `${one}, ${one}` : 'proof' });
      expect([status, body.error]).toEqual([400, 'invalid_dpop_proof']);
    });
  }
  it('nothing, where one is not needed: query and fragment do not count (RFC 9449 section 4.3)', async () => {
    const { status } = await machineToken({ dpop: await prover.proof({ url: `${tokenUrl}?a=b#c` }) });
    expect(status).toBe(200);
  });
});

describe('our API, as a resource server (RFC 9449 section 7)', () => {
  let token: string;
  let url: string;
  beforeAll(async () => {
    token = await boundToken();
    url = `${server.issuer}/auth/me`;
  });
  const ask = (headers: Record<string, string>, at = url) => send(at, { headers });
  const refused = ({ status, headers, body }: Reply) => [status, body.code, headers.get('www-authenticate')];
  const challenge = (code: string) => expect.stringMatching(new RegExp(`^DPoP error="${code}", algs="[^"]*ES256`));

  it('takes a bound token with its proof, under any of its addresses', async () => {
    for (const at of [url, `${server.issuer}/api/v1/auth/me`, `${url}?a=b`]) {
      const { status, headers, body } = await ask(await asDpop(token, { url: at }), at);
      expect([status, body.id]).toEqual([200, machine.client_id]);
      expect(headers.get('dpop-nonce')).toMatch(/^[\w-]{43}$/);
    }
    expect((await ask({ ...(await asDpop(token, { url })), authorization: `dpop ${token}` })).status).toBe(200);
  });

  it('but not sent plainly (section 7.2)', async () => {
    expect(refused(await ask(bearer(token)))).toEqual([
      401,
      'invalid_token',
      expect.stringMatching(/^Bearer error="invalid_token", DPoP algs="/),
    ]);
  });

  it('nor a plain one as DPoP', async () => {
    const { access_token } = (await machineToken()).body;
    expect(refused(await ask(await asDpop(access_token, { url })))).toEqual([
      401,
      'invalid_token',
      challenge('invalid_token'),
    ]);
  });

  it('nor by somebody with another key', async () => {
    expect(refused(await ask(await asDpop(token, { url }, other)))).toEqual([
      401,
      'invalid_token',
      challenge('invalid_token'),
    ]);
  });

  it('nor without a proof', async () => {
    const reply = await ask({ authorization: `DPoP ${token}` });
    expect(refused(reply)).toEqual([401, 'invalid_dpop_proof', challenge('invalid_dpop_proof')]);
  });

  it('nor a token that is none', async () => {
    const reply = await ask(await asDpop('none', { url }));
    expect(refused(reply)).toEqual([401, 'invalid_token', expect.stringMatching(/^DPoP error="invalid_token"/)]);
  });

  for (const [name, options, alg] of [
    ...wrong,
    ['no ath', { claims: { ath: undefined } }],
    ['the ath of another token', { claims: { ath: 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo' } }],
  ] as typeof wrong) {
    it(`nor with a proof with ${name}`, async () => {
      const by = alg ? await makeProver(alg) : prover;
      const reply = await ask(await asDpop(token, { url, ...options }, by));
      const code = name === 'a nonce that is no text' ? 'use_dpop_nonce' : 'invalid_dpop_proof';
      expect(refused(reply)).toEqual([401, code, challenge(code)]);
    });
  }
  for (const [name, seconds] of stale) {
    it(`nor with one that is ${name}`, async () => {
      const iat = Math.floor(Date.now() / 1000) + seconds;
      const reply = await ask(await asDpop(token, { url, claims: { iat } }));
      expect(refused(reply)).toEqual([401, 'invalid_dpop_proof', challenge('invalid_dpop_proof')]);
    });
  }

  it('nor with a nonce that is not ours', async () => {
    const reply = await ask(await asDpop(token, { url, nonce: 'mine' }));
    expect(refused(reply)).toEqual([401, 'use_dpop_nonce', challenge('use_dpop_nonce')]);
    const nonce = reply.headers.get('dpop-nonce') as string;
    expect((await ask(await asDpop(token, { url, nonce }))).status).toBe(200);
  });

  it('and tells scripts the nonce (RFC 9449 section 8)', async () => {
    const cors = await startServer({ AUTH_API_CORS_ORIGINS: 'https://app.example.com' });
    const { headers } = await send(`${cors.issuer}/auth/me`, { headers: { origin: 'https://app.example.com' } });
    expect(headers.get('access-control-expose-headers')).toContain('DPoP-Nonce');
    await cors.stop();
  });
});

describe('a second replica', () => {
  let replica: Awaited<ReturnType<typeof listen>>;
  let app: Awaited<ReturnType<typeof createApp>>;
  let there: { issuer: string };
  beforeAll(async () => {
    app = await createApp({ config: server.app.config, database: server.database, log: createLog('silent') });
    replica = await listen(app.koa.callback(), await freePort(), '127.0.0.1');
    there = { issuer: `http://127.0.0.1:${replica.port}` };
  });
  afterAll(async () => {
    await close(replica.server);
    await app.stop();
  });

  it('knows the proofs that the first has seen, of those that come at once as well', async () => {
    for (const at of ['/oauth/token', '/auth/me']) {
      const token = await boundToken();
      const url = `${server.issuer}${at}`;
      const headers = at === '/auth/me' ? await asDpop(token, { url }) : { dpop: await prover.proof({ url }) };
      const use = (where: { issuer: string }) =>
        at === '/auth/me'
          ? send(`${where.issuer}${at}`, { headers })
          : machineToken(headers as Record<string, string>, machine, where as TestServer);
      const answers = await Promise.all(Array.from({ length: 10 }, (_, index) => use(index % 2 ? there : server)));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      const refusal = at === '/auth/me' ? [401, 'invalid_dpop_proof'] : [400, 'invalid_grant'];
      for (const { status, body } of answers.filter((answer) => answer.status !== 200))
        expect([status, body.code ?? body.error]).toEqual(refusal);
      expect((await use(there)).status).toBe(refusal[0]);
    }
  });

  it('knows its nonces', async () => {
    const first = await machineToken({ dpop: await prover.proof({ url: tokenUrl }) });
    const nonce = first.headers.get('dpop-nonce') as string;
    const second = await machineToken(
      { dpop: await prover.proof({ url: tokenUrl, nonce }) },
      machine,
      there as TestServer,
    );
    expect(second.status).toBe(200);
  });
});

it('a proof that is dated ahead is remembered until it is too old', async () => {
  const iat = Math.floor(Date.now() / 1000) + 250;
  await machineToken({ dpop: await prover.proof({ url: tokenUrl, claims: { iat, jti: 'ahead' } }) });
  const rows = await server.database
    .db('oidcPayloads')
    .where({ model: 'ReplayDetection' })
    .orderBy('expiresAt', 'desc');
  expect((rows[0].expiresAt as Date).getTime() / 1000).toBeGreaterThan(iat + 300);
});

it('with DPOP_NONCE=required every proof needs a nonce, and clients manage', async () => {
  const strict = await startServer({ DPOP_NONCE: 'required' });
  try {
    const client = await strict.client(machineMetadata);
    const url = `${strict.issuer}/oauth/token`;
    const first = await machineToken({ dpop: await prover.proof({ url }) }, client, strict);
    expect([first.status, first.body.error]).toEqual([400, 'use_dpop_nonce']);
    const nonce = first.headers.get('dpop-nonce') as string;
    const { body } = await machineToken({ dpop: await prover.proof({ url, nonce }) }, client, strict);
    expect(body.token_type).toBe('DPoP');

    const me = `${strict.issuer}/auth/me`;
    const asked = await send(me, { headers: await asDpop(body.access_token, { url: me }) });
    expect([asked.status, asked.body.code]).toEqual([401, 'use_dpop_nonce']);

    // A public client in a browser, with a library that retries by itself.
    const party = await registerRelyingParty(strict, spaMetadata);
    const somebody = await newPerson(strict);
    const DPoP = oidc.getDPoPHandle(party.config, await oidc.randomDPoPKeyPair());
    const { attempt, callback } = await party.authorize(somebody, { scope, resource: `${strict.issuer}/api` });
    const tokens = await oidc.authorizationCodeGrant(
      party.config,
      callback,
      {
        pkceCodeVerifier: attempt.verifier,
        expectedState: attempt.state as string,
        expectedNonce: attempt.nonce as string,
      },
      {},
      { DPoP },
    );
    const answer = await oidc.fetchProtectedResource(
      party.config,
      tokens.access_token,
      new URL(me),
      'GET',
      null,
      undefined,
      { DPoP },
    );
    expect(answer.status).toBe(200);
  } finally {
    await strict.stop();
  }
});

it('discovery says what proofs may be signed with, and nothing of mutual TLS', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body.dpop_signing_alg_values_supported).toEqual(expect.arrayContaining(['ES256', 'PS256', 'EdDSA']));
  expect(body).not.toHaveProperty('tls_client_certificate_bound_access_tokens');
  expect(body).not.toHaveProperty('mtls_endpoint_aliases');
  for (const endpoint of ['token', 'introspection', 'revocation'])
    expect(body[`${endpoint}_endpoint_auth_methods_supported`]).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/tls|attest/)]),
    );
});
