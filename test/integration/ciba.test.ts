/** Client-Initiated Backchannel Authentication (OpenID Connect CIBA Core 1.0), in poll and ping mode. */
import { type CryptoKey, decodeJwt, SignJWT } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Browser, formsOf, type Page, password } from '../support/browser.ts';
import { callerOf } from '../support/callers.ts';
import { type NotificationReceiver, startNotificationReceiver } from '../support/notification-receiver.ts';
import {
  basic,
  bearer,
  elsewhere,
  expectError,
  newPerson,
  type Person,
  post,
  type RelyingParty,
  type Reply,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const cibaGrant = 'urn:openid:params:grant-type:ciba';

let server: TestServer;
let person: Person;
let receiver: NotificationReceiver;
beforeAll(async () => {
  server = await startServer();
  person = await newPerson(server);
  receiver = await startNotificationReceiver();
  await signIn(person);
});
afterAll(async () => {
  await server.stop();
  await receiver.stop();
});

const signIn = async ({ browser, email }: Person): Promise<Page> =>
  browser.submit(await browser.go('/account'), { email, password });

/** An application at a counter, with a server of its own. */
const counter = (metadata: Record<string, unknown> = {}, on = server): Promise<RelyingParty> =>
  registerRelyingParty(on, {
    client_name: 'The Bank Counter',
    redirect_uris: undefined,
    post_logout_redirect_uris: undefined,
    grant_types: [cibaGrant, 'refresh_token'],
    backchannel_token_delivery_mode: 'poll',
    ...metadata,
  });

const pinging = () =>
  counter({ backchannel_token_delivery_mode: 'ping', backchannel_client_notification_endpoint: receiver.uri });

const start = ({ config }: RelyingParty, parameters: Record<string, string> = {}, who = person) =>
  oidc.initiateBackchannelAuthentication(config, { scope: 'openid email', login_hint: who.email, ...parameters });

const startRaw = ({ client }: RelyingParty, form: Record<string, string>, on = server): Promise<Reply> =>
  post(on, '/oauth/backchannel', form, basic(client));

const poll = ({ client }: RelyingParty, auth_req_id: string): Promise<Reply> =>
  post(server, '/oauth/token', { grant_type: cibaGrant, auth_req_id }, basic(client));

const requestsPage = ({ browser }: Person) => browser.go('/account/requests');
const ids = (page: Page, verb: 'approve' | 'deny'): string[] =>
  formsOf(page.html)
    .filter(({ action }) => action.endsWith(verb))
    .map(({ fields }) => fields.id ?? '');
const press = (browser: Browser, verb: 'approve' | 'deny', id: string): Promise<Page> =>
  browser.go(`/account/requests/${verb}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin: browser.issuer },
    body: new URLSearchParams({ id }),
  });
/** Decides on what was asked last. */
const decide = async (who: Person, verb: 'approve' | 'deny'): Promise<Page> =>
  press(who.browser, verb, ids(await requestsPage(who), verb)[0] ?? '');

const wait = (seconds: number) =>
  server.database.db.raw(`update oidc_payloads set polled_at = polled_at - ? * interval '1 second'`, [seconds]);

/** Somebody signed in over REST at this service's own client. */
const login = async ({ email }: Person) => {
  const { body } = await send(`${server.issuer}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password }),
  });
  const headers = bearer(body.accessToken);
  return {
    list: () => send(`${server.issuer}/auth/me/requests`, { headers }),
    decide: (id: string, verb: 'approve' | 'deny') =>
      send(`${server.issuer}/auth/me/requests/${id}/${verb}`, { method: 'POST', headers }),
  };
};

