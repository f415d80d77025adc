/** Those who end what a person has meet each other, and those who go on using it, and nobody is answered with a 500. */
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transact } from '../../db/transact.ts';
import { createKey } from '../../src/api-keys/api-key-format.ts';
import { hashToken } from '../../src/secrets.ts';
import { Browser, registerAccount } from '../support/browser.ts';
import { callerOf, requester, type TestCaller } from '../support/callers.ts';
import { onPostgres } from '../support/database.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { openApplication } from '../support/tokens.ts';

const times = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));

describe.runIf(onPostgres)('deadlocks', { timeout: 180_000 }, () => {
  let server: TestServer;
  let admin: TestCaller;
  const clientIds: string[] = [];
  beforeAll(async () => {
    server = await startServer({ REFRESH_TOKEN_GRACE: '0s' }, { poolMax: 30 });
    admin = await callerOf(server, { role: 'super_admin' });
    for (let count = 0; count < 3; count++)
      clientIds.push((await server.client({ redirect_uris: ['https://app.example.com/callback'] })).client_id);
  });
  afterAll(() => server.stop());

  const newUser = async (): Promise<string> => {
    const email = await registerAccount(server);
    return (await server.database.db('users').where({ email }).first('id')).id;
  };

  /** Sessions with a grant for every client, each with tokens and codes. */
  const openSessions = async (userId: string, count: number): Promise<void> => {
    const { db } = server.database;
    const expiresAt = new Date(Date.now() + 600_000);
    const sessions = Array.from({ length: count }, () => ({ idHash: uuid(), uid: uuid(), userId, expiresAt }));
    await db('sessions').insert(sessions.map((session) => ({ ...session, payload: '{}' })));
    const grants = sessions.flatMap(({ uid: sessionUid }) =>
      clientIds.map((clientId) => ({ id: uuid(), userId, clientId, sessionUid, expiresAt })),
    );
    // In no order that the ids have.
    grants.sort(() => Math.random() - 0.5);
    await db('grants').insert(grants.map((grant) => ({ ...grant, payload: '{}' })));
    const given = grants.flatMap((grant) => [grant, grant, grant]).sort(() => Math.random() - 0.5);
    await db('refreshTokens').insert(
      given.map(({ id: grantId, clientId }) => ({
        ...{ tokenHash: uuid(), userId, clientId, grantId, payload: '{}', expiresAt },
      })),
    );
    await db('oidcPayloads').insert(
      given.map(({ id: grantId }) => ({ model: 'AccessToken', idHash: uuid(), payload: '{}', grantId, expiresAt })),
    );
  };

  const left = async (userId: string) => {
    const { db } = server.database;
    const counts = await times(3, async (index) => {
      const table = ['sessions', 'grants', 'refreshTokens'][index] as string;
      return (await db(table).where({ userId }).select('expiresAt')).length;
    });
    return counts;
  };

  it('a transaction that is the victim of a deadlock is done again, from the start', async () => {
    const { db } = server.database;
    const users = await times(2, newUser);
    let runs = 0;
    let first = 0;
    const { promise: bothHaveOne, resolve: haveOne } = Promise.withResolvers<void>();
    const rename = (order: readonly string[]) =>
      transact(db, async (db) => {
        runs++;
        for (const id of order) {
          await db('users')
            .where({ id })
            .update({ name: db.raw(`name || '.'`) });
          if (id !== order[0]) continue;
          first++;
          if (first === 2) haveOne();
          await bothHaveOne;
        }
      });
    await Promise.all([rename(users), rename([...users].reverse())]);
    expect(runs).toBe(3);
    const names = await db('users').whereIn('id', users).pluck('name');
    for (const name of names) expect(name).toMatch(/[^.]\.\.$/);
  });

  it('emergency revocations, the owner and an administrator end the same sessions at once', async () => {
    const userId = await newUser();
    for (let round = 0; round < 25; round++) {
      const key = createKey();
      await server.database.db('apiKeys').insert({
        ...{ id: uuid(), userId, name: 'Ends sessions', scopes: ['sessions:end:own'] },
        ...{ prefix: key.slice(0, 10), keyHash: hashToken(key) },
      });
      const owner = requester(server, key);
      await openSessions(userId, 6);
      const answers = await Promise.all([
        admin.request('post', '/admin/tokens/revoke', { userId }),
        owner('delete', '/sessions'),
        admin.request('post', '/admin/tokens/revoke', { userId }),
        admin.request('delete', `/users/${userId}/sessions`),
      ]);
      const [first, byOwner, ...rest] = answers.map(({ status }) => status);
      expect([first, ...rest]).toEqual([200, 200, 200]);
      // The revocation takes the owner's API key along, and may come first.
      expect([200, 401]).toContain(byOwner);
      // Each session ended once, and whoever ended it says so.
      const ended = answers.map(({ json }) => json.sessions ?? json.ended ?? 0);
      expect(ended.reduce((sum, count) => sum + count, 0)).toBe(6);
      expect(await left(userId)).toEqual([0, 0, 0]);
    }
  });

  it('revocations of a person, of an application and of a grant at once', async () => {
    const users = await times(3, newUser);
    for (let round = 0; round < 15; round++) {
      for (const userId of users) await openSessions(userId, 5);
      const grants = await server.database.db('grants').whereIn('userId', users).pluck('id');
      const answers = await Promise.all(
        [
          ...users.map((userId) => ({ userId })),
          ...clientIds.map((clientId) => ({ clientId })),
          ...grants.slice(0, 6).map((grantId) => ({ grantId })),
        ].map((of) => admin.request('post', '/admin/tokens/revoke', of)),
      );
      // A grant may have ended with its user.
      for (const { status } of answers) expect([200, 404]).toContain(status);
      expect(answers.slice(0, 6).map(({ status }) => status)).toEqual(Array(6).fill(200));
      for (const userId of users) expect(await left(userId)).toEqual([0, 0, 0]);
    }
  });

  const endings: Record<string, (userId: string) => [method: string, path: string, status: number]> = {
    deactivated: (userId) => ['post', `/users/${userId}/deactivate`, 200],
    closed: (userId) => ['delete', `/users/${userId}`, 204],
  };
  for (const [name, ending] of Object.entries(endings))
    it(`an account is ${name} while somebody keeps refreshing its tokens`, async () => {
      for (let round = 0; round < 8; round++) {
        const email = await registerAccount(server);
        const { id } = await server.database.db('users').where({ email }).first('id');
        const opened = await times(6, async () => {
          const browser = new Browser(server.issuer, server.address);
          const application = await openApplication(server, {}, { email, browser });
          return { application, tokens: await application.tokens() };
        });
        const [method, path, expected] = ending(id);
        const refreshing = opened.map(async ({ application, tokens }) => {
          let token: string | undefined = tokens.refresh_token;
          const statuses: number[] = [];
          for (let count = 0; count < 2 && token; count++) {
            const { status, body } = await application.refresh(token);
            statuses.push(status);
            token = body.refresh_token;
          }
          return { statuses, token };
        });
        const { status } = await admin.request(method, path);
        expect(status).toBe(expected);
        const after = await Promise.all(refreshing);
        for (const { statuses } of after) for (const status of statuses) expect([200, 400]).toContain(status);
        for (const [index, { token }] of after.entries())
          if (token) expect((await opened[index]?.application.refresh(token))?.status).toBe(400);
      }
    });
});
