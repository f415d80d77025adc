/** When it counts as proven that changes are heard of. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createAccessChannel, createClock } from '../../adapters/access-channel.ts';
import { mayWrite } from '../../db/writes.ts';
import type { Channel } from '../../src/roles/access-cache.ts';

let now: number;
let writes: number;
let asked: ((heard: boolean) => void)[];
let channel: Channel;
let told: boolean[];
beforeEach(() => {
  [now, writes, asked, told] = [1000, 0, [], []];
  channel = createAccessChannel(
    { writes: () => writes, catchUp: () => new Promise((resolve) => asked.push(resolve)) },
    () => now,
    (isLost) => told.push(isLost),
  );
});
const tick = () => new Promise((resolve) => setImmediate(resolve));
const proven = async () => {
  const done = channel.prove();
  await tick();
  asked.at(-1)?.(true);
  return done;
};

describe('the proof that changes are heard of', () => {
  it('is asked for when it is needed, counts from when it was asked for, and lasts less than a second', async () => {
    expect(channel.isProven()).toBe(false);
    const done = channel.prove();
    now += 100;
    asked[0]?.(true);
    expect(await done).toBe(true);
    expect(channel.isProven()).toBe(true);
    now += 799;
    expect(channel.isProven()).toBe(true);
    now += 1;
    expect(channel.isProven()).toBe(false);
    expect(asked).toHaveLength(1);
  });

  it('is one for all who ask at the same time', async () => {
    const all = [channel.prove(), channel.prove(), channel.prove()];
    asked[0]?.(true);
    expect(await Promise.all(all)).toEqual([true, true, true]);
    expect(asked).toHaveLength(1);
  });

  it('ends with what this process writes, and one that had begun before that does not do', async () => {
    await proven();
    writes++;
    expect(channel.isProven()).toBe(false);
    const before = channel.prove();
    await tick();
    writes++;
    const after = [channel.prove(), channel.prove()];
    asked[1]?.(true);
    expect(await before).toBe(true);
    expect(channel.isProven()).toBe(false);
    await tick();
    expect(asked).toHaveLength(3);
    asked[2]?.(true);
    expect(await Promise.all(after)).toEqual([true, true]);
    expect(channel.isProven()).toBe(true);
  });

  it('is waited for once by each when it does not come, and then by nobody until it does', async () => {
    const waiting = channel.prove();
    asked[0]?.(false);
    expect(await waiting).toBe(false);
    expect(await channel.prove()).toBe(false);
    await tick();
    expect(asked).toHaveLength(2);
    // The attempt of the one who did not wait.
    asked[1]?.(true);
    await tick();
    expect(channel.isProven()).toBe(true);
    expect(await proven()).toBe(true);
  });

  it('is told of once when it is lost, and once when it is there again', async () => {
    for (const heard of [true, false, false, false, true, true]) {
      now += 1000;
      const done = channel.prove();
      await tick();
      asked.at(-1)?.(heard);
      await done;
      await tick();
    }
    expect(told).toEqual([true, false]);
  });

  it('does not last longer because a clock is set back, nor through a sleep', () => {
    const [steady, date] = [performance.now, Date.now];
    const clock = createClock();
    const begun = clock();
    try {
      Date.now = () => date() + 5000;
      expect(clock() - begun).toBeGreaterThanOrEqual(5000);
      Date.now = () => date() - 86_400_000;
      performance.now = () => steady.call(performance) + 1000;
      expect(clock() - begun).toBeGreaterThanOrEqual(6000);
    } finally {
      [performance.now, Date.now] = [steady, date];
    }
  });
});

it.each([
  ['select 1', false],
  ['BEGIN;', false],
  ['COMMIT;', false],
  ['select "id" from "users" for update', false],
  ['insert into "role_grants" ("user_id") values ($1)', true],
  ['update "users" set "name" = $1', true],
  ['DELETE FROM groups', true],
  ['truncate users', true],
  ['insert into "audit_logs" ("action") values ($1)', false],
  ['update sessions set last_seen_at = now()', false],
  ['insert into "sessions" select * from (delete from users returning id)', true],
  ['insert into "oidc_payloads" ("model") values ($1) on conflict ("model") do update set "payload" = $2', false],
  ['insert into "role_grants" ("id") values ($1) on conflict ("id") do update set "role_id" = $2', true],
  ['with held as (select 1) select * from held', false],
  ['with used as (update refresh_tokens set consumed_at = now() returning 1) insert into refresh_tokens select', false],
  ['with used as (update refresh_tokens set consumed_at = now() returning 1) update users set name = $1', true],
  ['with used as (update public.sessions set uid = $1) select 1', true],
  ['with gone as (delete from role_grants returning *) select * from gone', true],
  [
    'with person as (update users set last_sign_in_at = now() where id = $1 returning id), noted as (insert into audit_logs (id) values ($2)) select 1',
    false,
  ],
  ['with person as (update users set last_sign_in_at = now(), status = $2 where id = $1 returning id) select 1', true],
  ['do $$ begin end $$', true],
  ['call something()', true],
])('whether a statement may change what is remembered: %s', (sql, expected) => {
  expect(mayWrite(sql)).toBe(expected);
});
