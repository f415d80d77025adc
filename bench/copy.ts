/** COPY FROM STDIN over `pg`, which has the protocol and no function for it: how a million rows get into a table in seconds. */
import type pg from 'pg';

/** What of the connection the protocol needs; the published types leave it out. */
interface Connection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
  stream: { writableNeedDrain: boolean; once(event: 'drain', listener: () => void): void };
}

export type Value = string | number | boolean | Date | null | readonly string[] | object;

const special = /[\\\n\r\t]/g;
/** A value as a line of COPY has it. Most need nothing, which is quicker to see than to replace. */
export const escaped = (text: string): string =>
  text.search(special) === -1
    ? text
    : text.replace(special, (character) => ({ '\\': '\\\\', '\n': '\\n', '\r': '\\r' })[character] ?? '\\t');

const write = (value: Value): string => {
  if (value === null) return '\\N';
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return escaped(`{${value.map((item) => `"${String(item).replace(/["\\]/g, '\\$&')}"`)}}`);
  return escaped(typeof value === 'object' ? JSON.stringify(value) : String(value));
};

function* toLines(rows: Iterable<readonly Value[]>): Generator<string> {
  for (const row of rows) yield row.map(write).join('\t');
}

/** Writes rows of a table. @returns how many there were */
export const copyInto = (
  client: pg.Client,
  table: string,
  columns: readonly string[],
  rows: Iterable<readonly Value[]>,
): Promise<number> => copyLines(client, table, columns, toLines(rows));

/** Writes rows of a table, each a line in COPY's text format. @returns how many there were */
export const copyLines = (
  client: pg.Client,
  table: string,
  columns: readonly string[],
  rows: Iterable<string>,
): Promise<number> =>
  new Promise((resolve, reject) => {
    let count = 0;
    let failure: Error | undefined;
    const send = async (connection: Connection) => {
      let lines: string[] = [];
      const flush = async () => {
        connection.sendCopyFromChunk(Buffer.from(`${lines.join('\n')}\n`));
        lines = [];
        if (connection.stream.writableNeedDrain)
          await new Promise<void>((drained) => connection.stream.once('drain', drained));
      };
      for (const row of rows) {
        lines.push(row);
        count++;
        if (lines.length === 2000) await flush();
        if (failure) return;
      }
      if (lines.length) await flush();
      connection.endCopyFrom();
    };
    const query = {
      submit: (connection: Connection) => connection.query(`copy ${table} (${columns.join(', ')}) from stdin`),
      handleCopyInResponse: (connection: Connection) => {
        send(connection).catch((error: Error) => connection.sendCopyFail(error.message));
      },
      handleCommandComplete: () => {},
      handleReadyForQuery: () => (failure ? reject(failure) : resolve(count)),
      handleError: (error: Error) => {
        failure = error;
        // A failure ends the query; the connection is not ready for another before it says so.
        reject(error);
      },
    };
    (client.query as unknown as (submittable: typeof query) => void)(query);
  });