describe('an application asks, the person confirms on the page', () => {
  it('in poll mode, with openid-client', async () => {
    const app = await counter();
    const answer = await start(app, { binding_message: 'Till 4, W4SCT' });
    expect(answer).toMatchObject({ auth_req_id: expect.stringMatching(/^[\w-]{43}$/), expires_in: 600, interval: 5 });
    expectError(await poll(app, answer.auth_req_id), [400, 'authorization_pending']);

    const page = await requestsPage(person);
    for (const shown of ['The Bank Counter', 'Till 4, W4SCT', '127.0.0.1', 'See your email address'])
      expect(page.html).toContain(shown);
    const done = await press(person.browser, 'approve', ids(page, 'approve')[0] ?? '');
    expect([done.url.pathname, done.url.searchParams.get('notice')]).toEqual(['/account/requests', 'requestApproved']);

    const tokens = await oidc.pollBackchannelAuthenticationGrant(app.config, { ...answer, interval: 1 });
    const claims = tokens.claims();
    const session = await server.database
      .db('sessions')
      .whereIn('userId', server.database.db('users').where({ email: person.email }).select('id'))
      .first('payload');
    expect(claims).toMatchObject({
      aud: app.client.client_id,
      amr: ['pwd'],
      acr: 'urn:countersign:acr:single-factor',
      auth_time: session.payload.loginTs,
    });
    const userinfo = await oidc.fetchUserInfo(app.config, tokens.access_token, claims?.sub ?? '');
    expect(userinfo.email).toBe(person.email);
    expect(tokens.refresh_token).toBe(undefined);
    expectError(await poll(app, answer.auth_req_id), [400, 'invalid_grant']);
  });

  it('is mailed a link, in which nothing of the application’s message stands', async () => {
    const someone = await newPerson(server);
    const app = await counter();
    await start(app, { binding_message: 'Call 555-0100 now' }, someone);
    const mail = await server.mail(someone.email, /Is it you/);
    expect(mail.links).toContain(`${server.issuer}/account/requests`);
    expect(mail.text).toContain('The Bank Counter');
    expect(mail.text + mail.html).not.toContain('555-0100');
  });

  it('who is not signed in comes back to the page after signing in; the account page counts what waits', async () => {
    const someone = await newPerson(server);
    await start(await counter(), {}, someone);
    await start(await counter(), {}, someone);
    const form = await requestsPage(someone);
    const page = await someone.browser.submit(form, { email: someone.email, password });
    expect([page.url.pathname, ids(page, 'approve').length]).toEqual(['/account/requests', 2]);
    expect((await someone.browser.go('/account')).html).toContain('Requests that wait for you: 2');
  });

  it('a refusal is access_denied', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app);
    await decide(person, 'deny');
    expectError(await poll(app, auth_req_id), [400, 'access_denied']);
  });

  it('a refresh token comes with offline_access, and works', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app, { scope: 'openid offline_access' });
    await decide(person, 'approve');
    const { body } = await poll(app, auth_req_id);
    const refreshed = await oidc.refreshTokenGrant(app.config, body.refresh_token);
    expect(refreshed.claims()).toMatchObject({ sub: decodeJwt(body.id_token).sid ?? decodeJwt(body.id_token).sub });
  });

  it('a token for the API is a JWT of the person that is no sign-in here', async () => {
    const app = await counter({
      scope: 'openid requests:read:own requests:decide:own users:read:own',
      first_party: true,
    });
    const { auth_req_id } = await start(app, {
      scope: 'openid requests:read:own requests:decide:own',
      resource: `${server.issuer}/api`,
    });
    await decide(person, 'approve');
    const { body } = await poll(app, auth_req_id);
    await start(await counter());
    const headers = bearer(body.access_token);
    const list = await send(`${server.issuer}/auth/me/requests`, { headers });
    expect(list.status).toBe(200);
    const url = `${server.issuer}/auth/me/requests/${list.body.data[0].id}/approve`;
    const answer = await send(url, { method: 'POST', headers });
    expect([answer.status, answer.body.code]).toEqual([403, 'session_needed']);
    await decide(person, 'deny');
  });
});

describe('over REST', () => {
  it('the list says what the page says; approval gives the client its tokens', async () => {
    const someone = await newPerson(server);
    const app = await counter();
    const { auth_req_id } = await start(app, { binding_message: 'W4SCT' }, someone);
    const api = await login(someone);
    const { body } = await api.list();
    expect(body).toEqual({
      data: [
        {
          id: expect.any(String),
          clientId: app.client.client_id,
          clientName: 'The Bank Counter',
          bindingMessage: 'W4SCT',
          scopes: ['openid', 'email'],
          claims: [],
          resources: [],
          address: '127.0.0.1',
          createdAt: expect.any(String),
          expiresAt: expect.any(String),
        },
      ],
      nextCursor: null,
    });
    expect(JSON.stringify(body)).not.toContain(auth_req_id);
    expect((await api.decide(body.data[0].id, 'approve')).status).toBe(204);
    expect((await api.list()).body.data).toEqual([]);
    const again = await api.decide(body.data[0].id, 'deny');
    expect([again.status, again.body.code]).toEqual([404, 'request_not_found']);
    const tokens = await poll(app, auth_req_id);
    expect(decodeJwt(tokens.body.id_token).amr).toEqual(['pwd']);
  });

  it('nobody decides for somebody else, nor by somebody else’s application', async () => {
    const [owner, stranger] = [await newPerson(server), await newPerson(server)];
    const app = await counter();
    const { auth_req_id } = await start(app, {}, owner);
    const { id } = (await (await login(owner)).list()).body.data[0];
    const other = await (await login(stranger)).decide(id, 'approve');
    expect([other.status, other.body.code]).toEqual([404, 'request_not_found']);
    const page = await signIn(stranger).then(() => press(stranger.browser, 'approve', id));
    expect(page.status).toBe(404);
    const foreign = await callerOf(server, { thirdParty: true });
    const refused = await foreign.request('post', `/auth/me/requests/${id}/approve`);
    expect([refused.status, refused.json.code]).toEqual([403, 'session_needed']);
    expectError(await poll(app, auth_req_id), [400, 'authorization_pending']);
  });
});

