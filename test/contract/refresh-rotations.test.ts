/** Rotations that are asked for at the same time: each is done whole or not at all, and none fails with another. */
import { randomBytes } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRotations, type Rotate, type Successor } from '../../adapters/refresh-rotations.ts';
import { createTestDatabase, onPostgres, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let rotate: Rotate;
const userId = uuid();
beforeAll(async () => {
  database = await createTestDatabase(30);
  const { db } = database;
  rotate = createRotations(db);
  const roleId = (await db('roles').first('id')).id;
  await db('users').insert({ id: userId, email: 'ada@example.com', name: 'Ada', roleId });
  await db('clients').insert({ clientId: 'acme' });
});
afterAll(async () => {
  await database.close();
  await database.drop();
});

const random = () => randomBytes(24).toString('base64url');
const expiresAt = new Date(Date.now() + 60_000);

const successorOf = (parentHash: string): Successor => ({
  tokenHash: random(),
  parentHash,
  userId,
  clientId: 'acme',
  grantId: 'grant',
  payload: JSON.stringify({ scope: 'openid', claims: { 'a "name"': 'Ä\\ ' } }),
  expiresAt,
});
const tokenOf = () => ({
  model: 'AccessToken',
  idHash: random(),
  payload: '{"scope":"openid"}',
  grantId: 'grant',
  userCodeHash: null,
  expiresAt,
});

/** Saves unused tokens. */
const save = async (count: number): Promise<string[]> => {
  const hashes = Array.from({ length: count }, random);
  const rest = { userId, clientId: 'acme', grantId: 'grant', payload: '{}', expiresAt };
  await database.db('refreshTokens').insert(hashes.map((tokenHash) => ({ tokenHash, ...rest })));
  return hashes;
};
const successorsOf = (hashes: string[]) =>
  database
    .db('refreshTokens')
    .whereIn('parentHash', hashes)
    .select('parentHash', 'tokenHash', 'payload', 'consumedAt', 'expiresAt');

it('replaces each of many, and saves the access tokens that come with them', async () => {
  const parents = await save(40);
  const asked = parents.map((parent, at) => ({ row: successorOf(parent), token: at % 2 ? tokenOf() : undefined }));
  expect(await Promise.all(asked.map(({ row, token }) => rotate(row, token)))).toEqual(parents.map(() => true));
  const found = new Map((await successorsOf(parents)).map((row) => [row.parentHash, row]));
  for (const { row } of asked)
    expect(found.get(row.parentHash)).toEqual({
      parentHash: row.parentHash,
      tokenHash: row.tokenHash,
      payload: JSON.parse(row.payload),
      consumedAt: null,
      expiresAt,
    });
  const hashes = asked.flatMap(({ token }) => token?.idHash ?? []);
  expect(await database.db('oidcPayloads').whereIn('idHash', hashes).select('payload', 'expiresAt')).toEqual(
    hashes.map(() => ({ payload: { scope: 'openid' }, expiresAt })),
  );
});

it('replaces one token once, however many ask at the same time', async () => {
  const [parent = ''] = await save(1);
  const answers = await Promise.all(Array.from({ length: 20 }, () => rotate(successorOf(parent), tokenOf())));
  expect(answers.filter(Boolean)).toHaveLength(1);
  expect(await successorsOf([parent])).toHaveLength(1);
});

it.runIf(onPostgres)(
  'waits for no row that somebody else has locked, and leaves that one to whoever asked for it',
  async () => {
    const [locked = '', ...others] = await save(6);
    const { promise: isLocked, resolve: lock } = Promise.withResolvers<void>();
    const { promise: isOver, resolve: end } = Promise.withResolvers<void>();
    const ending = database.db.transaction(async (db) => {
      await db('refreshTokens').delete().where({ tokenHash: locked });
      lock();
      await isOver;
    });
    await isLocked;
    const asked = [locked, ...others].map((parent) => rotate(successorOf(parent), undefined));
    expect(await Promise.all(asked)).toEqual([false, true, true, true, true, true]);
    end();
    await ending;
  },
);

it('does nothing for a token that is used, revoked or unknown', async () => {
  const [used = '', revoked = ''] = await save(2);
  await database.db('refreshTokens').where({ tokenHash: used }).update({ consumedAt: new Date() });
  await database.db('refreshTokens').where({ tokenHash: revoked }).update({ revoked: true });
  const asked = [used, revoked, random()];
  expect(await Promise.all(asked.map((parent) => rotate(successorOf(parent), tokenOf())))).toEqual([
    false,
    false,
    false,
  ]);
  expect(await successorsOf(asked)).toEqual([]);
});

it('fails for the one whose person is gone, and for nobody else', async () => {
  const parents = await save(12);
  const asked = parents.map((parent, at) => ({ ...successorOf(parent), ...(at % 5 === 3 ? { userId: uuid() } : {}) }));
  const outcomes = await Promise.allSettled(asked.map((row) => rotate(row, undefined)));
  expect(outcomes.map(({ status }) => status === 'rejected')).toEqual(parents.map((_, at) => at % 5 === 3));
  expect(await successorsOf(parents)).toHaveLength(10);
  // Of those that failed nothing was done.
  const unused = await database.db('refreshTokens').whereIn('tokenHash', parents).whereNull('consumedAt');
  expect(unused).toHaveLength(2);
});
