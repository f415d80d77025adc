/** When PostgreSQL is taken for away: not while it is this process that is late. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { watchReachability } from '../../db/reachability.ts';

let stalled = 0;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'Date'] });
  stalled = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => Date.now() + stalled);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

interface Client {
  acquireConnection(): Promise<unknown>;
  _query(connection: object, query: { sql: string }): Promise<unknown>;
}

class Silent implements Client {
  acquireConnection() {
    return Promise.resolve({});
  }
  _query() {
    return new Promise(() => {});
  }
}

const timeout = () => Object.assign(new Error('timeout expired'), { code: undefined });

for (const [what, probe, expected] of [
  [
    'a probe that nothing answers',
    (withinMs) => new Promise((_, reject) => setTimeout(() => reject(timeout()), withinMs)),
    [true],
  ],
  [
    'a probe whose answer nobody looked at in time',
    (withinMs) => {
      // As long as a turn of the event loop takes no timer goes off.
      stalled += withinMs;
      return Promise.reject(timeout());
    },
    [],
  ],
  ['a probe that is refused', () => Promise.reject(Object.assign(new Error(), { code: 'ECONNREFUSED' })), [true]],
  [
    'a server without room for it',
    () => Promise.reject(Object.assign(new Error('too many connections'), { code: '53300' })),
    [],
  ],
] as [string, (withinMs: number) => Promise<void>, boolean[]][])
  it(`${what}: ${expected.length ? 'away' : 'there'}`, async () => {
    const told: boolean[] = [];
    const watched = watchReachability(Silent, { probe, statementSeconds: 30, tell: (isAway) => told.push(isAway) });
    const client = new (watched.Client as unknown as new () => Client)();
    const connection = await client.acquireConnection();
    void client._query(connection as object, { sql: 'select pg_sleep(60)' });
    await vi.advanceTimersByTimeAsync(7000);
    watched.stop();
    expect([told, watched.isAway()]).toEqual([expected, expected.length > 0]);
  });