describe('ping mode', () => {
  it('tells the client with its own token, and then gives it the tokens', async () => {
    const app = await pinging();
    const { auth_req_id } = await start(app, { client_notification_token: 'a-token-of-the-client' });
    await decide(person, 'approve');
    const seen = (await receiver.received(1)).at(-1);
    expect(seen).toEqual({ authorization: 'Bearer a-token-of-the-client', body: { auth_req_id } });
    expect((await poll(app, auth_req_id)).status).toBe(200);
  });

  it('tells it of a refusal as well, and again when it did not take it', async () => {
    const app = await pinging();
    const before = receiver.notifications.length;
    receiver.answers.push({ status: 500 });
    const { auth_req_id } = await start(app, { client_notification_token: 'token' });
    await decide(person, 'deny');
    const seen = await receiver.received(before + 2);
    expect(seen.slice(before).map(({ body }) => body)).toEqual([{ auth_req_id }, { auth_req_id }]);
    expectError(await poll(app, auth_req_id), [400, 'access_denied']);
  });

  for (const [what, answer] of [
    ['refuses its token', { status: 401 }],
    ['forbids it', { status: 403 }],
  ] as const)
    it(`tells a client that ${what} once`, async () => {
      const app = await pinging();
      const before = receiver.notifications.length;
      receiver.answers.push(answer);
      await start(app, { client_notification_token: 'token' });
      await decide(person, 'approve');
      await receiver.received(before + 1);
      await new Promise((resolve) => setTimeout(resolve, 3500));
      expect(receiver.notifications.length).toBe(before + 1);
    });

  it('follows no redirect', async () => {
    const elsewhere = await startNotificationReceiver();
    const app = await pinging();
    const before = receiver.notifications.length;
    receiver.answers.push({ status: 307, location: elsewhere.uri });
    await start(app, { client_notification_token: 'secret-of-the-client' });
    await decide(person, 'approve');
    await receiver.received(before + 2);
    expect(elsewhere.notifications).toEqual([]);
    await elsewhere.stop();
  });

  for (const [what, token] of [
    ['none', undefined],
    ['one that is no bearer token', 'two words'],
    ['one that is too long', 'x'.repeat(1025)],
  ] as const)
    it(`needs a client_notification_token: ${what}`, async () => {
      const form = {
        scope: 'openid',
        login_hint: person.email,
        ...(token ? { client_notification_token: token } : {}),
      };
      expectError(await startRaw(await pinging(), form), [400, 'invalid_request']);
    });
});

describe('polling', () => {
  it('too fast is slow_down, and each time the interval grows by 5 seconds', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app);
    const answers: string[] = [];
    const step = async () => answers.push((await poll(app, auth_req_id)).body.error);
    await step();
    await step(); // 10 from now on
    await wait(6);
    await step(); // 15
    await wait(16);
    await step();
    expect(answers).toEqual(['authorization_pending', 'slow_down', 'slow_down', 'authorization_pending']);
    await decide(person, 'deny');
  });

  it('after the time that the client asked for is expired_token, and nobody can decide any more', async () => {
    const app = await counter();
    const answer = await start(app, { requested_expiry: '1' });
    expect(answer.expires_in).toBe(1);
    // By then it may be on the page no more.
    const clientId = app.client.client_id;
    const { id } = await server.database.db('backchannelRequests').where({ clientId }).first('id');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expectError(await poll(app, answer.auth_req_id), [400, 'expired_token']);
    const page = await press(person.browser, 'approve', id);
    expect(page.status).toBe(404);
    expectError(await poll(app, answer.auth_req_id), [400, 'expired_token']);
  });

  it('waits no longer than half an hour, whatever is asked', async () => {
    expect((await start(await counter(), { requested_expiry: '999999' })).expires_in).toBe(1800);
    await decide(person, 'deny');
  });

  it('by another client, or for what never was, is invalid_grant', async () => {
    const [app, other] = [await counter(), await counter()];
    const { auth_req_id } = await start(app);
    expectError(await poll(other, auth_req_id), [400, 'invalid_grant']);
    expectError(await poll(app, 'made-up'), [400, 'invalid_grant']);
    await decide(person, 'deny');
  });

  it('at the same time gives tokens once', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app);
    await decide(person, 'approve');
    const answers = await Promise.all(Array.from({ length: 4 }, () => poll(app, auth_req_id)));
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
  });
});

