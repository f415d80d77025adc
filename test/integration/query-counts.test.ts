/** What requests that come all the time ask of the database: who somebody is and may do is asked once. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTokenReads } from '../../adapters/token-reads.ts';
import { notify } from '../../db/connect.ts';
import { hashToken } from '../../src/secrets.ts';
import { Browser } from '../support/browser.ts';
import { callerOf, nobody, requester } from '../support/callers.ts';
import { basic, post } from '../support/relying-party.ts';
import { eventually } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const password = 'correct horse battery staple';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

/** How often the access of a person, and the standing of a client, were asked of the database meanwhile. */
const counted = async (work: () => Promise<unknown>) => {
  const counts = { access: 0, standing: 0 };
  const count = ({ sql }: { sql: string }) => {
    if (sql.includes('clients.first_party as trusted')) counts.standing++;
    else if (sql.includes('held_grants')) counts.access++;
  };
  server.database.db.on('query', count);
  try {
    await work();
  } finally {
    server.database.db.removeListener('query', count);
  }
  return counts;
};

/** As if somebody had just changed everything, and the server had heard of it. */
const forget = async () => {
  await notify(server.database.db, 'access', '*');
  expect(await server.database.catchUp(5000)).toBe(true);
};

/**
 * Until it holds: once a second and every few seconds the service asks something of its own accord, which may come in between, and
 * more where the proof is late that it has heard of all changes.
 */
const undisturbed = (holds: () => Promise<void>) => vi.waitFor(holds, { timeout: 20_000, interval: 10 });

const ok = async (answer: Promise<{ status: number }>) => expect((await answer).status).toBe(200);

it('a refresh asks once for what the person may do', async () => {
  const scope = 'openid users:read:own';
  const application = await openApplication(server, { scope, first_party: true });
  const { refresh_token } = await application.tokens({ scope, resource: `${server.issuer}/api` });
  let newest = refresh_token;
  const refresh = async () => {
    const { status, body } = await application.refresh(newest);
    newest = body.refresh_token as string;
    expect(status).toBe(200);
  };
  await undisturbed(async () => {
    await forget();
    expect(await counted(refresh)).toEqual({ access: 1, standing: 1 });
  });
});

it('what is remembered is not asked', async () => {
  const { request } = await callerOf(server);
  await ok(request('get', '/auth/me'));
  await undisturbed(async () =>
    expect(await counted(() => ok(request('get', '/auth/me')))).toEqual({ access: 0, standing: 0 }),
  );
});

it('a request asks for the standing of an application only where there was a sign-in, and never for our own', async () => {
  const { request, email } = await callerOf(server);
  const asks = (ask: typeof request, standing: number) =>
    undisturbed(async () => {
      await forget();
      expect(await counted(() => ok(ask('get', '/auth/me')))).toEqual({ access: 1, standing });
    });
  await asks(request, 1);

  const { json } = await nobody(server).request('post', '/auth/login', { email, password });
  await asks(requester(server, json.accessToken), 0);

  const { json: made } = await request('post', '/api-keys', { name: 'ci', scopes: ['users:read:own'] });
  const gateway = await server.client({ grant_types: [exchange], redirect_uris: [], scope: 'users:read:own' });
  const form = {
    grant_type: exchange,
    subject_token: made.key,
    subject_token_type: 'urn:countersign:params:oauth:token-type:api_key',
  };
  const { body: token } = await post(server, '/oauth/token', form, basic(gateway));
  await asks(requester(server, token.access_token as string), 0);
});

/** The statements that are sent meanwhile, `begin` and `commit` as well: each is a round trip. */
const statements = async (work: () => Promise<unknown>): Promise<string[]> => {
  const sent: string[] = [];
  const note = ({ sql }: { sql: string }) => {
    if (!/\bpgboss\b/.test(sql)) sent.push(sql);
  };
  server.database.db.on('query', note);
  try {
    await work();
  } finally {
    server.database.db.removeListener('query', note);
  }
  return sent;
};

