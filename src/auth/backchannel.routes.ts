/** What applications ask a person to confirm by the back channel (CIBA), over REST: for an authenticator app of the operator's. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import type { Actor } from '../audit/logs.commands.ts';
import { assertSignedInHere, type Caller } from '../http/caller.ts';
import { idKeyOf, ListQuery, listOf, pageOf } from '../http/lists.ts';
import { type Route, route } from '../http/route.ts';
import { Id, Time } from '../http/schemas.ts';
import type { Secrets } from '../secrets.ts';
import { type DecidingSession, openRequest } from './backchannel.commands.ts';
import { pageWaiting } from './backchannel.queries.ts';

const Waiting = z
  .object({
    id: Id,
    clientId: z.string().meta({ example: 'k3Jx9vQmPz4TnR7sWb2c' }),
    clientName: z.string().meta({ example: 'Acme' }),
    bindingMessage: z.string().nullable().meta({
      description: 'What the application shows on the other device, for the person to compare',
      example: 'Till 4, W4SCT',
    }),
    scopes: z.array(z.string()).meta({ description: 'Of OpenID Connect', example: ['openid', 'email'] }),
    claims: z.array(z.string()).meta({ description: 'Asked for one by one', example: [] }),
    resources: z
      .array(z.object({ indicator: z.string(), scopes: z.array(z.string()) }))
      .meta({ description: 'Scopes by resource (RFC 8707)', example: [] }),
    address: z.string().nullable().meta({ description: 'Where the application asked from', example: '192.0.2.17' }),
    createdAt: Time,
    expiresAt: Time,
  })
  .meta({ id: 'WaitingRequest' });

export interface BackchannelRouteDeps {
  db: Db;
  secrets: Secrets;
  decide(
    actor: Actor,
    session: DecidingSession,
    decision: { id: string; decision: 'approved' | 'denied' },
  ): Promise<void>;
}

/** Whoever decides is named to the application as having signed in, so it takes their own sign-in. */
const sessionOf = (caller: Caller): DecidingSession => {
  assertSignedInHere(caller);
  return { userId: caller.id, sessionUid: caller.sessionUid };
};

const decisionRoute = (
  deps: BackchannelRouteDeps,
  { verb, id, summary, decision }: Record<'verb' | 'id' | 'summary', string> & { decision: 'approved' | 'denied' },
): Route =>
  route({
    id,
    method: 'post',
    path: `/auth/me/requests/:id/${verb}`,
    tag: 'Sign-in',
    summary,
    description:
      'Needs the token of a sign-in at an application of the service’s own; to approve, of one as strong and as new as the client has asked for (`acr_values`, `max_age`). Whoever is first has decided.',
    access: 'requests:decide:own',
    params: z.object({ id: Id }),
    status: 204,
    problems: { 403: ['session_needed'], 404: ['request_not_found'] },
    handle: ({ caller, actor, params: { id } }) => deps.decide(actor, sessionOf(caller), { id, decision }),
  });

export const backchannelRoutes = (deps: BackchannelRouteDeps): Route[] => [
  route({
    id: 'listRequests',
    method: 'get',
    path: '/auth/me/requests',
    tag: 'Sign-in',
    summary: 'See which applications ask one to confirm something, the latest first',
    access: 'requests:read:own',
    query: ListQuery,
    returns: listOf(Waiting),
    status: 200,
    handle: async ({ caller, query: { limit, cursor } }) => {
      const rows = await pageWaiting(deps.db, caller.id, { limit: limit + 1, before: idKeyOf(cursor) });
      const page = pageOf(rows, limit, ({ id }) => id);
      const data = page.data.map((row) => {
        const { bindingMessage = null, scopes, claims, resources } = openRequest(deps.secrets, row);
        return {
          id: row.id,
          clientId: row.clientId,
          clientName: row.clientName ?? row.clientId,
          bindingMessage,
          scopes: [...scopes],
          claims: [...claims],
          resources: Object.entries(resources).map(([indicator, names]) => ({ indicator, scopes: [...names] })),
          address: row.address,
          createdAt: row.createdAt.toISOString(),
          expiresAt: row.expiresAt.toISOString(),
        };
      });
      return { data, nextCursor: page.nextCursor };
    },
  }),
  decisionRoute(deps, {
    verb: 'approve',
    id: 'approveRequest',
    summary: 'Confirm what an application asks',
    decision: 'approved',
  }),
  decisionRoute(deps, {
    verb: 'deny',
    id: 'denyRequest',
    summary: 'Refuse what an application asks',
    decision: 'denied',
  }),
];
