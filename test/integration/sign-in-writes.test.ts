/** What a sign-in writes at its end is one statement, and so is what an exchange writes: either there is all of it, or nothing. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { between } from '../support/between.ts';
import { Browser, makeAccount } from '../support/browser.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication, redirectUri } from '../support/tokens.ts';

const password = 'correct horse battery staple';
let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

/** Signs in to an application of the operator's own, as far as the redirect to where the engine goes on. */
const signIn = async ({ again = false } = {}) => {
  const email = await makeAccount(server);
  const browser = new Browser(server.issuer);
  const metadata = { first_party: true, require_pkce: false };
  const { client, code } = await openApplication(server, metadata, { browser, email });
  if (again) await code();
  const query = {
    ...{ client_id: client.client_id, response_type: 'code', scope: 'openid', redirect_uri: redirectUri },
    ...(again ? { prompt: 'login' } : {}),
  };
  const page = await browser.go(`/oauth/authorize?${new URLSearchParams(query)}`);
  const answer = await browser.request(page.url, {
    method: 'POST',
    headers: { origin: server.issuer, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ email, password }),
  });
  expect(answer.status).toBe(303);
  const goOn = (from = browser) => from.request(answer.headers.get('location') as string);
  return { client, email, browser, goOn };
};

const whereTo = (answer: Response): URLSearchParams =>
  new URL(answer.headers.get('location') ?? '', server.issuer).searchParams;

/** How many there are of what a sign-in leaves. */
const left = async (clientId: string) => {
  const { db } = server.database;
  const codes = await db('oidcPayloads').where({ model: 'AuthorizationCode' }).select('payload');
  const grants = await db('grants').where({ clientId }).select('id', 'sessionUid');
  const uids = grants.map(({ sessionUid }) => sessionUid);
  return {
    grants: grants.length,
    sessions: (await db('sessions').whereIn('uid', uids).select('uid')).length,
    codes: codes.filter(({ payload }) => (payload as { clientId?: string }).clientId === clientId).length,
  };
};

it('of two requests that go on with a sign-in at the same time, one does', async () => {
  const { client, goOn } = await signIn();
  const answers = await Promise.all([goOn(), goOn(), goOn()]);
  expect(answers.map(({ status }) => status).sort()).toEqual([303, 400, 400]);
  const won = answers.find(({ status }) => status === 303) as Response;
  expect(whereTo(won).get('code')).toBeTruthy();
  expect(await left(client.client_id)).toEqual({ grants: 1, sessions: 1, codes: 1 });
});

it('one that was begun in a session is left as it is for the browser that shows it', async () => {
  const { db } = server.database;
  const { browser, goOn } = await signIn({ again: true });
  const stranger = new Browser(server.issuer);
  stranger.cookies.push(...browser.cookies.filter(({ name }) => !name.includes('session')));
  const rows = () =>
    db('oidcPayloads')
      .where({ model: 'Interaction' })
      .orderBy('idHash')
      .select('idHash', db.raw('xmin::text as version'));
  const before = await rows();
  expect((await goOn(stranger)).status).toBe(400);
  expect(await rows()).toEqual(before);
  expect(whereTo(await goOn()).get('code')).toBeTruthy();
  expect((await rows()).length).toBe(before.length - 1);
});

/** Has statements of a kind fail, so many or until it is told otherwise. */
const failing = (kind: RegExp, code: string, times = Number.POSITIVE_INFINITY) => {
  let count = 0;
  const { client } = server.database.db;
  const { query } = client;
  client.query = async (connection: object, asked: { sql: string }) => {
    if (kind.test(asked.sql) && ++count <= times) throw Object.assign(new Error('as the driver would say'), { code });
    return query.call(client, connection, asked);
  };
  return () => {
    client.query = query;
  };
};

it.each([
  ['fails', '22P02', 500],
  ['is out of reach', '08006', 503],
])('where the database %s, nobody is sent anywhere, and nothing is left', async (_how, code, status) => {
  const { client, goOn } = await signIn();
  const mend = failing(/insert into sessions/, code);
  const answer = await goOn().finally(mend);
  expect([answer.status, answer.headers.get('location')]).toEqual([status, null]);
  expect(await left(client.client_id)).toEqual({ grants: 0, sessions: 0, codes: 0 });
});