describe('the decision', () => {
  it('is one: of an approval and a refusal at the same time the client sees the one that counted', async () => {
    for (let round = 0; round < 3; round++) {
      const app = await counter();
      const { auth_req_id } = await start(app);
      const [id = ''] = ids(await requestsPage(person), 'approve');
      const ends = await Promise.all([press(person.browser, 'approve', id), press(person.browser, 'deny', id)]);
      expect(ends.map(({ status }) => status).sort()).toEqual([200, 404]);
      const { status } = await poll(app, auth_req_id);
      expect(status).toBe(ends[0]?.status === 200 ? 200 : 400);
      const { consents, grants } = await traces(app);
      expect([consents, grants]).toEqual(ends[0]?.status === 200 ? [1, 1] : [0, 0]);
    }
  });

  const traces = async ({ client: { client_id: clientId } }: RelyingParty) => {
    const { db } = server.database;
    return {
      consents: (await db('consents').where({ clientId })).length,
      grants: (await db('grants').where({ clientId })).length,
      events: (await db('auditLogs').where({ targetId: clientId }).orderBy('id').pluck('action')) as string[],
    };
  };

  it('leaves nothing when it cannot be written down', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app);
    const { db } = server.database;
    const [id = ''] = ids(await requestsPage(person), 'approve');
    await db.raw(`alter table audit_logs add constraint broken check (action <> 'backchannel.approve') not valid`);
    const page = await press(person.browser, 'approve', id).finally(() =>
      db.raw('alter table audit_logs drop constraint broken'),
    );
    expect(page.status).toBe(500);
    expect(await traces(app)).toMatchObject({ consents: 0, grants: 0 });
    expectError(await poll(app, auth_req_id), [400, 'authorization_pending']);
    expect((await press(person.browser, 'approve', id)).status).toBe(200);
    expect((await poll(app, auth_req_id)).status).toBe(200);
    expect((await traces(app)).events).toContain('backchannel.approve');
  });

  it('comes from another site’s form for nobody', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app);
    const [id = ''] = ids(await requestsPage(person), 'approve');
    const forged = await person.browser.go('/account/requests/approve', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://evil.example' },
      body: new URLSearchParams({ id }),
    });
    expect(forged.status).toBe(403);
    expectError(await poll(app, auth_req_id), [400, 'authorization_pending']);
    await decide(person, 'deny');
  });

  it('is void once the client is another one than the person was told', async () => {
    const app = await counter();
    await start(app);
    const [id = ''] = ids(await requestsPage(person), 'approve');
    await server.database
      .db('clients')
      .where({ clientId: app.client.client_id })
      .update({ updatedAt: new Date(Date.now() + 5000) });
    expect((await press(person.browser, 'approve', id)).status).toBe(404);
    expect((await traces(app)).grants).toBe(0);
  });
});

