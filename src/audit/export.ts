/**
 * The audit log as a file. Rows are fetched a batch at a time, each in a statement of its own, when the reader has taken
 * those before: nothing is held while somebody reads slowly, and nothing is fetched for somebody who has gone.
 */
import { Readable } from 'node:stream';
import { stringify } from 'csv-stringify/sync';
import { type Log, type LogFilter, listLogs } from './logs.queries.ts';
import type { Reads } from './reads.ts';

const batch = 1000;

/** A row as JSON shows it. */
export const logRow = ({ key: _, at, ...log }: Log) => ({ ...log, at: at.toISOString() });

const columns = ['id', 'at', 'actorType', 'actorId', 'action', 'targetType', 'targetId'].concat([
  'meta',
  'requestId',
  'address',
  'userAgent',
]);

/** RFC 4180. A spreadsheet would run a cell that begins like a formula, so such a cell gets an apostrophe in front. */
const csv = (rows: readonly Log[], first: boolean): string =>
  stringify(
    rows.map((row) => ({ ...logRow(row), meta: JSON.stringify(row.meta) })),
    { columns, header: first, record_delimiter: '\r\n', escape_formulas: true },
  );

const jsonLines = (rows: readonly Log[]): string => rows.map((row) => `${JSON.stringify(logRow(row))}\n`).join('');

/** JSON Lines has no registered type; of the two in use this is the one that tools know. */
export const formats = {
  csv: { type: 'text/csv', write: csv },
  jsonl: { type: 'application/x-ndjson', write: jsonLines },
} as const;

export type ExportFormat = keyof typeof formats;

async function* batches(read: Reads, filter: LogFilter, format: ExportFormat): AsyncGenerator<string> {
  let before: string | undefined;
  for (let first = true; ; first = false) {
    const rows = await read((db) => listLogs(db, filter, { limit: batch, before }));
    const text = formats[format].write(rows, first);
    if (text) yield text;
    if (rows.length < batch) return;
    before = rows.at(-1)?.key;
  }
}

/** The rows that match, the newest first. A failure half-way breaks the stream, so that no half looks like the whole. */
export const exportLogs = (read: Reads, filter: LogFilter, format: ExportFormat): Readable =>
  Readable.from(batches(read, filter, format), { highWaterMark: 1 });
