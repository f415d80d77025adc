/** REST of what happened to one's own account. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { beforeOf } from '../audit/logs.routes.ts';
import { ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { describeDevice } from '../sessions/device.ts';
import { type Activity, listActivity } from './activity.queries.ts';

const actors = ['you', 'api_key', 'administrator', 'application', 'service', 'unknown'] as const;

const ActivityEvent = z
  .object({
    id: z.uuid().meta({ example: '019b2f60-0000-7000-8000-000000000001' }),
    at: z.iso.datetime().meta({ example: '2026-01-31T12:00:00.000Z' }),
    action: z.string().meta({ example: 'session.sign_in' }),
    by: z.enum(actors).meta({
      description:
        '`application`: by itself, or with what you let it do; `api_key`: one of yours; `unknown`: somebody who was not signed in, such as whoever gave a wrong password',
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
  })
  .meta({ id: 'ActivityEvent' });

const by = ({ own, actorType, viaApiKey, viaClient }: Activity): (typeof actors)[number] => {
  if (own && viaApiKey) return 'api_key';
  if (own) return viaClient ? 'application' : 'you';
  return { user: 'administrator', client: 'application', anonymous: 'unknown', operator: 'service', system: 'service' }[
    actorType
  ] as (typeof actors)[number];
};

/** Where an administrator sits, or somebody who guesses at passwords, is told to administrators alone. */
const shown = (event: Activity): z.input<typeof ActivityEvent> => ({
  id: event.id,
  at: event.at.toISOString(),
  action: event.action,
  by: by(event),
  device: (event.own && describeDevice(event.userAgent ?? undefined)) || null,
  address: event.own ? event.address : null,
  client: event.clientId === null ? null : { id: event.clientId, name: event.clientName },
});

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
      return { data: data.map(shown), nextCursor };
    },
  }),
];