it.each([
  [
    'the application is the operator’s own no more',
    (clientId: string) => server.database.db('clients').where({ clientId }).update({ firstParty: false }),
  ],
  [
    'the password is another one',
    (_clientId: string, email: string) =>
      server.database.db('users').where({ email }).update({ passwordChangedAt: new Date() }),
  ],
  [
    'the owner has said that it was not they',
    (clientId: string) => server.database.db('signIns').where({ clientId }).update({ disownedAt: new Date() }),
  ],
])('nothing is left where meanwhile %s', async (_name, change) => {
  const { client, email, goOn } = await signIn();
  const { clientId } = { clientId: client.client_id };
  const before = await left(clientId);
  // When it is known whether the Grant may be given without a question.
  const done = between(server, 'to_jsonb(trust)', () => change(clientId, email));
  const answer = await goOn().finally(done);
  expect(whereTo(answer).get('code')).toBeNull();
  expect({ ...(await left(clientId)), grants: 0 }).toEqual(before);
});

it('goes the longer way where the application has changed and is the operator’s own all the same', async () => {
  const { db } = server.database;
  const { client, goOn } = await signIn();
  const clientId = client.client_id;
  const done = between(server, 'to_jsonb(trust)', () =>
    db('clients').where({ clientId }).update({ updatedAt: new Date() }),
  );
  const answer = await goOn().finally(done);
  expect(whereTo(answer).get('code')).toBeTruthy();
  expect(await left(clientId)).toEqual({ grants: 1, sessions: 1, codes: 1 });
});

it('says so where the longer way gets as far as the session, and signs in all the same', async () => {
  const { client, browser, goOn } = await signIn();
  const mends = [
    failing(/^with person as .*insert into sessions/s, '40P01', 1),
    failing(/^insert into "oidc_payloads"/, '08006'),
  ];
  const answer = await goOn().finally(() => {
    for (const mend of mends.reverse()) mend();
  });
  expect([answer.status, whereTo(answer).get('error')]).toEqual([303, 'temporarily_unavailable']);
  expect(await left(client.client_id)).toEqual({ grants: 1, sessions: 1, codes: 0 });
  expect((await browser.request('/account')).status).toBe(200);
});

it('a code whose exchange is refused after it was looked at is used up', async () => {
  const application = await openApplication(server, { first_party: true });
  const code = await application.code({ scope: 'openid' });
  const refused = await application.exchange({ ...code, resource: 'https://elsewhere.example.com' });
  expect([refused.status, refused.body.error]).toEqual([400, 'invalid_target']);
  const again = await application.exchange(code);
  expect([again.status, again.body.error]).toEqual([400, 'invalid_grant']);
});

it('an exchange that meets whoever ends its grant is done again', async () => {
  const application = await openApplication(server, { first_party: true });
  const code = await application.code();
  const mend = failing(/^with used as \(update oidc_payloads/, '40P01', 1);
  const { status, body } = await application.exchange(code).finally(mend);
  expect(status).toBe(200);
  expect(await application.isActive(body.access_token as string)).toBe(true);
  expect((await application.refresh(body.refresh_token as string)).status).toBe(200);
  expect((await application.exchange(code)).status).toBe(400);
});

it.each([
  ['an opaque', {}],
  ['a JWT', { scope: 'openid users:read:own', resource: 'api' }],
])('an exchange that gives %s access token and nothing to refresh it with uses the code', async (_name, asked) => {
  const resource = 'resource' in asked ? { resource: `${server.issuer}/api` } : {};
  const application = await openApplication(server, {
    first_party: true,
    grant_types: ['authorization_code'],
    scope: 'openid email users:read:own',
  });
  const code = await application.code({ ...asked, ...resource });
  const { status, body } = await application.exchange(code);
  expect([status, body.refresh_token]).toEqual([200, undefined]);
  expect(await application.isActive(body.access_token as string)).toBe(true);
  expect((await application.exchange(code)).status).toBe(400);
  expect(await application.isActive(body.access_token as string)).toBe(false);
});
