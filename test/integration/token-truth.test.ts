/** Introspection, userinfo, `/auth/validate`, `/auth/me` and the REST API agree about every token, JWT or opaque. */
import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operator } from '../../src/audit/logs.commands.ts';
import { rotateKeys } from '../../src/keys/keys.commands.ts';
import { registerAccount } from '../support/browser.ts';
import { nobody, type TestCaller } from '../support/callers.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type Application, openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
let server: TestServer;
let anybody: TestCaller;
let application: Application;
/** May introspect every token. */
let auditor: Application;
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
  auditor = await openApplication(
    server,
    { redirect_uris: [], grant_types: ['client_credentials'], scope: 'tokens:introspect:any' },
    { email: 'unused@example.com' },
  );
});
afterAll(() => server.stop());

/** What each surface says of the token: whether it is alive. */
const verdicts = async (token: string): Promise<Record<string, boolean>> => {
  const bearer = { authorization: `Bearer ${token}` };
  const [introspection, validate, bearerValidate, me] = await Promise.all([
    auditor.post('/oauth/introspect', { token }),
    anybody.request('POST', '/auth/validate', { token }),
    anybody.request('GET', '/auth/validate', undefined, bearer),
    anybody.request('GET', '/auth/me', undefined, bearer),
  ]);
  return {
    introspection: introspection.body.active === true,
    'POST /auth/validate': validate.json.valid,
    'GET /auth/validate': bearerValidate.status === 200,
    'GET /auth/me': me.status === 200,
  };
};
const all = (alive: boolean) => ({
  introspection: alive,
  'POST /auth/validate': alive,
  'GET /auth/validate': alive,
  'GET /auth/me': alive,
});

interface Held {
  token: string;
  userId: string;
  refreshToken: string;
}

/** The kinds of token that speak for a person, each freshly given. */
const kinds: Record<string, () => Promise<Held>> = {
  'a JWT of the REST API': async () => {
    const email = await registerAccount(server);
    const { json } = await anybody.request('POST', '/auth/login', { email, password });
    return { token: json.accessToken, userId: json.user.id, refreshToken: json.refreshToken };
  },
  'a JWT of an application': () => applicationToken({ scope: 'openid orders', resource: `${server.issuer}/api` }),
  'an opaque token of an application': () => applicationToken({ scope: 'openid email' }),
  'a JWT of the password grant': async () => {
    const email = await registerAccount(server);
    const { body } = await application.post('/oauth/token', { grant_type: 'password', username: email, password });
    const { id: userId } = await server.database.db('users').where({ email }).first('id');
    return { token: body.access_token as string, userId, refreshToken: body.refresh_token as string };
  },
};
const applicationToken = async (parameters: Record<string, string>): Promise<Held> => {
  const email = await registerAccount(server);
  const other = await openApplication(server, { scope: 'openid email orders' }, { email });
  const { access_token, refresh_token } = await other.tokens(parameters);
  const { id: userId } = await server.database.db('users').where({ email }).first('id');
  return { token: access_token, userId, refreshToken: refresh_token };
};

/** The ways in which a token dies before it expires. */
const deaths: Record<string, (held: Held) => Promise<unknown>> = {
  'its session is ended': ({ userId }) => server.database.db('sessions').where({ userId }).delete(),
  'its grant is revoked': ({ userId }) => server.database.db('grants').where({ userId }).delete(),
  'its user is deactivated': ({ userId }) =>
    server.database.db('users').where({ id: userId }).update({ status: 'deactivated' }),
  'its user is closed': ({ userId }) => server.database.db('users').where({ id: userId }).update({ status: 'closed' }),
};

