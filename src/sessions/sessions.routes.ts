/** Where somebody is signed in, and how that ends, over REST. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import type { Caller } from '../http/caller.ts';
import { cursorNotOurs, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { assertOutranks } from '../users/users.commands.ts';
import { findAccount } from '../users/users.queries.ts';
import { describeDevice, parseDevice } from './device.ts';
import { endSessions, type QueueLogout } from './sessions.commands.ts';
import { clientNames, findGrantSession, pageSessions, type Session as StoredSession } from './sessions.queries.ts';

/**
 * A session is named by its `uid`, which access tokens carry as `sid`. It opens nothing: the cookie is another value, and
 * ending a session takes its owner's token.
 */
const SessionId = z
  .string()
  .regex(/^[\x21-\x7e]{1,200}$/, 'is not the id of a session')
  .meta({ description: 'The `sid` of access tokens', example: 'R3vQk1y7bQ0c5J4k9mZ2T' });

const Session = z
  .object({
    id: SessionId,
    device: z.string().meta({ description: 'Empty when nothing is known', example: 'Firefox · Linux' }),
    browser: z.string().nullable().meta({ example: 'Firefox' }),
    system: z.string().nullable().meta({ example: 'Linux' }),
    address: z.string().nullable().meta({ description: 'Seen last', example: '192.0.2.17' }),
    country: z
      .string()
      .nullable()
      .meta({ description: 'Where it was begun (ISO 3166-1), with GEOIP_DB', example: 'SE' }),
    city: z.string().nullable().meta({ description: 'With GEOIP_DB', example: 'Linköping' }),
    startedAt: Time,
    lastSeenAt: Time,
    current: z.boolean().meta({ description: 'Whether the token of this request is of it', example: true }),
    applications: z
      .array(
        z.object({
          clientId: z.string().meta({ example: 'k3Jx9vQmPz4TnR7sWb2c' }),
          name: z.string().meta({ example: 'Acme' }),
        }),
      )
      .meta({ description: 'What was signed in to in it' }),
  })
  .meta({ id: 'Session' });

const Ended = z
  .object({ ended: z.int().meta({ description: 'How many sessions', example: 2 }) })
  .meta({ id: 'EndedSessions' });

export interface SessionRouteDeps {
  db: Db;
  queueLogout: QueueLogout;
  /** An application that is the service itself, and not shown. */
  hiddenClientId: string;
}

/** A token with `offline_access` names no session, but its grant does. An API key is of none. */
const sessionOf = async (db: Db, { sessionUid, grantId }: Caller): Promise<string | undefined> =>
  sessionUid ?? (grantId ? findGrantSession(db, grantId) : undefined);

const cursorOf = ({ startedAt, uid }: StoredSession) => `${startedAt.getTime()}.${uid}`;

const afterOf = (cursor: string | undefined): { startedAt: Date; uid: string } | undefined => {
  const key = keyOf(cursor);
  if (key === undefined) return undefined;
  const [, time, uid] = /^(\d{1,14})\.([\x21-\x7e]{1,200})$/.exec(key) ?? [];
  if (time && uid) return { startedAt: new Date(Number(time)), uid };
  throw cursorNotOurs();
};

const list = async (
  { db, hiddenClientId }: SessionRouteDeps,
  userId: string,
  current: string | undefined,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
) => {
  const page = pageOf(await pageSessions(db, userId, { limit: limit + 1, after: afterOf(cursor) }), limit, cursorOf);
  const names = await clientNames(db, [
    ...new Set(page.data.flatMap(({ authorizations }) => Object.keys(authorizations))),
  ]);
  const data = page.data.map(({ uid, userAgent, address, country, city, startedAt, lastSeenAt, authorizations }) => {
    const { browser = null, system = null } = parseDevice(userAgent ?? undefined);
    return {
      id: uid,
      device: describeDevice(userAgent ?? undefined),
      browser,
      system,
      address,
      country,
      city,
      startedAt: startedAt.toISOString(),
      lastSeenAt: lastSeenAt.toISOString(),
      current: uid === current,
      applications: Object.keys(authorizations)
        .filter((clientId) => clientId !== hiddenClientId && names.has(clientId))
        .map((clientId) => ({ clientId, name: names.get(clientId) ?? clientId })),
    };
  });
  return { data, nextCursor: page.nextCursor };
};

const requireUser = async (db: Db, userId: string) => {
  const account = await findAccount(db, userId);
  if (!account) throw notFound('user');
  return account;
};

const own = (deps: SessionRouteDeps): Route[] => [
  route({
    id: 'listSessions',
    method: 'get',
    path: '/sessions',
    tag: 'Sessions',
    summary: 'See where one is signed in, the latest sign-in first',
    access: 'sessions:read:own',
    query: ListQuery,
    returns: listOf(Session),
    status: 200,
    handle: async ({ caller, query }) => list(deps, caller.id, await sessionOf(deps.db, caller), query),
  }),
  route({
    id: 'endSession',
    method: 'delete',
    path: '/sessions/:id',
    tag: 'Sessions',
    summary: 'End one of one’s own sessions, with the tokens that it gave',
    access: 'sessions:end:own',
    params: z.object({ id: SessionId }),
    status: 204,
    problems: { 404: ['session_not_found'] },
    handle: async ({ params: { id: uid }, caller: { id: userId }, actor }) => {
      const ended = await endSessions(deps.db, actor, { userId, uid, reason: 'rest' }, deps.queueLogout);
      if (!ended) throw notFound('session');
    },
  }),
  route({
    id: 'endOtherSessions',
    method: 'delete',
    path: '/sessions',
    tag: 'Sessions',
    summary: 'End all of one’s sessions but the one that the token is of',
    description: 'With an API key, which is of no session, all of them. API keys stay.',
    access: 'sessions:end:own',
    returns: Ended,
    status: 200,
    handle: async ({ caller, actor }) => {
      const except = await sessionOf(deps.db, caller);
      const which = { userId: caller.id, reason: 'rest', ...(except ? { except } : {}) };
      return { ended: await endSessions(deps.db, actor, which, deps.queueLogout) };
    },
  }),
];

const everybodys = (deps: SessionRouteDeps): Route[] => [
  route({
    id: 'listUserSessions',
    method: 'get',
    path: '/users/:id/sessions',
    tag: 'Sessions',
    summary: 'See where somebody is signed in',
    access: 'sessions:read:any',
    params: z.object({ id: Id }),
    query: ListQuery,
    returns: listOf(Session),
    status: 200,
    problems: { 403: ['rank_too_low'], 404: ['user_not_found'] },
    handle: async ({ params, query, caller }) => {
      const { id } = await requireUser(deps.db, params.id);
      await assertOutranks(deps.db, caller, id);
      return list(deps, id, await sessionOf(deps.db, caller), query);
    },
  }),
  route({
    id: 'endUserSessions',
    method: 'delete',
    path: '/users/:id/sessions',
    tag: 'Sessions',
    summary: 'End all sessions of somebody, with the tokens that they gave',
    access: 'sessions:end:any',
    params: z.object({ id: Id }),
    returns: Ended,
    status: 200,
    problems: { 403: ['rank_too_low'], 404: ['user_not_found'] },
    handle: async ({ params, caller, actor }) => {
      const { id: userId } = await requireUser(deps.db, params.id);
      await assertOutranks(deps.db, caller, userId);
      return { ended: await endSessions(deps.db, actor, { userId, reason: 'administrator' }, deps.queueLogout) };
    },
  }),
];

export const sessionRoutes = (deps: SessionRouteDeps): Route[] => [...own(deps), ...everybodys(deps)];
