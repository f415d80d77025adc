/** What many do at once, one does. PGlite has one connection and would prove nothing. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Db } from '../../db/connect.ts';
import { operator } from '../../src/audit/logs.commands.ts';
import { createSetupToken, setUp } from '../../src/auth/administrators.commands.ts';
import { loadConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { serve } from '../../src/main.ts';
import { hashToken } from '../../src/secrets.ts';
import { Browser, registerAccount } from '../support/browser.ts';
import { administer, onPostgres } from '../support/database.ts';
import { eventually, mailCount, postForm, postJson, tokenOf } from '../support/requests.ts';
import { defaultSettings, freePort, startServer, type TestServer } from '../support/server.ts';
import { type Application, openApplication, type TokenAnswer } from '../support/tokens.ts';

const times = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));

/** Exactly one 200; the others are refused alike. Returns the winner. */
const expectOneWinner = (answers: TokenAnswer[]): TokenAnswer['body'] => {
  const winners = answers.filter(({ status }) => status === 200);
  expect(winners).toHaveLength(1);
  for (const { status, body } of answers.filter((answer) => answer !== winners[0]))
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
  return (winners[0] as TokenAnswer).body;
};

describe.runIf(onPostgres)('races', () => {
  let server: TestServer;
  let application: Application;
  beforeAll(async () => {
    server = await startServer({ REFRESH_TOKEN_GRACE: '0s' }, { poolMax: 30 });
    application = await openApplication(server);
  });
  afterAll(() => server.stop());

  it('50 exchanges of one code at once: one gets tokens, and the replay revokes them (RFC 6749 section 4.1.2)', async () => {
    for (let round = 0; round < 3; round++) {
      const code = await application.code();
      const tokens = expectOneWinner(await times(50, () => application.exchange(code)));
      expect(await application.isActive(tokens.access_token as string)).toBe(false);
      expect(await application.isActive(tokens.refresh_token as string)).toBe(false);
      expect(await application.refresh(tokens.refresh_token as string)).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant' },
      });
    }
  });

  it('a code that is used again later revokes what it gave', async () => {
    const code = await application.code();
    const { body: tokens } = await application.exchange(code);
    expect(await application.isActive(tokens.access_token as string)).toBe(true);
    expect(await application.exchange(code)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(await application.isActive(tokens.access_token as string)).toBe(false);
    expect((await application.refresh(tokens.refresh_token as string)).body.error).toBe('invalid_grant');
  });

  it('50 uses of one refresh token at once: one gets tokens, and the family ends', async () => {
    for (let round = 0; round < 3; round++) {
      const first = await application.tokens();
      const tokens = expectOneWinner(await times(50, () => application.refresh(first.refresh_token)));
      expect(await application.isActive(tokens.access_token as string)).toBe(false);
      expect(await application.isActive(first.access_token)).toBe(false);
      expect((await application.refresh(tokens.refresh_token as string)).body.error).toBe('invalid_grant');
    }
  });

  it('a refresh token that is used again later ends its family (RFC 9700 section 4.14.2)', async () => {
    const first = await application.tokens();
    const second = (await application.refresh(first.refresh_token)).body;
    const third = (await application.refresh(second.refresh_token as string)).body;
    expect(await application.isActive(third.access_token as string)).toBe(true);
    expect((await application.refresh(first.refresh_token)).body.error).toBe('invalid_grant');
    for (const token of [first.access_token, second.access_token, third.access_token, third.refresh_token])
      expect(await application.isActive(token as string)).toBe(false);
    expect((await application.refresh(third.refresh_token as string)).body.error).toBe('invalid_grant');
  });

  it('a replay ends the grant of its own session and client alone', async () => {
    const [here, elsewhere] = [await application.code(), await openApplication(server)];
    const other = await elsewhere.tokens();
    await times(2, () => application.exchange(here));
    expect(await elsewhere.isActive(other.access_token)).toBe(true);
  });

  it('one pushed request (RFC 9126) gives one code', async () => {
    const browser = new Browser(server.issuer);
    const application = await openApplication(server, {}, { browser });
    const { code_verifier: _, redirect_uri, ...asked } = await application.code();
    expect(asked.code).toBeDefined();
    for (let round = 0; round < 3; round++) {
      const { status, body } = await application.post('/oauth/par', {
        client_id: application.client.client_id,
        response_type: 'code',
        scope: 'openid email',
        redirect_uri: redirect_uri as string,
        code_challenge: 'x'.repeat(43),
        code_challenge_method: 'S256',
      });
      expect(status).toBe(201);
      const query = new URLSearchParams({
        client_id: application.client.client_id,
        request_uri: body.request_uri as string,
      });
      const answers = await times(20, () => browser.request(`/oauth/authorize?${query}`));
      const places = answers.map(({ headers }) => headers.get('location') ?? '');
      expect(
        places.filter((place) => place.startsWith(redirect_uri as string) && place.includes('code=')),
      ).toHaveLength(1);
      expect(answers.filter(({ status }) => status >= 500)).toHaveLength(0);
    }
  });

  it('one mailed token verifies an address once', async () => {
    const email = `${uuid()}@example.com`;
    await postJson(`${server.issuer}/auth/register`, { email, password: 'correct horse battery staple', name: 'Ada' });
    const token = tokenOf((await server.mail(email)).links, 'verify');
    const answers = await times(20, () => postJson(`${server.issuer}/auth/verify`, { token }));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(400)]);
    expect(answers.filter(({ json }) => json.code === 'invalid_token')).toHaveLength(19);
  });

  it('one mailed token resets a password once', async () => {
    const email = await registerAccount(server);
    await postForm(new Browser(server.issuer), '/forgot', { email });
    const token = tokenOf((await server.mail(email, /password/i)).links, 'reset');
    const answers = await times(20, (index) =>
      new Browser(server.issuer).request('/reset', {
        method: 'POST',
        headers: { origin: server.issuer },
        body: new URLSearchParams({ token, password: `a new and long password ${index}` }),
      }),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([303, ...Array(19).fill(400)]);
    const { id } = await server.database.db('users').where({ email }).first('id');
    const resets = await server.database.db('auditLogs').where({ targetId: id, action: 'password.reset' });
    expect(resets).toHaveLength(1);
  });

  it('20 registrations of one address make one account, and nobody can tell which', async () => {
    const email = `${uuid()}@example.com`;
    const answers = await times(20, (index) =>
      postJson(`${server.issuer}/auth/register`, {
        email: index % 2 ? email : email.toUpperCase(),
        password: 'correct horse battery staple',
        name: `Ada ${index}`,
      }),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(await server.database.db('users').where({ email })).toHaveLength(1);
    await eventually(() => mailCount(server, email) === 20, '20 mails');
    expect(mailCount(server, email, /verify|confirm/i)).toBe(1);
  });

  it('one client assertion (RFC 7523) authenticates once', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const client = await server.client({
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig', kid: 'one' }] },
    });
    const request = async () => {
      const assertion = await new SignJWT({})
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .setIssuer(client.client_id)
        .setSubject(client.client_id)
        .setAudience(server.issuer)
        .setJti(randomUUID())
        .setExpirationTime('1m')
        .sign(privateKey);
      return () =>
        fetch(`${server.issuer}/oauth/token`, {
          method: 'POST',
          body: new URLSearchParams({
            grant_type: 'client_credentials',
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: assertion,
          }),
        });
    };
    expect((await (await request())()).status).toBe(200);
    for (let round = 0; round < 5; round++) {
      const use = await request();
      const statuses = (await times(10, use)).map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status >= 500)).toHaveLength(0);
    }
  });

  it('two set-up links at once make one administrator', async () => {
    const { db } = server.database;
    const made = await times(5, () => createSetupToken(db));
    expect(new Set(made).size).toBe(5);
    // Of links that were made together one lives; a second one is forced in here.
    const live = await db('actionTokens').where({ purpose: 'setup', consumedAt: null });
    expect(live).toHaveLength(1);
    const tokens = ['a first link', 'a second link'];
    await db('actionTokens').where({ purpose: 'setup' }).delete();
    await db('actionTokens').insert(
      tokens.map((token) => ({
        tokenHash: hashToken(token),
        purpose: 'setup',
        expiresAt: new Date(Date.now() + 60_000),
      })),
    );
    const use = (db: Db, index: number) =>
      setUp({ db, passwords: server.app.accounts.passwords }, operator, {
        token: tokens[index] as string,
        email: `root${index}@example.com`,
        name: 'Root',
        password: 'correct horse battery staple',
      });
    let second: Promise<string> | undefined;
    // The second one arrives when the first is done and not committed.
    await db.transaction(async (db) => {
      await use(db, 0);
      second = use(server.database.db, 1).catch(({ code }) => code);
      await sleep(1000);
    });
    expect(await second).toBe('invalid_token');
    const administrators = await db('users')
      .join('roles', 'roles.id', 'users.roleId')
      .where('roles.name', 'super_admin');
    expect(administrators).toHaveLength(1);
  });

  it('replicas that start together on an empty database migrate once and make one set of keys', async () => {
    const name = `countersign_test_${uuid().replaceAll('-', '')}`;
    const maintenance = process.env.TEST_DATABASE_URL as string;
    await administer(maintenance, `create database ${name}`);
    const url = new URL(maintenance);
    url.pathname = `/${name}`;
    try {
      const issuer = `http://localhost:${await freePort()}`;
      const settings = {
        ...defaultSettings,
        JWT_ISSUER: issuer,
        PORT: '0',
        DATABASE_URL: url.href,
        DATABASE_POOL_MAX: '4',
      };
      const replicas = await times(3, () => serve(loadConfig(settings), createLog('silent')));
      try {
        const [first, ...others] = await times(3, async (index) =>
          (await fetch(`http://127.0.0.1:${replicas[index]?.port}/.well-known/jwks.json`)).json(),
        );
        for (const other of others) expect(other).toEqual(first);
        const { db } = (replicas[0] as (typeof replicas)[number]).app.accounts;
        expect(await db('jwksKeys').pluck('alg').orderBy('alg')).toEqual(['ES256', 'EdDSA', 'PS256', 'RS256']);
        expect(await db('auditLogs').where({ action: 'key.create' })).toHaveLength(6);
        expect(await db('auditLogs').where({ action: 'client.create' })).toHaveLength(3);
      } finally {
        await times(3, (index) => replicas[index]?.stop() as Promise<void>);
      }
    } finally {
      await administer(maintenance, `drop database ${name} with (force)`);
    }
  });
});
