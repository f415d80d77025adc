/**
 * What a client may do by token exchange (RFC 8693) beyond API keys. It is the operator's to decide: an administrator sets it,
 * no client registers it for itself, and the engine never sees it.
 */

import { z } from 'zod';
import type { Db } from '../../db/connect.ts';
import { forbidden, invalid } from '../errors.ts';
import { isClientId } from './client-ids.ts';
import { tokenExchange } from './grant-types.ts';

const name = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[\x21-\x7e]+$/, 'expected printable characters without spaces');
const names = (description: string, example: string) =>
  z
    .array(name)
    .max(50)
    .default([])
    .meta({ description, example: [example] });

export const ExchangePolicy = z
  .strictObject({
    impersonation: z.boolean().default(false).meta({
      description:
        'Whether it gets tokens that speak for a person and name nobody else; of `first_party` clients alone',
    }),
    delegation: z.boolean().default(false).meta({
      description: 'Whether it gets tokens for a person that say in `act` who acts for them (section 4.1)',
    }),
    subject_clients: names(
      'Clients whose tokens it may exchange beside its own; of `first_party` clients alone',
      'Zk3v9QmT1xYb7LrW2sDf',
    ),
    subject_audiences: names(
      'It is the API of these audiences, and may exchange the tokens that it is sent as such, as the client of a registered resource server may anyway; of `first_party` clients alone',
      'https://orders.example.com',
    ),
    resources: names(
      'Resources (RFC 8707) that it may ask for beside this API, or the `audience` that it is registered with',
      'https://stock.example.com',
    ),
  })
  .meta({ description: 'Which tokens it may exchange for others (RFC 8693). Without it API keys alone.' });
export type ExchangePolicy = z.output<typeof ExchangePolicy>;

interface Metadata {
  grant_types?: string[] | undefined;
  token_endpoint_auth_method?: string | undefined;
  first_party?: boolean | undefined;
  subject_type?: string | undefined;
  token_exchange?: ExchangePolicy | undefined;
}

/**
 * What of a policy a client like this cannot have. Somebody else's application has what people consented to give it, and may
 * at most pass on a part of that: it never speaks for them to others without saying so, and gets nothing of other clients.
 * @throws AppError 400 invalid_client_metadata
 */
export const assertPolicyFits = (metadata: Metadata): void => {
  const { token_exchange: policy, first_party: own = false } = metadata;
  if (!policy) return;
  const refuse = (message: string): never => {
    throw invalid('invalid_client_metadata', `token_exchange: ${message}`);
  };
  if (!metadata.grant_types?.includes(tokenExchange)) refuse(`grant_types must have ${tokenExchange}`);
  if (metadata.token_endpoint_auth_method === 'none') refuse('it is for clients that authenticate');
  // `act` names people as this service knows them, which is what a pairwise subject is to hide.
  if (metadata.subject_type === 'pairwise') refuse('it is not for clients with pairwise subjects');
  if (policy.impersonation && !own) refuse('impersonation is for first_party clients');
  if ((policy.subject_clients.length || policy.subject_audiences.length) && !own)
    refuse('the tokens of other clients are for first_party clients');
};

/**
 * The clients whose tokens it is to exchange must be there and rank no higher than whoever decides that.
 * @throws AppError 400 invalid_client_metadata, 403 rank_too_low
 */
export const assertSubjectClients = async (
  db: Db,
  { rank }: { rank: number },
  { token_exchange: policy }: Metadata,
): Promise<void> => {
  const ids = [...new Set(policy?.subject_clients ?? [])];
  if (!ids.length) return;
  const found: { clientId: string; rank: number }[] = await db('clients')
    .whereIn('clientId', ids.filter(isClientId))
    .select('clientId', 'rank');
  const known = new Set(found.map(({ clientId }) => clientId));
  const missing = ids.filter((id) => !known.has(id));
  if (missing.length)
    throw invalid('invalid_client_metadata', `token_exchange: no such subject_clients: ${missing.join(' ')}`);
  if (found.some((client) => client.rank > rank))
    throw forbidden('rank_too_low', 'A client whose tokens are to be exchanged is for those with a higher role');
};
