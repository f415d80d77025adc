/** What kind of statement a text of SQL is, for metrics: few kinds, and only tables that there are. */
import { tablePurposes } from '../../db/data-model-texts.ts';

export interface Statement {
  operation: 'select' | 'insert' | 'update' | 'delete' | 'transaction' | 'other';
  /** `pgboss` for those of the job queue, `none` for none, `other` for what is not known. */
  table: string;
}

const tables = new Set<string>(Object.keys(tablePurposes));
const first = /^\s*([a-z]+)/i;
const named = /\b(?:from|into|update)\s+(?:only\s+)?"?([a-z_]+)"?(?:\s*\.\s*"?([a-z_]+))?/i;
const written = /\b(insert\s+into|update|delete\s+from)\s/i;
const transactions = new Set(['begin', 'commit', 'rollback', 'savepoint', 'release', 'start']);
const operations = new Set(['select', 'insert', 'update', 'delete']);

export const readStatement = (sql: string): Statement => {
  const word = (first.exec(sql)?.[1] ?? '').toLowerCase();
  if (transactions.has(word)) return { operation: 'transaction', table: 'none' };
  // Of one that begins with a name for a part of it, the first that is written counts.
  const write = word === 'with' ? written.exec(sql) : undefined;
  const kind = word === 'with' ? (write?.[1]?.slice(0, 6).toLowerCase() ?? 'select') : word;
  const [, name, inSchema] = named.exec(write ? sql.slice(write.index) : sql) ?? [];
  const table = name === 'pgboss' && inSchema ? 'pgboss' : name;
  return {
    operation: operations.has(kind) ? (kind as Statement['operation']) : 'other',
    table: table === undefined ? 'none' : table === 'pgboss' || tables.has(table) ? table : 'other',
  };
};

/** Why a statement failed, as far as an operator acts on it. */
export const errorClass = (error: unknown): string => {
  const { code } = (error ?? {}) as { code?: unknown };
  if (typeof code !== 'string') return 'other';
  // SQL states have five characters, of which two are their class and no class begins with an E; what the network says does (EPIPE).
  if (/^(?!E)[0-9A-Z]{5}$/.test(code))
    return ['08', '23', '25', '40', '53', '54', '55', '57'].find((one) => code.startsWith(one)) ?? 'other';
  return 'connection';
};
