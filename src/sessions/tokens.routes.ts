/** Revoking tokens over REST. */
import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { type Route, route } from '../http/route.ts';
import { Id } from '../http/schemas.ts';
import type { QueueLogout } from './sessions.commands.ts';
import { type Revocation, revokeTokens } from './tokens.commands.ts';

const name = z.string().regex(/^[\x20-\x7e]{1,500}$/, 'expected visible ASCII characters');

const RevokeTokens = z
  .object({
    userId: Id.optional().meta({
      description: 'Everything that the person is signed in to, sessions and API keys included',
    }),
    clientId: name.optional().meta({
      description: 'Every token of the application, those that it got for itself included',
      example: 'k3Jx9vQmPz4TnR7sWb2c',
    }),
    grantId: name.optional().meta({ description: 'The `grant_id` of an access token', example: 'Rr8TQpk2nN4v' }),
    reason: z
      .string()
      .regex(/^[\w.:#/-]{1,64}$/, 'expected a word or the number of a ticket')
      .optional()
      .meta({
        description: 'A word or the number of a ticket: the audit log keeps it, so no names',
        example: 'INC-1234',
      }),
  })
  .refine(
    ({ userId, clientId, grantId }) => [userId, clientId, grantId].filter((id) => id !== undefined).length === 1,
    'expected exactly one of userId, clientId and grantId',
  )
  .meta({ id: 'RevokeTokens', example: { userId: '0192d3a0-5b1e-7c3a-9f00-1a2b3c4d5e6f', reason: 'INC-1234' } });

const count = (description: string, example: number) => z.int().meta({ description, example });

const RevokedTokens = z
  .object({
    sessions: count('Ended, for a user', 1),
    apiKeys: count('Revoked, for a user', 0),
    grants: count('With each, its JWTs are dead at once', 2),
    refreshTokens: count('Used ones included', 5),
    opaqueTokens: count('Codes and opaque access tokens, used ones included', 1),
  })
  .meta({ id: 'RevokedTokens' });

const revocationOf = ({ userId, clientId, grantId }: z.output<typeof RevokeTokens>): Revocation => {
  if (userId !== undefined) return { kind: 'user', userId };
  if (clientId !== undefined) return { kind: 'client', clientId };
  return { kind: 'grant', grantId: grantId ?? '' };
};

export const tokenRevocationRoutes = ({ db, queueLogout }: { db: Db; queueLogout: QueueLogout }): Route[] => [
  route({
    id: 'revokeTokens',
    method: 'post',
    path: '/admin/tokens/revoke',
    tag: 'Administration',
    summary: 'Revoke the tokens of a user, a client or a grant, at once',
    description:
      'Nobody’s rank is asked: whoever is on call must be able to stop a stolen token. Those of a user include the sessions and API keys that would give new ones.',
    access: 'tokens:revoke:any',
    body: RevokeTokens,
    returns: RevokedTokens,
    status: 200,
    problems: { 404: ['user_not_found', 'client_not_found', 'grant_not_found'] },
    handle: ({ body, actor }) => revokeTokens(db, actor, revocationOf(body), body.reason, queueLogout),
  }),
];
