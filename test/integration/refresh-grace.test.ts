/** A refresh whose answer was lost may be repeated for a short time; a stolen token may not (REFRESH_TOKEN_GRACE). */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashToken } from '../../src/secrets.ts';
import { Browser, registerAccount } from '../support/browser.ts';
import { onPostgres } from '../support/database.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type Application, openApplication, type TokenAnswer } from '../support/tokens.ts';

let server: TestServer;
let application: Application;
beforeAll(async () => {
  server = await startServer({ REFRESH_TOKEN_GRACE: '60s' }, { poolMax: 30 });
  application = await openApplication(server);
});
afterAll(() => server.stop());

const refused = { status: 400, body: { error: 'invalid_grant' } };
const successorOf = async (token: string): Promise<string> => {
  const { status, body } = await application.refresh(token);
  expect(status).toBe(200);
  return body.refresh_token as string;
};
/** As if it had happened that long ago. */
const backdate = (token: string, seconds: number) =>
  server.database.db.raw(
    'update refresh_tokens set consumed_at = consumed_at - make_interval(secs => ?) where token_hash = ?',
    [seconds, hashToken(token)],
  );
/** How many refresh tokens that descend from this one could be used now. */
const usable = async (token: string): Promise<number> => {
  const { rows } = await server.database.db.raw(
    `with recursive family as (
       select * from refresh_tokens where token_hash = ?
       union all select child.* from refresh_tokens child join family on child.parent_hash = family.token_hash)
     select 1 from family where consumed_at is null and not revoked and expires_at > now()`,
    [hashToken(token)],
  );
  return rows.length;
};

describe('within the grace', () => {
  it('a repeat gets a new successor that works, and the earlier one is dead', async () => {
    const { refresh_token: first, access_token } = await application.tokens();
    const lost = await successorOf(first);
    const second = await successorOf(first);
    expect(second).not.toBe(lost);
    expect(await application.isActive(lost)).toBe(false);
    // A lost answer is not theft: what has been given stays.
    expect(await application.isActive(access_token)).toBe(true);
    expect(await usable(first)).toBe(1);
    await successorOf(second);
  });

  it('a successor that was given up and turns up after all ends the family: two parties hold its tokens', async () => {
    const { refresh_token: first, access_token } = await application.tokens();
    const givenUp = await successorOf(first);
    const second = await successorOf(first);
    expect(await application.refresh(givenUp)).toMatchObject(refused);
    expect(await application.refresh(second)).toMatchObject(refused);
    expect(await application.isActive(access_token)).toBe(false);
  });

  it('it may be repeated more than once, and only the last successor lives', async () => {
    const { refresh_token: first } = await application.tokens();
    const successors = [await successorOf(first), await successorOf(first), await successorOf(first)];
    expect(await Promise.all(successors.map((token) => application.isActive(token)))).toEqual([false, false, true]);
  });

  it('repeats do not prolong it', async () => {
    const { refresh_token: first } = await application.tokens();
    await successorOf(first);
    await backdate(first, 30);
    await successorOf(first);
    await backdate(first, 31);
    expect(await application.refresh(first)).toMatchObject(refused);
  });

  it('a repeat after the successor was used is a replay: the family ends', async () => {
    const { refresh_token: first, access_token } = await application.tokens();
    const second = await successorOf(first);
    const { body: third } = await application.refresh(second);
    expect(await application.refresh(first)).toMatchObject(refused);
    expect(await application.refresh(third.refresh_token as string)).toMatchObject(refused);
    for (const token of [access_token, third.access_token as string])
      expect(await application.isActive(token)).toBe(false);
  });

  it('another client cannot repeat, and its attempt ends nothing', async () => {
    const { refresh_token: first } = await application.tokens();
    const second = await successorOf(first);
    const email = await registerAccount(server);
    const other = await openApplication(server, {}, { email });
    expect(await other.refresh(first)).toMatchObject(refused);
    await successorOf(second);
  });

  it('a repeat after signing out is refused', async () => {
    const email = await registerAccount(server);
    const browser = new Browser(server.issuer);
    const application = await openApplication(server, {}, { email, browser });
    const { refresh_token: first } = await application.tokens();
    expect((await application.refresh(first)).status).toBe(200);
    await browser.submit(await browser.go('/oauth/logout'), { logout: 'yes' });
    expect(await application.refresh(first)).toMatchObject(refused);
  });
});

it('after the grace a repeat is a replay: the family ends', async () => {
  const { refresh_token: first, access_token } = await application.tokens();
  const { body: second } = await application.refresh(first);
  await backdate(first, 61);
  expect(await application.refresh(first)).toMatchObject(refused);
  expect(await application.refresh(second.refresh_token as string)).toMatchObject(refused);
  expect(await application.isActive(access_token)).toBe(false);
  expect(await application.isActive(second.access_token as string)).toBe(false);
});

describe.runIf(onPostgres)('repeats that race', () => {
  const values = (answers: TokenAnswer[]) =>
    answers.filter(({ status }) => status === 200).map(({ body }) => body.refresh_token as string);

  it('leave one successor that works', async () => {
    for (let round = 0; round < 5; round++) {
      const { refresh_token: first } = await application.tokens();
      const answers = await Promise.all(Array.from({ length: 15 }, () => application.refresh(first)));
      expect(answers.map(({ status }) => status)).toEqual(Array(15).fill(200));
      expect(await usable(first)).toBe(1);
      const alive = [];
      for (const token of values(answers)) if (await application.isActive(token)) alive.push(token);
      expect(alive).toHaveLength(1);
      await successorOf(alive[0] as string);
    }
  });

  it('with the use of a successor never fork the family', async () => {
    for (let round = 0; round < 15; round++) {
      const { refresh_token: first } = await application.tokens();
      const second = await successorOf(first);
      await Promise.all([first, second, first, second].map((token) => application.refresh(token)));
      expect(await usable(first)).toBeLessThanOrEqual(1);
    }
  });

  it('with the end of their family are refused, also where PostgreSQL lets the end go first', async () => {
    const { refresh_token: first } = await application.tokens();
    const second = await successorOf(first);
    let repeat: Promise<TokenAnswer> | undefined;
    await server.database.db.transaction(async (db) => {
      await db('refreshTokens')
        .delete()
        .where({ tokenHash: hashToken(second) });
      // It has the first token, and waits for the second one: it is the victim of the deadlock that follows.
      repeat = application.refresh(first);
      await sleep(400);
      await db('refreshTokens')
        .delete()
        .where({ tokenHash: hashToken(first) });
    });
    expect(await repeat).toMatchObject(refused);
  });

  it('do not take away a successor that is being used', async () => {
    const { refresh_token: first, access_token } = await application.tokens();
    const second = await successorOf(first);
    let repeat: Promise<TokenAnswer> | undefined;
    // The successor's use has begun and is not committed when the repeat arrives.
    await server.database.db.transaction(async (db) => {
      await db('refreshTokens')
        .where({ tokenHash: hashToken(second) })
        .update({ consumedAt: db.fn.now() });
      repeat = application.refresh(first);
      await sleep(500);
    });
    expect(await repeat).toMatchObject(refused);
    expect(await application.isActive(access_token)).toBe(false);
  });
});
