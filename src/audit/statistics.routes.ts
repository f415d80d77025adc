/** REST of the audit log's figures. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { type Route, route } from '../http/route.ts';
import { Moment } from './logs.routes.ts';
import { createReads } from './reads.ts';
import { createSharedStatistics } from './shared-statistics.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const defaultDays = 30;
const maxDays = 366;

const hourAfter = (date: Date) => new Date(Math.ceil(date.getTime() / hourMs) * hourMs);
const hourBefore = (date: Date) => new Date(Math.floor(date.getTime() / hourMs) * hourMs);

/** Until now, and for 30 days, unless told otherwise. */
const periodOf = ({ from, to = new Date() }: { from?: Date | undefined; to?: Date | undefined }) => ({
  from: from ?? new Date(hourAfter(to).getTime() - defaultDays * dayMs),
  to,
});

/** Those who ask for about the same period share an answer. */
const wholeHours = ({ from, to }: { from: Date; to: Date }) => ({ from: hourBefore(from), to: hourAfter(to) });

const Period = z
  .object({
    from: Moment.optional().meta({ description: '30 days before `to` if left out', example: '2026-01-01T00:00:00Z' }),
    to: Moment.optional().meta({ description: 'Exclusive; now if left out', example: '2026-02-01T00:00:00Z' }),
  })
  .transform(periodOf)
  .superRefine(({ from, to }, context) => {
    if (from >= to) context.addIssue({ code: 'custom', path: ['from'], message: 'must be before the end' });
    if (to.getTime() - from.getTime() > maxDays * dayMs)
      context.addIssue({ code: 'custom', path: ['from'], message: `must be at most ${maxDays} days before the end` });
  })
  .transform(wholeHours);

const count = z.int().min(0).meta({ example: 42 });

const AuditStatistics = z
  .object({
    from: z.iso.datetime().meta({ example: '2026-01-01T00:00:00.000Z' }),
    to: z.iso.datetime().meta({ example: '2026-02-01T00:00:00.000Z' }),
    total: count,
    byAction: z
      .array(z.object({ action: z.string().meta({ example: 'session.sign_in' }), count }))
      .meta({ description: 'The most frequent first' }),
    byDay: z
      .array(z.object({ day: z.iso.date().meta({ example: '2026-01-31' }), count }))
      .meta({ description: 'Every day of the period (UTC)' }),
    signIns: z.object({ succeeded: count, failed: count }),
    activeUsers: count.meta({ description: 'How many people did something', example: 7 }),
    refusals: z
      .array(
        z.object({
          action: z.string().meta({ example: 'authorization.refuse' }),
          operation: z.string().nullable().meta({ description: '`operationId` of a REST route', example: 'listUsers' }),
          reason: z
            .string()
            .nullable()
            .meta({ description: 'The missing permission, or a code', example: 'users:read:any' }),
          count,
        }),
      )
      .meta({ description: 'The ten most frequent' }),
  })
  .meta({ id: 'AuditStatistics' });

/** One at a time: each looks at every event of its period. */
const limits = { running: 1, waiting: 4 };

export const statisticsRoutes = ({ db }: { db: Db }): Route[] => {
  const statisticsOf = createSharedStatistics(createReads({ db }, limits));
  return [getStatistics(statisticsOf)];
};

const getStatistics = (statisticsOf: ReturnType<typeof createSharedStatistics>): Route =>
  route({
    id: 'getAuditStatistics',
    method: 'get',
    path: '/audit/statistics',
    tag: 'Audit',
    summary: `Figures of the audit log, of at most ${maxDays} days`,
    description:
      'The period is widened to whole hours (UTC), and the answer says to which. Figures may be a minute old.',
    access: 'audit:read:any',
    query: Period,
    returns: AuditStatistics,
    status: 200,
    problems: { 503: ['overloaded'] },
    handle: async ({ query: period }) => ({
      from: period.from.toISOString(),
      to: period.to.toISOString(),
      ...(await statisticsOf(period)),
    }),
  });
