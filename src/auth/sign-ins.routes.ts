/** REST of sign-ins: where they came from, how risky each was, and why. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { notFound } from '../errors.ts';
import { cursorNotOurs, keyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import { describeDevice, parseDevice } from '../sessions/device.ts';
import { assertOutranks } from '../users/users.commands.ts';
import { findAccount } from '../users/users.queries.ts';
import { riskFactorNames, scoreMax } from './risk.ts';
import { pageSignIns, type StoredSignIn } from './sign-ins.queries.ts';

const RiskFactor = z
  .object({
    name: z.enum(riskFactorNames).meta({ example: 'new-device' }),
    weight: z.int().meta({ description: 'What it added to the score', example: 30 }),
    value: z.string().meta({
      description: '`unknown` where there was nothing to judge it by; then it weighs nothing',
      example: 'new',
    }),
    explanation: z.string().meta({ example: 'The person has not signed in on this device before' }),
  })
  .meta({ id: 'RiskFactor' });

const SignIn = z
  .object({
    id: Id,
    at: Time,
    outcome: z.enum(['allow', 'step-up', 'refuse']).meta({
      description: 'What the score called for: nothing, a second factor (which was then shown), or that nobody gets in',
      example: 'allow',
    }),
    score: z.int().min(0).max(scoreMax).meta({ example: 30 }),
    factors: z.array(RiskFactor).meta({ description: 'All of them, in the order of docs/risk.md' }),
    amr: z.array(z.string()).meta({ description: 'How they signed in (RFC 8176)', example: ['pwd'] }),
    client: z
      .object({
        id: z.string().meta({ example: 'k3Jx9vQmPz4TnR7sWb2c' }),
        name: z.string().nullable().meta({ description: 'Null when it is gone', example: 'Acme' }),
      })
      .nullable()
      .meta({ description: 'The application that was signed in to' }),
    sessionId: z.string().nullable().meta({
      description: 'The session that it began or went on with, which may have ended',
      example: 'R3vQk1y7bQ0c5J4k9mZ2T',
    }),
    device: z.string().meta({ description: 'Empty when nothing is known', example: 'Firefox · Linux' }),
    browser: z.string().nullable().meta({ example: 'Firefox' }),
    system: z.string().nullable().meta({ example: 'Linux' }),
    address: z.string().nullable().meta({
      description: 'Of one’s own sign-ins that were refused it is told to administrators alone',
      example: '192.0.2.17',
    }),
    network: z.string().nullable().meta({ description: 'The autonomous system, with GEOIP_DB', example: 'AS64496' }),
    country: z.string().nullable().meta({ description: 'ISO 3166-1, with GEOIP_DB', example: 'SE' }),
    city: z.string().nullable().meta({ description: 'With GEOIP_DB', example: 'Linköping' }),
    disownedAt: Time.nullable().meta({ description: 'When its owner said that it was not theirs', example: null }),
  })
  .meta({ id: 'SignIn' });

const shown = (signIn: StoredSignIn, withAddress: boolean): z.input<typeof SignIn> => {
  const { at, clientId, clientName, sessionUid, userAgent, disownedAt, address, ...rest } = signIn;
  const { browser = null, system = null } = parseDevice(userAgent ?? undefined);
  return {
    ...rest,
    at: at.toISOString(),
    client: clientId === null ? null : { id: clientId, name: clientName },
    sessionId: sessionUid,
    device: describeDevice(userAgent ?? undefined),
    browser,
    system,
    address: withAddress || rest.outcome !== 'refuse' ? address : null,
    disownedAt: disownedAt?.toISOString() ?? null,
  };
};

const afterOf = (cursor: string | undefined): { at: Date; id: string } | undefined => {
  const key = keyOf(cursor);
  if (key === undefined) return undefined;
  const [, time, id] = /^(\d{1,14})\.([\da-f-]{36})$/.exec(key) ?? [];
  if (time && z.uuid().safeParse(id).success) return { at: new Date(Number(time)), id: id as string };
  throw cursorNotOurs();
};

const list = async (
  db: Db,
  userId: string,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
  withAddress: boolean,
) => {
  const rows = await pageSignIns(db, userId, { limit: limit + 1, after: afterOf(cursor) });
  const { data, nextCursor } = pageOf(rows, limit, ({ at, id }) => `${at.getTime()}.${id}`);
  return { data: data.map((row) => shown(row, withAddress)), nextCursor };
};

export const signInRoutes = ({ db }: { db: Db }): Route[] => [
  route({
    id: 'listMySignIns',
    method: 'get',
    path: '/auth/me/sign-ins',
    tag: 'Accounts',
    summary: 'See one’s sign-ins and how risky each was, the newest first',
    description: 'For as long as SIGN_IN_RETENTION says. What the factors mean is in docs/risk.md.',
    access: 'audit:read:own',
    query: ListQuery,
    returns: listOf(SignIn),
    status: 200,
    handle: ({ query, caller }) => list(db, caller.id, query, false),
  }),
  route({
    id: 'listUserSignIns',
    method: 'get',
    path: '/users/:id/sign-ins',
    tag: 'Users',
    summary: 'See somebody’s sign-ins and how risky each was, the newest first',
    description: 'With those that were refused. What the factors mean is in docs/risk.md.',
    access: 'sessions:read:any',
    params: z.object({ id: Id }),
    query: ListQuery,
    returns: listOf(SignIn),
    status: 200,
    problems: { 403: ['rank_too_low'], 404: ['user_not_found'] },
    handle: async ({ params, query, caller }) => {
      const account = await findAccount(db, params.id);
      if (!account) throw notFound('user');
      await assertOutranks(db, caller, account.id);
      return list(db, account.id, query, true);
    },
  }),
];