describe('a token', () => {
  beforeAll(async () => {
    application = await openApplication(server, {
      grant_types: ['authorization_code', 'refresh_token', 'password'],
      scope: 'openid orders',
    });
  });
  for (const [kind, give] of Object.entries(kinds)) {
    for (const [death, kill] of Object.entries(deaths)) {
      it(`${kind} is dead everywhere once ${death}`, async () => {
        const held = await give();
        expect(await verdicts(held.token)).toEqual(all(true));
        await kill(held);
        expect(await verdicts(held.token)).toEqual(all(false));
      });
    }
  }

  it('that was revoked is dead everywhere, and the others of its grant are not', async () => {
    const email = await registerAccount(server);
    const { body } = await application.post('/oauth/token', { grant_type: 'password', username: email, password });
    const { access_token: token = '', refresh_token: refreshToken = '' } = body;
    await application.post('/oauth/revoke', { token });
    expect(await verdicts(token)).toEqual(all(false));
    const { status } = await application.post('/oauth/token', {
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
    });
    expect(status).toBe(200);
  });

  it('of a refresh token that was revoked dies with its grant', async () => {
    const email = await registerAccount(server);
    const { body } = await application.post('/oauth/token', { grant_type: 'password', username: email, password });
    await application.post('/oauth/revoke', { token: body.refresh_token as string });
    expect(await verdicts(body.access_token as string)).toEqual(all(false));
  });

  it('whose key has leaked and was rotated out is dead everywhere', async () => {
    const { token } = await (kinds['a JWT of the REST API'] as () => Promise<Held>)();
    await rotateKeys(server.database.db, server.app.secrets, operator, { revoke: true });
    await server.app.provider.reload();
    expect(await verdicts(token)).toEqual(all(false));
  });

  it('that somebody else signed is dead everywhere, whatever it says', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const { token, userId } = await (kinds['a JWT of the REST API'] as () => Promise<Held>)();
    const [header = '', payload = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const forged = await new SignJWT(claims)
      .setProtectedHeader(JSON.parse(Buffer.from(header, 'base64url').toString()))
      .sign(privateKey);
    const unsigned = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${payload}.`;
    const other = await new SignJWT({ ...claims, iss: 'https://issuer.example.com' })
      .setProtectedHeader({ alg: 'RS256', typ: 'at+jwt' })
      .sign(privateKey);
    expect(claims.sub).toBe(userId);
    for (const bad of [forged, unsigned, other, token.slice(0, -3), `${token}x`, 'nonsense', 'a.b.c', 'jwt~abc'])
      expect([bad.slice(0, 20), await verdicts(bad)]).toEqual([bad.slice(0, 20), all(false)]);
  });

  it('of an id, or a refresh token, is no access token', async () => {
    const email = await registerAccount(server);
    const { id_token, refresh_token } = await (await openApplication(server, {}, { email })).tokens();
    for (const token of [id_token, refresh_token]) {
      const { json } = await anybody.request('POST', '/auth/validate', { token });
      expect(json).toEqual({ valid: false, user: null, error: 'invalid_token' });
    }
  });
});

describe('the scope of a token', () => {
  it('holds no permission that the person does not hold, whatever the application may ask for', async () => {
    const scope = 'openid users:read:any users:read:own *:*:* *:*:*:x orders:refund';
    const email = await registerAccount(server);
    const other = await openApplication(server, { scope, first_party: true }, { email });
    const { access_token: token, refresh_token } = await other.tokens({ scope, resource: `${server.issuer}/api` });
    const refreshed = (await other.refresh(refresh_token)).body.access_token as string;
    for (const one of [token, refreshed]) {
      const names = String(decodeJwt(one).scope).split(' ');
      expect(names).toEqual(expect.arrayContaining(['*:*:*:x', 'orders:refund', 'users:read:own']));
      expect(names.filter((name) => /:any|^\*:\*:\*$/.test(name))).toEqual([]);
      const bearer = { authorization: `Bearer ${one}` };
      const me = await anybody.request('GET', '/auth/me', undefined, bearer);
      expect(me.json.permissions.filter((name: string) => !name.endsWith(':own'))).toEqual([]);
      expect((await anybody.request('GET', '/admin/users', undefined, bearer)).status).toBe(403);
    }
  });

  it('can be asked for by a proxy: a token for a mere sign-in does not do', async () => {
    const { token } = await applicationToken({ scope: 'openid email' });
    const ask = (scope: string) =>
      anybody.request('GET', `/auth/validate?scope=${scope}`, undefined, { authorization: `Bearer ${token}` });
    expect((await ask('email')).status).toBe(200);
    for (const scope of ['orders', 'users:read:own', '*:*:*']) {
      const { status, json } = await ask(scope);
      expect([scope, status, json.code]).toEqual([scope, 403, 'missing_permission']);
    }
  });
});

describe('roles in a token', () => {
  const rolesOf = (token: string | undefined) => decodeJwt(token ?? '').roles;

  it('are for the operator’s own applications and those that were given the password', async () => {
    const email = await registerAccount(server);
    const { json } = await anybody.request('POST', '/auth/login', { email, password });
    expect(rolesOf(json.accessToken)).toEqual(['user']);
    const { body } = await application.post('/oauth/token', { grant_type: 'password', username: email, password });
    expect(rolesOf(body.access_token)).toEqual(['user']);
    const refresh = { grant_type: 'refresh_token', refresh_token: body.refresh_token as string };
    expect(rolesOf((await application.post('/oauth/token', refresh)).body.access_token)).toEqual(['user']);
  });

  it('are not for other applications, nor for what an API key was exchanged for: its scope says what it may do', async () => {
    const { token } = await applicationToken({ scope: 'openid orders', resource: `${server.issuer}/api` });
    expect(rolesOf(token)).toBeUndefined();
    const email = await registerAccount(server);
    const { json } = await anybody.request('POST', '/auth/login', { email, password });
    const bearer = { authorization: `Bearer ${json.accessToken}` };
    const created = await anybody.request('POST', '/api-keys', { name: 'ci', scopes: ['users:read:own'] }, bearer);
    const response = await fetch(`${server.issuer}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        client_id: 'countersign-rest',
        subject_token: created.json.key,
        subject_token_type: 'urn:countersign:params:oauth:token-type:api_key',
      }),
    });
    const exchanged = (await response.json()) as { access_token: string; scope: string };
    expect([response.status, exchanged.scope, rolesOf(exchanged.access_token)]).toEqual([
      200,
      'users:read:own',
      undefined,
    ]);
  });
});

