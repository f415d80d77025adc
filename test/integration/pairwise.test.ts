/** Pairwise subject identifiers (OpenID Connect Core section 8.1): the same wherever a client sees them, and nowhere else. */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { type CryptoKey, decodeJwt, exportJWK } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { endSessions } from '../../src/sessions/sessions.commands.ts';
import { makeCertificate } from '../support/certificates.ts';
import { startLogoutReceiver } from '../support/logout-receiver.ts';
import {
  basic,
  bearer,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let person: Person;
let userId: string;
/** Serves sector identifier documents, by path. */
let documents: Server;
let origin: string;
let trusted: string[];
const asked: string[] = [];
const answers = new Map<string, { status?: number; body: string; type?: string }>();
beforeAll(async () => {
  server = await startServer();
  person = await newPerson(server);
  ({ id: userId } = await server.database.db('users').where({ email: person.email }).first('id'));
  const { cert, key } = makeCertificate({
    subject: [['CN', 'localhost']],
    alternatives: [['dns', 'localhost']],
    authority: true,
    purpose: 'server',
  });
  trusted = getCACertificates('default');
  setDefaultCACertificates([...trusted, cert]);
  documents = createServer({ cert, key }, (request, response) => {
    asked.push(request.url ?? '');
    const answer = answers.get(request.url ?? '');
    response.writeHead(answer?.status ?? (answer ? 200 : 404), { 'content-type': answer?.type ?? 'application/json' });
    response.end(answer?.body);
  });
  await new Promise<void>((resolve) => documents.listen(0, '127.0.0.1', resolve));
  origin = `https://localhost:${(documents.address() as AddressInfo).port}`;
});
afterAll(async () => {
  documents.close();
  setDefaultCACertificates(trusted);
  await server.stop();
});

const pairwise = (metadata: Record<string, unknown> = {}): Promise<RelyingParty> =>
  registerRelyingParty(server, { subject_type: 'pairwise', first_party: true, ...metadata });
const at = (host: string) => ({ redirect_uris: [`https://${host}/callback`] });

describe('the subject of a pairwise client', () => {
  it('is another one for each sector, the same for each client of one, and says nothing of the account', async () => {
    const [one, two, other] = [
      await pairwise(at('one.example.com')),
      await pairwise({ redirect_uris: ['https://one.example.com/other'] }),
      await pairwise(at('two.example.com')),
    ];
    const subs = [];
    for (const rp of [one, two, other]) subs.push((await rp.signIn(person)).claims()?.sub);
    expect(subs[0]).toBe(subs[1]);
    expect(subs[2]).not.toBe(subs[0]);
    for (const sub of subs) expect(sub).toMatch(/^[\w-]{43}$/);
    expect(subs).not.toContain(userId);
    const someone = await newPerson(server);
    expect((await one.signIn(someone)).claims()?.sub).not.toBe(subs[0]);
    // It stays the same when the person comes back, and for a public client it is the account's id.
    expect((await one.signIn(person)).claims()?.sub).toBe(subs[0]);
    expect((await (await registerRelyingParty(server, { first_party: true })).signIn(person)).claims()?.sub).toBe(
      userId,
    );
  });

  it('is the same in id_tokens, userinfo, introspection, access tokens and after a refresh', async () => {
    const rp = await pairwise();
    const opaque = await rp.signIn(person, { scope: 'openid email' });
    const sub = opaque.claims()?.sub as string;
    expect(sub).not.toBe(userId);
    // openid-client compares `sub` with that of the id_token.
    expect((await oidc.fetchUserInfo(rp.config, opaque.access_token, sub)).email).toBe(person.email);
    const jwt = await rp.signIn(person, { resource: `${server.issuer}/api`, scope: 'openid' });
    expect(decodeJwt(jwt.access_token).sub).toBe(sub);
    for (const token of [opaque.access_token, opaque.refresh_token, jwt.access_token, jwt.refresh_token])
      expect((await post(server, '/oauth/introspect', { token }, basic(rp.client))).body).toMatchObject({
        active: true,
        sub,
      });
    const refreshed = await rp.refresh(opaque.refresh_token);
    expect(refreshed.claims()?.sub).toBe(sub);
    const again = await rp.refresh(jwt.refresh_token);
    expect(decodeJwt(again.access_token).sub).toBe(sub);
    // Nothing that a client of another sector gets would tell the two apart from strangers.
    expect(JSON.stringify([decodeJwt(jwt.access_token), opaque.claims()])).not.toContain(userId);
  });

  it('is that of the token’s own client when another one introspects', async () => {
    const rp = await pairwise();
    const { access_token, id_token } = await rp.signIn(person);
    for (const other of [
      await pairwise(at('api.example.com')),
      await registerRelyingParty(server, { first_party: true }),
    ])
      expect((await post(server, '/oauth/introspect', { token: access_token }, basic(other.client))).body.sub).toBe(
        decodeJwt(id_token).sub,
      );
  });

  it('is in signed userinfo too', async () => {
    const rp = await pairwise({ userinfo_signed_response_alg: 'ES256' });
    const { access_token, id_token } = await rp.signIn(person);
    const { body } = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(access_token) });
    expect(decodeJwt(body).sub).toBe(decodeJwt(id_token).sub);
  });

  it('finds the account at our own API', async () => {
    const rp = await pairwise({ scope: 'openid users:read:own' });
    const { access_token } = await rp.signIn(person, {
      scope: 'openid users:read:own',
      resource: `${server.issuer}/api`,
    });
    const { status, body } = await send(`${server.issuer}/auth/me`, { headers: bearer(access_token) });
    expect([status, body.email, body.id]).toEqual([200, person.email, userId]);
  });

  it('is all that our own API tells a client that may not read the account', async () => {
    const rp = await pairwise({ scope: 'openid email' });
    const resource = `${server.issuer}/api`;
    const narrow = await rp.signIn(person, { scope: 'openid', resource });
    const opaque = await rp.signIn(person, { scope: 'openid email' });
    for (const { access_token, id_token } of [narrow, opaque]) {
      const { body: me } = await send(`${server.issuer}/auth/me`, { headers: bearer(access_token) });
      const { body } = await send(`${server.issuer}/auth/validate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token: access_token }),
      });
      const sub = decodeJwt(id_token).sub;
      expect([me.id, body.user.id]).toEqual([sub, sub]);
      expect(JSON.stringify([me, body])).not.toContain(userId);
    }
  });

  it('hints at the account, and asks for it by the claims parameter', async () => {
    const rp = await pairwise();
    const { id_token } = await rp.signIn(person);
    const sub = decodeJwt(id_token).sub as string;
    const value = (wanted: string) => JSON.stringify({ id_token: { sub: { value: wanted } } });
    for (const parameters of [{ id_token_hint: id_token }, { claims: value(sub) }]) {
      const { callback } = await rp.authorize(person, { prompt: 'none', ...parameters });
      expect(callback.searchParams.get('code')).toBeTruthy();
    }
    const stranger = await newPerson(server);
    const { id_token: others } = await rp.signIn(stranger);
    for (const parameters of [{ id_token_hint: others }, { claims: value(userId) }]) {
      const { callback } = await rp.authorize(person, { prompt: 'none', ...parameters });
      expect(callback.searchParams.get('error')).toBe('login_required');
    }
  });

  it('is that of logout tokens (OpenID Connect Back-Channel Logout section 2.4)', async () => {
    const receiver = await startLogoutReceiver();
    try {
      const rp = await pairwise({ backchannel_logout_uri: receiver.uri, backchannel_logout_session_required: true });
      const someone = await newPerson(server);
      const { id_token } = await rp.signIn(someone);
      const { db } = server.database;
      const { id } = await db('users').where({ email: someone.email }).first('id');
      await endSessions(db, { type: 'operator' }, { userId: id, reason: 'test' }, (db, logout) =>
        server.app.jobs.send(db, 'backchannel-logout', logout),
      );
      const [token = ''] = await receiver.received(1);
      expect(decodeJwt(token)).toMatchObject({ sub: decodeJwt(id_token).sub, sid: decodeJwt(id_token).sid });
    } finally {
      await receiver.stop();
    }
  });

  it('ends the session by its id_token at RP-initiated logout', async () => {
    const rp = await pairwise();
    const someone = await newPerson(server);
    const { id_token } = await rp.signIn(someone);
    const page = await someone.browser.go(`/oauth/logout?${new URLSearchParams({ id_token_hint: id_token })}`);
    expect(page.status).toBe(200);
    await someone.browser.submit(page, { logout: 'yes' });
    const { callback } = await rp.authorize(someone, { prompt: 'none' });
    expect(callback.searchParams.get('error')).toBe('login_required');
  });
});

describe('a sector identifier (OpenID Connect Registration section 5)', () => {
  const two = ['https://one.example.com/callback', 'https://two.example.com/callback'];
  const register = (metadata: Record<string, unknown>) => pairwise({ redirect_uris: two, ...metadata });

  it('is needed where the redirect URIs have several hosts', async () => {
    await expect(register({})).rejects.toMatchObject({ code: 'invalid_client_metadata' });
    await expect(
      server.client({ grant_types: ['client_credentials'], subject_type: 'pairwise' }),
    ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });

  it('joins hosts: the document is read at registration, and never again', async () => {
    answers.set('/sector', { body: JSON.stringify([...two, 'https://three.example.com/callback']) });
    const sector_identifier_uri = `${origin}/sector`;
    const [one, three] = [
      await register({ sector_identifier_uri }),
      await register({ sector_identifier_uri, ...at('three.example.com') }),
    ];
    expect(asked.filter((path) => path === '/sector')).toHaveLength(2);
    answers.set('/sector', { status: 500, body: 'broken' });
    const sub = (await one.signIn(person)).claims()?.sub;
    expect((await three.signIn(person)).claims()?.sub).toBe(sub);
    // A new instance of the engine builds its clients anew.
    const { db } = server.database;
    await rotateKeys(db, server.app.secrets, operator);
    await server.app.provider.reload();
    expect((await one.signIn(person)).claims()?.sub).toBe(sub);
    expect(asked.filter((path) => path === '/sector')).toHaveLength(2);
  });

  const documentsOf: Record<string, { status?: number; body: string }> = {
    'that is not there': { status: 404, body: '[]' },
    'that is no JSON': { body: '<html>' },
    'that is no list': { body: JSON.stringify({ uris: two }) },
    'that leaves out a redirect URI': { body: JSON.stringify(two.slice(1)) },
    'that holds something else': { body: JSON.stringify([...two, 1]) },
    'that is too large': { body: JSON.stringify([...two, 'x'.repeat(300_000)]) },
    'that leads elsewhere': { status: 302, body: '' },
  };
  for (const [name, answer] of Object.entries(documentsOf))
    it(`is refused with a document ${name}`, async () => {
      answers.set('/bad', answer);
      await expect(register({ sector_identifier_uri: `${origin}/bad` })).rejects.toMatchObject({
        code: 'invalid_client_metadata',
      });
    });

  it('lets a client of CIBA sign people in, whom its own id_token does not lead back to', async () => {
    const jwks_uri = `${origin}/jwks`;
    answers.set('/ciba', { body: JSON.stringify([...two, jwks_uri]) });
    const rp = await register({
      token_endpoint_auth_method: 'private_key_jwt',
      grant_types: ['authorization_code', 'refresh_token', 'urn:openid:params:grant-type:ciba'],
      backchannel_token_delivery_mode: 'poll',
      sector_identifier_uri: `${origin}/ciba`,
      jwks: undefined,
      jwks_uri,
    });
    const { d: _d, ...publicKey } = await exportJWK(rp.key as CryptoKey);
    answers.set('/jwks', { body: JSON.stringify({ keys: [{ ...publicKey, kid: 'k1', alg: 'ES256', use: 'sig' }] }) });
    const { id_token } = await rp.signIn(person);
    const start = (hint: Record<string, string>) =>
      oidc.initiateBackchannelAuthentication(rp.config, { scope: 'openid', ...hint });
    expect((await start({ login_hint: person.email })).auth_req_id).toEqual(expect.any(String));
    // The account cannot be told by it, and whoever asks is not told more (OpenID Connect CIBA section 13).
    await expect(start({ id_token_hint: id_token })).rejects.toMatchObject({ error: 'unknown_user_id', status: 400 });
  });

  it('is refused over plain http, and within our own network', async () => {
    for (const uri of [
      origin.replace('https:', 'http:'),
      'https://10.0.0.1/sector',
      'https://[::1]/sector',
      'file:///x',
    ])
      await expect(register({ sector_identifier_uri: uri })).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });
});
