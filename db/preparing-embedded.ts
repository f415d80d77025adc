/**
 * Has the embedded database remember the plans of statements that come again and again: PGlite's own `query` parses and plans each one
 * anew, which takes most of the time that is spent in it.
 */
import type { PGlite, protocol } from '@electric-sql/pglite';
import type { Knex } from 'knex';
import { LRUCache } from 'lru-cache';
import type { KnexClientClass, Statement } from './knex-client.ts';
import { outdated } from './preparing.ts';

type Serialize = (typeof protocol)['serialize'];
type Message = Awaited<ReturnType<PGlite['execProtocolStream']>>[number];

interface Prepared {
  name: string;
  parameterTypes: readonly number[];
  columns: readonly { name: string; dataTypeID: number }[];
}

/** As PGlite's own `query` answers. */
interface Answer {
  rows: Record<string, unknown>[];
  fields: Prepared['columns'];
  affectedRows: number;
  command?: string;
  rowCount?: number;
}

const countedMax = 1000;
const namedMax = 300;

const textOf = (value: unknown, serialize: ((value: unknown) => string) | undefined): string | null => {
  if (value === null || value === undefined) return null;
  return serialize ? serialize(value) : String(value);
};

const answerOf = (messages: readonly Message[], { columns }: Prepared, { parsers }: PGlite): Answer => {
  const readers = columns.map(({ dataTypeID }) => parsers[dataTypeID]);
  const answer: Answer = { rows: [], fields: columns, affectedRows: 0 };
  for (const message of messages) {
    if (message.name === 'dataRow') {
      const { fields } = message as Message & { fields: (string | null)[] };
      const row: Record<string, unknown> = {};
      for (const [at, { name, dataTypeID }] of columns.entries()) {
        const text = fields[at] ?? null;
        row[name] = text === null ? null : (readers[at]?.(text, dataTypeID) ?? text);
      }
      answer.rows.push(row);
    } else if (message.name === 'commandComplete') {
      const words = (message as Message & { text: string }).text.split(' ');
      const count = Number.parseInt(words.at(-1) ?? '', 10);
      answer.command = words[0] ?? '';
      if (Number.isNaN(count)) continue;
      answer.rowCount = count;
      if (/^(?:INSERT|UPDATE|DELETE|MERGE)$/.test(answer.command)) answer.affectedRows = count;
    }
  }
  return answer;
};

/**
 * A client of Knex for the embedded database that prepares what it is asked a second time.
 * @param serialize PGlite's, which is loaded only where it is used
 */
export const prepareEmbedded = (Base: unknown, serialize: Serialize): typeof Knex.Client => {
  const asked = new LRUCache<string, true>({ max: countedMax });
  const prepared = new Map<string, Prepared>();
  let names = 0;

  const isWorthIt = (sql: string): boolean => {
    if (prepared.has(sql)) return true;
    if (prepared.size >= namedMax) return false;
    const again = asked.has(sql);
    asked.set(sql, true);
    return again;
  };

  const prepare = async (pglite: PGlite, sql: string): Promise<Prepared> => {
    const name = `s${++names}`;
    await pglite.execProtocolStream(serialize.parse({ name, text: sql }), { syncToFs: false });
    const described = await pglite.execProtocolStream(serialize.describe({ type: 'S', name }), { syncToFs: false });
    const parameters = described.find((one) => one.name === 'parameterDescription');
    const rows = described.find((one) => one.name === 'rowDescription');
    const statement = {
      name,
      parameterTypes: (parameters as { dataTypeIDs?: number[] } | undefined)?.dataTypeIDs ?? [],
      columns: ((rows as { fields?: Prepared['columns'] } | undefined)?.fields ?? []).map(({ name, dataTypeID }) => ({
        name,
        dataTypeID,
      })),
    };
    prepared.set(sql, statement);
    return statement;
  };

  const run = (pglite: PGlite, sql: string, bindings: readonly unknown[]): Promise<Answer> =>
    pglite.runExclusive(async () => {
      try {
        const statement = prepared.get(sql) ?? (await prepare(pglite, sql));
        const { name, parameterTypes } = statement;
        const values = bindings.map((value, at) => textOf(value, pglite.serializers[parameterTypes[at] ?? 0]));
        await pglite.execProtocolStream(serialize.bind({ statement: name, values }), { syncToFs: false });
        return answerOf(await pglite.execProtocolStream(serialize.execute({}), { syncToFs: false }), statement, pglite);
      } finally {
        await pglite.execProtocolStream(serialize.sync(), { syncToFs: false });
        if (!pglite.isInTransaction()) await pglite.syncToFs();
      }
    });

  class PreparingClient extends (Base as KnexClientClass) {
    override async _query(pglite: PGlite, statement: Statement & { response?: Answer }): Promise<unknown> {
      const { sql, bindings } = statement;
      // What has no values may be several statements.
      if (!bindings?.length || !pglite.ready || !isWorthIt(sql)) return super._query(pglite, statement);
      try {
        statement.response = await run(pglite, sql, bindings);
        return statement;
      } catch (error) {
        if (!outdated.has((error as { code?: unknown }).code)) throw error;
        prepared.clear();
        // Nothing was done. A transaction has ended by that, though.
        if (pglite.isInTransaction()) throw error;
        return super._query(pglite, statement);
      }
    }
  }

  return PreparingClient as unknown as typeof Knex.Client;
};