describe('what is asked of a token all the time', () => {
  const scope = 'openid email users:read:own';
  let application: Awaited<ReturnType<typeof openApplication>>;
  let opaque: { access_token: string; refresh_token: string };
  let jwt: typeof opaque;
  const withBearer = async (method: string, path: string, token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return ok(fetch(`${server.issuer}${path}`, { method, headers }));
  };
  const validate = (token: string) => ok(nobody(server).request('post', '/auth/validate', { token }));
  beforeAll(async () => {
    application = await openApplication(server, { scope, first_party: true });
    opaque = await application.tokens({ scope: 'openid email' });
    jwt = await application.tokens({ scope, resource: `${server.issuer}/api` });
  });

  it.each<[name: string, ask: () => Promise<unknown>]>([
    [
      'introspection of an opaque token',
      async () => expect(await application.isActive(opaque.access_token)).toBe(true),
    ],
    ['introspection of a JWT', async () => expect(await application.isActive(jwt.access_token)).toBe(true)],
    ['introspection of a refresh token', async () => expect(await application.isActive(jwt.refresh_token)).toBe(true)],
    ['introspection of nothing', async () => expect(await application.isActive('nothing')).toBe(false)],
    ['userinfo', () => withBearer('get', '/oauth/userinfo', opaque.access_token)],
    ['/auth/validate, posted', () => validate(jwt.access_token)],
    ['/auth/validate as a proxy asks', () => withBearer('get', '/auth/validate', jwt.access_token)],
    ['/auth/me', () => withBearer('get', '/auth/me', jwt.access_token)],
  ])('%s: one statement, which changes nothing', async (_name, ask) => {
    await ask();
    await undisturbed(async () => expect(await statements(ask)).toEqual([expect.stringMatching(/^select asked/)]));
  });

  it.each([
    ['a JWT', () => jwt],
    ['an opaque access token', () => opaque],
  ] as const)(
    'a refresh that gives %s is read once, and all that it writes is one statement',
    async (_name, tokens) => {
      // The application's and the person's standing are remembered, and the session was used a moment ago.
      let newest = tokens().refresh_token;
      const refresh = async () => {
        const { status, body } = await application.refresh(newest);
        newest = body.refresh_token as string;
        expect(status).toBe(200);
      };
      await refresh();
      await undisturbed(async () => {
        const sent = await statements(refresh);
        expect(sent).toHaveLength(2);
        expect(sent[1]).toMatch(/^with asked as .*update refresh_tokens.*insert into refresh_tokens/s);
      });
    },
  );

  it('is asked in one statement by all who ask at the same time, and each gets their own answer', async () => {
    const reads = createTokenReads(server.database.db, 10);
    const hashes = [opaque.access_token, 'nothing', jwt.access_token].map(hashToken);
    await undisturbed(async () => {
      const sent = await statements(async () => {
        const found = await Promise.all(hashes.map((hash) => reads.read({ model: 'AccessToken', hash })));
        const clients = [application.client.client_id, undefined, undefined];
        expect(found.map((row) => row?.payload?.clientId)).toEqual(clients);
      });
      expect(sent).toHaveLength(1);
    });
  });

  it('is never told what was read before it was asked: whoever comes while a statement is under way has another', async () => {
    const { db } = server.database;
    const { access_token } = await application.tokens({ scope: 'openid email' });
    const question = { model: 'AccessToken', hash: hashToken(access_token) };
    // The answer to the first statement is there, and on its way for as long as we like.
    const held = Promise.withResolvers<void>();
    let sent = 0;
    const client = Object.assign(Object.create(db.client), {
      releaseConnection: async (connection: object) => {
        await db.client.releaseConnection(connection);
        if (sent++ === 0) await held.promise;
      },
    });
    const reads = createTokenReads({ client } as typeof db, 10);
    const before = reads.read(question);
    await eventually(() => sent === 1, 'the first statement');
    await db('oidcPayloads').delete().where({ model: 'AccessToken', idHash: question.hash });
    const after = reads.read(question);
    expect(await after).toBeUndefined();
    expect(sent).toBe(2);
    held.resolve();
    expect((await before)?.payload?.clientId).toBe(application.client.client_id);
  });
});

it('a sign-in with a password at an application of ours: what is written is one statement in each place, and none is a transaction', async () => {
  const browser = new Browser(server.issuer);
  const application = await openApplication(server, { scope: 'openid email', first_party: true }, { browser });
  await application.exchange(await application.code());
  const verbs = (sent: readonly string[]) => sent.map((sql) => /\b(insert into|update|delete from) \w+/.exec(sql)?.[0]);
  await undisturbed(async () => {
    // The person comes back another day: the device is known, the session is over.
    for (const [index, { name }] of [...browser.cookies.entries()].reverse())
      if (name.includes('session')) browser.cookies.splice(index, 1);
    let code: Record<string, string> = {};
    const signIn = await statements(async () => {
      code = await application.code();
    });
    expect(verbs(signIn).filter(Boolean)).toEqual([
      'insert into oidc_payloads', // the interaction
      'update users', // with the sign-in, the device and the audit event
      'update oidc_payloads', // the interaction has a result
      'delete from oidc_payloads', // and is gone on with
      'update sign_ins', // with the session, the Grant and the code
    ]);
    expect(signIn).toHaveLength(11);
    const exchange = await statements(() => ok(application.exchange(code)));
    expect(verbs(exchange)).toEqual([undefined, 'update oidc_payloads']); // the code is used, with what it gives
    expect(exchange[1]).toMatch(/insert into oidc_payloads .*insert into refresh_tokens /s);
  });
});

it('whoever an organization asks for a second factor refreshes nothing any more, as soon as it asks', async () => {
  const { db } = server.database;
  const application = await openApplication(server, { scope: 'openid', first_party: true });
  const first = await application.tokens({ scope: 'openid' });
  const { body, status } = await application.refresh(first.refresh_token);
  expect(status).toBe(200);
  const { userId } = await db('refreshTokens').where({ clientId: application.client.client_id }).first('userId');
  const organizationId = uuid();
  await db('organizations').insert({ id: organizationId, name: 'Strict' });
  await db('organizationMembers').insert({ organizationId, userId });
  const second = await application.refresh(body.refresh_token as string);
  expect(second.status).toBe(200);
  await db('organizations').where({ id: organizationId }).update({ requireMfa: true });
  expect(await application.refresh(second.body.refresh_token as string)).toMatchObject({
    status: 400,
    body: { error: 'invalid_grant' },
  });
});
