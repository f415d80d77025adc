/** AUTH_OIDC_ISSUER: tokens of another provider at `/auth/me` and `/auth/validate`. The other provider is a second server. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertUser } from '../../src/users/users.queries.ts';
import { registerAccount } from '../support/browser.ts';
import { nobody, type TestCaller } from '../support/callers.ts';
import { startServer, type TestServer } from '../support/server.ts';

const password = 'correct horse battery staple';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('with another OpenID Provider as the issuer', () => {
  let other: TestServer;
  let server: TestServer;
  let anybody: TestCaller;
  let token: string;
  let sub: string;
  beforeAll(async () => {
    other = await startServer({ JWT_AUD: 'shared-api' });
    server = await startServer({
      AUTH_OIDC_ISSUER: other.issuer,
      AUTH_OIDC_AUDIENCE: 'something-else,shared-api',
      AUTH_OIDC_JWKS_URL: `${other.issuer}/.well-known/jwks.json`,
    });
    anybody = nobody(server);
    const email = await registerAccount(other);
    const { json } = await nobody(other).request('POST', '/auth/login', { email, password });
    token = json.accessToken;
    sub = json.user.id;
  });
  afterAll(() => Promise.all([server.stop(), other.stop()]));

  it('says whom the token speaks for', async () => {
    const expected = { id: sub, kind: 'external', issuer: other.issuer, permissions: [] };
    expect((await anybody.request('GET', '/auth/me', undefined, bearer(token))).json).toEqual(expected);
    expect((await anybody.request('POST', '/auth/validate', { token })).json).toEqual({
      valid: true,
      user: expected,
      error: null,
    });
  });

  it('lets such a token do nothing else, even when a local user has the same id', async () => {
    const user = { id: sub, email: 'same@example.com', name: 'Same', role: 'admin', passwordHash: null };
    await insertUser(server.database.db, { ...user, emailVerifiedAt: new Date() });
    for (const path of [`/users/${sub}`, '/sessions', '/auth/me/activity', '/admin/users']) {
      const { status } = await anybody.request('GET', path, undefined, bearer(token));
      expect([path, status]).toEqual([path, 401]);
    }
  });

  it('does not accept our tokens there, nor theirs at introspection', async () => {
    const email = await registerAccount(server);
    const { json } = await anybody.request('POST', '/auth/login', { email, password });
    expect((await nobody(other).request('POST', '/auth/validate', { token: json.accessToken })).json.valid).toBe(false);
  });
});

describe('with an issuer that misbehaves', () => {
  let jwks: Server;
  let server: TestServer;
  let anybody: TestCaller;
  let fetches = 0;
  let answer: { status: number; body: string };
  let keys: Record<'good' | 'bad', Awaited<ReturnType<typeof generateKeyPair>>['privateKey']>;
  const issuer = 'https://issuer.example.com/realms/one';
  beforeAll(async () => {
    const good = await generateKeyPair('ES256', { extractable: true });
    const bad = await generateKeyPair('ES256');
    keys = { good: good.privateKey, bad: bad.privateKey };
    answer = {
      status: 200,
      body: JSON.stringify({ keys: [{ ...(await exportJWK(good.publicKey)), kid: 'one', alg: 'ES256' }] }),
    };
    jwks = createServer((_request, response) => {
      fetches += 1;
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
    });
    await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', resolve));
    server = await startServer({
      AUTH_OIDC_ISSUER: issuer,
      AUTH_OIDC_AUDIENCE: 'api',
      AUTH_OIDC_JWKS_URL: `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/keys`,
    });
    anybody = nobody(server);
  });
  afterAll(async () => {
    await server.stop();
    jwks.close();
  });

  const sign = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, key = keys.good) =>
    new SignJWT({ iss: issuer, aud: 'api', sub: 'somebody', exp: Math.floor(Date.now() / 1000) + 60, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'one', ...header })
      .sign(key);
  const validate = async (token: string) => (await anybody.request('POST', '/auth/validate', { token })).json;

  it('accepts a good token and shows its claims', async () => {
    const { user } = await validate(await sign({ email: 'ada@example.com', email_verified: true, name: 'Ada' }));
    expect(user).toMatchObject({ id: 'somebody', email: 'ada@example.com', emailVerified: true, name: 'Ada' });
  });

  for (const [name, claims, key] of [
    ['another audience', { aud: 'other' }],
    ['no audience', { aud: undefined }],
    ['another issuer', { iss: 'https://issuer.example.com/realms/two' }],
    ['an issuer that only begins alike', { iss: `${issuer}/` }],
    ['an expiry that has passed', { exp: Math.floor(Date.now() / 1000) - 60 }],
    ['no expiry', { exp: undefined }],
    ['a beginning that is to come', { nbf: Math.floor(Date.now() / 1000) + 3600 }],
    ['no subject', { sub: undefined }],
    ['somebody else’s signature', {}, 'bad'],
  ] as const) {
    it(`refuses ${name}`, async () => {
      expect(await validate(await sign(claims, {}, keys[key ?? 'good']))).toMatchObject({ valid: false });
    });
  }

  it('refuses algorithms that it does not expect', async () => {
    const claims = { iss: issuer, aud: 'api', sub: 'somebody', exp: Math.floor(Date.now() / 1000) + 60 };
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    expect(await validate(`${encode({ alg: 'none' })}.${encode(claims)}.`)).toMatchObject({ valid: false });
    // The public key as an HMAC secret.
    const secret = new TextEncoder().encode(answer.body);
    const hmac = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(secret);
    expect(await validate(hmac)).toMatchObject({ valid: false });
  });

  it('asks for keys it does not know no more often than the floor allows', async () => {
    const before = fetches;
    for (let index = 0; index < 20; index++) {
      expect(await validate(await sign({}, { kid: `unknown-${index}` }))).toMatchObject({ valid: false });
    }
    expect(fetches - before).toBeLessThanOrEqual(1);
  });
});

describe('with an issuer that is away', () => {
  it('answers 503, and does not hammer it', async () => {
    let fetches = 0;
    const down = createServer((_request, response) => {
      fetches += 1;
      response.writeHead(500).end();
    });
    await new Promise<void>((resolve) => down.listen(0, '127.0.0.1', resolve));
    const issuer = 'https://issuer.example.com';
    const server = await startServer({
      AUTH_OIDC_ISSUER: issuer,
      AUTH_OIDC_AUDIENCE: 'api',
      AUTH_OIDC_JWKS_URL: `http://127.0.0.1:${(down.address() as AddressInfo).port}/keys`,
    });
    try {
      const { privateKey } = await generateKeyPair('ES256');
      const token = await new SignJWT({ iss: issuer, aud: 'api', sub: 'a', exp: Math.floor(Date.now() / 1000) + 60 })
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .sign(privateKey);
      for (let attempt = 0; attempt < 5; attempt++) {
        const { status, json, headers } = await nobody(server).request('POST', '/auth/validate', { token });
        expect([status, json.code, headers.get('retry-after')]).toEqual([503, 'issuer_unavailable', '30']);
      }
      expect(fetches).toBe(1);
      // Tokens of our own do not need the other.
      const email = await registerAccount(server);
      const { json } = await nobody(server).request('POST', '/auth/login', { email, password });
      expect((await nobody(server).request('GET', '/auth/me', undefined, bearer(json.accessToken))).status).toBe(200);
    } finally {
      await server.stop();
      down.close();
    }
  });
});
