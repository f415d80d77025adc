/**
 * Whoever has stolen a password, a token or an API key can make sessions and grants with it, each in milliseconds, and as many as they like
 * (SESSIONS_PER_USER is off unless it is set). However many there are, the owner of the account ends them all.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { system } from '../../src/audit/logs.commands.ts';
import { deleteClient, operatorPowers } from '../../src/clients/clients.commands.ts';
import { revokeGrants, revokeGrantsOf } from '../../src/sessions/sessions.commands.ts';
import { makeAccount } from '../support/browser.ts';
import { redirectUri } from '../support/relying-party.ts';
import { postJson, tokenOf } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';

/** A statement takes 65,535 values. */
const many = 66_000;
const timeout = 120_000;

let server: TestServer;
let clientId: string;
beforeAll(async () => {
  server = await startServer({ REQUEST_TIMEOUT: '120s' });
  ({ client_id: clientId } = await server.client({ redirect_uris: [redirectUri] }));
});
afterAll(() => server.stop());

const newUser = async (): Promise<{ email: string; userId: string }> => {
  const email = await makeAccount(server);
  return { email, userId: (await server.database.db('users').where({ email }).first('id')).id };
};
const count = async (table: string, userId: string): Promise<number> =>
  Number((await server.database.db(table).where({ userId }).count().first())?.count);

it('a reset of the password ends more sessions than a statement takes values', { timeout }, async () => {
  const { db } = server.database;
  const { email, userId } = await newUser();
  await db.raw(
    `insert into sessions (id_hash, uid, user_id, payload, expires_at)
     select 'hash' || i, 'uid' || i, cast(:userId as uuid), '{}', now() + interval '1 day' from generate_series(1, cast(:many as int)) i`,
    { userId, many },
  );
  await postJson(`${server.address}/auth/forgot-password`, { email });
  const { links } = await server.mail(email, /password/i);
  const password = 'a battery of horses, correctly stapled';
  const reset = await postJson(`${server.address}/auth/reset-password`, { token: tokenOf(links, 'reset'), password });
  expect([reset.status, reset.text]).toEqual([204, '']);
  expect(await count('sessions', userId)).toBe(0);
});

it('and as many grants', { timeout }, async () => {
  const { db } = server.database;
  const { userId } = await newUser();
  const expiresAt = new Date(Date.now() + 60_000);
  await db('grants').insert({ id: 'theirs', userId, clientId, payload: '{}', expiresAt });
  const ids = ['theirs', ...Array.from({ length: many }, (_, index) => `gone meanwhile ${index}`)];
  const { grants } = await db.transaction((db) => revokeGrants(db, ids));
  expect([grants, await count('grants', userId)]).toEqual([1, 0]);
});

it('an application with more grants than end at once is not held while they end', { timeout }, async () => {
  const { db } = server.database;
  const { client_id } = await server.client({ redirect_uris: [redirectUri] });
  const { userId } = await newUser();
  await db('consents').insert({ userId, clientId: client_id });
  await db.raw(
    `insert into grants (id, user_id, client_id, payload, expires_at)
     select 'of it ' || i, cast(:userId as uuid), :client_id, '{}', now() + interval '1 day' from generate_series(1, 2500) i`,
    { userId, client_id },
  );
  const holding = new Set<string>();
  const ended = { holding: 0, apart: 0 };
  const watch = (count: number, { sql, __knexTxId: transaction }: { sql: string; __knexTxId: string }) => {
    if (/from "clients".*for no key update/.test(sql)) holding.add(transaction);
    if (sql.startsWith('delete from "grants"')) ended[holding.has(transaction) ? 'holding' : 'apart'] += count;
  };
  db.on('query-response', watch);
  await deleteClient(db, system, operatorPowers, client_id, revokeGrantsOf);
  db.removeListener('query-response', watch);
  expect(ended).toEqual({ holding: 500, apart: 2000 });
  for (const table of ['grants', 'consents', 'clients'])
    expect(await db(table).where({ clientId: client_id })).toEqual([]);
});
