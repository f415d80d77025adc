/** Introspection (RFC 7662) tells the truth about opaque tokens and about JWTs, which are stored nowhere. */
import { createHmac } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, generateKeyPair, importJWK, type JWTHeaderParameters, SignJWT } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadKeySet } from '../../src/keys/key-set.ts';
import {
  basic,
  elsewhere,
  expectError,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
  tampered,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let rp: RelyingParty;
let api: RelyingParty;
let person: Person;
beforeAll(async () => {
  server = await startServer();
  const scope = 'openid profile offline_access api:read api:write';
  const grant_types = ['authorization_code', 'refresh_token', 'client_credentials'];
  rp = await registerRelyingParty(server, { scope, grant_types, first_party: true });
  api = await registerRelyingParty(server, {
    grant_types: ['client_credentials'],
    redirect_uris: [],
    client_name: 'The API',
    // Whom a token is for may ask about it; this one may about all.
    scope: 'tokens:introspect:any',
  });
  person = await newPerson(server);
  await rp.signIn(person);
});
afterAll(() => server.stop());

/** As the API asks: another client than the one that the token was given to. */
const introspect = async (token: string, hint?: string): Promise<Record<string, unknown>> => {
  const form = { token, ...(hint ? { token_type_hint: hint } : {}) };
  const ask = (form: Record<string, string>) => post(server, '/oauth/introspect', form, basic(api.client));
  const { status, body, headers } = await ask(form);
  expect([status, headers.get('cache-control')]).toEqual([200, 'no-store']);
  // With a parameter that nobody knows it is the engine that answers, and not `plain-introspection.ts`; only the former speaks of CORS.
  const other = await ask({ ...form, unknown: 'x' });
  expect([other.status, other.body]).toEqual([status, body]);
  expect(other.headers.has('access-control-allow-origin')).toBe(true);
  for (const name of ['content-type', 'vary', 'cache-control', 'x-frame-options'])
    expect(headers.get(name)).toBe(other.headers.get(name));
  return body;
};

/** A JWT for the API. */
const jwt = (who = person, more: Record<string, string> = {}) =>
  rp.signIn(who, { scope: 'openid api:read', resource: `${server.issuer}/api`, ...more });

describe('an active token', () => {
  it('that is a JWT: what it is, for whom, and its scope', async () => {
    const tokens = await jwt();
    const { access_token } = tokens;
    expect(await introspect(access_token)).toEqual({
      active: true,
      iss: server.issuer,
      sub: tokens.claims()?.sub,
      client_id: rp.client.client_id,
      aud: 'countersign-api',
      roles: ['user'],
      acr: 'urn:countersign:acr:single-factor',
      amr: ['pwd'],
      auth_time: expect.any(Number),
      scope: 'api:read',
      token_type: 'Bearer',
      jti: decodeJwt(access_token).jti,
      iat: decodeJwt(access_token).iat,
      exp: decodeJwt(access_token).exp,
    });
  });

  it('that is a JWT of the client itself', async () => {
    const { access_token } = await oidc.clientCredentialsGrant(rp.config, { scope: 'api:write' });
    const answer = await introspect(access_token);
    expect(answer).toMatchObject({ active: true, client_id: rp.client.client_id, scope: 'api:write' });
    expect([undefined, rp.client.client_id]).toContain(answer.sub);
  });

  it('that is opaque, or a refresh token, whatever the hint says', async () => {
    const tokens = await rp.signIn(person, { scope: 'openid profile' });
    const { access_token, refresh_token } = tokens;
    for (const hint of [undefined, 'access_token', 'refresh_token', 'nonsense']) {
      expect(await introspect(access_token, hint)).toMatchObject({ active: true, sub: tokens.claims()?.sub });
      expect(await introspect(refresh_token, hint)).toMatchObject({ active: true, scope: 'openid profile' });
      expect((await introspect((await jwt()).access_token, hint)).active).toBe(true);
    }
  });

  it('is also seen through openid-client', async () => {
    const { access_token } = await jwt();
    expect((await oidc.tokenIntrospection(api.config, access_token)).active).toBe(true);
  });
});

describe('a token is not active', () => {
  const inactive = { active: false };

  it('once its session has ended; with offline_access it lives on', async () => {
    const someone = elsewhere(person);
    const [bound, opaque] = [await jwt(someone), await rp.signIn(someone)];
    const offline = await jwt(someone, { scope: 'openid offline_access api:read', prompt: 'consent' });
    expect((await introspect(bound.access_token)).active).toBe(true);
    await someone.browser.submit(await someone.browser.go('/oauth/logout'), { logout: 'yes' });
    for (const token of [bound.access_token, bound.refresh_token, opaque.access_token])
      expect(await introspect(token)).toEqual(inactive);
    expect((await introspect(offline.access_token)).active).toBe(true);
  });

  it('once the person has ended the session from another device, with offline_access too', async () => {
    const someone = elsewhere(person);
    const bound = await jwt(someone);
    const offline = await jwt(someone, { scope: 'openid offline_access api:read', prompt: 'consent' });
    await person.browser.go('/account/sessions/end-others', {
      method: 'POST',
      headers: { origin: server.issuer },
      body: new URLSearchParams(),
    });
    for (const token of [bound.access_token, offline.access_token, offline.refresh_token])
      expect(await introspect(token)).toEqual(inactive);
    expect((await introspect((await jwt()).access_token)).active).toBe(true);
  });

  it('once its grant is gone', async () => {
    const { access_token } = await jwt();
    const { db } = server.database;
    await db('grants')
      .delete()
      .where({ id: decodeJwt(access_token).grant_id });
    expect(await introspect(access_token)).toEqual(inactive);
  });

  it('while the user is not active', async () => {
    const someone = await newPerson(server);
    const [token, opaque] = [await jwt(someone), await rp.signIn(someone)];
    const { db } = server.database;
    await db('users').where({ email: someone.email }).update({ status: 'deactivated' });
    for (const value of [token.access_token, token.refresh_token, opaque.access_token])
      expect(await introspect(value)).toEqual(inactive);
    await db('users').where({ email: someone.email }).update({ status: 'active' });
    expect((await introspect(token.access_token)).active).toBe(true);
  });

  it('when it is no access or refresh token', async () => {
    const { id_token } = await rp.signIn(person);
    const { callback } = await rp.authorize(person);
    for (const token of [
      id_token,
      callback.searchParams.get('code') as string,
      'x',
      'e30',
      'e30.e30.',
      'e30.a.b.c.d',
      'jwt~',
      'jwt~e30',
      'a.b.c',
    ])
      expect(await introspect(token)).toEqual(inactive);
  });
});

describe('a JWT that somebody made or changed is not active', () => {
  /** Signs with the service's own key, or with another. */
  const forge = async (token: string, header: Partial<JWTHeaderParameters>, claims: object, own = true) => {
    const { jwks } = await loadKeySet(server.app.config, server.database.db, server.app.secrets);
    const alg = header.alg ?? 'RS256';
    const key = own
      ? await importJWK(jwks.keys.find((key) => key.alg === alg) ?? {}, alg)
      : (await generateKeyPair(alg)).privateKey;
    return new SignJWT({ ...decodeJwt(token), ...claims })
      .setProtectedHeader({ ...(decodeProtectedHeader(token) as JWTHeaderParameters), ...header })
      .sign(key);
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = () => Math.floor(Date.now() / 1000);

  it('(unless it is changed into itself: the forge works)', async () => {
    const { access_token } = await jwt();
    expect((await introspect(await forge(access_token, {}, {}))).active).toBe(true);
  });

  const forgeries: [name: string, make: (token: string) => Promise<string> | string][] = [
    ['its signature has another character', (token) => tampered(token, 40)],
    ['it has no signature', (token) => `${token.split('.').slice(0, 2).join('.')}.`],
    [
      'its payload was changed',
      (token) => {
        const [header, , signature] = token.split('.');
        return `${header}.${part({ ...decodeJwt(token), scope: 'api:read api:write' })}.${signature}`;
      },
    ],
    ['alg is none', (token) => `${part({ ...decodeProtectedHeader(token), alg: 'none' })}.${token.split('.')[1]}.`],
    [
      'alg is HS256 with the public key as secret',
      async (token) => {
        const { body } = await send(`${server.issuer}/.well-known/jwks.json`);
        const { kid } = decodeProtectedHeader(token);
        const publicKey = JSON.stringify(body.keys.find((key: { kid: string }) => key.kid === kid));
        const input = `${part({ alg: 'HS256', typ: 'at+jwt', kid })}.${token.split('.')[1]}`;
        return `${input}.${createHmac('sha256', publicKey).update(input).digest('base64url')}`;
      },
    ],
    ['another key signed it under the same kid', (token) => forge(token, {}, {}, false)],
    ['its kid is unknown', (token) => forge(token, { kid: 'unknown' }, {})],
    ['its kid is of a key of another algorithm', async (token) => forge(token, { alg: 'ES256' }, {})],
    [
      'its alg is another of the same key',
      (token) => `${part({ ...decodeProtectedHeader(token), alg: 'PS256' })}.${token.split('.').slice(1).join('.')}`,
    ],
    [
      'it brings its own key',
      async (token) => {
        const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
        const jwk = await crypto.subtle.exportKey('jwk', publicKey);
        return new SignJWT({ ...decodeJwt(token) })
          .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', jwk } as JWTHeaderParameters)
          .sign(privateKey);
      },
    ],
    [
      'it has a critical header that nobody knows',
      (token) =>
        `${part({ ...decodeProtectedHeader(token), crit: ['x'], x: 1 })}.${token.split('.').slice(1).join('.')}`,
    ],
    ['typ says it is an id_token', (token) => forge(token, { typ: 'JWT' }, {})],
    ['typ says it is a logout token', (token) => forge(token, { typ: 'logout+jwt' }, {})],
    ['typ is missing', (token) => forge(token, { typ: undefined as never }, {})],
    ['it has expired', (token) => forge(token, {}, { iat: now() - 1000, exp: now() - 100 })],
    ['it never expires', (token) => forge(token, {}, { exp: undefined })],
    ['it is not valid yet', (token) => forge(token, {}, { nbf: now() + 1000 })],
    ['another issuer made it', (token) => forge(token, {}, { iss: 'https://other.example' })],
    ['it has no issuer', (token) => forge(token, {}, { iss: undefined })],
    ['its grant is unknown', (token) => forge(token, {}, { grant_id: 'nothing' })],
    ['its grant is another client’s', (token) => forge(token, {}, { client_id: api.client.client_id })],
    ['its session is unknown', (token) => forge(token, {}, { sid: 'nothing' })],
  ];
  for (const [name, make] of forgeries) {
    it(name, async () => {
      const { access_token } = await jwt();
      expect(await introspect(await make(access_token))).toEqual({ active: false });
      expect((await introspect(access_token)).active).toBe(true);
    });
  }
});

describe('introspection refuses, in JSON', () => {
  const html = { accept: 'text/html' };
  const ask = (form: Record<string, string> | [string, string][] | string, headers: Record<string, string>) =>
    post(server, '/oauth/introspect', form, { ...html, ...headers });

  it('whoever does not authenticate', async () => {
    const { access_token } = await jwt();
    expectError(await ask({ token: access_token }, {}), [400, 'invalid_request']);
    expectError(await ask({ token: access_token, client_id: api.client.client_id }, {}), [401, 'invalid_client']);
    const wrong = basic({ ...api.client, client_secret: 'x' });
    expectError(await ask({ token: access_token }, wrong), [401, 'invalid_client']);
    expectError(await ask({ token: access_token }, { authorization: `Bearer ${access_token}` }), [
      400,
      'invalid_request',
    ]);
  });

  it('to tell a public client about anybody else’s token', async () => {
    const spa = await registerRelyingParty(server, { token_endpoint_auth_method: 'none', first_party: true });
    const { access_token } = await jwt();
    const client_id = spa.client.client_id;
    expect((await ask({ token: access_token, client_id }, {})).body).toEqual({ active: false });
    const own = await spa.signIn(person);
    expect((await ask({ token: own.access_token, client_id }, {})).body.active).toBe(true);
  });

  it('no token, two tokens, too much, NUL, another type, GET', async () => {
    const headers = basic(api.client);
    expectError(await ask({}, headers), [400, 'invalid_request']);
    expectError(
      await ask(
        [
          ['token', 'x'],
          ['token', 'y'],
        ],
        headers,
      ),
      [400, 'invalid_request'],
    );
    expectError(
      await ask(
        [
          ['token', 'a.b.c'],
          ['token', 'a.b.c'],
        ],
        headers,
      ),
      [400, 'invalid_request'],
    );
    expectError(await ask({ token: 'x'.repeat(60_000) }, headers), [413, 'invalid_request']);
    expectError(await ask('token=%00', headers), [400, 'invalid_request']);
    expectError(await ask('{}', { ...headers, 'content-type': 'application/json' }), [400, 'invalid_request']);
    const { status, body } = await send(`${server.issuer}/oauth/introspect?token=x`, {
      headers: { ...html, ...headers },
    });
    expect([status, body.error]).toEqual([405, 'invalid_request']);
  });
});
