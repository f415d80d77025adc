/** What somebody else does between two statements of a request, whichever connection is the faster. */
import { expect } from 'vitest';
import type { TestServer } from './server.ts';

/**
 * Does something once a statement with that text has its answer, and before whoever asked goes on with it.
 * @returns what ends that, and sees that it was done
 */
export const between = (
  { database: { db } }: Pick<TestServer, 'database'>,
  text: string,
  work: () => PromiseLike<unknown>,
): (() => void) => {
  const { client } = db;
  const { query, releaseConnection } = client;
  const answered = new WeakSet<object>();
  let done: PromiseLike<unknown> | undefined;
  client.query = async (connection: object, asked: { sql: string }) => {
    const answer = await query.call(client, connection, asked);
    if (asked.sql.includes(text)) answered.add(connection);
    return answer;
  };
  // The embedded database has one connection, so what is done needs it back first.
  client.releaseConnection = async (connection: object) => {
    await releaseConnection.call(client, connection);
    if (!answered.delete(connection)) return;
    done ??= work().then();
    await done;
  };
  return () => {
    Object.assign(client, { query, releaseConnection });
    expect(done).toBeDefined();
  };
};