describe('what was approved', () => {
  const approved = async (who: Person) => {
    const app = await counter({ scope: 'openid offline_access users:read:own' });
    const { auth_req_id } = await start(
      app,
      { scope: 'openid offline_access users:read:own', resource: `${server.issuer}/api` },
      who,
    );
    await decide(who, 'approve');
    const { body } = await poll(app, auth_req_id);
    const works = async () => (await send(`${server.issuer}/auth/me`, { headers: bearer(body.access_token) })).status;
    const refresh = async () =>
      (
        await post(
          server,
          '/oauth/token',
          { grant_type: 'refresh_token', refresh_token: body.refresh_token },
          basic(app.client),
        )
      ).status;
    expect(await works()).toBe(200);
    return { app, works, refresh };
  };
  const signedIn = async () => {
    const someone = await newPerson(server);
    await signIn(someone);
    return someone;
  };

  it('ends when the person ends the session that they approved in', async () => {
    const someone = await signedIn();
    const { works, refresh } = await approved(someone);
    const other = elsewhere(someone);
    await signIn(other);
    await other.browser.go('/account/sessions/end-others', { method: 'POST', headers: { origin: server.issuer } });
    expect([await works(), await refresh()]).toEqual([401, 400]);
  });

  const withoutOfflineAccess = async (who: Person) => {
    const app = await counter();
    const { auth_req_id } = await start(app, {}, who);
    await decide(who, 'approve');
    return { app, auth_req_id };
  };
  const signOut = async ({ browser }: Person) => {
    await browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' });
    expect((await browser.go('/account')).html).toContain('current-password');
  };
  const states = async ({ app, token }: { app: RelyingParty; token: string }) => {
    const introspected = await post(server, '/oauth/introspect', { token }, basic(app.client));
    const userinfo = await send(`${server.issuer}/oauth/userinfo`, { headers: bearer(token) });
    return [introspected.body.active, userinfo.status];
  };

  it('ends when they sign out, and what was approved before gives nothing then', async () => {
    const someone = await signedIn();
    const [used, late] = [await withoutOfflineAccess(someone), await withoutOfflineAccess(someone)];
    const token = (await poll(used.app, used.auth_req_id)).body.access_token as string;
    // A session knows one grant of a client, and this is a second one.
    const again = await start(used.app, {}, someone);
    await decide(someone, 'approve');
    const second = (await poll(used.app, again.auth_req_id)).body.access_token as string;
    expect(await states({ app: used.app, token })).toEqual([true, 200]);
    expect(await states({ app: used.app, token: second })).toEqual([true, 200]);
    await signOut(someone);
    expect(await states({ app: used.app, token })).toEqual([false, 401]);
    expect(await states({ app: used.app, token: second })).toEqual([false, 401]);
    expectError(await poll(late.app, late.auth_req_id), [400, 'invalid_grant']);
  });

  it('takes along at the sign-out what it was exchanged for', async () => {
    const someone = await signedIn();
    const scope = 'users:read:own';
    const app = await counter({ scope: `openid ${scope}`, first_party: true });
    const backend = await server.client({
      redirect_uris: [],
      response_types: [],
      grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      scope,
      first_party: true,
      token_exchange: { impersonation: true, subject_clients: [app.client.client_id] },
    });
    const resource = `${server.issuer}/api`;
    const { auth_req_id } = await start(app, { scope: `openid ${scope}`, resource }, someone);
    await decide(someone, 'approve');
    const exchanged = await post(
      server,
      '/oauth/token',
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: (await poll(app, auth_req_id)).body.access_token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      },
      basic(backend),
    );
    const { access_token: token } = exchanged.body;
    const isActive = async () => (await post(server, '/oauth/introspect', { token }, basic(backend))).body.active;
    expect(await isActive()).toBe(true);
    await signOut(someone);
    expect(await isActive()).toBe(false);
  });

  it('outlives the sign-out with offline_access', async () => {
    const someone = await signedIn();
    const { works, refresh } = await approved(someone);
    await signOut(someone);
    expect([await works(), await refresh()]).toEqual([200, 200]);
  });

  it('ends when they take the access back', async () => {
    const someone = await signedIn();
    const { app, works, refresh } = await approved(someone);
    await someone.browser.submit(
      await someone.browser.go('/account/applications'),
      { id: app.client.client_id },
      '/applications/withdraw',
    );
    expect([await works(), await refresh()]).toEqual([401, 400]);
  });

  it('ends when the account is deactivated, and what was approved before gives nothing', async () => {
    const someone = await signedIn();
    const { works, refresh } = await approved(someone);
    const app = await counter();
    const { auth_req_id } = await start(app, {}, someone);
    await decide(someone, 'approve');
    await server.database.db('users').where({ email: someone.email }).update({ status: 'deactivated' });
    expect([await works(), await refresh()]).toEqual([401, 400]);
    expectError(await poll(app, auth_req_id), [400, 'invalid_grant']);
    const hint = { scope: 'openid', login_hint: someone.email };
    expectError(await startRaw(app, hint), [400, 'unknown_user_id']);
  });
});