describe('what is shown of the person', () => {
  for (const { scope, members } of [
    { scope: 'openid', members: ['id', 'kind', 'permissions'] },
    { scope: 'openid email', members: ['email', 'emailVerified', 'id', 'kind', 'permissions'] },
    { scope: 'openid profile', members: ['id', 'kind', 'locale', 'name', 'permissions'] },
  ]) {
    it(`follows the scope: ${scope}`, async () => {
      const email = await registerAccount(server);
      const other = await openApplication(server, { scope: 'openid email profile' }, { email });
      const { access_token: token } = await other.tokens({ scope });
      const { json } = await anybody.request('POST', '/auth/validate', { token });
      expect(Object.keys(json.user).sort()).toEqual(members);
      expect(json.user.permissions).toEqual([]);
    });
  }

  it('and a machine’s token speaks for the machine', async () => {
    const machine = await openApplication(server, {
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
      scope: 'users:read:any orders',
    });
    const { body } = await machine.post('/oauth/token', { grant_type: 'client_credentials', scope: 'users:read:any' });
    const { json } = await anybody.request('POST', '/auth/validate', { token: body.access_token as string });
    const id = machine.client.client_id;
    expect(json).toEqual({
      valid: true,
      user: { id, kind: 'client', permissions: ['users:read:any'] },
      clientId: id,
      error: null,
      tokenType: 'Bearer',
    });
    await server.database.db('clients').where({ clientId: id }).update({ scope: 'orders' });
    const after = await anybody.request('POST', '/auth/validate', { token: body.access_token as string });
    expect(after.json.user.permissions).toEqual([]);
  });
});
