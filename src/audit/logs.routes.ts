/** REST of the audit log: search and export. Searches leave no event, or the log would be about itself; exports do. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { cursorNotOurs, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { actions } from './actions.ts';
import { exportLogs, formats, logRow } from './export.ts';
import { recordEvent } from './logs.commands.ts';
import { type LogFilter, listLogs, splitKey } from './logs.queries.ts';
import { createReads, type Reads } from './reads.ts';

const actorTypes = ['user', 'client', 'operator', 'system', 'anonymous'] as const;

/** Ids are opaque; nobody's mail address or name can be asked for, nor end in the record of an export. */
const Id = z
  .string()
  .max(200)
  .regex(/^[\w.~:/-]+$/, 'expected an id');
const Thing = z
  .string()
  .max(60)
  .regex(/^[a-z][a-z_]*$/, 'expected a type such as user');
/** RFC 3339, as an input. */
export const Moment = z.iso
  .datetime({ offset: true, error: 'expected a time such as 2026-01-31T12:00:00Z (RFC 3339)' })
  .max(40)
  .transform((text) => new Date(text))
  .refine((date) => date.getUTCFullYear() >= 1970 && date.getUTCFullYear() < 9999, 'expected a year from 1970 on');
const Actions = z
  .string()
  .max(1000)
  .transform((text) => text.split(',').map((name) => name.trim()))
  .pipe(
    z
      .array(z.string().regex(/^[a-z_]+(\.[a-z_]+)*(\.\*)?$/, 'expected names such as session.sign_in or session.*'))
      .max(20),
  );

const filters = {
  actorType: z.enum(actorTypes).optional().meta({ description: 'Who acted', example: 'user' }),
  actorId: Id.optional().meta({ description: 'The user’s id or the application’s `client_id`' }),
  action: Actions.optional().meta({
    description: 'One or several, separated by commas; `session.*` stands for every action on sessions',
    example: 'session.sign_in,client.*',
  }),
  targetType: Thing.optional().meta({ description: 'What was acted on', example: 'user' }),
  targetId: Id.optional(),
  requestId: z
    .string()
    .regex(/^[\w.-]{8,64}$/, 'expected a request id')
    .optional()
    .meta({ description: 'The `X-Request-Id` of an answer' }),
  address: z
    .string()
    .max(60)
    .regex(/^[\da-fA-F.:]+(%\w+)?$/, 'expected an IP address')
    .optional()
    .meta({ description: 'Where the request came from, as the log has it', example: '192.0.2.1' }),
  from: Moment.optional().meta({ description: 'Not before', example: '2026-01-01T00:00:00Z' }),
  to: Moment.optional().meta({ description: 'Before', example: '2026-02-01T00:00:00Z' }),
};

const AuditLog = z
  .object({
    id: z.uuid().meta({ example: '019b2f60-0000-7000-8000-000000000001' }),
    at: z.iso.datetime().meta({ example: '2026-01-31T12:00:00.000Z' }),
    actorType: z.enum(actorTypes).meta({ example: 'user' }),
    actorId: z.string().nullable().meta({ example: '019b2f60-0000-7000-8000-000000000002' }),
    action: z.string().meta({ example: 'session.sign_in' }),
    targetType: z.string().nullable().meta({ example: 'user' }),
    targetId: z.string().nullable().meta({ example: '019b2f60-0000-7000-8000-000000000002' }),
    meta: z.record(z.string(), z.unknown()).meta({ description: 'Facts of the event', example: { amr: ['pwd'] } }),
    requestId: z.string().nullable().meta({ example: '019b2f60-0000-7000-8000-000000000003' }),
    address: z.string().nullable().meta({ example: '192.0.2.1' }),
    userAgent: z.string().nullable().meta({ example: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0' }),
  })
  .meta({ id: 'AuditLog' });

/** @throws AppError 400 for a cursor that is not ours */
export const beforeOf = (cursor: string | undefined): string | undefined => {
  const key = keyOf(cursor);
  if (key === undefined || splitKey(key)) return key;
  throw cursorNotOurs();
};

/** What an export was of, for its event. An address is personal, so that one was asked for has to do. */
const describeFilter = ({ address, ...filter }: LogFilter) =>
  JSON.parse(JSON.stringify({ ...filter, ...(address ? { address: true } : {}) })) as Record<string, unknown>;

/** `20260131T120000Z`, which every file system takes. */
const stamp = () => new Date().toISOString().replace(/[-:]|\.\d+/g, '');

const actionTable = [
  '| Action | Meaning |',
  '|---|---|',
  ...Object.entries(actions).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`),
].join('\n');

const searches = { running: 3, waiting: 20 };
/** Of batches. What has begun does not end half-way because others wait, or because matches are few and far between. */
const exporters = { running: 2, waiting: Number.POSITIVE_INFINITY };
const batchMs = 60_000;

export const logRoutes = ({ db }: { db: Db }): Route[] => [
  listing(createReads({ db }, searches)),
  exporting(db, createReads({ db, ms: batchMs }, exporters)),
];

const listing = (read: Reads): Route =>
  route({
    id: 'listAuditLogs',
    method: 'get',
    path: '/audit/logs',
    tag: 'Audit',
    summary: 'Search the audit log, the newest events first',
    description: `Searches leave no event of their own. Actions:\n\n${actionTable}`,
    access: 'audit:read:any',
    query: ListQuery.extend(filters),
    returns: listOf(AuditLog),
    status: 200,
    problems: { 503: ['overloaded'] },
    handle: async ({ query: { limit, cursor, ...filter } }) => {
      const before = beforeOf(cursor);
      const rows = await read((db) => listLogs(db, filter, { limit: limit + 1, before }));
      const { data, nextCursor } = pageOf(rows, limit, ({ key }) => key);
      return { data: data.map(logRow), nextCursor };
    },
  });

const exporting = (db: Db, read: Reads): Route =>
  route({
    id: 'exportAuditLogs',
    method: 'get',
    path: '/audit/logs/export',
    tag: 'Audit',
    summary: 'Download the audit log, the newest events first',
    description:
      'All events that match, as CSV (RFC 4180, with a header; `meta` is JSON) or as JSON Lines. In CSV a cell that begins like ' +
      'a formula has an apostrophe in front. A connection that ends before its time means that the file is not whole.',
    access: 'audit:export:any',
    query: z.object({
      format: z.enum(['csv', 'jsonl']).default('csv').meta({ description: 'CSV or JSON Lines', example: 'csv' }),
      ...filters,
    }),
    streams: [formats.csv.type, formats.jsonl.type],
    status: 200,
    handle: async ({ query: { format, ...filter }, actor }) => {
      await recordEvent(db, actor, { action: 'audit.export', meta: { format, filters: describeFilter(filter) } });
      return {
        type: formats[format].type,
        filename: `audit-logs-${stamp()}.${format}`,
        content: exportLogs(read, filter, format),
      };
    },
  });