describe('who is meant', () => {
  it('by the sub, or by an id_token', async () => {
    const app = await counter();
    const { auth_req_id } = await start(app);
    await decide(person, 'approve');
    const { id_token } = (await poll(app, auth_req_id)).body;
    const { sub = '' } = decodeJwt(id_token);
    for (const hint of [{ login_hint: sub }, { id_token_hint: id_token }] as Record<string, string>[]) {
      expect((await startRaw(app, { scope: 'openid', ...hint })).status).toBe(200);
      await decide(person, 'deny');
    }
    const other = await counter();
    expectError(await startRaw(other, { scope: 'openid', id_token_hint: id_token }), [400, 'invalid_request']);
  });

  it('is nobody by an address that is not confirmed: it may be anybody’s', async () => {
    const email = 'victim@example.com';
    await send(`${server.issuer}/auth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password, name: 'Mallory' }),
    });
    expectError(await startRaw(await counter(), { scope: 'openid', login_hint: email }), [400, 'unknown_user_id']);
  });

  const hints: [string, Record<string, string>, string][] = [
    ['no hint', {}, 'invalid_request'],
    ['two hints', { login_hint: 'a@example.com', id_token_hint: 'x' }, 'invalid_request'],
    ['an address of nobody', { login_hint: 'nobody@example.com' }, 'unknown_user_id'],
    ['an id of nobody', { login_hint: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f' }, 'unknown_user_id'],
    ['a hint that is nothing', { login_hint: '; drop table users' }, 'unknown_user_id'],
    ['a hint that is too long', { login_hint: `${'a'.repeat(300)}@example.com` }, 'invalid_request'],
    ['an id_token_hint that is none', { id_token_hint: 'not.a.token' }, 'invalid_request'],
    ['a login_hint_token', { login_hint_token: 'eyJhbGciOiJub25lIn0.e30.' }, 'invalid_request'],
  ];
  for (const [what, form, error] of hints)
    it(`${what} is ${error}`, async () =>
      expectError(await startRaw(await counter(), { scope: 'openid', ...form }), [400, error]));
});

describe('bad requests', () => {
  const bad: [string, Record<string, string>, string][] = [
    ['no scope', { scope: '' }, 'invalid_request'],
    ['no openid', { scope: 'email' }, 'invalid_request'],
    ['a scope that is not the client’s', { scope: 'openid phone' }, 'invalid_scope'],
    ['a binding message with a line break', { binding_message: 'one\ntwo' }, 'invalid_binding_message'],
    ['one that is turned around', { binding_message: 'pay \u202E100' }, 'invalid_binding_message'],
    ['one that is too long', { binding_message: 'x'.repeat(101) }, 'invalid_binding_message'],
    ['one of spaces', { binding_message: '   ' }, 'invalid_binding_message'],
    ['an expiry of no time', { requested_expiry: '0' }, 'invalid_request'],
    ['an expiry that is no number', { requested_expiry: 'soon' }, 'invalid_request'],
    ['a user code', { user_code: '1234' }, 'invalid_request'],
    ['a request_uri', { request_uri: 'https://app.example.com/r' }, 'request_uri_not_supported'],
  ];
  for (const [what, form, error] of bad)
    it(`${what} is ${error}`, async () => {
      const app = await counter({ scope: 'openid email' });
      const all = { scope: 'openid', login_hint: person.email, ...form };
      expectError(await startRaw(app, all), [400, error]);
      expect((await server.database.db('backchannelRequests').where({ clientId: app.client.client_id })).length).toBe(
        0,
      );
    });

  it('a client that does not prove itself, or is not registered for it', async () => {
    const form = { scope: 'openid', login_hint: person.email };
    const app = await counter();
    expectError(await post(server, '/oauth/backchannel', { ...form, client_id: app.client.client_id }), [
      401,
      'invalid_client',
    ]);
    expectError(await startRaw(await registerRelyingParty(server), form), [400, 'invalid_request']);
  });

  it('a public client cannot be registered for it', async () => {
    await expect(counter({ token_endpoint_auth_method: 'none' })).rejects.toMatchObject({
      code: 'invalid_client_metadata',
    });
  });

  it('push mode cannot be registered', async () => {
    const push = { backchannel_token_delivery_mode: 'push', backchannel_client_notification_endpoint: receiver.uri };
    await expect(counter(push)).rejects.toThrow();
  });
});

describe('signed requests', () => {
  const signed = async (app: RelyingParty, claims: Record<string, unknown>) =>
    new SignJWT({ scope: 'openid', login_hint: person.email, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(app.client.client_id)
      .setAudience(server.issuer)
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime('2m')
      .setJti(crypto.randomUUID())
      .sign(app.key as CryptoKey);
  const signing = () =>
    counter({
      token_endpoint_auth_method: 'private_key_jwt',
      backchannel_authentication_request_signing_alg: 'ES256',
    });
  const submit = (app: RelyingParty, parameters: Record<string, string>) =>
    oidc
      .initiateBackchannelAuthentication(app.config, parameters)
      .then(() => 'taken')
      .catch((error: { error?: string }) => error.error);

  it('are taken, and are the only ones from a client that is registered so', async () => {
    const app = await signing();
    expect(await submit(app, { request: await signed(app, { binding_message: 'signed' }) })).toBe('taken');
    expect((await requestsPage(person)).html).toContain('signed');
    await decide(person, 'deny');
    expect(await submit(app, { scope: 'openid', login_hint: person.email })).toBe('invalid_request');
  });

  it('that somebody else signed are refused', async () => {
    const [app, other] = [await signing(), await signing()];
    const forged = await signed({ ...app, key: other.key } as RelyingParty, {});
    expect(await submit(app, { request: forged })).toBe('invalid_request');
  });
});

describe('a second factor', () => {
  it('that the account needs is needed in the session that approves', async () => {
    const strict = await startServer({ MFA_REQUIRED_ROLES: 'user' });
    try {
      const someone = await newPerson(strict);
      const app = await counter({}, strict);
      const { db } = strict.database;
      const { id: userId } = await db('users').where({ email: someone.email }).first('id');
      expect((await startRaw(app, { scope: 'openid', login_hint: someone.email }, strict)).status).toBe(200);
      const form = await someone.browser.submit(await requestsPage(someone), { email: someone.email, password });
      const code = /\b\d{6}\b/.exec((await strict.mail(someone.email, /code/i)).text)?.[0] ?? '';
      const page = await someone.browser.submit(await someone.browser.submit(form, { code }), { later: '1' });
      expect(ids(page, 'approve').length).toBe(1);
      // The same session, as if it had been begun with the password alone.
      await db.raw(`update sessions set payload = jsonb_set(payload, '{amr}', '["pwd"]') where user_id = ?`, [userId]);
      const refused = await press(someone.browser, 'approve', ids(page, 'approve')[0] ?? '');
      expect(refused.url.pathname).not.toBe('/account/requests');
      expect((await db('grants').where({ clientId: app.client.client_id })).length).toBe(0);
    } finally {
      await strict.stop();
    }
  });
});

describe('the sign-in that the application asks for', () => {
  const [single, multi] = ['urn:countersign:acr:single-factor', 'urn:countersign:acr:multi-factor'];
  const essential = (...values: string[]) => JSON.stringify({ id_token: { acr: { essential: true, values } } });
  const codeOf = async ({ email }: Person) =>
    /\b\d{6}\b/.exec((await server.mail(email, /sign-in code/)).text)?.[0] ?? '';
  const here = async () => {
    const someone = await newPerson(server);
    await signIn(someone);
    return someone;
  };
  const aged = ({ email }: Person, seconds: number) =>
    server.database.db.raw(
      `update sessions set payload = jsonb_set(payload, '{loginTs}', to_jsonb((payload->>'loginTs')::int - ?::int))
       where user_id = (select id from users where email = ?)`,
      [seconds, email],
    );

  const stronger: [string, Record<string, string>, Record<string, unknown>][] = [
    ['acr_values', { acr_values: multi }, {}],
    ['an essential acr', { claims: essential(multi) }, {}],
    ['default_acr_values', {}, { default_acr_values: [multi] }],
  ];
  for (const [what, parameters, metadata] of stronger)
    it(`with two factors by ${what}: one sends the person to sign in, and back`, async () => {
      const someone = await here();
      const app = await counter(metadata);
      const { auth_req_id } = await start(app, parameters, someone);
      const password1 = await decide(someone, 'approve');
      expect(password1.url.pathname).toMatch(/^\/interaction\//);
      expectError(await poll(app, auth_req_id), [400, 'authorization_pending']);
      const factor = await someone.browser.submit(password1, { email: someone.email, password });
      const back = await someone.browser.submit(factor, { code: await codeOf(someone) });
      expect(back.url.pathname).toBe('/account/requests');
      expect((await press(someone.browser, 'approve', ids(back, 'approve')[0] ?? '')).status).toBe(200);
      const { body } = await poll(app, auth_req_id);
      expect(decodeJwt(body.id_token)).toMatchObject({ acr: multi, amr: expect.arrayContaining(['mfa']) });
    });

  const newer: [string, Record<string, string>, Record<string, unknown>][] = [
    ['max_age', { max_age: '60' }, {}],
    ['a max_age of 0', { max_age: '0' }, {}],
    ['default_max_age', {}, { default_max_age: 60 }],
  ];
  for (const [what, parameters, metadata] of newer)
    it(`no longer ago than ${what}`, async () => {
      const someone = await here();
      await aged(someone, 100);
      const app = await counter(metadata);
      const { auth_req_id } = await start(app, parameters, someone);
      const askedAt = Math.floor(Date.now() / 1000);
      const form = await decide(someone, 'approve');
      expect(form.url.pathname).toMatch(/^\/interaction\//);
      const back = await someone.browser.submit(form, { email: someone.email, password });
      expect((await press(someone.browser, 'approve', ids(back, 'approve')[0] ?? '')).status).toBe(200);
      const { auth_time } = decodeJwt((await poll(app, auth_req_id)).body.id_token);
      expect(Number(auth_time)).toBeGreaterThanOrEqual(askedAt - 1);
    });

  it('is session_needed over REST, and no hindrance to a refusal', async () => {
    const someone = await newPerson(server);
    const app = await counter();
    const { auth_req_id } = await start(app, { acr_values: multi }, someone);
    const api = await login(someone);
    const { id } = (await api.list()).body.data[0];
    const refused = await api.decide(id, 'approve');
    expect([refused.status, refused.body.code]).toEqual([403, 'session_needed']);
    expectError(await poll(app, auth_req_id), [400, 'authorization_pending']);
    expect((await api.decide(id, 'deny')).status).toBe(204);
  });

  const enough: [string, Record<string, string>, string][] = [
    ['a class that one factor reaches', { acr_values: `${multi} ${single}` }, single],
    ['a class that is none of ours, where that is a wish', { acr_values: 'urn:example:gold' }, single],
    ['a sign-in that is new enough', { max_age: '600' }, single],
  ];
  for (const [what, parameters, acr] of enough)
    it(`is enough for ${what}`, async () => {
      const someone = await here();
      const app = await counter();
      const { auth_req_id } = await start(app, parameters, someone);
      await decide(someone, 'approve');
      expect(decodeJwt((await poll(app, auth_req_id)).body.id_token).acr).toBe(acr);
    });

  it('that can never be had is refused at once', async () => {
    const app = await counter();
    const form = { scope: 'openid', login_hint: person.email, claims: essential('urn:example:gold') };
    expectError(await startRaw(app, form), [400, 'unmet_authentication_requirements']);
    expect((await server.database.db('backchannelRequests').where({ clientId: app.client.client_id })).length).toBe(0);
  });
});

describe('the page tells who answers for an application', () => {
  for (const [kind, warned] of [
    ['registered', false],
    ['dynamic', true],
  ] as const)
    it(`of one that is ${kind}`, async () => {
      const someone = await newPerson(server);
      const app = await counter();
      await start(app, {}, someone);
      await server.database.db('clients').where({ clientId: app.client.client_id }).update({ kind });
      const page = await signIn(someone).then(() => requestsPage(someone));
      expect(ids(page, 'approve').length).toBe(1);
      expect(page.html.includes('has not checked this app')).toBe(warned);
    });
});

describe('limits', () => {
  let limited: TestServer;
  beforeAll(async () => {
    limited = await startServer({ RATE_LIMIT_FACTOR: '1' });
  });
  afterAll(() => limited.stop());

  it('a client asks one person 10 times in a quarter of an hour, and others as before', async () => {
    const [one, other] = [await newPerson(limited), await newPerson(limited)];
    const app = await counter({}, limited);
    const ask = (who: Person) => startRaw(app, { scope: 'openid', login_hint: who.email }, limited);
    for (let count = 0; count < 10; count++) expect((await ask(one)).status).toBe(200);
    const refused = await ask(one);
    expectError(refused, [429, 'temporarily_unavailable']);
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect((await ask(other)).status).toBe(200);
  });

  it('a person is asked 30 times in an hour, by whomever', async () => {
    const someone = await newPerson(limited);
    const statuses = [];
    for (let apps = 0; apps < 4; apps++) {
      const app = await counter({}, limited);
      for (let count = 0; count < 8; count++)
        statuses.push((await startRaw(app, { scope: 'openid', login_hint: someone.email }, limited)).status);
    }
    expect([statuses.filter((status) => status === 200).length, statuses.at(-1)]).toEqual([30, 429]);
  });
});

it('is advertised as it is', async () => {
  const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
  expect(body).toMatchObject({
    backchannel_authentication_endpoint: `${server.issuer}/oauth/backchannel`,
    backchannel_token_delivery_modes_supported: ['poll', 'ping'],
    backchannel_user_code_parameter_supported: false,
  });
  expect(body.grant_types_supported).toContain(cibaGrant);
});

it('keeps nothing in the clear that its client could use, or that is between client and person', async () => {
  const app = await pinging();
  const { auth_req_id } = await start(app, {
    client_notification_token: 'notification-token-in-clear',
    binding_message: 'between the two of us',
  });
  const { rows } = (await server.database.db.raw(
    `select row_to_json(r)::text as row from backchannel_requests r union all select row_to_json(p)::text from oidc_payloads p
     union all select row_to_json(a)::text from audit_logs a union all select row_to_json(j)::text from pgboss.job j`,
  )) as { rows: { row: string }[] };
  const dump = rows.map(({ row }) => row).join('\n');
  for (const needle of [auth_req_id, 'notification-token-in-clear', 'between the two of us'])
    expect(dump).not.toContain(needle);
  await decide(person, 'deny');
});
