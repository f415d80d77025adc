/** Notices what this process writes, so that it can hear what its own changes made void before it trusts what it remembers. */
import type { Knex } from 'knex';
import { LRUCache } from 'lru-cache';
import { queries } from '../src/observing.ts';
import type { KnexClientClass, Statement } from './knex-client.ts';

/**
 * Tables that are written all the time and that nothing rests on which is remembered: neither do they notify, nor do their
 * deletions cascade into what does.
 */
export const quietTables: ReadonlySet<string> = new Set(
  'audit_logs sessions grants refresh_tokens oidc_payloads revoked_tokens consumed_tokens sign_ins known_devices api_keys samples'.split(
    ' ',
  ),
);

const harmless = /^\s*(?:select|begin|savepoint|release|rollback|set|commit|show|listen|unlisten|explain)\b/i;
const changing = /^\s*(?:insert\s+into|update|delete\s+from|with)\b/i;
const written = /\b(?:insert\s+into|update|delete\s+from|merge\s+into)\s+"?([a-z_]*)/gi;
/** What comes after the name of the table that is written, or writes nothing. */
const asides = /\b(?:do\s+update\s+set|for\s+(?:no\s+key\s+)?update)\b/gi;

/** Each sign-in's, of a column that nothing rests on. */
const lastSignIn = 'update users set last_sign_in_at = now() where id = $1 returning id';

const findWrites = (sql: string): boolean => {
  if (harmless.test(sql)) return false;
  if (!changing.test(sql)) return true;
  return [...sql.replace(lastSignIn, '').replace(asides, '').matchAll(written)].some(
    ([, table = '']) => !quietTables.has(table),
  );
};

/** What was found out of texts that come again and again. */
const known = new LRUCache<string, boolean>({ max: 1000 });

/** Whether a statement may change something that is remembered. What is not understood does. */
export const mayWrite = (sql: string): boolean => {
  let writes = known.get(sql);
  if (writes === undefined) {
    writes = findWrites(sql);
    known.set(sql, writes);
  }
  return writes;
};

/** A client of Knex that counts writes: each one, and each commit of a transaction that made one. */
export const countWrites = (Base: unknown): { Client: typeof Knex.Client; writes(): number } => {
  let count = 0;
  const open = new WeakSet<object>();
  class CountingClient extends (Base as KnexClientClass) {
    override async _query(connection: object, statement: Statement): Promise<unknown> {
      const { sql } = statement;
      const writes = mayWrite(sql);
      if (writes) open.add(connection);
      const end = queries.tell?.(sql);
      try {
        const result = await super._query(connection, statement);
        end?.();
        return result;
      } catch (error) {
        end?.(error);
        throw error;
      } finally {
        // Not before it is done; one whose answer was lost may be done as well.
        const commits = /^\s*commit\b/i.test(sql);
        if (writes || (commits && open.has(connection))) count++;
        if (commits) open.delete(connection);
      }
    }
  }
  return { Client: CountingClient as unknown as typeof Knex.Client, writes: () => count };
};
