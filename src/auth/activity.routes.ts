/** REST of what happened to one's own account. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { beforeOf } from '../audit/logs.routes.ts';
import { ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { listActivity } from './activity.queries.ts';
import { activityActors, type ToldActivity, tellActivity } from './activity.ts';
import { riskFactorNames } from './risk.ts';

const ActivityEvent = z
  .object({
    id: z.uuid().meta({ example: '019b2f60-0000-7000-8000-000000000001' }),
    at: z.iso.datetime().meta({ example: '2026-01-31T12:00:00.000Z' }),
    action: z.string().meta({ example: 'session.sign_in' }),
    by: z.enum(activityActors).meta({
      description:
        '`you`: signed in, or by a mailed link or code of your account; `application`: by itself, or with what you let it do; `api_key`: one of yours; `unknown`: somebody who was not signed in, such as whoever gave a wrong password',
      example: 'you',
    }),
    device: z.string().nullable().meta({ description: 'Of your own acts only', example: 'Firefox · Linux' }),
    address: z.string().nullable().meta({ description: 'Of your own acts only', example: '192.0.2.1' }),
    client: z
      .object({
        id: z.string().meta({ example: 'k3Jx9vQmPz4TnR7sWb2c' }),
        name: z.string().nullable().meta({ description: 'Null when it is gone', example: 'Acme' }),
      })
      .nullable()
      .meta({ description: 'The application that did it, or that it was about' }),
    signIn: z
      .object({
        outcome: z.enum(['allow', 'step-up', 'refuse']).meta({
          description: 'What came of the risk: let in, asked for a second factor, or refused',
          example: 'step-up',
        }),
        signals: z
          .array(z.enum(riskFactorNames))
          .meta({ description: 'What was unusual about it', example: ['new-device'] }),
        country: z.string().nullable().meta({ description: 'ISO 3166-1 alpha-2, if known', example: 'SE' }),
        city: z.string().nullable().meta({ example: 'Linköping' }),
      })
      .nullable()
      .meta({ description: 'Of sign-ins, as long as they are kept' }),
  })
  .meta({ id: 'ActivityEvent' });

const shown = ({ at, ...event }: ToldActivity): z.input<typeof ActivityEvent> => ({ ...event, at: at.toISOString() });

export const activityRoutes = ({ db }: { db: Db }): Route[] => [
  route({
    id: 'listMyActivity',
    method: 'get',
    path: '/auth/me/activity',
    tag: 'Accounts',
    summary: 'What one did, and what was done to one’s account, the newest first',
    access: 'audit:read:own',
    query: ListQuery,
    returns: listOf(ActivityEvent),
    status: 200,
    handle: async ({ query: { limit, cursor }, caller }) => {
      const rows = await listActivity(db, caller.id, { limit: limit + 1, before: beforeOf(cursor) });
      const { data, nextCursor } = pageOf(rows, limit, ({ key }) => key);
      return { data: data.map((event) => shown(tellActivity(event))), nextCursor };
    },
  }),
];
